"""What reports can be divided by: the workspace's variables, and what sessions themselves say."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.admin.reports.cuts import MOST_TOKENS, OURS, Asked, Cut
from connect_app.models import FlowVersion
from flow_pages import versions
from webhooks import mapping

_LONGEST = 600
# Older versions' answers are called as the newest that has them calls them.
_VERSIONS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """One of them: as the address has it, as people read it, and its data type."""

    key: str
    label: str
    type: str
    is_ours: bool = False


def known(session: Session, workspace_id: str) -> list[Name]:
    """Ours first, then the variables by name. The two ids are of one customer each, and divide nothing."""
    ours = [Name(key=key, label=label, type="text", is_ours=True) for key, label in OURS.items()]
    return ours + [
        Name(key=one.name, label=one.name, type=one.type) for one in mapping.of_workspace(session, workspace_id) if not one.is_fixed
    ]


def asked(names: Sequence[Name], *, by: str, where: str, tokens: Sequence[str]) -> Asked:
    """What the address asks for; names that there are not are left out."""
    keys = {name.key for name in names}
    kept = tuple(dict.fromkeys(token[:_LONGEST] for token in tokens if token and "\0" not in token))[:MOST_TOKENS]
    return Asked(by=by if by in keys else "", cut=Cut(name=where, tokens=kept) if where in keys and kept else None)


def reasons(session: Session, workspace_id: str) -> dict[str, str]:
    """The survey's answers by id."""
    rows = session.execute(
        select(FlowVersion.document)
        .where(FlowVersion.workspace_id == workspace_id)
        .order_by(FlowVersion.published_at.desc())
        .limit(_VERSIONS)
    ).scalars()
    found: dict[str, str] = {}
    for document in rows:
        survey = versions.read(document).survey
        for reason in survey.reasons if survey else ():
            found.setdefault(reason.id, reason.label)
    return found
