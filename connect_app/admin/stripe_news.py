"""How Stripe's news, and what an outcome made of it, reads in a session's timeline."""

from collections.abc import Iterable
from datetime import datetime

from connect_app import money
from connect_app.admin import outcomes
from connect_app.models import SessionFact
from connect_app.models.base import Json
from connect_app.money import Money
from jobs.validation import doors

KINDS = ("stripe.changed", "invoice.paid", "charge.refunded", "charge.disputed", "outcome.changed")
# icon, a badge's kind, title, details.
Line = tuple[str, str, str, tuple[tuple[str, str], ...]]
_SHOWN = ("status", "is_canceling", "is_paused", "reason")


def telling(facts: Iterable[SessionFact]) -> list[SessionFact]:
    """Without those changes of a subscription in which nothing changed that an outcome could turn on, such as its renewals."""
    told, last = [], None
    for fact in sorted(facts, key=lambda fact: fact.at):
        if fact.kind == "stripe.changed":
            shown = tuple(fact.data.get(key) for key in _SHOWN)
            if shown == last:
                continue
            last = shown
        told.append(fact)
    return told


def at(fact: SessionFact) -> datetime:
    """Its place in the timeline. Stripe dates its news by the second: within it they follow what we did, and may come of it."""
    return fact.at if fact.kind == "outcome.changed" else fact.at.replace(microsecond=999_999)


def line(fact: SessionFact) -> Line:
    """One fact of KINDS in words."""
    data = fact.data
    match fact.kind:
        case "stripe.changed":
            return _changed(data)
        case "invoice.paid":
            return "card", "ok", f"An invoice was paid: {_money(data)}", (("Invoice", str(data.get("invoice"))),)
        case "charge.refunded":
            return "undo", "attention", f"Given back, in all: {_money(data)}", (("Invoice", str(data.get("invoice"))),)
        case "charge.disputed":
            status = str(data.get("status")).replace("_", " ")
            return (
                "alert",
                "attention",
                f"Payment disputed: {_money(data)}",
                (("The dispute", status), ("Invoice", str(data.get("invoice")))),
            )
    return _outcome(data)


def _changed(data: Json) -> Line:
    status = str(data.get("status"))
    if status in ("canceled", "incomplete_expired", "unpaid"):
        reason = data.get("reason")
        return "x", "failed", "Stripe: the subscription is over", (("Stripe’s reason", str(reason).replace("_", " ")),) if reason else ()
    if data.get("is_canceling"):
        return "clock", "attention", "Stripe: the subscription is set to end", ()
    if data.get("is_paused"):
        return "pause", "neutral", "Stripe: payments are paused", ()
    return "eye", "neutral", f"Stripe: the subscription is {status.replace('_', ' ')}", ()


def _outcome(data: Json) -> Line:
    state = str(data.get("to"))
    key = str(data.get("how")) if state == "watch" and data.get("how") in outcomes.WATCHED else state
    kind, name, _ = outcomes.WORDS.get(key, ("neutral", state.capitalize(), ""))
    details = []
    if data.get("door"):
        details.append(("How", doors.WORDS.get(str(data["door"]), str(data["door"]))))
    if data.get("since"):
        details.append(("Since", f"{datetime.fromisoformat(str(data['since'])):%-d %b %Y, %H:%M UTC}"))
    title = f"On watch: {name[0].lower()}{name[1:]}" if state == "watch" else f"Outcome: {name.lower()}"
    return {"watch": "eye", "lost": "x", "canceled": "x", "paused": "pause"}.get(state, "check-circle"), kind, title, tuple(details)


def _money(data: Json) -> str:
    return money.format(Money(int(data["amount"]), str(data["currency"])), "en")
