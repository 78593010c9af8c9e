"""The snippets of *Embed on your site* are programs: those we have an interpreter for are run against the real endpoints, as they stand."""

import ast
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import flask
import playwright
import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from connect_app.admin import embedding
from connect_app.runtime import Runtime
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.http import dashboard

NODE = Path(playwright.__file__).parent / "driver" / "node"

# What stands where the business's own program would be: a sign-in that knows one customer, and a router that calls what it is given.
EXPRESS = """
const routes = {}
const app = { post: (path, handle) => { routes[path] = handle } }
const billingOf = async () => (%s)
%s
const tell = (status, url) => console.log(JSON.stringify({ status, url }))
const res = { redirect: tell, json: ({ url }) => tell(303, url) }
await Object.values(routes)[0]({}, res)
"""

Redirect = dict[str, Any]
Runner = Callable[[str, dict[str, str], str], Redirect]


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    staged = make.workspace(rt, local)
    make.read_in(rt)
    return staged


@pytest.fixture
def app(rt: Runtime) -> flask.Flask:
    return dashboard.app(rt)


@contextmanager
def listening(app: flask.Flask) -> Iterator[str]:
    """The application on loopback; gives its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes the connection and never says a word."""
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        ear.listen(8)
        yield f"http://127.0.0.1:{ear.getsockname()[1]}"


def snippet(rt: Runtime, app: flask.Flask, stage: make.Stage, kind: str, language: str, origin: str) -> str:
    with app.test_request_context("/"):
        made = embedding.snippet(rt, stage.slug, kind, language).text
    assert rt.settings.base_url in made
    assert stage.slug in made
    return made.replace(rt.settings.base_url, origin)


def run_node(text: str, who: dict[str, str], secret: str) -> Redirect:
    program = EXPRESS % (json.dumps(who), text)
    ran = subprocess.run(
        [NODE, "--input-type=module", "-"],
        input=program, capture_output=True, text=True, timeout=30, check=False, env={"HOLDFAST_EMBED_SECRET": secret},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found: Redirect = json.loads(ran.stdout)
    return found


def run_python(text: str, who: dict[str, str], secret: str) -> Redirect:
    shop = flask.Flask("shop")
    scope = {"app": shop, "request": flask.request, "billing_of": lambda _request: tuple(who.values()) if len(who) > 1 else who["customer"]}
    before = os.environ.get("HOLDFAST_EMBED_SECRET")
    os.environ["HOLDFAST_EMBED_SECRET"] = secret
    try:
        exec(compile(text, "snippet", "exec"), scope)  # noqa: S102
        path = re.findall(r'@app.post\("([^"]+)"\)', text)[0]
        answer = shop.test_client().post(path)
    finally:
        os.environ.pop("HOLDFAST_EMBED_SECRET")
        if before is not None:
            os.environ["HOLDFAST_EMBED_SECRET"] = before
    return {"status": answer.status_code, "url": answer.location}


def run_curl(text: str, who: dict[str, str], secret: str) -> Redirect:
    for name, value in who.items():
        text = re.sub(rf"^{name.upper()}=.*$", f"{name.upper()}={value}", text, flags=re.M)
    ran = subprocess.run(
        ["bash", "-euc", text], capture_output=True, text=True, timeout=30, check=False,
        env={"HOLDFAST_EMBED_SECRET": secret, "PATH": os.environ["PATH"]},
    )  # fmt: skip
    return {"status": 303, **json.loads(ran.stdout.splitlines()[-1])}


RUNNERS: dict[str, Runner] = {"node": run_node, "python": run_python}
if shutil.which("curl") and shutil.which("openssl"):
    RUNNERS["curl"] = run_curl


@pytest.mark.parametrize("language", RUNNERS)
@pytest.mark.parametrize("kind", embedding.KINDS)
def test_a_snippet_leads_to_our_page(app: flask.Flask, rt: Runtime, stage: make.Stage, kind: str, language: str) -> None:
    customer, subscription = stage.shapes["monthly"]
    who = {"customer": customer, **({"subscription": subscription} if kind == "cancel" else {})}
    with listening(app) as origin:
        led = RUNNERS[language](snippet(rt, app, stage, kind, language, origin), who, stage.embed_secret)
    assert led["status"] == 303
    assert led["url"].startswith(f"{rt.settings.base_url}/{kind}/")
    assert app.test_client().get(led["url"].removeprefix(rt.settings.base_url)).status_code == 200


@pytest.mark.parametrize("language", RUNNERS)
def test_a_snippet_fails_open(app: flask.Flask, rt: Runtime, stage: make.Stage, language: str) -> None:
    customer, subscription = stage.shapes["monthly"]
    who = {"customer": customer, "subscription": subscription}
    with listening(app) as origin:
        text = snippet(rt, app, stage, "cancel", language, origin)
        wrong = RUNNERS[language](text, who, "hf_embed_test_wrong")
    with silent() as nowhere:
        slow = RUNNERS[language](snippet(rt, app, stage, "cancel", language, nowhere), who, stage.embed_secret)
    gone = RUNNERS[language](snippet(rt, app, stage, "cancel", language, "http://127.0.0.1:1"), who, stage.embed_secret)
    assert {led["url"] for led in (wrong, slow, gone)} == {"/cancel-without-holdfast"}


def test_the_older_form_for_node_works(app: flask.Flask, rt: Runtime, stage: make.Stage) -> None:
    customer, subscription = stage.shapes["monthly"]
    with listening(app) as origin:
        with app.test_request_context("/"):
            text = embedding.bundle_snippet(rt, stage.slug).replace(rt.settings.base_url, origin)
        led = run_node(text, {"customer": customer, "subscription": subscription}, stage.embed_secret)
    assert "/cancel/" in led["url"]


@pytest.mark.parametrize("language", embedding.LANGUAGES)
@pytest.mark.parametrize("kind", embedding.KINDS)
def test_every_snippet_signs_the_body_waits_two_seconds_and_falls_back(
    app: flask.Flask, rt: Runtime, stage: make.Stage, kind: str, language: str
) -> None:
    text = snippet(rt, app, stage, kind, language, rt.settings.base_url)
    assert f"{rt.settings.base_url}/api/embed/{kind}" in text
    assert "Holdfast-Signature" in text
    assert re.search(r"2000|timeout=\(0\.5, 1\.5\)|Timeout\.timeout\(2\)|2 \* time\.Second|--max-time 2", text)
    assert ("/cancel-without-holdfast" if kind == "cancel" else "/account") in text
    assert (
        "subscription" in text.replace("manage-subscription", "").replace("manage_subscription", "").replace("manageSubscription", "")
    ) == (kind == "cancel")
    assert stage.embed_secret not in text
    if language == "python":
        ast.parse(text)
