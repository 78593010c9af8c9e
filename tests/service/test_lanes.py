"""Each account has a lane of its own: one's flood, poison or silence does not keep another's news waiting."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from connect_app import ids
from connect_app.models import Work
from connect_app.runtime import Runtime
from jobs import budget, queues, reads, work
from sandbox.stripe.local import LocalStripe
from tests import make
from webhooks import events, projections, store

PAST = int(time.time()) - 10_000


def customers(stage: make.Stage, count: int, **changes: Any) -> list[events.Envelope]:
    """As many customers' news, or something like it."""
    found = []
    for place in range(count):
        customer = {"id": f"cus_{place}", "object": "customer", "created": 5, "name": "Ada", "metadata": {}, **changes}
        told = {"id": ids.new("evt"), "object": "event", "type": "customer.updated", "created": PAST + place // 10, "livemode": False}
        told |= {"account": stage.account, "api_version": "2026-10-28.endive", "data": {"object": customer}}
        found.append(events.envelope(json.dumps(told).encode()))
    return found


def keep(rt: Runtime, told: list[events.Envelope]) -> None:
    for begin in range(0, len(told), 1000):
        with rt.transaction() as session:
            store.keep(session, told[begin : begin + 1000], rt.now())


def pending(rt: Runtime, stage: make.Stage) -> int:
    with rt.transaction() as session:
        lane = store.lane_id(stage.account, False)
        return int(session.execute(text("select count(*) from webhook_pending where lane_id = :lane"), {"lane": lane}).scalar_one())


@contextmanager
def worker(rt: Runtime, local: LocalStripe) -> Iterator[None]:
    """A real worker of the queue `events`, ready to work."""
    env = {**os.environ, **make.environ(local), "DATABASE_URL": rt.settings.database_url, "REDIS_URL": rt.settings.redis_url}
    program = [sys.executable, "-m", "jobs.worker", queues.EVENTS]
    process = subprocess.Popen(program, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def until(is_so: Any, seconds: float) -> float:
    """How long it took to come about."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < seconds, "it never came about"
        time.sleep(0.02)
    return time.monotonic() - began


def test_a_batch_reads_its_own_events_only_and_what_is_done_stays_in_its_place(rt: Runtime, local: LocalStripe) -> None:
    stage = make.workspace(rt, local)
    # Nobody has counted these tables yet: the planner takes them for small.
    keep(rt, customers(stage, 3000))
    counted = text(
        "select sum(seq_tup_read + idx_tup_fetch) as read, sum(n_tup_upd) as moved, sum(n_tup_hot_upd) as in_place"
        " from pg_stat_xact_user_tables where relname in ('webhook_events', 'webhook_pending')"
    )
    with rt.transaction() as session:
        lane = store.lock(session, store.lane_id(stage.account, False))
        assert lane
        before = session.execute(counted).one()
        taken = store.take(session, lane.id, 100)
        assert len(taken) == 100
        assert session.execute(counted).one().read - before.read <= 200
        store.settle(session, [event.id for event in taken], "done", rt.now())
        after = session.execute(counted).one()
    assert after.read - before.read <= 400
    assert (after.moved - before.moved, after.in_place - before.in_place) == (100, 100)


@pytest.mark.parametrize(("count", "changes"), [(20_000, {}), (6_000, {"metadata": 7})], ids=["flood", "poison"])
def test_one_account_s_flood_or_poison_keeps_another_s_single_event_waiting_for_a_turn_only(
    rt: Runtime, local: LocalStripe, count: int, changes: dict[str, Any]
) -> None:
    loud, quiet = make.workspace(rt, local), make.workspace(rt, local)
    with rt.transaction() as session:
        session.execute(text("delete from work"))
    keep(rt, customers(loud, count, **changes))
    with worker(rt, local):
        with rt.transaction() as session:
            states = "select count(*) from webhook_events where attempts > 0 or state <> 'pending'"
        until(lambda: _count(rt, states) > 0, 60)
        keep(rt, customers(quiet, 1))
        until(lambda: pending(rt, quiet) == 0, 30)
        # The loud one had most of its own still before it.
        assert pending(rt, loud) > count // 4
    with rt.transaction(quiet.workspace_id) as session:
        assert (
            session.execute(text("select count(*) from customers where connection_id = :id"), {"id": quiet.connection_id}).scalar_one() == 1
        )


def _count(rt: Runtime, query: str) -> int:
    with rt.transaction() as session:
        return int(session.execute(text(query)).scalar_one())


def test_what_comes_in_while_it_is_drained_leaves_no_backlog(rt: Runtime, local: LocalStripe) -> None:
    stages = make.workspace(rt, local), make.workspace(rt, local)
    with worker(rt, local):
        keep(rt, customers(stages[0], 1))
        until(lambda: pending(rt, stages[0]) == 0, 60)
        told = [customers(stage, 4000) for stage in stages]
        for begin in range(0, 4000, 100):
            for one in told:
                with rt.transaction() as session:
                    store.keep(session, one[begin : begin + 100], rt.now())
        until(lambda: not any(pending(rt, stage) for stage in stages), 5)
    assert _count(rt, "select count(*) from webhook_events where state <> 'done'") == 0


def test_a_full_lane_goes_to_the_back_after_its_turn(rt: Runtime, local: LocalStripe) -> None:
    stage = make.workspace(rt, local)
    with rt.transaction() as session:
        session.execute(text("delete from work"))
    keep(rt, customers(stage, 2500))
    with rt.transaction() as session:
        work_id = session.execute(select(Work.id).where(Work.kind == "drain")).scalar_one()
    assert work.perform(rt, work_id) == work.Again(problem="more is waiting", after=timedelta(0))
    assert pending(rt, stage) == 500
    assert work.perform(rt, work_id) == work.Done()
    assert pending(rt, stage) == 0


def test_an_account_whose_answers_do_not_come_is_left_alone_for_longer_each_time_and_costs_no_waiting(
    rt: Runtime, local: LocalStripe
) -> None:
    silent, other = make.workspace(rt, local), make.workspace(rt, local)
    for _ in range(2):
        budget.rest(rt, silent.account, "test")
    left = budget.resting(rt, silent.account, "test")
    assert left is not None
    assert timedelta(seconds=3) < left < timedelta(seconds=6)
    assert budget.resting(rt, other.account, "test") is None
    begin = len(local.requests)
    for stage in (silent, other):
        with rt.transaction(stage.workspace_id) as session:
            projections.refetch(session, stage.workspace_id, stage.connection_id, "customer", "cus_1", due_at=rt.now())
    work.drain(rt, queues.EVENTS)
    assert [request["account"] for request in local.requests[begin:] if "/customers/" in request["path"]] == [other.account]


def test_a_thousand_doubts_of_one_account_ring_one_bell_and_a_new_lane_s_bell_goes_before_it(rt: Runtime, local: LocalStripe) -> None:
    loud, quiet = make.workspace(rt, local), make.workspace(rt, local)
    with rt.transaction() as session:
        session.execute(text("delete from work"))
    rt.redis.flushdb()
    wanted = {("customer", f"cus_{place}"): rt.now() for place in range(1000)}
    with rt.transaction(loud.workspace_id) as session:
        projections.refetch_all(session, loud.workspace_id, loud.connection_id, wanted)
    assert _count(rt, "select count(*) from work where kind = 'refetch'") == 1000
    with rt.transaction(loud.workspace_id) as session:
        for kind, id in sorted(wanted)[:50]:
            projections.refetch(session, loud.workspace_id, loud.connection_id, kind, id, due_at=rt.now())
    assert queues.queue(rt.redis, queues.EVENTS).count == 1
    keep(rt, customers(quiet, 1))
    [first] = queues.queue(rt.redis, queues.EVENTS).get_jobs(0, 1)
    with rt.transaction() as session:
        assert session.execute(select(Work.id).where(Work.kind == "drain")).scalar_one() == first.args[0]


def test_an_account_that_is_owed_one_read_waits_for_a_turn_of_one_that_is_owed_thousands(rt: Runtime, local: LocalStripe) -> None:
    loud, quiet = make.workspace(rt, local), make.workspace(rt, local)
    with rt.transaction() as session:
        session.execute(text("delete from work"))
    rt.redis.flushdb()
    for stage, count in ((loud, 5000), (quiet, 1)):
        with rt.transaction(stage.workspace_id) as session:
            wanted = {("customer", f"cus_{place}"): rt.now() for place in range(count)}
            projections.refetch_all(session, stage.workspace_id, stage.connection_id, wanted)
    begin = len(local.requests)

    def asked() -> list[str]:
        return [request["account"] for request in local.requests[begin:] if "/customers/" in request["path"]]

    heard = 0
    while quiet.account not in asked():
        heard += 1
        assert heard <= 4, "it stands behind the other's"
        [work_id] = queues.rung(rt.redis, queues.EVENTS)[:1]
        rt.redis.lpop(queues.queue(rt.redis, queues.EVENTS).key)
        work.perform(rt, work_id)
    assert len(asked()) - 1 <= 2 * reads.TURN
    assert len(queues.rung(rt.redis, queues.EVENTS)) <= 2


def test_what_a_disconnected_account_was_owed_is_forgotten(rt: Runtime, local: LocalStripe) -> None:
    stage = make.workspace(rt, local)
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("delete from work"))
        wanted = {("customer", f"cus_{place}"): rt.now() for place in range(30)}
        projections.refetch_all(session, stage.workspace_id, stage.connection_id, wanted)
        session.execute(text("update connections set state = 'disconnected'"))
    begin = len(local.requests)
    work.drain(rt, queues.EVENTS)
    assert local.requests[begin:] == []
    assert _count(rt, "select count(*) from work") == 0
