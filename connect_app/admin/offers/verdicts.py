"""Whether an offer can be made to a subscription of the mirror, by the law that customers' pages go by; and the reason where it cannot."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import Audience
from connect_app.stripe_gateway.objects import Discount, Schedule, Subscription
from flow_pages.document import Offer
from flow_pages.offers import Known, Option, conceivable, named, refusal
from jobs.plans import Refused
from webhooks import audiences, catalogue, mapping, mirror

log = structlog.get_logger()

# Whoever is led by one beyond these is told of as if nobody had read it.
_MOST_SCHEDULES = 5000

# What the codes of jobs.plans are called in a table; its messages say the rest.
TITLES = {
    "audience": "Not in its audience",
    "discounted": "Discounted already",
    "nothing_picked": "Nothing is picked for this mode",
    "not_running": "Not billed at present",
    "so_already": "Has it already",
    "coupon_without_effect": "The coupon would end before the next bill",
    "coupon_already_applied": "Has this coupon already",
    "coupon_currency": "Pays in another currency",
    "coupon_not_applicable": "The coupon is for other products",
    "price_currency": "Pays in another currency",
    "pause_without_effect": "It would end before the next bill",
    "paused_already": "Paused already",
    "paused_by_stripe": "Paused by Stripe",
    "past_due": "Past due",
    "unpaid": "Unpaid",
    "incomplete": "First payment still open",
    "not_trialing": "Not on trial",
    "on_trial": "On trial",
    "nothing_to_pay": "Nothing to pay",
    "several_items": "Several plans in one subscription",
    "metered": "Billed by usage alone",
    "managed_by_schedule": "Led by a subscription schedule",
    "schedule_has_phases": "Led by a subscription schedule",
    "pending_update": "An earlier change waits for its payment",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What verdicts on one offer are based on: the coupons and prices it names, the rule of its audience, and the account's schedules.

    `is_for_nobody`: its audience is gone or can no longer be read.
    """

    offer: Offer
    mode: str
    known: Known
    audience: str = ""
    rule: audiences.Rule | None = None
    mappings: Sequence[mapping.Mapping] = ()
    is_for_nobody: bool = False
    schedules: Mapping[str, Schedule] = field(default_factory=dict)

    @property
    def is_for_all(self) -> bool:
        """Whether nothing has to be known of a customer beside the subscription."""
        return self.offer.audience is None


def ground(session: Session, workspace_id: str, connection_id: str, offer: Offer, mode: str) -> Ground:
    """What the mirror and the workspace have of all that the offer names."""
    offer = offer.model_copy(update={"starts_on": None, "ends_on": None})
    known = _known(session, connection_id, [offer], mode)
    schedules = mirror.schedules(session, connection_id, _MOST_SCHEDULES)
    if offer.audience is None:
        return Ground(offer=offer, mode=mode, known=known, schedules=schedules)
    row = session.execute(select(Audience).where(Audience.workspace_id == workspace_id, Audience.id == offer.audience)).scalar_one_or_none()
    try:
        rule = audiences.parse(row.rule) if row is not None else None
    except audiences.RuleRefused:
        log.warning("audience.unreadable", audience=offer.audience)
        rule = None
    return Ground(
        offer=offer,
        mode=mode,
        known=known,
        audience=row.name if row is not None else "",
        rule=rule,
        mappings=mapping.of_workspace(session, workspace_id),
        is_for_nobody=rule is None,
        schedules=schedules,
    )


def of(
    on: Ground, subscription: Subscription, subject: catalogue.Subject | None, discounts: Sequence[Discount], now: datetime
) -> list[Option] | Refused:
    """The ways in which this subscription's customer can take the offer, or why there are none.

    `subject` is the customer where the offer has an audience, `discounts` are what takes something off its bills, as
    `mirror.discounts_of` has it. Dates, and what the customer accepted before, are not asked here.
    """
    offer, at_work = on.offer, [one for one in discounts if one.ends_at is None or one.ends_at > now]
    if refused := _not_meant(on, subject, now):
        return refused
    if offer.limits.not_if_discounted and at_work:
        return Refused(code="discounted", message="The subscription has a discount, and this offer is not made then.")
    subscription = subscription.told(at_work)
    ways = conceivable(offer, subscription, mode=on.mode, session_id="preview", now=now)
    customers = next((one for one in at_work if one.subscription is None and one.subscription_item is None), None)
    known = replace(
        on.known,
        schedule=on.schedules.get(subscription.schedule or ""),
        customers_discount=None if subscription.discounts else customers,
    )
    refusals = {way.key: refusal(way, subscription, known, mode=on.mode, now=now) for way in ways}
    if found := [way for way in ways if refusals[way.key] is None]:
        return found
    told = next((one for one in refusals.values() if one is not None), None)
    what = "price" if offer.kind == "plan_change" else "coupon"
    return told or Refused(code="nothing_picked", message=f"No {what} is picked in {on.mode} mode.")


def title(code: str) -> str:
    """A refusal's code in words."""
    return TITLES.get(code) or code.replace("_", " ").capitalize()


def _not_meant(on: Ground, subject: catalogue.Subject | None, now: datetime) -> Refused | None:
    if on.is_for_all:
        return None
    if on.is_for_nobody or on.rule is None or subject is None:
        return Refused(code="audience", message="Its audience is gone, or can no longer be read: it is made to nobody.")
    wanted = {condition.field for condition in audiences.conditions(on.rule)}
    values = mapping.resolve([one for one in on.mappings if one.name in wanted], subject, now)
    if audiences.matches(on.rule, values, now):
        return None
    return Refused(code="audience", message=f"The customer is not in the audience “{on.audience}”.")


def _known(session: Session, connection_id: str, offers: Iterable[Offer], mode: str) -> Known:
    coupons, prices = named(offers, mode)
    found = {id: price for id in sorted(prices) if (price := mirror.price(session, connection_id, id)) is not None}
    held: Mapping[str, str] = mirror.product_names(session, connection_id, [one.product for one in found.values() if one.product])
    return Known(
        coupons={id: coupon for id in sorted(coupons) if (coupon := mirror.coupon(session, connection_id, id)) is not None},
        prices=found,
        names=held,
    )
