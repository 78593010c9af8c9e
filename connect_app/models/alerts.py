"""What an owner has to be told about a connection: opened once, told once, closed when it is over."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base, Json, Tenant


class Alert(Tenant, Base):
    """One alert, `alt_…`: at most one of a kind is open for a connection."""

    __tablename__ = "alerts"
    id: Mapped[str] = mapped_column(primary_key=True)
    connection_id: Mapped[str]
    kind: Mapped[str]
    details: Mapped[Json]
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("kind IN ('silent', 'lagging', 'access_lost', 'cannot_write', 'events_failed', 'drift')", name="kind"),
        ForeignKeyConstraint(["workspace_id", "connection_id"], ["connections.workspace_id", "connections.id"], ondelete="CASCADE"),
        Index("uq_alerts_open", "connection_id", "kind", unique=True, postgresql_where="closed_at IS NULL"),
    )
