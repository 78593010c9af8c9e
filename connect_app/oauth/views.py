"""The pages of an install, and the doors to and from Stripe's authorize page."""

from datetime import timedelta
from secrets import token_urlsafe

from flask import Blueprint, flash, make_response, redirect, render_template, request, session
from flask_limiter.util import get_remote_address
from werkzeug.wrappers import Response

from connect_app import connections, limits, runtime
from connect_app.errors import Conflict, InvalidRequest, NotFound
from connect_app.modes import Mode
from connect_app.oauth import arrivals, exchange, setbacks, states
from connect_app.oauth.installs import Install
from connect_app.oauth.setbacks import Setback
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.objects import Account
from connect_app.workspaces import access, accounts, directory, identity, logins, members

blueprint = Blueprint("oauth", __name__)

# A browser that has proven an account may finish or undo the install this long.
_INSTALL_LASTS = timedelta(hours=1)


@blueprint.get("/install")
def start() -> str:
    """What we read and write and why, and the way to Stripe for each mode that this server has keys for."""
    return render_template("install/start.html", modes=runtime.current().settings.modes, wide=True)


@blueprint.get("/oauth/start")
@limits.limiter.limit(limits.of("connect"), key_func=get_remote_address)
def depart() -> Response:
    """Off to Stripe. With `workspace`, an owner connects or reconnects that workspace in this mode."""
    rt = runtime.current()
    mode = _mode(rt, request.args.get("mode", ""))
    slug = request.args.get("workspace")
    workspace_id = _owner(slug).workspace.id if slug is not None else None
    browser = session.setdefault("browser", token_urlsafe(32))
    with rt.transaction() as db_session:
        state = states.begin(db_session, mode=mode, workspace_id=workspace_id, browser=browser, now=rt.now())
    return redirect(exchange.authorize_url(mode, state, _callback(rt)), 303)


@blueprint.get("/oauth/callback")
def come_back() -> Response:
    """Back from Stripe. The state is used up before anything else; the code is exchanged once; the answer is a page without the query."""
    rt = runtime.current()
    with rt.transaction() as db_session:
        trip = states.take(db_session, request.args.get("state", ""), session.get("browser", ""), rt.now())
    who = None
    if trip.workspace_id is not None:
        with rt.transaction() as db_session:
            place = directory.by_id(db_session, trip.workspace_id)
        who = _owner(place.slug if place else "")
    if "error" in request.args:
        described = request.args.get("error_description", "")
        if "controlled by another platform" in described:
            raise Setback("controlled")
        raise Setback("denied" if request.args["error"] == "access_denied" else "refused")
    code = request.args.get("code", "")
    if not 0 < len(code) <= 512:
        raise Setback("refused")
    grant = exchange.trade(trip.mode, code, _callback(rt))
    seen = arrivals.look(rt, grant)
    if who is not None:
        arrival = arrivals.arrive_for(rt, who, grant, seen.account)
    else:
        visitor = identity.visitor()
        arrival = arrivals.arrive(rt, grant, seen.account, visitor.user_id if visitor else None)
    match arrival.kind:
        case "again":
            flash(_again(seen.account), "ok")
            return redirect(f"/admin/{arrival.place.slug}/settings/stripe?mode={trip.mode}", 303)
        case "sign_in":
            identity.enter_via_stripe(arrival.place.id, grant.account, grant.mode)
            if arrival.is_again:
                flash(_again(seen.account), "ok")
            return redirect(f"/admin/{arrival.place.slug}/", 303)
        case "opened" | "linked":
            if identity.visitor() is None:
                session.clear()  # what this browser held before it proved anything
            Install.of(arrival, active=seen.active).keep()
            return redirect("/install/connected", 303)


@blueprint.post("/oauth/disconnect")
def disconnect() -> Response:
    """An owner lets the account go: from now on here, and at Stripe as soon as it answers."""
    rt = runtime.current()
    who = _owner(request.form.get("workspace", ""))
    mode = _mode(rt, request.form.get("mode", ""), needs_keys=False)
    with rt.transaction(who.workspace.id) as db_session:
        if not accounts.disconnect(db_session, who.workspace.id, mode, now=rt.now(), by=who.actor):
            raise Conflict(code="not_connected", message=f"There is no {mode} account connected to this workspace.")
    flash("Disconnected. Your data stays here, and customers see a cancel page without offers until you reconnect.", "ok")
    return redirect(f"/admin/{who.workspace.slug}/settings/stripe?mode={mode}", 303)


@blueprint.get("/install/connected")
def connected() -> Response | str:
    """Which account it was, how many subscribers it has, *Undo*; and for a new workspace, whose it is."""
    install, place = _install()
    return _connected(install, place)


@blueprint.post("/install/email")
@limits.limiter.limit(limits.of("sign_in"), key_func=get_remote_address)
def email() -> Response:
    """The first owner's address: a letter goes there, and its link makes them the owner."""
    rt = runtime.current()
    install, place = _install()
    typed = request.form.get("email", "")
    address = logins.address(typed)
    if address is None:
        return make_response(_connected(install, place, typed=typed, error="Enter an email address, such as ann@example.com."), 400)
    with rt.transaction(place.id) as db_session:
        if members.has_owner(db_session, place.id):
            raise Conflict(code="has_owner", message="This workspace has its owner by now: go to the sign-in page.")
        logins.confirm_owner(db_session, place, address, rt.now())
    install.with_email(address).keep()
    return redirect("/install/inbox", 303)


@blueprint.get("/install/inbox")
def inbox() -> Response | str:
    """The letter is on its way."""
    install, place = _install()
    if install.email is None:
        return redirect("/install/connected", 303)
    return render_template("install/inbox.html", install=install, place=place)


@blueprint.post("/install/undo")
def undo() -> Response:
    """The wrong account: everything is as it was before, and Stripe is told to close our access."""
    rt = runtime.current()
    install, place = _install()
    with rt.transaction(place.id) as db_session:
        is_owned = members.has_owner(db_session, place.id)
    by = _owner(place.slug).actor if is_owned else "holdfast"
    with rt.transaction(place.id) as db_session:
        connection = connections.by_id(db_session, install.connection_id)
        if connection is None or connection.connected_at != install.connected_at:
            raise Conflict(code="not_connected", message="This connection has changed since; look at Settings → Stripe.")
        accounts.disconnect(db_session, place.id, connection.mode, now=rt.now(), by=by)
        connections.forget(db_session, connection.id)
        if not is_owned:
            logins.forget(db_session, place.id)
            directory.give_up_slug(db_session, place.id)
    Install.forget()
    flash("Undone: the account is being disconnected. You can connect another one.", "ok")
    return redirect(f"/admin/{place.slug}/settings/stripe" if is_owned else "/install", 303)


@blueprint.errorhandler(Setback)
def _setback(setback: Setback) -> Response:
    page = setbacks.PAGES[setback.code]
    response = make_response(render_template("install/setback.html", page=page), page.status)
    if page.status == 503:
        response.headers["Retry-After"] = "60"
    return response


@blueprint.after_request
def _no_referrer(response: Response) -> Response:
    # The callback's address holds a code and a state. Its pages have no form, so nothing needs the Referer.
    if request.endpoint == "oauth.come_back":
        response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _owner(slug: str) -> access.Member:
    who = access.member(slug)
    access.require(who, "owner")
    access.require_fresh(who)
    return who


def _again(account: Account) -> str:
    return f"{accounts.name_of(account)} is connected again. What waited for it is being tried again now."


def _mode(rt: Runtime, text: str, *, needs_keys: bool = True) -> Mode:
    known = rt.settings.modes if needs_keys else tuple(Mode)
    if text not in known:
        raise InvalidRequest(code="mode_unknown", message=f"This server has no Stripe keys for the mode {text[:20]!r}.", param="mode")
    return Mode(text)


def _callback(rt: Runtime) -> str:
    return f"{rt.settings.base_url}/oauth/callback"


def _install() -> tuple[Install, directory.Place]:
    """The install that this browser has under way. Raises NotFound where it has none, or had it too long ago."""
    rt = runtime.current()
    install = Install.kept()
    if install is not None and rt.now() - install.connected_at <= _INSTALL_LASTS:
        with rt.transaction() as db_session:
            place = directory.by_id(db_session, install.workspace_id)
        if place is not None:
            return install, place
    raise NotFound(code="no_install", message="No install is under way in this browser. Start at /install, or sign in.")


def _connected(install: Install, place: directory.Place, *, typed: str = "", error: str | None = None) -> Response | str:
    rt = runtime.current()
    with rt.transaction(place.id) as db_session:
        connection = connections.by_id(db_session, install.connection_id)
        is_owned = members.has_owner(db_session, place.id)
    if connection is None or connection.connected_at != install.connected_at or connection.state != "connected":
        return redirect("/install", 303)
    return render_template(
        "install/connected.html", install=install, place=place, connection=connection, is_owned=is_owned, typed=typed, error=error
    )
