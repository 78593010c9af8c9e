"""A workspace's links to its Stripe accounts: finding them, and what lower layers may write down about them."""

from datetime import datetime

from sqlalchemy import cast, delete, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from connect_app import audit
from connect_app.models import AccountLookup, Connection
from connect_app.models.base import Json


def by_id(session: Session, connection_id: str) -> Connection | None:
    """The connection, within the transaction's workspace."""
    return session.execute(select(Connection).where(Connection.id == connection_id)).scalar_one_or_none()


def of_mode(session: Session, workspace_id: str, mode: str) -> Connection | None:
    """The workspace's connection in this mode, connected or not."""
    return session.execute(select(Connection).where(Connection.workspace_id == workspace_id, Connection.mode == mode)).scalar_one_or_none()


def every(session: Session, workspace_id: str) -> list[Connection]:
    """The workspace's connections, connected or not: at most one for each mode."""
    return list(session.execute(select(Connection).where(Connection.workspace_id == workspace_id)).scalars())


def locate(session: Session, account: str, mode: str) -> AccountLookup | None:
    """Which workspace an account's events belong to: None while it is connected to none. Needs no tenant."""
    home = remembered(session, account, mode)
    return home if home is not None and home.is_active else None


def remembered(session: Session, account: str, mode: str) -> AccountLookup | None:
    """The workspace that has the account, or had it last; needs no tenant."""
    return session.get(AccountLookup, (account, mode))


def forget(session: Session, connection_id: str) -> None:
    """The account of this connection was here by mistake: its next round trip begins afresh."""
    session.execute(delete(AccountLookup).where(AccountLookup.connection_id == connection_id))


def heard(session: Session, connection_id: str, *, at: datetime, lag_ms: int, api_version: str) -> None:
    """Stripe's news arrived for this connection."""
    session.execute(
        update(Connection)
        .where(Connection.id == connection_id)
        .values(last_event_at=at, last_event_lag_ms=lag_ms, last_api_version=api_version)
    )


def checked(
    session: Session, connection_id: str, *, at: datetime, can_read: bool, can_write: bool | None, portal_cancel_open: bool | None
) -> None:
    """What a check of the connection found; None is "could not be told"."""
    session.execute(
        update(Connection)
        .where(Connection.id == connection_id)
        .values(checked_at=at, can_read=can_read, can_write=can_write, portal_cancel_open=portal_cancel_open)
    )


def save_read_in(session: Session, connection_id: str, read_in: Json) -> None:
    """How far the read-in has come; shape in connect_app.models.Connection."""
    session.execute(update(Connection).where(Connection.id == connection_id).values(read_in=read_in))


def read_in_again(session: Session, connection: Connection, *, is_full: bool = False) -> None:
    """What changed since the account was last known is to be read in, or with `is_full` everything; `read_in` work does it.

    A read-in that was never completed begins anew either way, and so does one of everything that was asked for and is not over.
    """
    before = connection.read_in
    is_full = is_full or (before.get("state") != "done" and ("lanes" in before or bool(before.get("is_full"))))
    kept = {"counts": connection.read_in.get("counts") or {}} if connection.reconciled_at is not None and not is_full else {}
    save_read_in(session, connection.id, {"state": "waiting", "is_full": is_full, **kept})


def reconciled(session: Session, connection_id: str, *, until: datetime) -> None:
    """Everything that Stripe's list of events tells up to this time (Stripe's) is known."""
    session.execute(update(Connection).where(Connection.id == connection_id).values(reconciled_at=until))


def compared(session: Session, connection_id: str, *, at: datetime, drift: Json) -> None:
    """What a comparison with Stripe found; shape in connect_app.models.Connection."""
    session.execute(update(Connection).where(Connection.id == connection_id).values(compared_at=at, drift=drift))


def publish(session: Session, connection_id: str, **numbers: Json | list[str]) -> None:
    """Show these numbers of a connection (`drift`, `alerts`) to the operator's metrics; nothing in them names anybody."""
    home = AccountLookup.connection_id == connection_id
    session.execute(update(AccountLookup).where(home).values(health=AccountLookup.health.concat(cast(numbers, JSONB))))


def lost(session: Session, workspace_id: str, connection_id: str, *, at: datetime, reason: str, actor: str) -> bool:
    """The connection is over: `reason` is `disconnected_here`, `deauthorized` or `access_lost`. Its data stay, and whose account it was.

    False where it was over already.
    """
    ended = session.execute(
        update(Connection)
        .where(Connection.id == connection_id, Connection.state == "connected")
        .values(state="disconnected", disconnected_at=at, disconnect_reason=reason)
        .returning(Connection.id)
    ).first()
    if ended is None:
        return False
    session.execute(update(AccountLookup).where(AccountLookup.connection_id == connection_id).values(is_active=False))
    audit.record(session, workspace_id, actor=actor, verb="connection.lost", at=at, target=connection_id, details={"reason": reason})
    return True
