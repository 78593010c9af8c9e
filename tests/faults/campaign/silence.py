"""Redis refuses, says nothing, or is full, for customers and workers alike, while customers choose."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

from connect_app import runtime
from tests.faults.campaign import oracle
from tests.faults.campaign.ground import Ground, ground

FAULTS = ("refuses", "says nothing", "is full")
VERBS = ("cancel", "discount", "pause", "plan_change")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came of it: `slowest` is a page's and `settled_after` the last change's, in seconds."""

    what: str
    findings: oracle.Findings
    slowest: float
    settled_after: float

    @property
    def is_clean(self) -> bool:
        return self.findings.is_clean and set(self.findings.states) == {"verified"} and self.slowest < 1 and self.settled_after < 60

    def __str__(self) -> str:
        return f"Redis {self.what}: {self.findings}, slowest page {self.slowest:.2f} s, all done {self.settled_after:.0f} s after the last"


@contextmanager
def place(folder: Path) -> Iterator[Ground]:
    """A ground on which the customers' side, too, reaches Redis through the middleman."""
    with ground(folder) as ground_:
        settings = ground_.place.rt.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{ground_.redis.port}/0"})
        rt = runtime.open_runtime(settings, pool_size=10)
        runtime.use(rt)
        yield replace(ground_, place=replace(ground_.place, rt=rt))
        rt.close()


@contextmanager
def silenced(place: Ground, what: str) -> Iterator[None]:
    """While Redis `refuses`, `says nothing`, or `is full`."""
    match what:
        case "refuses":
            place.redis.is_down = True
            place.redis.cut()
        case "says nothing":
            place.redis.is_mute = True
        case "is full":
            place.place.redis.config_set("maxmemory-policy", "noeviction")
            place.place.redis.config_set("maxmemory", "1")
        case _:
            raise ValueError(f"Redis cannot be made to {what}")
    try:
        yield
    finally:
        place.redis.is_down = place.redis.is_mute = False
        place.place.redis.config_set("maxmemory", "0")


def choose(place: Ground, what: str, people: int, seconds: float = 0) -> Tally:
    """So many customers choose, spread over so many seconds; what they chose is awaited before the silence is over."""
    verbs = list(islice(cycle(VERBS), people))
    chosen = dict(zip(place.place.settle_in(*verbs), verbs, strict=True))
    took: list[float] = []

    def timed(page: Callable[[], object]) -> None:
        began = time.monotonic()
        page()
        took.append(time.monotonic() - began)

    with silenced(place, what), ThreadPoolExecutor(6) as pool:
        began = time.monotonic()

        def visit(number: int) -> None:
            resident, verb = list(chosen.items())[number]
            time.sleep(max(0, began + number * seconds / people - time.monotonic()))
            timed(lambda: place.place.answer(resident))
            timed(lambda: place.place.decide(resident, verb))

        list(pool.map(visit, range(people)))
        settled_after = place.settle(120)
        findings = oracle.judge(place.place, chosen)
    return Tally(what=what, findings=findings, slowest=max(took), settled_after=settled_after)
