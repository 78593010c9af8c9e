"""The example shop hands its customers over as a stranger would, and has a way out when nobody answers."""

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from sandbox.shop import app

ROW = {
    "customer": "cus_A1",
    "subscription": "sub_A1",
    "shape": "monthly",
    "name": "Ada Low",
    "email": "ada@example.com",
    "plan": "Pro",
    "price": "$29",
}
SECRET = "hf_embed_test_x"


def shop(base_url: str) -> dict[str, Any]:
    return {"base_url": base_url, "shop_url": "http://localhost:1", "workspace": "w", "embed_secret": SECRET, "customers": [ROW]}


@pytest.fixture
def heard() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """A server that writes down what it is asked and gives a link, like Holdfast."""
    asked: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            body = b'{"url": "http://127.0.0.1:9/cancel/x"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_cancel_signs_what_the_seed_signs_and_follows_the_link(heard: tuple[str, list[tuple[str, dict[str, Any]]]]) -> None:
    url, asked = heard
    answer = app.create_shop(shop(url)).test_client().post("/account/cancel")
    assert (answer.status_code, answer.location) == (303, "http://127.0.0.1:9/cancel/x")
    path, bundle = asked[0]
    message = f"cus_A1\nsub_A1\n{bundle['timestamp']}".encode()
    assert path == "/api/embed/cancel"
    assert bundle["signature"] == hmac.new(SECRET.encode(), message, hashlib.sha256).hexdigest()
    assert bundle["return_url"] == "http://localhost:1/account?stayed=1"


def test_manage_signs_without_a_subscription(heard: tuple[str, list[tuple[str, dict[str, Any]]]]) -> None:
    url, asked = heard
    app.create_shop(shop(url)).test_client().post("/account/manage")
    path, bundle = asked[0]
    assert path == "/api/embed/portal"
    assert bundle["signature"] == hmac.new(SECRET.encode(), f"cus_A1\n{bundle['timestamp']}".encode(), hashlib.sha256).hexdigest()
    assert "subscription" not in bundle


def test_no_answer_within_two_seconds_is_a_page_with_a_way_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        answer = app.create_shop(shop(f"http://127.0.0.1:{silent.getsockname()[1]}")).test_client().post("/account/cancel")
    assert time.monotonic() - began < 10
    assert answer.status_code == 503
    assert "mailto:" in answer.text


@pytest.mark.parametrize("cookie", ["", "x", "-1", "999", "٣", "1" * 3000])
def test_a_strange_cookie_is_the_first_customer_or_some_customer(cookie: str) -> None:
    browser = app.create_shop(shop("http://127.0.0.1:1")).test_client()
    browser.set_cookie("shop", cookie)
    assert browser.get("/account").status_code == 200
