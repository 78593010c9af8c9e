"""What the tests of the dashboard stand on: the whole application, members of each role, and a browser that presses its buttons."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse

from connect_app import ids, tokens
from connect_app.app import create_app
from connect_app.models import Login, Membership, User, UserLookup
from connect_app.runtime import Runtime
from tests import make


def app(rt: Runtime) -> Flask:
    return create_app(rt.settings, rt)


@dataclass
class Member:
    """A signed-in browser in one workspace; anonymous where nobody signed in."""

    client: FlaskClient
    slug: str
    page: str = field(default="", repr=False)

    def get(self, path: str = "", status: int = 200) -> str:
        """A page of the workspace's dashboard; its text with entities as they were sent."""
        answer = self.client.get(f"/admin/{self.slug}{path}")
        assert answer.status_code == status, (path, answer.status_code, answer.location)
        self.page = answer.get_data(as_text=True)
        return self.page

    def token(self) -> str:
        """A form token of this browser."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.client.get("/sign-in").get_data(as_text=True))
        assert found
        return found[1]

    def post(self, path: str, **fields: Any) -> TestResponse:
        return self.client.post(f"/admin/{self.slug}{path}", data={"csrf_token": self.token(), **fields})


def member(app: Flask, rt: Runtime, stage: make.Stage, role: str = "owner") -> Member:
    """Somebody of this role, signed in by an emailed link."""
    now, user_id, login_id = rt.now(), ids.new("usr"), ids.new("lgn")
    email = f"{user_id}@fernhill.example"
    with rt.transaction(stage.workspace_id) as session:
        session.add(User(id=user_id, email=email, created_at=now))
        session.flush()
        session.add(Membership(user_id=user_id, workspace_id=stage.workspace_id, role=role, created_at=now))
        session.add(UserLookup(user_id=user_id, workspace_id=stage.workspace_id))
        session.add(Login(id=login_id, purpose="sign_in", email=email, created_at=now, expires_at=now + timedelta(minutes=5)))
    browser = Member(client=app.test_client(), slug=stage.slug)
    link = tokens.make(rt.ring, "login", login_id, 1)
    answer = browser.client.post(f"/sign-in/{link}", data={"csrf_token": browser.token()})
    assert answer.status_code == 303, answer.get_data(as_text=True)
    return browser


def stranger(app: Flask, stage: make.Stage) -> Member:
    """Nobody."""
    return Member(client=app.test_client(), slug=stage.slug)


def said(page: str) -> str:
    """What a page says to its reader: no markup, entities resolved, single spaces."""
    text = re.sub(r"<(script|style|svg)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


@contextmanager
def counted(rt: Runtime) -> Iterator[list[str]]:
    """The statements that are run meanwhile, but for those that set the tenant."""
    ran: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "set_config" not in statement:
            ran.append(statement)

    event.listen(rt.engine, "before_cursor_execute", note)
    try:
        yield ran
    finally:
        event.remove(rt.engine, "before_cursor_execute", note)
