"""Publishing: a message becomes a delivery for each endpoint that wants it, in the transaction that makes it true."""

import json
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import db, ids
from connect_app.models import Delivery, Endpoint
from jobs import queues
from jobs.outbound import endpoints, messages


def publish(
    session: Session, workspace_id: str, mode: str, kind: str, now: datetime, make: Callable[[], messages.Data], *, only: str | None = None
) -> int:
    """Tell the endpoints that want this kind of message; gives how many there are. `make` is called if there are any.

    What an endpoint that is switched off would have been told is kept as failed, so that it can be replayed. With `only` the message is
    for that endpoint, whatever it has chosen.
    """
    wanted = select(Endpoint.id, Endpoint.closed_at).where(Endpoint.workspace_id == workspace_id, Endpoint.kind == "webhook")
    if only is not None:
        wanted = wanted.where(Endpoint.id == only)
    else:
        wanted = wanted.where(Endpoint.mode == mode, or_(Endpoint.topics == [], Endpoint.topics.contains([kind])))
    found = session.execute(wanted.order_by(Endpoint.id)).all()
    if not found:
        return 0
    message = ids.new("msg")
    body = json.dumps(messages.envelope(kind, make(), now), ensure_ascii=False, separators=(",", ":"))
    for endpoint_id, closed_at in found:
        queue(
            session,
            workspace_id,
            endpoint_id,
            kind="webhook",
            topic=f"message/{message}/{endpoint_id}",
            payload={"id": message, "type": kind, "body": body},
            now=now,
            is_closed=closed_at is not None,
        )
    return len(found)


def queue(
    session: Session,
    workspace_id: str,
    endpoint_id: str,
    *,
    kind: str,
    topic: str,
    payload: dict[str, str],
    now: datetime,
    is_closed: bool = False,
) -> str | None:
    """Keep one delivery and ask for it; gives its id, or None where this topic was asked for before."""
    row = insert(Delivery).values(
        id=ids.new("dlv"),
        workspace_id=workspace_id,
        kind=kind,
        topic=topic,
        payload=payload,
        state="failed" if is_closed else "queued",
        problem=endpoints.SWITCHED_OFF if is_closed else None,
        asked_at=now,
        endpoint_id=endpoint_id,
        due_at=None if is_closed else now,
    )
    delivery_id: str | None = session.execute(row.on_conflict_do_nothing().returning(Delivery.id)).scalar_one_or_none()
    if delivery_id is not None and not is_closed:
        ask(session, workspace_id, endpoint_id, now)
    return delivery_id


def replay(session: Session, delivery: Delivery, now: datetime) -> None:
    """Deliver it once more, under the same id, with all its tries before it."""
    again = Delivery.id == delivery.id
    session.execute(update(Delivery).where(again).values(state="queued", problem=None, attempts=0, due_at=now, delivered_at=None))
    ask(session, delivery.workspace_id, str(delivery.endpoint_id), now)


def replay_failed(session: Session, endpoint: Endpoint, now: datetime) -> int:
    """Deliver once more whatever failed; gives how much that was."""
    failed = Delivery.endpoint_id == endpoint.id, Delivery.state == "failed"
    values = {"state": "queued", "problem": None, "attempts": 0, "due_at": now}
    count = len(session.execute(update(Delivery).where(*failed).values(values).returning(Delivery.id)).all())
    if count:
        ask(session, endpoint.workspace_id, endpoint.id, now)
    return count


def ask(session: Session, workspace_id: str, endpoint_id: str, now: datetime) -> None:
    """Have an endpoint's deliveries looked after once this is committed. Many transactions ask for the same row: it is locked last."""
    asked = session.info.setdefault("outbound", {})
    asked[endpoint_id] = workspace_id

    def ask_all() -> None:
        for each in sorted(asked):
            queues.enqueue(session, "outbound", each, asked[each], due_at=now)

    db.before_commit(session, "outbound", ask_all)
