"""Embed secrets as they lie in the database: sealed to their row and workspace, opened only to check or to show a signature."""

from datetime import datetime

import structlog
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from connect_app.crypto import KeyRing, SealBroken
from connect_app.models import EmbedSecret, Workspace

log = structlog.get_logger()

_TABLE, _PURPOSE = "embed_secrets", "embed"


def seal(ring: KeyRing, *, row_id: str, workspace_id: str, secret: str) -> bytes:
    """What the row `row_id` of this workspace keeps in `sealed`."""
    return ring.seal(secret, table=_TABLE, row=row_id, workspace=workspace_id, purpose=_PURPOSE)


def open(ring: KeyRing, row: EmbedSecret) -> str:
    """The secret itself; raises SealBroken when the record was moved here from another row or workspace."""
    return ring.open(row.sealed, table=_TABLE, row=row.id, workspace=row.workspace_id, purpose=_PURPOSE)


def workspace_of(session: Session, slug: str) -> str | None:
    """The workspace whose secrets a hand-off with this slug should be signed with; needs no tenant."""
    return session.execute(select(Workspace.id).where(Workspace.slug == slug)).scalar_one_or_none()


def verifying(session: Session, workspace_id: str, now: datetime, ring: KeyRing) -> list[tuple[str, str]]:
    """(mode, secret) of every secret that a hand-off may be signed with now, the newest first.

    A record that does not open verifies nothing, and is told to the operator: somebody has moved it, or a key is missing.
    """
    rows = session.execute(
        select(EmbedSecret)
        .where(EmbedSecret.workspace_id == workspace_id, or_(EmbedSecret.expires_at.is_(None), EmbedSecret.expires_at > now))
        .order_by(EmbedSecret.id.desc())
    ).scalars()
    found = []
    for row in rows:
        try:
            found.append((row.mode, open(ring, row)))
        except SealBroken:
            log.error("embed_secret.does_not_open", embed_secret=row.id, workspace=workspace_id)
    return found
