"""API keys: making one, telling it once, knowing whose one is, revoking."""

import hashlib
import re
import secrets as chance
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, or_, select, update
from sqlalchemy.orm import Session

from connect_app import audit, db, ids
from connect_app.errors import Conflict, NotFound
from connect_app.models import ApiKey, ApiKeyLookup, Workspace
from connect_app.modes import Mode

MOST = 10  # in each mode
LONGEST_NAME = 60

_FORM = re.compile(r"hf_key_(?:test|live)_[0-9a-f]{64}")
# A key that is used a hundred times a second is not written down a hundred times a second.
_TELLING = timedelta(minutes=1)
_WHOSE = select(db.tenant_of(ApiKeyLookup.workspace_id)).where(ApiKeyLookup.digest == bindparam("digest"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A new key; `value` is for the owner's eyes, now: nobody can tell it again."""

    id: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What may be shown of a key that works."""

    id: str
    mode: str
    name: str
    last4: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whom a key speaks for."""

    key_id: str
    workspace_id: str
    mode: str


def listing(session: Session, workspace_id: str) -> list[Known]:
    """The keys that work, newest first."""
    rows = session.execute(
        select(ApiKey).where(ApiKey.workspace_id == workspace_id, ApiKey.revoked_at.is_(None)).order_by(ApiKey.id.desc())
    ).scalars()
    return [
        Known(id=row.id, mode=row.mode, name=row.name, last4=row.last4, created_at=row.created_at, last_used_at=row.last_used_at)
        for row in rows
    ]


def mint(session: Session, workspace_id: str, mode: Mode, name: str, *, now: datetime, by: str) -> Minted:
    """A key, to be shown in this very answer. Raises Conflict where there are MOST of this mode already."""
    # Two at once would each count the same: the workspace's row is the queue they stand in.
    session.execute(select(Workspace.id).where(Workspace.id == workspace_id).with_for_update())
    same = ApiKey.workspace_id == workspace_id, ApiKey.mode == mode, ApiKey.revoked_at.is_(None)
    if session.execute(select(func.count()).where(*same)).scalar_one() >= MOST:
        raise Conflict(code="too_many_keys", message=f"There are {MOST} {mode} keys already: revoke one that is no longer used.")
    key_id, value = ids.new("key"), f"hf_key_{mode}_{chance.token_hex(32)}"
    session.add(ApiKey(id=key_id, workspace_id=workspace_id, mode=mode, name=name, last4=value[-4:], created_at=now))
    session.flush()
    session.add(ApiKeyLookup(digest=_digest(value), key_id=key_id, workspace_id=workspace_id))
    details = {"mode": str(mode), "name": name, "last4": value[-4:]}
    audit.record(session, workspace_id, actor=by, verb="api_key.minted", at=now, target=key_id, details=details)
    return Minted(id=key_id, value=value)


def revoke(session: Session, workspace_id: str, key_id: str, *, now: datetime, by: str) -> None:
    """End a key at once. Raises NotFound for one that is not there, or not any more."""
    works = ApiKey.workspace_id == workspace_id, ApiKey.id == key_id, ApiKey.revoked_at.is_(None)
    gone = session.execute(update(ApiKey).where(*works).values(revoked_at=now).returning(ApiKey)).scalar_one_or_none()
    if gone is None:
        raise NotFound(code="not_found", message="There is no such key.")
    session.execute(delete(ApiKeyLookup).where(ApiKeyLookup.key_id == key_id))
    details = {"mode": gone.mode, "name": gone.name, "last4": gone.last4}
    audit.record(session, workspace_id, actor=by, verb="api_key.revoked", at=now, target=key_id, details=details)


def holder(session: Session, value: str, now: datetime) -> Holder | None:
    """Whom this key speaks for, who is the transaction's tenant from here on; None for one that does not work.

    Begins without a tenant. When a key was last used is kept to the minute.
    """
    if not _FORM.fullmatch(value):
        return None
    workspace_id = session.execute(_WHOSE, {"digest": _digest(value)}).scalar_one_or_none()
    if workspace_id is None:
        return None
    works = ApiKey.workspace_id == workspace_id, ApiKeyLookup.digest == _digest(value), ApiKey.revoked_at.is_(None)
    row = session.execute(
        select(ApiKey.id, ApiKey.mode, ApiKey.last_used_at).join(ApiKeyLookup, ApiKeyLookup.key_id == ApiKey.id).where(*works)
    ).first()
    if row is None:
        return None
    if row.last_used_at is None or row.last_used_at <= now - _TELLING:
        stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= now - _TELLING)
        session.execute(update(ApiKey).where(ApiKey.id == row.id, stale).values(last_used_at=now))
    return Holder(key_id=row.id, workspace_id=workspace_id, mode=row.mode)


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
