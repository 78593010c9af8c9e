"""Which workspaces there are: finding one, and giving each a slug of its own."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app.models import Workspace

# The slug of a workspace whose install was undone starts so.
UNDONE = "undone-"
_LONGEST = 40  # of the 63 that the grammar allows, so that a number still fits behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A workspace as pages name it."""

    id: str
    slug: str
    name: str


def by_slug(session: Session, slug: str) -> Place | None:
    """The workspace of this slug; needs no tenant."""
    return _place(session, Workspace.slug == slug)


def by_id(session: Session, workspace_id: str) -> Place | None:
    """The workspace of this id; needs no tenant."""
    return _place(session, Workspace.id == workspace_id)


def named(session: Session, slug: str | None) -> Place:
    """The workspace that an operator means: the named one, or the only one. Raises LookupError, with a sentence for the terminal."""
    which = Workspace.slug == slug if slug else Workspace.slug.not_like(f"{UNDONE}%")
    rows = session.execute(select(Workspace.id, Workspace.slug, Workspace.name).where(which).order_by(Workspace.created_at).limit(20)).all()
    if not rows:
        raise LookupError(f"There is no workspace {slug!r}." if slug else "There is no workspace yet: open /install.")
    if len(rows) > 1:
        raise LookupError("There are several workspaces; name one of: " + ", ".join(row.slug for row in rows))
    return Place(id=rows[0].id, slug=rows[0].slug, name=rows[0].name)


def enter(session: Session, workspace_id: str, name: str, now: datetime) -> Place:
    """Write a new workspace down under the first free slug of its name."""
    base = slug_of(name)
    tail = workspace_id[-12:]
    for slug in (base, *(f"{base}-{number}" for number in range(2, 10)), f"{base}-{tail}"):
        row = insert(Workspace).values(id=workspace_id, slug=slug, name=name, created_at=now)
        if session.execute(row.on_conflict_do_nothing(index_elements=[Workspace.slug]).returning(Workspace.id)).first():
            return Place(id=workspace_id, slug=slug, name=name)
    raise RuntimeError(f"no slug left for {base!r}")


def give_up_slug(session: Session, workspace_id: str) -> None:
    """Free the slug of a workspace whose install was undone, so that the next install of that business gets it."""
    session.execute(update(Workspace).where(Workspace.id == workspace_id).values(slug=UNDONE + workspace_id.removeprefix("ws_")))


def slug_of(name: str) -> str:
    """A name as part of a URL: small ASCII letters, digits and single hyphens; `workspace` where nothing is left of it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower().replace("'", "")
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_LONGEST].strip("-") or "workspace"


def _place(session: Session, where: ColumnElement[bool]) -> Place | None:
    row = session.execute(select(Workspace.id, Workspace.slug, Workspace.name).where(where)).first()
    return Place(id=row.id, slug=row.slug, name=row.name) if row else None
