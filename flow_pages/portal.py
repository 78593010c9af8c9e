"""The portal: all subscriptions of one customer, with *Cancel*, *Undo* and *Update card*; a GET changes nothing."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, Response, g, jsonify, make_response, redirect, request
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from connect_app import connections, limits, preferences, runtime
from connect_app.errors import Gone, NotFound
from connect_app.models import Connection, PortalLink
from connect_app.preferences import Preferences
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from flow_pages import cards, customers, links, outcome, portals, sessions, shapes, spoken, theme, views, visits
from flow_pages.shapes import Shape
from jobs import actions
from webhooks import mirror

blueprint = Blueprint("portal", __name__, template_folder="templates")
blueprint.after_request(theme.finish)
limits.limiter.limit(limits.of("link"), key_func=views.whose)(blueprint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """Whoever holds a customer's portal link, and what is theirs."""

    link: PortalLink
    business: str
    preferences: Preferences
    connection: Connection | None

    @property
    def connection_id(self) -> str | None:
        """Whose copy is shown: the connection's, also once it is lost."""
        return self.connection.id if self.connection is not None else self.link.connection_id

    @property
    def account(self) -> Connection | None:
        """The connection, while it is connected."""
        return self.connection if self.connection is not None and self.connection.state == "connected" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One subscription as the portal lists it."""

    id: str
    plan: str
    price: str
    badge: tuple[str, str]
    facts: list[tuple[str, str]]
    notice: str | None
    can_cancel: bool
    can_undo: bool


@blueprint.get("/portal/<token>")
def show(token: str) -> Response:
    """Every subscription of the customer, as the mirror has it; Stripe is asked only where the mirror has none."""
    rt = runtime.current()
    with rt.transaction() as session:
        guest = _guest(session, rt, token)
    is_known = customers.look_up(rt, guest.account, guest.link.mode, guest.link.workspace_id, guest.link.customer)
    with rt.transaction(guest.link.workspace_id) as session:
        held = _subscriptions(session, guest)
        done = outcome.of_customer(session, guest.connection_id, guest.link.customer, [one.id for one in held])
        names = mirror.product_names(session, guest.connection_id, spoken.names_wanted(held)) if guest.connection_id else {}
        card_note = _card_note(session, guest) if "card" in request.args else None
    entries = [_entry(one, names, done.get(one.id), guest, rt.now()) for one in held]
    is_waiting = any(one.is_in_flight for one in done.values())
    path = links.portal_path(rt, guest.link)
    page = theme.draw(
        "portal.html",
        path=path,
        form_token=links.form_token(rt, guest.link.id, guest.link.epoch),
        entries=entries,
        is_away=not is_known and not entries,
        is_team_asked=guest.account is None and bool(entries),
        card_note=card_note,
        can_update_card=guest.account is not None and any(entry.can_cancel or entry.can_undo for entry in entries),
        poll_url=f"{path}/status" if is_waiting else None,
        test_text="Test mode" if guest.link.mode == "test" else None,
        leave=guest.preferences.return_url if links.origin_of(guest.preferences.return_url or "") else None,
        refresh=2 if is_waiting else None,
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
        guest = _guest(session, rt, token)
        held = _subscriptions(session, guest)
        done = outcome.of_customer(session, guest.connection_id, guest.link.customer, [one.id for one in held])
    return jsonify(settled=not any(one.is_in_flight for one in done.values()), url=links.portal_path(rt, guest.link))


@blueprint.post("/portal/<token>/cancel")
def cancel(token: str) -> AnyResponse:
    """Into the cancel flow of one subscription; *Never mind* comes back here."""
    rt = runtime.current()
    with _acting(token) as (session, guest):
        subscription = _own(session, guest)
        now = rt.now()
        parts = ("portal", guest.link.id, subscription.id, str(int(now.timestamp())))
        row = sessions.mint(
            session,
            guest.link.workspace_id,
            sessions.Handoff(
                mode=guest.link.mode,
                customer=guest.link.customer,
                subscription=subscription.id,
                bundle=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
                origin="portal",
                portal_link_id=guest.link.id,
            ),
            preferences=guest.preferences,
            connection=guest.connection,
            subscription=subscription,
            now=now,
        )
    return redirect(links.cancel_path(rt, row), 303)


@blueprint.post("/portal/<token>/undo")
def undo(token: str) -> AnyResponse:
    """Take back a cancellation that has not taken effect, wherever it was made."""
    rt = runtime.current()
    with _acting(token) as (session, guest):
        subscription = _own(session, guest)
        if guest.account is not None and shapes.of(subscription, rt.now()) is Shape.CANCELING:
            # Where a change is under way already, the portal shows that one.
            with suppress(actions.InFlight):
                actions.ask(
                    session,
                    workspace_id=guest.link.workspace_id,
                    mode=guest.link.mode,
                    connection_id=guest.account.id,
                    customer=guest.link.customer,
                    subscription=subscription.id,
                    verb="undo_cancel",
                    intent={},
                    now=rt.now(),
                    portal_link_id=guest.link.id,
                )
    return redirect(links.portal_path(rt, guest.link), 303)


@blueprint.post("/portal/<token>/card")
def card(token: str) -> AnyResponse:
    """On the way to Stripe's page for a new card, and from there back here."""
    rt = runtime.current()
    with _acting(token) as (session, guest):
        link = guest.link
        cards.begun(session, link.workspace_id, mode=link.mode, customer=link.customer, connection=guest.connection, now=rt.now())
    return redirect(cards.sent(rt, link, connection=guest.connection, path=links.portal_path(rt, link)), 303)


@blueprint.get("/portal/<token>/card")
def card_page(token: str) -> AnyResponse | str:
    """To Stripe's page by a link: it refuses frames, and its address is good for minutes."""
    rt = runtime.current()
    with rt.transaction() as session:
        guest = _guest(session, rt, token)
    return cards.page(rt, guest.link, to=request.args.get("to", ""), path=links.portal_path(rt, guest.link))


@contextmanager
def _acting(token: str) -> Iterator[tuple[Session, Guest]]:
    rt = runtime.current()
    with rt.transaction() as session:
        guest = _guest(session, rt, token)
        if not links.is_form_token(rt, request.form.get("token", ""), guest.link.id, guest.link.epoch):
            raise views.stale_form()
        yield session, guest


def _guest(session: Session, rt: Runtime, token: str) -> Guest:
    """Raises NotFound for a link that was never ours, Gone for one that is over, and for a customer that Stripe has deleted."""
    parsed = links.parse(token, "plk_")
    visits.locate(session, parsed.row_id)
    found = portals.find(session, parsed.row_id)
    if found is None:
        raise links.unknown()
    link = found.link
    links.check(rt, parsed, links.PORTAL, link.epoch)
    settings = preferences.read(session, link.workspace_id)
    theme.enter(found.business, settings)
    if link.revoked_at is not None or rt.now() >= link.expires_at:
        raise links.over()
    if found.is_customer_gone:
        raise Gone(code="customer_gone", message=f"This account no longer exists. If that is a surprise, please contact {g.flow_business}.")
    theme.enter(found.business, settings, links.portal_path(rt, link))
    connection = connections.of_mode(session, link.workspace_id, link.mode)
    return Guest(link=link, business=found.business, preferences=settings, connection=connection)


def _subscriptions(session: Session, guest: Guest) -> list[objects.Subscription]:
    """Running ones first; ended ones stay to be seen."""
    held = mirror.subscriptions_of(session, guest.connection_id, guest.link.customer) if guest.connection_id else []
    return sorted(held, key=lambda one: one.is_ended)


def _own(session: Session, guest: Guest) -> objects.Subscription:
    """The subscription a form names, resolved against this customer again. Raises NotFound for anybody else's."""
    wanted = request.form.get("subscription", "")
    for one in _subscriptions(session, guest):
        if one.id == wanted:
            return one
    raise NotFound(code="subscription_not_found", message="There is no such subscription here. Please go back and reload the page.")


def _card_note(session: Session, guest: Guest) -> tuple[str, str, str]:
    """(kind, title, text) for who comes back from Stripe's page for a new card: what is known about it by now."""
    since = guest.link.card_update_at
    state = outcome.card_state(session, guest.connection_id, guest.link.customer, since) if since else None
    if state == "verified":
        return "ok", "Your new card is in use", "Your subscription is charged to it from now on."
    return "waiting", "You have been to the page for a new card", "If you changed your card, it takes a moment to show."


_BADGES = {
    Shape.ENDED: ("neutral", "Canceled"),
    Shape.CANCELING: ("attention", "Cancels soon"),
    Shape.PAUSED: ("waiting", "Paused"),
    Shape.PAST_DUE: ("failed", "Payment failed"),
    Shape.TRIALING: ("waiting", "Trial"),
    Shape.ORDINARY: ("ok", "Active"),
    Shape.UNKNOWN: ("neutral", "Unknown"),
}


def _entry(one: objects.Subscription, names: dict[str, str], done: outcome.Done | None, guest: Guest, now: datetime) -> Entry:
    shape, locale = shapes.of(one, now), spoken.LANGUAGE
    facts = []
    if shape is Shape.CANCELING and one.ends_at is not None:
        facts = [("Ends on", spoken.day(one.ends_at, locale)), ("Next charge", shapes.next_charge(one, locale))]
    elif shape is Shape.ENDED:
        facts = [("Ended on", spoken.day(one.ended_at or one.current_period_end, locale))]
    elif one.next_charge is not None or shape in (Shape.PAUSED, Shape.PAST_DUE):
        facts = [("Next charge", shapes.next_charge(one, locale))]
    if len(one.items) > 1:
        facts.insert(0, ("Contains", ", ".join(spoken.item(item, names) for item in one.items)))
    is_busy = done is not None and done.is_in_flight
    notice = None
    if is_busy:
        notice = "A change to this subscription is on its way. This page shows it once it is confirmed."
    elif done is not None and done.is_waiting:
        notice = f"Your last request is with the team at {guest.business}. They have been told and will see to it."
    elif shape is Shape.PAST_DUE:
        notice = "Your last payment did not go through. With a new card it can be tried again."
    return Entry(
        id=one.id,
        plan=spoken.plan(one, names),
        price=spoken.price(one, locale),
        badge=("waiting", "Changing") if is_busy else _BADGES[shape],
        facts=facts,
        notice=notice,
        can_cancel=not is_busy and shape not in (Shape.ENDED, Shape.CANCELING),
        can_undo=not is_busy and shape is Shape.CANCELING and guest.account is not None,
    )
