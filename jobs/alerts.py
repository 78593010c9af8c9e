"""Alerts: what an owner has to be told about a connection, opened once, told once, closed when it is over."""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import connections, ids
from connect_app.models import Alert, Connection, WebhookEvent
from connect_app.models.base import Json
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from jobs import owners, work
from jobs.outbound import telling

log = structlog.get_logger()

# Events that wait longer than this to be understood, or took longer to reach us, are news too late.
LATE = timedelta(minutes=5)
# How long ago a late arrival still says something about the present.
_RECENT = timedelta(hours=1)

# Title, what it means, what to do. Shown on pages and sent by email; `details` of the alert fill the blanks.
WORDS = {
    "silent": (
        "Webhooks are not arriving",
        "Stripe lists {missed} of {due} recent events that no webhook brought. Holdfast has read what they are about from Stripe instead, "
        "and looks every hour, so your data stay right but late.",
        "In Stripe’s Workbench, open the webhook endpoint of your Holdfast server: it must be enabled, and its address must answer 200.",
    ),
    "lagging": (
        "Stripe’s news is late",
        "Events need {seconds} seconds until Holdfast has understood them.",
        "Whoever runs this server looks whether its events worker is running, and whether deliveries fail in Stripe’s Workbench.",
    ),
    "access_lost": (
        "Stripe has cut us off",
        "Your Stripe account no longer lets Holdfast in. Customers get the plain cancel page, and what they ask for waits in the manual "
        "queue.",
        "An owner presses Reconnect under Settings, Stripe.",
    ),
    "cannot_write": (
        "We may not change subscriptions",
        "Stripe lets Holdfast read your account and refuses changes, so no offer and no cancellation can be carried out.",
        "An owner presses Reconnect under Settings, Stripe, and grants read and write access.",
    ),
    "events_failed": (
        "Some of Stripe’s events could not be understood",
        "{count} events were put aside after several tries. What they tell is missing here until they are replayed.",
        "Look at them under Settings, Stripe, and press Replay all.",
    ),
    "drift": (
        "The mirror had drifted",
        "The last comparison with Stripe found {differing} of {compared} objects that Holdfast held wrongly or not at all. They have been "
        "read again.",
        "Nothing at once. If it comes back tomorrow, look whether webhooks arrive.",
    ),
}


def open(rt: Runtime, session: Session, connection: Connection, kind: str, details: Json) -> bool:
    """Open an alert, or bring the details of the open one up to date; the owners get one email at its opening. Whether it is new."""
    now = rt.now()
    row = insert(Alert).values(
        id=ids.new("alt"), workspace_id=connection.workspace_id, connection_id=connection.id, kind=kind, details=details, opened_at=now
    )
    once = row.on_conflict_do_nothing(index_elements=[Alert.connection_id, Alert.kind], index_where=Alert.closed_at.is_(None))
    alert_id = session.execute(once.returning(Alert.id)).scalar_one_or_none()
    if alert_id is None:
        here = Alert.connection_id == connection.id, Alert.kind == kind, Alert.closed_at.is_(None)
        session.execute(update(Alert).where(*here).values(details=details))
        return False
    log.warning("alert.opened", connection=connection.id, alert=kind, details=details)
    _write_to_owners(rt, session, connection, alert_id, kind, details)
    _publish(session, connection)
    return True


def close(rt: Runtime, session: Session, connection: Connection, kind: str) -> bool:
    """It is over. Whether it had been open."""
    here = Alert.connection_id == connection.id, Alert.kind == kind, Alert.closed_at.is_(None)
    if session.execute(update(Alert).where(*here).values(closed_at=rt.now()).returning(Alert.id)).first() is None:
        return False
    log.info("alert.closed", connection=connection.id, alert=kind)
    _publish(session, connection)
    return True


def standing(session: Session, connection_id: str) -> list[Alert]:
    """The connection's open alerts, the newest first."""
    found = select(Alert).where(Alert.connection_id == connection_id, Alert.closed_at.is_(None))
    return list(session.execute(found.order_by(Alert.opened_at.desc(), Alert.kind)).scalars())


def words(alert: Alert) -> tuple[str, str, str]:
    """Title, what it means, what to do, for a person."""
    return _words(alert.kind, alert.details)


def watch(rt: Runtime, claim: work.Claim) -> work.End:
    """Look at the connection `claim.row_id` and open or close what is seen from here; silence and drift are judged where they are found."""
    with rt.transaction(claim.tenant) as session:
        connection = connections.by_id(session, claim.row_id)
        if connection is None:
            return work.Done()
        for kind, details in _seen(rt, session, connection).items():
            if details is None:
                close(rt, session, connection, kind)
            else:
                open(rt, session, connection, kind, details)
        telling.connection(session, connection, rt.now())
        claim.fence(session)
    return work.Done()


def _seen(rt: Runtime, session: Session, connection: Connection) -> dict[str, Json | None]:
    """What each kind of alert says at present; None where there is nothing to say."""
    if connection.state != "connected":
        is_lost = connection.disconnect_reason in ("access_lost", "deauthorized")
        over: dict[str, Json | None] = dict.fromkeys(WORDS)
        return {**over, "access_lost": {"reason": connection.disconnect_reason} if is_lost else None}
    failed = _failed(session, connection)
    late = _late(session, connection, rt.now())
    return {
        "access_lost": None,
        "cannot_write": {} if connection.can_write is False or connection.can_read is False else None,
        "events_failed": {"count": failed} if failed else None,
        "lagging": None if late is None else {"seconds": round(late.total_seconds())},
    }


def _failed(session: Session, connection: Connection) -> int:
    livemode = Mode(connection.mode).livemode
    mine = WebhookEvent.account == connection.account, WebhookEvent.livemode == livemode
    where = *mine, WebhookEvent.is_aside, WebhookEvent.state == "failed"
    return session.execute(select(func.count()).select_from(WebhookEvent).where(*where)).scalar_one()


def _late(session: Session, connection: Connection, now: datetime) -> timedelta | None:
    """How long the oldest event has waited to be understood, or the last one took to arrive; None while neither is LATE."""
    oldest = session.execute(
        text(
            "select received_at from webhook_events where id ="
            " (select event_id from webhook_pending where lane_id = :lane order by position limit 1)"
        ),
        {"lane": f"{connection.account}/{connection.mode}"},
    ).scalar_one_or_none()
    found = [now - oldest] if oldest is not None else []
    if connection.last_event_at is not None and now - connection.last_event_at < _RECENT:
        found.append(timedelta(milliseconds=connection.last_event_lag_ms or 0))
    longest = max(found, default=timedelta(0))
    return longest if longest > LATE else None


def _words(kind: str, details: Json) -> tuple[str, str, str]:
    title, meaning, remedy = WORDS[kind]
    return title, meaning.format_map(details), remedy


def _publish(session: Session, connection: Connection) -> None:
    connections.publish(session, connection.id, alerts=[alert.kind for alert in standing(session, connection.id)])


def _write_to_owners(rt: Runtime, session: Session, connection: Connection, alert_id: str, kind: str, details: Json) -> None:
    """One letter to each owner, in test mode to the first only; asked for in the transaction that opens the alert, hence once."""
    title, meaning, remedy = _words(kind, details)
    owners.write(
        rt,
        session,
        connection.workspace_id,
        connection.mode,
        topic=f"alert/{alert_id}",
        subject=f"{title}: {connection.account_name}",
        lines=[meaning, f"What to do: {remedy}"],
        page="/settings/stripe",
        sign=f"Holdfast, for {connection.account_name} ({connection.account}, {connection.mode} mode)",
    )
