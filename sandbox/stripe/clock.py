"""The clock: what time it is inside objects, and what falls due as it moves."""

from __future__ import annotations

import heapq
import itertools
import time
from typing import TYPE_CHECKING

from sandbox.stripe import lifecycle
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe
    from sandbox.stripe.worlds import World


class Clock:
    """Real time plus what was added to it, and the subscriptions that wait for their moment."""

    def __init__(self, local: LocalStripe) -> None:
        self._local = local
        self._waiting: list[tuple[int, int, World, str]] = []
        self._order = itertools.count()
        self._noted: set[tuple[int, int, str]] = set()
        """What waits already, so that nothing waits twice for the same moment."""
        self.offset = 0
        self.moment: int | None = None

    def now(self) -> int:
        """Unix seconds inside objects; while something due happens, the second it was due in."""
        return self.moment if self.moment is not None else int(time.time()) + self.offset

    def watch(self, world: World, subscription: Obj) -> None:
        """Remember when this subscription next has something due."""
        at = lifecycle.due_at(world, subscription)
        if at is not None and (note := (at, id(world), subscription["id"])) not in self._noted:
            self._noted.add(note)
            heapq.heappush(self._waiting, (at, next(self._order), world, subscription["id"]))

    def advance(self, seconds: int) -> int:
        """Move on by so many seconds, let everything due happen in order, and say the new time."""
        self.offset += seconds
        self.settle()
        return self.now()

    def settle(self) -> None:
        """Let everything that is due by now happen, in order of its time."""
        if self.moment is not None:
            return
        now = self.now()
        try:
            while self._waiting and self._waiting[0][0] <= now:
                noted, _, world, name = heapq.heappop(self._waiting)
                self._noted.discard((noted, id(world), name))
                subscription = world.find("subscription", name)
                at = lifecycle.due_at(world, subscription) if subscription else None
                if subscription is None or at is None:
                    continue
                if at <= noted:
                    self.moment = at
                    lifecycle.settle(Context(local=self._local, world=world, source="clock"), subscription)
                    subscription = world.get("subscription", name)
                self.watch(world, subscription)
        finally:
            self.moment = None
