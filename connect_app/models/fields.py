"""What an owner calls the things they know about a customer: mapped fields, the paths they may come from, and audiences over them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base, Json, Tenant


class FieldMapping(Tenant, Base):
    """A variable, `map_…`: its data type, the catalogue's path or the `custom.` property that it comes from, and its fallback."""

    __tablename__ = "field_mappings"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    type: Mapped[str]
    source: Mapped[str]
    fallback: Mapped[str | None]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint("type IN ('text', 'date', 'decimal', 'email', 'url', 'integer', 'boolean', 'money')", name="type"),
        UniqueConstraint("workspace_id", "id"),
        UniqueConstraint("workspace_id", "name"),
    )


class CatalogueField(Tenant, Base):
    """A path that was seen on an account's objects beyond those that every account has (metadata keys, further scalars), with samples."""

    __tablename__ = "catalogue_fields"
    connection_id: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    samples: Mapped[list[str]] = mapped_column(JSONB)
    seen_at: Mapped[datetime]
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "connection_id"], ["connections.workspace_id", "connections.id"], ondelete="CASCADE"),
    )


class CatalogueSurvey(Tenant, Base):
    """How far the look through an account's objects for further fields has come: `kind` and `after` are where it goes on, both empty at
    its end. Rows not newer than `since` were looked at the time before.
    """

    __tablename__ = "catalogue_surveys"
    connection_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    after: Mapped[str]
    seen: Mapped[int]
    since: Mapped[datetime | None]
    started_at: Mapped[datetime]
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "connection_id"], ["connections.workspace_id", "connections.id"], ondelete="CASCADE"),
    )


class FirstPurchase(Tenant, Base):
    """When a customer first paid an invoice: asked of Stripe once, because it may lie before all that the mirror holds."""

    __tablename__ = "first_purchases"
    connection_id: Mapped[str] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(primary_key=True)
    paid_at: Mapped[datetime | None]
    looked_at: Mapped[datetime]
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id", "connection_id"], ["connections.workspace_id", "connections.id"], ondelete="CASCADE"),
    )


class Audience(Tenant, Base):
    """A rule over variables, `aud_…`; `rule` is a tree as webhooks.audiences parses it."""

    __tablename__ = "audiences"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    rule: Mapped[Json]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("workspace_id", "id"), UniqueConstraint("workspace_id", "name"))
