"""Appending to a workspace's audit log, in the transaction that did what it tells of."""

from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from connect_app import ids
from connect_app.models import AuditEntry
from connect_app.models.base import Json


def record(
    session: Session, workspace_id: str, *, actor: str, verb: str, at: datetime, target: str | None = None, details: Json | None = None
) -> None:
    """Write down who did what. `actor` is `usr_…`, `key_…`, `stripe:acct_…`, `operator` or `holdfast`; `details` never hold a secret."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    session.add(
        AuditEntry(
            id=ids.new("log"),
            workspace_id=workspace_id,
            at=at,
            actor=actor,
            verb=verb,
            target=target,
            details=details or {},
            request_id=request_id,
        )
    )
