"""What an account is owed in reads, in turns: a few of them, and then it stands behind all other accounts again."""

import time
from datetime import timedelta

from redis.exceptions import RedisError
from sqlalchemy import text

from connect_app import connections
from connect_app.models import Connection
from connect_app.runtime import Runtime
from jobs import budget, queues, turns, work

# The longest turn, in reads and in seconds: so long does one account keep each other one waiting.
TURN = 20
_SECONDS = 0.5
# While others wait, no longer than this is waited for this account's next request.
_IMPATIENCE = 0.02
# Rows of an account that is not connected any more, forgotten at a time.
_FORGOTTEN = 5000


def take_turn(rt: Runtime, claim: work.Claim) -> work.End:
    """Read some of what the connection `claim.row_id` is owed, at the account's pace; what is left keeps the row waiting."""
    with rt.transaction(claim.tenant) as session:
        connection = connections.by_id(session, claim.row_id)
    if connection is None or connection.state != "connected":
        return _forget(rt, claim)  # a reconnect reads everything in again
    until = time.monotonic() + _SECONDS
    for work_id, _ in turns.due_now(rt, queues.owed_to(connection.id), limit=TURN):
        later = _pace(rt, connection, until)
        if later is not None:
            return work.Again(problem="waiting for the account", after=later)
        work.perform(rt, work_id)
        if time.monotonic() > until:
            break
    return _left(rt, connection)


def _pace(rt: Runtime, connection: Connection, until: float) -> timedelta | None:
    """None as soon as the account may be asked; when to come back where that takes too long."""
    resting = budget.resting(rt, connection.account, connection.mode)
    if resting is not None:
        return resting
    while (later := budget.reserve(rt, connection.account, connection.mode, f"reads/{connection.id}", is_early=True)) is not None:
        if time.monotonic() + later.total_seconds() > until:
            # So short a time is less than a sweep takes to ring: at once to the back of those who wait.
            return later if later.total_seconds() > _SECONDS else timedelta(0)
        if _is_somebody_waiting(rt):
            time.sleep(min(later.total_seconds(), _IMPATIENCE))
            return timedelta(0)
        time.sleep(later.total_seconds())
    return None


def _is_somebody_waiting(rt: Runtime) -> bool:
    try:
        return queues.queue(rt.redis, queues.EVENTS).count > 0
    except RedisError:
        return False


def _left(rt: Runtime, connection: Connection) -> work.End:
    values = {"queue": queues.owed_to(connection.id), "now": rt.now()}
    if turns.due_now(rt, queues.owed_to(connection.id), limit=1):
        return work.Again(problem="more is owed", after=timedelta(0))
    with rt.transaction() as session:
        mine = "from work where queue = :queue and gave_up_at is null"
        following, in_hand = session.execute(
            text(f"select (select min(due_at) {mine} and due_at > :now), exists(select 1 {mine} and due_at <= :now)"),
            values,
        ).one()
    if in_hand:
        # In the hands of somebody who may be dead.
        return work.Again(problem="others are at it", after=timedelta(seconds=5))
    if following is not None:
        return work.Again(problem="the rest is owed later", after=max(timedelta(0), following - values["now"]))
    return work.Done()


def _forget(rt: Runtime, claim: work.Claim) -> work.End:
    with rt.transaction() as session:
        gone = session.execute(
            text(
                "delete from work where id = any(array("
                "select id from work where queue = :queue and (lease_until is null or lease_until < clock_timestamp()) limit :limit))"
            ),
            {"queue": queues.owed_to(claim.row_id), "limit": _FORGOTTEN},
        )
        claim.fence(session)
    return work.Again(problem="more is to be forgotten", after=timedelta(0)) if gone.rowcount == _FORGOTTEN else work.Done()  # type: ignore[attr-defined]
