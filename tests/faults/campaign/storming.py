"""Campaign 1: hundreds of customers choose while workers are killed, Redis is flushed, PostgreSQL is shot and Stripe fails in nine ways."""

import contextlib
import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from jobs import queues
from tests.faults import stage, town
from tests.faults.campaign import oracle, records
from tests.faults.campaign.ground import Ground

# Of all calls that workers make, 30 % fail, each in one of these ways: the rates are tried in this order, one after the other. The other
# two of nine kinds are deaths, below. After `timeout_after`, `500_after` and `kill_after` Stripe has changed, and no worker knows.
FAULTS = {
    "500": 0.06,
    "500_after": 0.07,
    "429": 0.045,
    "lock_timeout": 0.045,
    "timeout_after": 0.05,
    "reset": 0.05,
    "slow": 0.03,
}
# The whole of a worker dies each time, half of the times at whatever moment it is, half of the times at its next call to Stripe.
DEATHS = ("any", "kill_before", "any", "kill_after")
VERBS = tuple(oracle.WANTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many choose, in how many seconds, and what befalls them: every so many seconds a death, a flush, PostgreSQL's end."""

    people: int
    seconds: float
    kill_every: float = 1.0
    flush_every: float = 30.0
    shoot_every: float = 60.0
    verbs: tuple[str, ...] = VERBS
    faults: tuple[tuple[str, float], ...] = tuple(FAULTS.items())
    # Of all calls, or only of those that write: a worker whose reads fail too comes to few writes while Stripe fails.
    struck: str = "*"
    deaths: tuple[str, ...] = DEATHS
    seed: int = 7
    patience: float = 120.0
    # On a machine so busy that workers die before they have asked anything, Stripe goes on failing until it has struck so often.
    least_struck: int = 0


SMALL = Scale(people=120, seconds=10, kill_every=0.7, flush_every=4, shoot_every=6, least_struck=60)
# The size that RELIABILITY's table asks of each landing; a release's is ten times that.
FULL = Scale(people=1000, seconds=130)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is left when the dust has settled."""

    seed: int
    findings: oracle.Findings
    struck: float
    deaths: int
    flushes: int
    shots: int
    won_twice: int
    overlaps: list[Any]
    settled_after: float
    oldest: float

    @property
    def is_clean(self) -> bool:
        return self.findings.is_clean and not self.won_twice and not self.overlaps

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.findings}\n"
            f"  Stripe failed {self.struck:.0%} of all calls, {self.deaths} workers died, {self.flushes} flushes,"
            f" PostgreSQL shot {self.shots} times\n"
            f"  sessions chosen twice {self.won_twice}, in two hands at once {len(self.overlaps)};"
            f" settled {self.settled_after:.0f} s after the faults ended, 99 % within {self.oldest:.0f} s of the choice"
        )


def rage(ground: Ground, scale: Scale) -> Verdict:
    """The whole of it, while the business listens; afterwards peace, and up to `patience` seconds to settle."""
    with records.listening(ground.place) as listener:
        ground.crew.start(queues.DELIVERIES)
        return _rage(ground, scale, listener)


def _rage(ground: Ground, scale: Scale, listener: records.Listener) -> Verdict:
    place, chance = ground.place, random.Random(scale.seed)
    verbs = list(islice(cycle(scale.verbs), scale.people))
    residents = place.settle_in(*verbs)
    chosen = dict(zip(residents, verbs, strict=True))
    ground.choices.update(chosen)
    quiet = len(place.stripe.control("GET", "requests"))
    born = len(ground.crew.workers)
    _fail(place, scale)
    wins: list[int] = []
    with ThreadPoolExecutor(6) as pool:
        began = time.monotonic()
        pace = scale.seconds / scale.people
        done = [pool.submit(_choose, place, began + number * pace, one, verbs[number], wins) for number, one in enumerate(residents)]
        flushes, shots, next_kill, deaths = 0, 0, began, cycle(scale.deaths)
        while time.monotonic() - began < scale.seconds or not all(each.done() for each in done):
            time.sleep(0.05)
            since = time.monotonic() - began
            if time.monotonic() >= next_kill:
                next_kill += scale.kill_every
                _kill(ground, next(deaths), chance)
                _ring_twice(place)
            if since > (flushes + 1) * scale.flush_every:
                flushes += 1
                place.redis.flushall()
            if since > (shots + 1) * scale.shoot_every:
                shots += 1
                shoot(place)
        for each in done:
            each.result()
    end = time.monotonic() + scale.patience / 2
    while (struck := _struck(place)) < scale.least_struck and time.monotonic() < end and not ground.is_settled():
        time.sleep(0.2)
    asked = len([call for call in place.stripe.control("GET", f"requests?since={quiet}") if call["path"].startswith("/v1/")])
    place.stripe.control("DELETE", "faults")
    settled_after = ground.settle(scale.patience)
    findings = oracle.judge(place, chosen)
    findings.misinformed = records.misinformed(place, chosen, listener)
    findings.unlike = records.unlike(place, chosen)
    return Verdict(
        seed=scale.seed,
        findings=findings,
        struck=struck / max(asked, 1),
        deaths=len(ground.crew.workers) - born,
        flushes=flushes,
        shots=shots,
        won_twice=sum(1 for each in wins if each > 1),
        overlaps=stage.overlaps([claim for claim in ground.crew.claims() if claim["kind"] == "action"], ground.lease),
        settled_after=settled_after,
        oldest=_oldest(place),
    )


def _kill(ground: Ground, how: str, chance: random.Random) -> None:
    """One worker dies now, or whichever asks Stripe next; or, as `none`, nobody."""
    if how == "any":
        ground.crew.kill_one(chance)
    elif how != "none":
        ground.place.stripe.control("POST", "faults", {"kind": how, "path": "/v1/*", "times": 1})


def _struck(place: town.Town) -> int:
    return sum(int(fault["hits"]) for fault in place.stripe.control("GET", "faults"))


def shoot(place: town.Town) -> None:
    """PostgreSQL dies as in a crash, with every connection, and comes back by recovery."""
    with contextlib.suppress(psycopg.Error, SQLAlchemyError):
        with place.rt.engine.connect() as connection:
            data = connection.execute(text("show data_directory")).scalar_one()
        stage.restart_postgres(data)


def _fail(place: town.Town, scale: Scale) -> None:
    more: Mapping[str, dict[str, float]] = {"slow": {"seconds": 1}, "timeout_after": {"seconds": 4}}
    only = {} if scale.struck == "*" else {"method": scale.struck}
    rules = [
        {"kind": kind, "rate": rate, "path": "/v1/*", "seed": scale.seed + number, **only, **more.get(kind, {})}
        for number, (kind, rate) in enumerate(scale.faults)
    ]
    if rules:
        place.stripe.control("POST", "faults", rules)


def _choose(place: town.Town, at: float, resident: town.Resident, verb: str, wins: list[int]) -> None:
    """The customer clicks, impatiently: twice at once, and again while the page does not come."""
    time.sleep(max(0, at - time.monotonic()))
    _patiently(lambda: place.answer(resident))
    won: list[bool] = []

    def click() -> None:
        won.append(bool(_patiently(lambda: place.decide(resident, verb))))

    clicks = [threading.Thread(target=click) for _ in range(2)]
    for each in clicks:
        each.start()
    for each in clicks:
        each.join()
    wins.append(sum(won))


def _patiently(do: Any) -> Any:
    """What a browser's owner does when the page says that the database is away."""
    end = time.monotonic() + 60
    while True:
        try:
            return do()
        except SQLAlchemyError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


def _ring_twice(place: town.Town) -> None:
    """Bells too many are normal (a flush, a sweep, a second ask): whatever is due is rung for again, even while it is in hand."""
    with contextlib.suppress(SQLAlchemyError):
        with place.rt.transaction() as session:
            ids = [row.id for row in session.execute(text("select id from work where queue = 'actions' and kind = 'action' limit 20"))]
        for work_id in ids:
            queues.ring(place.redis, queues.ACTIONS, work_id)


def _oldest(place: town.Town) -> float:
    """Seconds from a choice to its proof, for 99 % of them."""
    with place.rt.transaction(place.workspace_id) as session:
        took = session.execute(
            text("select percentile_disc(0.99) within group (order by extract(epoch from verified_at - asked_at)) from actions")
        )
        return float(took.scalar_one() or 0)
