"""Hands: several threads that work for one worker process, where the work is mostly waiting for other people's servers."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

log = structlog.get_logger()


class Hands:
    """`do` is given one id of work at a time in each thread. A bell that finds them all busy waits."""

    def __init__(self, do: Callable[[str], object], count: int) -> None:
        self._do = do
        self._free = threading.BoundedSemaphore(count)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="hand")

    def take(self, work_id: str) -> None:
        """Hand over one row of work. What becomes of it is in the row alone: the bell that asked for it is forgotten."""
        self._free.acquire()
        self._threads.submit(self._work, work_id)

    def rest(self) -> None:
        """Wait until nothing is in hand."""
        self._threads.shutdown(wait=True)

    def _work(self, work_id: str) -> None:
        try:
            self._do(work_id)
        except Exception:  # such as a database that is away: its lease runs out, and the sweep rings again
            log.exception("work.dropped")
        finally:
            self._free.release()
