"""Which sessions a piece of Stripe's news is about: what they must be told, and that their outcome has to be looked at again."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from connect_app import db, facts
from connect_app.models import Charge, FlowSession
from jobs import queues

# Kinds of the mirror that can change an outcome; each has a `customer`.
DECIDING = frozenset(("subscription", "invoice", "charge"))
# Asked at every batch of news, mostly in vain.
_VISITED = """select distinct subscription from sessions
  where connection_id = %(connection)s and subscription = any(%(subscriptions)b::text[]) and shown_at is not null"""
# Beside them, what the business's own system was asked to do for these subscriptions: news of them may show that it has. And the pauses
# of ours that are still watched.
_CONCERNED = """select 'validate' as kind, id from sessions
  where connection_id = %(connection)s and customer = any(%(customers)b::text[]) and shown_at is not null
  union all select 'confirm', id from actions
  where connection_id = %(connection)s and subscription = any(%(subscriptions)b::text[]) and state = 'requested' and code = 'yours'
  union all select 'pause', action_id from pauses
  where connection_id = %(connection)s and customer = any(%(customers)b::text[]) and settled_at is null
  order by 1, 2"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An event about a subscription: its id, its type, when it happened, and the subscription's JSON after it."""

    event: str
    type: str
    at: datetime
    raw: Mapping[str, object] = field(repr=False)


def noticed(
    session: Session,
    workspace_id: str,
    connection_id: str,
    customers: Collection[str],
    due_at: datetime,
    *,
    subscriptions: Collection[str] = (),
) -> None:
    """The mirror now holds something new that decides, of these customers: their sessions are to be looked at again, and what the
    business's own system was asked to do for these of their subscriptions.

    One query whatever their number. Sessions by customer and not by subscription: who left may come back with another one. In the order
    of their ids, so that two transactions never wait for each other in a circle.
    """
    values = {"connection": connection_id, "customers": list(customers), "subscriptions": list(subscriptions)}
    for kind, id in session.connection().exec_driver_sql(_CONCERNED, values).all():
        queues.enqueue(session, kind, id, workspace_id, due_at=due_at)


def visited(session: Session, connection_id: str, subscriptions: Collection[str]) -> set[str]:
    """Which of these subscriptions have a session of which something was seen: `told` has nothing to say of others."""
    if not subscriptions:
        return set()
    values = {"connection": connection_id, "subscriptions": list(subscriptions)}
    return set(session.connection().exec_driver_sql(_VISITED, values).scalars())


def told(session: Session, workspace_id: str, connection_id: str, changes: Iterable[Change]) -> None:
    """Each event about a subscription is a fact of every session that was under way or over by then: once, in whatever order it came."""
    found = {change.event: change for change in changes}
    named = {str(change.raw.get("id")) for change in found.values()}
    if not named:
        return
    visits = session.execute(
        select(FlowSession.id, FlowSession.subscription, FlowSession.shown_at).where(
            FlowSession.connection_id == connection_id, FlowSession.subscription == db.any_of(named), FlowSession.shown_at.is_not(None)
        )
    ).all()
    for visit in visits:
        for change in found.values():
            # Stripe's times are whole seconds: what happened in the second of the first look counts as after it.
            if change.raw.get("id") == visit.subscription and change.at >= visit.shown_at.replace(microsecond=0):
                facts.record_once(
                    session, workspace_id, visit.id, "stripe.changed", change.at, _shown(change), key=change.event.removeprefix("evt_")
                )


def pays(session: Session, connection_id: str, charge_id: str, invoice_id: str | None) -> None:
    """Stripe was asked which invoice a charge paid: the mirror keeps it, since the charge itself no longer says; also that it paid none."""
    session.execute(
        update(Charge)
        .where(Charge.connection_id == connection_id, Charge.id == charge_id, Charge.invoice.is_(None))
        .values(invoice=invoice_id or Charge.PAID_NONE)
    )


def _shown(change: Change) -> dict[str, object]:
    """What an outcome could turn on, as this event shows it."""
    raw = change.raw
    details = raw.get("cancellation_details")
    return {
        "event": change.event,
        "type": change.type,
        "status": raw.get("status"),
        "is_canceling": bool(raw.get("cancel_at_period_end")) or raw.get("cancel_at") is not None,
        "is_paused": raw.get("pause_collection") is not None or raw.get("status") == "paused",
        "reason": details.get("reason") if isinstance(details, Mapping) else None,
    }
