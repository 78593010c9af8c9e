"""Reads that are owed: each object to be read again is a row of work of its own, and one row an account goes about them, in turns."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from connect_app import db, ids
from jobs import queues

_REFETCH = queues.ASK.format(
    rows="""select work, 'refetch', row, %(workspace)s, %(queue)s, due_at
  from unnest(%(work)b::text[], %(row)b::text[], %(due_at)b::timestamptz[]) as wanted(work, row, due_at) order by row"""
)


def refetch(session: Session, workspace_id: str, connection_id: str, kind: str, id: str, *, due_at: datetime) -> None:
    """Ask for one object to be read again; asked for many times at once, it is read once."""
    refetch_all(session, workspace_id, connection_id, {(kind, id): due_at})


def refetch_all(session: Session, workspace_id: str, connection_id: str, wanted: Mapping[tuple[str, str], datetime]) -> None:
    """`refetch` for each (kind, id) at its time, in one statement and in the order of their ids.

    Nobody rings for these rows: there is one bell for all that an account is owed, however much that is.
    """
    if not wanted:
        return
    ordered = sorted(wanted)
    values = {
        "work": [ids.new("wrk") for _ in ordered],
        "row": [refetch_id(connection_id, kind, id) for kind, id in ordered],
        "due_at": [wanted[key] for key in ordered],
        "workspace": workspace_id,
        "queue": queues.owed_to(connection_id),
    }
    session.connection().exec_driver_sql(_REFETCH, values)
    asked: dict[str, tuple[str, datetime]] = session.info.setdefault("reads", {})
    first = min(wanted.values())
    asked[connection_id] = workspace_id, min(first, asked.get(connection_id, (workspace_id, first))[1])

    def ask_all() -> None:
        for each, (workspace, due_at) in sorted(asked.items()):
            queues.enqueue(session, "reads", each, workspace, due_at=due_at, is_quiet=True)

    # Every transaction with news of the account asks for this one row: it is locked last.
    db.before_commit(session, "reads", ask_all)


def refetch_id(connection_id: str, kind: str, id: str) -> str:
    """The row id of `refetch` work."""
    return f"{connection_id}/{kind}/{id}"
