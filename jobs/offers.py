"""Offers on a subscription's shape: whether a coupon can be added to it, by which call, and what proves that it was."""

import calendar
from collections.abc import Mapping
from datetime import datetime

from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.objects import Coupon, Subscription
from jobs import verdicts
from jobs.verdicts import Refused, Verdict


def coupon_of(intent: Mapping[str, object]) -> str:
    """The coupon that was offered."""
    return str(intent["coupon"])


def plan(subscription: Subscription, coupon: Coupon | None, *, action_id: str, intent: Mapping[str, object], now: datetime) -> Verdict:
    """Add the coupon, keep the discounts that are there, and take back a scheduled cancellation. `coupon` is None when it is gone."""
    name = coupon_of(intent)
    if subscription.is_ended:
        return verdicts.ended("a discount would not bring it back")
    if refusal := _unfit(subscription, coupon, name, now):
        return refusal
    if any(discount.coupon == name for discount in subscription.discounts):
        return Refused(
            code="coupon_already_applied",
            message=f"The subscription already carries the coupon {name}. Decide whether the customer is owed more than that.",
        )
    if subscription.is_scheduled_to_cancel and subscription.schedule:
        return verdicts.managed_by_schedule(subscription.schedule)
    try:
        return calls.add_discount(subscription, coupon=name, action_id=action_id, clear_cancellation=True)
    except calls.CannotPlan as problem:
        return Refused(code="discounts_unreadable", message=f"The discounts that are there could not be kept: {problem}.")


def shows(subscription: Subscription, *, intent: Mapping[str, object], kept: frozenset[str]) -> bool:
    """Whether the coupon is at work, beside every discount in `kept` (ids), on a subscription that goes on."""
    ids = {discount.id for discount in subscription.discounts}
    is_added = any(discount.coupon == coupon_of(intent) and discount.id not in kept for discount in subscription.discounts)
    return is_added and kept <= ids and not subscription.is_ended and not subscription.is_scheduled_to_cancel


def _unfit(subscription: Subscription, coupon: Coupon | None, name: str, now: datetime) -> Refused | None:
    if coupon is None or coupon.is_deleted:
        return Refused(code="coupon_gone", message=f"The coupon {name} no longer exists on your Stripe account.")
    if coupon.redeem_by is not None and coupon.redeem_by <= now:
        return Refused(code="coupon_expired", message=f"The coupon {name} could be redeemed until {coupon.redeem_by:%Y-%m-%d %H:%M} UTC.")
    if not coupon.valid:
        return Refused(
            code="coupon_not_valid", message=f"Stripe no longer accepts the coupon {name}: it has been redeemed as often as it may."
        )
    if coupon.amount_off is not None and coupon.amount_off.currency != subscription.currency:
        theirs, ours = subscription.currency.upper(), coupon.amount_off.currency.upper()
        return Refused(
            code="coupon_currency",
            message=f"The coupon {name} takes off {ours}, and the subscription is in {theirs}.",
        )
    products = {item.price.product for item in subscription.items}
    if coupon.products is not None and not products.intersection(coupon.products):
        return Refused(
            code="coupon_not_applicable", message=f"The coupon {name} is limited to products that this subscription has none of."
        )
    bill = subscription.next_charge or subscription.current_period_end
    if coupon.duration == "repeating" and bill is not None and _months_later(now, coupon.duration_in_months or 1) <= bill:
        return Refused(
            code="coupon_without_effect",
            message=f"The coupon {name} would be over before the next bill on {bill:%Y-%m-%d}. Use one that lasts longer, or for one bill.",
        )
    return None


def _months_later(moment: datetime, months: int) -> datetime:
    """The same day so many months on, or the month's last where it has no such day: how Stripe counts a coupon's months."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, calendar.monthrange(year, month + 1)[1]))
