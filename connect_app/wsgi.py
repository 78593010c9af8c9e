"""The WSGI application as connect_app.server's workers load it."""

import gc
import sys
import time
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import OperationalError

import flow_pages
from connect_app import app, config, log, runtime
from webhooks import door

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_PATIENCE = 30.0


def load() -> "WSGIApplication":
    """The webhook door with the Flask application behind it; exits 2 and says every problem where the environment cannot be run with."""
    log.configure()
    try:
        settings = config.load()
        rt = runtime.open_runtime(settings, pool_size=16)
        _check_role(rt)
    except (config.SettingsRefused, runtime.RoleTooStrong) as refusal:
        sys.stderr.write(f"{refusal}\n")
        sys.exit(2)
    application = app.create_app(settings, rt)
    flow_pages.warm(application, rt)
    # What is there by now is there for good: no later collection need look at it again, which would stop all customers meanwhile.
    gc.collect()
    gc.freeze()
    return door.Door(application, rt)


def _check_role(rt: runtime.Runtime) -> None:
    """Ask the database who we are; one that is just starting too is waited for, half a minute."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return rt.check_role()
        except OperationalError:
            if time.monotonic() > until:
                sys.stderr.write("DATABASE_URL: the database cannot be reached\n")
                sys.exit(2)
            structlog.get_logger().warning("web.database_away")
            time.sleep(1)


application = load()
