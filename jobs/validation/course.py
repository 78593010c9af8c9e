"""Deciding one session's outcome: when the mirror is enough, when Stripe is asked, and what is written down of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import db, facts
from connect_app.models import Charge, FlowSession, Invoice, Outcome, SessionFact
from connect_app.models.base import Json
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.errors import AccessLost, Refused, Transient
from jobs import access, counting, queues, work
from jobs.outbound import telling
from jobs.validation import billing, footing, table, worth

log = structlog.get_logger()

# How long to wait where Stripe cannot be asked: the account is disconnected, or refuses.
_UNREACHABLE = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoned:
    """When time alone will change an outcome next, and the sessions to be looked at again because of what it has become."""

    due_at: datetime | None
    concerns: tuple[str, ...]


def validate(rt: Runtime, claim: work.Claim) -> work.End:
    """Bring the outcome of the session `claim.row_id` up to now. Between two looks its work row waits for the time that comes next."""
    now = rt.now()
    with rt.transaction(claim.tenant) as session:
        case = billing.load(session, claim.tenant, claim.row_id, now)
    if case is None:
        return work.Done()
    is_missing, looked_at, hindrance = False, None, None
    steps = table.settled(case.was, case.visit, case.standing, now)
    wants_look = table.wants_look(steps[-1] if steps else case.was, case.looked_at, now)
    if wants_look and not case.can_look:
        hindrance = "Stripe cannot be asked" if case.is_attributed else None
    try:
        if wants_look and case.can_look:
            is_missing = not billing.look(rt, case)
            looked_at = rt.now()
        billing.follow_charges(rt, case)
    except Transient as failure:
        return work.Again(problem=str(failure))
    except AccessLost as loss:
        if case.connection is not None:
            access.lost(rt, claim, case.connection, loss)
        hindrance = str(loss)
    except Refused as refusal:
        log.warning("validation.refused", session=claim.row_id, problem=str(refusal))
        hindrance = str(refusal)
    with rt.transaction(claim.tenant) as session:
        end = reckon(session, claim.tenant, claim.row_id, rt.now(), looked_at=looked_at, is_missing=is_missing)
        # The session first, as who verifies an action holds it and then asks for this very work; then the work of sessions in the order of
        # their ids, as everybody takes it; and last what all sessions of the workspace ask for.
        for session_id in sorted({claim.row_id, *end.concerns}):
            if session_id == claim.row_id:
                claim.fence(session)
            else:
                ask(session, claim.tenant, [session_id], rt.now())
        counting.ask(session, claim.tenant, rt.now())
    if hindrance is not None:
        return work.Again(problem=hindrance[:500], after=_UNREACHABLE)
    if end.due_at is None:
        return work.Done()
    return work.Again(problem="waits for its time", after=max(timedelta(0), end.due_at - rt.now()))


def reckon(
    session: Session, workspace_id: str, session_id: str, now: datetime, *, looked_at: datetime | None = None, is_missing: bool = False
) -> Reckoned:
    """Decide the outcome from what rows show, and record each step of it as a fact.

    `looked_at` is when Stripe was asked for this, `is_missing` that it has no such subscription.
    """
    hold(session, [session_id])
    case = billing.load(session, workspace_id, session_id, now, is_missing=is_missing)
    if case is None:
        return Reckoned(due_at=None, concerns=())
    if case.connection is not None:
        _payments(session, case)
    was, steps = case.was, table.settled(case.was, case.visit, case.standing, now)
    revenue = case.revenue
    for step in steps:
        changed = {"from": was.state if was else "open", "to": step.state, "how": step.how, "door": step.door}
        facts.record(session, workspace_id, session_id, "outcome.changed", now, {**changed, "since": step.since.isoformat()})
        was = step
    if was is not None and (steps or looked_at is not None or case.was is not None):
        revenue = _keep(session, case, was, looked_at or case.looked_at, now)
    _tell(session, case, steps, revenue, now)
    # What is paid from this one on is no longer told in theirs, and what became of them may be told here.
    concerns = footing.earlier(session, case.row) if steps else []
    return Reckoned(due_at=table.due_at(was, case.visit, now), concerns=tuple(concerns))


def hold(session: Session, session_ids: Iterable[str]) -> None:
    """One at a time decides about a session; facts and answers may be added meanwhile. Held before any work about it is asked for."""
    held = select(FlowSession.id).where(FlowSession.id.in_(list(session_ids))).order_by(FlowSession.id)
    session.execute(held.with_for_update(key_share=True))


def ask(session: Session, workspace_id: str, session_ids: Iterable[str], due_at: datetime) -> None:
    """Have these sessions looked at again."""
    for session_id in sorted(session_ids):
        queues.enqueue(session, "validate", session_id, workspace_id, due_at=due_at)


def _tell(session: Session, case: billing.Case, steps: Iterable[table.Outcome], revenue: Json, now: datetime) -> None:
    was: tuple[str, str | None] = (case.was.state, case.was.how) if case.was is not None else ("open", None)
    for step in steps:
        telling.decided(
            session,
            case.row,
            was=was,
            state=step.state,
            how=step.how,
            door=step.door,
            since=step.since,
            interval_ends_at=step.interval_ends_at,
            revenue=revenue,
            now=now,
        )
        was = (step.state, step.how)


def _keep(session: Session, case: billing.Case, outcome: table.Outcome, looked_at: datetime | None, now: datetime) -> Json:
    """Write it down; gives the revenue that was frozen with it."""
    revenue = case.revenue
    if case.connection is not None and case.is_attributed and outcome.state != "open":
        revenue = worth.weighed(
            session,
            case.connection.id,
            case.revenue,
            outcome,
            case.shown,
            before=case.before,
            subscriptions=case.subscriptions,
            since=case.visit.shown_at,
            until=case.until,
            now=now,
        )
        decided_at = datetime.fromisoformat(revenue["decided_at"]) if "decided_at" in revenue else None
        revenue["told_in"] = worth.told_in(case.row.subscription, outcome, case.later, decided_at)
    values = {
        "state": outcome.state,
        "how": outcome.how,
        "since": outcome.since,
        "door": outcome.door,
        "interval_ends_at": outcome.interval_ends_at,
        "checked_at": looked_at,
        "revenue": revenue or None,
    }
    row = insert(Outcome).values(session_id=case.row.id, workspace_id=case.row.workspace_id, **values)
    session.execute(row.on_conflict_do_update(index_elements=[Outcome.session_id], set_=values))
    return revenue


def _payments(session: Session, case: billing.Case) -> None:
    """Each invoice paid between this session and the next is a fact of it, once; and so is what of it was given back, or is disputed."""
    row, connection = case.row, case.connection
    if connection is None:
        return
    begun, ended = worth.span(case.visit.shown_at, case.until)
    paid = (
        select(Invoice.id, Invoice.paid_at, Invoice.amount_paid, Invoice.currency, Invoice.subscription)
        .where(
            Invoice.connection_id == connection.id,
            Invoice.subscription == db.any_of(case.subscriptions),
            Invoice.is_deleted.is_(False),
            Invoice.status == "paid",
            Invoice.paid_at >= begun,
            Invoice.paid_at < ended,
        )
        .order_by(Invoice.paid_at, Invoice.id)
    )
    known = set(
        session.execute(
            select(SessionFact.id).where(
                SessionFact.session_id == row.id, SessionFact.kind.in_(("invoice.paid", "charge.refunded", "charge.disputed"))
            )
        ).scalars()
    )
    for invoice in session.execute(paid).all():
        told = {"invoice": invoice.id, "amount": invoice.amount_paid, "currency": invoice.currency, "subscription": invoice.subscription}
        _once(session, row, "invoice.paid", invoice.paid_at, told, invoice.id, known)
    charges = (
        select(Charge)
        .join(Invoice, (Invoice.connection_id == Charge.connection_id) & (Invoice.id == Charge.invoice))
        .where(
            Charge.connection_id == connection.id,
            Invoice.subscription == db.any_of(case.subscriptions),
            Invoice.paid_at >= begun,
            Invoice.paid_at < ended,
        )
    )
    for charge in session.execute(charges.order_by(Charge.id)).scalars():
        told = {"charge": charge.id, "invoice": charge.invoice, "currency": charge.currency}
        if charge.amount_refunded > 0:
            key = f"{charge.id}_{charge.amount_refunded}"
            _once(session, row, "charge.refunded", charge.as_of, {**told, "amount": charge.amount_refunded}, key, known)
        if charge.dispute_status is not None:
            details = {**told, "amount": charge.amount_disputed, "status": charge.dispute_status}
            _once(session, row, "charge.disputed", charge.as_of, details, f"{charge.id}_{charge.dispute_status}", known)


def _once(session: Session, row: FlowSession, kind: str, at: datetime, told: dict[str, object], key: str, known: set[str]) -> None:
    if facts.once(row.id, kind, key) not in known:
        facts.record_once(session, row.workspace_id, row.id, kind, at, told, key=key)
