"""What the done page says of what was not done, of what has been decided anew since, and of what only the team can take back."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from connect_app import config
from connect_app.models import Action
from connect_app.stripe_gateway.objects import read_subscription
from flow_pages import outcome
from jobs import actions
from sandbox.stripe import shapes
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import TOO_LATE, Stage

PAUSE = {"offer_id": "off_1", "resumes_at": "2099-12-01T00:00:00+00:00"}


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local) as opened:
        yield opened


def line(stage: Stage, action: Action) -> outcome.Line:
    with stage.rt.transaction(stage.workspace_id) as session:
        found = outcome.of_session(session, action.session_id or "")
    [told] = outcome.lines(found, offer=None, business="Fernhill", locale="en", now=stage.rt.now(), resumes_at=None, owing=())
    return told


def pause(stage: Stage) -> Action:
    until = {**PAUSE, "resumes_at": f"{stage.rt.now().year + 1}-12-01T00:00:00+00:00"}
    action = stage.run(stage.ask("monthly", "pause", until))
    assert action.state == "verified"
    return action


def test_a_request_that_was_overtaken_is_not_said_to_have_gone_wrong(stage: Stage) -> None:
    waiting = stage.run(stage.ask("scheduled", "cancel", TOO_LATE))
    assert waiting.state == "manual"
    stage.later(minutes=1)
    stage.run(stage.ask("scheduled", "discount"))
    assert stage.now(waiting).code == "superseded"
    told = line(stage, waiting)
    assert told.text == "You have decided anew for the same subscription since."
    assert "could not be done" not in told.title


def test_a_request_that_the_team_has_closed_is_said_to_be_closed(stage: Stage) -> None:
    waiting = stage.run(stage.ask("scheduled", "cancel", TOO_LATE))
    with stage.rt.transaction(stage.workspace_id) as session:
        assert actions.close(session, stage.workspace_id, waiting.id, stage.rt.now(), "ann@example.com")
    told = line(stage, waiting)
    assert told.title.endswith("this was closed")
    assert "The team at Fernhill has closed this request." in told.text


def test_what_had_ended_already_is_said_to_have_ended(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")
    stage.change(action.subscription, status="canceled")
    stage.run(action)
    assert line(stage, action).text == "The subscription had already ended."


def test_a_pause_that_was_ended_since_is_not_told_to_be_running(stage: Stage) -> None:
    action = pause(stage)
    assert "goes on by itself afterwards" in line(stage, action).text
    assert line(stage, action).can_undo
    stage.later(minutes=1)
    elsewhere = stage.visit(*stage.shapes["monthly"])
    assert stage.run(stage.ask("monthly", "resume", {}, session_id=elsewhere)).state == "verified"
    told = line(stage, action)
    assert "goes on by itself afterwards" not in told.text
    assert told.text == "You have decided anew for the same subscription since."
    assert not told.can_undo
    with stage.rt.transaction(stage.workspace_id) as session:
        [done] = outcome.of_session(session, action.session_id or "")
    assert done.undone_by(stage.rt.now()) is None, "nor by a button of a page that was opened before"


def test_news_from_before_a_cancel_do_not_take_it_back_and_news_from_after_it_do(stage: Stage) -> None:
    running = read_subscription(stage.stripe_says(stage.shapes["monthly"][1]))
    action = stage.run(stage.ask("monthly", "cancel"))
    assert action.verified_at is not None
    with stage.rt.transaction(stage.workspace_id) as session:
        [done] = outcome.of_session(session, action.session_id or "")
    taken_back = [outcome.as_it_is(done, running, action.verified_at + timedelta(seconds=late)).is_taken_back for late in (-2, 2)]
    assert taken_back == [False, True]


def test_who_cancels_again_what_is_canceled_has_not_decided_anew(stage: Stage) -> None:
    first = stage.run(stage.ask("monthly", "cancel"))
    stage.later(minutes=1)
    elsewhere = stage.visit(*stage.shapes["monthly"])
    assert stage.run(stage.ask("monthly", "cancel", session_id=elsewhere, choice_id=stage.choice(elsewhere))).state == "verified"
    assert line(stage, first).title.endswith("is canceled")
    assert line(stage, first).can_undo


@pytest.mark.parametrize("open_invoices", ["void", "keep"])
def test_that_the_team_decides_is_said_before_the_click(stage: Stage, open_invoices: str) -> None:
    wanted: dict[str, Any] = {"when": "period_end", "open_invoices": open_invoices}
    whose = shapes.make(stage.local, {"account": stage.account, "shape": "past_due"})
    action = stage.run(stage.ask("monthly", "cancel", wanted, customer=whose["customer"], subscription=whose["subscription"]))
    told, is_voided = line(stage, action), open_invoices == "void"
    assert told.can_undo
    assert (told.undo == "Ask to undo the cancellation") == is_voided
    assert ("the team at Fernhill decides whether it can be undone" in told.text) == is_voided
