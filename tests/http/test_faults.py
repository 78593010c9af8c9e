"""The customer's side of the fault matrix: a browser that goes away in the middle, comes back, and goes back."""

import pytest
from flask import Flask
from sqlalchemy import select

from connect_app.admin import flows
from connect_app.models import Action, Choice
from connect_app.runtime import Runtime
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.customers import handed_over


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
