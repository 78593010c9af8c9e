"""Transactions that settle, choose, validate and remind about one customer at once: they take rows in one order, and none is undone."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import event, text, update

from connect_app import config
from connect_app.models import Action, FlowSession
from connect_app.preferences import Preferences
from flow_pages import document, sessions, visits
from jobs import actions, validation, work
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import Stage
from webhooks.catalogue import Subject

GIFT = {"id": "off_gift", "kind": "custom", "headline": "A gift", "accept": "Yes", "decline": "No"}
Said = Callable[[str, Any], bool]


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local) as opened:
        yield opened


def crossing(stage: Stage, first: Callable[[], object], first_has: Said, second: Callable[[], object], second_has: Said) -> list[object]:
    """Both at once, each stopped when it has said what it is to hold, until the other holds its own or waits for it; what they gave.

    Where they take their rows in two orders, each then wants what the other has, and PostgreSQL undoes one of them: that is raised.
    """
    names: dict[int, int] = {}
    backends: dict[int, int] = {}
    over: set[int] = set()
    holds = (threading.Event(), threading.Event())
    wanted = (first_has, second_has)

    def said(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        mine = names.get(threading.get_ident())
        if mine is None:
            return
        backends[mine] = cursor.connection.info.backend_pid
        if not holds[mine].is_set() and wanted[mine](statement, parameters):
            holds[mine].set()
            other = 1 - mine
            until(lambda: holds[other].is_set() or waits(other) or other in over, "the other holds what it is to hold, or waits")

    def waits(other: int) -> bool:
        if other not in backends:
            return False
        with stage.rt.engine.connect() as connection:
            blocked = connection.execute(text("select cardinality(pg_blocking_pids(:pid))"), {"pid": backends[other]}).scalar_one()
        return bool(blocked)

    def run(number: int, deed: Callable[[], object]) -> object:
        names[threading.get_ident()] = number
        try:
            return deed()
        finally:
            over.add(number)

    def before(*told: Any) -> None:
        # Known before the statement is sent, so that the other can see it wait.
        mine = names.get(threading.get_ident())
        if mine is not None:
            backends[mine] = told[1].connection.info.backend_pid

    event.listen(stage.rt.engine, "before_cursor_execute", before)
    event.listen(stage.rt.engine, "after_cursor_execute", said)
    try:
        with ThreadPoolExecutor(2) as pool:
            both: list[Future[object]] = [pool.submit(run, number, deed) for number, deed in enumerate((first, second))]
            done = [each.result(60) for each in both]
    finally:
        event.remove(stage.rt.engine, "before_cursor_execute", before)
        event.remove(stage.rt.engine, "after_cursor_execute", said)
    assert all(each.is_set() for each in holds), "one of them never held what it was to hold: this shows nothing"
    assert "deadlock" not in str(done), done  # work that PostgreSQL has undone is tried again
    return done


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, f"not within 20 s: {what}"
        time.sleep(0.01)


def has_session(session_id: str) -> Said:
    """The session's row is held: by whoever decides about it, or by its choice."""

    def said(statement: str, parameters: Any) -> bool:
        is_lock = "FROM sessions" in statement and "FOR NO KEY UPDATE" in statement
        return (is_lock or statement.startswith("UPDATE sessions SET")) and session_id in str(parameters)

    return said


def has_work(kind: str, row_id: str) -> Said:
    """The row of this work is held, because it was asked for."""
    return lambda statement, parameters: "insert into work" in statement and kind in str(parameters) and row_id in str(parameters)


def waiting_then_late(stage: Stage) -> tuple[Action, Action]:
    """An undo that waits for a person, and a later cancel of the same subscription that comes too late: the one read settles both."""
    customer, subscription = stage.shapes["monthly"]
    older = stage.ask("monthly", "undo_cancel", state="requested", code="plain")
    stage.later(seconds=5)
    late = stage.ask("monthly", "cancel", ledgers.TOO_LATE, session_id=stage.visit(customer, subscription))
    return older, late


def session_of(action: Action) -> str:
    assert action.session_id is not None
    return action.session_id


def test_who_settles_an_older_request_with_their_own_and_who_decides_about_its_session_do_not_undo_each_other(stage: Stage) -> None:
    older, late = waiting_then_late(stage)
    visit = session_of(older)
    with stage.rt.transaction(stage.workspace_id) as session:
        validation.ask(session, stage.workspace_id, [visit], stage.rt.now())
    crossing(
        stage,
        lambda: stage.work(late.id),
        has_work("validate", visit),
        lambda: stage.work(visit, "validate"),
        has_session(visit),
    )
    assert (stage.now(late).state, stage.now(older).state) == ("manual", "verified")


def test_a_customer_who_takes_it_back_and_the_proof_of_their_cancel_do_not_undo_each_other(stage: Stage) -> None:
    customer, subscription = stage.shapes["monthly"]
    cancel = stage.ask("monthly", "cancel")

    def press() -> str:
        try:
            with stage.rt.transaction(stage.workspace_id) as session:
                session.execute(update(FlowSession).where(FlowSession.id == cancel.session_id).values(last_activity_at=stage.rt.now()))
                return actions.ask(
                    session,
                    workspace_id=stage.workspace_id,
                    mode=stage.mode,
                    connection_id=stage.connection_id,
                    customer=customer,
                    subscription=subscription,
                    verb="undo_cancel",
                    intent={},
                    now=stage.rt.now(),
                    session_id=cancel.session_id,
                ).state
        except actions.InFlight as flight:
            return flight.action_id

    def is_moved(statement: str, parameters: Any) -> bool:
        return statement.startswith("UPDATE actions SET") and "verified" in str(parameters)

    pressed, done = crossing(stage, press, has_session(session_of(cancel)), lambda: stage.work(cancel.id), is_moved)
    assert pressed in (cancel.id, "queued")
    assert isinstance(done, work.Done), done
    assert stage.now(cancel).state == "verified"


def test_a_choice_without_a_change_and_the_settling_of_the_customers_other_requests_do_not_undo_each_other(stage: Stage) -> None:
    older, late = waiting_then_late(stage)
    visit = session_of(older)
    with stage.rt.transaction(stage.workspace_id) as session:
        session.get_one(FlowSession, visit).state = "open"

    def choose() -> object:
        with stage.rt.transaction(stage.workspace_id) as session:
            return sessions.accept(
                session, seen(stage, session.get_one(FlowSession, visit)), TypeAdapter(document.Offer).validate_python(GIFT),
                verb=None, intent={}, picked="", headline="A gift", terms=(), cost=None, now=stage.rt.now(),
            )  # fmt: skip

    _, choice = crossing(stage, lambda: stage.work(late.id), has_work("validate", visit), choose, has_session(visit))
    assert choice is not None
    assert (stage.now(late).state, stage.now(older).state) == ("manual", "verified")


def test_a_reminder_of_what_waits_and_the_settling_of_it_do_not_undo_each_other(stage: Stage) -> None:
    older, late = waiting_then_late(stage)
    row_id = f"{stage.workspace_id}/test"
    held = "FROM actions", "FOR UPDATE"
    crossing(
        stage,
        lambda: stage.work(late.id),
        lambda statement, _: "UPDATE actions SET" in statement,
        lambda: stage.work(row_id, "remind"),
        lambda statement, _: all(word in statement for word in held) or ("from work" in statement and "for update" in statement),
    )
    assert (stage.now(late).state, stage.now(older).state) == ("manual", "verified")


def seen(stage: Stage, row: FlowSession) -> visits.Visit:
    """The visit as a page would have read it."""
    return visits.Visit(
        row=row, workspace_name="Fernhill", preferences=Preferences(), connection=stage.connection(), flow=document.default_flow(),
        subscription=None, customer=None, as_of=None, is_doubtful=False, mappings=(), answers={}, choice=None,
        subject=Subject(customer_id=row.customer, subscription_id=row.subscription),
    )  # fmt: skip
