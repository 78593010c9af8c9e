"""Deliveries: each event to each endpoint that wants it, signed, tried again until it is taken, and disturbed on demand."""

from __future__ import annotations

import hashlib
import heapq
import hmac
import http.client
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sandbox.stripe import endpoints, knobs
from sandbox.stripe.wire import Obj, to_json

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe
    from sandbox.stripe.worlds import World

RETRY_SECONDS = (1, 2, 4, 8, 15, 30, 30, 30, 30, 30)
_TIMEOUT_SECONDS = 10
_THREADS = 4
_SHUFFLE_SECONDS = 2.0

Send = Callable[[str, bytes, dict[str, str]], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one endpoint."""

    endpoint: str
    url: str
    event: Obj
    attempt: int = 0


def signature(body: bytes, secret: str, at: int) -> str:
    """The `Stripe-Signature` header."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


class Deliveries:
    """The queue, its threads, and what disturbs it."""

    def __init__(self, local: LocalStripe) -> None:
        self._local = local
        self._waiting: list[tuple[float, int, Delivery]] = []
        self._order = itertools.count()
        self._bell = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self.undelivered: set[str] = set()
        self.counts = {"delivered": 0, "failed": 0, "dropped": 0, "duplicated": 0}
        self.calm()

    def calm(self) -> None:
        """Deliver everything, once, in order, at once."""
        self.disturbance: Obj = {"drop": 0.0, "duplicate": 0.0, "shuffle": 0.0, "delay": 0.0, "seed": None}
        self._chance = random.Random()

    def disturb(self, wanted: Any) -> None:
        """Take `{drop, duplicate, shuffle}` as rates, `delay` in seconds and a `seed`. Raises 400."""
        shapes = {"drop": knobs.rate, "duplicate": knobs.rate, "shuffle": knobs.rate, "delay": knobs.seconds, "seed": knobs.seed}
        told = knobs.record(wanted, shapes, "drop")
        self.disturbance = {**self.disturbance, **{name: shapes[name](value, name) for name, value in told.items()}}
        self._chance = random.Random(self.disturbance["seed"])

    def queue(self, event: Obj, world: World) -> None:
        """Send this event to whoever hears it, as the modes' rules say."""
        local, mode = self._local, event["livemode"]
        worlds: list[tuple[World, bool]] = [(world, False)]
        if world.account != local.platform:
            if (world.account, mode) in local.connections:
                worlds.append((local.world(local.platform, mode), True))
            if not mode and (world.account, True) in local.connections:
                worlds.append((local.world(local.platform, True), True))
        heard = endpoints.hearing(event, worlds)
        event["pending_webhooks"] = len(heard)
        for endpoint in heard:
            self.undelivered.add(event["id"])
            self._disturbed(Delivery(endpoint=endpoint["id"], url=endpoint["url"], event=event))

    def _disturbed(self, delivery: Delivery) -> None:
        wanted = self.disturbance
        if self._chance.random() < wanted["drop"]:
            self.counts["dropped"] += 1
            return
        wait = float(wanted["delay"])
        if self._chance.random() < wanted["shuffle"]:
            wait += self._chance.uniform(0, _SHUFFLE_SECONDS)
        self._put(delivery, wait)
        if self._chance.random() < wanted["duplicate"]:
            self.counts["duplicated"] += 1
            self._put(delivery, wait + self._chance.uniform(0, _SHUFFLE_SECONDS))

    def _put(self, delivery: Delivery, wait: float) -> None:
        with self._bell:
            heapq.heappush(self._waiting, (time.monotonic() + wait, next(self._order), delivery))
            self._bell.notify()

    @property
    def waiting(self) -> int:
        """How many deliveries are still to be made."""
        return len(self._waiting)

    def start(self) -> None:
        """Deliver in the background, over HTTP."""
        for _ in range(_THREADS):
            thread = threading.Thread(target=self._run, daemon=True, name="deliveries")
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the background threads; what waits stays waiting."""
        with self._bell:
            self._stopping = True
            self._bell.notify_all()
        for thread in self._threads:
            thread.join(_TIMEOUT_SECONDS)
        self._threads, self._stopping = [], False

    def deliver(self, send: Send) -> int:
        """Make every waiting delivery now by `send(url, body, headers) -> status`; failed ones wait again. Says how many were tried."""
        with self._bell:
            batch, self._waiting = sorted(self._waiting), []
        for _, _, delivery in batch:
            self._attempt(delivery, send)
        return len(batch)

    def _run(self) -> None:
        while True:
            with self._bell:
                while not self._stopping and (not self._waiting or self._waiting[0][0] > time.monotonic()):
                    self._bell.wait(max(0.01, self._waiting[0][0] - time.monotonic()) if self._waiting else None)
                if self._stopping:
                    return
                delivery = heapq.heappop(self._waiting)[2]
            self._attempt(delivery, post)

    def _attempt(self, delivery: Delivery, send: Send) -> None:
        with self._local.lock:
            secret = self._local.endpoint_secrets.get(delivery.endpoint)
            body = to_json(delivery.event)
        if secret is None:  # the endpoint was deleted meanwhile
            return
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(body, secret, int(time.time())),
        }
        try:
            taken = 200 <= send(delivery.url, body, headers) < 300
        except (OSError, ValueError, http.client.HTTPException):
            taken = False
        with self._local.lock:
            if taken:
                self.counts["delivered"] += 1
                delivery.event["pending_webhooks"] = max(0, delivery.event["pending_webhooks"] - 1)
                if not delivery.event["pending_webhooks"]:
                    self.undelivered.discard(delivery.event["id"])
                return
            self.counts["failed"] += 1
        if delivery.attempt < len(RETRY_SECONDS):
            again = Delivery(endpoint=delivery.endpoint, url=delivery.url, event=delivery.event, attempt=delivery.attempt + 1)
            self._put(again, RETRY_SECONDS[delivery.attempt])


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """POST and say the status; redirects are not followed."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        return connection.getresponse().status
    finally:
        connection.close()
