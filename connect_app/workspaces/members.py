"""The people of a workspace: who owns it, and which workspaces a person may enter."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import audit, ids
from connect_app.models import Membership, User, UserLookup, Workspace
from connect_app.workspaces.directory import Place

# From the least to the most.
ROLES = ("analyst", "editor", "admin", "owner")


def user_of(session: Session, email: str) -> str | None:
    """The user with this address, however it is capitalised; needs no tenant."""
    return session.execute(select(User.id).where(func.lower(User.email) == email.lower())).scalar_one_or_none()


def add_owner(session: Session, workspace_id: str, email: str, now: datetime) -> str:
    """Make the holder of a confirmed address an owner, inside the workspace's transaction; gives the user's id."""
    row = insert(User).values(id=ids.new("usr"), email=email, created_at=now)
    session.execute(row.on_conflict_do_nothing(index_elements=[func.lower(User.email)]))
    user_id = user_of(session, email)
    if user_id is None:
        raise RuntimeError("a user that was just written is not there")
    make_owner(session, workspace_id, user_id, now)
    return user_id


def make_owner(session: Session, workspace_id: str, user_id: str, now: datetime) -> None:
    """Make a user an owner, inside the workspace's transaction."""
    membership = insert(Membership).values(user_id=user_id, workspace_id=workspace_id, role="owner", created_at=now)
    session.execute(membership.on_conflict_do_update(index_elements=[Membership.user_id, Membership.workspace_id], set_={"role": "owner"}))
    session.execute(insert(UserLookup).values(user_id=user_id, workspace_id=workspace_id).on_conflict_do_nothing())
    audit.record(session, workspace_id, actor=user_id, verb="member.became_owner", at=now, target=user_id)


def role_of(session: Session, workspace_id: str, user_id: str) -> str | None:
    """The user's role in the transaction's workspace, or None for a stranger."""
    return session.execute(
        select(Membership.role).where(Membership.workspace_id == workspace_id, Membership.user_id == user_id)
    ).scalar_one_or_none()


def has_owner(session: Session, workspace_id: str) -> bool:
    """Whether somebody with a confirmed address owns the transaction's workspace."""
    owner = select(Membership.user_id).where(Membership.workspace_id == workspace_id, Membership.role == "owner")
    return session.execute(owner.limit(1)).first() is not None


def places_of(session: Session, user_id: str) -> list[Place]:
    """The workspaces a user may enter, by name; needs no tenant."""
    rows = session.execute(
        select(Workspace.id, Workspace.slug, Workspace.name)
        .join(UserLookup, UserLookup.workspace_id == Workspace.id)
        .where(UserLookup.user_id == user_id)
        .order_by(Workspace.name, Workspace.id)
    )
    return [Place(id=row.id, slug=row.slug, name=row.name) for row in rows]
