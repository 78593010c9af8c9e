"""Signing in and out: by emailed link, through Stripe, or by the operator's one-time link."""

from flask import Blueprint, flash, make_response, redirect, render_template, request
from flask_limiter.util import get_remote_address
from werkzeug.wrappers import Response

from connect_app import audit, db, limits, runtime
from connect_app.errors import Gone
from connect_app.workspaces import directory, identity, logins, members

blueprint = Blueprint("signin", __name__)


class UsedUp(Gone):
    """A link that lets nobody in any more; it has a page of its own."""


def _typed_address() -> str:
    return f"sign_in:{request.form.get('email', '').strip().lower()[:254]}"


@blueprint.get("/sign-in")
def page() -> str:
    """The ways in; for somebody who is in, where to go."""
    return _page(is_again="again" in request.args)


@blueprint.post("/sign-in")
@limits.limiter.limit(limits.of("sign_in"), key_func=get_remote_address)
@limits.limiter.limit(limits.of("sign_in"), key_func=_typed_address)
def ask() -> Response:
    """Send a link, if the address is a member's; the answer is the same if it is not."""
    rt = runtime.current()
    typed = request.form.get("email", "")
    email = logins.address(typed)
    if email is None:
        return make_response(_page(is_again=True, typed=typed, error="Enter an email address, such as ann@example.com."), 400)
    with rt.transaction() as session:
        logins.sign_in(session, email, rt.now())
    return redirect("/sign-in/sent", 303)


@blueprint.get("/sign-in/sent")
def sent() -> str:
    """What happens next, whoever asked."""
    return render_template("signin/sent.html")


@blueprint.get("/sign-in/<token>")
def open_link(token: str) -> Response | str:
    """An emailed link shows a button, so that a mail scanner's look spends nothing; the operator's own link lets in at once."""
    rt = runtime.current()
    with rt.transaction() as session:
        way = logins.look(session, rt.ring, token, rt.now())
        place = directory.by_id(session, way.workspace_id) if way and way.workspace_id else None
    if way is None:
        raise UsedUp(code="link_used_up", message="This link has been used or has expired.")
    if way.purpose == "operator" and request.method == "GET":
        return _enter(token)
    return render_template("signin/link.html", way=way, place=place)


@blueprint.post("/sign-in/<token>")
def follow_link(token: str) -> Response:
    """The button: the link is used up, and whoever holds it is in."""
    return _enter(token)


@blueprint.post("/sign-out")
def sign_out() -> Response:
    """Out, in every browser."""
    identity.leave()
    flash("You are signed out, here and in every other browser.", "ok")
    return redirect("/sign-in", 303)


@blueprint.errorhandler(UsedUp)
def _used_up(problem: UsedUp) -> Response:
    return make_response(render_template("signin/gone.html"), problem.status)


def _page(*, is_again: bool, typed: str | None = None, error: str | None = None) -> str:
    rt = runtime.current()
    who = identity.visitor()
    places: list[directory.Place] = []
    if who is not None:
        with rt.transaction() as session:
            here = directory.by_id(session, who.workspace_id) if who.workspace_id else None
            places = [here] if here else members.places_of(session, who.user_id or "")
    given = {"typed": typed, "error": error} if typed is not None else {}
    return render_template("signin/page.html", who=who, places=places, is_again=is_again, modes=rt.settings.modes, **given)


def _enter(token: str) -> Response:
    rt = runtime.current()
    now = rt.now()
    user_id: str | None = None
    with rt.transaction() as session:
        way = logins.take(session, rt.ring, token, now)
        if way is None:
            raise UsedUp(code="link_used_up", message="This link has been used or has expired.")
        place = directory.by_id(session, way.workspace_id) if way.workspace_id else None
        if way.purpose == "confirm_owner" and place is not None and way.email is not None:
            db.tenant(session, place.id)
            # Only the first: whoever comes with an older letter after somebody else has confirmed is not let in by it.
            if members.has_owner(session, place.id):
                raise UsedUp(code="link_used_up", message="This link has been used or has expired.")
            user_id = members.add_owner(session, place.id, way.email, now)
        elif way.purpose == "sign_in" and way.email is not None:
            user_id = members.user_of(session, way.email)
            mine = members.places_of(session, user_id) if user_id else []
            place = mine[0] if len(mine) == 1 else None
            for home in mine:
                db.tenant(session, home.id)
                audit.record(session, home.id, actor=user_id or "", verb="signed_in", at=now, details={"by": "email"})
                session.flush()
        elif way.purpose == "operator" and place is not None:
            db.tenant(session, place.id)
            audit.record(session, place.id, actor="operator", verb="signed_in", at=now, details={"by": "operator_link"})
    if user_id is not None:
        identity.enter_as_user(user_id)
    elif way.purpose == "operator" and place is not None:
        identity.enter_as_operator(place.id)
    else:
        raise UsedUp(code="link_used_up", message="This link has been used or has expired.")
    return redirect(f"/admin/{place.slug}/" if place else "/sign-in", 303)
