"""Starting each peer as its documentation has it in production, on the run's PostgreSQL and Redis."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import events, servers
from bench.peers import packages

PROGRAMS = Path(__file__).resolve().parent / "programs"
# Both have their requests answered one after the other in each process, as gunicorn does unless told otherwise.
DJSTRIPE_PROCESSES = 2
FLASK_PROCESSES = 4
_MODEL = "djstripe_model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a peer takes webhooks, and who answers there."""

    port: int
    path: str
    program: servers.Program


def stub(house: servers.House, **options: int) -> tuple[str, servers.Program]:
    """A Stripe that answers at once; its URL."""
    port = servers.free_port()
    given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    program = house.start(f"stub-{port}", [sys.executable, "-m", "bench.stub", str(port), *given], servers.plain_environ())
    servers.wait(program, servers.listens(port))
    return f"http://127.0.0.1:{port}", program


def prepare_djstripe(house: servers.House, stripe: str) -> str:
    """Make the database that dj-stripe's are copied from (its migrations take their time); the path of its webhook."""
    house.database(_MODEL)
    command = [packages.DJSTRIPE.python, str(PROGRAMS / "djstripe_site.py")]
    prepared = subprocess.run(command, env=_djstripe_environ(house, stripe, _MODEL), capture_output=True, text=True, check=False)
    if prepared.returncode:
        raise servers.NotStarted(f"dj-stripe: {prepared.stderr[-1500:]}")
    return prepared.stdout.split()[-1]


@contextmanager
def djstripe(house: servers.House, stripe: str, path: str, *, store_only: bool) -> Iterator[Door]:
    """dj-stripe on gunicorn; with `store_only` its processing is left out by the callback that it offers for that."""
    name = "djstripe_store" if store_only else "djstripe"
    house.postgres.create_database(name, _MODEL)
    port = servers.free_port()
    command = [packages.DJSTRIPE.python, "-m", "gunicorn", "--workers", str(DJSTRIPE_PROCESSES), "--bind", f"127.0.0.1:{port}"]
    environ = _djstripe_environ(house, stripe, name) | ({"BENCH_STORE_ONLY": "1"} if store_only else {})
    program = house.start(name, [*command, "--log-level", "warning", "djstripe_site:application"], environ)
    with _open(program, port):
        yield Door(port=port, path=path, program=program)


def _djstripe_environ(house: servers.House, stripe: str, database: str) -> dict[str, str]:
    given = servers.plain_environ(
        BENCH_PG_HOST=str(house.postgres.socket_dir),
        BENCH_PG_NAME=database,
        BENCH_PG_USER="holdfast_app",
        BENCH_STRIPE=stripe,
        BENCH_SECRET=events.SECRET,
    )
    return given | {"PYTHONPATH": str(PROGRAMS)}


@contextmanager
def flask_rq(house: servers.House) -> Iterator[Door]:
    """The usual handler on gunicorn."""
    port = servers.free_port()
    command = [packages.FLASK_RQ.python, "-m", "gunicorn", "--workers", str(FLASK_PROCESSES), "--bind", f"127.0.0.1:{port}"]
    program = house.start("flask_rq", [*command, "--log-level", "warning", "flask_rq:application"], flask_environ(house))
    with _open(program, port):
        yield Door(port=port, path="/webhooks/stripe", program=program)


def flask_environ(house: servers.House, database: str = "") -> dict[str, str]:
    """What the usual handler's processes run with."""
    given = servers.plain_environ(BENCH_REDIS=house.valkey.url, BENCH_SECRET=events.SECRET, BENCH_DATABASE=database)
    return given | {"PYTHONPATH": str(PROGRAMS)}


@contextmanager
def sync_engine(house: servers.House) -> Iterator[Door]:
    """stripe-sync-engine behind Node's HTTP server, one process, ten connections, no reads of Stripe."""
    house.database("sync_engine")
    port = servers.free_port()
    # Packages are looked for beside the program.
    program_file = packages.SYNC_ENGINE.home / "sync_engine.mjs"
    program_file.write_text((PROGRAMS / "sync_engine.mjs").read_text())
    # Its parser wants a host, and takes the socket's folder from the query; its migrations want to act as postgres.
    url = house.postgres.url("sync_engine", "postgres").replace("@/", "@localhost/")
    environ = servers.plain_environ(BENCH_DATABASE=url, BENCH_SECRET=events.SECRET, BENCH_PORT=str(port), NODE_ENV="production")
    program = house.start("sync_engine", ["node", str(program_file)], environ, cwd=packages.SYNC_ENGINE.home)
    with _open(program, port):
        yield Door(port=port, path="/", program=program)


def rq_backlog(house: servers.House, bodies: list[bytes], workers: int) -> float:
    """Events a second that RQ's worker pool (SimpleWorkers, one job for each event) gets through, from its first to its last."""
    house.redis.flushall()
    database = house.database("flask_rq")
    python = packages.FLASK_RQ.python
    environ = flask_environ(house, database)
    create = "import os, psycopg, flask_rq; psycopg.connect(os.environ['BENCH_DATABASE'], autocommit=True).execute(flask_rq.TABLE)"
    subprocess.run([python, "-c", create], env=environ, check=True)
    backlog = servers.VAR / "backlog.jsonl"
    backlog.write_bytes(b"\n".join(body.replace(b"\n", b" ") for body in bodies))
    command = [str(packages.FLASK_RQ.home / "bin" / "rq"), "worker-pool", "stripe", "-n", str(workers), "-u", house.valkey.url]
    pool = house.start("rq_pool", [*command, "-w", "rq.worker.SimpleWorker", "--logging-level", "WARNING"], environ)
    try:
        servers.wait(pool, lambda: int(house.redis.scard("rq:workers")) >= workers)
        time.sleep(1.0)
        # The doorbells come faster than they are answered, so the clock starts with the first of them.
        filler = subprocess.Popen([python, str(PROGRAMS / "flask_rq_backlog.py"), str(backlog)], env=environ)
        servers.wait(pool, lambda: _left(house) > 0)
        begun = time.perf_counter()
        filler.wait()
        servers.wait(pool, lambda: _left(house) == 0, 300)
        return len(bodies) / (time.perf_counter() - begun)
    finally:
        pool.stop()
        house.redis.flushall()


def _left(house: servers.House) -> int:
    return int(house.redis.llen("rq:queue:stripe")) + int(house.redis.zcard("rq:wip:stripe"))


@contextmanager
def _open(program: servers.Program, port: int) -> Iterator[None]:
    try:
        servers.wait(program, servers.listens(port))
        time.sleep(1.0)  # every process of it is to be up
        yield
    finally:
        program.stop()
