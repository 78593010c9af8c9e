"""What became of a choice, told to the customer: one line for each subscription, and *done* only for what was read back from Stripe."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from connect_app.models import Action, Receipt
from connect_app.models.base import Json
from flow_pages import spoken

_IN_FLIGHT = frozenset(("queued", "prechecked", "applied"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An action, and its receipt once it is verified."""

    action: Action
    receipt: Receipt | None

    @property
    def is_in_flight(self) -> bool:
        return self.action.state in _IN_FLIGHT

    @property
    def is_verified(self) -> bool:
        return self.action.state == "verified"

    def can_undo(self, now: datetime) -> bool:
        """A cancel that has not taken effect yet can be taken back."""
        if self.action.verb != "cancel" or not self.is_verified or self.receipt is None:
            return False
        return self.receipt.effective_at is not None and self.receipt.effective_at > now


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the receipt. `kind` is the macros' (ok, waiting, attention, failed); `facts` are labels and values."""

    kind: str
    title: str
    text: str
    facts: tuple[tuple[str, str], ...]
    can_undo: bool


def of_session(session: Session, session_id: str) -> list[Done]:
    """The session's latest action for each subscription: an undo stands for the cancel it has taken back."""
    rows = select(Action, Receipt).outerjoin(Receipt, Receipt.action_id == Action.id).where(Action.session_id == session_id)
    return _latest(session.execute(rows.order_by(Action.id)))


def of_customer(session: Session, connection_id: str | None, customer: str, subscriptions: Sequence[str]) -> dict[str, Done]:
    """The latest action of each of these subscriptions, by subscription."""
    rows = session.execute(
        select(Action, Receipt)
        .outerjoin(Receipt, Receipt.action_id == Action.id)
        .where(Action.connection_id == connection_id, Action.customer == customer, Action.subscription.in_(subscriptions))
        .order_by(Action.id)
    )
    return {done.action.subscription: done for done in _latest(rows)}


def lines(found: Sequence[Done], *, offer: Json | None, business: str, locale: str, now: datetime) -> list[Line]:
    """What the customer reads; `offer` is the choice's, with the terms that were promised."""
    return [_line(done, offer, business, locale, now) for done in found]


def _latest(rows: Iterable[Row[Action, Receipt]]) -> list[Done]:
    latest: dict[str, Done] = {}
    for action, receipt in rows:
        latest[action.subscription] = Done(action=action, receipt=receipt)
    return list(latest.values())


def _line(done: Done, offer: Json | None, business: str, locale: str, now: datetime) -> Line:
    action, receipt = done.action, done.receipt
    if done.is_verified and receipt is not None:
        title, text, facts = _verified(action, receipt, offer, locale)
        return Line(kind="ok", title=title, text=text, facts=facts, can_undo=done.can_undo(now))
    if done.is_in_flight:
        return _plain("waiting", _ASKED[action.verb], "Stripe has not confirmed it yet. We keep at it.")
    if action.state == "failed":
        return _plain("failed", f"{_ASKED[action.verb]}: this could not be done", f"Please contact {business}; they can see what happened.")
    return _plain("waiting", _ASKED[action.verb], f"Your request is with the team at {business}. They have been told and will see to it.")


def _plain(kind: str, title: str, text: str) -> Line:
    return Line(kind=kind, title=title, text=text, facts=(), can_undo=False)


_ASKED = {
    "cancel": "Cancel your subscription",
    "discount": "Apply your discount",
    "undo_cancel": "Keep your subscription",
    "payment_method": "Use your new card",
}


def _verified(action: Action, receipt: Receipt, offer: Json | None, locale: str) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    after = receipt.after
    plan = after.get("plan") or "Your subscription"
    charge = spoken.day(receipt.next_charge_at, locale) if receipt.next_charge_at else None
    match action.verb:
        case "cancel":
            ends = spoken.day(receipt.effective_at, locale) if receipt.effective_at else "now"
            is_trial = after.get("status") == "trialing"
            text = "Your trial ends without a charge." if is_trial else "It runs until then, and does not renew."
            return f"{plan} is canceled", text, (("Ends on", ends), ("Next charge", charge or "None"))
        case "discount":
            terms = tuple((str(label), str(value)) for label, value in (offer or {}).get("terms", ()))
            return f"Your discount on {plan} is active", "Nothing else changes.", (*terms, ("Next charge", charge or "None"))
        case "undo_cancel":
            text = "Your cancellation was taken back. Nothing else has changed."
            return f"{plan} continues", text, (("Next charge", charge or "None"),)
        case _:
            return f"{plan} uses your new card", "", (("Next charge", charge or "None"),)
