"""The web workers are replaced under a steady stream of webhooks and pages, and nobody notices."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from connect_app import config, db, migrations
from tests import make
from tests.faults import stage

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

HOST = "127.0.0.1"
# What a server may answer a well-meaning client with while it restarts: nothing but success.
GONE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The web server as an operator starts it, and its database."""

    port: int
    process: subprocess.Popen[bytes]
    environ: dict[str, str]
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def workers(self) -> set[int]:
        """The process ids of the workers."""
        return {int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()}

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.environ["DATABASE_URL"], autocommit=True)


def wait(is_so: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "did not come about"
        time.sleep(0.05)


def answers(web: Web) -> bool:
    try:
        return requests.get(f"{web.url}/readyz", timeout=10).status_code == 200
    except (requests.ConnectionError, requests.Timeout):
        return False


def start(port: int, environ: dict[str, str], log: Path) -> Web:
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "connect_app.server", "--port", str(port), "--workers", "2"],
            cwd=stage.ROOT,
            env={**environ, "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    return Web(port=port, process=process, environ=environ, log=log)


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A migrated database and a Redis."""
    with stage.servers() as (database_url, redis_url, _):
        given = {**make.environ(), "DATABASE_URL": database_url, "REDIS_URL": redis_url}
        for mode in ("TEST", "LIVE"):
            given[f"STRIPE_{mode}_SECRET_KEY"] = f"sk_{mode.lower()}_1"
            given[f"STRIPE_{mode}_CLIENT_ID"] = f"ca_{mode.lower()}"
            given[f"STRIPE_{mode}_WEBHOOK_SECRETS"] = make.WEBHOOK_SECRETS[mode]
        given["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path_factory.mktemp("counters"))
        engine = db.engine(config.load(given).database_url)
        migrations.upgrade(engine)
        engine.dispose()
        yield given


@pytest.fixture(scope="module")
def web(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One server for all tests: whatever they do to it, it goes on."""
    started = start(stage.free_port(), environ, tmp_path_factory.mktemp("web") / "web.log")
    wait(lambda: answers(started))
    yield started
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait(30) == 0, started.log.read_text()


@dataclass(slots=True)
class Stream:
    """Callers that ask without a pause until they are told to stop. Each failure is a sentence."""

    web: Web
    acknowledged: list[str] = field(default_factory=list)
    pages: int = 0
    failures: list[str] = field(default_factory=list)
    reconnects: int = 0
    slowest: float = 0
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        for caller in range(3):
            for is_kept_alive in (True, False):
                for ask in (self._webhook, self._page):
                    name = f"{ask.__name__}-{caller}-{'kept' if is_kept_alive else 'fresh'}"
                    thread = threading.Thread(target=self._ask_on, args=(ask, is_kept_alive, name), name=name)
                    thread.start()
                    self.threads.append(thread)

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(30)

    def _ask_on(self, ask: Callable[..., None], is_kept_alive: bool, name: str) -> None:
        number = 0
        connection = http.client.HTTPConnection(HOST, self.web.port, timeout=30)
        used = 0
        while not self.stop.is_set():
            number += 1
            began = time.monotonic()
            try:
                if not is_kept_alive:
                    # Let in, and yet to say what they want: the server may change between the two.
                    connection.connect()
                    time.sleep(0.05)
                try:
                    ask(connection, f"evt_{self.web.process.pid}_{name.replace('-', '_')}_{number}")
                except GONE:
                    # A server may close a connection on which nothing is asked, and every client knows what to do about it.
                    if not used:
                        raise
                    self.reconnects += 1
                    connection.close()
                    ask(connection, f"evt_{self.web.process.pid}_{name.replace('-', '_')}_{number}")
                used += 1
            except Exception as problem:
                self.failures.append(f"{name} {number}: {type(problem).__name__}: {problem}")
                connection.close()
            self.slowest = max(self.slowest, time.monotonic() - began)
            if not is_kept_alive:
                connection.close()
                used = 0
        connection.close()

    def _webhook(self, connection: http.client.HTTPConnection, id: str) -> None:
        event = {"id": id, "object": "event", "type": "x.y", "created": int(time.time()), "livemode": False, "account": "acct_rolling"}
        raw, header = make.signed(json.dumps(event).encode())
        connection.request("POST", "/webhooks/stripe", raw, {"Stripe-Signature": header})
        self._expect(connection.getresponse(), 200)
        self.acknowledged.append(id)

    def _page(self, connection: http.client.HTTPConnection, _id: str) -> None:
        connection.request("GET", "/sign-in")
        self._expect(connection.getresponse(), 200)
        self.pages += 1

    @staticmethod
    def _expect(response: http.client.HTTPResponse, status: int) -> None:
        body = response.read()
        if response.status != status:
            raise AssertionError(f"{response.status}: {body[:200]!r}")


def replace_under_load(web: Web) -> Stream:
    """A stream that went on while both workers were replaced."""
    stream = Stream(web)
    before = web.workers()
    stream.begin()
    try:
        wait(lambda: len(stream.acknowledged) > 50)
        web.process.send_signal(signal.SIGHUP)
        wait(lambda: len(web.workers()) == 2 and not web.workers() & before, 60)
        so_far = len(stream.acknowledged)
        wait(lambda: len(stream.acknowledged) > so_far + 50)
    finally:
        stream.end()
    return stream


def test_workers_are_replaced_under_load_and_not_one_request_fails(web: Web) -> None:
    stream = replace_under_load(web)
    assert stream.failures == []
    with web.connect() as connection:
        found = {row[0] for row in connection.execute("select id from webhook_events")}
    assert found >= set(stream.acknowledged)
    told = requests.get(f"{web.url}/metrics", timeout=10).text
    [counted] = [line for line in told.splitlines() if line.startswith("holdfast_webhook_events_kept_total ")]
    assert float(counted.split()[1]) >= len(stream.acknowledged)


def test_a_successor_that_takes_long_to_load_is_waited_for_and_one_that_cannot_load_changes_nothing(
    environ: dict[str, str], tmp_path: Path
) -> None:
    # What each worker comes by when it loads: nothing, a long time, or the end.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "class Way:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'connect_app.wsgi':\n"
        f"            what = open({str(tmp_path / 'what')!r}).read()\n"
        "            if what == 'broken':\n"
        "                raise RuntimeError('planted')\n"
        "            time.sleep(float(what))\n"
        "sys.meta_path.insert(0, Way())\n"
    )
    what = tmp_path / "what"
    what.write_text("0")
    web = start(stage.free_port(), {**environ, "PYTHONPATH": str(tmp_path)}, tmp_path / "web.log")
    wait(lambda: answers(web))
    wait(lambda: len(web.workers()) == 2)
    before = web.workers()
    what.write_text("broken")
    web.process.send_signal(signal.SIGHUP)
    wait(lambda: "was not replaced" in web.log.read_text())
    assert web.workers() == before
    assert answers(web)
    # Longer than anybody would wait without asking.
    what.write_text("4")
    loaded = time.monotonic() + 4
    web.process.send_signal(signal.SIGHUP)
    wait(lambda: len(web.workers()) == 3)
    while time.monotonic() < loaded:
        assert web.workers() > before, "the old one went before the new one was there"
        assert answers(web)
    what.write_text("0")
    wait(lambda: len(web.workers()) == 2 and not web.workers() & before)
    assert answers(web)
    web.process.send_signal(signal.SIGTERM)
    assert web.process.wait(30) == 0


def test_a_worker_that_is_killed_is_replaced(web: Web) -> None:
    before = web.workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait(lambda: len(web.workers()) == 2 and victim not in web.workers())
    assert answers(web)


@pytest.mark.parametrize("delay", [0.1, 0.9])
def test_told_to_stop_while_it_starts_it_stops(environ: dict[str, str], tmp_path: Path, delay: float) -> None:
    web = start(stage.free_port(), environ, tmp_path / "web.log")
    wait(lambda: bool(web.workers()))
    time.sleep(delay)  # somewhere between the first import and the first request
    web.process.send_signal(signal.SIGTERM)
    assert web.process.wait(15) is not None


def deliver_in_two(port: int, id: str, pause: Callable[[], None]) -> bytes:
    """One webhook whose body comes in two halves with `pause` between them; gives the answer's first line."""
    event = {"id": id, "object": "event", "type": "x.y", "created": int(time.time()), "livemode": False}
    raw, header = make.signed(json.dumps(event).encode())
    head = f"POST /webhooks/stripe HTTP/1.1\r\nHost: {HOST}\r\nStripe-Signature: {header}\r\nContent-Length: {len(raw)}\r\n\r\n"
    with socket.create_connection((HOST, port), timeout=20) as caller:
        caller.sendall(head.encode() + raw[:50])
        time.sleep(0.3)
        pause()
        caller.sendall(raw[50:])
        return caller.recv(65536).split(b"\r\n")[0]


def test_told_to_stop_it_finishes_what_it_has_in_hand(environ: dict[str, str], tmp_path: Path) -> None:
    web = start(stage.free_port(), environ, tmp_path / "web.log")
    wait(lambda: answers(web))

    def stop() -> None:
        web.process.send_signal(signal.SIGTERM)
        time.sleep(1)

    assert deliver_in_two(web.port, "evt_in_hand", stop) == b"HTTP/1.1 200 OK"
    assert web.process.wait(30) == 0
    with web.connect() as connection:
        assert connection.execute("select 1 from webhook_events where id = 'evt_in_hand'").fetchone()


def test_callers_who_are_slow_or_say_too_much_keep_nobody_else_waiting(web: Web) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection((HOST, web.port), timeout=30)) for _ in range(200)]
        for place, caller in enumerate(silent):
            # Nothing at all, half a head, or the head of a body that never comes.
            caller.sendall(
                (b"", b"GET / HTTP/1.1\r\nHo", b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")[place % 3]
            )
        began = time.monotonic()
        for _ in range(20):
            assert requests.get(f"{web.url}/healthz", timeout=10).status_code == 200
        assert time.monotonic() - began < 5
        # Whoever has not said what they want within the time for it is sent away.
        silent[1].settimeout(25)
        with contextlib.suppress(ConnectionResetError):
            while silent[1].recv(4096):
                pass


def test_one_event_that_comes_to_both_processes_at_once_under_either_secret_is_one_row(web: Web) -> None:
    event = {"id": "evt_both", "object": "event", "type": "x.y", "created": int(time.time()), "livemode": False, "account": "acct_unknown"}
    callers = 32
    barrier = threading.Barrier(callers)
    statuses: list[int] = []

    def deliver(caller: int) -> None:
        raw, header = make.signed(event, mode=("test", "live")[caller % 2])
        with requests.Session() as session:
            session.get(f"{web.url}/healthz", timeout=20)
            barrier.wait(20)
            answer = session.post(f"{web.url}/webhooks/stripe", data=raw, headers={"Stripe-Signature": header}, timeout=20)
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=deliver, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * callers
    with web.connect() as connection:
        rows = connection.execute(
            "select e.state, p.lane_id from webhook_events e join webhook_pending p on p.event_id = e.id where e.id = 'evt_both'"
        )
        assert rows.fetchall() == [("pending", "acct_unknown/test")]


def test_heads_without_measure_are_refused(web: Web) -> None:
    with socket.create_connection((HOST, web.port), timeout=10) as caller, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n")
        first = caller.recv(65536).split(b"\r\n")[0]
        assert first == b"" or first.split()[1] in {b"400", b"413", b"431"}, first
    with socket.create_connection((HOST, web.port), timeout=10) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(500)) + b"\r\n")
        assert caller.recv(65536).split()[1] in {b"400", b"431"}


def test_a_body_in_chunks_is_kept_and_an_endless_one_refused(web: Web) -> None:
    raw, header = make.signed(
        json.dumps({"id": "evt_chunks", "object": "event", "type": "x.y", "created": int(time.time()), "livemode": False}).encode()
    )
    answer = requests.post(f"{web.url}/webhooks/stripe", data=iter([raw[:20], raw[20:]]), headers={"Stripe-Signature": header}, timeout=10)
    assert answer.status_code == 200
    endless = requests.post(f"{web.url}/webhooks/stripe", data=iter([b" " * 65536] * 17), headers={"Stripe-Signature": header}, timeout=10)
    assert endless.status_code == 413


@pytest.mark.parametrize("megabytes", [5, 20])
def test_a_caller_with_far_too_much_hears_so(web: Web, megabytes: int) -> None:
    caller = http.client.HTTPConnection(HOST, web.port, timeout=30)
    caller.request("POST", "/webhooks/stripe", b" " * (megabytes << 20), {"Stripe-Signature": "t=1,v1=1"})
    assert caller.getresponse().status == 413
    caller.close()
