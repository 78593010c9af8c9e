"""Work is done by one at a time, again when asked for again, and not at all by whoever has lost its lease."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from connect_app import db
from connect_app.models import Workspace
from connect_app.runtime import Runtime
from jobs import mail, queues, sweep, work, worker
from sandbox.stripe.local import LocalStripe
from tests import make

DEEDS: dict[str, object] = {}


def deed(rt: Runtime, claim: work.Claim) -> work.End:
    """The handler of these tests' work: what the test has put under the row's id."""
    return DEEDS[claim.row_id](rt, claim)  # type: ignore[no-any-return, operator]


def give_up(_rt: Runtime, claim: work.Claim, problem: str) -> None:
    DEEDS[f"given up {claim.row_id}"] = problem


@pytest.fixture(autouse=True)
def _a_kind_of_our_own() -> object:
    here = "tests.service.test_work"
    queues.KINDS["test"] = queues.Kind(queue=queues.UPKEEP, handler=f"{here}:deed", attempts=3, given_up=f"{here}:give_up")
    DEEDS.clear()
    yield
    del queues.KINDS["test"]


def ask(rt: Runtime, deed: object, row: str = "row_1", after: float = 0) -> str:
    DEEDS[row] = deed
    with rt.transaction() as session:
        return queues.enqueue(session, "test", row, None, due_at=rt.now() + timedelta(seconds=after))


def row(rt: Runtime, work_id: str) -> object:
    with rt.transaction() as session:
        return session.execute(text("select * from work where id = :id"), {"id": work_id}).first()


def done(_rt: Runtime, _claim: work.Claim) -> work.End:
    return work.Done()


def test_done_work_is_gone(rt: Runtime) -> None:
    work_id = ask(rt, done)
    assert work.perform(rt, work_id) == work.Done()
    assert row(rt, work_id) is None
    assert work.perform(rt, work_id) is None


def test_work_is_not_done_before_it_is_due(rt: Runtime) -> None:
    work_id = ask(rt, done, after=60)
    assert work.perform(rt, work_id) is None
    ahead = dataclasses.replace(rt, clock=lambda: datetime.now(UTC) + timedelta(seconds=61))
    assert work.perform(ahead, work_id) == work.Done()


def test_work_asked_for_again_while_in_hand_is_done_once_more(rt: Runtime) -> None:
    runs: list[int] = []

    def asks_again(rt: Runtime, claim: work.Claim) -> work.End:
        runs.append(claim.token)
        if len(runs) == 1:
            ask(rt, asks_again)
        return work.Done()

    work_id = ask(rt, asks_again)
    work.perform(rt, work_id)
    assert row(rt, work_id) is not None, "the second ask must not be swallowed"
    work.perform(rt, work_id)
    assert len(runs) == 2
    assert row(rt, work_id) is None


@pytest.mark.parametrize("end", [work.Again(problem="later", after=timedelta(hours=1)), work.GiveUp(problem="never")])
def test_an_ask_while_in_hand_is_not_lost_to_a_postponement_or_a_surrender(rt: Runtime, end: work.End) -> None:
    def asks_again(rt: Runtime, _claim: work.Claim) -> work.End:
        ask(rt, done)
        return end

    work_id = ask(rt, asks_again)
    work.perform(rt, work_id)
    assert work.perform(rt, work_id) == work.Done()


def test_one_of_many_workers_gets_it(rt: Runtime) -> None:
    inside, most = [0], [0]
    lock, barrier = threading.Lock(), threading.Barrier(8)

    def slow(_rt: Runtime, _claim: work.Claim) -> work.End:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.2)
        with lock:
            inside[0] -= 1
        return work.Done()

    work_id = ask(rt, slow)
    ends: list[object] = []

    def one() -> None:
        barrier.wait(10)
        ends.append(work.perform(rt, work_id))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert [end for end in ends if end is not None] == [work.Done()]


def test_a_late_worker_is_fenced_out(rt: Runtime) -> None:
    wrote: list[str] = []

    def late(rt: Runtime, claim: work.Claim) -> work.End:
        with rt.transaction() as session:  # the lease runs out, and another takes over
            session.execute(text("update work set lease_until = clock_timestamp() - interval '1 second'"))
        DEEDS[claim.row_id] = done
        assert work.perform(rt, claim.id) == work.Done()
        with rt.transaction() as session:
            claim.fence(session)
            wrote.append("late")
        return work.Done()

    assert work.perform(rt, ask(rt, late)) is None
    assert wrote == []


def test_what_was_in_hand_when_the_database_went_away_is_free_as_soon_as_it_is_back(rt: Runtime) -> None:
    def outlived(rt: Runtime, claim: work.Claim) -> work.End:
        rt.sessions.configure(bind=db.engine("postgresql+psycopg://nobody@/nowhere?host=/nonexistent"))
        DEEDS[claim.row_id] = done
        return work.Done()

    work_id = ask(rt, outlived)
    try:
        with pytest.raises(OperationalError):
            work.perform(rt, work_id)
        with pytest.raises(OperationalError):
            work.give_back(rt)
    finally:
        rt.sessions.configure(bind=rt.engine)
    assert work.perform(rt, work_id) is None, "its lease has yet to run out"
    assert work.give_back(rt) == 1
    assert work.perform(rt, work_id) == work.Done()
    assert work.give_back(rt) == 0


def test_a_late_worker_does_not_delete_what_was_asked_for_since(rt: Runtime) -> None:
    def late(rt: Runtime, claim: work.Claim) -> work.End:
        with rt.transaction() as session:
            session.execute(text("update work set lease_until = clock_timestamp() - interval '1 second'"))
        DEEDS[claim.row_id] = lambda _rt, _claim: work.Again(problem="still at it", after=timedelta(0))
        work.perform(rt, claim.id)
        return work.Done()

    work_id = ask(rt, late)
    assert work.perform(rt, work_id) is None
    left = row(rt, work_id)
    assert left is not None
    assert left.problem == "still at it"  # type: ignore[attr-defined]


def test_an_error_is_tried_again_and_in_the_end_given_up_and_told(rt: Runtime) -> None:
    def broken(_rt: Runtime, _claim: work.Claim) -> work.End:
        raise ZeroDivisionError("no")

    work_id = ask(rt, broken)
    for attempt in (1, 2, 3):
        with rt.transaction() as session:
            session.execute(text("update work set due_at = :now"), {"now": rt.now()})
        assert isinstance(work.perform(rt, work_id), work.GiveUp if attempt == 3 else work.Again)
    assert DEEDS["given up row_1"] == "ZeroDivisionError: no"
    assert work.perform(rt, work_id) is None, "what was given up is not taken up by itself"
    ask(rt, done)
    assert work.perform(rt, work_id) == work.Done()


def test_the_sweep_rings_for_what_is_due_and_free(rt: Runtime) -> None:
    work_id = ask(rt, done)
    ask(rt, done, "row_2", after=60)
    held = ask(rt, done, "row_3")
    rt.redis.flushdb()
    with rt.transaction() as session:
        session.execute(text("update work set lease_until = clock_timestamp() + interval '1 minute' where id = :id"), {"id": held})
    ahead = dataclasses.replace(rt, clock=lambda: datetime.now(UTC) + timedelta(seconds=2))
    sweep.tick(ahead, queues.UPKEEP)
    jobs = queues.queue(rt.redis, queues.UPKEEP).jobs
    assert [list(job.args) for job in jobs] == [[work_id]]


def test_the_sweep_rings_for_everybody_though_one_has_thousands_and_hangs_no_bell_twice(rt: Runtime) -> None:
    with rt.transaction() as session:
        for place in range(400):
            DEEDS[f"row_{place}"] = done
            whose, due_at = ("ws_few", rt.now()) if place == 399 else ("ws_many", rt.now() - timedelta(hours=1))
            last = queues.enqueue(session, "test", f"row_{place}", whose, due_at=due_at)
    rt.redis.flushdb()
    ahead = dataclasses.replace(rt, clock=lambda: datetime.now(UTC) + timedelta(seconds=2))
    sweep.tick(ahead, queues.UPKEEP)
    once = queues.rung(rt.redis, queues.UPKEEP)
    assert last in once[:2]
    sweep.tick(ahead, queues.UPKEEP)
    assert queues.rung(rt.redis, queues.UPKEEP) == once
    # Nor is there a queue so full of the one's bells that the other's is not rung.
    rt.redis.flushdb()
    for _ in range(300):
        queues.ring(rt.redis, queues.UPKEEP, "wrk_of_the_many")
    sweep.tick(ahead, queues.UPKEEP)
    assert last in queues.rung(rt.redis, queues.UPKEEP)[:2]


def test_two_sweeps_at_once_do_not_both_ring(rt: Runtime) -> None:
    ask(rt, done)
    rt.redis.flushdb()
    ahead = dataclasses.replace(rt, clock=lambda: datetime.now(UTC) + timedelta(seconds=2))
    with rt.transaction() as session:
        session.execute(text("select pg_advisory_xact_lock(7015002)"))
        sweep.tick(ahead, queues.UPKEEP)
    assert queues.queue(rt.redis, queues.UPKEEP).count == 0


def test_without_redis_the_sweep_does_the_work_itself(rt: Runtime) -> None:
    work_id = ask(rt, done)
    alone = dataclasses.replace(rt, redis=Redis.from_url("unix:///nowhere/kv.sock"))
    sweep.tick(alone, queues.UPKEEP)
    assert row(rt, work_id) is None


def test_work_is_accepted_while_redis_is_away(rt: Runtime) -> None:
    alone = dataclasses.replace(rt, sessions=dataclasses.replace(rt).sessions)
    alone.sessions.configure(info={"redis": Redis.from_url("unix:///nowhere/kv.sock")})
    try:
        work_id = ask(alone, done)
    finally:
        rt.sessions.configure(info={"redis": rt.redis})
    assert row(rt, work_id) is not None


def test_the_worker_hears_its_bell_and_no_other(rt: Runtime, tmp_path: Path) -> None:
    work_id = ask(rt, done)
    queue = Queue(queues.UPKEEP, connection=rt.redis, serializer=JSONSerializer)
    queue.enqueue("os.mkdir", str(tmp_path / "opened"))
    redis = Redis.from_url(rt.settings.redis_url)
    hears = worker.Worker([Queue(queues.UPKEEP, connection=redis, serializer=JSONSerializer)], connection=redis, serializer=JSONSerializer)
    hears.work(burst=True, logging_level="WARNING")
    redis.close()
    assert row(rt, work_id) is None
    assert queue.count == 0
    assert queue.failed_job_registry.count == 0
    assert not (tmp_path / "opened").exists()


def test_every_kind_of_work_has_a_handler_and_a_queue() -> None:
    for name, kind in queues.KINDS.items():
        assert kind.queue in queues.QUEUES, name


def worker_process(rt: Runtime, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """The program as a Procfile starts it."""
    url = rt.settings.database_url.replace("postgresql+psycopg", "postgresql")
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.worker", *arguments],
        env={**kept, **make.environ(LocalStripe()), "DATABASE_URL": url, "REDIS_URL": rt.settings.redis_url, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_worker_works_until_it_is_told_to_stop(rt: Runtime) -> None:
    with worker_process(rt, "deliveries") as process:
        assert process.stdout is not None
        shown: list[str] = []
        while "worker.ready" not in (line := process.stdout.readline()):
            assert line, f"it did not start: {shown}"
            shown.append(line)
        workspace_id = "ws_1"
        with rt.transaction(workspace_id) as session:
            session.add(Workspace(id=workspace_id, slug="a", name="A", created_at=rt.now()))
            session.flush()
            mail.ask(session, workspace_id=workspace_id, topic="t", to="a@mail.example", subject="S", text="T", now=rt.now())
        while "work.handled" not in (line := process.stdout.readline()):
            assert line
            shown.append(line)
        assert "Subject: S\n" in shown
        process.terminate()
        process.stdout.read()
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "environ", "told"),
    [
        (("actions", "events"), {}, "usage: python -m jobs.worker"),
        (("nothing",), {}, "usage: python -m jobs.worker"),
        (("actions",), {"REDIS_URL": "", "HOLDFAST_SECRET_KEYS": ""}, "HOLDFAST_SECRET_KEYS: "),
    ],
)
def test_a_worker_that_cannot_work_says_why_and_exits_2(
    rt: Runtime, arguments: tuple[str, ...], environ: dict[str, str], told: str
) -> None:
    with worker_process(rt, *arguments, **environ) as process:
        assert process.stdout is not None
        assert told in process.stdout.read()
        assert process.wait(30) == 2


def test_a_worker_refuses_a_role_that_could_see_every_tenant(rt: Runtime) -> None:
    strong = rt.settings.database_url.replace("postgresql+psycopg", "postgresql").replace("holdfast_app@", "postgres@")
    with worker_process(rt, "actions", DATABASE_URL=strong) as process:
        assert process.stdout is not None
        assert "superuser" in process.stdout.read()
        assert process.wait(30) == 2
