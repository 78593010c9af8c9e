"""Appending to a session's facts: the one verb that writes them, for every package."""

from datetime import datetime

from sqlalchemy.orm import Session

from connect_app import ids
from connect_app.models import SessionFact
from connect_app.models.base import Json


def record(session: Session, workspace_id: str, session_id: str, kind: str, at: datetime, data: Json | None = None) -> None:
    """Append one fact, such as `answer.given`, in the transaction in which it became true."""
    session.add(SessionFact(id=ids.new("fct"), workspace_id=workspace_id, session_id=session_id, kind=kind, at=at, data=data or {}))
