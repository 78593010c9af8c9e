"""Which offers fit a customer: configured for this mode, possible on Stripe as far as the mirror knows, and able to take effect."""

from collections.abc import Mapping
from datetime import datetime

from babel.core import UnknownLocaleError
from babel.numbers import format_percent

from connect_app import money
from connect_app.modes import Mode
from connect_app.stripe_gateway.objects import Coupon, Status, Subscription
from flow_pages import spoken
from flow_pages.document import Flow
from jobs import plans

# A discount lowers a bill that is going to come.
_BILLED = frozenset((Status.ACTIVE, Status.TRIALING, Status.PAST_DUE))


def wanted(flow: Flow, reason_id: str | None, mode: str) -> dict[str, str]:
    """{offer id: coupon id} of the offers this reason leads to; what is to be looked up in the mirror."""
    reason = flow.reason(reason_id)
    found = [offer for offer_id in (reason.offers if reason else ()) if (offer := flow.offer(offer_id)) is not None]
    return {offer.id: coupon for offer in found if (coupon := offer.coupons.of(mode)) is not None}


def fits(subscription: Subscription | None, coupon: Coupon | None, now: datetime) -> bool:
    """Whether this coupon can be given, and would do something: a refusal costs the customer nothing, a broken promise does.

    The law is the one the job goes by when it is applied.
    """
    if subscription is None or coupon is None or subscription.status not in _BILLED or subscription.is_paused:
        return False
    wish = plans.Wish(
        action_id="",
        verb="discount",
        intent={"coupon": coupon.id},
        customer=subscription.customer,
        subscription=subscription.id,
        mode=Mode.of(subscription.livemode),
    )
    return not isinstance(plans.plan(wish, plans.Situation(subscription=subscription, coupon=coupon), now), plans.Refused)


def fitting(flow: Flow, mode: str, subscription: Subscription | None, coupons: Mapping[str, Coupon], now: datetime) -> frozenset[str]:
    """The ids of all offers that fit; `coupons` are those of the mirror, by id."""
    return frozenset(offer.id for offer in flow.offers if fits(subscription, coupons.get(offer.coupons.of(mode) or ""), now))


def terms(coupon: Coupon, subscription: Subscription, locale: str) -> list[tuple[str, str]]:
    """What the offer comes to, as label and value: read from the coupon, so that the copy cannot promise otherwise."""
    lines = [("You save", saving(coupon, locale)), ("For", duration(coupon))]
    price, now_pays = subscription.amount, None
    if price is not None and not subscription.discounts and coupon.products is None:
        if coupon.percent_off is not None:
            now_pays = price - price * (coupon.percent_off / 100)
        elif coupon.amount_off is not None and coupon.amount_off.currency == price.currency:
            now_pays = max(price - coupon.amount_off, money.Money(0, price.currency))
    if price is not None and now_pays is not None:
        lines.append(("Instead of", money.format(price, locale)))
        lines.append(("You pay about", f"{money.format(now_pays, locale)} {_paid_for(coupon, subscription)}".strip()))
    return lines


def _paid_for(coupon: Coupon, subscription: Subscription) -> str:
    """Which bills the lower price is for."""
    match coupon.duration:
        case "forever":
            return spoken.interval(subscription)
        case "repeating":
            return f"{spoken.interval(subscription)} for {duration(coupon)}".strip()
        case _:
            return "for your next bill"


def saving(coupon: Coupon, locale: str) -> str:
    """`25%` or `€5.00`, as a reader of `locale` writes it."""
    if coupon.amount_off is not None:
        return money.format(coupon.amount_off, locale)
    share = (coupon.percent_off or 0) / 100
    try:
        return format_percent(share, format="#,##0.##%", locale=locale.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return format_percent(share, format="#,##0.##%", locale="en")


def duration(coupon: Coupon) -> str:
    """How long the coupon lasts, in words."""
    match coupon.duration:
        case "forever":
            return "as long as you stay"
        case "repeating":
            months = coupon.duration_in_months or 1
            return "1 month" if months == 1 else f"{months} months"
        case _:
            return "your next bill"
