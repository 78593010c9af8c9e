"""Events as they are kept: one row per id with the signed bytes, and what each lane (account, mode) has still to understand."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from redis import Redis
from sqlalchemy import ColumnExpressionArgument, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import db, ids
from connect_app.models import WebhookEvent, WebhookLane, WebhookPending
from connect_app.modes import Mode
from jobs import queues
from webhooks.events import Envelope

# Tries before an event that cannot be understood is put aside.
ATTEMPTS = 5

_DRAIN = queues.KINDS["drain"].queue
# One statement keeps a whole batch. Inserted in the order of their ids, so that two batches with the same events never wait in a circle;
# queued in the order in which they came. What is known already is left out first: a conflict would wait for whoever has that row in hand.
# %b: arrays of bytes as text would cost ten times as much.
_KEEP = """
with given as (
  select * from unnest(%(id)b::text[], %(lane)b::text[], %(account)b::text[], %(livemode)b::bool[], %(type)b::text[],
    %(api_version)b::text[], %(created_at)b::timestamptz[], %(raw)b::bytea[])
    with ordinality as g(id, lane, account, livemode, type, api_version, created_at, raw, place)
), kept as (
  insert into webhook_events (id, account, livemode, type, api_version, created_at, received_at, raw, state)
  select id, account, livemode, type, api_version, created_at, %(now)b::timestamptz, raw, 'pending' from given
  where not exists (select from webhook_events known where known.id = given.id) order by id
  on conflict (id) do nothing returning id
), news as (
  select id, lane, account, livemode, place from given join kept using (id)
), lanes as (
  insert into webhook_lanes (id, account, livemode) select distinct lane, account, livemode from news order by lane
  on conflict (id) do nothing
), queued as (
  insert into webhook_pending (event_id, lane_id) select id, lane from news order by place
), asked as (
  {ask}
)
select (select count(*) from kept), array(select id from asked where due_at = %(now)b::timestamptz)
""".replace(
    "{ask}",
    queues.ASK.replace(
        "{rows}",
        """select work, 'drain', lane, null, %(queue)b::text, %(now)b::timestamptz
  from unnest(%(lanes)b::text[], %(works)b::text[]) as drains(lane, work)
  where exists (select from news where news.lane = drains.lane) order by lane""",
    ),
)


# What follows in the transaction is a batch, out of tables of any size. Planned as for tables of the few rows that the planner last heard
# of, it would read them whole: all that waits in a lane for the first 500, all events ever kept for the bytes of these.
_LOCK = """
select account, livemode, set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
  set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('enable_sort', 'off', true)
from webhook_lanes where id = %(lane)s for update
"""
_TAKE = """
select e.id, e.type, e.api_version, e.created_at, e.received_at, e.attempts, e.raw
from webhook_pending p join webhook_events e on e.id = p.event_id where p.lane_id = %(lane)s order by p.position limit %(limit)s
"""
_SETTLE = """
with over as (delete from webhook_pending where event_id = any(%(ids)b::text[]))
update webhook_events set state = %(state)s, settled_at = %(now)s, error = null where id = any(%(ids)b::text[])
"""

_STUMBLE = """
with over as (delete from webhook_pending where event_id = any(%(ids)b::text[]))
update webhook_events e set attempts = e.attempts + 1, error = g.problem,
  state = case when e.attempts + 1 >= %(tries)s then 'failed' else 'pending' end,
  settled_at = case when e.attempts + 1 >= %(tries)s then %(now)s::timestamptz end
from unnest(%(ids)b::text[], %(problems)b::text[]) as g(id, problem) where e.id = g.id returning e.id, e.state
"""
_QUEUE = """
insert into webhook_pending (event_id, lane_id)
select id, %(lane)s from unnest(%(ids)b::text[]) with ordinality as g(id, place) order by place
"""
# Back into their lane, as if they had just come: some of those that were put aside.
_REQUEUE = """
with slice as materialized (
  select id, created_at from webhook_events
  where account = %(account)s and livemode = %(livemode)s and is_aside and state = %(state)s
    and (%(before)s::timestamptz is null or settled_at <= %(before)s::timestamptz)
  order by received_at limit %(limit)s
), fresh as (
  update webhook_events e set state = 'pending', attempts = 0, error = null, settled_at = null from slice where e.id = slice.id
), queued as (
  insert into webhook_pending (event_id, lane_id) select id, %(lane)s from slice order by created_at, id on conflict (event_id) do nothing
)
select count(*) from slice
"""
# So many of them in one transaction; the rest follows as work.
SLICE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A kept event that a lane has still to understand."""

    id: str
    type: str
    api_version: str
    created_at: datetime
    received_at: datetime
    attempts: int
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The events of one account in one mode; account '' is the platform itself."""

    id: str
    account: str
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How many events were new, and the rows of work for which nobody has rung yet."""

    events: int
    bells: tuple[str, ...]

    def ring(self, redis: Redis) -> None:
        for work_id in self.bells:
            # Before the reads that other accounts' news have asked for, which may be many and wait for Stripe.
            queues.ring(redis, _DRAIN, work_id, is_first=True)


def lane_id(account: str, livemode: bool) -> str:
    """A lane's id says whose it is, so that it never has to be looked up."""
    return f"{account}/{Mode.of(livemode)}"


def keep(session: Session, envelopes: Sequence[Envelope], now: datetime) -> int:
    """Keep what is new among `envelopes` and ask for their lanes to be drained; gives how many were new. Durable once committed."""
    connection: psycopg.Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]
    kept = write(connection, envelopes, now)
    redis: Redis = session.info["redis"]
    db.after_commit(session, lambda: kept.ring(redis))
    return kept.events


def write(connection: "psycopg.Connection[Any]", envelopes: Sequence[Envelope], now: datetime) -> Kept:
    """What `keep` does, in one statement on a connection of the caller's, who rings once it is committed."""
    unique = list({envelope.id: envelope for envelope in reversed(envelopes)}.values())[::-1]
    in_lanes = [lane_id(envelope.account, envelope.livemode) for envelope in unique]
    lanes = list(set(in_lanes))
    values = {
        "id": [envelope.id for envelope in unique],
        "lane": in_lanes,
        "account": [envelope.account for envelope in unique],
        "livemode": [envelope.livemode for envelope in unique],
        "type": [envelope.type for envelope in unique],
        "api_version": [envelope.api_version for envelope in unique],
        "created_at": [envelope.created_at for envelope in unique],
        "raw": [envelope.raw for envelope in unique],
        "lanes": lanes,
        "works": [ids.new("wrk") for _ in lanes],
        "queue": _DRAIN,
        "now": now,
    }
    row = connection.execute(_KEEP, values, binary=True).fetchone()
    events, bells = row or (0, [])
    return Kept(events=events, bells=tuple(bells))


def release_waiting(session: Session, account: str, mode: str, now: datetime) -> int:
    """The account has just been connected, in this transaction: what was kept for it before is now to be understood."""
    livemode = mode == Mode.LIVE
    lane = lane_id(account, livemode)
    session.execute(insert(WebhookLane).values(id=lane, account=account, livemode=livemode).on_conflict_do_nothing())
    # A drain that found no connection holds the lane until it has put its events aside: wait for it, or they would be missed.
    lock(session, lane)
    return _begin_requeue(session, lane, account, livemode, "waiting_for_account", None, now)


def lock(session: Session, lane: str) -> Lane | None:
    """The lane, held until the transaction ends."""
    row = session.connection().exec_driver_sql(_LOCK, {"lane": lane}).first()
    return None if row is None else Lane(id=lane, account=row.account, mode=Mode.of(row.livemode))


def take(session: Session, lane: str, limit: int) -> list[Waiting]:
    """The oldest events the lane has still to understand."""
    connection: psycopg.Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]
    # In binary: the bytes of an event as text are twice as many, and have to be read digit by digit.
    rows = connection.execute(_TAKE, {"lane": lane, "limit": limit}, binary=True).fetchall()
    return [
        Waiting(id=id, type=type, api_version=version, created_at=created_at, received_at=received_at, attempts=attempts, raw=raw)
        for id, type, version, created_at, received_at, attempts, raw in rows
    ]


def settle(session: Session, event_ids: Collection[str], state: str, now: datetime) -> None:
    """These events are over: `done`, `ignored` or `waiting_for_account`. One statement whatever their number."""
    if event_ids:
        session.connection().exec_driver_sql(_SETTLE, {"ids": list(event_ids), "state": state, "now": now})


def stumble(session: Session, lane: str, problems: Mapping[str, str], now: datetime) -> set[str]:
    """These events (id: why) could not be understood: back to the end of their lane, or `failed` after ATTEMPTS tries.

    Gives those that will be tried again.
    """
    if not problems:
        return set()
    values = {"ids": list(problems), "problems": [why[:500] for why in problems.values()], "lane": lane, "now": now, "tries": ATTEMPTS}
    connection = session.connection()
    states = connection.exec_driver_sql(_STUMBLE, values).all()
    again = [id for id, state in states if state == "pending"]
    if again:
        connection.exec_driver_sql(_QUEUE, {"ids": again, "lane": lane})
    return set(again)


def replay(session: Session, event_id: str, now: datetime) -> bool:
    """Understand one event once more, whatever became of it. False where there is no such event."""
    event = session.get(WebhookEvent, event_id)
    if event is None:
        return False
    lane = lane_id(event.account, event.livemode)
    event.state, event.attempts, event.error, event.settled_at = "pending", 0, None, None
    queue = insert(WebhookPending).values(event_id=event_id, lane_id=lane)
    session.execute(queue.on_conflict_do_nothing(index_elements=[WebhookPending.event_id]))
    _ask(session, lane, now)
    return True


def replay_failed(session: Session, account: str, livemode: bool, now: datetime) -> int:
    """Understand all failed events of an account and mode once more; gives how many."""
    failed = select(func.count()).select_from(WebhookEvent).where(*_aside(account, livemode, "failed"))
    count = session.execute(failed).scalar_one()
    # What fails again while the rest is still to be put back must not be put back again.
    _begin_requeue(session, lane_id(account, livemode), account, livemode, "failed", now, now)
    return count


def requeue(session: Session, lane: str, account: str, livemode: bool, state: str, before: datetime | None, now: datetime) -> int:
    """Put at most SLICE of the lane's events that are in `state` back into it, of those put aside until `before`; gives how many."""
    values = {"lane": lane, "account": account, "livemode": livemode, "state": state, "before": before, "limit": SLICE}
    count: int = session.connection().exec_driver_sql(_REQUEUE, values).scalar_one()
    if count:
        _ask(session, lane, now)
    return count


def _begin_requeue(session: Session, lane: str, account: str, livemode: bool, state: str, before: datetime | None, now: datetime) -> int:
    """`requeue` once, and as work until nothing is left: nobody's transaction lasts as long as a million events."""
    count = requeue(session, lane, account, livemode, state, before, now)
    if count == SLICE:
        row = f"{lane}/{state}/{before.isoformat() if before else ''}"
        queues.enqueue(session, "requeue", row, None, due_at=now)
    return count


def failed(session: Session, account: str, livemode: bool, limit: int = 100) -> Sequence[WebhookEvent]:
    """The events of an account that were put aside, newest first."""
    found = select(WebhookEvent).where(*_aside(account, livemode, "failed"))
    return session.execute(found.order_by(WebhookEvent.received_at.desc()).limit(limit)).scalars().all()


def _aside(account: str, livemode: bool, state: str) -> tuple[ColumnExpressionArgument[bool], ...]:
    return WebhookEvent.account == account, WebhookEvent.livemode == livemode, WebhookEvent.is_aside, WebhookEvent.state == state


def _ask(session: Session, lane: str, now: datetime) -> None:
    queues.enqueue(session, "drain", lane, None, due_at=now)
