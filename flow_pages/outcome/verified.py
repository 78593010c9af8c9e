"""What is said of a change that was read back from Stripe: its title, a sentence, and facts as labels and values."""

from datetime import datetime

from connect_app.models import Action, Receipt
from connect_app.models.base import Json
from flow_pages import spoken
from jobs import receipts

_ENDED = frozenset(("canceled", "incomplete_expired"))
_OVERDUE = frozenset(("past_due", "unpaid"))


def told(
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
