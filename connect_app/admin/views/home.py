"""Home: how things stand, and what is left to do."""

from datetime import timedelta
from urllib.parse import urlsplit

from flask import flash, redirect, render_template, request
from werkzeug.wrappers import Response

from connect_app import preferences, runtime
from connect_app.admin import cases, checklist, desk, health, outcomes, sessions, stripe_links
from connect_app.errors import NotFound
from connect_app.modes import Mode
from jobs import queues

# Headline numbers look this far back.
PERIOD = timedelta(days=30)
_RECENT = 6
# Where a change of mode may come back to: pages that both modes have.
_BOTH_MODES = ("/flows", "/flows/embed", "/flows/analytics", "/sessions", "/queue", "/settings", "/offers", "/settings/stripe")


@desk.blueprint.get("", strict_slashes=False)
def home() -> str:
    """Connection, read-in, checklist, numbers and the last sessions."""
    rt, at = runtime.current(), desk.here()
    now = rt.now()
    with rt.transaction(at.workspace_id) as session:
        ticks = checklist.ticks(session, at.workspace_id, at.mode, at.connection)
        headline = cases.headline(session, at.workspace_id, at.mode, since=now - PERIOD)
        settings = preferences.read(session, at.workspace_id)
        recent = sessions.newest(session, at.workspace_id, at.mode, now, _RECENT)
        notices = health.notices(session, at.connection)
    return desk.page(
        "home.html",
        "home",
        ticks=ticks,
        notices=notices,
        headline=headline,
        settings=settings,
        recent=recent,
        words=outcomes.WORDS,
        read_in=checklist.read_in(at.connection) if at.connection else None,
        portal_settings=stripe_links.portal_settings(at.mode),
    )


@desk.blueprint.get("/read-in")
def read_in() -> str:
    """The progress of the read-in, for the page that shows it."""
    at = desk.here()
    if at.connection is None:
        raise NotFound(code="not_found", message="Nothing is connected in this mode.")
    return render_template("admin/_read_in.html", read_in=checklist.read_in(at.connection), is_live_fragment=True)


@desk.blueprint.post("/check-connection")
def check_connection() -> Response:
    """Ask for the connection to be looked at again: permissions, Stripe's own portal."""
    rt, at = runtime.current(), desk.here()
    if at.connection is None:
        raise NotFound(code="not_found", message="Nothing is connected in this mode.")
    with rt.transaction(at.workspace_id) as session:
        queues.enqueue(session, "check_connection", at.connection.id, at.workspace_id, due_at=rt.now())
    flash("We are checking with Stripe. Reload in a moment to see what was found.", "info")
    return redirect(at.path("/settings/stripe"), 303)


@desk.blueprint.get("/mode/<name>")
def set_mode(name: str) -> Response:
    """Look at this mode from now on; nothing but this browser's view changes."""
    at = desk.here()
    if name not in at.connections:
        raise NotFound(code="not_found", message="Nothing is connected in this mode.")
    desk.look_at(Mode(name))
    came_from = urlsplit(request.referrer or "").path.removeprefix(at.path())
    return redirect(at.path(came_from if came_from in _BOTH_MODES else ""), 303)
