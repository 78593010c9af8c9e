"""The portal's pages: parse, one verb, render. A GET changes nothing; a POST answers 303 to a page of ours."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlencode

from flask import Blueprint, Response, jsonify, make_response, redirect, request
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from connect_app import limits, runtime
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from flow_pages import cards, customers, links, offer_pages, outcome, sessions, shapes, spoken, theme, views
from flow_pages.portal import codes, entries, guests, invoices, listing, parts, pausing
from flow_pages.portal.guests import Guest
from flow_pages.shapes import Shape
from jobs import actions
from webhooks import mirror

blueprint = Blueprint("portal", __name__, template_folder="../templates")
blueprint.after_request(theme.finish)
limits.limiter.limit(limits.of("link"), key_func=views.whose)(blueprint)


@blueprint.get("/portal/<token>")
def show(token: str) -> Response:
    """Every subscription of the customer, as the mirror has it; Stripe is asked only where the mirror has none."""
    rt = runtime.current()
    with rt.transaction() as session:
        guest = guests.of(session, rt, token)
    is_known = customers.look_up(rt, guest.account, guest.link.mode, guest.link.workspace_id, guest.link.customer)
    with rt.transaction(guest.link.workspace_id) as session:
        held = guests.subscriptions(session, guest)
        done = outcome.of_customer(session, guest.connection_id, guest.link.customer, [one.id for one in held])
        listed = listing.of(session, guest, held, done, rt.now())
        card_note = invoices.card_note(session, guest) if "card" in request.args else None
        has_invoices = invoices.are_there(session, guest)
    is_waiting = listing.is_waiting(held, done, rt.now())
    frame = _frame(rt, guest)
    page = theme.draw(
        "portal.html",
        entries=listed,
        is_away=not is_known and not listed,
        is_team_asked=guest.account is None and bool(listed),
        card_note=card_note,
        is_gone="gone" in request.args,
        has_invoices=has_invoices,
        can_update_card=guest.account is not None and any(entry.can_cancel or entry.undo is not None for entry in listed),
        poll_url=f"{frame['path']}/status" if is_waiting else None,
        leave=guest.preferences.return_url if links.origin_of(guest.preferences.return_url or "") else None,
        refresh=2 if is_waiting else None,
        **frame,
    )
    response = make_response(page)
    if is_waiting:
        response.headers["Refresh"] = "5"
    return response


@blueprint.get("/portal/<token>/status")
def status(token: str) -> Response:
    """Whether anything asked for here is still under way: `{settled, url}`."""
    rt = runtime.current()
    with rt.transaction() as session:
        guest = guests.of(session, rt, token)
        held = guests.subscriptions(session, guest)
        done = outcome.of_customer(session, guest.connection_id, guest.link.customer, [one.id for one in held])
    return jsonify(settled=not listing.is_waiting(held, done, rt.now()), url=links.portal_path(rt, guest.link))


@blueprint.get("/portal/<token>/invoices")
def bills(token: str) -> str:
    """The last invoices, each with its page at Stripe."""
    rt = runtime.current()
    with rt.transaction() as session:
        guest = guests.of(session, rt, token)
        listed = invoices.listing(session, guest)
    return theme.draw("portal_invoices.html", invoices=listed, **_frame(rt, guest))


@blueprint.post("/portal/<token>/cancel")
def cancel(token: str) -> AnyResponse:
    """Into the cancel flow of one subscription; *Never mind* comes back here."""
    rt = runtime.current()
    with guests.acting(token) as (session, guest):
        subscription = guests.own(session, guest, request.form.get("subscription", ""))
        if codes.is_needed(session, guest, rt.now()):
            return _to_code(rt, session, guest, goal="cancel", subscription=subscription.id)
        return redirect(_flow(rt, session, guest, subscription), 303)


@blueprint.get("/portal/<token>/pause")
def pause_page(token: str) -> AnyResponse | str:
    """How long to pause one subscription for, and what comes of it."""
    rt = runtime.current()
    with rt.transaction() as session:
        guest = guests.of(session, rt, token)
        subscription = guests.own(session, guest, request.args.get("subscription", ""))
        made = pausing.offered(session, guest, subscription, rt.now())
        names = mirror.product_names(session, guest.connection_id, spoken.names_wanted([subscription])) if guest.connection_id else {}
    if made is None:
        return redirect(f"{links.portal_path(rt, guest.link)}?gone", 303)
    shared, ways = offer_pages.told(made, subscription, {}, spoken.LANGUAGE, rt.now())
    return theme.draw(
        "portal_pause.html",
        plan=spoken.plan(subscription, names),
        subscription=subscription.id,
        offer=made.offer.id,
        shared=shared,
        ways=ways,
        way=request.args.get("way"),
        is_proven="proven" in request.args,
        **_frame(rt, guest),
    )


@blueprint.post("/portal/<token>/pause")
def pause(token: str) -> AnyResponse:
    """Pause one subscription for as long as the form says, within the bounds and limits of the offer."""
    rt, way, is_taken = runtime.current(), request.form.get("way", ""), True
    # Where a change is under way already, the portal shows that one.
    with suppress(actions.InFlight), guests.acting(token) as (session, guest):
        subscription = guests.own(session, guest, request.form.get("subscription", ""))
        if codes.is_needed(session, guest, rt.now()):
            return _to_code(rt, session, guest, goal="pause", subscription=subscription.id, way=way)
        is_taken = pausing.take(session, rt, guest, subscription, request.form.get("offer", ""), way)
    return _back(token, "" if is_taken else "?gone")


@blueprint.post("/portal/<token>/resume")
def resume(token: str) -> AnyResponse:
    """End a pause or free time before its day, whoever made it."""
    rt = runtime.current()
    with guests.acting(token) as (session, guest):
        subscription = guests.own(session, guest, request.form.get("subscription", ""))
        if guest.account is not None and entries.can_resume(subscription):
            _ask(rt, session, guest, subscription, "resume")
    return _back(token)


@blueprint.post("/portal/<token>/undo")
def undo(token: str) -> AnyResponse:
    """Take back a cancellation that has not taken effect, wherever it was made."""
    rt = runtime.current()
    with guests.acting(token) as (session, guest):
        subscription = guests.own(session, guest, request.form.get("subscription", ""))
        part = parts.ending(session, guest.connection_id, guest.link.customer, [subscription], rt.now()).get(subscription.id)
        if guest.account is not None and (part is not None or shapes.of(subscription, rt.now()) is Shape.CANCELING):
            _ask(rt, session, guest, subscription, "undo_cancel", part.intent if part else None)
    return _back(token)


@blueprint.get("/portal/<token>/code")
def code_page(token: str) -> str:
    """Where the code that was emailed is typed."""
    rt = runtime.current()
    with rt.transaction() as session:
        guest = guests.of(session, rt, token)
        to = codes.address(session, guest)
    asked = {name: request.args.get(name, "") for name in ("goal", "subscription", "way")}
    said = request.args.get("said")
    return theme.draw("portal_code.html", to=codes.masked(to) if to else None, asked=asked, said=said, **_frame(rt, guest))


@blueprint.post("/portal/<token>/code")
def code(token: str) -> AnyResponse:
    """The digits as they were typed: where they are right, on to what they were asked for."""
    rt = runtime.current()
    with guests.acting(token) as (session, guest):
        subscription = guests.own(session, guest, request.form.get("subscription", ""))
        verdict = codes.check(session, rt, guest, request.form.get("code", ""))
        asked = {"goal": request.form.get("goal", ""), "subscription": subscription.id, "way": request.form.get("way", "")}
        if verdict != "ok":
            return redirect(f"{links.portal_path(rt, guest.link)}/code?{urlencode({**asked, 'said': verdict})}", 303)
        if asked["goal"] == "cancel":
            return redirect(_flow(rt, session, guest, subscription), 303)
    proven = {"subscription": asked["subscription"], "way": asked["way"], "proven": "1"}
    return _back(token, f"/pause?{urlencode(proven)}")


@blueprint.post("/portal/<token>/code/again")
def code_again(token: str) -> AnyResponse:
    """Another code, in the place of the one before."""
    rt = runtime.current()
    with guests.acting(token) as (session, guest):
        subscription = guests.own(session, guest, request.form.get("subscription", ""))
        asked = {"goal": request.form.get("goal", ""), "way": request.form.get("way", "")}
        return _to_code(rt, session, guest, subscription=subscription.id, is_told=True, **asked)


@blueprint.post("/portal/<token>/card")
def card(token: str) -> AnyResponse:
    """On the way to Stripe's page for a new card, and from there back here."""
    rt = runtime.current()
    with guests.acting(token) as (session, guest):
        link = guest.link
        cards.begun(session, link.workspace_id, mode=link.mode, customer=link.customer, connection=guest.connection, now=rt.now())
    return redirect(cards.sent(rt, link, connection=guest.connection, path=links.portal_path(rt, link)), 303)


@blueprint.get("/portal/<token>/card")
def card_page(token: str) -> AnyResponse | str:
    """To Stripe's page by a link: it refuses frames, and its address is good for minutes."""
    rt = runtime.current()
    with rt.transaction() as session:
        guest = guests.of(session, rt, token)
    return cards.page(rt, guest.link, to=request.args.get("to", ""), path=links.portal_path(rt, guest.link))


def _frame(rt: Runtime, guest: Guest) -> dict[str, str | None]:
    return {
        "path": links.portal_path(rt, guest.link),
        "form_token": links.form_token(rt, guest.link.id, guest.link.epoch),
        "test_text": "Test mode" if guest.link.mode == "test" else None,
    }


def _ask(
    rt: Runtime, session: Session, guest: Guest, subscription: objects.Subscription, verb: str, intent: Mapping[str, object] | None = None
) -> None:
    """An action without a choice. Where a change is under way already, the portal shows that one."""
    with suppress(actions.InFlight):
        actions.ask(
            session,
            workspace_id=guest.link.workspace_id,
            mode=guest.link.mode,
            connection_id=guest.connection_id,
            customer=guest.link.customer,
            subscription=subscription.id,
            verb=verb,
            intent=intent or {},
            now=rt.now(),
            portal_link_id=guest.link.id,
        )


def _flow(rt: Runtime, session: Session, guest: Guest, subscription: objects.Subscription) -> str:
    """The path of a new cancel session for this subscription."""
    now, link = rt.now(), guest.link
    bundle = ("portal", link.id, subscription.id, str(int(now.timestamp())))
    row = sessions.mint(
        session,
        link.workspace_id,
        sessions.Handoff(
            mode=link.mode,
            customer=link.customer,
            subscription=subscription.id,
            bundle=hashlib.sha256("\n".join(bundle).encode()).hexdigest(),
            origin="portal",
            portal_link_id=link.id,
        ),
        preferences=guest.preferences,
        connection=guest.connection,
        subscription=subscription,
        now=now,
    )
    return links.cancel_path(rt, row)


def _to_code(
    rt: Runtime, session: Session, guest: Guest, *, goal: str, subscription: str, way: str = "", is_told: bool = False
) -> AnyResponse:
    """A code is on its way, or was a moment ago: to the page where it is typed, which remembers what it was for."""
    sent = codes.send(session, rt, guest)
    asked = {"goal": goal, "subscription": subscription, "way": way}
    said = {"said": sent} if is_told or sent == "enough" else {}
    return redirect(f"{links.portal_path(rt, guest.link)}/code?{urlencode({**asked, **said})}", 303)


def _back(token: str, more: str = "") -> AnyResponse:
    return redirect(f"/portal/{token}{more}", 303)
