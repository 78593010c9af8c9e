"""Pauses and free time that were made here, from their proof until the first charge after them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base, Tenant


class Pause(Tenant, Base):
    """The life of one verified `pause` or `extension`; the key is its action's.

    `resumes_at` is the end as it was last known, which somebody may have moved at Stripe; `reminded_for` is the one that the customer was
    reminded of. `how` it ended is `ran_out`, `resumed`, `canceled` or `replaced` (by another pause of ours). It is watched until
    `settled_at`: `charge` then says whether the first charge after it was `paid` or `failed`, or that there was `none`.
    """

    __tablename__ = "pauses"
    action_id: Mapped[str] = mapped_column(primary_key=True)
    connection_id: Mapped[str]
    customer: Mapped[str]
    subscription: Mapped[str]
    started_at: Mapped[datetime]
    resumes_at: Mapped[datetime | None]
    reminded_for: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    how: Mapped[str | None]
    settled_at: Mapped[datetime | None]
    charge: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("how IN ('ran_out', 'resumed', 'canceled', 'replaced')", name="how"),
        CheckConstraint("charge IN ('paid', 'failed', 'none')", name="charge"),
        ForeignKeyConstraint(["workspace_id", "action_id"], ["actions.workspace_id", "actions.id"], ondelete="CASCADE"),
        # Asked at every batch of news.
        Index("ix_pauses_watched", "connection_id", "customer", postgresql_where="settled_at IS NULL"),
    )
