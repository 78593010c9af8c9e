"""Everything the demo runs, as one object: servers, local Stripe, web, workers and shop. The browser tests start it too."""

import json
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from connect_app import config, migrations, runtime
from jobs import queues
from sandbox import configured, embedded, supervisor

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"


class PortTaken(Exception):
    """Something else listens where the demo wants to."""


class ServerLost(Exception):
    """The embedded PostgreSQL or Valkey ended, and the data with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the three web servers listen."""

    web: int
    stripe: int
    shop: int

    @classmethod
    def from_base(cls, text: str) -> "Ports":
        """The three from `PORT` on. Raises Refused."""
        highest = 65535 - 2
        if not text.isascii() or not text.isdigit() or len(text) > 5 or not 1 <= int(text) <= highest:
            raise configured.Refused(
                f"PORT is {text[:40]!r}, but must be a number from 1 to {highest}: the demo takes that port and the next two."
            )
        port = int(text)
        return cls(web=port, stripe=port + 1, shop=port + 2)

    def check(self) -> None:
        """Raises PortTaken, naming the port and the way out, before anything is started."""
        for name, port in (("Holdfast", self.web), ("the local Stripe", self.stripe), ("the shop", self.shop)):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except PermissionError:
                    raise configured.Refused(
                        f"PORT: this user may not listen on {port} ({name}). Choose a higher one: PORT=9000 make demo"
                    ) from None
                except OSError:
                    another = self.web + 1000 if self.web < 60000 else self.web - 1000
                    raise PortTaken(
                        f"Port {port} ({name}) is taken. Stop what listens there, or choose another: PORT={another} make demo"
                    ) from None


class Stage:
    """The running whole. Use as a context manager; leaving stops everything and deletes the data."""

    def __init__(self, ports: Ports, folder: Path, hear: supervisor.Hear) -> None:
        self.ports = ports
        self.folder = folder
        self.base_url = f"http://{HOST}:{ports.web}"
        self.stripe_url = f"http://{HOST}:{ports.stripe}"
        # Another site than Holdfast's, as in life: cookies ignore ports, so only another host name is.
        self.shop_url = f"http://localhost:{ports.shop}"
        self.letters = Letters()
        self.environ: dict[str, str] = {}
        self.seeded: dict[str, Any] = {}
        self._hear = hear
        self.embedded: dict[str, int] = {}
        self._exits = ExitStack()
        self.supervisor = supervisor.Supervisor(self._heard, folder=ROOT, logs=folder / "logs")

    def __enter__(self) -> "Stage":
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # the logs hold letters, and these hold links
        try:
            self._exits.enter_context(self.supervisor)
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _start(self) -> None:
        given = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        key, client_id = f"sk_test_{secrets.token_hex(12)}", f"ca_{secrets.token_hex(16)}"
        stripe = ["--port", str(self.ports.stripe), "--seed", "--test-key", key, "--test-client-id", client_id]
        self._child("stripe", [sys.executable, "-m", "sandbox.stripe", *stripe], given)
        database_url, redis_url = self._servers()
        # Left in the opposite order: first our children, then what they stand on, then the guard.
        self._exits.callback(self.supervisor.stop_all)
        self._wait("stripe", lambda: self._answers(f"{self.stripe_url}/_sandbox/clock"), 60)
        self.seeded = self.control("GET", "seeded")
        self.environ = {
            **given,
            "PYTHONUNBUFFERED": "1",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "PORT": str(self.ports.web),
            "HOLDFAST_PORT": str(self.ports.web),
            "HOLDFAST_BASE_URL": self.base_url,
            "HOLDFAST_SECRET_KEYS": embedded.secret_keys(),
            "STRIPE_TEST_SECRET_KEY": key,
            "STRIPE_TEST_CLIENT_ID": client_id,
            "STRIPE_API_BASE": self.stripe_url,
            "STRIPE_CONNECT_BASE": self.stripe_url,
            "MAIL_FROM": "Holdfast <holdfast@example.com>",
            # Whoever tries the demo has their webhooks' sink beside it.
            "HOLDFAST_EGRESS_ALLOW": "127.0.0.0/8,::1",
        }
        rt = self.runtime()
        migrations.upgrade(rt.engine)
        _, secret = rt.stripe("test").register_webhook_endpoint(f"{self.base_url}/webhooks/stripe")
        rt.close()
        self.environ["STRIPE_TEST_WEBHOOK_SECRETS"] = secret
        for queue in queues.QUEUES:
            self._child(queue, [sys.executable, "-m", "jobs.worker", queue], self.environ)
        self.start_web()

    def start_web(self) -> None:
        """Start the web server as the Procfile does, but on loopback; returns when it is ready."""
        command = [sys.executable, "-m", "connect_app.server", "--host", HOST, "--port", str(self.ports.web)]
        counters = self.folder / "counters"
        shutil.rmtree(counters, ignore_errors=True)
        counters.mkdir()
        self._child("web", command, {**self.environ, "PROMETHEUS_MULTIPROC_DIR": str(counters)})
        self._wait("web", lambda: self._answers(f"{self.base_url}/readyz"), 60)

    def start_shop(self, shop: Mapping[str, Any]) -> None:
        """Start the example shop for these customers; `shop` is what sandbox.shop reads from its file."""
        path = self.folder / "shop.json"
        self.supervisor.tell_guard(f"delete {path}")
        self._exits.callback(path.unlink, missing_ok=True)
        write_secret(path, json.dumps(shop))
        self._child("shop", [sys.executable, "-m", "sandbox.shop", "--port", str(self.ports.shop), "--config", str(path)], self.environ)
        self._wait("shop", lambda: self._answers(f"{self.shop_url}/healthz"), 30)

    def runtime(self) -> runtime.Runtime:
        """A runtime of the caller's own in this environment; close it."""
        return runtime.open_runtime(config.load(self.environ))

    def check_servers(self) -> None:
        """Raises ServerLost where an embedded server has ended: what it held is gone, so nothing can go on without it."""
        for name, process in self.embedded.items():
            if not supervisor.is_alive(process):
                raise ServerLost(f"The demo's {name} (process {process}) has ended, and what it held is gone, so the demo stops.")

    def control(self, method: str, path: str, body: object = None) -> Any:
        """One call at the local Stripe's control door."""
        response = requests.request(method, f"{self.stripe_url}/_sandbox/{path}", json=body, timeout=30)
        response.raise_for_status()
        return response.json()

    def _servers(self) -> tuple[str, str]:
        """The configured database and Redis, else embedded ones that end with us."""
        if database_url := os.environ.get("DATABASE_URL"):
            configured.start_afresh(database_url)
        else:
            postgres = embedded.start_postgres()
            # The guard stops it where we cannot; its data lie in the folder of the socket.
            with suppress(OSError, ValueError), postgres.admin() as connection:
                row = connection.execute("show data_directory").fetchone()
                data = Path(str(row[0])) if row else postgres.socket_dir
                self.supervisor.tell_guard(f"delete {data}")
                self.embedded["PostgreSQL"] = int((data / "postmaster.pid").read_text().split()[0])
                self.supervisor.tell_guard(f"group {self.embedded['PostgreSQL']}")
            database_url = postgres.create_database("holdfast_demo")
        if redis_url := os.environ.get("REDIS_URL"):
            configured.check_redis(redis_url)
            return database_url, redis_url
        valkey = embedded.start_valkey()
        self.embedded["Redis (Valkey)"] = valkey.process.pid
        self._exits.callback(valkey.stop)
        self.supervisor.tell_guard(f"delete {valkey.folder}")
        self.supervisor.tell_guard(f"group {valkey.process.pid}")
        return database_url, valkey.url

    def _child(self, name: str, command: list[str], environ: Mapping[str, str]) -> None:
        self.supervisor.start(name, command, environ)

    def _wait(self, name: str, is_ready: Callable[[], bool], seconds: float) -> None:
        self.supervisor.wait_until(name, is_ready, seconds)

    def _heard(self, name: str, line: str) -> None:
        if name == queues.DELIVERIES and not line.startswith("{"):
            self.letters.add(line)
        self._hear(name, line)

    @staticmethod
    def _answers(url: str) -> bool:
        try:
            return requests.get(url, timeout=5).status_code == 200
        except requests.RequestException:
            return False


class Letters:
    """What the mail worker has printed, for those who wait for a link in it."""

    def __init__(self) -> None:
        self._text = ""
        self._news = threading.Condition()

    def add(self, line: str) -> None:
        with self._news:
            self._text += line + "\n"
            self._news.notify_all()

    def wait_for(self, pattern: str, seconds: float = 30.0) -> str:
        """The last match of `pattern` in all letters so far; raises TimeoutError when none comes."""
        until = time.monotonic() + seconds
        with self._news:
            while not (found := re.findall(pattern, self._text)):
                if not self._news.wait(max(0.0, until - time.monotonic())) and time.monotonic() >= until:
                    raise TimeoutError(f"no letter with {pattern}")
            return str(found[-1])


def free_ports() -> Ports:
    """Three ports in a row that nobody listens on, for tests: below those that a system gives to whoever asks for any."""
    while True:
        web = 20_000 + 3 * secrets.randbelow(4_000)
        with ExitStack() as probes:
            try:
                for port in range(web, web + 3):
                    probes.enter_context(socket.socket()).bind((HOST, port))
            except OSError:
                continue
        return Ports(web=web, stripe=web + 1, shop=web + 2)


def temporary_folder() -> Path:
    """A fresh folder for a stage's logs, for tests."""
    return Path(tempfile.mkdtemp(prefix=f"holdfast-stage-{secrets.token_hex(2)}-"))


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
