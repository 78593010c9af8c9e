"""Which offers can be made to a customer now: for them by audience and date, possible on Stripe, and within their limits."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app import db
from connect_app.models import Audience
from connect_app.money import Money
from connect_app.stripe_gateway.objects import Status, Subscription
from flow_pages import steps
from flow_pages.document import CustomOffer, LinkOffer, Offer
from flow_pages.offers import limits, options, terms
from flow_pages.offers.options import Known, Option
from flow_pages.visits import Visit
from webhooks import audiences, mapping, mirror

log = structlog.get_logger()

_OVERDUE = frozenset((Status.PAST_DUE, Status.UNPAID))


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An offer that can be made to this customer, and the ways in which they can take it: never none."""

    offer: Offer
    options: list[Option]
    known: Known

    def option(self, key: str) -> Option | None:
        """The way that the customer's form names; the only one where there is no choice."""
        if len(self.options) == 1 and not key:
            return self.options[0]
        return next((option for option in self.options if option.key == key), None)


def made(session: Session, visit: Visit, now: datetime) -> dict[str, Made]:
    """The offers that this customer's answers may lead to and that can be made to them now, by id; no query where there are none."""
    chain = steps.offers(visit.flow, visit.answers)
    if not chain or (visit.connection is not None and not visit.is_connected):
        return {}
    return _made(session, visit, chain, now)


def among(session: Session, visit: Visit, wanted: Iterable[Offer], now: datetime) -> dict[str, Made]:
    """Which of these offers can be made to this customer now, by id, wherever in a flow they stand."""
    return {} if visit.connection is not None and not visit.is_connected else _made(session, visit, wanted, now)


def held(session: Session, visit: Visit, offer: Offer, key: str, now: datetime) -> tuple[Made, Option] | None:
    """The offer and the way in which this customer takes it outside of a flow, as `taken` says of one inside."""
    limits.hold(session, visit.row.workspace_id, visit.row.mode, visit.row.customer, offer)
    found = among(session, visit, [offer], now).get(offer.id)
    option = found.option(key) if found is not None else None
    return None if found is None or option is None else (found, option)


def taken(session: Session, visit: Visit, offer: Offer, key: str, now: datetime) -> tuple[Made, Option] | None:
    """The offer and the way in which this customer takes it, if it can still be made: whoever takes another of theirs meanwhile waits.

    Call it in the transaction that keeps the choice.
    """
    row = visit.row
    limits.hold(session, row.workspace_id, row.mode, row.customer, offer)
    present = made(session, visit, now)
    on_the_way = {step.name for step in steps.path(visit.flow, visit.answers, present)}
    found = present.get(offer.id) if steps.offer_key(offer.id) in on_the_way else None
    option = found.option(key) if found is not None else None
    return None if found is None or option is None else (found, option)


def _made(session: Session, visit: Visit, chain: Iterable[Offer], now: datetime) -> dict[str, Made]:
    row = visit.row
    wanted = [offer for offer in chain if _is_within(visit, offer, _NOTHING, None, now)]
    meant = _meant(session, visit, wanted, now)
    known = _known(session, visit, meant, now)
    ledger = limits.read(session, row, meant, now)
    subscription = _told(session, visit) if any(not isinstance(offer, LinkOffer | CustomOffer) for offer in meant) else visit.subscription
    found: dict[str, Made] = {}
    for offer in meant:
        ways = [
            option
            for option in options.options(offer, subscription, known, mode=row.mode, session_id=row.id, now=now)
            if _is_within(visit, offer, ledger, terms.cost(offer, option, visit.subscription, known), now)
        ]
        if ways:
            found[offer.id] = Made(offer=offer, options=ways, known=known)
    return found


def _told(session: Session, visit: Visit) -> Subscription | None:
    """The subscription with the terms of its discounts: Stripe's news of it tell their ids alone."""
    subscription, connection = visit.subscription, visit.connection
    if subscription is None or connection is None:
        return subscription
    given = [*subscription.discounts, *(one for item in subscription.items for one in item.discounts)]
    return subscription.told(mirror.whole(session, connection.id, given))


_NOTHING = limits.Ledger(spent={})


def _is_within(visit: Visit, offer: Offer, ledger: limits.Ledger, cost: Money | None, now: datetime) -> bool:
    return limits.in_the_way(offer, visit.subscription, visit.customer, ledger, cost, now) is None


def _meant(session: Session, visit: Visit, offers: Collection[Offer], now: datetime) -> list[Offer]:
    """Those whose audience this customer belongs to. One that is no more, or cannot be read, has nobody in it."""
    named = {offer.audience for offer in offers if offer.audience is not None}
    if not named:
        return list(offers)
    kept = session.execute(
        select(Audience.id, Audience.rule).where(Audience.workspace_id == visit.row.workspace_id, Audience.id == db.any_of(named))
    )
    known = {name: _Variable(entry) for name, entry in visit.row.variables.items()}
    belongs: dict[str | None, bool] = {None: True}
    for line in kept:
        try:
            belongs[line.id] = audiences.matches(audiences.parse(line.rule), known, now)
        except audiences.RuleRefused:
            log.warning("audience.unreadable", audience=line.id)
    return [offer for offer in offers if belongs.get(offer.audience, False)]


class _Variable:
    """What a session remembers of a variable, as audiences ask for it."""

    def __init__(self, entry: Mapping[str, object]) -> None:
        self.type = str(entry.get("type", "text"))
        self.value: object = mapping.typed(dict(entry))
        reason = entry.get("reason")
        self.reason = None if reason is None else str(reason)


def _known(session: Session, visit: Visit, offers: Iterable[Offer], now: datetime) -> Known:
    coupons, prices = options.named(offers, visit.row.mode)
    led_by = visit.subscription.schedule if visit.subscription is not None else None
    theirs = visit.customer.discount_at(now) if visit.customer is not None else None
    is_owing = visit.subscription is not None and visit.subscription.status in _OVERDUE
    if visit.connection is None or not (coupons or prices or led_by or theirs or is_owing):
        return Known()
    place = session, visit.connection.id
    found = {price.id: price for id in sorted(prices) if (price := mirror.price(*place, id)) is not None}
    return Known(
        coupons={coupon.id: coupon for id in sorted(coupons) if (coupon := mirror.coupon(*place, id)) is not None},
        prices=found,
        names=mirror.product_names(*place, [price.product for price in found.values() if price.product]),
        schedule=mirror.schedule(*place, led_by) if led_by else None,
        customers_discount=mirror.whole(*place, [theirs])[0]
        if theirs and visit.subscription and not visit.subscription.discounts
        else None,
        open=mirror.owed(*place, visit.subscription.id) if visit.subscription is not None and is_owing else (),
    )
