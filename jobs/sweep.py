"""The sweep: every few seconds, inside every worker, it rings again for whatever is due, and works alone while Redis is away."""

import threading

import structlog
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from connect_app.runtime import Runtime
from jobs import queues, work

log = structlog.get_logger()

_LOCK = 7015002
_BATCH = 200


def forever(rt: Runtime, queue: str, stop: threading.Event) -> None:
    """Sweep until `stop` is set; a database that is away is waited for."""
    while not stop.wait(rt.settings.holdfast_sweep_seconds):
        try:
            tick(rt, queue)
        except SQLAlchemyError:
            log.warning("sweep.database_away")
        except Exception:
            log.exception("sweep.failed")


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
