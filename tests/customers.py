"""A customer's browser and a business's back end, for tests of the hand-off, the flow and the portal."""

import hashlib
import hmac
import json
import re
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from freezegun import freeze_time
from sqlalchemy import text
from werkzeug.test import TestResponse

import flow_pages
from connect_app import error_pages, limits, runtime, security
from connect_app.runtime import Runtime
from jobs import queues, work
from tests import make

ORIGIN = "https://shop.example"


def app(rt: Runtime, **config: Any) -> Flask:
    """The customer's side alone, as `create_app` hangs it up."""
    runtime.use(rt)
    app = Flask("connect_app")
    app.config.update(config)
    security.install(app)
    error_pages.install(app, dict.fromkeys(("flow", "portal"), flow_pages.error_page))
    limits.install(app, rt)
    flow_pages.register(app)
    return app


def sign(secret: str, *lines: str) -> str:
    """The seed's snippet."""
    return hmac.new(secret.encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()


def bundle(stage: make.Stage, customer: str, subscription: str | None, at: int | None = None, **more: Any) -> dict[str, Any]:
    """A signed hand-off of one subscription, or with None of the portal's kind."""
    timestamp = int(time.time()) if at is None else at
    lines = [customer, *([] if subscription is None else [subscription]), str(timestamp)]
    body: dict[str, Any] = {
        "workspace": stage.slug,
        "customer": customer,
        "timestamp": timestamp,
        "signature": sign(stage.embed_secret, *lines),
    }
    if subscription is not None:
        body["subscription"] = subscription
    return {**body, **more}


def signed_by(secret: str, slug: str, customer: str, subscription: str) -> dict[str, Any]:
    """A hand-off to one workspace, signed with whatever secret."""
    stamp = int(time.time())
    signature = sign(secret, customer, subscription, str(stamp))
    return {"workspace": slug, "customer": customer, "subscription": subscription, "timestamp": stamp, "signature": signature}


def whole(stage: make.Stage, body: dict[str, Any], at: int | None = None) -> tuple[bytes, dict[str, str]]:
    """A body and its Holdfast-Signature header."""
    raw, timestamp = json.dumps(body).encode(), int(time.time()) if at is None else at
    digest = hmac.new(stage.embed_secret.encode(), str(timestamp).encode() + b"." + raw, hashlib.sha256).hexdigest()
    return raw, {"Holdfast-Signature": f"t={timestamp},v1={digest}"}


def drain(rt: Runtime) -> None:
    """What the workers would do within seconds."""
    work.drain(rt, queues.ACTIONS)
    # What happened twice within a second is read again in a later one: the mirror cannot put it in order. A read of an earlier call of
    # this function may have been dated ahead of the present, so go on until one is dated later still.
    for ahead in (2, 4, 8, 16, 32):
        with freeze_time(timedelta(seconds=ahead) + rt.now(), tick=True):
            for queue in (queues.EVENTS, queues.DELIVERIES):
                work.drain(rt, queue)
        with rt.transaction() as session:
            if not session.execute(text("select exists(select 1 from work where kind = 'refetch')")).scalar_one():
                return


@dataclass
class Browser:
    """A browser without cookies and without script: it follows our redirects and presses the buttons it finds."""

    client: FlaskClient
    path: str
    page: str = field(default="", repr=False)
    response: TestResponse | None = field(default=None, repr=False)
    offer: str = ""

    def look(self, path: str | None = None, **headers: str) -> "Browser":
        self.response = self.client.get(path or self.path, headers=headers)
        self.page = self.response.get_data(as_text=True)
        if found := re.search(r'name="offer" value="([^"]+)"', self.page):
            self.offer = found[1]  # the last one that was made
        return self

    @property
    def status(self) -> int:
        assert self.response is not None
        return self.response.status_code

    @property
    def token(self) -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.page)
        assert found, self.page
        return found[1]

    @property
    def buttons(self) -> set[str]:
        """The last word of each form's action."""
        return {action.rsplit("/", 1)[1] for action in re.findall(r'<form[^>]* action="([^"]+)"', self.page)}

    def press(self, verb: str, **fields: str) -> "Browser":
        """Submit one of the page's forms and follow where it leads."""
        self.response = self.client.post(f"{self.path}/{verb}", data={"token": self.token, **fields})
        self.page = self.response.get_data(as_text=True)
        if self.response.status_code == 303:
            self.look(self.response.headers["Location"])
        return self


def handed_over(app: Flask, stage: make.Stage, shape: str, **more: Any) -> Browser:
    """A customer of this seeded shape, on the link that the hand-off gave."""
    customer, subscription = stage.shapes[shape]
    answer = app.test_client().post("/api/embed/cancel", json=bundle(stage, customer, subscription, **more))
    assert answer.status_code == 200, answer.json
    return Browser(client=app.test_client(use_cookies=False), path=answer.json["url"].removeprefix("http://127.0.0.1:8000"))
