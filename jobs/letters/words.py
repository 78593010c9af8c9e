"""What a letter says: what changes, from when, and what is charged next; never more than is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from babel import dates

from connect_app import money
from connect_app.models import Action
from connect_app.stripe_gateway.objects import Status, Subscription
from jobs import receipts
from jobs.plans import months, standing

_LOCALE = "en"
# With an invoice that is open: ending the subscription does not end what is owed.
_OVERDUE = frozenset((Status.PAST_DUE, Status.UNPAID))
_DECLINED = (
    "It is not done: your payment for it did not go through. With another card you can ask for it again. The team at {business} has been"
    " told, too, and we write again when it is settled."
)
# Where the way to the customer's portal stands, until the letter is sent.
PORTAL = "{portal}"
_ASKED = {
    "cancel": "to cancel your subscription",
    "item_cancel": "to cancel a part of your subscription",
    "undo_cancel": "to keep your subscription",
    "discount": "for the discount on your subscription",
    "pause": "to pause your subscription",
    "extension": "for free time on your subscription",
    "trial_extension": "for a longer trial",
    "plan_change": "to change your plan",
    "resume": "to resume your subscription",
    "payment_method": "to charge your subscription to your new card",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A plain letter; `text` says nothing that was not read back from Stripe, or says that it is still open."""

    subject: str
    text: str


def verified(
    action: Action,
    before: Subscription,
    after: Subscription,
    read_at: datetime,
    business: str,
    terms: Sequence[tuple[str, str]] = (),
    bills: receipts.Bills = receipts.UNKNOWN,
) -> Letter:
    """The change was read back from Stripe, and `bills` with it. `terms` of an offer are those that were accepted, as label and value."""
    name = receipts.plan_name(after)
    what = f"Your subscription to {name}" if name else "Your subscription"
    charge = _next_charge(after, bills)
    also = _also(bills)
    match action.verb:
        case "cancel":
            return _canceled(action, what, before, after, read_at, business, bills)
        case "item_cancel":
            return _reduced(action, what, after, read_at, business, bills)
        case "discount":
            lines = [f"{what} continues, and your discount is in place: it counts from your next bill.", *_agreed(terms), *_cleared(before)]
            return _write("Your discount is in place", [*lines, *also, charge], business)
        case "undo_cancel" if action.intent.get("item"):
            name = action.intent["name"]
            return _write(f"{name} stays", [f"{name} stays: its cancellation has been taken back.", *also, charge], business)
        case "undo_cancel":
            kept = receipts.kept(action)
            lines = [f"{what} continues: its cancellation has been taken back.", *([kept] if kept else []), *also, charge]
            return _write(f"{what} continues", lines, business)
        case "pause" | "extension":
            return _stopped(action.verb, what, before, after, business, bills)
        case "resume":
            lines = [f"{what} goes on: its pause has ended, and bills come again as before.", *also, charge]
            return _write(f"{what} goes on", lines, business)
        case "trial_extension":
            until = f" until {_day(after.trial_end)}" if after.trial_end else ""
            lines = [f"Your trial now runs{until}. Nothing is charged before it ends.", *_cleared(before), *also, charge]
            return _write("Your trial is longer", lines, business)
        case "plan_change":
            return _changed(action, before, after, business, terms, bills)
    lines = [f"{what} is now charged to the card you gave.", charge]
    return _write("Your new card is in use", lines, business)


def overtaken(action: Action, business: str) -> Letter:
    """It was done before the customer decided anew: what holds now, the letter about the later decision says."""
    lines = [
        f"Your request {_ASKED[action.verb]} was carried out.",
        "You have decided anew for the same subscription since; we have written to you about that as well.",
    ]
    return _write("Your earlier request was carried out", lines, business)


def received(action: Action, business: str) -> Letter:
    """It could not be done at once, and a person has been told."""
    lines = [
        f"We have received your request {_ASKED[action.verb]}.",
        _DECLINED.format(business=business)
        if action.code == "payment_declined"
        else f"It is not done yet: the team at {business} has been told and will see to it. We write again when it is settled.",
    ]
    return _write("We have received your request", lines, business)


def passed_on(headline: str, business: str) -> Letter:
    """They have accepted what only the business can give."""
    lines = [
        f"You have accepted: {headline}",
        f"The team at {business} has been told and will see to it. Your subscription has not been changed.",
    ]
    return _write("We have passed on what you accepted", lines, business)


def failed(action: Action, business: str) -> Letter:
    """It was not done, and will not be."""
    if action.code == "closed_by_team":
        lines = [
            f"The team at {business} has closed your request {_ASKED[action.verb]}. It is not worked on any more.",
            f"If that is not what you expected, please contact {business}.",
        ]
        return _write("Your request has been closed", lines, business)
    if action.code == "superseded":
        why = "because you have decided anew for the same subscription since."
    elif action.code == "subscription_ended":
        why = "because the subscription had already ended."
    else:
        why = "because it does not fit the subscription."
    lines = [f"Your request {_ASKED[action.verb]} was not carried out, {why}", "Nothing was changed by it."]
    return _write("Your request was not carried out", lines, business)


def _canceled(
    action: Action, what: str, before: Subscription, after: Subscription, read_at: datetime, business: str, bills: receipts.Bills
) -> Letter:
    at, closing = receipts.effective_at("cancel", after, read_at), receipts.closing(action, bills, _LOCALE)
    if after.is_ended:
        lines, subject = [f"{what} is canceled and ended on {_day(at)}."], f"{what} is canceled"
    else:
        lines = [f"{what} is canceled: you keep it until {_day(at)}, and it ends then."]
        subject = f"{what} ends on {_day(at)}"
    lines.append(_next_charge(after, bills) if after.next_charge is not None else "No renewal will be charged.")
    if after.next_charge is None and bills.coming:
        lines.append(f"A last charge comes: {_charges(bills.coming[0])}.")
    if bills.open is not None:
        lines += [_owed(bills)]
    elif _OVERDUE & {before.status, after.status} and not closing.is_voided:
        lines.append("An invoice that is already open may still be collected.")
    lines += [closing.billed, closing.voided if closing.is_voided else "", closing.lost]
    return _write(subject, [line for line in lines if line], business)


def _reduced(action: Action, what: str, after: Subscription, read_at: datetime, business: str, bills: receipts.Bills) -> Letter:
    name, at = action.intent["name"], receipts.effective_at("item_cancel", after, read_at, action.intent.get("when"))
    also = _also(bills)
    if after.is_ended or at <= read_at:
        return _write(f"{name} has ended", [f"{name} is canceled and has ended.", *also, *_going_on(what, after, bills)], business)
    lines = [f"{name} is canceled: you keep it until {_day(at)}, and it ends then.", *also, *_going_on(what, after, bills, is_same=False)]
    return _write(f"{name} ends on {_day(at)}", lines, business)


def _going_on(what: str, after: Subscription, bills: receipts.Bills, *, is_same: bool = True) -> list[str]:
    """What becomes of the rest; `is_same`: the next charge is of what there is now."""
    if after.is_ended or after.is_scheduled_to_cancel:
        return ["The whole subscription ends, too."] if not after.is_ended else [f"{what} has ended with it."]
    rest = "The rest of your subscription goes on."
    if is_same or after.next_charge is None or bills.coming:
        return [rest, _next_charge(after, bills)]
    return [rest, f"The next charge is on {_day(after.next_charge)}."]


def _stopped(verb: str, what: str, before: Subscription, after: Subscription, business: str, bills: receipts.Bills) -> Letter:
    """A pause, or free time: until when, and what is charged then."""
    resumes = after.pause.resumes_at if after.pause else None
    first = _first_bill(after, resumes) if resumes else None
    day = first if first is not None and verb == "extension" else resumes
    until = f" until {_day(day)}" if day else ""
    if verb == "extension":
        subject, line = f"{what} is free{until}", f"{what} is free{until}: you can go on using it, and pay nothing in that time."
    else:
        subject, line = f"{what} is paused{until}", f"{what} is paused{until}, and nothing is charged in that time."
    if _OVERDUE & {before.status, after.status}:
        line = f"{subject}. No new bill is charged in that time; what is open already stays due."
    again = f"It goes on by itself then. The next charge is on {_day(first)}{_price(after)}." if first else "It goes on by itself then."
    charged = again if resumes else _next_charge(after, bills)
    owed = [said for said in (_owed(bills),) if said]
    return _write(subject, [line, *owed, *_cleared(before), charged], business)


def _first_bill(after: Subscription, resumes: datetime) -> datetime | None:
    """The first bill that comes after a pause."""
    bills = months.bills(after, standing.bill(after), resumes + timedelta(days=800))
    return next((day for day in bills if day >= resumes), None)


def _changed(
    action: Action, before: Subscription, after: Subscription, business: str, terms: Sequence[tuple[str, str]], bills: receipts.Bills
) -> Letter:
    name, charge = receipts.plan_name(after), _next_charge(after, bills)
    also = _also(bills)
    if action.intent.get("when") == "period_end" and after.schedule is not None:
        # What is read back is the plan until then, and the schedule; the price of the next charge is the other plan's.
        day = _day(after.current_period_end)
        lines = [f"Your plan changes on {day}. Until then you keep what you have.", *_agreed(terms), *_cleared(before)]
        return _write(f"Your plan changes on {day}", [*lines, *also, charge if bills.coming else f"The next charge is on {day}."], business)
    lines = [f"You are now on {name or 'your new plan'}.", *_agreed(terms), *_cleared(before), *also, charge]
    return _write("Your plan is changed", lines, business)


def _agreed(terms: Sequence[tuple[str, str]]) -> list[str]:
    """What the customer accepted, as label and value."""
    return ["\n".join(["What you accepted:", *(f"- {label}: {value}" for label, value in terms)])] if terms else []


def _cleared(before: Subscription) -> list[str]:
    return ["The cancellation that was scheduled has been taken back."] if before.is_scheduled_to_cancel else []


def _price(after: Subscription) -> str:
    amount = after.amount
    return f" ({money.format(amount, _LOCALE)} before discounts and tax)" if amount else ""


def _next_charge(after: Subscription, bills: receipts.Bills) -> str:
    if after.is_ended:
        return "It has ended; no further charge is scheduled."
    if after.is_paused:
        return "It is paused at present."
    if bills.coming:
        return f"The next charge is {_charges(bills.coming[0])}."
    if after.next_charge is None or bills.coming is not None:
        return "No further charge is scheduled."
    return f"The next charge is on {_day(after.next_charge)}{_price(after)}."


def _charges(charge: receipts.Charge) -> str:
    """`€29.00 on December 22, 2026`."""
    if charge.amount is None:
        return f"on {_day(charge.at)}, by your usage until then"
    return f"{money.format(charge.amount, _LOCALE)} on {_day(charge.at)}"


def _also(bills: receipts.Bills) -> list[str]:
    """What the change was billed with, and what is open besides."""
    return [said for said in (receipts.billed(bills, _LOCALE), _owed(bills)) if said]


def _owed(bills: receipts.Bills) -> str:
    owed = receipts.owed(bills, _LOCALE)
    return f"{owed} is still open." if owed else ""


def _write(subject: str, lines: list[str], business: str) -> Letter:
    return Letter(subject=subject, text="\n\n".join(["Hello,", *lines, PORTAL + business]) + "\n")


def _day(at: datetime) -> str:
    return dates.format_date(at.date(), format="long", locale=_LOCALE)
