"""The sweep: every few seconds, inside every worker, it rings again for whatever is due, and works alone while Redis is away."""

import threading
import time

import structlog
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from connect_app.runtime import Runtime
from jobs import queues, schedule, work

log = structlog.get_logger()

_LOCK = 7015002
_BATCH = 200
# How often, in seconds, a worker looks for periodic work that nobody has asked for yet: once for each connection, and then never again.
_ASK_EVERY = 60.0


def forever(rt: Runtime, queue: str, stop: threading.Event) -> None:
    """Sweep until `stop` is set; a database that is away is waited for."""
    asked = -_ASK_EVERY
    while not stop.wait(rt.settings.holdfast_sweep_seconds):
        try:
            if time.monotonic() - asked >= _ASK_EVERY:
                ask(rt)
                asked = time.monotonic()
            tick(rt, queue)
        except SQLAlchemyError:
            log.warning("sweep.database_away")
        except Exception:
            log.exception("sweep.failed")


def ask(rt: Runtime) -> int:
    """Ask for the periodic work that has no row yet; gives how much that was."""
    with rt.transaction() as session:
        return schedule.ask(session, rt.now())


def tick(rt: Runtime, queue: str) -> None:
    """Once: ring for all queues, or, with Redis away, do what is due in `queue` here and now."""
    try:
        lengths = {name: queues.queue(rt.redis, name).count for name in queues.QUEUES}
        for work_id, name in _due(rt):
            # Bells beyond what a worker can hear soon would only pile up.
            if lengths[name] < _BATCH:
                queues.ring(rt.redis, name, work_id)
                lengths[name] += 1
    except RedisError:
        log.warning("sweep.redis_away")
        work.drain(rt, queue, limit=_BATCH)


def _due(rt: Runtime) -> list[tuple[str, str]]:
    # One sweep at a time chooses. The lock ends with its own transaction, not with the pooled connection; nothing is held while ringing.
    with rt.transaction() as session:
        if not session.execute(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}).scalar_one():
            return []
        return [due for name in queues.QUEUES for due in work.due(session, rt.now(), name, limit=_BATCH, waiting=1)]
