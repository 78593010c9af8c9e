"""Processes that cannot run say everything that is wrong at once and exit 2; the command line does what it says."""

import os
import subprocess
import sys

import pytest

from connect_app.runtime import Runtime
from sandbox import embedded, stage
from tests import make

WEB = [sys.executable, "-m", "connect_app.server", "--port", "0"]
WORKER = [sys.executable, "-m", "jobs.worker", "actions"]
CLI = [sys.executable, "-c", "from connect_app.cli import main; main()"]


def run(command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(command, env={**kept, **environ}, cwd=stage.ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", [WEB, WORKER], ids=["web", "worker"])
def test_an_incomplete_environment_is_refused_with_all_its_problems(command: list[str]) -> None:
    done = run(command, {"REDIS_URL": "http://x", "HOLDFAST_SECRET_KEYS": "short", "HOLDFAST_TYPO": "1"})
    assert done.returncode == 2
    for name in ("DATABASE_URL: is not set", "REDIS_URL:", "HOLDFAST_SECRET_KEYS:", "HOLDFAST_TYPO: no such setting"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [WEB, WORKER], ids=["web", "worker"])
def test_a_role_that_row_level_security_does_not_bind_is_refused(postgres: embedded.Postgres, command: list[str]) -> None:
    postgres.create_database("strong")
    done = run(command, {**make.environ(), "DATABASE_URL": postgres.url("strong", "postgres")})
    assert done.returncode == 2
    assert "superuser" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_web_process_starts_before_its_schema_is_there_and_carries_nothing_it_does_not_use(
    rt: Runtime, postgres: embedded.Postgres
) -> None:
    environ = {**make.environ(), "DATABASE_URL": postgres.create_database("bare"), "REDIS_URL": rt.settings.redis_url}
    done = run([sys.executable, "-c", "import sys, connect_app.wsgi; print(*sys.modules)"], environ)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "flow_pages.views" in loaded
    assert loaded & {"alembic", "mako", "authlib.integrations.flask_client", "sandbox", "alembic.command"} == set()


def test_upgrade_makes_the_schema_and_may_be_run_again(rt: Runtime, postgres: embedded.Postgres) -> None:
    environ = {**make.environ(), "DATABASE_URL": postgres.create_database("fresh"), "REDIS_URL": rt.settings.redis_url}
    for _ in range(2):
        done = run([*CLI, "upgrade"], environ)
        assert (done.returncode, done.stdout) == (0, "The schema is up to date.\n"), done.stderr
    doctor = run([*CLI, "doctor"], environ)
    assert "ok    schema is the one this code knows" in doctor.stdout


@pytest.mark.parametrize("words", [["--help"], ["doctor", "--help"], ["upgrade", "--help"]])
def test_help_needs_no_environment(words: list[str]) -> None:
    done = run([*CLI, *words], {})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage:")
    assert "--env-file" not in done.stdout
    assert "is not set" not in done.stderr


def test_a_word_that_is_no_command_is_said_to_be_none() -> None:
    done = run([*CLI, "nonsense"], {})
    assert done.returncode == 2
    assert "No such command 'nonsense'" in done.stderr
    assert "is not set" not in done.stderr


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "postgresql://nobody@127.0.0.1:port/none"])
@pytest.mark.parametrize("command", ["upgrade", "admin-link", "doctor"])
def test_a_database_that_is_away_is_told_in_a_sentence(rt: Runtime, command: str, url: str) -> None:
    done = run([*CLI, command], {**make.environ(), "DATABASE_URL": url, "REDIS_URL": rt.settings.redis_url})
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    [line] = [line for line in (done.stdout + done.stderr).splitlines() if "database" in line.lower()]
    assert len(line) < 200


def test_letters_to_the_console_are_advice_and_no_failure(rt: Runtime) -> None:
    environ = {**make.environ(), "DATABASE_URL": rt.settings.database_url.replace("+psycopg", ""), "REDIS_URL": rt.settings.redis_url}
    environ |= {"STRIPE_TEST_SECRET_KEY": "sk_test_1", "STRIPE_TEST_CLIENT_ID": "ca_1", "STRIPE_TEST_WEBHOOK_SECRETS": "whsec_1"}
    done = run([*CLI, "doctor"], {**environ, "HOLDFAST_BASE_URL": "https://holdfast.example"})
    assert "SMTP_URL" in done.stdout
    assert "MEND" not in done.stdout
    assert done.returncode == 0


def test_an_admin_link_needs_a_workspace_to_lead_to(rt: Runtime) -> None:
    environ = {**make.environ(), "DATABASE_URL": rt.settings.database_url.replace("+psycopg", ""), "REDIS_URL": rt.settings.redis_url}
    done = run([*CLI, "admin-link"], environ)
    assert done.returncode == 1
    assert "/install" in done.stderr
    place = make.workspace(rt)
    done = run([*CLI, "admin-link"], environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("http://127.0.0.1:8000/sign-in/lgn_")
    assert run([*CLI, "admin-link", "--workspace", "nobody"], environ).returncode == 1
    assert run([*CLI, "admin-link", "--workspace", place.slug], environ).returncode == 0


def test_an_actions_worker_whose_lease_is_shorter_than_one_call_is_refused(rt: Runtime) -> None:
    # A change of several calls would begin anew in every turn.
    environ = {**make.environ(), "DATABASE_URL": rt.settings.database_url.replace("+psycopg", ""), "REDIS_URL": rt.settings.redis_url}
    done = run(WORKER, {**environ, "HOLDFAST_LEASE_SECONDS": "20"})
    assert (done.returncode, done.stderr) == (2, "HOLDFAST_LEASE_SECONDS: one call to Stripe may take 25 s; give at least as much\n")
