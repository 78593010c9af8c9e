"""The item of a subscription that was canceled alone and has not ended yet: what the portal says of it, and takes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import Action, Receipt
from connect_app.models.base import Json
from connect_app.stripe_gateway.objects import Subscription

# Of these the last one verified says whether the item still ends.
_VERBS = ("item_cancel", "undo_cancel", "cancel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """`name` ends at `at`; `intent` is that of the undo_cancel which keeps it."""

    name: str
    at: datetime
    intent: Json


def ending(
    session: Session, connection_id: str | None, customer: str, subscriptions: Sequence[Subscription], now: datetime
) -> dict[str, Ending]:
    """By the subscription's id; one query, and none where no schedule leads any of them."""
    led = {one.id: one for one in subscriptions if one.schedule is not None and not one.is_ended and not one.is_scheduled_to_cancel}
    if not led:
        return {}
    rows = session.execute(
        select(Action, Receipt.effective_at)
        .join(Receipt, Receipt.action_id == Action.id)
        .where(
            Action.connection_id == connection_id,
            Action.customer == customer,
            Action.subscription.in_(led),
            Action.verb.in_(_VERBS),
            Action.state == "verified",
        )
        .order_by(Action.verified_at, Action.id)
    )
    found: dict[str, Ending] = {}
    for action, at in rows:
        found.pop(action.subscription, None)
        is_there = any(item.id == action.intent.get("item") for item in led[action.subscription].items)
        if action.verb == "item_cancel" and is_there and at is not None and at > now:
            intent = {"item": action.intent["item"], "name": action.intent["name"], "by": action.id}
            found[action.subscription] = Ending(name=str(action.intent["name"]), at=at, intent=intent)
    return found
