"""What a run stands on: one PostgreSQL and one Valkey for everybody, and programs that are started, awaited and stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from redis import Redis

from sandbox import embedded

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "bench"
LOGS = VAR / "logs"


class NotStarted(Exception):
    """A program ended, or did not answer in time; the text ends with what it said."""


@dataclass(slots=True, kw_only=True)
class Program:
    """A program of ours or a peer's, with all that it has started."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        """SIGTERM to all of it, SIGKILL after ten seconds."""
        for kind, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(self.process.pid, kind)
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                break
        self.process.wait(5)

    def processes(self) -> list[int]:
        """The ids of all its processes that are alive."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    group = int((entry / "stat").read_text().rpartition(")")[2].split()[2])
                except (OSError, ValueError):
                    continue
                if group == self.process.pid:
                    found.append(int(entry.name))
        return found


@dataclass(slots=True, kw_only=True)
class House:
    """The servers of one run, and what runs on them."""

    postgres: embedded.Postgres
    valkey: embedded.Valkey
    redis: Redis
    programs: list[Program] = field(default_factory=list)

    def database(self, name: str) -> str:
        """A new, empty database of the application's role; its URL."""
        return self.postgres.create_database(name)

    def settle(self) -> None:
        """Write out what earlier runs left, so that no checkpoint of theirs falls into the next."""
        with self.postgres.admin() as connection:
            connection.execute("checkpoint")

    def shown(self, *names: str) -> dict[str, str]:
        """The PostgreSQL server's settings of these names."""
        with self.postgres.admin() as connection:
            return {name: str(connection.execute(f"show {name}").fetchone()[0]) for name in names}  # type: ignore[index]

    def start(self, name: str, command: list[str], environ: Mapping[str, str], cwd: Path = ROOT) -> Program:
        """Start a program; stop it by `program.stop()`, or it is stopped at the end of the run."""
        LOGS.mkdir(parents=True, exist_ok=True)
        log = LOGS / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=cwd, env=dict(environ), stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
            )
        program = Program(name=name, process=process, log=log)
        self.programs.append(program)
        return program


@contextmanager
def opened() -> Iterator[House]:
    """Fresh servers, and everything stopped and deleted afterwards."""
    postgres, valkey = embedded.start_postgres(), embedded.start_valkey()
    house = House(postgres=postgres, valkey=valkey, redis=Redis.from_url(valkey.url))
    try:
        yield house
    finally:
        for program in reversed(house.programs):
            program.stop()
        house.redis.close()
        valkey.stop()


def wait(program: Program, is_ready: Callable[[], bool], seconds: float = 60.0) -> Program:
    """Until it is ready. Raises NotStarted."""
    until = time.monotonic() + seconds
    while not is_ready():
        if program.process.poll() is not None or time.monotonic() > until:
            raise NotStarted(f"{program.name}: {program.said()[-1500:]}")
        time.sleep(0.05)
    return program


def listens(port: int) -> Callable[[], bool]:
    """Whether somebody takes connections there."""

    def ask() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ask


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plain_environ(**more: str) -> dict[str, str]:
    """An environment that holds nothing of the caller's but what programs need to run at all."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}"
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def count(url: str, query: str) -> int:
    """One number from a database, read past row level security."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def memory(processes: list[int]) -> list[float]:
    """The resident memory of each process in MB (10^6 bytes)."""
    found = []
    for number in processes:
        try:
            lines = Path(f"/proc/{number}/status").read_text().splitlines()
        except OSError:
            continue
        found += [int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS:")]
    return found
