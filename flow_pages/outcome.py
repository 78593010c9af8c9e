"""What became of a choice, told to the customer: one line for each subscription, and *done* only for what was read back from Stripe."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from connect_app.models import Action, Receipt
from connect_app.models.base import Json
from flow_pages import spoken
from jobs import actions, receipts

_IN_FLIGHT = frozenset(("queued", "prechecked", "applied"))
_ENDED = frozenset(("canceled", "incomplete_expired"))
_OVERDUE = frozenset(("past_due", "unpaid"))
_WAITING = frozenset(("requested", "manual"))
_PAUSES = frozenset(("pause", "extension"))
_UNDO = {
    "cancel": "Undo the cancellation",
    "item_cancel": "Undo the cancellation",
    "pause": "End the pause now",
    "extension": "End the free time now",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An action, and its receipt once it is verified."""

    action: Action
    receipt: Receipt | None

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
        if not self.is_verified or self.receipt is None:
            return None
        if self.resumes_at is not None:
            return "resume" if self.resumes_at > now else None
        is_coming = self.receipt.effective_at is not None and self.receipt.effective_at > now
        return "undo_cancel" if self.action.verb in ("cancel", "item_cancel") and is_coming else None

    @property
    def taking_back(self) -> Json:
        """The intent of what takes it back: the item, where one was canceled."""
        return {name: self.action.intent[name] for name in ("item", "name")} if self.action.verb == "item_cancel" else {}

    def can_undo(self, now: datetime) -> bool:
        """Whether it can still be taken back."""
        return self.undone_by(now) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the receipt, about this `subscription`.

    `kind` is the macros' (ok, waiting, attention, failed); `facts` are labels and values, `undo` the button.
    """

    kind: str
    title: str
    text: str
    facts: tuple[tuple[str, str], ...]
    can_undo: bool
    undo: str = _UNDO["cancel"]
    subscription: str = ""


def of_session(session: Session, session_id: str) -> list[Done]:
    """The session's latest action for each subscription: an undo stands for the cancel it has taken back."""
    rows = select(Action, Receipt).outerjoin(Receipt, Receipt.action_id == Action.id).where(Action.session_id == session_id)
    return _latest(session.execute(rows.order_by(Action.id)))


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


def lines(
    found: Sequence[Done],
    *,
    offer: Json | None,
    business: str,
    locale: str,
    now: datetime,
    resumes_at: datetime | None,
    owing: Collection[str],
) -> list[Line]:
    """What the customer reads; `offer` is the choice's, with the terms that were promised, `resumes_at` when a pause ends, if it does.

    `owing` are the ids of subscriptions with an open invoice.
    """
    return [_line(done, offer, business, locale, now, resumes_at, is_owing=done.action.subscription in owing) for done in found]


def accepted(offer: Json, told: str) -> Line:
    """The line of what changes nothing on Stripe, with the terms that were promised and what `told` says of it."""
    terms = tuple((str(label), str(value)) for label, value in offer.get("terms", ()))
    return Line(kind="waiting", title=str(offer.get("headline", "")), text=told, facts=terms, can_undo=False)


def _latest(rows: Iterable[Row[Action, Receipt]]) -> list[Done]:
    latest: dict[str, Done] = {}
    for action, receipt in rows:
        latest[action.subscription] = Done(action=action, receipt=receipt)
    return list(latest.values())


def _line(
    done: Done, offer: Json | None, business: str, locale: str, now: datetime, resumes_at: datetime | None, *, is_owing: bool
) -> Line:
    action, receipt = done.action, done.receipt
    if done.is_verified and receipt is not None:
        title, text, facts = _verified(action, receipt, offer, locale, now, resumes_at, is_owing=is_owing)
        return Line(
            kind="ok",
            title=title,
            text=text,
            facts=facts,
            can_undo=done.can_undo(now),
            undo=_UNDO.get(action.verb, ""),
            subscription=action.subscription,
        )
    if done.is_following:
        return _plain("waiting", _ASKED[action.verb], "An earlier change of this subscription is still on its way. Yours follows it.")
    if done.is_in_flight:
        return _plain("waiting", _ASKED[action.verb], "Stripe has not confirmed it yet. We keep at it.")
    if action.state == "failed":
        return _plain("failed", f"{_ASKED[action.verb]}: this could not be done", f"Please contact {business}; they can see what happened.")
    if action.code == actions.YOURS:
        return _plain("waiting", _ASKED[action.verb], f"{business} has been asked to do this. Nothing has been changed yet.")
    return _plain("waiting", _ASKED[action.verb], f"Your request is with the team at {business}. They have been told and will see to it.")


def _plain(kind: str, title: str, text: str) -> Line:
    return Line(kind=kind, title=title, text=text, facts=(), can_undo=False)


_ASKED = {
    "cancel": "Cancel your subscription",
    "item_cancel": "Cancel a part of your subscription",
    "discount": "Apply your discount",
    "pause": "Pause your subscription",
    "extension": "Give you free time",
    "trial_extension": "Make your trial longer",
    "plan_change": "Change your plan",
    "resume": "Resume your subscription",
    "undo_cancel": "Keep your subscription",
    "payment_method": "Use your new card",
}


def _verified(
    action: Action, receipt: Receipt, offer: Json | None, locale: str, now: datetime, resumes_at: datetime | None, *, is_owing: bool
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    is_owing = is_owing or bool(_OVERDUE & {receipt.after.get("status"), receipt.before.get("status")})
    plan = receipt.after.get("plan") or "Your subscription"
    charge = ("Next charge", _next_charge(receipt, locale, resumes_at))
    match action.verb:
        case "cancel":
            return _canceled(action, plan, receipt, charge, locale, now, is_owing=is_owing)
        case "item_cancel":
            return _reduced(action, receipt, charge, locale, now)
        case "discount":
            return f"Your discount on {plan} is active", f"{_cleared(receipt)}Nothing else changes.", (*_terms(offer), charge)
        case "pause" | "extension":
            promised = [(label, value) for label, value in (offer or {}).get("terms", ()) if label == charge[0]]
            following = (charge[0], str(promised[0][1])) if promised else charge
            return _stopped(action, plan, receipt, following, locale, now, is_owing=is_owing)
        case "trial_extension":
            until = datetime.fromisoformat(str(action.intent["trial_end"]))
            facts = (("Your trial runs until", spoken.day(until, locale)), charge)
            return "Your trial is longer", f"{_cleared(receipt)}Nothing is charged before it ends.", facts
        case "plan_change":
            return _changed(action, receipt, offer, charge, locale)
        case "resume":
            return f"{plan} goes on", "Bills come again as before.", (charge,)
        case "undo_cancel" if action.intent.get("item"):
            return f"{action.intent['name']} stays", "Its cancellation was taken back. Nothing else has changed.", (charge,)
        case "undo_cancel":
            return f"{plan} continues", "Your cancellation was taken back. Nothing else has changed.", (charge,)
        case _:
            return f"{plan} uses your new card", "", (charge,)


def _terms(offer: Json | None) -> tuple[tuple[str, str], ...]:
    """What was promised, but for what the receipt itself tells."""
    return tuple((str(label), str(value)) for label, value in (offer or {}).get("terms", ()) if label != "Next charge")


def _cleared(receipt: Receipt) -> str:
    is_taken_back = receipt.before.get("ends_at") and not receipt.after.get("ends_at")
    return "The cancellation that was scheduled has been taken back. " if is_taken_back else ""


def _stopped(
    action: Action, plan: str, receipt: Receipt, charge: tuple[str, str], locale: str, now: datetime, *, is_owing: bool
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """A pause, or free time: until when, and what comes then."""
    resumes_at = datetime.fromisoformat(str(action.intent["resumes_at"]))
    day, is_free = spoken.day(resumes_at, locale), action.verb == "extension"
    if resumes_at <= now:
        return f"{plan} was {'free' if is_free else 'paused'} until {day}", "It is charged again since then.", ()
    text = "You can go on using it, and pay nothing in that time." if is_free else "Nothing is charged in that time."
    text = "No new bill is charged in that time; what is open already stays due." if is_owing else text
    title = f"{plan} is free until {day}" if is_free else f"{plan} is paused until {day}"
    return title, f"{_cleared(receipt)}{text} It goes on by itself afterwards.", (charge,)


def _changed(
    action: Action, receipt: Receipt, offer: Json | None, charge: tuple[str, str], locale: str
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Another plan, now or from the next period on; until then nothing but the next charge changes."""
    terms = dict(_terms(offer))
    terms.pop("From", None)  # the title says it
    name = terms.pop("New plan", None) or receipt.after.get("plan") or "your new plan"
    if action.intent.get("when") == "period_end" and receipt.effective_at is not None:
        title = f"You change to {name} on {spoken.day(receipt.effective_at, locale)}"
        return title, f"{_cleared(receipt)}Until then you keep what you have.", (*terms.items(), charge)
    is_several = any((line.get("quantity") or 1) > 1 for line in receipt.after.get("prices", ()))
    text = "You have as many of it as before. " if is_several else ""
    text = f"{_cleared(receipt)}{text}If something was charged for the change, your invoices show it."
    return f"You are on {name} now", text, (*terms.items(), charge)


def _reduced(
    action: Action, receipt: Receipt, charge: tuple[str, str], locale: str, now: datetime
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """One item less, now or from the next period on."""
    name, at = action.intent["name"], receipt.effective_at
    if receipt.after.get("ended_at") or receipt.after.get("status") in _ENDED:
        return f"{name} has ended", "The whole subscription has ended, and this with it.", ()
    if at is not None and at > now:
        text = "It runs until then. The rest of your subscription goes on."
        return f"{name} is canceled", f"{text}", (("Ends on", spoken.day(at, locale)), charge)
    return f"{name} has ended", "The rest of your subscription goes on.", (charge,)


def _canceled(
    action: Action, plan: str, receipt: Receipt, charge: tuple[str, str], locale: str, now: datetime, *, is_owing: bool
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    after, closing = receipt.after, receipts.closing(action)
    is_open = is_owing and not closing.is_voided
    still = " An invoice that is already open may still be collected." if is_open else f" {closing.voided}" if closing.is_voided else ""
    if after.get("ended_at") or after.get("status") in _ENDED:
        ended = after.get("ended_at")
        when = datetime.fromisoformat(ended) if ended else receipt.effective_at
        on = f" on {spoken.day(when, locale)}" if when else ""
        if closing.billed:
            return f"{plan} has ended", f"It has ended{on}. {closing.billed}{still}", ()
        return (
            f"{plan} has ended",
            f"It has ended{on}.{still}" if is_open else f"It has ended{on}, nothing more will be charged.{still}",
            (),
        )
    if receipt.effective_at is not None and receipt.effective_at <= now:
        # That it ended was not read back: it may have been taken back elsewhere since.
        return f"{plan} is canceled", f"It was set to end on {spoken.day(receipt.effective_at, locale)}, and not to renew.{still}", ()
    ends = (("Ends on", spoken.day(receipt.effective_at, locale)),) if receipt.effective_at else ()
    if after.get("status") == "trialing":
        return f"{plan} is canceled", "Your trial ends without a charge.", (*ends, charge)
    return f"{plan} is canceled", f"It runs until then, and does not renew.{still}", (*ends, charge)


def _next_charge(receipt: Receipt, locale: str, resumes_at: datetime | None) -> str:
    """`January 6, 2027`, or why there is none, as far as the receipt tells."""
    after = receipt.after
    if after.get("status") in _OVERDUE:
        return spoken.OPEN_INVOICE
    if receipt.next_charge_at is not None:
        return spoken.day(receipt.next_charge_at, locale)
    if after.get("is_paused") and not after.get("ends_at"):
        return spoken.while_paused(resumes_at, locale)
    return "None"
