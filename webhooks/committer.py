"""The committer: one thread a process that writes down whatever deliveries are waiting, together, in one statement and one commit."""

import os
import threading
import time
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import psycopg
import structlog

from connect_app import db, metrics
from connect_app.runtime import Runtime
from webhooks import store
from webhooks.events import Envelope

log = structlog.get_logger()

_MOST_EVENTS = 500
_MOST_BYTES = 8 << 20
# The statement is planned once, as a rule while the tables are empty, and the plan for empty tables reads them whole: at ten thousand
# kept events it took twice as long.
_PLANNER = "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off"


class NotKept(Exception):
    """The event could not be written down now; Stripe is to bring it again."""


def _held() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, kw_only=True)
class _Delivery:
    """`settled` is held until the commit has ended: a lock is a tenth of the price of a threading.Event."""

    envelope: Envelope
    settled: threading.Lock = field(default_factory=_held)
    is_kept: bool = False


class Committer:
    """Keeps events. Whoever is waiting goes together: nobody is delayed so that more may join.

    While the database stalls, what waits in memory is bounded in number and bytes; once a commit has lasted longer than anybody waits
    for it, newcomers are refused at once until it has ended.
    """

    def __init__(self, rt: Runtime, *, patience: float = 8.0, most_waiting: int = 2000, most_bytes: int = 32 << 20) -> None:
        """`patience` is how many seconds a delivery waits for its commit before it is refused."""
        self._rt = rt
        self._patience = patience
        self._most_waiting = most_waiting
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._begin()

    def keep(self, envelope: Envelope) -> None:
        """Return once the event is durably committed (or was before). Raises NotKept."""
        delivery = _Delivery(envelope=envelope)
        with self._lock:
            self._start()
            if self._waiting >= self._most_waiting or self._bytes + len(envelope.raw) > self._most_bytes:
                raise NotKept("too many deliveries are waiting")
            if self._writing_since and time.monotonic() - self._writing_since > self._patience:
                raise NotKept("the database does not answer")
            self._waiting += 1
            self._bytes += len(envelope.raw)
        self._queue.put(delivery)
        if not delivery.settled.acquire(timeout=self._patience) or not delivery.is_kept:
            raise NotKept("the database did not take it")

    @property
    def waiting(self) -> int:
        """How many deliveries wait for their commit."""
        return self._waiting

    def close(self) -> None:
        """Settle what waits, and end the thread and its connection; the next delivery starts another."""
        with self._lock:
            is_ours, self._pid = self._pid == os.getpid(), 0
        if is_ours and self._thread is not None:
            self._queue.put(None)
            self._thread.join(self._patience)

    def _begin(self) -> None:
        self._queue: SimpleQueue[_Delivery | None] = SimpleQueue()
        self._waiting = 0
        self._bytes = 0
        self._writing_since = 0.0
        self._connection: psycopg.Connection[Any] | None = None

    def _start(self) -> None:
        # A thread does not survive a fork, so each process starts its own at its first delivery.
        if self._pid != os.getpid():
            self._begin()
            self._thread = threading.Thread(target=self._forever, name="committer", daemon=True)
            self._thread.start()
            self._pid = os.getpid()

    def _forever(self) -> None:
        while batch := self._batch():
            self._commit(batch)
        self._let_go()

    def _batch(self) -> list[_Delivery]:
        """Whoever waits, and at least one; nobody once the committer is closed."""
        batch: list[_Delivery] = []
        size = 0
        while len(batch) < _MOST_EVENTS and size < _MOST_BYTES:
            try:
                delivery = self._queue.get(block=not batch)
            except Empty:
                break
            if delivery is None:
                if batch:
                    self._queue.put(None)  # heard again when these are settled
                break
            batch.append(delivery)
            size += len(delivery.envelope.raw)
        return batch

    def _commit(self, batch: list[_Delivery]) -> None:
        kept = None
        self._writing_since = time.monotonic()
        try:
            kept = self._write([delivery.envelope for delivery in batch])
        except Exception as problem:  # whatever it is, the thread goes on and Stripe comes again
            log.warning("webhooks.not_kept", events=len(batch), problem=f"{type(problem).__name__}: {problem}"[:300])
        with self._lock:
            self._writing_since = 0.0
            self._waiting -= len(batch)
            self._bytes -= sum(len(delivery.envelope.raw) for delivery in batch)
        for delivery in batch:
            delivery.is_kept = kept is not None
            delivery.settled.release()
        if kept is not None:
            metrics.EVENTS_KEPT.inc(kept.events)
            try:
                kept.ring(self._rt.redis)
            except Exception:  # the sweep finds whatever was not rung for
                log.warning("webhooks.not_rung", exc_info=True)

    def _write(self, envelopes: list[Envelope]) -> store.Kept:
        """One statement, committed by itself. A connection that broke meanwhile is replaced once: keeping again is harmless."""
        if self._connection is not None:
            try:
                return store.write(self._connection, envelopes, self._rt.now())
            except psycopg.Error:
                is_broken = self._connection.closed
                self._let_go()
                if not is_broken:
                    raise
        self._connection = db.outside_transactions(self._rt.engine)
        try:
            self._connection.execute(_PLANNER)
            return store.write(self._connection, envelopes, self._rt.now())
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
