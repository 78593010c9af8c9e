"""What no webhook brought is found within the hour, what no event tells within the day; and Stripe is asked no more than that takes."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time
from sqlalchemy import select, text

from connect_app import connections, ids, metrics
from connect_app.models import Alert, Connection, Customer, Delivery, Membership, Subscription, User
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.gateway import REQUIRED_EVENTS
from connect_app.workspaces import accounts as linking
from jobs import comparison, queues, work
from sandbox.stripe import accounts, customers, dashboard
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from tests import customers as visitors
from tests import make
from webhooks import events, mirror, projections, store


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    """A workspace whose account is read in; no webhook of it ever arrives by itself."""
    made = make.workspace(rt, local)
    make.read_in(rt)
    return made


@pytest.fixture
def hand(local: LocalStripe, stage: make.Stage) -> Context:
    return Context(local=local, world=local.world(stage.account, False), source="dashboard")


def connection(rt: Runtime, stage: make.Stage) -> Connection:
    with rt.transaction(stage.workspace_id) as session:
        found = connections.by_id(session, stage.connection_id)
    assert found is not None
    return found


def run(rt: Runtime, stage: make.Stage, kind: str) -> work.End | None:
    """Ask for this work now and do it, and what it asks for in turn."""
    with rt.transaction(stage.workspace_id) as session:
        row = queues.enqueue(session, kind, stage.connection_id, stage.workspace_id, due_at=rt.now())
    end = work.perform(rt, row)
    visitors.drain(rt)
    return end


def arrive(rt: Runtime, local: LocalStripe, stage: make.Stage) -> int:
    """Webhooks bring every event of the account that has happened; gives how many were new."""
    raw = [json.dumps(event).encode() for event in local.world(stage.account, False).all("event")]
    with rt.transaction() as session:
        new = store.keep(session, [events.envelope(one) for one in raw], rt.now())
    work.drain(rt, queues.EVENTS)
    return new


def standing(rt: Runtime, stage: make.Stage) -> dict[str, Any]:
    """The open alerts, by kind."""
    with rt.transaction(stage.workspace_id) as session:
        return {row.kind: row.details for row in session.execute(select(Alert).where(Alert.closed_at.is_(None))).scalars()}


def name_of(rt: Runtime, stage: make.Stage, id: str) -> str | None:
    with rt.transaction(stage.workspace_id) as session:
        found = mirror.customer(session, stage.connection_id, id)
        return found.name if found else None


def hours(count: float) -> Any:
    return freeze_time(datetime.now(UTC) + timedelta(hours=count), tick=True)


def test_what_no_webhook_brought_is_read_from_stripe_within_the_hour(
    rt: Runtime, local: LocalStripe, stage: make.Stage, hand: Context
) -> None:
    monthly, yearly = stage.shapes["monthly"], stage.shapes["yearly"]
    with hours(1):
        customers.update(hand, monthly[0], {"name": "Renamed"})
        dashboard.change(local, monthly[1], {"cancel_at_period_end": True})
        customers.delete(hand, yearly[0], {})
        newcomer = customers.create(hand, {"name": "Newcomer"})["id"]
    with hours(1.5):
        assert run(rt, stage, "reconcile") == work.Done()
    with rt.transaction(stage.workspace_id) as session:
        subscription = mirror.subscription(session, stage.connection_id, monthly[1])
    assert subscription is not None
    assert subscription.cancel_at_period_end
    assert name_of(rt, stage, monthly[0]) == "Renamed"
    assert name_of(rt, stage, newcomer) == "Newcomer"
    assert name_of(rt, stage, yearly[0]) is None, "a customer deleted meanwhile is found out"


def test_events_that_webhooks_brought_cost_no_read(rt: Runtime, local: LocalStripe, stage: make.Stage, hand: Context) -> None:
    with hours(1):
        for _ in range(5):
            customers.create(hand, {"name": "Newcomer"})
        assert arrive(rt, local, stage) >= 5
        before = len(local.requests)
        run(rt, stage, "reconcile")
    asked = [call["path"] for call in local.requests[before:]]
    assert set(asked) == {"/v1/events"}
    assert len(asked) == -(-len(REQUIRED_EVENTS) // 20)
    assert standing(rt, stage) == {}


def test_a_turn_that_is_cut_off_at_any_page_is_repeated_from_the_same_time(
    rt: Runtime, local: LocalStripe, stage: make.Stage, hand: Context
) -> None:
    known = connection(rt, stage).reconciled_at
    assert known is not None
    calls = -(-len(REQUIRED_EVENTS) // 20)
    with hours(1):
        newcomer = customers.create(hand, {"name": "Newcomer"})["id"]
        for answered in range(calls):
            local.faults.rules.clear()
            # So many calls are answered, the next one is not.
            for _ in range(answered):
                local.faults.add({"kind": "slow", "path": "/v1/events", "times": 1})
            local.faults.add({"kind": "500", "path": "/v1/events"})
            assert isinstance(run(rt, stage, "reconcile"), work.Again)
            assert connection(rt, stage).reconciled_at == known
        local.faults.rules.clear()
        run(rt, stage, "reconcile")
    moved = connection(rt, stage).reconciled_at
    assert moved is not None
    assert moved - known > timedelta(minutes=39)
    assert name_of(rt, stage, newcomer) == "Newcomer"


def test_a_long_silence_is_caught_up_with_piece_by_piece_however_short_the_turns(
    rt: Runtime, local: LocalStripe, stage: make.Stage, hand: Context
) -> None:
    local.is_quiet = True
    newcomers = []
    for day in range(1, 4):
        with hours(24 * day):
            local.is_quiet = False
            newcomers.append(customers.create(hand, {"name": f"Of day {day}"})["id"])
            local.is_quiet = True
    short = dataclasses.replace(rt, settings=rt.settings.model_copy(update={"holdfast_lease_seconds": 1.0}))
    with hours(24 * 4):
        turns = 0
        known = connection(rt, stage).reconciled_at
        with rt.transaction(stage.workspace_id) as session:
            row = queues.enqueue(session, "reconcile", stage.connection_id, stage.workspace_id, due_at=rt.now())
        while work.perform(short, row) is not None and turns < 60:
            turns += 1
            assert known is not None
            reached = connection(rt, stage).reconciled_at
            assert reached is not None
            assert reached >= known, "the time never goes back"
            known = reached
        assert known is not None
        assert timedelta(minutes=19) < rt.now() - known < timedelta(minutes=25)
        visitors.drain(rt)
    assert turns > 1
    assert [name_of(rt, stage, id) for id in newcomers] == ["Of day 1", "Of day 2", "Of day 3"]


def test_what_is_old_enough_is_settled_and_judged_though_the_newest_is_too_much(
    rt: Runtime, local: LocalStripe, stage: make.Stage, hand: Context
) -> None:
    calls = -(-len(REQUIRED_EVENTS) // 20)
    with hours(0.5):
        unheard = customers.create(hand, {"name": "Unheard"})["id"]
    with hours(1):
        with rt.transaction(stage.workspace_id) as session:
            row = queues.enqueue(session, "reconcile", stage.connection_id, stage.workspace_id, due_at=rt.now())
        local.faults.add({"kind": "500", "path": "/v1/events"})
        assert isinstance(work.perform(rt, row), work.Again)
    with hours(1.05):
        local.faults.rules.clear()
        local.faults.add({"kind": "slow", "path": "/v1/events", "times": calls, "seconds": 0.01})
        local.faults.add({"kind": "500", "path": "/v1/events"})
        assert isinstance(work.perform(rt, row), work.Again), "the newest has yet to be looked at"
        settled = connection(rt, stage).reconciled_at
        assert settled is not None
        assert timedelta(minutes=19) < rt.now() - settled < timedelta(minutes=21)
        assert standing(rt, stage)["silent"]["missed"] == 1
        visitors.drain(rt)
        assert name_of(rt, stage, unheard) == "Unheard"
        # A turn that is too short even for the newest is not repeated at once.
        local.faults.rules.clear()
        none = dataclasses.replace(rt, settings=rt.settings.model_copy(update={"holdfast_lease_seconds": 0.0}))
        with rt.transaction() as session:
            session.execute(text("update work set due_at = :now, lease_until = null where id = :id"), {"now": rt.now(), "id": row})
        end = work.perform(none, row)
        assert isinstance(end, work.Again)
        assert end.after is not None
        assert end.after > timedelta(minutes=4)


def test_what_was_read_after_its_news_is_not_read_again_however_often_the_news_are_gone_through(
    rt: Runtime, local: LocalStripe, stage: make.Stage, hand: Context
) -> None:
    with hours(1):
        newcomer = customers.create(hand, {"name": "Newcomer"})["id"]
    with hours(1.1):
        run(rt, stage, "reconcile")
        assert name_of(rt, stage, newcomer) == "Newcomer"
    with hours(1.15):
        before = len(local.requests)
        run(rt, stage, "reconcile")
        assert {call["path"] for call in local.requests[before:]} == {"/v1/events"}


def test_after_longer_than_stripe_keeps_events_everything_is_read_in_and_the_deleted_are_found(
    rt: Runtime, stage: make.Stage, hand: Context
) -> None:
    gone, renamed = stage.shapes["monthly"][0], stage.shapes["yearly"][0]
    customers.delete(hand, gone, {})
    customers.update(hand, renamed, {"name": "Renamed"})
    with hours(24 * 40):
        run(rt, stage, "reconcile")
        work.drain(rt, queues.UPKEEP)
        visitors.drain(rt)
        ended = connection(rt, stage)
        assert ended.read_in["state"] == "done"
        assert ended.reconciled_at is not None
        assert rt.now() - ended.reconciled_at < timedelta(minutes=5)
    assert name_of(rt, stage, gone) is None
    assert name_of(rt, stage, renamed) == "Renamed"


def test_a_reconnect_reads_in_what_changed_and_not_the_whole_account(
    rt: Runtime, local: LocalStripe, stage: make.Stage, hand: Context
) -> None:
    whole = connection(rt, stage).read_in["counts"]
    with hours(2):
        with rt.transaction(stage.workspace_id) as session:
            connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="deauthorized", actor="holdfast")
        customers.update(hand, stage.shapes["monthly"][0], {"name": "Renamed"})
        customers.delete(hand, stage.shapes["yearly"][0], {})
    with hours(5):
        before = len(local.requests)
        _reconnect(rt, stage)
        work.drain(rt, queues.UPKEEP)
        visitors.drain(rt)
        ended = connection(rt, stage)
    assert (ended.state, ended.read_in["state"], ended.read_in["counts"]) == ("connected", "done", whole)
    assert name_of(rt, stage, stage.shapes["monthly"][0]) == "Renamed"
    assert name_of(rt, stage, stage.shapes["yearly"][0]) is None
    assert "/v1/events" in {call["path"] for call in local.requests[before:]}
    assert "lanes" not in ended.read_in, "no list was read"


def test_a_reading_of_everything_that_a_disconnect_cut_off_is_begun_anew_by_the_reconnect(rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        connections.read_in_again(session, connection(rt, stage), is_full=True)
        connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="deauthorized", actor="holdfast")
    _reconnect(rt, stage)
    work.drain(rt, queues.UPKEEP)
    assert "lanes" in connection(rt, stage).read_in, "the lists were read"
    assert connection(rt, stage).read_in["state"] == "done"


def _reconnect(rt: Runtime, stage: make.Stage) -> None:
    """The owner goes through Stripe's authorize page again."""
    account = rt.stripe("test").account(stage.account).account().value
    with rt.transaction(stage.workspace_id) as session:
        linking.link_or_relink(
            session,
            stage.workspace_id,
            account=account,
            mode=Mode.TEST,
            scope="read_write",
            now=rt.now(),
            ring=rt.ring,
            by="operator",
        )


def test_silence_is_told_once_and_is_over_when_webhooks_arrive(rt: Runtime, local: LocalStripe, stage: make.Stage, hand: Context) -> None:
    _owner(rt, stage)
    with hours(1):
        customers.create(hand, {"name": "Unheard"})
        run(rt, stage, "reconcile")
        assert standing(rt, stage) == {}, "what happened a moment ago may still be on its way"
    with hours(2):
        run(rt, stage, "reconcile")
        assert standing(rt, stage)["silent"]["missed"] == 1, "what was on its way then is judged now"
        customers.create(hand, {"name": "Unheard, too"})
    with hours(2.5):
        run(rt, stage, "reconcile")
        assert standing(rt, stage)["silent"]["missed"] == 1
    with rt.transaction(stage.workspace_id) as session:
        letters = session.execute(select(Delivery).where(Delivery.topic.like("alert/%"))).scalars().all()
    assert len(letters) == 1
    assert letters[0].payload["subject"].startswith("[Test] Webhooks are not arriving")
    assert "/settings/stripe" in letters[0].payload["text"]
    with hours(4):
        run(rt, stage, "reconcile")
        assert "silent" in standing(rt, stage), "no news is no proof that webhooks arrive"
        customers.create(hand, {"name": "Heard"})
        arrive(rt, local, stage)
    with hours(4.5):
        run(rt, stage, "reconcile")
        assert standing(rt, stage) == {}


def _owner(rt: Runtime, stage: make.Stage, email: str = "owner@fernhill.example") -> None:
    user = ids.new("usr")
    with rt.transaction(stage.workspace_id) as session:
        session.add(User(id=user, email=email, created_at=rt.now()))
        session.flush()
        session.add(Membership(user_id=user, workspace_id=stage.workspace_id, role="owner", created_at=rt.now()))


def test_a_quiet_account_raises_no_alarm_for_months(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    local.is_quiet = True
    for day in range(0, 25, 5):
        with hours(24 * day + 1):
            run(rt, stage, "reconcile")
    assert standing(rt, stage) == {}


def test_drift_is_counted_by_kind_repaired_and_told(rt: Runtime, stage: make.Stage) -> None:
    run(rt, stage, "compare")
    assert all(kind["differing"] == kind["missing"] == kind["gone"] == 0 for kind in (connection(rt, stage).drift or {}).values())
    lost, wrong = stage.shapes["monthly"], stage.shapes["yearly"]
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("delete from customers where id = :id"), {"id": lost[0]})
        session.execute(text("update subscriptions set status = 'unpaid' where id = :id"), {"id": wrong[1]})
        session.execute(
            text(
                "insert into customers (id, connection_id, workspace_id, as_of, is_deleted, raw)"
                " select 'cus_ghost', connection_id, workspace_id, as_of, false, '{}' from customers limit 1"
            )
        )
    with hours(1):
        run(rt, stage, "compare")
        found = connection(rt, stage).drift or {}
        assert (found["customers"]["missing"], found["customers"]["gone"], found["subscriptions"]["differing"]) == (1, 1, 1)
        assert found["customers"]["is_whole"]
        assert standing(rt, stage)["drift"]["differing"] == 3
        told = metrics.render(rt).decode()
        assert 'holdfast_mirror_drift{kind="customers"} 2.0' in told
        assert 'holdfast_alerts_open{kind="drift"} 1.0' in told
    with rt.transaction(stage.workspace_id) as session:
        assert mirror.customer(session, stage.connection_id, lost[0]) is not None
        assert mirror.customer(session, stage.connection_id, "cus_ghost") is None
        status = session.execute(select(Subscription.status).where(Subscription.id == wrong[1])).scalar_one()
    assert status != "unpaid"
    with hours(25):
        run(rt, stage, "compare")
        assert standing(rt, stage) == {}
        assert 'holdfast_mirror_drift{kind="customers"} 0.0' in metrics.render(rt).decode()


def test_another_rendering_of_the_same_facts_is_no_drift(rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("update customers set raw = raw::jsonb || '{\"an_old_field\": true}'"))
    with hours(1):
        run(rt, stage, "compare")
    assert (connection(rt, stage).drift or {})["customers"]["differing"] == 0


def test_of_a_long_list_a_sample_of_ours_is_read_again(rt: Runtime, local: LocalStripe, stage: make.Stage, hand: Context) -> None:
    local.is_quiet = True
    made = [customers.create(hand, {"name": f"Customer {place}"})["id"] for place in range(comparison.NEWEST_PAGES * 100 + 50)]
    with rt.transaction(stage.workspace_id) as session:
        connections.read_in_again(session, connection(rt, stage), is_full=True)
        queues.enqueue(session, "read_in", stage.connection_id, stage.workspace_id, due_at=rt.now())
    work.drain(rt, queues.UPKEEP)
    # All of ours are gone at Stripe but the newest: whichever are drawn, some are missed.
    for id in made[:200]:
        customers.delete(hand, id, {})
    for place in range(200):
        customers.create(hand, {"name": f"Newer {place}"})
    local.is_quiet = False
    with hours(1):
        before = len(local.requests)
        run(rt, stage, "compare")
        asked = [call["path"] for call in local.requests[before:] if call["path"].startswith("/v1/customers")]
        found = (connection(rt, stage).drift or {})["customers"]
    assert not found["is_whole"]
    assert found["missing"] == 200
    assert len(asked) <= comparison.NEWEST_PAGES + 1 + comparison.SAMPLE + found["gone"]
    if found["gone"]:
        with rt.transaction(stage.workspace_id) as session:
            held = session.execute(select(Customer.id).where(Customer.id.in_(made[:200]), Customer.is_deleted.is_(True))).scalars().all()
        assert len(held) == found["gone"]


def test_an_account_that_cuts_us_off_is_found_out_by_the_hourly_turn(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    accounts.disconnect(local, stage.account, False)
    with hours(1):
        run(rt, stage, "reconcile")
        work.drain(rt, queues.UPKEEP)
    assert connection(rt, stage).state == "disconnected"


def test_ids_between_two_others_are_between_them() -> None:
    for low, high in (("cus_A", "cus_z"), ("cus_Ab9", "cus_Ac0"), ("a", "a"), ("sub_1A", "sub_1Azz")):
        for _ in range(50):
            assert low <= comparison._between(low, high)
    assert projections.TABLES["customer"].model is Customer
