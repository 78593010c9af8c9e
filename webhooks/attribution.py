"""Which sessions a piece of Stripe's news is about: what they must be told, and that their outcome has to be looked at again."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select, union, update
from sqlalchemy.orm import Session

from connect_app import db, facts
from connect_app.models import Charge, FlowSession, Invoice, Subscription
from jobs import queues

# Kinds of the mirror that can change an outcome, and where each says whose it is.
_DECIDING: Mapping[str, type[Subscription] | type[Invoice] | type[Charge]] = {
    "subscription": Subscription,
    "invoice": Invoice,
    "charge": Charge,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An event about a subscription: its id, its type, when it happened, and the subscription's JSON after it."""

    event: str
    type: str
    at: datetime
    raw: Mapping[str, object] = field(repr=False)


def noticed(session: Session, workspace_id: str, connection_id: str, kept: Mapping[str, Collection[str]], due_at: datetime) -> None:
    """The mirror now holds something new of these objects (ids by kind): the sessions of their customers are to be looked at again.

    One query whatever the number of objects. By customer and not by subscription: who left may come back with another one. In the order
    of their ids, so that two transactions never wait for each other in a circle.
    """
    whose = [
        select(model.customer).where(model.connection_id == connection_id, model.id == db.any_of(kept[kind]))
        for kind, model in _DECIDING.items()
        if kept.get(kind)
    ]
    if not whose:
        return
    concerned = (
        select(FlowSession.id)
        .where(
            FlowSession.connection_id == connection_id,
            FlowSession.shown_at.is_not(None),
            FlowSession.customer.in_(union(*whose).scalar_subquery() if len(whose) > 1 else whose[0].scalar_subquery()),
        )
        .order_by(FlowSession.id)
    )
    for session_id in session.execute(concerned).scalars().all():
        queues.enqueue(session, "validate", session_id, workspace_id, due_at=due_at)


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
