"""The customer's side of the fault matrix: a browser that goes away in the middle, comes back, and goes back."""

import socket
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from sqlalchemy import select

from connect_app.admin import flows
from connect_app.models import Action, Choice
from connect_app.runtime import Runtime
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.customers import Browser, handed_over
from tests.http.front_door import listening


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    staged = make.workspace(rt, local)
    make.read_in(rt)
    first = local.seeded["coupons"][0]
    with rt.transaction(staged.workspace_id) as session:
        coupon = str(first["id"] if isinstance(first, dict) else first)
        flows.set_offer(session, staged.workspace_id, mode="test", coupon=coupon, now=rt.now(), by="operator")
    return staged


@pytest.fixture
def app(rt: Runtime) -> Flask:
    return customers.app(rt)


# F39.


@pytest.mark.parametrize("verb", ["accept", "confirm"])
def test_who_never_saw_the_answer_to_their_choice_sees_its_outcome_and_going_back_changes_nothing(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, verb: str
) -> None:
    browser = handed_over(app, stage, "monthly").look().press("answer", reason="too_expensive")
    if verb == "confirm":
        browser.press("skip")
    old = {"token": browser.token, "offer": browser.offer}
    # The answer is lost with the browser; the choice is not.
    app.test_client(use_cookies=False).post(f"{browser.path}/{verb}", data=old)
    customers.drain(rt)
    assert browser.look().status == 200
    assert not {"accept", "confirm", "answer"} & browser.buttons
    # The back button brings the old pages, and each of their forms leads to the outcome.
    for again in ("accept", "confirm", "skip", "decline", "answer", "keep"):
        answer = app.test_client(use_cookies=False).post(f"{browser.path}/{again}", data={**old, "reason": "other"})
        assert answer.status_code == 303, again
    assert browser.look().buttons <= {"undo", "done"}
    assert browser.status == 200
    with rt.transaction(stage.workspace_id) as session:
        assert len(session.execute(select(Choice.id)).all()) == len(session.execute(select(Action.id)).all()) == 1
    assert [effect["subscription"] for effect in local.effects] == [stage.shapes["monthly"][1]]


@pytest.mark.parametrize("sent", [0, 1, 20, 60])
def test_a_choice_that_broke_off_on_its_way_changes_nothing(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, sent: int
) -> None:
    browser = handed_over(app, stage, "monthly").look().press("answer", reason="too_expensive")
    form = f"token={browser.token}&offer={browser.offer}".encode()
    answer = app.test_client(use_cookies=False).post(
        f"{browser.path}/accept", data=form[:sent], content_type="application/x-www-form-urlencoded"
    )
    assert answer.status_code in (303, 400, 403), answer.status_code
    customers.drain(rt)
    assert local.effects == []
    assert "accept" in browser.look().buttons


def broken_off(base: str, path: str, form: bytes, sent: int | None) -> None:
    """A browser that sends a form over a real line and is gone: after so many bytes of it, or with all of it sent and nothing read."""
    where = urlsplit(base)
    head = f"POST {path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with socket.create_connection((str(where.hostname), where.port or 80)) as line:
        line.sendall(f"{head}Content-Length: {len(form)}\r\n\r\n".encode() + form[:sent])


class Counted:
    """The application, and how many requests it is done with, whoever is there to hear."""

    def __init__(self, app: Flask) -> None:
        self.app, self.done = app, 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            return [b"".join(self.app(environ, start_response))]
        finally:
            self.done += 1

    def wait_for(self, requests: int) -> None:
        until = time.monotonic() + 30
        while self.done < requests and time.monotonic() < until:
            time.sleep(0.02)
        assert self.done == requests


def choices(rt: Runtime, stage: make.Stage) -> int:
    with rt.transaction(stage.workspace_id) as session:
        return len(session.execute(select(Choice.id)).all())


def at_the_choice(app: Flask, stage: make.Stage, verb: str) -> tuple[Browser, dict[str, str], bytes]:
    """A customer before the page that asks for it, with what its form sends: as fields, and as bytes."""
    browser = handed_over(app, stage, "monthly").look().press("answer", reason="too_expensive")
    if verb == "confirm":
        browser.press("skip")
    fields = {"token": browser.token, "offer": browser.offer}
    return browser, fields, f"token={browser.token}&offer={browser.offer}".encode()


@pytest.mark.parametrize("verb", ["accept", "confirm"])
def test_a_line_that_breaks_while_a_choice_is_sent_changes_nothing_and_going_back_makes_it(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, verb: str
) -> None:
    browser, old, form = at_the_choice(app, stage, verb)
    counted, cuts = Counted(app), (0, 1, len(form) // 2, len(form) - 1)
    with listening(counted) as base:
        for sent in cuts:
            broken_off(base, f"{browser.path}/{verb}", form, sent)
        counted.wait_for(len(cuts))
    customers.drain(rt)
    assert (choices(rt, stage), local.effects) == (0, [])
    assert verb in browser.look().buttons
    # Back, and once more.
    assert app.test_client(use_cookies=False).post(f"{browser.path}/{verb}", data=old).status_code == 303
    customers.drain(rt)
    assert choices(rt, stage) == len(local.effects) == 1


@pytest.mark.parametrize("verb", ["accept", "confirm"])
def test_who_is_gone_once_a_choice_is_sent_has_made_it_and_going_back_makes_no_other(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, verb: str
) -> None:
    browser, old, form = at_the_choice(app, stage, verb)
    counted = Counted(app)
    with listening(counted) as base:
        broken_off(base, f"{browser.path}/{verb}", form, None)
        counted.wait_for(1)
    assert choices(rt, stage) == 1
    # Back, before the change is made and after.
    for _ in range(2):
        for again in ("accept", "confirm", "skip", "answer"):
            answer = app.test_client(use_cookies=False).post(f"{browser.path}/{again}", data={**old, "reason": "other"})
            assert answer.status_code == 303, again
        customers.drain(rt)
        assert browser.look().status == 200
        assert not {"accept", "confirm", "answer"} & browser.buttons
    assert (choices(rt, stage), [effect["subscription"] for effect in local.effects]) == (1, [stage.shapes["monthly"][1]])
