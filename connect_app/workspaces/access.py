"""Who the current browser is in a workspace, and what they may do there."""

from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

from flask import abort, flash, redirect

from connect_app import db, runtime
from connect_app.errors import Forbidden, NotFound
from connect_app.workspaces import directory, identity, members
from connect_app.workspaces.directory import Place

# How long after signing in one may connect and disconnect Stripe accounts.
FRESH = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody who may enter this workspace. `actor` names them in the audit log, `label` on the page."""

    workspace: Place
    role: str
    actor: str
    label: str
    is_fresh: bool

    def at_least(self, role: str) -> bool:
        """Whether this role holds the rights of that one: analyst < editor < admin < owner."""
        return members.ROLES.index(self.role) >= members.ROLES.index(role)


def member(workspace_slug: str) -> Member:
    """The current browser's member of this workspace.

    Nobody signed in is sent to the sign-in page; somebody else's workspace answers as one that does not exist (404).
    """
    visitor = identity.visitor()
    if visitor is None:
        _go("/sign-in")
    rt = runtime.current()
    with rt.transaction() as session:
        place = directory.by_slug(session, workspace_slug)
        role: str | None = None
        if place is not None and visitor.user_id is not None:
            db.tenant(session, place.id)
            role = members.role_of(session, place.id, visitor.user_id)
        elif place is not None and visitor.workspace_id == place.id:
            role = "owner"
    if place is None or role is None:
        raise NotFound(code="not_found", message="There is no such workspace, or you are not one of its members.")
    is_fresh = rt.now() - visitor.since <= FRESH
    return Member(workspace=place, role=role, actor=visitor.actor, label=visitor.label, is_fresh=is_fresh)


def require(who: Member, role: str) -> None:
    """Raise Forbidden for a member below this role."""
    if not who.at_least(role):
        raise Forbidden(
            code="role_too_low", message=f"This needs the role {role}; yours is {who.role}. Ask an owner of {who.workspace.name}."
        )


def require_fresh(who: Member) -> None:
    """Send a member who signed in a while ago to sign in again: an open browser is not enough to change where the money is."""
    if not who.is_fresh:
        flash("Please sign in again: connecting and disconnecting Stripe needs a sign-in of the last ten minutes.", "info")
        _go("/sign-in?again=1")


def _go(path: str) -> NoReturn:
    abort(redirect(path, 303))
