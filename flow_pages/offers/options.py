"""The ways in which a customer can take an offer, each with what it asks of Stripe, as far as the mirror shows that Stripe will do it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

from connect_app.models.base import Json
from connect_app.modes import Mode
from connect_app.money import Money
from connect_app.stripe_gateway.objects import Coupon, Discount, Price, Schedule, Status, Subscription
from flow_pages.document import (
    CustomOffer,
    DiscountOffer,
    ExtensionOffer,
    LinkOffer,
    Minted,
    Offer,
    PauseOffer,
    PlanOffer,
    TrialOffer,
)
from jobs import plans
from jobs.plans import months, standing

# A discount lowers a bill that is going to come.
_BILLED = frozenset((Status.ACTIVE, Status.TRIALING, Status.PAST_DUE))
# A customer's own coupon is put to use at once, unless the team has to see to it.
_REDEEM_WITHIN = timedelta(days=7)
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the mirror has under the ids that offers name; `names` are of the prices' products, `schedule` leads the
    subscription, `customers_discount` is at work on it as long as it has none of its own, and `open` is what is still owed for it,
    one sum for each currency.
    """

    coupons: Mapping[str, Coupon] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    schedule: Schedule | None = None
    customers_discount: Discount | None = None
    open: tuple[Money, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A way to take an offer. `key` is what the customer's form says for it, '' where there is only this one.

    `verb` and `intent` are those of jobs.plans.Wish; a verb of None changes nothing on Stripe.
    """

    key: str = ""
    verb: str | None
    intent: Json


def named(offers: Iterable[Offer], mode: str) -> tuple[set[str], set[str]]:
    """The ids of coupons and of prices that these offers are about in this mode."""
    coupons: set[str] = set()
    prices: set[str] = set()
    for offer in offers:
        if isinstance(offer, DiscountOffer) and offer.mint is None and (coupon := offer.coupons.of(mode)) is not None:
            coupons.add(coupon)
        elif isinstance(offer, PlanOffer):
            prices.update(offer.prices.of(mode))
    return coupons, prices


def options(offer: Offer, subscription: Subscription | None, known: Known, *, mode: str, session_id: str, now: datetime) -> list[Option]:
    """The ways that are open to this customer; none where the offer cannot be made to them.

    The law is the one the job goes by when it is applied: a refusal costs the customer nothing, a broken promise does.
    """
    if subscription is None:
        return conceivable(offer, None, mode=mode, session_id=session_id, now=now)
    found = conceivable(offer, subscription, mode=mode, session_id=session_id, now=now)
    return [option for option in found if refusal(option, subscription, known, mode=mode, now=now) is None]


def conceivable(offer: Offer, subscription: Subscription | None, *, mode: str, session_id: str, now: datetime) -> list[Option]:
    """All ways that the offer has, whatever Stripe would say; without a subscription only those that change nothing on Stripe."""
    if isinstance(offer, LinkOffer | CustomOffer):
        return [Option(verb=None, intent={"offer_id": offer.id})]
    if subscription is None:
        return []
    common = {"offer_id": offer.id, "renews_at": standing.bill(subscription).isoformat()}
    match offer:
        case DiscountOffer():
            what = _discount(offer, mode=mode, session_id=session_id, now=now)
            if what is None:
                return []
            # Checked again when it is applied: another discount may be on its way.
            alone = {"not_if_discounted": True} if offer.limits.not_if_discounted else {}
            return [Option(verb="discount", intent={**common, **what, **alone})]
        case PauseOffer():
            counts = range(offer.least, offer.most + 1) if offer.least and offer.most else (offer.count,)
            return [Option(key=str(count), verb="pause", intent={**common, **_until(offer.interval, count, now)}) for count in counts]
        case ExtensionOffer():
            return [Option(verb="extension", intent={**common, **_until(offer.interval, offer.count, now)})]
        case TrialOffer():
            ends = (subscription.trial_end or now) + timedelta(days=offer.days)
            return [Option(verb="trial_extension", intent={**common, "trial_end": _whole(ends)})]
        case PlanOffer():
            how = {"when": offer.when, "proration": offer.proration}
            return [Option(key=price, verb="plan_change", intent={**common, **how, "price": price}) for price in offer.prices.of(mode)]
        case _:
            assert_never(offer)


def refusal(option: Option, subscription: Subscription, known: Known, *, mode: str, now: datetime) -> plans.Refused | None:
    """Why this way is closed on this subscription; None where it is open."""
    if option.verb is None:
        return None
    if subscription.status not in _BILLED or subscription.is_paused:
        return standing.unpaid(subscription, past_due_too=True) or standing.paused(subscription) or _not_running(subscription)
    wish, situation = looked_at(option, option.verb, subscription, known, mode=mode)
    verdict = plans.plan(wish, situation, now)
    if isinstance(verdict, plans.AlreadyDone):
        return plans.Refused(code="so_already", message="The subscription is like that already.")
    return verdict if isinstance(verdict, plans.Refused) else None


def looked_at(option: Option, verb: str, subscription: Subscription, known: Known, *, mode: str) -> tuple[plans.Wish, plans.Situation]:
    """This way as the job would look at it, with what the mirror knows."""
    wish = plans.Wish(
        action_id="",
        verb=verb,
        intent=option.intent,
        customer=subscription.customer,
        subscription=subscription.id,
        mode=Mode(mode),
    )
    needs = plans.needs(wish, subscription)
    return wish, plans.Situation(
        subscription=subscription,
        coupon=known.coupons.get(needs.coupon or ""),
        price=known.prices.get(needs.price or ""),
        schedule=known.schedule,
        customers_discount=known.customers_discount,
    )


def _not_running(subscription: Subscription) -> plans.Refused:
    return standing.ended(subscription, "nothing is offered for it") or plans.Refused(
        code="not_running", message="The subscription is not billed at present."
    )


def _discount(offer: DiscountOffer, *, mode: str, session_id: str, now: datetime) -> Json | None:
    if offer.mint is None:
        coupon = offer.coupons.of(mode)
        return None if coupon is None else {"coupon": coupon}
    minted = offer.mint
    made = {
        "id": f"hf_{offer.id}_{session_id}",
        "family": f"hf_{offer.id}_",
        "name": coupon_name(minted),
        "percent_off": None if minted.percent_off is None else str(minted.percent_off),
        "amounts": dict(minted.amounts),
        "duration": minted.duration,
        "duration_in_months": minted.months,
        "redeem_by": _whole(now + _REDEEM_WITHIN),
    }
    return {"mint": made}


def coupon_name(minted: Minted) -> str:
    """What Stripe's dashboard and the customer's invoice call such a coupon."""
    share = f"{minted.percent_off.normalize():f}% off" if minted.percent_off is not None else "Discount"
    lasts = {"once": "one bill", "forever": "for good"}.get(minted.duration, f"{minted.months} months")
    return f"{share}, {lasts}"[:_LONGEST_NAME]


def _until(interval: str, count: int, now: datetime) -> Json:
    if interval == "month":
        return {"resumes_at": _whole(months.later(now, count))}
    return {"resumes_at": _whole(now + timedelta(days=count * (7 if interval == "week" else 1)))}


def _whole(at: datetime) -> str:
    """Stripe's times are whole seconds."""
    return at.replace(microsecond=0).isoformat()
