"""Receipts: what a subscription was before and after a change, in the few words that people are shown."""

from dataclasses import dataclass
from datetime import datetime

from connect_app.models import Action
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What a cancel did to the money, by the calls that were made for it: open invoices voided, and what was `billed`, in words."""

    is_voided: bool
    billed: str
    voided: str = "What was open has been voided: you no longer owe it."


def closing(action: Action) -> Closing:
    """Read from the calls that were sent: of one that had ended already, none was."""
    requests, before = (action.call or {}).get("requests") or (), (action.call or {}).get("before") or {}
    is_voided = any(request["method"] == "invoices.void" for request in requests)
    ending = next((request for request in requests if request["method"].endswith(".cancel")), None)
    params = ending["params"] if ending else {}
    said = []
    if params.get("invoice_now"):
        said.append("What had not been billed yet, if there is anything, comes on a last invoice.")
    # Time that was never paid for is credited to nobody, and of one that is paused Stripe puts the credit away with its bills.
    if params.get("prorate") and before.get("status") == "active" and not before.get("pause_collection"):
        where = "there" if params.get("invoice_now") else "to your next invoice, if there is one"
        said.append(f"Time that you had paid for and not used, if there is any, is credited {where}.")
    return Closing(is_voided=is_voided, billed=" ".join(said))
