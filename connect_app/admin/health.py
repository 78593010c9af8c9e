"""How a connection to Stripe is doing: what was last heard, what may be done, and which events could not be understood."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from connect_app.errors import NotFound
from connect_app.models import Connection, WebhookEvent
from connect_app.modes import Mode
from webhooks import store

# An account that is alive has some news within this; a quiet one may not, so this is a hint and no alarm.
_SILENT_AFTER = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A webhook event that was put aside."""

    id: str
    type: str
    received_at: datetime
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the health card; `kind` is a badge's."""

    name: str
    kind: str
    value: str
    hint: str | None = None
    at: datetime | None = None


def lines(connection: Connection, now: datetime) -> list[Line]:
    """The health of one connection, each line with what to make of it; of one that is over, nothing is known any more."""
    if connection.state != "connected":
        return [
            Line(name="Read", kind="neutral", value="None while disconnected"),
            Line(name="Write", kind="neutral", value="None while disconnected"),
            Line(
                name="Last webhook",
                kind="neutral",
                value="None while disconnected",
                at=connection.last_event_at,
                hint="The last one before that." if connection.last_event_at else None,
            ),
            Line(name="Cancel in Stripe’s portal", kind="neutral", value="Unknown while disconnected"),
        ]
    found = [_permission("Read", connection.can_read), _permission("Write", connection.can_write)]
    if connection.last_event_at is None:
        found.append(Line(name="Last webhook", kind="attention", value="None yet", hint="Arrives when something changes on your account."))
    else:
        is_silent = now - connection.last_event_at > _SILENT_AFTER
        found.append(
            Line(
                name="Last webhook",
                kind="attention" if is_silent else "ok",
                value="Silent" if is_silent else "Arriving",
                at=connection.last_event_at,
                hint="Nothing for two days. Normal for a quiet account; otherwise check the endpoint." if is_silent else None,
            )
        )
        found.append(_lag(connection.last_event_lag_ms or 0))
        found.append(Line(name="API version of events", kind="neutral", value=connection.last_api_version or "unknown"))
    found.append(
        {
            None: Line(name="Cancel in Stripe’s portal", kind="attention", value="Not known yet", hint="Press Check now."),
            True: Line(
                name="Cancel in Stripe’s portal", kind="failed", value="Open", hint="Customers can cancel without seeing your flow."
            ),
            False: Line(name="Cancel in Stripe’s portal", kind="ok", value="Closed"),
        }[connection.portal_cancel_open]
    )
    return found


def failed(session: Session, connection: Connection | None) -> list[Event]:
    """The connection's events that were put aside, newest first."""
    if connection is None:
        return []
    rows = store.failed(session, connection.account, Mode(connection.mode).livemode)
    return [Event(id=row.id, type=row.type, received_at=row.received_at, attempts=row.attempts, error=row.error) for row in rows]


def replay(session: Session, connection: Connection | None, event_id: str, now: datetime) -> None:
    """Understand one of the connection's events again. Raises NotFound: events know no tenant, so whose it is is checked here."""
    event = session.get(WebhookEvent, event_id)
    if connection is None or event is None or (event.account, event.livemode) != (connection.account, Mode(connection.mode).livemode):
        raise NotFound(code="not_found", message="There is no such event of this Stripe account.")
    store.replay(session, event_id, now)


def replay_all(session: Session, connection: Connection | None, now: datetime) -> int:
    """Understand all of the connection's failed events again; gives how many."""
    return store.replay_failed(session, connection.account, Mode(connection.mode).livemode, now) if connection else 0


def _permission(name: str, may: bool | None) -> Line:
    if may is None:
        return Line(name=name, kind="neutral", value="Not checked yet")
    return Line(name=name, kind="ok" if may else "failed", value="Allowed" if may else "Refused by Stripe")


def _lag(lag_ms: int) -> Line:
    text = f"{lag_ms} ms" if lag_ms < 1000 else f"{lag_ms / 1000:.1f} s" if lag_ms < 120_000 else f"{lag_ms // 60_000} min"
    hint = "Between Stripe’s event and its arrival here, last time."
    return Line(name="Webhook lag", kind="ok" if lag_ms < 60_000 else "attention", value=text, hint=hint)
