"""What owners are told about a connection: once at its opening, not again while it stands, and no more when it is over."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time
from sqlalchemy import select, text

from connect_app import connections, ids
from connect_app.models import Alert, Delivery, Membership, User
from connect_app.runtime import Runtime
from jobs import queues, work
from sandbox.stripe.local import LocalStripe
from tests import make
from webhooks import events, store


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    made = make.workspace(rt, local)
    make.read_in(rt)
    for place in range(2):
        add_owner(rt, made, f"owner{place}@fernhill.example")
    return made


def add_owner(rt: Runtime, stage: make.Stage, email: str) -> None:
    user = ids.new("usr")
    with rt.transaction(stage.workspace_id) as session:
        session.add(User(id=user, email=email, created_at=rt.now()))
        session.flush()
        session.add(Membership(user_id=user, workspace_id=stage.workspace_id, role="owner", created_at=rt.now()))


def watch(rt: Runtime, stage: make.Stage) -> dict[str, Any]:
    """Look at the connection now; gives the open alerts by kind."""
    with rt.transaction(stage.workspace_id) as session:
        row = queues.enqueue(session, "watch", stage.connection_id, stage.workspace_id, due_at=rt.now())
    assert work.perform(rt, row) == work.Done()
    with rt.transaction(stage.workspace_id) as session:
        return {one.kind: one.details for one in session.execute(select(Alert).where(Alert.closed_at.is_(None))).scalars()}


def letters(rt: Runtime, stage: make.Stage) -> list[Any]:
    with rt.transaction(stage.workspace_id) as session:
        rows = session.execute(select(Delivery).where(Delivery.topic.like("alert/%")).order_by(Delivery.asked_at)).scalars()
        return [row.payload for row in rows]


def keep(rt: Runtime, stage: make.Stage, number: int) -> None:
    """A webhook brings an event, which nobody understands yet."""
    body = {"object": "event", "id": f"evt_{number}", "type": "customer.updated", "created": int(rt.now().timestamp())}
    body |= {"account": stage.account, "livemode": stage.mode == "live", "data": {"object": {"object": "customer", "id": "cus_x"}}}
    with rt.transaction() as session:
        store.keep(session, [events.envelope(json.dumps(body).encode())], rt.now())


def ahead(minutes: float) -> Any:
    return freeze_time(datetime.now(UTC) + timedelta(minutes=minutes), tick=True)


def change(rt: Runtime, stage: make.Stage, statement: str) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text(statement))


def test_all_is_well(rt: Runtime, stage: make.Stage) -> None:
    assert watch(rt, stage) == {}
    assert letters(rt, stage) == []


def test_news_that_waits_too_long_is_told_once_and_is_over_when_it_is_understood(rt: Runtime, stage: make.Stage) -> None:
    keep(rt, stage, 1)
    assert watch(rt, stage) == {}
    with ahead(6):
        assert watch(rt, stage)["lagging"]["seconds"] >= 359
        assert watch(rt, stage)["lagging"]["seconds"] >= 359
    with ahead(8):
        watch(rt, stage)
    assert len(letters(rt, stage)) == 1
    work.drain(rt, queues.EVENTS)
    with ahead(9):
        assert watch(rt, stage) == {}


def test_an_opening_after_the_end_is_told_anew(rt: Runtime, stage: make.Stage) -> None:
    for _ in range(2):
        change(rt, stage, "update connections set can_write = false")
        assert watch(rt, stage) == {"cannot_write": {}}
        change(rt, stage, "update connections set can_write = true")
        assert watch(rt, stage) == {}
    assert len(letters(rt, stage)) == 2


def test_events_that_failed_are_counted_until_they_are_replayed(rt: Runtime, stage: make.Stage) -> None:
    for number in range(3):
        keep(rt, stage, number)
    change(rt, stage, "update webhook_events set state = 'failed'")
    change(rt, stage, "delete from webhook_pending")
    assert watch(rt, stage) == {"events_failed": {"count": 3}}
    change(rt, stage, "update webhook_events set state = 'done'")
    assert watch(rt, stage) == {}


@pytest.mark.parametrize(("reason", "is_told"), [("deauthorized", True), ("access_lost", True), ("disconnected_here", False)])
def test_a_lost_account_is_told_unless_its_owner_let_it_go(rt: Runtime, stage: make.Stage, reason: str, is_told: bool) -> None:
    change(rt, stage, "update connections set can_write = false")
    watch(rt, stage)
    with rt.transaction(stage.workspace_id) as session:
        connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason=reason, actor="holdfast")
    assert set(watch(rt, stage)) == ({"access_lost"} if is_told else set()), "what was open before says nothing any more"
    change(rt, stage, "update connections set state = 'connected', disconnect_reason = null, can_write = true")
    assert watch(rt, stage) == {}


def test_in_test_mode_only_the_first_owner_is_written_to(rt: Runtime, stage: make.Stage) -> None:
    change(rt, stage, "update connections set can_write = false")
    watch(rt, stage)
    [letter] = letters(rt, stage)
    assert letter["to"] == "owner0@fernhill.example"
    assert letter["subject"].startswith("[Test] We may not change subscriptions")


def test_in_live_mode_every_owner_is_written_to_with_what_to_do_and_where(rt: Runtime, local: LocalStripe) -> None:
    stage = make.workspace(rt, local, mode="live")
    for place in range(2):
        add_owner(rt, stage, f"live{place}@fernhill.example")
    change(rt, stage, "update connections set can_write = false")
    watch(rt, stage)
    sent = letters(rt, stage)
    assert {letter["to"] for letter in sent} == {"live0@fernhill.example", "live1@fernhill.example"}
    for letter in sent:
        assert not letter["subject"].startswith("[Test]")
        assert "What to do: An owner presses Reconnect" in letter["text"]
        assert f"{rt.settings.base_url}/admin/{stage.slug}/settings/stripe?mode=live" in letter["text"]
