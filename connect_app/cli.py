"""`holdfast …`: what an operator does from a shell."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click
from redis.exceptions import RedisError
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError, SQLAlchemyError

from connect_app import config, connections, migrations, runtime, workspaces
from connect_app.admin import health
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from jobs.backfill import progress

DEMO = Path(__file__).resolve().parent.parent / "var" / "demo"


def _environment() -> None:
    """Outside any environment of its own, speak to the demo that runs in this folder."""
    demo = DEMO / "demo.env"
    if os.environ.get("DATABASE_URL") or not demo.exists():
        return
    click.echo("DATABASE_URL is not set: speaking to the running demo (var/demo/demo.env).", err=True)
    for line in demo.read_text().splitlines():
        name, _, value = line.partition("=")
        os.environ.setdefault(name, value)


@contextmanager
def _opened() -> Iterator[Runtime]:
    """A runtime for one command; whatever keeps us from the database is said in a sentence and ends the process."""
    _environment()
    try:
        rt = runtime.open_runtime(config.load())
    except config.SettingsRefused as refusal:
        _end(2, str(refusal))
    except (ArgumentError, ValueError):
        _end(2, "DATABASE_URL or REDIS_URL is not a URL that can be read; is the port a number?")
    try:
        yield rt
    except OperationalError:
        _end(1, "DATABASE_URL: the database cannot be reached, or does not let us in")
    except ProgrammingError:
        _end(1, "DATABASE_URL: the database's schema is not the one this code knows; run `holdfast upgrade`")
    finally:
        rt.close()


def _end(code: int, words: str) -> NoReturn:
    click.echo(words, err=True)
    sys.exit(code)


@click.group()
def main() -> None:
    """Holdfast: a self-hosted retention server for subscription businesses on Stripe."""


@main.command()
def upgrade() -> None:
    """Bring the database's schema up to this code. Safe to run at every start, from several machines at once."""
    with _opened() as rt:
        migrations.upgrade(rt.engine)
    click.echo("The schema is up to date.")


@main.command("admin-link")
@click.option("--workspace", "slug", help="Slug of the workspace; may be left out where there is only one.")
def admin_link(slug: str | None) -> None:
    """Print a link that signs in to a workspace's dashboard as its operator: good once, within a day."""
    with _opened() as rt:
        try:
            click.echo(workspaces.admin_link(rt, slug))
        except LookupError as problem:
            _end(1, str(problem.args[0]))


@main.command()
@click.option("--workspace", "slug", help="Slug of the workspace; may be left out where there is only one.")
@click.option("--mode", type=click.Choice([mode.value for mode in Mode]), help="Only this mode's account.")
@click.option("--again", is_flag=True, help="Read everything anew; a read-in that stopped goes on from where it was.")
@click.option("--watch", is_flag=True, help="Stay until it is over; exits 1 where it stopped.")
def backfill(slug: str | None, mode: str | None, again: bool, watch: bool) -> None:
    """Show how far the reading of a workspace's Stripe accounts has come."""
    with _opened() as rt:
        try:
            with rt.transaction() as session:
                place = workspaces.named(session, slug)
        except LookupError as problem:
            _end(1, str(problem.args[0]))
        if again:
            _read_again(rt, place, mode)
        told = _tell(rt, place, mode)
        # A disconnected account is read no further.
        while watch and any(is_connected and not line.is_over for line, is_connected in told):
            time.sleep(1)
            told = _tell(rt, place, mode)
    if any(line.state == "failed" or (watch and not line.is_over) for line, _ in told):
        sys.exit(1)


def _read_again(rt: Runtime, place: workspaces.Place, mode: str | None) -> None:
    with rt.transaction(place.id) as session:
        for connection in connections.every(session, place.id):
            if mode in (None, connection.mode) and connection.state == "connected":
                health.read_again(session, connection, rt.now())


def _tell(rt: Runtime, place: workspaces.Place, mode: str | None) -> list[tuple[progress.Told, bool]]:
    """Print a line for each account; gives what they say, and whether the account is connected."""
    with rt.transaction(place.id) as session:
        accounts = [one for one in connections.every(session, place.id) if mode in (None, one.mode)]
    if not accounts:
        _end(1, f"{place.slug} has no Stripe account" + (f" in {mode} mode." if mode else "."))
    told = [progress.tell(account.read_in) for account in accounts]
    for account, line in zip(accounts, told, strict=True):
        if account.state != "connected":
            words = "disconnected"
        elif line.state == "done":
            words = f"complete: {line.read:,} objects, {line.cancellations:,} cancellations of the last 24 months among them"
        elif line.state == "failed":
            words = f"stopped after {line.read:,} objects: {line.error}"
        else:
            words = f"list {line.stage + 1} of {line.stages}, {line.doing}: {line.sentence}"
        click.echo(f"{account.account} ({account.mode}): {words}")
    return [(line, account.state == "connected") for account, line in zip(accounts, told, strict=True)]


@main.command()
def doctor() -> None:
    """Look at everything Holdfast stands on and say, line by line, what is right and what to mend."""
    with _opened() as rt:
        problems = _examine(rt)
    sys.exit(1 if problems else 0)


def _examine(rt: Runtime) -> int:
    """Say how each thing stands; gives how many have to be mended."""
    problems = 0

    def line(is_right: bool, what: str, mend: str = "") -> None:
        nonlocal problems
        problems += not is_right
        click.echo(f"{'ok  ' if is_right else 'MEND'}  {what}{'' if is_right or not mend else f': {mend}'}")

    line(True, "settings are complete")
    try:
        rt.check_role()
        line(True, "database can be reached, and its role is bound by row level security")
        line(migrations.is_current(rt.engine), "schema is the one this code knows", "run `holdfast upgrade`")
    except runtime.RoleTooStrong as error:
        line(False, "database role", str(error))
    except SQLAlchemyError as error:
        line(False, "database can be reached", type(error).__name__)
    try:
        rt.redis.ping()
        line(True, "Redis can be reached")
    except RedisError as error:
        line(False, "Redis can be reached", type(error).__name__)
    line(bool(rt.settings.modes), "Stripe keys are set", "set STRIPE_TEST_SECRET_KEY and STRIPE_TEST_CLIENT_ID (or LIVE)")
    for mode in rt.settings.modes:
        secrets = rt.settings.webhook_secrets(mode)
        line(bool(secrets), f"a {mode} webhook secret is set", f"set STRIPE_{mode.upper()}_WEBHOOK_SECRETS")
    line(bool(rt.settings.holdfast_base_url), "HOLDFAST_BASE_URL is set", "links would lead to 127.0.0.1")
    if rt.settings.smtp_url.get_secret_value():
        line(True, "SMTP_URL is set")
    else:
        click.echo("note  SMTP_URL is not set: letters are printed to the console instead of sent")
    return problems
