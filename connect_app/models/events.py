"""Stripe's webhooks as they came in: kept raw before their tenant is known, and what of them is still to be understood."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Computed, Identity, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base


class WebhookEvent(Base):
    """One row per event id: the signed bytes themselves, so that nothing in them can break their storage."""

    __tablename__ = "webhook_events"
    id: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str]
    livemode: Mapped[bool]
    type: Mapped[str]
    api_version: Mapped[str]
    created_at: Mapped[datetime]
    received_at: Mapped[datetime]
    raw: Mapped[bytes]
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None]
    settled_at: Mapped[datetime | None]
    # A column of its own, so that no index has to change when an event that was waiting is done.
    is_aside: Mapped[bool] = mapped_column(Computed("state in ('waiting_for_account', 'failed')", persisted=True))
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'done', 'ignored', 'waiting_for_account', 'failed')", name="state"),
        Index("ix_webhook_events_account_received_at", "account", "livemode", "received_at"),
        Index("ix_webhook_events_aside", "account", "livemode", "received_at", postgresql_where="is_aside"),
    )


class WebhookLane(Base):
    """The events of one account in one mode; the account is '' for events that name none."""

    __tablename__ = "webhook_lanes"
    id: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str]
    livemode: Mapped[bool]
    __table_args__ = (UniqueConstraint("account", "livemode"),)


class WebhookPending(Base):
    """What a lane has still to understand, oldest first; small, so that a drain never searches the archive."""

    __tablename__ = "webhook_pending"
    lane_id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    event_id: Mapped[str] = mapped_column(unique=True)
