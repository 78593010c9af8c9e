"""Understanding what Stripe told: draining a lane of kept events, and reading again what events alone could not settle."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from connect_app import connections, db
from connect_app.models import Connection
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from connect_app.stripe_gateway.account import AccountGateway
from connect_app.stripe_gateway.answers import Read
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from jobs import access, budget, work
from webhooks import news, projections, store

log = structlog.get_logger()

BATCH = 500
# After this many batches a lane goes to the back of the queue: nobody waits longer for another's flood.
_TURN = 4
# Tries of a read that may take no longer than a read at request time; after them it may take its time.
_QUICK_TRIES = 15

_READS: dict[str, Callable[[AccountGateway, str], Read[projections.Mirrored]]] = {
    "subscription": lambda account, id: account.subscription(id),  # type: ignore[return-value,dict-item]
    "customer": lambda account, id: account.customer(id),  # type: ignore[return-value,dict-item]
    "product": lambda account, id: account.product(id),  # type: ignore[return-value,dict-item]
    "price": lambda account, id: account.price(id),  # type: ignore[return-value,dict-item]
    "coupon": lambda account, id: account.coupon(id),  # type: ignore[return-value,dict-item]
    "invoice": lambda account, id: account.invoice(id),  # type: ignore[return-value,dict-item]
    "charge": lambda account, id: account.charge(id),  # type: ignore[return-value,dict-item]
    "subscription_schedule": lambda account, id: account.schedule(id),  # type: ignore[return-value,dict-item]
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drained:
    """One batch: how many events were looked at, and whether some of them wait for another try."""

    events: int
    stumbled: int


def drain(rt: Runtime, claim: work.Claim) -> work.End:
    """Understand what waits in the lane `claim.row_id`, BATCH events to a transaction."""
    until = time.monotonic() + rt.settings.holdfast_lease_seconds / 3
    for _ in range(_TURN):
        batch = _drain_batch(rt, claim)
        if batch.events < BATCH or time.monotonic() > until:
            break
    if batch.events == BATCH:
        return work.Again(problem="more is waiting", after=timedelta(0))
    if batch.stumbled:
        return work.Again(problem=f"{batch.stumbled} events could not be understood", after=work.backoff(claim.attempts, cap=10))
    return work.Done()


def _drain_batch(rt: Runtime, claim: work.Claim) -> _Drained:
    with rt.transaction() as session:
        lane = store.lock(session, claim.row_id)
        waiting = store.take(session, lane.id, BATCH) if lane else []
        stumbled = 0
        if lane and waiting:
            stumbled = _understand(session, lane, waiting, rt.now())
        # The fence comes last here: deliveries that arrive meanwhile ask for this very work row and must not wait for the whole batch.
        claim.fence(session)
    return _Drained(events=len(waiting), stumbled=stumbled)


def _understand(session: Session, lane: store.Lane, waiting: list[store.Waiting], now: datetime) -> int:
    home = connections.locate(session, lane.account, lane.mode)
    if home is None:
        # The platform's own news has no account and concerns no tenant; an account's waits for its connection.
        state = "waiting_for_account" if lane.account else "ignored"
        store.settle(session, [event.id for event in waiting], state, now)
        return 0
    db.tenant(session, home.workspace_id)
    end = news.project(session, home, waiting, now)
    store.settle(session, end.done, "done", now)
    store.settle(session, end.ignored, "ignored", now)
    again = store.stumble(session, lane.id, end.problems, now)
    for event_id, problem in end.problems.items():
        log.warning("webhook.not_understood", webhook_event=event_id, problem=problem, will_be_tried=event_id in again)
    return len(again)


def refetch(rt: Runtime, claim: work.Claim) -> work.End:
    """Read one object (`connection/kind/id`) from its account, now, and keep what is there. `jobs.reads` minds the account's pace."""
    with rt.transaction(claim.tenant) as session:
        connection = connections.by_id(session, claim.row_id.partition("/")[0])
    if connection is None or connection.state != "connected":
        return work.Done()  # a reconnect reads everything in again
    _, kind, id = claim.row_id.split("/", 2)
    stripe = rt.quick_stripe if claim.attempts <= _QUICK_TRIES else rt.stripe
    account = stripe(connection.mode).account(connection.account)
    began = time.monotonic()
    read: Read[projections.Mirrored] | None = None
    try:
        read = _READS[kind](account, id)
    except Missing:
        pass
    except AccessLost as loss:
        return access.lost(rt, claim, connection, loss)
    except Transient as failure:
        if time.monotonic() - began > 1:
            budget.rest(rt, connection.account, connection.mode)
        return work.Again(problem=str(failure))
    except Refused as refusal:
        return work.GiveUp(problem=str(refusal))
    with rt.transaction(claim.tenant) as session:
        is_settled = _keep(session, connection, kind, id, read, rt.now())
        # Last here too: a drain holds the object's row before it wants this work row.
        claim.fence(session)
    if not is_settled:
        # Something else was kept in the very second of this read: only a later one can tell which came last.
        return work.Again(problem="read in the same second as other news", after=timedelta(seconds=1))
    return work.Done()


def _keep(session: Session, connection: Connection, kind: str, id: str, read: Read[projections.Mirrored] | None, now: datetime) -> bool:
    place = connection.workspace_id, connection.id
    if read is None:
        return projections.mark_deleted(session, *place, kind, id, now.astimezone(UTC).replace(microsecond=0))
    is_deleted = bool(getattr(read.value, "is_deleted", False))
    row = projections.row(kind, read.value.raw, read.as_of, is_deleted=is_deleted)
    if projections.apply(session, *place, [row]):
        return False
    if isinstance(read.value, objects.Subscription):
        projections.keep_discounts(session, *place, [read.value], read.as_of)
    return True


def refetch_given_up(rt: Runtime, claim: work.Claim, problem: str) -> None:
    """The mirror keeps what it has; the next news of the object asks again."""
    log.error("refetch.given_up", object=claim.row_id, workspace=claim.workspace_id, problem=problem, at=rt.now().isoformat())
