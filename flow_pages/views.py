"""The hosted flow's pages: parse, one verb, render. A GET looks and never spends; a POST answers 303 to a page of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Blueprint, Response, jsonify, redirect, request
from flask_limiter.util import get_remote_address
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from connect_app import limits, runtime
from connect_app.errors import Conflict, Forbidden
from flow_pages import accepting, cards, first_look, links, offer_pages, pages, sessions, steps, theme, visits
from flow_pages.visits import Visit
from jobs import actions

blueprint = Blueprint("flow", __name__, template_folder="templates", static_folder="static", static_url_path="/flow-static")
blueprint.after_request(theme.finish)


def whose() -> str:
    """Requests are counted by link, so that one customer's haste is nobody else's."""
    token = (request.view_args or {}).get("token")
    return token[:30] if isinstance(token, str) else get_remote_address()


limits.limiter.limit(limits.of("link"), key_func=whose, exempt_when=lambda: str(request.endpoint).endswith(".static"))(blueprint)


@blueprint.get("/cancel/<token>")
def show(token: str) -> Response | str:
    """Where this customer is in the flow; or the outcome, once there is a choice."""
    rt = runtime.current()
    is_looked_at = request.method == "GET" and "prefetch" not in request.headers.get("Sec-Purpose", request.headers.get("Purpose", ""))
    asked = pages.Asked(
        at=request.args.get("at"), is_gone="gone" in request.args, is_from_card="card" in request.args, is_changed="changed" in request.args
    )
    with first_look.taken(rt, token) as (session, visit):
        theme.enter(visit.workspace_name, visit.preferences, _back(visit))
        page = pages.current(rt, session, visit, asked, is_looked_at=is_looked_at)
    return page.draw(rt) if isinstance(page, offer_pages.OfferPage) else page


@blueprint.get("/cancel/<token>/status")
def status(token: str) -> Response:
    """Whether the page that waits can be left: `{settled, url}`. With `?all` only when everything is settled."""
    rt = runtime.current()
    with rt.transaction() as session:
        visit = visits.read(session, rt, token)
        settled = pages.can_leave(session, visit, rt.now(), wait_for_all="all" in request.args)
    # Without a choice, what was waited for is an undo: its page is asked for by name, or the flow would begin again.
    return jsonify(settled=settled, url=_back(visit) + ("?at=undo" if visit.row.state == "open" else ""))


@blueprint.post("/cancel/<token>/opened")
def opened(token: str) -> tuple[str, int]:
    """The page ran in a browser: from here on the link lasts its whole time."""
    with _acting(token) as (session, visit):
        sessions.shown(session, visit, runtime.current().now())
    return "", 204


@blueprint.post("/cancel/<token>/answer")
def answer(token: str) -> AnyResponse:
    """The survey."""
    with _acting(token) as (session, visit):
        reason, comment = request.form.get("reason") or None, request.form.get("comment")
        sessions.answer(session, visit, reason=reason, comment=comment, now=runtime.current().now())
    return _to(visit)


@blueprint.post("/cancel/<token>/skip")
def skip(token: str) -> AnyResponse:
    """*Cancel now*, from any page."""
    with _acting(token) as (session, visit):
        sessions.skip(session, visit, runtime.current().now())
    return _to(visit)


@blueprint.post("/cancel/<token>/decline")
def decline(token: str) -> AnyResponse:
    """*No thanks* to the offer on the page."""
    with _acting(token) as (session, visit):
        sessions.decline(session, visit, request.form.get("offer", ""), runtime.current().now())
    return _to(visit)


@blueprint.post("/cancel/<token>/accept")
def accept(token: str) -> AnyResponse:
    """The offer on the page is taken: the customer's one choice."""
    rt = runtime.current()
    with _acting(token) as (session, visit):
        then = accepting.accept(rt, session, visit, offer_id=request.form.get("offer", ""), way=request.form.get("way", ""))
    return _to(visit, then)


@blueprint.get("/cancel/<token>/link/<offer_id>")
def link(token: str, offer_id: str) -> AnyResponse | str:
    """Out to the page or the mail of a link offer, by a link: a form's answer may not lead to another site."""
    rt = runtime.current()
    with rt.transaction() as session:
        visit = visits.read(session, rt, token)
        theme.enter(visit.workspace_name, visit.preferences, _back(visit))
        page = pages.leading_out(rt, session, visit, offer_id)
    return page or _to(visit, "?gone")


@blueprint.post("/cancel/<token>/confirm")
def confirm(token: str) -> AnyResponse:
    """The cancellation is confirmed, on its page: the customer's one choice."""
    with _acting(token) as (session, visit):
        if isinstance(pages.walked(session, visit, runtime.current().now())[-1], steps.ConfirmStep):
            said = {"scope": request.form.get("scope"), "told": request.form.get("told")}
            return _to(visit, accepting.confirm(session, visit, runtime.current().now(), **said))
    return _to(visit)


@blueprint.post("/cancel/<token>/keep")
def keep(token: str) -> AnyResponse:
    """*Never mind*: nothing changes, and the customer goes back to where they came from."""
    rt = runtime.current()
    with _acting(token) as (session, visit):
        sessions.never_mind(session, visit, rt.now())
        home = pages.portal_of(rt, session, visit)
    return redirect(home, 303) if home and visit.row.state == "open" else _to(visit, "?at=kept")


@blueprint.post("/cancel/<token>/undo")
def undo(token: str) -> AnyResponse:
    """The scheduled cancellation is taken back, or the pause ended, while that is possible."""
    now = runtime.current().now()
    with _acting(token) as (session, visit):
        if (way_back := pages.undoing(session, visit, now, request.form.get("subscription", ""))) is not None:
            sessions.undo(session, visit, now, way_back.verb, way_back.subscription, way_back.intent)
    return _to(visit, "?at=undo")


@blueprint.post("/cancel/<token>/card")
def card(token: str) -> AnyResponse:
    """On the way to Stripe's own page for a new card."""
    rt = runtime.current()
    with _acting(token) as (session, visit):
        row = visit.row
        cards.begun(session, row.workspace_id, mode=row.mode, customer=row.customer, connection=visit.connection, now=rt.now())
    return redirect(cards.sent(rt, row, connection=visit.connection, path=_back(visit)), 303)


@blueprint.get("/cancel/<token>/card")
def card_page(token: str) -> AnyResponse | str:
    """To Stripe's page by a link: it refuses frames, and its address is good for minutes."""
    rt = runtime.current()
    with rt.transaction() as session:
        visit = visits.read(session, rt, token)
    theme.enter(visit.workspace_name, visit.preferences, _back(visit))
    return cards.page(rt, visit.row, to=request.args.get("to", ""), path=_back(visit))


@contextmanager
def _acting(token: str) -> Iterator[tuple[Session, Visit]]:
    """The transaction of one verb, for a form that one of our pages made. Raises Forbidden for any other."""
    rt = runtime.current()
    try:
        with rt.transaction() as session:
            visit = visits.read(session, rt, token)
            theme.enter(visit.workspace_name, visit.preferences, _back(visit))
            if not links.is_form_token(rt, request.form.get("token", ""), visit.row.id, visit.row.epoch):
                raise stale_form()
            yield session, visit
    except actions.InFlight as flight:
        raise under_way() from flight


def stale_form() -> Forbidden:
    return Forbidden(
        code="form_out_of_date", message="This page was open too long. Go back, reload it, and try again: nothing was changed."
    )


def under_way() -> Conflict:
    return Conflict(
        code="change_under_way",
        message="An earlier change to this subscription is still on its way to the payment provider. Please try again in a minute.",
    )


def _back(visit: Visit) -> str:
    return links.cancel_path(runtime.current(), visit.row)


def _to(visit: Visit, query: str = "") -> AnyResponse:
    return redirect(_back(visit) + query, 303)
