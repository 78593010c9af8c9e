"""Workspaces, the people who may enter them, their secrets, settings and links to Stripe accounts."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base, Json, Tenant

_MODE = "mode IN ('test', 'live')"


class Workspace(Base):
    """One business on Holdfast. Not under row level security: its slug is how a tenant is found."""

    __tablename__ = "workspaces"
    id: Mapped[str] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    created_at: Mapped[datetime]


class User(Base):
    """A person with an email address they have confirmed. A higher session_version ends all their browser sessions."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    session_version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]
    __table_args__ = (Index("uq_users_email", func.lower(text("email")), unique=True),)


class Login(Base):
    """A one-shot way in, deleted by its use: `confirm_owner` and `sign_in` travel by email, `operator` is printed by the command line.

    The link is derived from the id (connect_app.tokens), so that nothing stored opens it.
    """

    __tablename__ = "logins"
    id: Mapped[str] = mapped_column(primary_key=True)
    purpose: Mapped[str]
    email: Mapped[str | None]
    workspace_id: Mapped[str | None] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    __table_args__ = (CheckConstraint("purpose IN ('confirm_owner', 'sign_in', 'operator')", name="purpose"),)


class Membership(Tenant, Base):
    """A user's role in a workspace."""

    __tablename__ = "memberships"
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str]
    created_at: Mapped[datetime]
    __table_args__ = (CheckConstraint("role IN ('owner', 'admin', 'editor', 'analyst')", name="role"),)


class UserLookup(Base):
    """Which workspaces to look into for a user who has just signed in; the role itself stays behind row level security."""

    __tablename__ = "user_lookups"
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)


class EmbedSecret(Tenant, Base):
    """A secret the business signs hand-offs with. It decides their mode. Two per mode while one is being rotated out.

    Shown once: `shown_at` is when.
    """

    __tablename__ = "embed_secrets"
    id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str]
    sealed: Mapped[bytes]
    last4: Mapped[str]
    created_at: Mapped[datetime]
    shown_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    __table_args__ = (CheckConstraint(_MODE, name="mode"), Index("ix_embed_secrets_workspace_id", "workspace_id"))


class ApiKey(Tenant, Base):
    """A key that the business's back end calls `/api/v1` with, `key_…`. It decides the mode.

    The key itself is kept nowhere: its hash is in `api_key_lookups`, until it is revoked. The row stays, for the audit log names it.
    """

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str]
    name: Mapped[str]
    last4: Mapped[str]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    __table_args__ = (CheckConstraint(_MODE, name="mode"), UniqueConstraint("workspace_id", "id"))


class ApiKeyLookup(Base):
    """Whose a key is, by its SHA-256 (a key has 256 bits of chance, so nobody tries them out): asked before the tenant is known."""

    __tablename__ = "api_key_lookups"
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(unique=True)
    workspace_id: Mapped[str]
    __table_args__ = (ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"], ondelete="CASCADE"),)


class Connection(Tenant, Base):
    """A workspace's link to one Stripe account in one mode. The access token is not needed, so it is not stored.

    `read_in` is `{state: waiting|running|done|failed, stage, lanes, counts: {stage: n}, started_at, finished_at, error, …}`; jobs.backfill
    knows the rest. `reconciled_at` is the time (Stripe's) up to which Stripe's list of events has been gone through; None until a read-in
    was complete. `drift` is what the last daily comparison (`compared_at`) found: `{kind: {stripe, missing, differing, gone, is_whole}}`.
    `told` is what the business's webhooks were last told of it (jobs.outbound.telling).
    """

    __tablename__ = "connections"
    id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str]
    account: Mapped[str]
    account_name: Mapped[str]
    account_email: Mapped[str | None]
    country: Mapped[str | None]
    currency: Mapped[str | None]
    scope: Mapped[str]
    state: Mapped[str]
    connected_at: Mapped[datetime]
    disconnected_at: Mapped[datetime | None]
    disconnect_reason: Mapped[str | None]
    read_in: Mapped[Json]
    last_event_at: Mapped[datetime | None]
    last_event_lag_ms: Mapped[int | None]
    last_api_version: Mapped[str | None]
    checked_at: Mapped[datetime | None]
    can_read: Mapped[bool | None]
    can_write: Mapped[bool | None]
    portal_cancel_open: Mapped[bool | None]
    reconciled_at: Mapped[datetime | None]
    compared_at: Mapped[datetime | None]
    drift: Mapped[Json | None]
    told: Mapped[Json | None]
    __table_args__ = (
        CheckConstraint(_MODE, name="mode"),
        CheckConstraint("state IN ('connected', 'disconnected')", name="state"),
        UniqueConstraint("workspace_id", "id"),
        UniqueConstraint("workspace_id", "mode"),
    )


class AccountLookup(Base):
    """Which workspace a Stripe account belongs to: one for each account and mode.

    Its events are that workspace's while `is_active`; afterwards it is remembered, so that the account finds its way back. `health` is
    numbers only, for the operator's metrics, which see no tenant's rows: `{drift: {kind: n}, alerts: [kind]}`.
    """

    __tablename__ = "account_lookups"
    account: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str]
    connection_id: Mapped[str]
    is_active: Mapped[bool] = mapped_column(server_default="true")
    health: Mapped[Json] = mapped_column(server_default="{}")
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "connection_id"], ["connections.workspace_id", "connections.id"], ondelete="CASCADE"),
    )


class Setting(Tenant, Base):
    """One named decision of a workspace; names, shapes and defaults are in connect_app.preferences."""

    __tablename__ = "settings"
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Json]
    updated_at: Mapped[datetime]


class AuditEntry(Tenant, Base):
    """Who did what in a workspace; written in the transaction that did it, never changed."""

    __tablename__ = "audit_log"
    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str]
    verb: Mapped[str]
    target: Mapped[str | None]
    details: Mapped[Json]
    request_id: Mapped[str | None]
    __table_args__ = (Index("ix_audit_log_workspace_id_at", "workspace_id", "at"),)
