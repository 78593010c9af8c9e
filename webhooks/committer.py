"""The committer: one thread a process that writes down whatever deliveries are waiting, together, in one commit."""

import os
import queue
import threading
from dataclasses import dataclass, field

import structlog

from connect_app import metrics
from connect_app.runtime import Runtime
from webhooks import store
from webhooks.events import Envelope

log = structlog.get_logger()

_MOST_EVENTS = 500
_MOST_BYTES = 8 << 20
_MOST_WAITING = 2000


class NotKept(Exception):
    """The event could not be written down now; Stripe is to bring it again."""


@dataclass(slots=True, kw_only=True)
class _Delivery:
    envelope: Envelope
    settled: threading.Event = field(default_factory=threading.Event)
    is_kept: bool = False


class Committer:
    """Keeps events. Whoever is waiting goes together: nobody is delayed so that more may join."""

    def __init__(self, rt: Runtime, patience: float = 8.0) -> None:
        """`patience` is how many seconds a delivery waits for its commit before it is refused."""
        self._rt = rt
        self._patience = patience
        self._starting = threading.Lock()
        self._pid = 0
        self._waiting: queue.Queue[_Delivery] = queue.Queue(_MOST_WAITING)

    def keep(self, envelope: Envelope) -> None:
        """Return once the event is durably committed (or was before). Raises NotKept."""
        self._start()
        delivery = _Delivery(envelope=envelope)
        try:
            self._waiting.put_nowait(delivery)
        except queue.Full:
            raise NotKept("too many deliveries are waiting") from None
        if not delivery.settled.wait(self._patience) or not delivery.is_kept:
            raise NotKept("the database did not take it")

    def _start(self) -> None:
        # A thread does not survive a fork, so each process starts its own at its first delivery.
        if self._pid != os.getpid():
            with self._starting:
                if self._pid != os.getpid():
                    self._waiting = queue.Queue(_MOST_WAITING)
                    threading.Thread(target=self._forever, name="committer", daemon=True).start()
                    self._pid = os.getpid()

    def _forever(self) -> None:
        while True:
            self._commit(self._batch())

    def _batch(self) -> list[_Delivery]:
        batch = [self._waiting.get()]
        size = len(batch[0].envelope.raw)
        while len(batch) < _MOST_EVENTS and size < _MOST_BYTES:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
            size += len(batch[-1].envelope.raw)
        return batch

    def _commit(self, batch: list[_Delivery]) -> None:
        try:
            with self._rt.transaction() as session:
                new = store.keep(session, [delivery.envelope for delivery in batch], self._rt.now())
            metrics.EVENTS_KEPT.inc(new)
            for delivery in batch:
                delivery.is_kept = True
        except Exception as problem:  # whatever it is, the thread goes on and Stripe comes again
            log.warning("webhooks.not_kept", events=len(batch), problem=f"{type(problem).__name__}: {problem}"[:300])
        finally:
            for delivery in batch:
                delivery.settled.set()
