"""Opening a workspace: what is there from its first moment on."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from connect_app import audit, db, ids
from connect_app.admin import flows
from connect_app.crypto import KeyRing
from connect_app.modes import Mode
from connect_app.stripe_gateway.objects import Account
from connect_app.workspaces import accounts, directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A new workspace and its first connection."""

    place: directory.Place
    connection_id: str


def create(session: Session, *, account: Account, mode: Mode, scope: str, now: datetime, ring: KeyRing, by: str) -> Opened:
    """Open a workspace on a Stripe account: slug, connection, embed secret, flows; the read-in and a check are asked for.

    The transaction becomes the new workspace's. Raises accounts.Taken when the account belongs to a workspace in this mode already.
    """
    workspace_id = ids.new("ws")
    place = directory.enter(session, workspace_id, accounts.name_of(account), now)
    db.tenant(session, workspace_id)
    connection_id = accounts.link(session, workspace_id, account=account, mode=mode, scope=scope, now=now, ring=ring, by=by)
    audit.record(session, workspace_id, actor=by, verb="workspace.created", at=now, details={"slug": place.slug, "account": account.id})
    flows.seed(session, workspace_id, now, by)
    return Opened(place=place, connection_id=connection_id)
