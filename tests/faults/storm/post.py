"""The post: deliveries over HTTP to the real door, signed at the moment they are sent, at many moments at once, until they are taken."""

import hashlib
import heapq
import hmac
import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_PATIENCE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One event's bytes and the secret of the endpoint that hears it."""

    id: str
    body: bytes = field(repr=False)
    secret: str


class Post:
    """Letters with the moment each is due; threads that carry them. 2xx takes one, 4xx refuses it, else it comes again, as Stripe's do."""

    def __init__(self, url: str, threads: int) -> None:
        self._parts = urlsplit(url)
        self._bell = threading.Condition()
        self._waiting: list[tuple[float, int, Letter]] = []
        self._count = 0
        self._under_way = 0
        self._is_over = False
        self.taken: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.tried_again: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._carry, daemon=True, name=f"post-{number}") for number in range(threads)]
        for thread in self._threads:
            thread.start()

    def add(self, letter: Letter, at: float) -> None:
        """Deliver at this moment of the monotonic clock, or as soon after as can be."""
        with self._bell:
            self._count += 1
            heapq.heappush(self._waiting, (at, self._count, letter))
            self._bell.notify()

    @property
    def left(self) -> int:
        """How many are still to be taken or refused."""
        with self._bell:
            return len(self._waiting) + self._under_way

    def close(self) -> None:
        with self._bell:
            self._is_over = True
            self._bell.notify_all()
        for thread in self._threads:
            thread.join(_PATIENCE + 5)

    def _carry(self) -> None:
        line = self._line()
        while (letter := self._next()) is not None:
            answer = self._deliver(line, letter)
            with self._bell:
                if answer is not None and 200 <= answer < 300:
                    self.taken[letter.id] += 1
                elif answer is not None and 400 <= answer < 500:
                    self.refused[letter.id] += 1
                else:
                    self.tried_again[str(answer)] += 1
                    self._count += 1
                    heapq.heappush(self._waiting, (time.monotonic() + 0.3, self._count, letter))
                self._under_way -= 1
                self._bell.notify()
        line.close()

    def _next(self) -> Letter | None:
        with self._bell:
            while not self._is_over:
                now = time.monotonic()
                if self._waiting and self._waiting[0][0] <= now:
                    self._under_way += 1
                    return heapq.heappop(self._waiting)[2]
                self._bell.wait(self._waiting[0][0] - now if self._waiting else None)
            return None

    def _line(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._parts.hostname or "", self._parts.port, timeout=_PATIENCE)

    def _deliver(self, line: http.client.HTTPConnection, letter: Letter) -> int | None:
        """The status, or None where there was no answer."""
        stamp = str(int(time.time()))
        digest = hmac.new(letter.secret.encode(), stamp.encode() + b"." + letter.body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": f"t={stamp},v1={digest}"}
        try:
            line.request("POST", self._parts.path, letter.body, headers)
            answer = line.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            line.close()
            return None
        return answer.status
