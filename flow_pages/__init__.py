"""The customer's side: the hand-off, the hosted flow and the portal."""

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from connect_app.runtime import Runtime
from flow_pages import embed, portal, spoken, theme, views, visits

log = structlog.get_logger()

error_page = theme.error_page


def register(app: Flask) -> None:
    """Hang the customer's pages on `app`. None of them sets a cookie, so CSRF protection by cookie is not theirs: forms carry a token."""
    for blueprint in (embed.blueprint, views.blueprint, portal.blueprint):
        app.register_blueprint(blueprint)


def warm(app: Flask, rt: Runtime) -> None:
    """Do beforehand what is done once a process, for which its first customers would otherwise wait all together: compile the pages and
    the statement that reads a visit, and load the calendar. What the database refuses, it refuses the customers too, and /readyz says so.
    """
    for name in app.jinja_env.list_templates(filter_func=lambda name: name.startswith("flow")):
        app.jinja_env.get_template(name)
    spoken.day(rt.now(), spoken.LANGUAGE)
    try:
        with rt.transaction() as session:
            visits.load(session, "")
    except SQLAlchemyError as problem:
        log.warning("flow.not_warm", problem=type(problem).__name__)
