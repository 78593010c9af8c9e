"""Flows and their versions; a published version never changes, so a session can be pinned to one."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from connect_app.models.base import Base, Json, Tenant


class Flow(Tenant, Base):
    """A flow by name. Each workspace has one `default` and one `control` flow; the control flow cannot be deleted."""

    __tablename__ = "flows"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    published_version_id: Mapped[str | None]
    created_at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint("kind IN ('default', 'control', 'custom')", name="kind"),
        UniqueConstraint("workspace_id", "id"),
        Index("uq_flows_workspace_id_kind", "workspace_id", "kind", unique=True, postgresql_where="kind IN ('default', 'control')"),
    )


class Offer(Tenant, Base):
    """An offer by name, `off_…`. `document` is a flow_pages.document.Offer as JSON, `placement` says where the default flow makes it.

    What customers are shown is the copy in the published version.
    """

    __tablename__ = "offers"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    document: Mapped[Json]
    placement: Mapped[Json]
    is_on: Mapped[bool]
    position: Mapped[int]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("workspace_id", "id"), Index("ix_offers_workspace_id_position", "workspace_id", "position"))


class FlowVersion(Tenant, Base):
    """What a session walks through. `document` is a flow_pages.document.Flow as JSON. A trigger refuses to change it."""

    __tablename__ = "flow_versions"
    id: Mapped[str] = mapped_column(primary_key=True)
    flow_id: Mapped[str]
    number: Mapped[int]
    document: Mapped[Json]
    published_at: Mapped[datetime]
    published_by: Mapped[str]
    __table_args__ = (
        UniqueConstraint("workspace_id", "id"),
        UniqueConstraint("flow_id", "number"),
        ForeignKeyConstraint(["workspace_id", "flow_id"], ["flows.workspace_id", "flows.id"], ondelete="CASCADE"),
    )
