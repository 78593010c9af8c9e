"""Embed secrets: making one, telling it once, rotating with a day's overlap, revoking."""

import secrets as chance
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from connect_app import audit, embed_secrets, ids
from connect_app.crypto import KeyRing
from connect_app.errors import Conflict, NotFound
from connect_app.models import EmbedSecret, Workspace
from connect_app.modes import Mode

# How long the older secret goes on working while the new one is brought to the business's servers.
OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A new secret; `value` is for the owner's eyes, now."""

    id: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What may be shown of a secret afterwards. `expires_at` is set while it is being rotated out; `is_shown` once it was told."""

    id: str
    mode: str
    last4: str
    created_at: datetime
    expires_at: datetime | None
    is_shown: bool


def listing(session: Session, workspace_id: str, now: datetime) -> list[Known]:
    """The secrets that work now, newest first."""
    rows = session.execute(
        select(EmbedSecret).where(EmbedSecret.workspace_id == workspace_id, _works(now)).order_by(EmbedSecret.created_at.desc())
    ).scalars()
    return [
        Known(
            id=row.id,
            mode=row.mode,
            last4=row.last4,
            created_at=row.created_at,
            expires_at=row.expires_at,
            is_shown=row.shown_at is not None,
        )
        for row in rows
    ]


def mint(session: Session, workspace_id: str, mode: Mode, *, ring: KeyRing, now: datetime, by: str) -> Minted:
    """The next secret after all of the mode's were revoked, still to be shown.

    Raises Conflict while one works: rotate it instead.
    """
    _one_at_a_time(session, workspace_id)
    if _working(session, workspace_id, mode, now):
        raise Conflict(code="secret_exists", message=f"There is a {mode} secret already. Rotate it to get a new one.")
    return _add(session, workspace_id, mode, ring=ring, now=now, by=by, verb="embed_secret.minted", shown_at=None)


def ensure(session: Session, workspace_id: str, mode: Mode, *, ring: KeyRing, now: datetime, by: str) -> None:
    """Have a secret for this mode, still to be shown, unless one works already."""
    _one_at_a_time(session, workspace_id)
    if not _working(session, workspace_id, mode, now):
        _add(session, workspace_id, mode, ring=ring, now=now, by=by, verb="embed_secret.minted", shown_at=None)


def reveal(session: Session, workspace_id: str, secret_id: str, *, ring: KeyRing, now: datetime, by: str) -> str:
    """The secret itself, the first time it is asked for. Raises Conflict ever after, NotFound for an id that is not there."""
    told = session.execute(
        update(EmbedSecret)
        .where(EmbedSecret.workspace_id == workspace_id, EmbedSecret.id == secret_id, EmbedSecret.shown_at.is_(None), _works(now))
        .values(shown_at=now)
        .returning(EmbedSecret)
    ).scalar_one_or_none()
    if told is None:
        if not any(known.id == secret_id for known in listing(session, workspace_id, now)):
            raise NotFound(code="not_found", message="There is no such secret.")
        raise Conflict(code="secret_was_shown", message="This secret was shown before, and is shown only once. Rotate it to get a new one.")
    audit.record(session, workspace_id, actor=by, verb="embed_secret.shown", at=now, target=secret_id)
    return embed_secrets.open(ring, told)


def rotate(session: Session, workspace_id: str, mode: Mode, *, ring: KeyRing, now: datetime, by: str) -> Minted:
    """A new secret, to be shown in this very answer; the one in use works for OVERLAP more.

    Raises Conflict while an earlier rotation's older secret still works, so that a double click cannot end the one that is deployed.
    """
    _one_at_a_time(session, workspace_id)
    working = _working(session, workspace_id, mode, now)
    if len(working) > 1:
        raise Conflict(
            code="rotation_under_way",
            message="The last rotation is still under way: wait until the older secret has ended, or revoke it first.",
        )
    session.execute(update(EmbedSecret).where(EmbedSecret.id.in_(working)).values(expires_at=now + OVERLAP))
    return _add(session, workspace_id, mode, ring=ring, now=now, by=by, verb="embed_secret.rotated", shown_at=now)


def revoke(session: Session, workspace_id: str, secret_id: str, *, now: datetime, by: str) -> None:
    """End a secret at once; if only one that was being rotated out is left, that one stays. Raises NotFound for an id that is not there."""
    _one_at_a_time(session, workspace_id)
    gone = session.execute(
        delete(EmbedSecret)
        .where(EmbedSecret.workspace_id == workspace_id, EmbedSecret.id == secret_id)
        .returning(EmbedSecret.mode, EmbedSecret.last4)
    ).first()
    if gone is None:
        raise NotFound(code="not_found", message="There is no such secret.")
    working = _working(session, workspace_id, Mode(gone.mode), now)
    if len(working) == 1:
        session.execute(update(EmbedSecret).where(EmbedSecret.id.in_(working)).values(expires_at=None))
    details = {"mode": gone.mode, "last4": gone.last4}
    audit.record(session, workspace_id, actor=by, verb="embed_secret.revoked", at=now, target=secret_id, details=details)


def _add(
    session: Session,
    workspace_id: str,
    mode: Mode,
    *,
    ring: KeyRing,
    now: datetime,
    by: str,
    verb: str,
    shown_at: datetime | None,
) -> Minted:
    secret_id, value = ids.new("sec"), f"hf_embed_{mode}_{chance.token_hex(32)}"
    sealed = embed_secrets.seal(ring, row_id=secret_id, workspace_id=workspace_id, secret=value)
    session.add(
        EmbedSecret(
            id=secret_id,
            workspace_id=workspace_id,
            mode=mode,
            sealed=sealed,
            last4=value[-4:],
            created_at=now,
            shown_at=shown_at,
        )
    )
    session.flush()
    audit.record(session, workspace_id, actor=by, verb=verb, at=now, target=secret_id, details={"mode": str(mode), "last4": value[-4:]})
    return Minted(id=secret_id, value=value)


def _working(session: Session, workspace_id: str, mode: Mode, now: datetime) -> list[str]:
    return list(
        session.execute(
            select(EmbedSecret.id).where(EmbedSecret.workspace_id == workspace_id, EmbedSecret.mode == mode, _works(now))
        ).scalars()
    )


def _works(now: datetime) -> ColumnElement[bool]:
    return or_(EmbedSecret.expires_at.is_(None), EmbedSecret.expires_at > now)


def _one_at_a_time(session: Session, workspace_id: str) -> None:
    """Two rotations at once would each see one secret: the workspace's row is the queue they stand in."""
    session.execute(select(Workspace.id).where(Workspace.id == workspace_id).with_for_update())
