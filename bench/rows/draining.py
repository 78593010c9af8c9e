"""How fast kept events reach the mirror: a backlog, and news that streams in meanwhile."""

import time

from bench import events, figures, load, ours, servers
from bench.peers import packages, running
from bench.plan import Plan
from bench.rows.acknowledging import ACCOUNTS

WORKERS = 2
_PATIENCE = 180.0


def measure(
    house: servers.House, us: ours.Ours, plan: Plan, missing: dict[str, str], engine_rate: float | None
) -> tuple[list[figures.Row], list[figures.Row]]:
    """The rows about draining, and those about memory. `engine_rate` is what sync-engine takes in its best case."""
    rates, peers = [], []
    peer_problem = f"missing: {missing[packages.FLASK_RQ.folder]}" if packages.FLASK_RQ.folder in missing else ""
    maker = events.Maker(subscriptions=20_000, accounts=[home.account for home in us.homes[:ACCOUNTS]])
    plain = events.Maker(subscriptions=20_000, accounts=[])
    memory: list[float] = []
    for _ in range(plan.runs):
        us.forget_events()
        with us.workers("events", WORKERS) as workers:
            rates.append(_drained(house, us, list(maker.bodies(plan.backlog, int(time.time()) - 86_400))))
            memory += [size for worker in workers for size in servers.memory(worker.processes())]
        if not peer_problem:
            house.settle()
            try:
                peers.append(running.rq_backlog(house, list(plain.bodies(plan.rq_backlog, int(time.time()) - 86_400)), WORKERS))
            except servers.NotStarted as problem:
                peer_problem = f"missing: {str(problem)[-300:]}"
    us.forget_events()
    at_once = [_at_once(house, us, plan) for _ in range(plan.runs)]
    us.forget_events()
    acknowledged = figures.typical([one.run for one in at_once])
    web_memory = max(size for one in at_once for size in one.web_memory)
    rows = [
        figures.Row(
            name=f"events drained into the mirror, {WORKERS} workers, against one RQ job for each event, {WORKERS} SimpleWorkers",
            unit="events/s",
            ours=figures.median(rates),
            peer=figures.median(peers) if peers else None,
            reach=figures.Reach.AT_LEAST,
            limit=40,
            of_ratio=True,
            remark=peer_problem or f"a backlog of {plan.backlog:,} events of {ACCOUNTS} accounts; theirs of {plan.rq_backlog:,}",
        ),
        figures.Row(
            name="accepted and mirrored at once, against stripe-sync-engine in its best case",
            unit="events/s",
            ours=figures.median([one.rate for one in at_once]),
            peer=engine_rate,
            reach=figures.Reach.AT_LEAST,
            limit=3.5,
            of_ratio=True,
            remark=f"accepted meanwhile: {acknowledged.rate:.0f}/s" + (f"; errors: {acknowledged.errors}" if acknowledged.errors else ""),
        ),
        figures.Row(
            name="backlog 5 s after a stream at full speed ended",
            unit="events",
            ours=max(one.left for one in at_once),
            reach=figures.Reach.AT_MOST,
            limit=0,
            remark="the largest of the runs",
        ),
        figures.Row(
            name="acknowledgement, 99th percentile at 32 connections, while draining",
            unit="ms",
            ours=acknowledged.p99,
            reach=figures.Reach.AT_MOST,
            limit=25,
        ),
    ]
    weights = [
        figures.Row(name="memory of a web process after load", unit="MB", ours=web_memory, reach=figures.Reach.AT_MOST, limit=150),
        figures.Row(name="memory of an events worker after a backlog", unit="MB", ours=max(memory), reach=figures.Reach.AT_MOST, limit=150),
    ]
    return rows, weights


class _AtOnce:
    """One run of taking in and mirroring at the same time."""

    def __init__(self, run: figures.Run, seconds: float, left: int, web_memory: list[float]) -> None:
        self.run = run
        self.rate = run.answered / seconds
        self.left = left
        self.web_memory = web_memory


def _drained(house: servers.House, us: ours.Ours, bodies: list[bytes]) -> float:
    house.settle()
    begun = us.keep(bodies)
    wait_empty(us)
    took = time.perf_counter() - begun
    done = us.execute("select count(*) from webhook_events where state = 'done'")[0][0]
    if done != len(bodies):
        raise RuntimeError(f"{len(bodies)} events were kept and {done} understood")
    return len(bodies) / took


def _at_once(house: servers.House, us: ours.Ours, plan: Plan) -> _AtOnce:
    us.forget_events()
    with us.web() as (port, web), us.workers("events", WORKERS):
        house.settle()
        run = load.finish(load.start(port, ours.PATH, seconds=max(plan.seconds, 3.0), accounts=ACCOUNTS))
        ended = time.perf_counter()
        web_memory = servers.memory(web.processes())
        left = 0
        while waiting := us.waiting():
            if time.perf_counter() - ended >= 5.0 and not left:
                left = waiting
            if time.perf_counter() - ended > _PATIENCE:
                break
            time.sleep(0.02)
        # From the stream's first event to the last one mirrored; the generator's own start and end are nobody's work.
        return _AtOnce(run, run.seconds + max(0.0, time.time() - run.ended_at), left, web_memory)


def wait_empty(us: ours.Ours) -> None:
    """Until nothing waits to be understood. Raises RuntimeError after three minutes."""
    until = time.perf_counter() + _PATIENCE
    while us.waiting():
        if time.perf_counter() > until:
            raise RuntimeError(f"{us.waiting()} events are still waiting after {_PATIENCE:.0f} s")
        time.sleep(0.02)
