"""Delivering: one endpoint's queue, in its order, each try written down, with the pauses between tries and the end of an endpoint."""

import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from connect_app import ids
from connect_app.models import Delivery, DeliveryAttempt, Endpoint
from connect_app.runtime import Runtime
from jobs import egress, work
from jobs.outbound import endpoints, notices, pass_through

log = structlog.get_logger()

# The pauses before the second try, the third, and so on: three days and some hours in all.
PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
TRIES = len(PAUSES) + 1
# Longer than this no Retry-After makes us wait.
PATIENCE = timedelta(hours=24)
# An endpoint that has failed at every try for so long is switched off.
FAILING_FOR = timedelta(days=5)
# Tries of one message are a day apart at most: after a longer silence, nobody knows that it was failing all the time.
_SILENCE = timedelta(days=2)
# An endpoint that does not answer at all holds up a hand of ours each time: it is left alone in between, the longer it lasts the longer.
_SHORTEST, _LONGEST = timedelta(seconds=5), timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one try ended: `status` where an answer came, `problem` where it was no success."""

    status: int | None
    problem: str | None
    text: str | None = None
    retry_after: timedelta | None = None


def send(rt: Runtime, claim: work.Claim) -> work.End:
    """Deliver what is due at the endpoint `claim.row_id`, oldest first, for a third of the lease; then others have their turn."""
    until = time.monotonic() + rt.settings.holdfast_lease_seconds / 3
    guard = egress.of(rt)
    while True:
        with rt.transaction(claim.tenant) as session:
            endpoint = session.execute(select(Endpoint).where(Endpoint.id == claim.row_id)).scalar_one_or_none()
            if endpoint is None or endpoint.closed_at is not None:
                return work.Done()
            delivery, due_at = _next(session, endpoint.id, rt.now())
        if delivery is None:
            return work.Done() if due_at is None else work.Again(problem="waits for its time", after=max(timedelta(0), due_at - rt.now()))
        started = time.monotonic()
        outcome = _try(rt, guard, endpoint, delivery)
        took_ms = round((time.monotonic() - started) * 1000)
        with rt.transaction(claim.tenant) as session:
            claim.fence(session)
            failing_since = _record(rt, session, endpoint, delivery, outcome, took_ms)
        if failing_since is not None and outcome.status is None:
            rest = min(_LONGEST, max(_SHORTEST, (rt.now() - failing_since) / 4))
            return work.Again(problem=f"no answer: {outcome.problem}", after=rest)
        if time.monotonic() > until:
            return work.Again(problem="others have their turn", after=timedelta(0))


def pause(tries: int, retry_after: timedelta | None) -> timedelta:
    """How long to wait after so many failed tries: by the table and a tenth of chance more, or as long as the other side asks."""
    planned = PAUSES[tries - 1] * (1 + random.random() / 10)  # noqa: S311  jitter is no secret
    return max(planned, min(retry_after or timedelta(0), PATIENCE))


def _next(session: Session, endpoint_id: str, now: datetime) -> tuple[Delivery | None, datetime | None]:
    """The delivery that is due, else when one will be; neither where nothing is queued."""
    queued = Delivery.endpoint_id == endpoint_id, Delivery.state == "queued"
    found = session.execute(
        select(Delivery).where(*queued, Delivery.due_at <= now).order_by(Delivery.due_at, Delivery.id).limit(1)
    ).scalar_one_or_none()
    if found is not None:
        return found, None
    return None, session.execute(select(func.min(Delivery.due_at)).where(*queued)).scalar_one_or_none()


def _try(rt: Runtime, guard: egress.Guard, endpoint: Endpoint, delivery: Delivery) -> Outcome:
    now, payload = rt.now(), delivery.payload
    secrets = endpoints.secrets(rt.ring, endpoint, now)
    try:
        if delivery.kind == "call":
            url, body = pass_through.signed(payload["url"], secrets, now), ""
            headers = {"Idempotency-Key": payload["id"]}
        else:
            url, body = endpoint.url, payload["body"]
            headers = {
                "Content-Type": "application/json",
                "webhook-id": payload["id"],
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": " ".join(Webhook(secret).sign(payload["id"], now, body) for secret in secrets),
            }
        answer = guard.post(url, body.encode(), headers, now=now)
    except egress.Forbidden as refusal:
        return Outcome(status=None, problem=f"Not sent: {refusal}")
    except egress.Unanswered as failure:
        return Outcome(status=None, problem=str(failure))
    is_taken = 200 <= answer.status < 300
    if is_taken:
        problem = None
    elif 300 <= answer.status < 400:
        problem = f"It answered {answer.status}: redirects are not followed."
    else:
        problem = f"It answered {answer.status}."
    return Outcome(status=answer.status, problem=problem, text=answer.text, retry_after=answer.retry_after)


def _record(rt: Runtime, session: Session, endpoint: Endpoint, delivery: Delivery, outcome: Outcome, took_ms: int) -> datetime | None:
    """Write the try down, and what follows from it; gives since when the endpoint has been failing, None where it is well."""
    now, tries = rt.now(), delivery.attempts + 1
    is_known = outcome.problem is not None and _was_tried(session, endpoint, now - _SILENCE)
    session.add(
        DeliveryAttempt(
            id=ids.new("dat"),
            workspace_id=delivery.workspace_id,
            delivery_id=delivery.id,
            at=now,
            took_ms=took_ms,
            status=outcome.status,
            problem=outcome.problem,
            response=outcome.text,
        )
    )
    ended: dict[str, object]
    if outcome.problem is None:
        ended = {"state": "delivered", "problem": None, "delivered_at": now, "due_at": None}
    elif tries >= TRIES:
        ended = {"state": "failed", "problem": outcome.problem, "due_at": None}
    else:
        ended = {"problem": outcome.problem, "due_at": now + pause(tries, outcome.retry_after)}
    # Switched off, or removed, meanwhile: what came of it is still true, and only a success still changes anything.
    mine = [Delivery.id == delivery.id] if outcome.problem is None else [Delivery.id == delivery.id, Delivery.state == "queued"]
    session.execute(update(Delivery).where(*mine).values(attempts=tries, **ended))
    if outcome.problem is None:
        session.execute(update(Endpoint).where(Endpoint.id == endpoint.id, Endpoint.failing_since.is_not(None)).values(failing_since=None))
        return None
    began = func.coalesce(Endpoint.failing_since, now) if is_known else now
    since = update(Endpoint).where(Endpoint.id == endpoint.id).values(failing_since=began)
    since = since.returning(Endpoint.failing_since).execution_options(synchronize_session=False)
    failing_since: datetime = session.execute(since).scalar_one_or_none() or now
    log.info("outbound.failed", endpoint=endpoint.id, delivery=delivery.id, status=outcome.status, tries=tries)
    if outcome.status == 410:
        _close(rt, session, endpoint, "gone")
    elif now - failing_since >= FAILING_FOR:
        _close(rt, session, endpoint, "failing")
    return failing_since


def _was_tried(session: Session, endpoint: Endpoint, since: datetime) -> bool:
    """Whether anything was tried at it since then."""
    tried = select(DeliveryAttempt.id).join(Delivery, Delivery.id == DeliveryAttempt.delivery_id)
    lately = tried.where(Delivery.endpoint_id == endpoint.id, DeliveryAttempt.at >= since).order_by(Delivery.id.desc()).limit(1)
    return session.execute(lately).first() is not None


def _close(rt: Runtime, session: Session, endpoint: Endpoint, reason: str) -> None:
    if endpoints.close(session, endpoint, reason, now=rt.now(), by="holdfast"):
        log.warning("outbound.closed", endpoint=endpoint.id, reason=reason)
        notices.closed(rt, session, endpoint, reason)
