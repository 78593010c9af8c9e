"""The course of a pause after its proof: waiting for each moment, a look at Stripe when it has come, and what is to be told of that."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app import connections
from connect_app.models import Action, Connection, Pause
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from connect_app.stripe_gateway.account import AccountGateway
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from connect_app.stripe_gateway.gateway import Read
from connect_app.stripe_gateway.objects import Invoice, Subscription
from jobs import access, budget, work
from jobs.pauses import charges, ends, moments
from webhooks import mirror, projections

log = structlog.get_logger()

_UNREACHABLE, _A_DAY = timedelta(days=1), timedelta(days=1)
# A yearly plan is charged within a year after its pause. Who has not been by then, never will be for this.
_LONGEST_WATCH = timedelta(days=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """One pause, and what the mirror holds of its subscription."""

    pause: Pause
    action: Action
    connection: Connection | None
    subscription: Subscription | None
    invoices: tuple[Invoice, ...]


def watch(rt: Runtime, claim: work.Claim) -> work.End:
    """Bring the pause of the action `claim.row_id` up to now. Between two looks its work row waits for the moment that comes next.

    What is told is told from a look at Stripe made for it: news and the clock only say when to look.
    """
    with rt.transaction(claim.tenant) as session:
        watched = _load(session, claim)
    if watched is None or watched.pause.settled_at is not None:
        return work.Done()
    connection = watched.connection
    if connection is None or connection.state != "connected" or connection.mode not in rt.gateways:
        # A reconnect reads everything in again, and that is news.
        return work.Again(problem="Stripe cannot be asked", after=_UNREACHABLE)
    try:
        if watched.pause.ended_at is None:
            return _lasting(rt, claim, watched, connection)
        return _over(rt, claim, watched, connection)
    except AccessLost as loss:
        access.lost(rt, claim, connection, loss)
        return work.Again(problem=str(loss)[:500], after=_UNREACHABLE)
    except Transient as failure:
        return work.Again(problem=f"stripe: {failure}"[:500])
    except Refused as refusal:
        log.warning("pause.refused", action=claim.row_id, problem=str(refusal))
        return work.Again(problem=str(refusal)[:500], after=_UNREACHABLE)


def _lasting(rt: Runtime, claim: work.Claim, watched: _Watched, connection: Connection) -> work.End:
    """It lasts, as far as is known: while neither the mirror nor the clock says otherwise there is nothing to ask."""
    row, held = watched.pause, watched.subscription
    if held is not None and _lasts(held) and _end_of(held) == row.resumes_at and not moments.is_due(row, rt.now()):
        return _wait(row, rt.now())
    if (later := budget.reserve(rt, connection.account, connection.mode, claim.id)) is not None:
        return work.Again(problem="waiting for the account's rate budget", after=later, is_untried=True)
    read = _read(rt.stripe(connection.mode).account(connection.account), row.subscription)
    if read is not None and (held is None or _differs(read.value, held)):
        with rt.transaction(claim.tenant) as session:
            projections.apply_read(session, claim.tenant, connection.id, read.value, read.as_of)
    now = rt.now()
    with rt.transaction(claim.tenant) as session:
        row = _hold(session, claim)
        if read is None or not _lasts(read.value):
            ends.ended(session, watched.action, row, read, now)
        else:
            row.resumes_at = _end_of(read.value)
            ends.remind(session, watched.action, row, read.value, now)
        session.flush()
        # Last: news holds the subscription's row before it wants this work row.
        claim.fence(session)
    return work.Again(problem="now the charge after it", after=timedelta(0)) if row.ended_at is not None else _wait(row, now)


def _over(rt: Runtime, claim: work.Claim, watched: _Watched, connection: Connection) -> work.End:
    """It is over: what became of the first bill that is meant to be paid? The mirror tells, else Stripe, once that is overdue."""
    row, held, now = watched.pause, watched.subscription, rt.now()
    found = charges.first(row, held, watched.invoices) if held is not None else None
    by = moments.charged_by(row, held)
    if found is None and now >= by:
        if (later := budget.reserve(rt, connection.account, connection.mode, claim.id)) is not None:
            return work.Again(problem="waiting for the account's rate budget", after=later, is_untried=True)
        stripe = rt.stripe(connection.mode).account(connection.account)
        read = _read(stripe, row.subscription)
        page = stripe.invoices(subscription=row.subscription, created={"gte": int(row.started_at.timestamp())}).value
        found = charges.first(row, read.value if read is not None else None, page.items)
        by = max(moments.charged_by(row, read.value if read is not None else None), now + _A_DAY)
    if found is None and now >= (row.ended_at or now) + _LONGEST_WATCH:
        found = "none", None
    if found is None:
        return work.Again(problem="waits for the first charge after the pause", after=by - now)
    with rt.transaction(claim.tenant) as session:
        row = _hold(session, claim)
        if row.settled_at is None:
            _settled(rt, session, watched.action, connection, row, *found)
        claim.fence(session)
    return work.Done()


def _settled(
    rt: Runtime, session: Session, action: Action, connection: Connection, row: Pause, verdict: str, invoice_id: str | None
) -> None:
    row.settled_at, row.charge = rt.now(), verdict
    session.flush()
    ends.note(session, action, "pause.settled", rt.now(), charge=verdict, invoice=invoice_id)
    if verdict == "failed" and invoice_id is not None:
        charges.failed(rt, session, action, connection, invoice_id)


def _lasts(subscription: Subscription) -> bool:
    return subscription.pause is not None and not subscription.is_ended


def _end_of(subscription: Subscription) -> datetime | None:
    return subscription.pause.resumes_at if subscription.pause is not None else None


def _differs(one: Subscription, other: Subscription) -> bool:
    told = ("status", "pause", "ends_at", "current_period_end")
    return any(getattr(one, name) != getattr(other, name) for name in told)


def _read(stripe: AccountGateway, subscription: str) -> Read[Subscription] | None:
    """None where Stripe has no such subscription."""
    try:
        return stripe.subscription(subscription)
    except Missing:
        return None


def _wait(row: Pause, now: datetime) -> work.Again:
    return work.Again(problem="waits for its time", after=moments.following(row, now) - now)


def _load(session: Session, claim: work.Claim) -> _Watched | None:
    joined = select(Pause, Action).join(Action, Action.id == Pause.action_id)
    found = session.execute(joined.where(Pause.action_id == claim.row_id)).first()
    if found is None:
        return None
    row: Pause = found.Pause
    since = row.started_at.replace(microsecond=0)
    try:
        subscription = mirror.subscription(session, row.connection_id, row.subscription)
        invoices = mirror.invoices_of(session, row.connection_id, subscription=row.subscription, since=since) if row.ended_at else []
    except objects.Malformed:
        subscription, invoices = None, []
    return _Watched(
        pause=row,
        action=found.Action,
        connection=connections.by_id(session, row.connection_id),
        subscription=subscription,
        invoices=tuple(invoices),
    )


def _hold(session: Session, claim: work.Claim) -> Pause:
    """The row as it is now, and nobody else's until the transaction ends."""
    return session.execute(select(Pause).where(Pause.action_id == claim.row_id).with_for_update()).scalar_one()
