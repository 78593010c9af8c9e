"""The local Stripe as a process: real sockets, real kills, real deliveries."""

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
import stripe


@dataclass(kw_only=True)
class Process:
    """A running local Stripe, the demo account connected by its OAuth page."""

    base: str
    seeded: dict[str, Any]
    client: stripe.StripeClient
    here: Any

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, f"{self.base}/_sandbox/{path}", json=body, timeout=5)
        answer.raise_for_status()
        return answer.json()

    def subscription(self, shape: str) -> str:
        return str(next(row["subscription"] for row in self.seeded["customers"] if row["shape"] == shape))


@pytest.fixture(scope="module")
def running() -> Iterator[Process]:
    command = [sys.executable, "-m", "sandbox.stripe", "--port", "0", "--seed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base = process.stdout.readline().split()[-1]
        seeded = requests.get(f"{base}/_sandbox/seeded", timeout=5).json()
        platform = seeded["platform"]["test"]
        addresses: Any = {"api": base, "connect": base}
        client = stripe.StripeClient(
            platform["secret_key"],
            client_id=platform["client_id"],
            base_addresses=addresses,
            http_client=stripe.RequestsClient(timeout=(2, 1.5)),
        )
        url = client.oauth.authorize_url({"scope": "read_write", "state": "s", "redirect_uri": "http://127.0.0.1:1/back"})
        assert ">Authorize</button>" in requests.get(url, timeout=5).text
        form = {"account": seeded["account"], "decision": "authorize"}
        asked = {key: value for key, _, value in (pair.partition("=") for pair in urlsplit(url).query.split("&"))}
        form |= {key: unquote(value) for key, value in asked.items()}
        back = requests.post(f"{base}/oauth/authorize", data=form, allow_redirects=False, timeout=5).headers["Location"]
        code = back.partition("code=")[2].partition("&")[0]
        assert client.oauth.token({"grant_type": "authorization_code", "code": code}).stripe_user_id == seeded["account"]
        yield Process(base=base, seeded=seeded, client=client, here={"stripe_account": seeded["account"]})
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.fixture(autouse=True)
def calm(running: Process) -> Iterator[None]:
    yield
    running.control("DELETE", "faults")
    running.control("DELETE", "webhooks")


def test_a_connection_is_kept_open(running: Process) -> None:
    connection = http.client.HTTPConnection(urlsplit(running.base).netloc, timeout=5)
    key = running.seeded["platform"]["test"]["secret_key"]
    headers = {"Authorization": f"Bearer {key}", "Stripe-Account": running.seeded["account"]}
    sockets = set()
    for _ in range(3):
        connection.request("GET", "/v1/account", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["id"] == running.seeded["account"]
        sockets.add(id(connection.sock))
    assert len(sockets) == 1
    connection.close()


def test_a_timeout_after_applying_leaves_one_effect_and_the_answer_under_the_key(running: Process) -> None:
    id = running.subscription("yearly")
    running.control("POST", "faults", {"kind": "timeout_after", "path": "/v1/subscriptions/*", "times": 1})
    options: Any = {**running.here, "idempotency_key": "t1"}
    with pytest.raises(stripe.APIConnectionError):
        running.client.v1.subscriptions.update(id, {"discounts": [{"coupon": "LOYAL15"}]}, options)
    assert len(running.client.v1.subscriptions.update(id, {"discounts": [{"coupon": "LOYAL15"}]}, options).discounts) == 1
    assert [row["kind"] for row in running.control("GET", f"effects?subscription={id}")] == ["discount"]


def test_a_reset_reaches_the_caller_as_a_lost_connection(running: Process) -> None:
    running.control("POST", "faults", {"kind": "reset", "times": 1})
    with pytest.raises(stripe.APIConnectionError):
        running.client.v1.accounts.retrieve_current(None, running.here)
    running.client.v1.accounts.retrieve_current(None, running.here)


@pytest.mark.parametrize(("kind", "applied"), [("kill_before", 0), ("kill_after", 1)])
def test_the_calling_process_is_killed_and_no_other(running: Process, kind: str, applied: int) -> None:
    id = running.subscription("multi_item")
    running.control("POST", "faults", {"kind": kind, "path": f"/v1/subscriptions/{id}", "times": 1})
    before = len(running.control("GET", f"effects?subscription={id}"))
    program = (
        "import sys, stripe; base, key, account, sub, value = sys.argv[1:];"
        "c = stripe.StripeClient(key, base_addresses={'api': base});"
        "c.v1.subscriptions.update(sub, {'metadata': {'killed': value}}, {'stripe_account': account})"
    )
    key = running.seeded["platform"]["test"]["secret_key"]
    arguments = [running.base, key, running.seeded["account"], id, kind]
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=False, timeout=20)
    assert done.returncode == -signal.SIGKILL
    assert len(running.control("GET", f"effects?subscription={id}")) - before == applied
    running.client.v1.accounts.retrieve_current(None, running.here)


def test_news_arrives_signed_and_is_sent_again_until_it_is_taken(running: Process) -> None:
    heard: list[tuple[bytes, str]] = []
    refuse = threading.Event()
    refuse.set()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((body, self.headers["Stripe-Signature"]))
            self.send_response(503 if refuse.is_set() else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        endpoint = running.client.v1.webhook_endpoints.create(
            {
                "url": f"http://127.0.0.1:{server.server_port}/hook",
                "connect": True,
                "enabled_events": ["customer.subscription.updated"],
                "api_version": "2026-10-28.endive",
            }
        )
        running.client.v1.subscriptions.update(running.subscription("monthly"), {"metadata": {"a": "b"}}, running.here)
        wait_until(lambda: len(heard) == 1)
        refuse.clear()
        wait_until(lambda: len(heard) == 2)
        assert heard[0][0] == heard[1][0]
        body, header = heard[1]
        event = running.client.construct_event(body, header, str(endpoint.secret))
        assert (event.type, event.account) == ("customer.subscription.updated", running.seeded["account"])
        running.client.v1.webhook_endpoints.delete(endpoint.id)
    finally:
        server.shutdown()
        server.server_close()


def wait_until(done: Any) -> None:
    until = time.monotonic() + 10
    while not done():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.02)


def test_bodies_without_a_length_or_without_end_are_refused(running: Process) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"a=b"

    assert requests.post(f"{running.base}/v1/customers", data=chunks(), timeout=5).status_code == 411
    host = urlsplit(running.base)
    connection = http.client.HTTPConnection(host.netloc, timeout=5)
    connection.putrequest("POST", "/v1/customers")
    connection.putheader("Content-Length", str(1 << 30))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
