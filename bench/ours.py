"""Holdfast as an operator runs it: the Procfile's own lines, on the run's servers, with as many connected accounts as asked for."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from bench import events, servers
from connect_app import config, migrations, runtime
from connect_app.modes import Mode
from connect_app.stripe_gateway import objects
from connect_app.workspaces import openings
from sandbox import embedded
from webhooks import events as understood
from webhooks import store

SERVER = "connect_app.server"
PATH = "/webhooks/stripe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A workspace and its connection."""

    workspace_id: str
    slug: str
    connection_id: str
    account: str


@dataclass(slots=True, kw_only=True)
class Ours:
    """Our side of a comparison."""

    house: servers.House
    database: str
    environ: dict[str, str]
    rt: runtime.Runtime
    homes: list[Home]

    @property
    def superuser(self) -> str:
        """The database's URL for one who sees every tenant."""
        return self.house.postgres.url(self.database, "postgres")

    def execute(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """One statement past row level security; gives its rows."""
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def columns(self, table: str) -> list[str]:
        """The columns that are written; the others the database works out."""
        given = "select column_name from information_schema.columns where table_name = %(table)s and is_generated = 'NEVER'"
        return [row[0] for row in self.execute(given, table=table)]

    def forget_events(self) -> None:
        """No event was ever received, and the mirror holds no subscription."""
        self.execute("truncate webhook_pending, webhook_events, webhook_lanes, subscriptions")
        self.execute("delete from work where kind in ('drain', 'refetch')")
        self.house.redis.flushall()

    def connect(self, account: str) -> Home:
        """A workspace of its own for this account, by the product's own verb; nothing is read in."""
        found = objects.read_account(
            {"id": account, "object": "account", "business_profile": {"name": account}, "email": "owner@example.com", "country": "US"}
        )
        with self.rt.transaction() as session:
            opened = openings.create(
                session, account=found, mode=Mode.TEST, scope="read_write", now=self.rt.now(), ring=self.rt.ring, by="operator"
            )
        home = Home(workspace_id=opened.place.id, slug=opened.place.slug, connection_id=opened.connection_id, account=account)
        self.homes.append(home)
        return home

    def keep(self, bodies: list[bytes]) -> float:
        """Keep these events as the door would, all in one commit; gives when that was (`time.perf_counter`)."""
        with self.rt.transaction() as session:
            session.connection().exec_driver_sql("set local statement_timeout = 0")
            for start in range(0, len(bodies), 500):
                store.keep(session, [understood.envelope(body) for body in bodies[start : start + 500]], self.rt.now())
        return time.perf_counter()

    def waiting(self) -> int:
        """How many events are kept and not yet understood."""
        return int(self.execute("select count(*) from webhook_pending")[0][0])

    @contextmanager
    def web(self, server: str = SERVER, prefix: str = "", **more: str) -> Iterator[tuple[int, servers.Program]]:
        """The Procfile's web process on a free port; `server` is another module that serves another application in the same way.

        `prefix` goes before the command: `taskset -c 0`.
        """
        port = servers.free_port()
        environ = {**self.environ, "HOLDFAST_PORT": str(port), **more}
        line = procfile()["web"]
        if line.count(f"python -m {SERVER} ") != 1:
            raise servers.NotStarted(f"the Procfile's web line does not start {SERVER}")
        line = line.replace(f"python -m {SERVER} ", f"{prefix} python -m {server} ")
        program = self.house.start(f"web-{server}", ["bash", "-c", line], environ)
        servers.wait(program, servers.listens(port))
        time.sleep(0.5)  # every process of it is to be up
        try:
            yield port, program
        finally:
            program.stop()

    @contextmanager
    def workers(self, queue: str, number: int, **more: str) -> Iterator[list[servers.Program]]:
        """So many workers of a queue, warm and waiting."""
        started = []
        for place in range(number):
            command = [sys.executable, "-m", "jobs.worker", queue]
            started.append(self.house.start(f"worker-{queue}-{place}", command, {**self.environ, **more}))
        for program in started:
            servers.wait(program, lambda program=program: "worker.ready" in program.said())  # type: ignore[misc]
        time.sleep(1.0)  # ready is said just before the worker listens
        try:
            yield started
        finally:
            for program in started:
                program.stop()


def procfile() -> Mapping[str, str]:
    """The command of each kind of process."""
    lines = (servers.ROOT / "Procfile").read_text().splitlines()
    return {name: command.strip() for name, _, command in (line.partition(":") for line in lines if line.strip())}


def opened(house: servers.House, database: str, accounts: int, stripe: str = "", **more: str) -> Ours:
    """A migrated database with so many connected accounts. `stripe` is where the Stripe API is; nobody listens at the default."""
    url = house.database(database)
    api = stripe or "http://127.0.0.1:9"
    settings = {
        "DATABASE_URL": url,
        "REDIS_URL": house.valkey.url,
        "HOLDFAST_SECRET_KEYS": embedded.secret_keys(),
        "STRIPE_TEST_SECRET_KEY": "sk_test_bench",
        "STRIPE_TEST_CLIENT_ID": "ca_bench",
        "STRIPE_TEST_WEBHOOK_SECRETS": events.SECRET,
        "STRIPE_API_BASE": api,
        "STRIPE_CONNECT_BASE": api,
        **more,
    }
    rt = runtime.open_runtime(config.load(settings), pool_size=5)
    migrations.upgrade(rt.engine)
    ours = Ours(house=house, database=database, environ=servers.plain_environ(**settings), rt=rt, homes=[])
    for number in range(accounts):
        ours.connect(events.account(number))
    return ours
