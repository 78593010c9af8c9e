"""Reading in an account: against what Stripe's rate limit allows, and whether memory stays flat."""

import threading
import time
from collections.abc import Callable

import requests

from bench import figures, ours, servers
from bench.peers import running
from bench.plan import Plan

LIMIT = 25
# What a page of Stripe's takes, in milliseconds.
LATENCY = 250
_KEY = "holdfast:budget:*"


def measure(house: servers.House, plan: Plan) -> list[figures.Row]:
    """The rows about the backfill: one run under Stripe's limit, one as fast as it goes, for memory."""
    rate, refused = _at_the_limit(house, plan)
    first, last, objects = _unthrottled(house, plan)
    return [
        figures.Row(
            name="backfill, against what the rate limit allows (25 requests/s of 100 objects)",
            unit="requests/s",
            ours=rate,
            peer=float(LIMIT),
            reach=figures.Reach.AT_LEAST,
            limit=0.9,
            of_ratio=True,
            remark=f"over {plan.read_in_seconds:.0f} s once a long list is under way, each page after {LATENCY} ms; refused: {refused}",
        ),
        figures.Row(
            name=f"memory of the backfill's worker after {objects:,} objects, against after a tenth of its longest list",
            unit="MB",
            ours=last,
            peer=first,
            reach=figures.Reach.AT_MOST,
            limit=1.1,
            of_ratio=True,
            remark="with the rate budget emptied again and again, so that it need not take hours",
        ),
    ]


def _at_the_limit(house: servers.House, plan: Plan) -> tuple[float, int]:
    url, stub = running.stub(house, size=10_000_000, limit=LIMIT, latency=LATENCY)
    us = ours.opened(house, "read_in_limited", 1, url)
    try:
        with us.workers("upkeep", 1):
            # The first requests are lists of one page, each of which waits for the one before.
            _until(lambda: _told(url)["answered"] > LIMIT, 60)
            before, begun = _told(url), time.perf_counter()
            time.sleep(plan.read_in_seconds)
            after = _told(url)
            return (after["answered"] - before["answered"]) / (time.perf_counter() - begun), after["refused"]
    finally:
        us.rt.close()
        stub.stop()
        house.redis.flushall()


def _unthrottled(house: servers.House, plan: Plan) -> tuple[float, float, int]:
    half = plan.read_in_objects // 2
    url, stub = running.stub(house, size=half)
    us = ours.opened(house, "read_in_memory", 1, url)
    done = threading.Event()

    def empty_the_budget() -> None:
        while not done.wait(0.005):
            for key in house.redis.scan_iter(_KEY):
                house.redis.delete(key)

    emptier = threading.Thread(target=empty_the_budget)
    emptier.start()
    try:
        with us.workers("upkeep", 1) as [worker]:
            # In one and the same list: a page of subscriptions weighs several times a page of customers, which are read before.
            _until(lambda: _read(us, "subscriptions") * 10 >= half, 1800)
            first = max(servers.memory(worker.processes()))
            _until(lambda: us.execute("select read_in->>'state' from connections")[0][0] == "done", 1800)
            last = max(servers.memory(worker.processes()))
        objects = sum(int(us.execute(f"select count(*) from {table}")[0][0]) for table in ("customers", "subscriptions"))
        return first, last, objects
    finally:
        done.set()
        emptier.join()
        us.rt.close()
        stub.stop()
        house.redis.flushall()


def _read(us: ours.Ours, stage: str) -> int:
    return int(us.execute("select coalesce((read_in->'counts'->>%(stage)s)::int, 0) from connections", stage=stage)[0][0])


def _told(url: str) -> dict[str, int]:
    answer: dict[str, int] = requests.get(f"{url}/v1/_bench", timeout=5).json()
    return answer


def _until(is_so: Callable[[], bool], seconds: float) -> None:
    until = time.perf_counter() + seconds
    while not is_so():
        if time.perf_counter() > until:
            raise RuntimeError("it did not come so far in time")
        time.sleep(0.05)
