"""`holdfast …`: what an operator does from a shell; Flask's own command line under our name."""

import os
import sys
from pathlib import Path

import click
from flask import Flask
from flask.cli import FlaskGroup
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from connect_app import app, config, migrations, runtime, workspaces
from connect_app.runtime import Runtime

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


def _open() -> Runtime:
    _environment()
    try:
        return runtime.open_runtime(config.load())
    except config.SettingsRefused as refusal:
        click.echo(str(refusal), err=True)
        sys.exit(2)


def _app() -> Flask:
    rt = _open()
    return app.create_app(rt.settings, rt)


@click.group(cls=FlaskGroup, create_app=_app, add_default_commands=False, add_version_option=False, load_dotenv=False, set_debug_flag=False)
def main() -> None:
    """Holdfast: a self-hosted retention server for subscription businesses on Stripe."""


@main.command()
def upgrade() -> None:
    """Bring the database's schema up to this code. Safe to run at every start, from several machines at once."""
    rt = _open()
    migrations.upgrade(rt.engine)
    click.echo("The schema is up to date.")
    rt.close()


@main.command("admin-link")
@click.option("--workspace", "slug", help="Slug of the workspace; may be left out where there is only one.")
def admin_link(slug: str | None) -> None:
    """Print a link that signs in to a workspace's dashboard as its operator: good once, within a day."""
    rt = _open()
    try:
        click.echo(workspaces.admin_link(rt, slug))
    except LookupError as problem:
        click.echo(str(problem.args[0]), err=True)
        sys.exit(1)
    finally:
        rt.close()


@main.command()
def doctor() -> None:
    """Look at everything Holdfast stands on and say, line by line, what is right and what to mend."""
    rt = _open()
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
    line(bool(rt.settings.smtp_url.get_secret_value()), "SMTP_URL is set", "letters are printed to the console instead of sent")
    rt.close()
    sys.exit(1 if problems else 0)
