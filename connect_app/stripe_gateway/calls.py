"""The changes we make at Stripe, each a frozen call: planned from a fresh read, kept as JSON, sent unchanged as often as needed."""

from collections.abc import Mapping
from dataclasses import dataclass

from connect_app.stripe_gateway.objects import Subscription

# What a read-back after a write needs in the same answer; part of the frozen call, because Stripe compares it under the key.
SUBSCRIPTION_EXPAND = ("discounts.source.coupon", "items.data.price.product")
FEEDBACK = frozenset(
    ("customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex", "too_expensive", "unused")
)
_COMMENT_LIMIT = 5000


class CannotPlan(ValueError):
    """The subscription, as it was read, gives this change nothing to work on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One write: `method` names an entry of the gateway's table, `target` is the object's id, `params` is JSON.

    Persist it before the first try and send it unchanged under its idempotency key; neither `jsonb`'s order of keys nor a deploy
    changes the bytes on the wire.
    """

    method: str
    target: str
    params: Mapping[str, object]

    def to_json(self) -> dict[str, object]:
        """What to keep in the action's row."""
        return {"method": self.method, "target": self.target, "params": dict(self.params)}

    @classmethod
    def from_json(cls, kept: Mapping[str, object]) -> "Call":
        """The call that `to_json` wrote. Raises ValueError for anything else."""
        match kept:
            case {"method": str(method), "target": str(target), "params": Mapping() as params} if len(kept) == 3:
                return cls(method=method, target=target, params=params)
        raise ValueError("not a kept call")


def add_discount(subscription: Subscription, *, coupon: str, action_id: str, clear_cancellation: bool) -> Call:
    """Add a coupon and keep every discount that is there; on request also take back a scheduled cancellation.

    Stripe's `discounts` overwrites: what is not sent again is lost, so `subscription` must be fresh. Raises CannotPlan for a discount
    without an id (rendered by an API version before 2020-08-27), which could not be kept.
    """
    kept: list[dict[str, str]] = []
    for discount in subscription.discounts:
        if discount.id is None:
            raise CannotPlan("a discount without an id cannot be kept; read the subscription again in the current API version")
        kept.append({"discount": discount.id})
    clearing = _clearing(subscription) if clear_cancellation else {}
    return _update(subscription, action_id, {"discounts": [*kept, {"coupon": coupon}], **clearing})


def cancel_at_period_end(subscription: Subscription, *, feedback: str | None, comment: str | None, action_id: str) -> Call:
    """End the subscription with the period that is paid. `feedback` is one of FEEDBACK; the comment is cut to Stripe's 5000 characters."""
    if feedback is not None and feedback not in FEEDBACK:
        raise ValueError(f"Stripe knows no cancellation feedback {feedback!r}")
    said = {"feedback": feedback, "comment": _sendable(comment or "")[:_COMMENT_LIMIT].strip()}
    details = {key: words for key, words in said.items() if words}
    return _update(subscription, action_id, {"cancel_at_period_end": True, **({"cancellation_details": details} if details else {})})


def undo_cancel(subscription: Subscription, *, action_id: str) -> Call:
    """Take back a scheduled cancellation, whichever of Stripe's two fields holds it. Raises CannotPlan when none is scheduled."""
    if not (clearing := _clearing(subscription)):
        raise CannotPlan("no cancellation is scheduled")
    return _update(subscription, action_id, clearing)


def set_default_payment_method(subscription: Subscription, *, payment_method: str, action_id: str) -> Call:
    """Charge this subscription to another of the customer's payment methods."""
    return _update(subscription, action_id, {"default_payment_method": payment_method})


def _update(subscription: Subscription, action_id: str, changes: Mapping[str, object]) -> Call:
    params = {**changes, "metadata": {"holdfast_action": action_id}, "expand": list(SUBSCRIPTION_EXPAND)}
    return Call(method="subscriptions.update", target=subscription.id, params=params)


def _clearing(subscription: Subscription) -> dict[str, object]:
    """The one field that clears a scheduled cancellation. Stripe fills in `cancel_at` beside the boolean too, and refuses both at once."""
    if not subscription.is_scheduled_to_cancel:
        return {}
    return {"cancel_at_period_end": False} if subscription.cancel_at_period_end else {"cancel_at": ""}


def _sendable(text: str) -> str:
    """Without NUL and lone surrogates: neither `jsonb` nor UTF-8 can hold them."""
    return text.replace("\0", "").encode(errors="ignore").decode()
