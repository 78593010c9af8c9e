"""Each demo starts afresh, on a configured server too, and takes nobody's tables for its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from connect_app import config, db, migrations
from sandbox import configured, demo, embedded, stage
from tests import make

# A script's background job: SIGINT comes ignored.
IN_BACKGROUND = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh"]
RUN = [
    sys.executable,
    "-c",
    "import sys; from pathlib import Path; from sandbox import demo; sys.exit(demo.run(Path(sys.argv[1]), sys.argv[2]))",
]


def run_demo(folder: Path, port: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [*RUN, str(folder), port]
    return subprocess.run(command, env={**kept, **environ}, cwd=stage.ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_demo_drops_an_earlier_demos_schema_and_nobody_elses(postgres: embedded.Postgres) -> None:
    url = postgres.create_database("configured")
    configured.start_afresh(url)
    engine = db.engine(config.load({**make.environ(), "DATABASE_URL": url}).database_url)
    migrations.upgrade(engine)
    assert migrations.is_current(engine)
    engine.dispose()

    configured.start_afresh(url)
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from information_schema.tables where table_schema = 'public'").fetchone() == (0,)

    precious = postgres.create_database("precious")
    with psycopg.connect(precious, autocommit=True) as connection:
        connection.execute("create table diary (day date)")
        with pytest.raises(configured.NotOurs, match="no demo has made"):
            configured.start_afresh(precious)
        assert connection.execute("select count(*) from diary").fetchone() == (0,)


def test_a_letter_is_waited_for_and_its_newest_link_taken() -> None:
    letters = stage.Letters()
    letters.add("see http://x/sign-in/old")
    letters.add("see http://x/sign-in/new")
    assert letters.wait_for(r"http://x/sign-in/\S+") == "http://x/sign-in/new"
    with pytest.raises(TimeoutError, match="no letter"):
        letters.wait_for("never sent", seconds=0.05)


@pytest.mark.parametrize("port", ["abc", "65534", "65535", "80000", "-1", "0", "٨٠٠٠"])
def test_a_port_that_cannot_be_is_refused_in_one_sentence(tmp_path: Path, port: str) -> None:
    done = run_demo(tmp_path / "demo", port)
    assert done.returncode == 2
    assert done.stderr.startswith("\nPORT is ")
    assert "from 1 to 65533" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://someone:hidden@127.0.0.1:1/demo"),
        ("DATABASE_URL", "postgresql://someone:hidden@no-such-host.invalid/demo"),
        ("DATABASE_URL", "abc"),
    ],
)
def test_a_server_that_cannot_be_reached_is_refused_in_one_sentence(tmp_path: Path, name: str, value: str) -> None:
    done = run_demo(tmp_path / "demo", str(stage.free_ports().web), **{name: value})
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"\n{name}")
    assert len(done.stderr.splitlines()) == 2
    assert "hidden" not in done.stderr
    assert (tmp_path / "demo").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "http://x", "redis://127.0.0.1:x"])
def test_a_redis_that_cannot_be_reached_is_named(url: str) -> None:
    with pytest.raises(configured.Refused, match="REDIS_URL names a Redis that cannot be used"):
        configured.check_redis(url)


def test_a_role_that_row_level_security_does_not_bind_gets_no_demo(postgres: embedded.Postgres) -> None:
    postgres.create_database("strong_demo")
    with pytest.raises(configured.Refused, match="superuser"):
        configured.start_afresh(postgres.url("strong_demo", "postgres"))


def test_a_second_demo_of_a_folder_is_refused_and_an_ended_one_is_not_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with demo.only_one(folder, "http://127.0.0.1:8000"):
        folder.mkdir()
        (folder / "demo.json").write_text("{}")
        done = run_demo(folder, "9000")
        assert done.returncode == 1
        assert f"is running already (process {os.getpid()}, http://127.0.0.1:8000)" in done.stderr
        assert (folder / "demo.json").exists()
    with demo.only_one(folder, "http://127.0.0.1:8000"):
        pass


def test_an_interrupt_ends_the_demo_that_a_script_put_into_the_background() -> None:
    program = "import time; from sandbox import demo; demo.end_when_told(); print('on', flush=True); time.sleep(60)"
    child = subprocess.Popen(
        [*IN_BACKGROUND, sys.executable, "-c", program], cwd=stage.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "on\n"
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=10)
        assert "KeyboardInterrupt" in said
    finally:
        child.kill()


def test_a_secret_is_written_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "shop.json"
    for text in ("{}", '{"embed_secret": "x"}'):
        stage.write_secret(path, text)
        assert path.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_letters_whose_links_are_used_already_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    console = demo.Console()
    console.hear("deliveries", "http://x/sign-in/used")
    console.ready(dict.fromkeys(("shop_url", "admin_url", "base_url", "unconnected_account", "stripe_url"), "http://x"))
    console.hear("deliveries", "http://x/sign-in/fresh")
    said = capsys.readouterr().out
    assert "sign-in/used" not in said
    assert "  mail | http://x/sign-in/fresh" in said


def test_an_embedded_server_that_ended_is_named(tmp_path: Path) -> None:
    place = stage.Stage(stage.free_ports(), tmp_path, lambda _name, _line: None)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as server:
        place.embedded["PostgreSQL"] = server.pid
        place.check_servers()
        server.kill()
        server.wait(10)
    with pytest.raises(stage.ServerLost, match=r"PostgreSQL \(process \d+\) has ended"):
        place.check_servers()


def test_the_shops_secret_is_for_its_owner_only_and_gone_with_the_shop(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    place = stage.Stage(stage.free_ports(), tmp_path, lambda _name, _line: None)
    place.environ = dict(os.environ)
    told = {"base_url": "http://x", "shop_url": place.shop_url, "workspace": "w", "embed_secret": "hf_embed_test_x", "customers": []}
    with place.supervisor:
        place.start_shop(told)
        assert (tmp_path / "shop.json").stat().st_mode & 0o777 == 0o600
        place.__exit__()
        assert not (tmp_path / "shop.json").exists()
