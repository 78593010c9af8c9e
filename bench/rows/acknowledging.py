"""Durable acknowledgements a second and how long each takes: ours, the peers' and a route that does nothing, in turn."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

from bench import figures, load, ours, servers
from bench.peers import packages, running
from bench.plan import Plan

ACCOUNTS = 8


@dataclass(slots=True, kw_only=True)
class _Target:
    """Somebody who acknowledges: where, and how many distinct subscriptions the events are about. `before` is done before each run."""

    name: str
    port: int = 0
    path: str = ours.PATH
    subscriptions: int = 20_000
    accounts: int = 0
    before: Callable[[], object] = lambda: None
    problem: str = ""
    runs: list[figures.Run] = field(default_factory=list)

    @property
    def typical(self) -> figures.Run | None:
        return figures.typical(self.runs) if self.runs else None

    @property
    def rate(self) -> float | None:
        return self.typical.rate if self.typical else None


def measure(
    house: servers.House, us: ours.Ours, stripe: str, plan: Plan, missing: dict[str, str]
) -> tuple[list[figures.Row], float | None]:
    """The rows about acknowledging, and sync-engine's best rate. `missing` says why a peer (by folder) could not be installed."""
    with ExitStack() as running_now:
        web, _ = running_now.enter_context(us.web())
        nothing, _ = running_now.enter_context(us.web("bench.peers.nothing"))
        mine = _Target(name="ours", port=web, accounts=ACCOUNTS, before=us.forget_events)
        idle = _Target(name="nothing", port=nothing)
        path = ""
        if packages.DJSTRIPE.folder not in missing:
            try:
                path = running.prepare_djstripe(house, stripe)
            except servers.NotStarted as problem:
                missing[packages.DJSTRIPE.folder] = str(problem)[-300:]
        whole = _peer(running_now, packages.DJSTRIPE, missing, 100, lambda: running.djstripe(house, stripe, path, store_only=False))
        kept = _peer(running_now, packages.DJSTRIPE, missing, 100, lambda: running.djstripe(house, stripe, path, store_only=True))
        usual = _peer(running_now, packages.FLASK_RQ, missing, 20_000, lambda: running.flask_rq(house))
        usual.before = house.redis.flushall
        engine = _peer(running_now, packages.SYNC_ENGINE, missing, 500, lambda: running.sync_engine(house))
        targets = [target for target in (mine, whole, kept, usual, engine, idle) if target.port]
        for target in targets:
            _burst(house, target, max(plan.seconds, 2.0))  # to be warm: connections, caches, the rows that are then updated
            target.runs.clear()
        for _ in range(plan.runs):
            for target in targets:
                _burst(house, target, plan.seconds)
    us.forget_events()
    own = mine.typical
    ceiling = f"errors: {own.errors}" if own and own.errors else ""

    def compared(name: str, peer: _Target, limit: float, remark: str = "") -> figures.Row:
        shown = peer.typical
        told = f"p50/p99 ours {own.p50:.1f}/{own.p99:.1f} ms, theirs {shown.p50:.1f}/{shown.p99:.1f} ms" if own and shown else peer.problem
        if shown and shown.errors:
            told += f"; their errors: {shown.errors}"
        return figures.Row(
            name=f"acknowledgements: {name}",
            unit="events/s",
            ours=mine.rate,
            peer=peer.rate,
            reach=figures.Reach.AT_LEAST,
            limit=limit,
            of_ratio=True,
            remark="; ".join(part for part in (told, remark, ceiling) if part),
        )

    rows = [
        compared("dj-stripe, which verifies, stores and processes", whole, 90),
        compared("dj-stripe, which verifies and stores", kept, 15),
        compared("stripe-sync-engine in its best case", engine, 5, "500 subscriptions over and over"),
        compared("Flask and one RQ job for each event", usual, 9, "not durable: Redis keeps nothing"),
        compared("a Flask route that does nothing on the same server", idle, 0.55),
        figures.Row(
            name="acknowledgement, 99th percentile at 32 connections, alone",
            unit="ms",
            ours=own.p99 if own else None,
            reach=figures.Reach.AT_MOST,
            limit=12,
        ),
    ]
    return rows, engine.rate


def _burst(house: servers.House, target: _Target, seconds: float) -> None:
    target.before()
    house.settle()
    asked = load.start(target.port, target.path, seconds=seconds, subscriptions=target.subscriptions, accounts=target.accounts)
    try:
        target.runs.append(load.finish(asked))
    except RuntimeError as problem:
        target.problem = str(problem)


def _peer(
    stack: ExitStack,
    peer: packages.Peer,
    missing: dict[str, str],
    subscriptions: int,
    start: Callable[[], AbstractContextManager[running.Door]],
) -> _Target:
    target = _Target(name=peer.folder, subscriptions=subscriptions)
    if peer.folder in missing:
        target.problem = f"missing: {missing[peer.folder]}"
        return target
    try:
        door = stack.enter_context(start())
    except servers.NotStarted as problem:
        target.problem = f"missing, did not start: {str(problem)[-300:]}"
        return target
    target.port, target.path = door.port, door.path
    return target


def ceiling(house: servers.House, seconds: float) -> float:
    """How many events a second the load generator itself can send: against a server that only counts bytes."""
    port = servers.free_port()
    program = house.start("trivial", [sys.executable, "-m", "bench.trivial", str(port)], servers.plain_environ())
    servers.wait(program, servers.listens(port))
    try:
        return load.finish(load.start(port, "/", seconds=seconds, accounts=ACCOUNTS)).rate
    finally:
        program.stop()
