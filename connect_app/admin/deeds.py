"""The audit log as it is read: who did what, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import ApiKey, AuditEntry, User

PER_PAGE = 50
_LAST_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One entry; `who` is a name people know, `details` are name and value."""

    at: datetime
    who: str
    verb: str
    target: str | None
    details: tuple[tuple[str, str], ...]
    request_id: str | None


def page(session: Session, workspace_id: str, number: int) -> tuple[list[Deed], bool]:
    """The entries of a page numbered from 1, newest first, and whether there are older ones."""
    number = max(1, min(number, _LAST_PAGE))
    rows = (
        session.execute(
            select(AuditEntry)
            .where(AuditEntry.workspace_id == workspace_id)
            .order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
            .limit(PER_PAGE + 1)
            .offset((number - 1) * PER_PAGE)
        )
        .scalars()
        .all()
    )
    names = _names(session, rows)
    shown = [
        Deed(
            at=row.at,
            who=names.get(row.actor, row.actor),
            verb=row.verb,
            target=names.get(row.target or "", row.target),
            details=tuple((name, str(value)) for name, value in row.details.items()),
            request_id=row.request_id,
        )
        for row in rows[:PER_PAGE]
    ]
    return shown, len(rows) > PER_PAGE and number < _LAST_PAGE


def _names(session: Session, rows: Sequence[AuditEntry]) -> dict[str, str]:
    """Names of those in these entries. A user's address is looked up by id only: an id is in the log because they were here."""
    users = {row.actor for row in rows if row.actor.startswith("usr_")} | {
        row.target for row in rows if (row.target or "").startswith("usr_")
    }
    found: dict[str, str] = {row.id: row.email for row in session.execute(select(User.id, User.email).where(User.id.in_(users)))}
    keys = {row.actor for row in rows if row.actor.startswith("key_")}
    found |= {row.id: f"API key {row.name}" for row in session.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(keys)))}
    found |= {"operator": "Operator", "holdfast": "Holdfast"}
    for row in rows:
        if row.actor.startswith("stripe:"):
            found[row.actor] = f"Owner via Stripe {row.actor.removeprefix('stripe:')}"
    return found
