"""A customer's visit to a flow, what they answered, the one choice it may end in, and the links that lead here."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Computed, FetchedValue, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base, Json, Tenant


class FlowSession(Tenant, Base):
    """One visit, `ses_…`. Stored state is `open` or `chosen`; settled and expired are derived.

    `origin` is `embed`, `portal` or `test`. `variables` are `{name: {value, source}}` as they were when the flow was first shown.
    `shown_at` is the first look by a person (a page that ran, or a post), not a scanner's GET; `save_interval_days` is the setting as it
    was then.
    """

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str]
    connection_id: Mapped[str | None]
    flow_version_id: Mapped[str]
    origin: Mapped[str]
    portal_link_id: Mapped[str | None]
    is_control: Mapped[bool]
    control_reason: Mapped[str | None]
    customer: Mapped[str]
    subscription: Mapped[str]
    bundle: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="open")
    epoch: Mapped[int] = mapped_column(server_default="1")
    minted_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    shown_at: Mapped[datetime | None]
    save_interval_days: Mapped[int] = mapped_column(server_default="30")
    last_activity_at: Mapped[datetime]
    kept_at: Mapped[datetime | None]
    return_url: Mapped[str | None]
    cancel_url: Mapped[str | None]
    embed_origin: Mapped[str | None]
    locale: Mapped[str | None]
    custom: Mapped[Json]
    variables: Mapped[Json]
    __table_args__ = (
        CheckConstraint("state IN ('open', 'chosen')", name="state"),
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        UniqueConstraint("workspace_id", "id"),
        UniqueConstraint("workspace_id", "bundle"),
        ForeignKeyConstraint(["workspace_id", "connection_id"], ["connections.workspace_id", "connections.id"]),
        ForeignKeyConstraint(["workspace_id", "flow_version_id"], ["flow_versions.workspace_id", "flow_versions.id"]),
        Index("ix_sessions_workspace_id_mode_minted_at", "workspace_id", "mode", "minted_at"),
        Index("ix_sessions_connection_id_subscription", "connection_id", "subscription"),
        Index("ix_sessions_connection_id_customer", "connection_id", "customer"),
        Index("ix_sessions_chain", "workspace_id", "customer", "subscription"),
    )


class Answer(Tenant, Base):
    """What a customer answered at one step; answering again replaces it until the choice is made.

    Survey: `{reason, comment}`. Offer: `{declined: true}`. Skipping ahead: step `skip`, `{}`. `mode` is the session's: a trigger's doing.
    """

    __tablename__ = "answers"
    session_id: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Json]
    answered_at: Mapped[datetime]
    mode: Mapped[str] = mapped_column(server_default=FetchedValue())
    __table_args__ = (
        # How often an offer was declined.
        Index("ix_answers_step", "workspace_id", "mode", "step"),
        ForeignKeyConstraint(["workspace_id", "session_id"], ["sessions.workspace_id", "sessions.id"], ondelete="CASCADE"),
    )


class Choice(Tenant, Base):
    """The one terminal decision of a session: `accept` an offer, or `cancel`. Unique per session, and so is its outcome.

    `offer` is what was accepted, with its terms as they were then. Its id and its cost stand in columns of their own because row level
    security keeps an index on an expression from being used. `mode` is the session's: a trigger fills it in.
    """

    __tablename__ = "choices"
    id: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(unique=True)
    verb: Mapped[str]
    offer: Mapped[Json | None]
    offer_id: Mapped[str | None] = mapped_column(Computed("offer ->> 'id'", persisted=True))
    cost_amount: Mapped[int | None] = mapped_column(BigInteger, Computed("cast(offer -> 'cost' ->> 'amount' as bigint)", persisted=True))
    cost_currency: Mapped[str | None] = mapped_column(Computed("offer -> 'cost' ->> 'currency'", persisted=True))
    reason: Mapped[str | None]
    feedback: Mapped[str | None]
    comment: Mapped[str | None]
    made_at: Mapped[datetime]
    mode: Mapped[str] = mapped_column(server_default=FetchedValue())
    __table_args__ = (
        CheckConstraint("verb IN ('accept', 'cancel')", name="verb"),
        # How often an offer was accepted, and what it has cost this month.
        Index(
            "ix_choices_offer",
            "workspace_id",
            "offer_id",
            "mode",
            "made_at",
            postgresql_where="verb = 'accept'",
            postgresql_include=["id", "cost_currency", "cost_amount"],
        ),
        UniqueConstraint("workspace_id", "id"),
        ForeignKeyConstraint(["workspace_id", "session_id"], ["sessions.workspace_id", "sessions.id"], ondelete="CASCADE"),
    )


class PortalLink(Tenant, Base):
    """A customer's 90-day way into the portal; revoking it, or minting after its end, bumps the epoch, so a dead link stays dead.

    `code` is what is known of the code that was emailed to prove whose link it is (flow_pages.portal_codes says its shape).
    """

    __tablename__ = "portal_links"
    id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str]
    connection_id: Mapped[str | None]
    customer: Mapped[str]
    epoch: Mapped[int] = mapped_column(server_default="1")
    minted_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    card_update_at: Mapped[datetime | None]
    code: Mapped[Json | None]
    __table_args__ = (
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        UniqueConstraint("workspace_id", "mode", "customer"),
        ForeignKeyConstraint(["workspace_id", "connection_id"], ["connections.workspace_id", "connections.id"]),
    )


class LinkLookup(Base):
    """Which workspace a `ses_…` or `plk_…` of a link belongs to: asked before the tenant is known."""

    __tablename__ = "link_lookups"
    link_id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str]
