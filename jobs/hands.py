"""Hands: several threads that work for one worker process, where the work is mostly waiting for other people's servers."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import structlog

log = structlog.get_logger()


class Hands:
    """`do` is given one id of work at a time in each thread. A bell that finds them all busy waits.

    A hand that is done and is not asked for goes on with what `overdue` gives: bells are heard one by one, and where hundreds wait to be
    heard, most of them for what is done already, whoever is free would wait for them in vain.
    """

    def __init__(self, do: Callable[[str], object], count: int, overdue: Callable[[], Iterable[str]] = tuple) -> None:
        self._do = do
        self._overdue = overdue
        self._next: deque[str] = deque()
        self._looking = threading.Lock()
        self.is_asked = self.is_resting = False
        self._free = threading.BoundedSemaphore(count)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="hand")

    def take(self, work_id: str) -> None:
        """Hand over one row of work. What becomes of it is in the row alone: the bell that asked for it is forgotten."""
        if not self._free.acquire(blocking=False):
            self.is_asked = True
            self._free.acquire()
            self.is_asked = False
        self._threads.submit(self._work, work_id)

    def rest(self) -> None:
        """Wait until nothing is in hand."""
        self.is_resting = True
        self._threads.shutdown(wait=True)

    def _work(self, work_id: str) -> None:
        try:
            following: str | None = work_id
            while following is not None:
                self._do(following)
                following = None if self.is_asked or self.is_resting else self._another()
        except Exception:  # such as a database that is away: its lease runs out, and the sweep rings again
            log.exception("work.dropped")
        finally:
            self._free.release()

    def _another(self) -> str | None:
        # One look serves all hands; what another process has taken meanwhile costs a glance.
        with self._looking:
            if not self._next:
                self._next.extend(self._overdue())
            return self._next.popleft() if self._next else None
