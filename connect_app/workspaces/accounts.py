"""A workspace's Stripe accounts: linking one per mode, linking it again, letting it go."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from connect_app import audit, connections, ids
from connect_app.crypto import KeyRing
from connect_app.models import AccountLookup, Connection
from connect_app.modes import Mode
from connect_app.stripe_gateway.objects import Account
from connect_app.workspaces import secrets
from jobs import actions, queues
from webhooks import store


class Taken(Exception):
    """The account belongs to a workspace in this mode already; nothing was changed."""


@dataclass
class AnotherAccount(Exception):
    """The workspace has a different account in this mode; its mirror and sessions belong to that one. Nothing was changed."""

    account_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A connection that now stands; `is_again` when it had been there before. `replaced` is the account that made room for it."""

    connection_id: str
    is_again: bool
    replaced: str | None = None


def link(session: Session, workspace_id: str, *, account: Account, mode: Mode, scope: str, now: datetime, ring: KeyRing, by: str) -> str:
    """Connect the workspace's first account of this mode, inside its transaction; gives the connection's id. Raises Taken.

    The mode gets its embed secret; the read-in and a check are asked for.
    """
    connection_id = ids.new("con")
    session.add(
        Connection(
            id=connection_id,
            workspace_id=workspace_id,
            mode=mode,
            account=account.id,
            scope=scope,
            state="connected",
            connected_at=now,
            read_in={"state": "waiting"},
            **_described(account),
        )
    )
    session.flush()
    _claim(session, workspace_id, connection_id, account.id, mode)
    secrets.ensure(session, workspace_id, mode, ring=ring, now=now, by=by)
    _ask_for_data(session, workspace_id, connection_id, account.id, mode, now)
    audit.record(
        session, workspace_id, actor=by, verb="connection.made", at=now, target=connection_id, details={"account": account.id, "mode": mode}
    )
    return connection_id


def link_or_relink(
    session: Session, workspace_id: str, *, account: Account, mode: Mode, scope: str, now: datetime, ring: KeyRing, by: str
) -> Linked:
    """Connect the workspace in this mode, or connect its account again after it was lost; what waited for that is tried again.

    Raises Taken when the account belongs to another workspace, AnotherAccount when this workspace has a different one in this mode.
    """
    known = session.execute(select(Connection).where(Connection.mode == mode).with_for_update()).scalar_one_or_none()
    if known is None:
        connection_id = link(session, workspace_id, account=account, mode=mode, scope=scope, now=now, ring=ring, by=by)
        return Linked(connection_id=connection_id, is_again=False)
    if known.account != account.id:
        _make_room(session, known)
        connection_id = link(session, workspace_id, account=account, mode=mode, scope=scope, now=now, ring=ring, by=by)
        return Linked(connection_id=connection_id, is_again=False, replaced=known.account)
    # Even a connection that never broke gets a new time: a deauthorization sent before this round trip is news of the past.
    session.execute(
        update(Connection)
        .where(Connection.id == known.id)
        .values(
            state="connected",
            scope=scope,
            connected_at=now,
            disconnected_at=None,
            disconnect_reason=None,
            can_read=None,
            can_write=None,
            checked_at=None,
            **_described(account),
        )
    )
    _claim(session, workspace_id, known.id, account.id, mode)
    _ask_for_data(session, workspace_id, known.id, account.id, mode, now)
    connections.read_in_again(session, known)
    actions.retry_disconnected(session, workspace_id, known.id, now)
    audit.record(
        session, workspace_id, actor=by, verb="connection.again", at=now, target=known.id, details={"account": account.id, "mode": mode}
    )
    return Linked(connection_id=known.id, is_again=True)


def authorized_again(session: Session, connection_id: str, *, scope: str, now: datetime) -> None:
    """A connection that stands was authorized once more: a deauthorization from before this moment no longer counts."""
    session.execute(update(Connection).where(Connection.id == connection_id).values(connected_at=now, scope=scope))


def disconnect(session: Session, workspace_id: str, mode: str, *, now: datetime, by: str) -> bool:
    """End the connection here and ask for it to be ended at Stripe, in one transaction. False when there was none to end."""
    connection = connections.of_mode(session, workspace_id, mode)
    if connection is None or not connections.lost(session, workspace_id, connection.id, at=now, reason="disconnected_here", actor=by):
        return False
    queues.enqueue(session, "deauthorize", connection.id, workspace_id, due_at=now)
    queues.enqueue(session, "watch", connection.id, workspace_id, due_at=now)
    return True


def name_of(account: Account) -> str:
    """What people call the account: its name, else its address, else its id."""
    name = "".join(letter for letter in account.name or account.email or "" if letter.isprintable())
    return name.strip()[:200] or account.id


def _described(account: Account) -> dict[str, Any]:
    return {
        "account_name": name_of(account),
        "account_email": account.email,
        "country": account.country,
        "currency": account.default_currency,
    }


def _make_room(session: Session, known: Connection) -> None:
    """Remove a connection that was undone before any customer came through it. Raises AnotherAccount for one that has a history.

    The foreign keys of sessions and links decide, so that a customer who comes in this very moment is not lost.
    """
    if known.state == "connected":
        raise AnotherAccount(known.account_name)
    try:
        with session.begin_nested():
            session.execute(delete(Connection).where(Connection.id == known.id))
    except IntegrityError:
        raise AnotherAccount(known.account_name) from None
    session.expunge(known)


def _claim(session: Session, workspace_id: str, connection_id: str, account: str, mode: Mode) -> None:
    """Make the account's news this workspace's; the primary key decides between two that come at once.

    An account that its workspace has lost may go to another one: whoever came has just shown control of it.
    """
    row = insert(AccountLookup).values(account=account, mode=mode, workspace_id=workspace_id, connection_id=connection_id)
    claim = row.on_conflict_do_update(
        index_elements=[AccountLookup.account, AccountLookup.mode],
        set_={"workspace_id": workspace_id, "connection_id": connection_id, "is_active": True},
        where=or_(AccountLookup.is_active.is_(False), AccountLookup.connection_id == connection_id),
    )
    if session.execute(claim.returning(AccountLookup.account)).first() is None:
        raise Taken


def _ask_for_data(session: Session, workspace_id: str, connection_id: str, account: str, mode: Mode, now: datetime) -> None:
    # In this order: the check is three requests, and would wait behind the read-in's whole first turn.
    queues.enqueue(session, "check_connection", connection_id, workspace_id, due_at=now)
    queues.enqueue(session, "watch", connection_id, workspace_id, due_at=now)
    queues.enqueue(session, "read_in", connection_id, workspace_id, due_at=now)
    store.release_waiting(session, account, mode, now)
