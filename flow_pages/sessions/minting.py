"""Minting sessions: one for each bundle, pinned to a version of a flow and to this customer's values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from connect_app import ids
from connect_app.errors import NotFound
from connect_app.models import Connection, FlowSession, FlowVersion, LinkLookup
from connect_app.models.base import Base, Json
from connect_app.preferences import Preferences
from connect_app.stripe_gateway import objects
from flow_pages import versions
from flow_pages.visits import Visit

LINK_LASTS = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """A customer handed over: verified, and still to be given a session. `bundle` is what makes two hand-offs the same."""

    mode: str
    customer: str
    subscription: str
    bundle: str
    origin: str
    return_url: str | None = None
    cancel_url: str | None = None
    embed_origin: str | None = None
    locale: str | None = None
    custom: Json | None = None
    portal_link_id: str | None = None


def mint(
    session: Session,
    workspace_id: str,
    handoff: Handoff,
    *,
    preferences: Preferences,
    connection: Connection | None,
    subscription: objects.Subscription | None,
    now: datetime,
) -> FlowSession:
    """The session of this hand-off: a new one, or the one that the same bundle was given before, whose extras then stay as they were.

    Which flow it walks through is decided from what the mirror knows, and once more at the first look (`pin`).
    """
    reason = control_reason(preferences, connection, subscription)
    version = flow_version(session, workspace_id, reason)
    row = insert(FlowSession).values(
        id=ids.new("ses"),
        workspace_id=workspace_id,
        mode=handoff.mode,
        connection_id=connection.id if connection else None,
        flow_version_id=version.id,
        origin=handoff.origin,
        portal_link_id=handoff.portal_link_id,
        is_control=reason is not None,
        control_reason=reason,
        customer=handoff.customer,
        subscription=handoff.subscription,
        bundle=handoff.bundle,
        minted_at=now,
        expires_at=now + LINK_LASTS,
        last_activity_at=now,
        return_url=handoff.return_url,
        cancel_url=handoff.cancel_url,
        embed_origin=handoff.embed_origin,
        locale=handoff.locale,
        custom=handoff.custom or {},
        variables={},
    )
    made = session.execute(
        row.on_conflict_do_nothing(index_elements=["workspace_id", "bundle"]).returning(FlowSession)
    ).scalar_one_or_none()
    if made is None:
        return session.execute(
            select(FlowSession).where(FlowSession.workspace_id == workspace_id, FlowSession.bundle == handoff.bundle)
        ).scalar_one()
    session.add(LinkLookup(link_id=made.id, workspace_id=workspace_id))
    return made


def control_reason(preferences: Preferences, connection: Connection | None, subscription: objects.Subscription | None) -> str | None:
    """Why this customer gets the control flow; None where they get the default one."""
    if connection is None or connection.state != "connected":
        return "not_connected"
    if subscription is None:
        return "unknown_subscription"
    if not preferences.enrichment:
        return "not_enriched"
    return "plain" if preferences.plain_cancel_only else None


def reason_now(visit: Visit, subscription: objects.Subscription | None) -> str | None:
    """`control_reason` for this visit, should this be its subscription."""
    return control_reason(visit.preferences, visit.connection, subscription)


def flow_version(session: Session, workspace_id: str, reason: str | None) -> FlowVersion:
    """The published version for a customer with this control reason; the control flow where the default one is not published."""
    version = versions.published(session, workspace_id, "default") if reason is None else None
    version = version or versions.published(session, workspace_id, "control")
    if version is None:
        raise NotFound(code="flow_not_published", message="This workspace has no published cancel flow.", param="workspace")
    return version


# Made once, and around the ORM: a customer waits for it.
_SESSIONS = Base.metadata.tables[FlowSession.__tablename__]
_PIN = (
    update(_SESSIONS)
    .where(_SESSIONS.c.id == bindparam("session"), _SESSIONS.c.state == "open", _SESSIONS.c.variables == {})
    .values({name: bindparam(f"new_{name}") for name in ("variables", "flow_version_id", "control_reason", "is_control")})
)


def pin(session: Session, visit: Visit, *, variables: Mapping[str, Any], subscription: objects.Subscription | None) -> bool:
    """Settle at the first look which version and which values this session keeps; later looks change nothing.

    False where the flow is another than the visit was read with, which is then out of date.
    """
    row, reason = visit.row, reason_now(visit, subscription)
    is_same = reason == row.control_reason
    values = {
        "session": row.id,
        "new_variables": dict(variables),
        "new_flow_version_id": row.flow_version_id if is_same else flow_version(session, row.workspace_id, reason).id,
        "new_control_reason": reason,
        "new_is_control": reason is not None,
    }
    session.execute(_PIN, values)
    set_committed_value(row, "variables", values["new_variables"])
    return is_same
