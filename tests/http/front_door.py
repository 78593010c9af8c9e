"""What the tests of installing and signing in stand on: the pages on a small application, and the local Stripe on a real socket."""

import html
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from flask import Flask
from flask.testing import FlaskClient
from flask_wtf.csrf import CSRFProtect
from sqlalchemy import text
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import TestResponse

from connect_app import error_pages, limits, oauth, runtime, security, tokens, workspaces
from connect_app.models import Base
from connect_app.runtime import Runtime
from connect_app.workspaces import access
from sandbox.stripe import wsgi
from sandbox.stripe.local import LocalStripe

App = Callable[[dict[str, Any], Callable[..., object]], Iterable[bytes]]


def odd_token_host(status: int, body: str) -> Callable[[LocalStripe], App]:
    """A Stripe whose token endpoint gives this answer, whatever it is asked; with status 0 it hangs up."""

    def make(local: LocalStripe) -> App:
        proper = wsgi(local)

        def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
            if environ["PATH_INFO"] != "/oauth/token":
                return proper(environ, start_response)
            if status == 0:
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            start_response(f"{status or 500} Odd", [("Content-Type", "application/json")])
            return [body.encode()]

        return app

    return make


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing: the tests read the local Stripe's own record."""


@contextmanager
def listening(app: App) -> Iterator[str]:
    """The local Stripe on loopback, for Authlib, which needs a socket; gives its base URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(kw_only=True)
class House:
    """The application, its runtime and its Stripe."""

    app: Flask
    rt: Runtime
    local: LocalStripe

    def browser(self) -> "Browser":
        """A browser nobody has used."""
        return Browser(house=self, client=self.app.test_client())

    def rows(self, sql: str, **values: object) -> list[tuple[object, ...]]:
        """What the database holds, of every tenant: each workspace is asked in turn."""
        found: list[tuple[object, ...]] = []
        with self.rt.transaction() as session:
            ids = [row.id for row in session.execute(text("select id from workspaces order by id"))]
        for workspace_id in ids:
            with self.rt.transaction(workspace_id) as session:
                found += [tuple(row) for row in session.execute(text(sql), values)]
        return found

    def contents(self) -> dict[str, list[str]]:
        """Every row of every table as text, but for the round trips under way."""
        everything: dict[str, list[str]] = {}
        for table in Base.metadata.sorted_tables:
            if table.name == "oauth_states":
                continue
            rows = {str(row) for row in self.rows(f"select t::text from {table.name} t")}  # noqa: S608
            with self.rt.transaction() as session:
                rows |= {str(tuple(row)) for row in session.execute(text(f"select t::text from {table.name} t"))}  # noqa: S608
            everything[table.name] = sorted(rows)
        return everything

    @contextmanager
    def later(self, **more: float) -> Iterator[None]:
        """The same house, minutes or hours from now."""
        runtime.use(replace(self.rt, clock=lambda: datetime.now(UTC) + timedelta(**more)))
        try:
            yield
        finally:
            runtime.use(self.rt)

    def token_calls(self) -> int:
        """How often a code was offered to Stripe."""
        return sum(request["path"] == "/oauth/token" for request in self.local.requests)


@dataclass(kw_only=True)
class Browser:
    """One browser: its cookies, its way to Stripe's authorize page and back."""

    house: House
    client: FlaskClient

    def get(self, path: str) -> TestResponse:
        return self.client.get(path)

    def post(self, path: str, *, form_on: str, **fields: str) -> TestResponse:
        """Send a form with the CSRF token of the page `form_on`."""
        return self.client.post(path, data={"csrf_token": self.csrf(form_on), **fields})

    def csrf(self, form_on: str) -> str:
        """The CSRF token of a page with a form."""
        page = self.client.get(form_on).get_data(as_text=True)
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token, f"no form on {form_on}: {page[:300]}"
        return token[1]

    def depart(self, mode: str = "test", workspace: str | None = None) -> str:
        """Press Connect; gives Stripe's authorize URL."""
        answer = self.get(f"/oauth/start?mode={mode}" + (f"&workspace={workspace}" if workspace else ""))
        assert answer.status_code == 303, answer.get_data(as_text=True)
        return answer.location

    def authorize(self, url: str, account: str, decision: str = "authorize") -> str:
        """Decide on Stripe's page; gives the way back, path and query."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        answer = requests.post(
            url.partition("?")[0], data={**asked, "account": account, "decision": decision}, allow_redirects=False, timeout=5
        )
        assert answer.status_code == 303, answer.text
        back = urlsplit(answer.headers["Location"])
        return f"{back.path}?{back.query}"

    def connect(self, account: str, mode: str = "test", workspace: str | None = None) -> TestResponse:
        """The whole round trip."""
        return self.get(self.authorize(self.depart(mode, workspace), account))

    def install(self, account: str, email: str = "ann@example.com", mode: str = "test") -> str:
        """Install and confirm the owner's address; gives the workspace's slug, with this browser signed in."""
        assert self.connect(account, mode).location == "/install/connected"
        assert self.post("/install/email", form_on="/install/connected", email=email).location == "/install/inbox"
        link = self.house_link("confirm_owner")
        return str(self.post(link, form_on=link).location).split("/")[2]

    def house_link(self, purpose: str) -> str:
        """The path of the newest emailed link of this purpose."""
        with self.house.rt.transaction() as session:
            login_id = session.execute(
                text("select id from logins where purpose = :purpose order by id desc limit 1"), {"purpose": purpose}
            ).scalar_one()
        return f"/sign-in/{tokens.make(self.house.rt.ring, 'login', login_id, 1)}"


@contextmanager
def open_house(rt: Runtime, local: LocalStripe, stripe: Callable[[LocalStripe], App] = wsgi) -> Iterator[House]:
    """The pages of installing and signing in, and one page behind the door. `stripe` makes the WSGI app that Stripe is."""
    with listening(stripe(local)) as base:
        rt = replace(rt, settings=rt.settings.model_copy(update={"stripe_connect_base": base}))
        runtime.use(rt)
        app = Flask("connect_app")
        app.config.update(SECRET_KEY="for tests only", SESSION_COOKIE_NAME="holdfast", SESSION_COOKIE_SAMESITE="Lax", TESTING=False)
        security.install(app)
        error_pages.install(app)
        limits.install(app, rt)
        CSRFProtect(app)
        oauth.register(app, rt)
        workspaces.register(app, rt)

        @app.get("/admin/<slug>/", defaults={"page": ""})
        @app.get("/admin/<slug>/<path:page>")
        def inside(slug: str, page: str) -> str:
            who = access.member(slug)
            if page == "owners":
                access.require(who, "owner")
            return f"{who.workspace.name}|{who.role}|{who.actor}|{who.label}"

        yield House(app=app, rt=rt, local=local)


def text_of(answer: TestResponse) -> str:
    """A page as its reader sees it: no tags, no entities."""
    return html.unescape(re.sub(r"<[^>]+>", " ", answer.get_data(as_text=True)))
