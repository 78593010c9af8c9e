"""The actions worker's hands: who waits for one slow account keeps no other customer waiting."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from redis import Redis
from sqlalchemy import text

from connect_app import config
from jobs import hands, queues, sweep, turns, work, worker
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


def test_an_action_that_waits_for_stripe_keeps_no_other_waiting(stage: Stage) -> None:
    slow, quick = stage.ask("monthly"), stage.ask("yearly")
    answers = threading.Event()
    stage.client.before.append(lambda _, url: _wait(answers) if slow.subscription in url else None)
    crew = hands.Hands(partial(work.perform, stage.rt), worker.HANDS[queues.ACTIONS])
    try:
        with stage.rt.transaction() as session:
            asked = text("select id from work where kind = 'action' order by row_id = :quick")
            for work_id in session.execute(asked, {"quick": quick.id}).scalars().all():
                crew.take(work_id)
        until = time.monotonic() + 15
        while stage.now(quick).state != "verified" and time.monotonic() < until:
            time.sleep(0.02)
        assert (stage.now(quick).state, stage.now(slow).state) == ("verified", "queued")
    finally:
        answers.set()
        crew.rest()
    assert stage.now(slow).state == "verified"


def test_without_redis_too_the_hands_do_it_and_who_waits_for_stripe_keeps_no_other_waiting(stage: Stage) -> None:
    slow, quick = stage.ask("monthly"), stage.ask("yearly")
    answers = threading.Event()
    stage.client.before.append(lambda _, url: _wait(answers) if slow.subscription in url else None)
    alone = dataclasses.replace(stage.rt, redis=Redis.from_url("unix:///nowhere/kv.sock"))
    crew = hands.Hands(partial(work.perform, alone), worker.HANDS[queues.ACTIONS])
    work.employ(crew)
    try:
        sweep.tick(alone, queues.ACTIONS)
        _until(lambda: stage.now(quick).state == "verified")
        assert stage.now(slow).state == "queued"
    finally:
        answers.set()
        crew.rest()
        work.employ(None)
    assert stage.now(slow).state == "verified"


def test_a_hand_that_is_free_goes_on_with_what_is_overdue_without_a_bell_until_it_is_asked_for_or_told_to_rest() -> None:
    left, done, rung = [str(number) for number in range(50)], [], threading.Event()

    def do(work_id: str) -> None:
        done.append(work_id)
        if work_id == "20":
            rung.set()
            # Somebody is at the door from here on: the bell is taken before what is overdue.
            _until(lambda: crew.is_asked)

    def overdue() -> list[str]:
        found = left[:10]
        del left[:10]
        return found

    crew = hands.Hands(do, 1, overdue)
    crew.take("first")
    assert rung.wait(10)
    crew.take("second")
    _until(lambda: len(done) == 52)
    assert done == ["first", *map(str, range(21)), "second", *map(str, range(21, 50))]
    crew.rest()


def test_hands_that_rest_take_up_nothing_more() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), []

    def do(work_id: str) -> None:
        done.append(work_id)
        begun.set()
        assert go_on.wait(10)

    crew = hands.Hands(do, 1, lambda: ["overdue"])
    crew.take("first")
    assert begun.wait(10)
    resting = threading.Thread(target=crew.rest)
    resting.start()
    _until(lambda: crew.is_resting)
    go_on.set()
    resting.join(10)
    assert done == ["first"]


def test_what_is_overdue_is_due_for_longer_than_a_bell_takes_and_in_nobodys_hands(stage: Stage) -> None:
    actions = [stage.ask(shape) for shape in ("monthly", "yearly", "trialing")]
    assert turns.overdue(stage.rt, queues.ACTIONS) == []
    stage.later(seconds=2)
    rows = {row.row_id: row.id for row in stage.work_rows()}
    assert set(turns.overdue(stage.rt, queues.ACTIONS)) == set(rows.values())
    assert turns.overdue(stage.rt, queues.EVENTS) == []
    stage.sql(f"update work set lease_until = clock_timestamp() + interval '1 minute' where row_id = '{actions[0].id}'")  # noqa: S608
    assert set(turns.overdue(stage.rt, queues.ACTIONS)) == {rows[action.id] for action in actions[1:]}


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def _wait(answers: threading.Event) -> None:
    assert answers.wait(20)
