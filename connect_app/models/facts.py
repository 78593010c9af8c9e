"""The facts of a session: every screen, answer, offer, action and change, appended and never altered."""

from datetime import datetime

from sqlalchemy import ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base, Json, Tenant


class SessionFact(Tenant, Base):
    __tablename__ = "session_facts"
    id: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str]
    kind: Mapped[str]
    at: Mapped[datetime]
    data: Mapped[Json]
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "session_id"], ["sessions.workspace_id", "sessions.id"], ondelete="CASCADE"),
        Index("ix_session_facts_session_id", "session_id", "id"),
        # A link offer that was followed is no choice, and counts all the same.
        Index("ix_session_facts_taken", "workspace_id", "session_id", postgresql_where="kind = 'offer.taken'"),
    )
