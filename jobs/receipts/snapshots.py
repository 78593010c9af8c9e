"""Snapshots: what a subscription was before and after a change, in the few words that people are shown."""

from datetime import datetime

from connect_app.models.base import Json
from connect_app.stripe_gateway.objects import Subscription


def snapshot(subscription: Subscription) -> Json:
    """What a receipt keeps of a subscription. Times are ISO 8601, the amount is minor units per interval before discounts and tax."""
    amount = subscription.amount
    return {
        "status": subscription.status.value,
        "plan": plan_name(subscription),
        "current_period_end": _text(subscription.current_period_end),
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "cancel_at": _text(subscription.cancel_at),
        "ends_at": _text(subscription.ends_at),
        "ended_at": _text(subscription.ended_at),
        "next_charge_at": _text(subscription.next_charge),
        "is_paused": subscription.is_paused,
        "resumes_at": _text(subscription.pause.resumes_at) if subscription.pause else None,
        "trial_end": _text(subscription.trial_end),
        "prices": [{"price": item.price.id, "quantity": item.quantity} for item in subscription.items],
        "discounts": [{"id": discount.id, "coupon": discount.coupon} for discount in subscription.discounts],
        "default_payment_method": subscription.default_payment_method,
        "amount": amount.amount if amount else None,
        "currency": subscription.currency,
    }


def effective_at(verb: str, after: Subscription, read_at: datetime, when: object = None) -> datetime:
    """When the change takes hold: a cancel with the end of the subscription, what was asked for `period_end` with it, the rest at once."""
    if verb == "cancel":
        return after.ended_at or after.ends_at or after.current_period_end
    is_coming = after.schedule is not None or (verb == "item_cancel" and after.is_scheduled_to_cancel)
    return after.current_period_end if when == "period_end" and is_coming else read_at


def plan_name(subscription: Subscription) -> str | None:
    """The names of the products it is for, where Stripe told them."""
    names = dict.fromkeys(item.price.product_name or item.price.nickname for item in subscription.items)
    return " + ".join(name for name in names if name) or None


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
