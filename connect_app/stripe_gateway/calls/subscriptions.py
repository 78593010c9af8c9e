"""Changes of a subscription itself."""

from collections.abc import Mapping
from datetime import datetime

from connect_app.stripe_gateway.calls.call import Call, CannotPlan, mark
from connect_app.stripe_gateway.objects import Discount, Item, Subscription

FEEDBACK = frozenset(
    ("customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex", "too_expensive", "unused")
)
_COMMENT_LIMIT = 5000


def add_discount(
    subscription: Subscription, *, coupon: str, beside: Discount | None = None, action_id: str, clear_cancellation: bool
) -> Call:
    """Add a coupon and keep every discount that is there; on request also take back a scheduled cancellation.

    Stripe's `discounts` overwrites: what is not sent again is lost, so `subscription` must be fresh. `beside` is the customer's own, which
    counts only as long as the subscription has none: Stripe takes an ancestor's by its id. Raises CannotPlan for a discount without an id
    (rendered by an API version before 2020-08-27), which could not be kept.
    """
    changes = {"discounts": [*kept_discounts(subscription, beside), {"coupon": coupon}]}
    return _update(subscription, action_id, {**changes, **(_clearing(subscription) if clear_cancellation else {})})


def kept_discounts(subscription: Subscription, beside: Discount | None = None) -> list[dict[str, str]]:
    """The discounts that are there, or else `beside`, as Stripe wants them sent again. Raises CannotPlan for one without an id."""
    kept: list[dict[str, str]] = []
    for discount in subscription.discounts or ((beside,) if beside is not None else ()):
        if discount.id is None:
            raise CannotPlan("a discount without an id cannot be kept; read the subscription again in the current API version")
        kept.append({"discount": discount.id})
    return kept


def pause(subscription: Subscription, *, behavior: str, resumes_at: datetime, action_id: str, clear_cancellation: bool) -> Call:
    """Stop collecting until `resumes_at`: `void` the bills meanwhile, or let them pass as `mark_uncollectible`."""
    until = {"behavior": behavior, "resumes_at": int(resumes_at.timestamp())}
    clearing = _clearing(subscription) if clear_cancellation else {}
    return _update(subscription, action_id, {"pause_collection": until, **clearing})


def collect_again(subscription: Subscription, *, action_id: str) -> Call:
    """End a pause of collection now."""
    return _update(subscription, action_id, {"pause_collection": ""})


def resume(subscription: Subscription) -> Call:
    """Bring a subscription back whose status is `paused`; it takes no metadata. It runs once its first bill has been paid."""
    params = {"billing_cycle_anchor": {"type": "now"}, "payment_behavior": "resume_on_payment_success"}
    return Call(method="subscriptions.resume", target=subscription.id, params=params)


def extend_trial(subscription: Subscription, *, trial_end: datetime, action_id: str, clear_cancellation: bool) -> Call:
    """Let the trial end later; nothing is credited or charged for the days between."""
    clearing = _clearing(subscription) if clear_cancellation else {}
    return _update(subscription, action_id, {"trial_end": int(trial_end.timestamp()), "proration_behavior": "none", **clearing})


def change_price(subscription: Subscription, item: Item, *, price: str, proration: str, action_id: str, clear_cancellation: bool) -> Call:
    """Sell this item at another price from now on, as many as before: Stripe would make it one.

    Where a payment is due at once and fails, nothing is changed.
    """
    line: dict[str, object] = {"id": item.id, "price": price}
    if item.quantity is not None:
        line["quantity"] = item.quantity
    changes = _of_items(subscription, line, proration)
    return _update(subscription, action_id, {**changes, **(_clearing(subscription) if clear_cancellation else {})})


def remove_item(subscription: Subscription, item: Item, *, proration: str, action_id: str) -> Call:
    """Sell everything but this item from now on. Where a payment is due at once and fails, nothing is changed."""
    return _update(subscription, action_id, _of_items(subscription, {"id": item.id, "deleted": True}, proration))


def cancel_at_period_end(subscription: Subscription, *, feedback: str | None, comment: str | None, action_id: str) -> Call:
    """End the subscription with the period that is paid. `feedback` is one of FEEDBACK; the comment is cut to Stripe's 5000 characters."""
    return _update(subscription, action_id, {"cancel_at_period_end": True, **_details(feedback, comment)})


def cancel_now(subscription: Subscription, *, invoice_now: bool, prorate: bool) -> Call:
    """End it at once: bill what is outstanding, credit what is unused, or neither.

    It travels in the address, so that what the customer wrote is told by `describe_cancellation` instead. Stripe keeps no key for it: a
    second one answers that there is no such subscription.
    """
    return Call(method="subscriptions.cancel", target=subscription.id, params={"invoice_now": invoice_now, "prorate": prorate})


def describe_cancellation(subscription: Subscription, *, feedback: str | None, comment: str | None, action_id: str) -> Call:
    """Tell Stripe why one ended that has ended: all that can still be changed about it."""
    return _update(subscription, action_id, _details(feedback, comment))


def undo_cancel(subscription: Subscription, *, action_id: str) -> Call:
    """Take back a scheduled cancellation, whichever of Stripe's two fields holds it. Raises CannotPlan when none is scheduled."""
    if not (clearing := _clearing(subscription)):
        raise CannotPlan("no cancellation is scheduled")
    return _update(subscription, action_id, clearing)


def set_default_payment_method(subscription: Subscription, *, payment_method: str, action_id: str) -> Call:
    """Charge this subscription to another of the customer's payment methods."""
    return _update(subscription, action_id, {"default_payment_method": payment_method})


def _of_items(subscription: Subscription, line: Mapping[str, object], proration: str) -> dict[str, object]:
    changes: dict[str, object] = {"items": [line], "proration_behavior": proration}
    if subscription.collection_method == "charge_automatically":
        changes |= {"payment_behavior": "error_if_incomplete", "off_session": True}
    return changes


def _update(subscription: Subscription, action_id: str, changes: Mapping[str, object]) -> Call:
    return Call(method="subscriptions.update", target=subscription.id, params={**changes, **mark(action_id)})


def _details(feedback: str | None, comment: str | None) -> dict[str, object]:
    if feedback is not None and feedback not in FEEDBACK:
        raise ValueError(f"Stripe knows no cancellation feedback {feedback!r}")
    said = {"feedback": feedback, "comment": _sendable(comment or "")[:_COMMENT_LIMIT].strip()}
    details = {key: words for key, words in said.items() if words}
    return {"cancellation_details": details} if details else {}


def _clearing(subscription: Subscription) -> dict[str, object]:
    """The one field that clears a scheduled cancellation. Stripe fills in `cancel_at` beside the boolean too, and refuses both at once."""
    if not subscription.is_scheduled_to_cancel:
        return {}
    return {"cancel_at_period_end": False} if subscription.cancel_at_period_end else {"cancel_at": ""}


def _sendable(text: str) -> str:
    """Without NUL and lone surrogates: neither `jsonb` nor UTF-8 can hold them."""
    return text.replace("\0", "").encode(errors="ignore").decode()
