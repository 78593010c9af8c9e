"""Settings on Stripe's side: the account and its health, events to replay, and the secrets that hand-offs are signed with."""

from flask import flash, redirect, request
from werkzeug.wrappers import Response

from connect_app import runtime
from connect_app.admin import checklist, desk, health, stripe_links
from connect_app.errors import NotFound, Problem
from connect_app.modes import Mode
from connect_app.workspaces import secrets


@desk.blueprint.get("/settings/stripe")
def stripe() -> str:
    """Account, mode, health, alerts, the read-in, connecting and disconnecting, failed events."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        events = health.failed(session, at.connection)
        notices = health.notices(session, at.connection)
    return desk.page(
        "stripe.html",
        "settings",
        lines=health.lines(at.connection, rt.now(), notices) if at.connection else [],
        notices=notices,
        compared=health.compared(at.connection),
        read_in=checklist.read_in(at.connection) if at.connection else None,
        events=events,
        server_modes=[str(mode) for mode in rt.settings.modes],
        wanted=request.args.get("connect", ""),
        account_link=stripe_links.of(at.mode, "settings/account"),
        portal_settings=stripe_links.portal_settings(at.mode),
    )


@desk.blueprint.post("/settings/stripe/read-in")
def read_in_again() -> Response:
    """Ask for the account to be read in again, or on from where it stopped."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        is_asked = health.read_again(session, at.connection, rt.now())
    flash("Your account is being read." if is_asked else "Your account is being read already.", "info")
    return redirect(at.path("/settings/stripe"), 303)


@desk.blueprint.post("/settings/stripe/events/<event_id>/replay")
def replay_event(event_id: str) -> Response:
    """Understand one failed event again."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        health.replay(session, at.connection, event_id, rt.now())
    flash("The event is being processed again.", "info")
    return redirect(at.path("/settings/stripe"), 303)


@desk.blueprint.post("/settings/stripe/events/replay")
def replay_events() -> Response:
    """Understand all failed events again."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        count = health.replay_all(session, at.connection, rt.now())
    flash(f"{count} event{'' if count == 1 else 's'} being processed again.", "info")
    return redirect(at.path("/settings/stripe"), 303)


@desk.blueprint.get("/settings/secrets")
def embed_secrets() -> str:
    """The secrets by mode; what was shown once is not shown again."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        known = secrets.listing(session, at.workspace_id, rt.now())
    by_mode = {str(mode): [one for one in known if one.mode == mode] for mode in Mode}
    return desk.page("secrets.html", "settings", by_mode=by_mode)


@desk.blueprint.post("/settings/secrets/make")
def make_secret() -> Response:
    """The first secret of a mode, which the owner then has shown once."""
    rt, at, mode = runtime.current(), desk.here(), _mode()
    try:
        with rt.transaction(at.workspace_id) as session:
            secrets.mint(session, at.workspace_id, mode, ring=rt.ring, now=rt.now(), by=at.member.actor)
    except Problem as problem:
        return _refused(problem)
    flash("The secret is made. It is shown once, when you are ready to copy it.", "ok")
    return redirect(at.path("/settings/secrets"), 303)


@desk.blueprint.post("/settings/secrets/<secret_id>/show")
def show_secret(secret_id: str) -> Response | tuple[str, int]:
    """The secret that was made when the workspace was: shown once, in this answer."""
    rt, at = runtime.current(), desk.here()
    try:
        with rt.transaction(at.workspace_id) as session:
            value = secrets.reveal(session, at.workspace_id, secret_id, ring=rt.ring, now=rt.now(), by=at.member.actor)
    except Problem as problem:
        return _refused(problem)
    mode = Mode.LIVE if value.startswith("hf_embed_live_") else Mode.TEST
    return desk.page("secret.html", "settings", secret=value, secret_mode=mode, is_rotation=False), 200


@desk.blueprint.post("/settings/secrets/rotate")
def rotate_secret() -> Response | tuple[str, int]:
    """A new secret, shown in this answer; the older one works for a day more."""
    rt, at, mode = runtime.current(), desk.here(), _mode()
    try:
        with rt.transaction(at.workspace_id) as session:
            minted = secrets.rotate(session, at.workspace_id, mode, ring=rt.ring, now=rt.now(), by=at.member.actor)
    except Problem as problem:
        return _refused(problem)
    return desk.page("secret.html", "settings", secret=minted.value, secret_mode=mode, is_rotation=True), 200


@desk.blueprint.post("/settings/secrets/<secret_id>/revoke")
def revoke_secret(secret_id: str) -> Response:
    """End a secret at once."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        secrets.revoke(session, at.workspace_id, secret_id, now=rt.now(), by=at.member.actor)
    flash("Revoked: nothing signed with it is accepted any more.", "ok")
    return redirect(at.path("/settings/secrets"), 303)


def _mode() -> Mode:
    try:
        return Mode(request.form.get("mode", ""))
    except ValueError:
        raise NotFound(code="not_found", message="There is no such mode.") from None


def _refused(problem: Problem) -> Response:
    if isinstance(problem, NotFound):
        raise problem
    flash(problem.message, "attention")
    return redirect(desk.here().path("/settings/secrets"), 303)
