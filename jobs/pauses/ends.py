"""The two ends of a pause, and the word before the second: what is kept of each, and who is told, in one transaction."""

from datetime import datetime, timedelta

from babel import dates
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import facts, money
from connect_app.models import Action, Pause
from connect_app.stripe_gateway.gateway import Read
from connect_app.stripe_gateway.objects import Subscription
from jobs import letters, queues, receipts
from jobs.outbound import telling
from jobs.pauses import moments
from jobs.plans import months, pauses

_LOCALE = "en"
# Where jobs.letters puts the way to the customer's portal.
_PORTAL = "{portal}"


def began(session: Session, action: Action, after: Subscription, now: datetime) -> None:
    """A pause or an extension was read back from Stripe: the business is told, and its end is watched. Of other changes, nothing.

    Call it in the transaction that verifies the action.
    """
    if action.verb not in pauses.BEHAVIORS or action.connection_id is None or after.pause is None:
        return
    _replaced(session, action, now)
    values = {
        "action_id": action.id,
        "workspace_id": action.workspace_id,
        "connection_id": action.connection_id,
        "customer": action.customer,
        "subscription": action.subscription,
        "started_at": now,
        "resumes_at": after.pause.resumes_at,
    }
    made = insert(Pause).values(values).on_conflict_do_nothing().returning(Pause)
    row = session.execute(made).scalar_one_or_none()
    if row is None:
        return
    telling.pause(session, "pause.started", action, row, now)
    queues.enqueue(session, "pause", action.id, action.workspace_id, due_at=moments.following(row, now))


def ended(session: Session, action: Action, row: Pause, read: Read[Subscription] | None, now: datetime) -> None:
    """Stripe shows it no longer; `read` is None where it has no such subscription any more. Told once."""
    if row.ended_at is not None:
        return
    seen_at = read.as_of if read is not None else now
    if read is None or read.value.is_ended:
        row.how, row.ended_at = "canceled", (read.value.ended_at if read is not None else None) or seen_at
    elif row.resumes_at is not None and seen_at >= row.resumes_at:
        row.how, row.ended_at = "ran_out", row.resumes_at
    else:
        row.how, row.ended_at = "resumed", seen_at
    session.flush()
    telling.pause(session, "pause.ended", action, row, now)
    note(session, action, "pause.ended", now, how=row.how)


def remind(session: Session, action: Action, row: Pause, subscription: Subscription, now: datetime) -> None:
    """Tell the customer and the business that it goes on soon, if it is time: once for each end that it has had.

    Where the subscription ends for good before that, there is nothing to go on.
    """
    at, ends = moments.reminds_at(row), row.resumes_at
    if at is None or ends is None or not at <= now < ends or (subscription.ends_at is not None and subscription.ends_at <= ends):
        return
    row.reminded_for = ends
    session.flush()
    telling.pause(session, "pause.ending", action, row, now)
    letter = _ending(action, subscription, ends, letters.business(session, action))
    letters.send(session, action, letter, topic=f"ending/{int(ends.timestamp())}", now=now)
    note(session, action, "pause.ending", now, resumes_at=ends.isoformat())


def note(session: Session, action: Action, kind: str, at: datetime, **data: object) -> None:
    """A fact of the session that it came from, where it has one."""
    if action.session_id is not None:
        facts.record(session, action.workspace_id, action.session_id, kind, at, {"action": action.id, **data})


def _replaced(session: Session, action: Action, now: datetime) -> None:
    """Another pause takes the place of an older one of the same subscription, which is over then, whoever ended it."""
    older = select(Pause).where(
        Pause.connection_id == action.connection_id,
        Pause.customer == action.customer,
        Pause.subscription == action.subscription,
        Pause.settled_at.is_(None),
        Pause.action_id != action.id,
    )
    for row in session.execute(older.order_by(Pause.action_id).with_for_update()).scalars().all():
        earlier = session.execute(select(Action).where(Action.id == row.action_id)).scalar_one()
        row.settled_at, row.charge = now, "none"
        if row.ended_at is None:
            row.ended_at, row.how = now, "replaced"
            session.flush()
            telling.pause(session, "pause.ended", earlier, row, now)
        session.flush()


def _ending(action: Action, subscription: Subscription, ends: datetime, business: str) -> letters.Letter:
    """What the customer reads some days before: when it goes on, and what is charged next."""
    name = receipts.plan_name(subscription)
    what = f"Your subscription to {name}" if name else "Your subscription"
    bills = months.bills(subscription, subscription.current_period_end, ends + timedelta(days=800))
    first = next((bill for bill in bills if bill >= ends), None)
    if action.verb == "extension":
        subject, stands = f"Your free time ends on {_day(first or ends)}", f"{what} is free until {_day(first or ends)}."
    else:
        subject, stands = f"{what} resumes on {_day(ends)}", f"{what} is paused until {_day(ends)}."
    lines = [f"{stands} It goes on by itself after that, and is charged again."]
    if first is not None:
        price = f" ({money.format(subscription.amount, _LOCALE)} before discounts and tax)" if subscription.amount else ""
        lines.append(f"The next charge is on {_day(first)}{price}.")
    return letters.Letter(subject=subject, text="\n\n".join(["Hello,", *lines, _PORTAL + business]) + "\n")


def _day(at: datetime) -> str:
    return dates.format_date(at.date(), format="long", locale=_LOCALE)
