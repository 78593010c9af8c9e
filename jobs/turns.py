"""Whose turn it is: what is due and free in a queue, the nearest deadlines first, and the workspaces one after the other."""

import random
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from connect_app.runtime import Runtime

# What must be done within this time goes first, the nearest deadline before the others; what is too late for it waits its turn again.
HURRY = timedelta(hours=1)
_HURRIED_AT_ONCE = 4
# How many rows a worker with free hands takes note of at a time, and how many seconds a bell may take before they look without it.
_SOME, _A_BELL = 24, 1.0
_HURRIED = text(
    """select other.id from work as mine join work as other on other.queue = mine.queue
  where mine.id = :id and other.id <> mine.id and other.gave_up_at is null
  and other.deadline > :now and other.deadline <= :hurry and other.due_at <= :now
  and (other.lease_until is null or other.lease_until < clock_timestamp())
  order by other.deadline limit :limit"""
)
_FREE = """from work where gave_up_at is null and due_at <= :by
  and (lease_until is null or lease_until < clock_timestamp())
  and (cast(:queue as text) is null or queue = :queue)"""
_NEAR = "case when deadline > :now and deadline <= :hurry then deadline end"
_DUE = text(f"select id, queue {_FREE} order by {_NEAR} nulls last, due_at limit :limit")
_TURN = "row_number() over (partition by queue, coalesce(workspace_id, id) order by due_at)"
_SHARED = text(f"select id, queue {_FREE} order by {_NEAR} nulls last, {_TURN}, due_at limit :limit")


def hurried(rt: Runtime, work_id: str) -> list[str]:
    """What cannot wait until this row of its queue has been done: a few, the nearest deadline first."""
    now = rt.now()
    with rt.transaction() as session:
        values = {"id": work_id, "now": now, "hurry": now + HURRY, "limit": _HURRIED_AT_ONCE}
        return list(session.execute(_HURRIED, values).scalars())


def overdue(rt: Runtime, queue: str) -> list[str]:
    """Some of what has been due in this queue for longer than a bell takes, as `due` gives it, but shuffled: other processes look, too."""
    found = [work_id for work_id, _ in due_now(rt, queue, limit=_SOME, waiting=_A_BELL, is_shared=True)]
    random.shuffle(found)
    return found


def due_now(rt: Runtime, queue: str | None = None, *, limit: int, waiting: float = 0, is_shared: bool = False) -> list[tuple[str, str]]:
    """What `due` gives, in a transaction of its own."""
    with rt.transaction() as session:
        return due(session, rt.now(), queue, limit=limit, waiting=waiting, is_shared=is_shared)


def due(
    session: Session, now: datetime, queue: str | None = None, *, limit: int, waiting: float = 0, is_shared: bool = False
) -> list[tuple[str, str]]:
    """(work id, queue) of what has been due for `waiting` seconds and is in nobody's hands: near deadlines first, then the longest due.

    `is_shared`: where not all of it fits, the workspaces take turns, and one that has thousands leaves room for the others.
    """
    values = {"by": now - timedelta(seconds=waiting), "now": now, "hurry": now + HURRY, "queue": queue, "limit": limit}
    rows = session.execute(_DUE, values).all()
    if is_shared and len(rows) == limit:
        rows = session.execute(_SHARED, values).all()
    return [(row.id, row.queue) for row in rows]
