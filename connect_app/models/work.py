"""The work table: what must be done, beside the row it is about. Redis only rings for it."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base


class Work(Base):
    """One thing to do about one row. `asks` counts how often it was asked for, so that finishing never swallows a later ask.
    What must be done by its `deadline` goes first while that is near.

    Not under row level security: the sweep and the claim cross tenants; the row names no more than ids.
    """

    __tablename__ = "work"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    row_id: Mapped[str]
    workspace_id: Mapped[str | None]
    queue: Mapped[str]
    due_at: Mapped[datetime]
    asks: Mapped[int] = mapped_column(BigInteger, server_default="1")
    attempts: Mapped[int] = mapped_column(server_default="0")
    lease_until: Mapped[datetime | None]
    lease_token: Mapped[int] = mapped_column(BigInteger, server_default="0")
    gave_up_at: Mapped[datetime | None]
    deadline: Mapped[datetime | None]
    problem: Mapped[str | None]
    __table_args__ = (
        UniqueConstraint("kind", "row_id"),
        Index("ix_work_queue_due_at", "queue", "due_at", postgresql_where="gave_up_at IS NULL"),
        Index("ix_work_queue_deadline", "queue", "deadline", postgresql_where="gave_up_at IS NULL AND deadline IS NOT NULL"),
    )
