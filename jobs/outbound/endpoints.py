"""The business's endpoints: adding one, its secret and the rotation of it, switching it off and on, and removing it."""

import base64
import secrets as chance
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from connect_app import audit, ids
from connect_app.crypto import KeyRing
from connect_app.errors import Conflict, NotFound
from connect_app.models import Delivery, Endpoint, Workspace

# How long the older secret signs beside the new one.
OVERLAP = timedelta(hours=24)
# Of webhooks, and of pass-through URLs, in one mode.
LIMIT = 10
SWITCHED_OFF = "The endpoint is switched off."

_TABLE, _PURPOSE = "endpoints", "outbound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """An endpoint's new secret, for the owner's eyes, now."""

    id: str
    secret: str = field(repr=False)


def listing(session: Session, workspace_id: str, mode: str) -> list[Endpoint]:
    """The endpoints of one mode, the oldest first."""
    rows = select(Endpoint).where(Endpoint.workspace_id == workspace_id, Endpoint.mode == mode)
    return list(session.execute(rows.order_by(Endpoint.id)).scalars())


def one(session: Session, workspace_id: str, endpoint_id: str) -> Endpoint:
    """Raises NotFound for an endpoint that is not this workspace's."""
    found = session.execute(
        select(Endpoint).where(Endpoint.workspace_id == workspace_id, Endpoint.id == endpoint_id).execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if found is None:
        raise NotFound(code="not_found", message="There is no such endpoint.")
    return found


def add(
    session: Session, workspace_id: str, mode: str, *, kind: str, url: str, topics: Sequence[str], ring: KeyRing, now: datetime, by: str
) -> Minted:
    """A new endpoint; its address has been looked at by the egress guard. Raises Conflict where there are LIMIT already."""
    # Two at once would each see room for one: the workspace's row is the queue they stand in.
    session.execute(select(Workspace.id).where(Workspace.id == workspace_id).with_for_update())
    is_webhook = kind == "webhook"
    there = select(func.count()).select_from(Endpoint).where(Endpoint.workspace_id == workspace_id, Endpoint.mode == mode)
    if session.execute(there.where((Endpoint.kind == "webhook") == is_webhook)).scalar_one() >= LIMIT:
        raise Conflict(code="too_many_endpoints", message=f"There are {LIMIT} already. Remove one that is not needed any more.")
    endpoint_id, secret = ids.new("whe" if is_webhook else "ptu"), _secret()
    session.add(
        Endpoint(
            id=endpoint_id,
            workspace_id=workspace_id,
            mode=mode,
            kind=kind,
            url=url,
            topics=list(topics),
            sealed=_seal(ring, endpoint_id, workspace_id, secret),
            created_at=now,
        )
    )
    session.flush()
    details = {"kind": kind, "mode": mode, "url": url, "topics": list(topics)}
    audit.record(session, workspace_id, actor=by, verb="endpoint.added", at=now, target=endpoint_id, details=details)
    return Minted(id=endpoint_id, secret=secret)


def change(session: Session, endpoint: Endpoint, *, url: str, topics: Sequence[str], now: datetime, by: str) -> None:
    """Another address, or other topics. What is queued goes to the new address."""
    endpoint.url, endpoint.topics = url, list(topics)
    session.flush()
    details = {"url": url, "topics": list(topics)}
    audit.record(session, endpoint.workspace_id, actor=by, verb="endpoint.changed", at=now, target=endpoint.id, details=details)


def rotate(session: Session, endpoint: Endpoint, *, ring: KeyRing, now: datetime, by: str) -> Minted:
    """A new secret; both sign for OVERLAP. Raises Conflict meanwhile, so that a double click cannot end the one that is deployed."""
    secret = _secret()
    rotated = session.execute(
        update(Endpoint)
        .where(Endpoint.id == endpoint.id, Endpoint.overlap_until.is_(None) | (Endpoint.overlap_until <= now))
        .values(sealed_before=Endpoint.sealed, sealed=_seal(ring, endpoint.id, endpoint.workspace_id, secret), overlap_until=now + OVERLAP)
        .returning(Endpoint.id)
        .execution_options(synchronize_session=False)
    ).first()
    if rotated is None:
        raise Conflict(
            code="rotation_under_way", message="The last rotation is still under way: both secrets sign until the older one has ended."
        )
    audit.record(session, endpoint.workspace_id, actor=by, verb="endpoint.rotated", at=now, target=endpoint.id)
    return Minted(id=endpoint.id, secret=secret)


def secrets(ring: KeyRing, endpoint: Endpoint, now: datetime) -> list[str]:
    """What signs now, the newest first: two while a rotation is under way."""
    sealed = [endpoint.sealed]
    if endpoint.sealed_before is not None and endpoint.overlap_until is not None and endpoint.overlap_until > now:
        sealed.append(endpoint.sealed_before)
    return [ring.open(one, table=_TABLE, row=endpoint.id, workspace=endpoint.workspace_id, purpose=_PURPOSE) for one in sealed]


def close(session: Session, endpoint: Endpoint, reason: str, *, now: datetime, by: str) -> bool:
    """Switch it off: `by_team`, `failing` or `gone`. What was queued is failed, and can be replayed. False where it was off already."""
    closed = session.execute(
        update(Endpoint)
        .where(Endpoint.id == endpoint.id, Endpoint.closed_at.is_(None))
        .values(closed_at=now, closed_reason=reason)
        .returning(Endpoint.id)
        .execution_options(synchronize_session=False)
    ).first()
    if closed is None:
        return False
    session.execute(
        update(Delivery)
        .where(Delivery.endpoint_id == endpoint.id, Delivery.state == "queued")
        .values(state="failed", problem=SWITCHED_OFF, due_at=None)
    )
    audit.record(session, endpoint.workspace_id, actor=by, verb="endpoint.closed", at=now, target=endpoint.id, details={"reason": reason})
    return True


def open(session: Session, endpoint: Endpoint, *, now: datetime, by: str) -> bool:
    """Switch it on again, with a clean record. False where it was on."""
    opened = session.execute(
        update(Endpoint)
        .where(Endpoint.id == endpoint.id, Endpoint.closed_at.is_not(None))
        .values(closed_at=None, closed_reason=None, failing_since=None)
        .returning(Endpoint.id)
        .execution_options(synchronize_session=False)
    ).first()
    if opened is None:
        return False
    audit.record(session, endpoint.workspace_id, actor=by, verb="endpoint.opened", at=now, target=endpoint.id)
    return True


def remove(session: Session, endpoint: Endpoint, *, now: datetime, by: str) -> None:
    """It is gone, and its log with it."""
    session.execute(delete(Endpoint).where(Endpoint.id == endpoint.id))
    audit.record(
        session, endpoint.workspace_id, actor=by, verb="endpoint.removed", at=now, target=endpoint.id, details={"url": endpoint.url}
    )


def _secret() -> str:
    return "whsec_" + base64.b64encode(chance.token_bytes(32)).decode()


def _seal(ring: KeyRing, endpoint_id: str, workspace_id: str, secret: str) -> bytes:
    return ring.seal(secret, table=_TABLE, row=endpoint_id, workspace=workspace_id, purpose=_PURPOSE)
