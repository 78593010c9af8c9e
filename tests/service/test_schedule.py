"""Periodic work keeps itself going: each row once, at its time, whoever sweeps and whatever becomes of Redis."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time
from redis import Redis
from sqlalchemy import text

from connect_app import connections
from connect_app.runtime import Runtime
from jobs import queues, schedule, sweep, work
from sandbox.stripe.local import LocalStripe
from tests import make

PER_CONNECTION = sorted(periodic.kind for periodic in schedule.TABLE if periodic.per == "connection")
PER_SERVER = sorted(periodic.kind for periodic in schedule.TABLE if periodic.per == "server")


def rows(rt: Runtime) -> list[Any]:
    with rt.transaction() as session:
        return list(
            session.execute(text("select kind, row_id, due_at, attempts, gave_up_at, problem from work order by kind, row_id")).all()
        )


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    """A workspace that is read in and has no work left."""
    made = make.workspace(rt, local)
    make.read_in(rt)
    with rt.transaction() as session:
        session.execute(text("delete from work"))
    return made


def test_every_kind_is_asked_for_once_for_each_account_however_many_workers_sweep(rt: Runtime, local: LocalStripe) -> None:
    connected = sorted(make.workspace(rt, local).connection_id for _ in range(2))
    with rt.transaction() as session:
        session.execute(text("delete from work"))
    with ThreadPoolExecutor(4) as workers:
        asked = sum(workers.map(lambda _: sweep.ask(rt), range(8)))
    expected = [(kind, connection) for kind in PER_CONNECTION for connection in connected] + [(kind, schedule.ONCE) for kind in PER_SERVER]
    assert [(row.kind, row.row_id) for row in rows(rt)] == sorted(expected)
    assert asked == len(expected)
    assert sweep.ask(rt) == 0


@pytest.mark.usefixtures("stage")
def test_accounts_do_not_all_come_at_once(rt: Runtime) -> None:
    sweep.ask(rt)
    every = {periodic.kind: periodic.every for periodic in schedule.TABLE}
    now = rt.now()
    for row in rows(rt):
        assert row.due_at <= now + every[row.kind]
    assert len({row.due_at for row in rows(rt)}) == len(rows(rt))


@pytest.mark.usefixtures("stage")
def test_a_day_holds_each_kind_as_often_as_its_period_fits(rt: Runtime, local: LocalStripe) -> None:
    local.is_quiet = True
    sweep.ask(rt)
    runs = dict.fromkeys((*PER_CONNECTION, *PER_SERVER), 0)
    began = datetime.now(UTC)
    with freeze_time(began) as clock:
        for _ in range(24 * 2):
            clock.tick(timedelta(minutes=30))
            before = {row.kind: row.due_at for row in rows(rt)}
            work.drain(rt, queues.UPKEEP)
            after = {row.kind: row.due_at for row in rows(rt)}
            for kind in runs:
                runs[kind] += after[kind] != before[kind]
    assert 22 <= runs["reconcile"] <= 24
    assert runs["compare"] == 1
    assert 3 <= runs["check_connection"] <= 4
    assert 22 <= runs["retention"] <= 24


def test_what_failed_for_good_is_tried_anew_at_its_next_time(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        row = queues.enqueue(session, "reconcile", stage.connection_id, stage.workspace_id, due_at=rt.now())
    local.faults.add({"kind": "500"})
    with rt.transaction() as session:
        session.execute(text("update work set attempts = 1000"))
    assert isinstance(work.perform(rt, row), work.GiveUp)
    [put_off] = rows(rt)
    assert (put_off.gave_up_at, put_off.attempts) == (None, 0)
    assert "500" in put_off.problem
    assert timedelta(minutes=59) < put_off.due_at - rt.now() <= timedelta(hours=1)
    local.faults.rules.clear()
    later = dataclasses.replace(rt, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    assert work.perform(later, row) == work.Done()
    assert rows(rt)[0].problem is None


def test_asked_for_in_between_it_is_done_at_once_and_then_again_at_its_time(rt: Runtime, stage: make.Stage) -> None:
    def ask() -> str:
        with rt.transaction(stage.workspace_id) as session:
            return queues.enqueue(session, "check_connection", stage.connection_id, stage.workspace_id, due_at=rt.now())

    row = ask()
    assert work.perform(rt, row) == work.Done()
    assert work.perform(rt, row) is None
    assert ask() == row
    assert work.perform(rt, row) == work.Done()
    assert rows(rt)[0].due_at > rt.now() + timedelta(hours=5)


@pytest.mark.usefixtures("stage")
def test_with_redis_away_the_sweep_does_it_alone(rt: Runtime) -> None:
    nowhere = dataclasses.replace(rt, redis=Redis(port=1, socket_connect_timeout=0.1))
    sweep.ask(nowhere)
    with rt.transaction() as session:
        # Those that ask Stripe nothing: with nobody counting requests across processes, each of the others takes seconds.
        session.execute(text("delete from work where kind not in ('watch', 'retention')"))
        session.execute(text("update work set due_at = :now"), {"now": rt.now()})
    sweep.tick(nowhere, queues.UPKEEP)
    assert [row.kind for row in rows(rt) if row.due_at > rt.now()] == ["retention", "watch"]


def test_nothing_is_asked_for_an_account_that_is_gone(rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="deauthorized", actor="holdfast")
    sweep.ask(rt)
    assert {row.row_id for row in rows(rt)} == {schedule.ONCE}
