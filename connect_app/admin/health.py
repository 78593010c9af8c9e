"""How a connection to Stripe is doing: what was last heard, what may be done, and which events could not be understood."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from connect_app import connections
from connect_app.errors import NotFound
from connect_app.models import Connection, WebhookEvent
from connect_app.modes import Mode
from jobs import alerts, queues
from jobs.backfill import stages
from webhooks import store

# Every hour, not quite up to the present, and some time for the turn itself.
_RECONCILED_WITHIN = timedelta(hours=2)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """An alert that stands, in words."""

    title: str
    meaning: str
    remedy: str
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What the last comparison found for one kind of object; `is_whole` where all there are were compared and not a sample."""

    name: str
    compared: int
    differing: int
    is_whole: bool


def notices(session: Session, connection: Connection | None) -> list[Notice]:
    """The alerts that stand, the newest first. That the account is gone stands above every page already."""
    if connection is None or connection.state != "connected":
        return []
    return [
        Notice(title=title, meaning=meaning, remedy=remedy, opened_at=alert.opened_at)
        for alert in alerts.standing(session, connection.id)
        for title, meaning, remedy in [alerts.words(alert)]
    ]


def compared(connection: Connection | None) -> list[Compared]:
    """The last comparison with Stripe, kind by kind; empty before the first one."""
    drift = (connection.drift if connection else None) or {}
    return [
        Compared(
            name=name,
            compared=drift[name]["stripe"] + drift[name]["gone"],
            differing=drift[name]["missing"] + drift[name]["differing"] + drift[name]["gone"],
            is_whole=drift[name]["is_whole"],
        )
        for name in stages.NAMES
        if name in drift
    ]


def read_again(session: Session, connection: Connection | None, now: datetime) -> bool:
    """Ask for everything to be read in: anew where it was complete, on from where it stopped where it was not. False while it is under way.

    Raises NotFound where nothing is connected.
    """
    if connection is None or connection.state != "connected":
        raise NotFound(code="not_found", message="Nothing is connected in this mode.")
    state = connection.read_in.get("state")
    if state == "done":
        connections.read_in_again(session, connection, is_full=True)
    queues.enqueue(session, "read_in", connection.id, connection.workspace_id, due_at=now)
    return state in ("done", "failed")


def lines(connection: Connection, now: datetime, standing: Collection[Notice] = ()) -> list[Line]:
    """The health of one connection, each line with what to make of it; of one that is over, nothing is known any more.

    `standing` are its notices: silence is judged by what Stripe lists, and never by the time alone.
    """
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
    is_silent = alerts.WORDS["silent"][0] in [notice.title for notice in standing]
    if is_silent:
        hint = "Stripe lists events that did not arrive."
        found.append(Line(name="Last webhook", kind="failed", value="Silent", at=connection.last_event_at, hint=hint))
    elif connection.last_event_at is None:
        found.append(Line(name="Last webhook", kind="attention", value="None yet", hint="Arrives when something changes on your account."))
    else:
        found.append(Line(name="Last webhook", kind="ok", value="Arriving", at=connection.last_event_at))
    if connection.last_event_at is not None:
        found.append(_lag(connection.last_event_lag_ms or 0))
        found.append(Line(name="API version of events", kind="neutral", value=connection.last_api_version or "unknown"))
    found += _checked_against_stripe(connection, now)
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


def _checked_against_stripe(connection: Connection, now: datetime) -> list[Line]:
    if connection.reconciled_at is None:
        return [Line(name="Checked against Stripe", kind="neutral", value="After the account is read in")]
    is_late = now - connection.reconciled_at > _RECONCILED_WITHIN
    found = [
        Line(
            name="Events known up to",
            kind="attention" if is_late else "ok",
            value="Behind" if is_late else "Up to date",
            at=connection.reconciled_at,
            hint="Every hour Stripe’s own list of events is gone through for what no webhook brought.",
        )
    ]
    kinds = compared(connection)
    differing = sum(kind.differing for kind in kinds)
    if not kinds or connection.compared_at is None:
        return [*found, Line(name="Compared with Stripe", kind="neutral", value="Not yet", hint="Once a day.")]
    words = f"{differing} of {sum(kind.compared for kind in kinds):,} differed, mended" if differing else "No difference"
    return [
        *found,
        Line(
            name="Compared with Stripe", kind="attention" if differing else "ok", value=words, at=connection.compared_at, hint="Once a day."
        ),
    ]


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
