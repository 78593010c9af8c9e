"""What is said of a change that was read back from Stripe: its title, a sentence, and facts as labels and values."""

from datetime import datetime, timedelta

from connect_app import money
from connect_app.models import Action, Receipt
from connect_app.models.base import Json
from flow_pages import offers, spoken
from jobs import receipts

_ENDED = frozenset(("canceled", "incomplete_expired"))
_OVERDUE = frozenset(("past_due", "unpaid"))
_OVER = ", and nothing more is charged for it"
# The bill that comes with an end is told by the hour before it is charged.
_SAME = timedelta(hours=2)


def told(
    action: Action, receipt: Receipt, offer: Json | None, locale: str, now: datetime, resumes_at: datetime | None, *, is_owing: bool
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    bills = receipts.of_receipt(receipt)
    # Where Stripe was asked, what the mirror has open by now is what the change itself has made.
    is_owing = (is_owing and bills.made is None) or bool(_OVERDUE & {receipt.after.get("status"), receipt.before.get("status")})
    plan = receipt.after.get("plan") or "Your subscription"
    charge = _charge(receipt, bills, locale, resumes_at)
    owed = _owed(bills, locale)
    match action.verb:
        case "cancel":
            return _canceled(action, plan, receipt, charge, locale, now, is_owing=is_owing)
        case "item_cancel":
            return _reduced(action, receipt, (*owed, charge), locale, now)
        case "discount":
            # The next charge says the same again of a discount on one bill alone.
            terms = _terms(offer, but=offers.PAYS_ABOUT if bills.coming and ("For", offers.ONE_BILL) in _terms(offer) else None)
            return f"Your discount on {plan} is active", f"{_cleared(receipt)}Nothing else changes.", (*terms, *owed, charge)
        case "pause" | "extension":
            promised = {str(label): str(value) for label, value in (offer or {}).get("terms", ())}
            charges = (*owed, (charge[0], promised.get(*charge)))
            return _stopped(action, plan, receipt, charges, promised.get("Free until"), locale, now, is_owing=is_owing)
        case "trial_extension":
            until = datetime.fromisoformat(str(action.intent["trial_end"]))
            facts = (("Your trial runs until", spoken.day(until, locale)), *owed, charge)
            return "Your trial is longer", f"{_cleared(receipt)}Nothing is charged before it ends.", facts
        case "plan_change":
            return _changed(action, receipt, offer, (*owed, charge), locale)
        case "resume":
            return f"{plan} goes on", _then("Bills come again as before.", receipts.billed(bills, locale)), (*owed, charge)
        case "undo_cancel" if action.intent.get("item"):
            return f"{action.intent['name']} stays", "Its cancellation was taken back. Nothing else has changed.", (*owed, charge)
        case "undo_cancel":
            text = receipts.kept(action) or "Nothing else has changed."
            return f"{plan} continues", _then("Your cancellation was taken back.", text), (*owed, charge)
        case _:
            return f"{plan} uses your new card", "", (charge,)


def _terms(offer: Json | None, but: str | None = None) -> tuple[tuple[str, str], ...]:
    """What was promised, but for what the receipt itself tells, and this."""
    return tuple((str(label), str(value)) for label, value in (offer or {}).get("terms", ()) if label not in ("Next charge", but))


def _cleared(receipt: Receipt) -> str:
    is_taken_back = receipt.before.get("ends_at") and not receipt.after.get("ends_at")
    return "The cancellation that was scheduled has been taken back. " if is_taken_back else ""


def _stopped(
    action: Action,
    plan: str,
    receipt: Receipt,
    charges: tuple[tuple[str, str], ...],
    free_until: str | None,
    locale: str,
    now: datetime,
    *,
    is_owing: bool,
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """A pause, or free time: until when, and what comes then. `free_until` is the day that was promised for free time."""
    resumes_at = datetime.fromisoformat(str(action.intent["resumes_at"]))
    day, is_free = spoken.day(resumes_at, locale), action.verb == "extension"
    if resumes_at <= now and is_free:
        return f"The bills of {plan} were left out until {day}", "They come again since then.", ()
    if resumes_at <= now:
        return f"{plan} was paused until {day}", "It is charged again since then.", ()
    text = "You can go on using it, and pay nothing in that time." if is_free else "Nothing is charged in that time."
    text = "No new bill is charged in that time; what is open already stays due." if is_owing else text
    title = f"{plan} is free until {free_until or day}" if is_free else f"{plan} is paused until {day}"
    return title, f"{_cleared(receipt)}{text} It goes on by itself afterwards.", charges


def _changed(
    action: Action, receipt: Receipt, offer: Json | None, charges: tuple[tuple[str, str], ...], locale: str
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Another plan, now or from the next period on; until then nothing but the next charge changes."""
    terms = dict(_terms(offer))
    terms.pop("From", None)  # the title says it
    name = terms.pop("New plan", None) or receipt.after.get("plan") or "your new plan"
    if action.intent.get("when") == "period_end" and receipt.effective_at is not None:
        title = f"You change to {name} on {spoken.day(receipt.effective_at, locale)}"
        return title, f"{_cleared(receipt)}Until then you keep what you have.", (*terms.items(), *charges)
    is_several = any((line.get("quantity") or 1) > 1 for line in receipt.after.get("prices", ()))
    text = "You have as many of it as before. " if is_several else ""
    text = f"{_cleared(receipt)}{text}{_charged_for_it(action, receipts.of_receipt(receipt), locale)}"
    return f"You are on {name} now", text, (*terms.items(), *charges)


def _charged_for_it(action: Action, bills: receipts.Bills, locale: str) -> str:
    """What another plan has cost at once, as far as it was read back."""
    if bills.made is None:
        return "If something was charged for the change, your invoices show it."
    if said := receipts.billed(bills, locale):
        return said
    if action.intent.get("proration") == "create_prorations":
        return "Nothing was charged for it now; what the change comes to, if anything, is counted in with your next charge."
    return "Nothing was charged for the change."


def _reduced(
    action: Action, receipt: Receipt, charges: tuple[tuple[str, str], ...], locale: str, now: datetime
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """One item less, now or from the next period on."""
    name, at, said = action.intent["name"], receipt.effective_at, receipts.billed(receipts.of_receipt(receipt), locale)
    if receipt.after.get("ended_at") or receipt.after.get("status") in _ENDED:
        return f"{name} has ended", _then("The whole subscription has ended, and this with it.", said), ()
    if receipt.after.get("ends_at"):
        ends = spoken.day(datetime.fromisoformat(str(receipt.after["ends_at"])), locale)
        return f"{name} is canceled", _then(f"The whole subscription ends on {ends}, and this with it.", said), charges
    if at is not None and at > now:
        text = f"It runs until {spoken.day(at, locale)}. The rest of your subscription goes on."
        return f"{name} is canceled", text, (("Ends on", spoken.day(at, locale)), *charges)
    return f"{name} has ended", _then("The rest of your subscription goes on.", said), charges


def _canceled(
    action: Action, plan: str, receipt: Receipt, charge: tuple[str, str], locale: str, now: datetime, *, is_owing: bool
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    after, bills = receipt.after, receipts.of_receipt(receipt)
    closing, owed = receipts.closing(action, bills, locale), _owed(bills, locale)
    is_open = is_owing and not closing.is_voided if bills.open is None else bool(owed)
    still = "" if owed else "An invoice that is already open may still be collected." if is_open else ""
    still = _then(still, closing.voided if closing.is_voided else "", closing.lost)
    if after.get("ended_at") or after.get("status") in _ENDED:
        ended = after.get("ended_at")
        when = datetime.fromisoformat(ended) if ended else receipt.effective_at
        on = f" on {spoken.day(when, locale)}" if when else ""
        is_over = not is_open and not closing.billed
        return f"{plan} has ended", _then(f"It has ended{on}{_OVER if is_over else ''}.", closing.billed, still), owed
    if receipt.effective_at is not None and receipt.effective_at <= now:
        # That it ended was not read back: it may have been taken back elsewhere since.
        said = f"It was set to end on {spoken.day(receipt.effective_at, locale)}, and not to renew."
        return f"{plan} is canceled", _then(said, still), ()
    ends = (("Ends on", spoken.day(receipt.effective_at, locale)),) if receipt.effective_at else ()
    if after.get("status") == "trialing" and not bills.coming:
        return f"{plan} is canceled", "Your trial ends without a charge.", (*ends, *owed, charge)
    until = f"It runs until {spoken.day(receipt.effective_at, locale)}" if receipt.effective_at else "It runs to its end"
    return f"{plan} is canceled", _then(f"{until}, and does not renew.", still), (*ends, *owed, charge)


def _charge(receipt: Receipt, bills: receipts.Bills, locale: str, resumes_at: datetime | None) -> tuple[str, str]:
    """What comes next as label and value: exactly where Stripe told it, else the day, or why there is none, as far as is known."""
    if bills.coming:
        charge, ends_at = bills.coming[0], receipt.after.get("ends_at")
        day = spoken.day(charge.at, locale)
        # What comes with the end of it is the last.
        is_last = ends_at is not None and charge.at >= datetime.fromisoformat(ends_at) - _SAME
        amount = f"{money.format(charge.amount, locale)} on {day}" if charge.amount is not None else f"On {day}, by your usage until then"
        return "Last charge" if is_last else "Next charge", amount
    if bills.coming is not None and bills.open:
        return "Charges after that", "None"
    if bills.coming is not None and (bills.open is not None or receipt.after.get("status") not in _OVERDUE):
        return "Next charge", "None"
    return "Next charge", _next_charge(receipt, locale, resumes_at)


def _next_charge(receipt: Receipt, locale: str, resumes_at: datetime | None) -> str:
    """`January 6, 2027`, or why there is none, as far as the receipt tells."""
    after = receipt.after
    if after.get("status") in _OVERDUE:
        return spoken.OPEN_INVOICE
    if receipt.next_charge_at is not None:
        return spoken.day(receipt.next_charge_at, locale)
    if after.get("is_paused") and not after.get("ends_at"):
        return spoken.while_paused(resumes_at, locale)
    # That nothing else comes with the end of it was not read back.
    return "No renewal"


def _owed(bills: receipts.Bills, locale: str) -> tuple[tuple[str, str], ...]:
    """What is open besides, if anything is known to be."""
    owed = receipts.owed(bills, locale)
    return (("Still open", owed),) if owed else ()


def _then(*said: str) -> str:
    return " ".join(one for one in said if one)
