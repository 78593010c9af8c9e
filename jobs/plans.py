"""Plans: what a wish about one subscription comes to on the shape Stripe shows, and what Stripe must show to prove it fulfilled. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from connect_app.modes import Mode
from connect_app.stripe_gateway.calls import Call
from connect_app.stripe_gateway.objects import Coupon, Subscription
from jobs import cancels, cards, offers
from jobs.verdicts import Refused, Verdict

MARKER = "holdfast_action"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one action is to bring about: its verb and frozen intent, and whose subscription in which mode it may touch."""

    action_id: str
    verb: str
    intent: Mapping[str, object]
    customer: str
    mode: str

    @property
    def coupon(self) -> str | None:
        """The coupon to look at before planning, for verbs that have one."""
        return offers.coupon_of(self.intent) if self.verb == "discount" else None


def plan(wish: Wish, subscription: Subscription, coupon: Coupon | None, now: datetime) -> Verdict:
    """The call that fulfils the wish, or why there is none. `coupon` is what Stripe has under `wish.coupon`, None when it is gone."""
    if refusal := foreign(wish, subscription):
        return refusal
    match wish.verb:
        case "discount":
            return offers.plan(subscription, coupon, action_id=wish.action_id, intent=wish.intent, now=now)
        case "cancel":
            return cancels.plan(subscription, action_id=wish.action_id, intent=wish.intent)
        case "undo_cancel":
            return cancels.plan_undo(subscription, action_id=wish.action_id)
        case "payment_method":
            return cards.plan(subscription, action_id=wish.action_id, intent=wish.intent)
    raise ValueError(f"no such verb: {wish.verb!r}")


def foreign(wish: Wish, subscription: Subscription) -> Refused | None:
    """Why this subscription is none that the wish may touch: it is another customer's, or of the other mode."""
    if subscription.customer != wish.customer:
        return Refused(
            code="wrong_customer",
            message=f"The subscription belongs to {subscription.customer}, not to {wish.customer}. Nothing was changed.",
            is_final=True,
        )
    if subscription.livemode != Mode(wish.mode).livemode:
        return Refused(code="wrong_mode", message="The subscription is of the other mode. Nothing was changed.", is_final=True)
    return None


def shows(wish: Wish, subscription: Subscription, kept: frozenset[str] = frozenset()) -> bool:
    """Whether Stripe shows the wanted state, whoever brought it about; `kept` are ids of discounts that had to stay."""
    if foreign(wish, subscription):
        return False
    match wish.verb:
        case "discount":
            return offers.shows(subscription, intent=wish.intent, kept=kept)
        case "cancel":
            return cancels.shows(subscription)
        case "undo_cancel":
            return cancels.shows_undo(subscription)
        case "payment_method":
            return cards.shows(subscription, intent=wish.intent)
    raise ValueError(f"no such verb: {wish.verb!r}")


def is_marked(wish: Wish, subscription: Subscription) -> bool:
    """Whether the last change of ours to this subscription was this action's."""
    return subscription.metadata.get(MARKER) == wish.action_id


def proves(wish: Wish, subscription: Subscription, call: Call) -> bool:
    """Whether Stripe shows that `call` was applied: the wanted state, and for a discount, which could be anybody's, our mark beside it."""
    is_ours = wish.verb != "discount" or is_marked(wish, subscription)
    return is_ours and shows(wish, subscription, kept(call))


def kept(call: Call) -> frozenset[str]:
    """The ids of the discounts that a call sends along so that they stay."""
    discounts = call.params.get("discounts")
    entries = discounts if isinstance(discounts, list | tuple) else ()
    return frozenset(str(entry["discount"]) for entry in entries if isinstance(entry, Mapping) and "discount" in entry)
