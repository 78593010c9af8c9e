"""The sweep: every few seconds, inside every worker, it rings again for whatever is due, and works alone while Redis is away."""

import threading
import time

import structlog
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from connect_app.runtime import Runtime
from jobs import queues, schedule, turns, work

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
            work.give_back(rt)
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
        for name, due in _due(rt).items():
            _ring(rt, name, due)
    except RedisError:
        log.warning("sweep.redis_away")
        work.attend(rt, queue, _BATCH)


def _ring(rt: Runtime, name: str, due: list[str]) -> None:
    """Ring for these rows, but for those whose bell will be heard soon; before the bells of whoever has rung for thousands."""
    rung = queues.rung(rt.redis, name)
    soon, is_crowded = set(rung[:_BATCH]), len(rung) >= _BATCH
    for work_id in reversed(due) if is_crowded else due:
        if work_id not in soon:
            queues.ring(rt.redis, name, work_id, is_first=is_crowded)


def _due(rt: Runtime) -> dict[str, list[str]]:
    # One sweep at a time chooses. The lock ends with its own transaction, not with the pooled connection; nothing is held while ringing.
    with rt.transaction() as session:
        if not session.execute(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}).scalar_one():
            return {}
        now = rt.now()
        return {
            name: [work_id for work_id, _ in turns.due(session, now, name, limit=_BATCH, waiting=1, is_shared=True)]
            for name in queues.QUEUES
        }
