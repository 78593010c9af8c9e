"""Telling the world outside: letters, the business's webhooks and pass-through URLs, and each try at delivering one."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base, Json, Tenant


class Endpoint(Tenant, Base):
    """An address of the business that is told something, `whe_…` a webhook, `ptu_…` a pass-through URL.

    `kind` is `webhook`, `call` (a pass-through URL that we call) or `redirect` (one the customer's browser goes to). `topics` are the
    types of messages a webhook wants, none for all; of a pass-through URL, `cancel` or `accept`, whichever choices it is for. `sealed` is
    its signing secret; `sealed_before` the one before, which signs as well until `overlap_until`. `failing_since` is the first failure
    after the last success, or after two days without a try; `closed_reason` is `by_team`, `failing` (five days of failing tries) or `gone`
    (it answered 410).
    """

    __tablename__ = "endpoints"
    id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str]
    kind: Mapped[str]
    url: Mapped[str]
    topics: Mapped[list[str]] = mapped_column(JSONB)
    sealed: Mapped[bytes]
    sealed_before: Mapped[bytes | None]
    overlap_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    failing_since: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    closed_reason: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        CheckConstraint("kind IN ('webhook', 'call', 'redirect')", name="kind"),
        CheckConstraint("closed_reason IN ('by_team', 'failing', 'gone')", name="closed_reason"),
        UniqueConstraint("workspace_id", "id"),
        Index("ix_endpoints_workspace_id_mode", "workspace_id", "mode"),
    )


class Delivery(Tenant, Base):
    """Something told to somebody outside, at least once; `topic` keeps one thing from being asked for twice.

    An email's payload is `{to, subject, text, link}`; `link` is `{purpose, row_id, epoch, path}` or null: the letter's link is
    derived when it is sent and put in the place of `{link}` in the text, and so are the digits of a `code` (`{kid, row_id, nonce}`, where
    there is one) in that of `{code}`. A webhook's is `{id, type, body}`, `body` being the very text that is signed and sent; a
    pass-through call's `{id, type, url}`, without the parameters that sign it. `due_at` is the next try of a webhook or call that is
    queued; `attempts` how many there were since it was last asked for.
    """

    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    topic: Mapped[str]
    payload: Mapped[Json]
    state: Mapped[str] = mapped_column(server_default="queued")
    problem: Mapped[str | None]
    asked_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]
    endpoint_id: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("kind IN ('email', 'webhook', 'call')", name="kind"),
        CheckConstraint("state IN ('queued', 'delivered', 'failed')", name="state"),
        UniqueConstraint("workspace_id", "topic"),
        UniqueConstraint("workspace_id", "id"),
        ForeignKeyConstraint(["workspace_id", "endpoint_id"], ["endpoints.workspace_id", "endpoints.id"], ondelete="CASCADE"),
        # What jobs.retention drops.
        Index("ix_deliveries_delivered", "workspace_id", "delivered_at", postgresql_where="state = 'delivered' AND kind <> 'email'"),
        Index("ix_deliveries_endpoint_id_id", "endpoint_id", "id", postgresql_where="endpoint_id IS NOT NULL"),
        Index("ix_deliveries_endpoint_id_due_at", "endpoint_id", "due_at", postgresql_where="state = 'queued' AND endpoint_id IS NOT NULL"),
    )


class DeliveryAttempt(Tenant, Base):
    """One try at a webhook or a pass-through call: the status that came back, or the problem where none did, and how the answer began."""

    __tablename__ = "delivery_attempts"
    id: Mapped[str] = mapped_column(primary_key=True)
    delivery_id: Mapped[str]
    at: Mapped[datetime]
    took_ms: Mapped[int]
    status: Mapped[int | None]
    problem: Mapped[str | None]
    response: Mapped[str | None]
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "delivery_id"], ["deliveries.workspace_id", "deliveries.id"], ondelete="CASCADE"),
        Index("ix_delivery_attempts_delivery_id", "delivery_id"),
    )
