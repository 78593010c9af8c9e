"""Appending to a session's facts: the verbs that write them, for every package."""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import ids
from connect_app.models import SessionFact
from connect_app.models.base import Base, Json

# A customer waits for these: the statement is made once, and the row goes past the unit of work.
_RECORD = Base.metadata.tables[SessionFact.__tablename__].insert()


def record(session: Session, workspace_id: str, session_id: str, kind: str, at: datetime, data: Json | None = None) -> None:
    """Append one fact, such as `answer.given`, in the transaction in which it became true."""
    row = {"id": ids.new("fct"), "workspace_id": workspace_id, "session_id": session_id, "kind": kind, "at": at, "data": data or {}}
    session.execute(_RECORD, row)


def record_once(
    session: Session, workspace_id: str, session_id: str, kind: str, at: datetime, data: Json | None = None, *, key: str
) -> None:
    """Append a fact that Stripe may tell more than once: of one session, kind and `key` there is one, the first."""
    row = insert(SessionFact).values(
        id=once(session_id, kind, key), workspace_id=workspace_id, session_id=session_id, kind=kind, at=at, data=data or {}
    )
    session.execute(row.on_conflict_do_nothing(index_elements=[SessionFact.id]))


def once(session_id: str, kind: str, key: str) -> str:
    """The id of such a fact, whether it is there or not."""
    return f"fct_{session_id}_{kind}_{key}"
