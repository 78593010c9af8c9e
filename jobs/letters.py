"""Letters to a customer about what they asked for: what changes, from when, and what is charged next; never more than is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from babel import dates
from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app import money
from connect_app.models import Action, Customer, Membership, User, Workspace
from connect_app.stripe_gateway.objects import Subscription
from jobs import mail, receipts

_LOCALE = "en"
_ASKED = {
    "cancel": "to cancel your subscription",
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
    action: Action, before: Subscription, after: Subscription, read_at: datetime, business: str, terms: Sequence[tuple[str, str]] = ()
) -> Letter:
    """The change was read back from Stripe. `terms` of an offer are those that were accepted, as label and value."""
    name = receipts.plan_name(after)
    what = f"Your subscription to {name}" if name else "Your subscription"
    match action.verb:
        case "cancel":
            return _canceled(what, after, read_at, business)
        case "discount":
            clearing = ["The cancellation that was scheduled has been taken back."] if before.is_scheduled_to_cancel else []
            agreed = ["\n".join(["What you accepted:", *(f"- {label}: {value}" for label, value in terms)])] if terms else []
            lines = [f"{what} continues, and your discount is in place: it counts from your next bill.", *agreed, *clearing]
            return _write("Your discount is in place", [*lines, _next_charge(after)], business)
        case "undo_cancel":
            lines = [f"{what} continues: its cancellation has been taken back.", _next_charge(after)]
            return _write(f"{what} continues", lines, business)
        case "pause" | "extension":
            resumes = after.pause.resumes_at if after.pause else None
            ends = f" until {_day(resumes)}" if resumes else ""
            free = " You can go on using it, and pay nothing for that time." if action.verb == "extension" else ""
            return _write("Your subscription is paused", [f"{what} is not charged{ends}.{free}", _next_charge(after)], business)
        case "resume":
            return _write("Your subscription is resumed", [f"{what} is resumed.", _next_charge(after)], business)
        case "trial_extension":
            until = f" until {_day(after.trial_end)}" if after.trial_end else ""
            return _write("Your trial is longer", [f"Your trial now runs{until}.", _next_charge(after)], business)
        case "plan_change":
            later = action.intent.get("when") == "period_end" and after.schedule is not None
            lines = ["Your plan changes with your next billing period." if later else f"You are now on {name or 'your new plan'}."]
            return _write("Your plan is changed", [*lines, *([] if later else [_next_charge(after)])], business)
    lines = [f"{what} is now charged to the card you gave.", _next_charge(after)]
    return _write("Your new card is in use", lines, business)


def received(action: Action, business: str) -> Letter:
    """It could not be done at once, and a person has been told."""
    lines = [
        f"We have received your request {_ASKED[action.verb]}.",
        f"It is not done yet: the team at {business} has been told and will see to it. We write again when it is settled.",
    ]
    return _write("We have received your request", lines, business)


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


def send(session: Session, action: Action, letter: Letter, *, topic: str, now: datetime) -> None:
    """Ask for the letter once per action and topic (`settled`, `received`), to whom the action's mode allows."""
    to, problem = addressee(session, action)
    is_live = action.mode == "live"
    mail.ask(
        session,
        workspace_id=action.workspace_id,
        topic=f"action/{action.id}/{topic}",
        to=to,
        subject=letter.subject if is_live else f"[Test] {letter.subject}",
        text=letter.text if is_live else f"{letter.text}\n{_instead_of(session, action)}\n",
        now=now,
        problem=problem,
    )


def addressee(session: Session, action: Action) -> tuple[str | None, str | None]:
    """(address, None) or (None, why there is none): the customer in live mode, in test mode nobody but the workspace's first owner."""
    if action.mode == "live":
        email = _customer(session, action)
        return (email, None) if email else (None, "the customer has no email address")
    owner = session.execute(
        select(User.email)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.workspace_id == action.workspace_id, Membership.role == "owner")
        .order_by(Membership.created_at, User.id)
        .limit(1)
    ).scalar_one_or_none()
    return (owner, None) if owner else (None, "no owner to send test mail to")


def _customer(session: Session, action: Action) -> str | None:
    return session.execute(
        select(Customer.email).where(Customer.connection_id == action.connection_id, Customer.id == action.customer)
    ).scalar_one_or_none()


def _instead_of(session: Session, action: Action) -> str:
    """Whom a letter of test mode would have gone to."""
    email = _customer(session, action)
    return f"[Test mode: in live mode, this letter goes to the customer {action.customer}, {email or 'who has no email address'}.]"


def business(session: Session, action: Action) -> str:
    """The name the customer knows the business by."""
    return session.execute(select(Workspace.name).where(Workspace.id == action.workspace_id)).scalar_one()


def _canceled(what: str, after: Subscription, read_at: datetime, business: str) -> Letter:
    at = receipts.effective_at("cancel", after, read_at)
    if after.is_ended:
        lines, subject = [f"{what} is canceled and ended on {_day(at)}."], f"{what} is canceled"
    else:
        lines = [f"{what} is canceled: you keep it until {_day(at)}, and it ends then."]
        subject = f"{what} ends on {_day(at)}"
    if after.next_charge is not None:
        lines.append(_next_charge(after))
    elif after.status == "past_due":
        lines.append("No renewal will be charged. An invoice that is already open may still be collected.")
    else:
        lines.append("No renewal will be charged.")
    return _write(subject, lines, business)


def _next_charge(after: Subscription) -> str:
    if after.is_ended:
        return "It has ended; no further charge is scheduled."
    if after.is_paused:
        return "It is paused at present."
    if after.next_charge is None:
        return "No further charge is scheduled."
    amount = after.amount
    price = f" ({money.format(amount, _LOCALE)} before discounts and tax)" if amount else ""
    return f"The next charge is on {_day(after.next_charge)}{price}."


def _write(subject: str, lines: list[str], business: str) -> Letter:
    return Letter(subject=subject, text="\n\n".join(["Hello,", *lines, business]) + "\n")


def _day(at: datetime) -> str:
    return dates.format_date(at.date(), format="long", locale=_LOCALE)
