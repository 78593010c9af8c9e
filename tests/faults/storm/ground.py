"""What storms pass over: how large one is, and real servers, the web server and workers of one tree, and a local Stripe."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis

from connect_app import config, migrations, runtime
from sandbox.stripe.server import Server
from tests import make
from tests.faults import stage

LEASE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything; the shares are the issue's."""

    events: int
    accounts: int
    strangers: int
    seconds: float
    threads: int
    patience: float
    least_kills: int = 2
    duplicates: float = 0.20
    undelivered: float = 0.05
    poison: float = 0.01
    unknown: float = 0.05
    late: float = 0.05
    test_mode: float = 0.10
    # What happens while the storm is on, at real moments, against reads of the same second.
    live: float = 0.2


SMALL = Scale(events=500, accounts=8, strangers=2, seconds=4, threads=8, patience=90)


def large(events: int) -> Scale:
    """The issue's own, for a target that may take its time."""
    return Scale(events=events, accounts=50, strangers=4, seconds=max(10, events / 250), threads=16, patience=600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What storms pass over: real servers, the web server and workers of one tree, and an address where a local Stripe answers."""

    rt: runtime.Runtime
    redis: Redis
    server: Server
    url: str
    crew: stage.Crew
    poison: set[str] = field(default_factory=set)
    """The ids of all events that were sent to be put aside."""


@contextmanager
def ground(folder: Path, edits: tuple[stage.Edit, ...] = ()) -> Iterator[Ground]:
    """The ground, with bugs planted in its tree."""
    with stage.servers() as (database_url, redis_url, redis), stage.local_stripe_here() as server:
        environ = {
            **make.environ(server.local),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HOLDFAST_LEASE_SECONDS": str(LEASE),
            "HOLDFAST_SWEEP_SECONDS": "0.5",
            "PATH": "/usr/bin:/bin",
        }
        rt = runtime.open_runtime(config.load({name: value for name, value in environ.items() if name != "PATH"}), pool_size=10)
        runtime.use(rt)
        tree = stage.copy_tree(folder / "tree", edits)
        crew = stage.Crew(tree=tree, environ=environ, folder=folder)
        try:
            migrations.upgrade(rt.engine)
            crew.start("events", "events", "events")
            with stage.web(tree, environ, folder) as url:
                until(
                    lambda: crew.logged("worker.ready"),
                    60,
                    lambda: f"a worker is ready; the first says {crew.workers[0].log.read_text()[-2000:]}",
                )
                yield Ground(rt=rt, redis=redis, server=server, url=f"{url}/webhooks/stripe", crew=crew)
        finally:
            crew.dismiss()
            rt.close()


def until(true: Callable[[], Any], seconds: float, what: Callable[[], str]) -> None:
    """Wait for a state."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what()}"
        time.sleep(0.05)
