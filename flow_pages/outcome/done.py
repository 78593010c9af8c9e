"""What became of what a customer asked for: each action with its receipt, and what of it can still be taken back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session, aliased

from connect_app.models import Action, Receipt
from connect_app.models.base import Json
from connect_app.stripe_gateway.objects import Subscription
from jobs import actions, plans, receipts

_IN_FLIGHT = frozenset(("queued", "prechecked", "applied"))
_WAITING = frozenset(("requested", "manual"))
_PAUSES = frozenset(("pause", "extension"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An action, and its receipt once it is verified. `is_overtaken`: something else was decided and done for the subscription since.

    `is_taken_back`: a cancel that somebody has taken back at Stripe.
    """

    action: Action
    receipt: Receipt | None
    is_overtaken: bool = False
    is_taken_back: bool = False

    @property
    def is_in_flight(self) -> bool:
        return self.action.state in _IN_FLIGHT or self.is_following

    @property
    def is_following(self) -> bool:
        """It waits for another change of its subscription, and goes on by itself."""
        return self.action.state == "requested" and self.action.code == actions.UNDER_WAY

    @property
    def is_waiting(self) -> bool:
        """It is with the team."""
        return self.action.state in _WAITING

    @property
    def urgency(self) -> int:
        """Which of several the customer is told of."""
        return 2 if self.is_in_flight else 1 if self.is_waiting else 0

    @property
    def is_verified(self) -> bool:
        return self.action.state == "verified"

    @property
    def resumes_at(self) -> datetime | None:
        """When a pause or an extension ends."""
        at = self.action.intent.get("resumes_at") if self.action.verb in _PAUSES else None
        return datetime.fromisoformat(str(at)) if at else None

    def undone_by(self, now: datetime) -> str | None:
        """The verb that takes it back: a cancel until it takes effect, a pause or an extension while it lasts. None for all else."""
        if not self.is_verified or self.receipt is None or self.is_overtaken or self.is_taken_back:
            return None
        if self.resumes_at is not None:
            return "resume" if self.resumes_at > now else None
        is_coming = self.receipt.effective_at is not None and self.receipt.effective_at > now
        is_whole = self.action.verb == "item_cancel" and self.receipt.after.get("ends_at") is not None
        return "undo_cancel" if self.action.verb in ("cancel", "item_cancel") and is_coming and not is_whole else None

    @property
    def taking_back(self) -> Json:
        """The intent of what takes it back: the item, where one was canceled."""
        if self.action.verb != "item_cancel":
            return {}
        return {"item": self.action.intent["item"], "name": self.action.intent["name"], "by": self.action.id}

    def can_undo(self, now: datetime) -> bool:
        """Whether it can still be taken back."""
        return self.undone_by(now) is not None

    @property
    def has_voided(self) -> bool:
        """It is a cancel for which open bills were voided: whether it is taken back, the team decides."""
        return self.is_verified and self.action.verb == "cancel" and receipts.closing(self.action).is_voided


def as_it_is(done: Done, subscription: Subscription | None, as_of: datetime | None) -> Done:
    """What was done as Stripe has shown the subscription since: `as_of` is when."""
    if subscription is None or as_of is None or done.action.subscription != subscription.id or done.action.verified_at is None:
        return done
    is_going_on = not subscription.is_ended and not subscription.is_scheduled_to_cancel
    is_newer = as_of.replace(microsecond=0) > done.action.verified_at.replace(microsecond=0)
    is_taken_back = done.is_verified and done.action.verb == "cancel" and is_going_on and is_newer
    return replace(done, is_taken_back=is_taken_back)


def of_session(session: Session, session_id: str) -> list[Done]:
    """The session's latest action for each subscription: an undo stands for the cancel it has taken back."""
    later = aliased(Action)
    since = (
        exists()
        .where(later.connection_id == Action.connection_id, later.subscription == Action.subscription, later.state == "verified")
        .where(later.verb.in_(plans.DECISIONS), later.asked_at > Action.asked_at, later.id != Action.id)
        # Who cancels what is canceled has not decided anew.
        .where(or_(Action.verb != "cancel", later.verb != "cancel"))
    )
    rows = select(Action, Receipt, since).outerjoin(Receipt, Receipt.action_id == Action.id).where(Action.session_id == session_id)
    latest: dict[str, Done] = {}
    for action, receipt, is_overtaken in session.execute(rows.order_by(Action.id)):
        latest[action.subscription] = Done(action=action, receipt=receipt, is_overtaken=is_overtaken)
    return list(latest.values())


def of_customer(session: Session, connection_id: str | None, customer: str, subscriptions: Sequence[str]) -> dict[str, Done]:
    """What is to be told of each of these subscriptions: a change on its way, else a request that waits for the team, else the latest."""
    rows = session.execute(
        select(Action, Receipt)
        .outerjoin(Receipt, Receipt.action_id == Action.id)
        .where(Action.connection_id == connection_id, Action.customer == customer, Action.subscription.in_(subscriptions))
        .order_by(Action.id)
    )
    told: dict[str, Done] = {}
    for action, receipt in rows:
        done = Done(action=action, receipt=receipt)
        if action.subscription not in told or done.urgency >= told[action.subscription].urgency:
            told[action.subscription] = done
    return told


def card_state(session: Session, connection_id: str | None, customer: str, since: datetime) -> str | None:
    """The state of the latest change to a new card that was asked for since then; None where none was."""
    latest = (
        select(Action.state)
        .where(Action.connection_id == connection_id, Action.customer == customer, Action.verb == "payment_method")
        .where(Action.asked_at >= since)
        .order_by(Action.id.desc())
        .limit(1)
    )
    return session.execute(latest).scalar_one_or_none()
