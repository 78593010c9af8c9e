"""The ledger takes one action at a time for each subscription, whoever asks and however many at once."""

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import select, text

from connect_app import config
from connect_app.models import Action, AuditEntry, FlowSession
from jobs import actions, validation, work
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import Stage


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local) as opened:
        yield opened


def at_once(count: int, deed: object) -> list[object]:
    """What each of so many threads got, started together; an exception counts as what it got."""
    barrier, results = threading.Barrier(count), []

    def one(number: int) -> None:
        barrier.wait(10)
        try:
            results.append(deed(number))  # type: ignore[operator]
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_of_twenty_that_ask_at_once_one_wins_and_the_others_learn_which(stage: Stage) -> None:
    sessions = [stage.visit(*stage.shapes["monthly"]) for _ in range(20)]
    results = at_once(20, lambda number: stage.ask("monthly", ("cancel", "discount")[number % 2], session_id=sessions[number]))
    winners = [result for result in results if isinstance(result, Action)]
    others = [result for result in results if isinstance(result, actions.InFlight)]
    assert (len(winners), len(others)) == (1, 19)
    assert {other.action_id for other in others} == {winners[0].id}
    assert len(stage.all(select(Action))) == 1
    assert len(stage.work_rows()) == 1


def test_two_subscriptions_of_one_customer_do_not_wait_for_each_other(stage: Stage) -> None:
    customer, second = stage.shapes["two_subscriptions"]
    first = next(sub["id"] for sub in stage.local.world(stage.account, False).all("subscription", customer=customer) if sub["id"] != second)
    asked = [stage.ask("two_subscriptions", "cancel", subscription=sub) for sub in (first, second)]
    assert [stage.run(action).state for action in asked] == ["verified", "verified"]


def test_what_settles_an_action_holds_its_session_before_work_about_it_is_asked_for(stage: Stage) -> None:
    """Two actions of one choice end at once, or one ends while its session is looked at: nobody waits in a circle."""
    action = stage.ask("monthly")
    blocked = text("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()")
    with stage.rt.transaction(stage.workspace_id) as session:
        session.execute(select(FlowSession.id).where(FlowSession.id == action.session_id).with_for_update(key_share=True))
        settling = threading.Thread(target=stage.run, args=(action,))
        settling.start()
        until = time.monotonic() + 20
        while session.execute(blocked).scalar_one() == 0 and time.monotonic() < until:
            session.execute(text("select pg_stat_clear_snapshot()"))
            time.sleep(0.02)
        session.execute(text("set local lock_timeout = '2s'"))
        validation.ask(session, stage.workspace_id, [str(action.session_id)], stage.rt.now())
    settling.join(30)
    assert stage.now(action).state == "verified"
    assert [attempt.problem for attempt in stage.attempts(action)] == [None, None, None, None]


def test_a_settled_action_makes_room_for_the_next(stage: Stage) -> None:
    first = stage.ask("monthly", "cancel")
    with pytest.raises(actions.InFlight) as refusal:
        stage.ask("monthly", "undo_cancel")
    assert refusal.value.action_id == first.id
    stage.run(first)
    assert stage.run(stage.ask("monthly", "undo_cancel")).state == "verified"
    assert stage.effects(stage.shapes["monthly"][1]) == ["cancel_at_period_end", "undo_cancel"]


def test_the_same_choice_gives_the_same_action(stage: Stage) -> None:
    visit = stage.visit(*stage.shapes["monthly"])
    choice = stage.choice(visit)
    first = stage.ask("monthly", "cancel", session_id=visit, choice_id=choice)
    assert stage.ask("monthly", "cancel", session_id=visit, choice_id=choice).id == first.id
    stage.run(first)
    assert stage.ask("monthly", "cancel", session_id=visit, choice_id=choice).state == "verified"
    assert len(stage.all(select(Action))) == 1


def test_an_asker_that_rolls_back_leaves_neither_action_nor_work(stage: Stage) -> None:
    def ask_and_fail() -> None:
        with stage.rt.transaction(stage.workspace_id) as session:
            actions.ask(
                session, workspace_id=stage.workspace_id, mode="test", connection_id=stage.connection_id, customer="cus_A",
                subscription="sub_A", verb="cancel", intent={}, now=stage.rt.now(),
            )  # fmt: skip
            raise RuntimeError

    with pytest.raises(RuntimeError):
        ask_and_fail()
    assert stage.all(select(Action)) == []
    assert stage.work_rows() == []


def test_two_workers_with_one_action_have_one_effect(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")
    work_id = stage.work_rows()[0].id
    results = at_once(8, lambda _: work.perform(stage.rt, work_id))
    assert [type(result).__name__ for result in results if result is not None] == ["Done"]
    assert stage.now(action).state == "verified"
    assert stage.effects(action.subscription) == ["discount"]
    assert len(stage.letters()) == 1


def test_retry_waits_for_what_is_under_way_and_is_on_record(stage: Stage) -> None:
    second = stage.ask("monthly", "undo_cancel")
    stage.later(minutes=1)
    first = stage.ask("monthly", "cancel", state="requested", code="plain")
    with pytest.raises(actions.InFlight) as refusal, stage.rt.transaction(stage.workspace_id) as session:
        actions.retry(session, stage.workspace_id, first.id, stage.rt.now(), "usr_1")
    assert refusal.value.action_id == second.id
    stage.run(second)
    with stage.rt.transaction(stage.workspace_id) as session:
        assert actions.retry(session, stage.workspace_id, first.id, stage.rt.now(), "usr_1") is True
    assert stage.run(first).state == "verified"
    with stage.rt.transaction(stage.workspace_id) as session:
        assert actions.retry(session, stage.workspace_id, first.id, stage.rt.now(), "usr_1") is False
    assert [(entry.actor, entry.verb) for entry in stage.all(select(AuditEntry))] == [("usr_1", "action.retried")]


def test_of_many_who_press_retry_one_is_heard(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel", state="requested", code="plain")

    def press(_: int) -> bool:
        with stage.rt.transaction(stage.workspace_id) as session:
            return actions.retry(session, stage.workspace_id, action.id, stage.rt.now(), "usr_1")

    assert sorted(map(str, at_once(8, press))) == ["False"] * 7 + ["True"]
    assert stage.run(action).state == "verified"


def test_a_request_without_a_connection_is_retried_on_the_one_there_is_by_then(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel", connection_id=None, state="requested", code="not_connected")
    with stage.rt.transaction(stage.workspace_id) as session:
        assert actions.retry_disconnected(session, stage.workspace_id, stage.connection_id, stage.rt.now()) == 1
    assert stage.run(action).state == "verified"


def test_another_tenant_sees_and_moves_nothing(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel", state="requested", code="plain")
    with stage.rt.transaction("ws_other") as session:
        assert actions.waiting_counts(session, stage.workspace_id) == {}
        assert actions.retry(session, stage.workspace_id, action.id, stage.rt.now(), "usr_x") is False
