"""Kept events become the mirror: in any order, any number of times, each in its own lane, whatever is wrong with one of them."""

import dataclasses
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from sqlalchemy import select, text

from connect_app import connections, ids
from connect_app.models import Connection, PortalLink, Subscription, WebhookEvent, Work
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from connect_app.workspaces import accounts as workspace_accounts
from jobs import queues, stripe_events, work
from sandbox.stripe import accounts, catalogue, customers, portal, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from tests import make
from webhooks import events, mirror, projections, store

NOW = int(time.time())


def dashboard(local: LocalStripe, stage: make.Stage) -> Context:
    """The connected account's own hands."""
    return Context(local=local, world=local.world(stage.account, stage.mode == "live"), source="dashboard")


def news(local: LocalStripe, stage: make.Stage, begin: int = 0) -> list[dict[str, Any]]:
    """The account's events from number `begin` on, oldest first."""
    return list(local.world(stage.account, stage.mode == "live").all("event"))[begin:]


def keep(rt: Runtime, told: Sequence[Mapping[str, Any]]) -> None:
    """As the door does it, without the door."""
    with rt.transaction() as session:
        store.keep(session, [events.envelope(json.dumps(one).encode()) for one in told], rt.now())


def drain(rt: Runtime) -> None:
    work.drain(rt, queues.EVENTS)


def settle(rt: Runtime, seconds: float = 10.0) -> None:
    """Until nothing is left to do: a read may have been put off, to keep below Stripe's limit."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        drain(rt)
        with rt.transaction() as session:
            if not session.execute(select(Work.id).where(Work.queue == queues.EVENTS, Work.gave_up_at.is_(None))).first():
                return
        time.sleep(0.02)


def states(rt: Runtime) -> dict[str, str]:
    with rt.transaction() as session:
        return {row.id: row.state for row in session.execute(select(WebhookEvent.id, WebhookEvent.state))}


def about(stage: make.Stage, type: str, object: Mapping[str, Any], created: int = NOW, **changes: Any) -> dict[str, Any]:
    """An event of the stage's account."""
    made = {
        "id": ids.new("evt"),
        "object": "event",
        "type": type,
        "created": created,
        "livemode": stage.mode == "live",
        "account": stage.account,
        "api_version": "2026-10-28.endive",
        "data": {"object": object},
    }
    return {**made, **changes}


def asked(local: LocalStripe, begin: int = 0) -> list[str]:
    """Which paths of the API were read, from request number `begin` on."""
    return [f"{request['method']} {request['path']}" for request in local.requests[begin:]]


def mirrored(rt: Runtime, stage: make.Stage, subscription: str) -> objects.Subscription | None:
    with rt.transaction(stage.workspace_id) as session:
        return mirror.subscription(session, stage.connection_id, subscription)


def truth(local: LocalStripe, stage: make.Stage, subscription: str) -> objects.Subscription:
    return objects.read_subscription(local.world(stage.account, stage.mode == "live").get("subscription", subscription))


def columns(rt: Runtime, stage: make.Stage, subscription: str) -> dict[str, Any]:
    """The mirror's row but for its time."""
    with rt.transaction(stage.workspace_id) as session:
        row = session.execute(select(Subscription.__table__).where(Subscription.id == subscription)).one()
    return {name: value for name, value in row._mapping.items() if name != "as_of"}


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    return make.workspace(rt, local)


def changes(local: LocalStripe, stage: make.Stage, subscription: str) -> list[dict[str, Any]]:
    """A busy hour of one subscription: what it told, oldest first."""
    begin = len(news(local, stage))
    hand = dashboard(local, stage)
    for change in (
        {"cancel_at_period_end": True},
        {"metadata": {"seats": "4"}},
        {"cancel_at_period_end": False},
        {"discounts": [{"coupon": "STAY20"}]},
        {"pause_collection": {"behavior": "void"}},
        {"pause_collection": None},
        {"cancel_at_period_end": True},
    ):
        subscriptions.update(hand, subscription, change)
    subscriptions.cancel(hand, subscription, {})
    return [one for one in news(local, stage, begin) if one["type"].startswith("customer.subscription.")]


class TestTheLaw:
    @pytest.mark.parametrize("seconds", [1, 3], ids=["a second each", "three to a second"])
    def test_any_order_repetition_and_interleaving_leaves_the_same_mirror(
        self, rt: Runtime, local: LocalStripe, stage: make.Stage, seconds: int
    ) -> None:
        subscription = stage.shapes["monthly"][1]
        told = [{**one, "created": NOW - 100 + place // seconds} for place, one in enumerate(changes(local, stage, subscription))]
        final = None

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            st.permutations(range(len(told))),
            st.lists(st.sampled_from(range(len(told))), max_size=6),
            st.lists(st.integers(1, 14), min_size=1, max_size=8),
            st.booleans(),
            st.dictionaries(st.integers(0, len(told) - 1), st.integers(60, 10**6), max_size=3),
        )
        def law(order: list[int], again: list[int], batches: list[int], reads_between: bool, ahead: dict[int, int]) -> None:
            nonlocal final
            with rt.engine.begin() as connection:
                connection.execute(text("truncate webhook_events, webhook_pending, work, subscriptions, discounts"))
            # Some claim to be from a time that is yet to come, and still is when they arrive.
            dated = [{**one, "created": int(time.time()) + ahead[place]} if place in ahead else one for place, one in enumerate(told)]
            arriving = [dated[place] for place in (*order, *again)]
            while arriving:
                size = batches[len(arriving) % len(batches)]
                keep(rt, arriving[:size])
                arriving = arriving[size:]
                if reads_between:
                    drain(rt)
                else:
                    with rt.transaction() as session:
                        work_id = session.execute(select(Work.id).where(Work.kind == "drain")).scalar_one_or_none()
                    if work_id:
                        work.perform(rt, work_id)
            settle(rt)
            assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)
            assert [one.coupon for one in _discounts(rt, stage, subscription)] == ["STAY20"]
            final = final or columns(rt, stage, subscription)
            assert columns(rt, stage, subscription) == final
            assert set(states(rt).values()) == {"done"}

        law()

    def test_news_from_a_time_to_come_is_read_and_does_not_hold_up_what_follows(
        self, rt: Runtime, local: LocalStripe, stage: make.Stage
    ) -> None:
        subscription = stage.shapes["monthly"][1]
        early, *rest = changes(local, stage, subscription)
        begin = len(local.requests)
        keep(rt, [{**early, "created": int(time.time()) + 3600}])
        settle(rt)
        assert asked(local, begin) == [f"GET /v1/subscriptions/{subscription}"]
        keep(rt, [{**rest[-1], "created": int(time.time()) + 2}])
        settle(rt)
        assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)

    def test_events_that_can_be_put_in_order_cost_no_read_but_the_one_that_tells_a_new_discount_s_terms(
        self, rt: Runtime, local: LocalStripe, stage: make.Stage
    ) -> None:
        subscription = stage.shapes["monthly"][1]
        told = [{**one, "created": NOW - 100 + place} for place, one in enumerate(changes(local, stage, subscription))]
        begin = len(local.requests)
        for one in told[:4]:
            keep(rt, [one])
            drain(rt)
        keep(rt, told[:3:-1])  # newest first, but together
        drain(rt)
        assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)
        assert asked(local, begin) == [f"GET /v1/subscriptions/{subscription}"]

    def test_news_of_one_second_and_old_news_are_settled_by_one_read(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        subscription = stage.shapes["monthly"][1]
        told = [{**one, "created": NOW - 50} for one in changes(local, stage, subscription)]
        keep(rt, [{**told[-1], "created": NOW - 40}])
        drain(rt)
        begin = len(local.requests)
        with rt.transaction() as session:
            session.execute(text("update work set due_at = now() + interval '1 hour' where kind = 'refetch'"))
        for one in told[:-1]:
            keep(rt, [one])
            with rt.transaction() as session:
                work_id = session.execute(select(Work.id).where(Work.kind == "drain")).scalar_one()
            work.perform(rt, work_id)
        with rt.transaction() as session:
            waiting = session.execute(select(Work.row_id).where(Work.kind == "refetch")).scalars().all()
        assert waiting == [f"{stage.connection_id}/subscription/{subscription}"]
        drain(rt)
        assert asked(local, begin) == [f"GET /v1/subscriptions/{subscription}"]
        assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)

    @pytest.mark.parametrize("is_reversed", [False, True])
    def test_two_states_of_one_second_in_one_batch_are_settled_by_a_read(
        self, rt: Runtime, local: LocalStripe, stage: make.Stage, is_reversed: bool
    ) -> None:
        subscription = stage.shapes["monthly"][1]
        told = [{**one, "created": NOW - 50} for one in changes(local, stage, subscription)[-2:]]
        begin = len(local.requests)
        keep(rt, told[::-1] if is_reversed else told)
        drain(rt)
        assert asked(local, begin) == [f"GET /v1/subscriptions/{subscription}"]
        assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)

    def test_a_read_of_the_same_second_as_other_news_is_made_again_a_second_later(
        self, rt: Runtime, local: LocalStripe, stage: make.Stage
    ) -> None:
        subscription = stage.shapes["monthly"][1]
        stale = truth(local, stage, subscription)
        told = changes(local, stage, subscription)[0]
        as_of = rt.now().replace(microsecond=0)
        keep(rt, [{**told, "created": int(as_of.timestamp())}])
        drain(rt)
        begin = len(local.requests)
        with rt.transaction(stage.workspace_id) as session:
            assert not projections.apply_read(session, stage.workspace_id, stage.connection_id, stale, as_of)
        kept = mirrored(rt, stage, subscription)
        assert kept is not None
        assert kept.cancel_at_period_end
        with rt.transaction() as session:
            [due_at] = session.execute(select(Work.due_at).where(Work.kind == "refetch")).scalars()
        assert due_at == as_of + timedelta(seconds=1)
        for _ in range(40):
            drain(rt)
            if mirrored(rt, stage, subscription) == truth(local, stage, subscription):
                break
            time.sleep(0.1)
        assert asked(local, begin)
        assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)

    def test_the_read_back_of_a_change_and_its_event_need_no_third_look(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        subscription = stage.shapes["monthly"][1]
        [told] = changes(local, stage, subscription)[-1:]
        read = rt.stripe("test").account(stage.account).subscription(subscription)
        with rt.transaction(stage.workspace_id) as session:
            assert projections.apply_read(session, stage.workspace_id, stage.connection_id, read.value, read.as_of)
        keep(rt, [{**told, "created": int(read.as_of.timestamp())}])
        begin = len(local.requests)
        drain(rt)
        assert asked(local, begin) == []
        assert set(states(rt).values()) == {"done"}


class TestTenants:
    def test_an_account_s_event_with_another_s_subscription_leaves_the_other_as_it_was(self, rt: Runtime, local: LocalStripe) -> None:
        ours, theirs = make.workspace(rt, local), make.workspace(rt, local)
        make.read_in(rt)
        subscription = ours.shapes["monthly"][1]
        before = columns(rt, ours, subscription)
        raw = local.world(ours.account, False).get("subscription", subscription)
        keep(rt, [about(theirs, "customer.subscription.updated", {**raw, "status": "canceled"}, created=NOW + 5)])
        drain(rt)
        assert columns(rt, ours, subscription) == before
        strange = mirrored(rt, theirs, subscription)
        assert strange is None or strange.status == "canceled"

    def test_a_test_event_never_touches_what_is_live(self, rt: Runtime, local: LocalStripe) -> None:
        live = make.workspace(rt, local, mode="live")
        make.read_in(rt)
        [raw] = list(local.world(live.account, True).all("subscription"))[:1]
        before = columns(rt, live, raw["id"])
        keep(rt, [about(live, "customer.subscription.updated", {**raw, "status": "canceled"}, created=NOW + 5, livemode=False)])
        drain(rt)
        assert columns(rt, live, raw["id"]) == before
        assert list(states(rt).values()) == ["waiting_for_account"]

    def test_an_event_that_beats_the_connection_is_understood_once_it_is_there(self, rt: Runtime, local: LocalStripe) -> None:
        stage = make.workspace(rt, local)
        subscription = stage.shapes["monthly"][1]
        told = [{**one, "created": NOW - 100} for one in changes(local, stage, subscription)]
        with rt.transaction(stage.workspace_id) as session:
            connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="disconnected_here", actor="operator")
            session.execute(text("delete from work"))
        keep(rt, told)
        drain(rt)
        assert set(states(rt).values()) == {"waiting_for_account"}
        with rt.transaction() as session:
            assert session.execute(text("select count(*) from webhook_pending")).scalar_one() == 0
        reconnect(rt, stage)
        drain(rt)
        assert set(states(rt).values()) == {"done"}
        assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)

    def test_however_many_events_wait_connecting_takes_up_some_and_the_rest_follows(self, rt: Runtime, local: LocalStripe) -> None:
        stage = make.workspace(rt, local)
        _aside(rt, stage, 2 * store.SLICE + 50, "waiting_for_account")
        with rt.transaction(stage.workspace_id) as session:
            connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="deauthorized", actor="operator")
            session.execute(text("delete from work"))
        reconnect(rt, stage)
        assert Counter(states(rt).values()) == {"pending": store.SLICE, "waiting_for_account": store.SLICE + 50}
        # Whoever goes on with it may die at any time: its row is what is left to do.
        with rt.transaction() as session:
            work_id = session.execute(select(Work.id).where(Work.kind == "requeue")).scalar_one()
        assert work.perform(rt, work_id) == work.Done()
        with rt.transaction() as session:
            assert session.execute(text("select count(*) from webhook_pending")).scalar_one() == 2 * store.SLICE + 50
        drain(rt)
        assert set(states(rt).values()) == {"ignored"}

    def test_what_is_replayed_and_fails_again_meanwhile_is_not_replayed_for_ever(self, rt: Runtime, stage: make.Stage) -> None:
        _aside(rt, stage, store.SLICE + 50, "failed")
        with rt.transaction() as session:
            assert store.replay_failed(session, stage.account, False, rt.now()) == store.SLICE + 50
        with rt.transaction() as session:
            [again] = [event.id for event in store.take(session, store.lane_id(stage.account, False), 1)]
            store.settle(session, [again], "failed", rt.now())
            work_id = session.execute(select(Work.id).where(Work.kind == "requeue")).scalar_one()
        assert work.perform(rt, work_id) == work.Done()
        assert Counter(states(rt).values()) == {"pending": store.SLICE + 49, "failed": 1}

    def test_an_event_that_is_put_aside_while_its_account_is_being_connected_is_not_missed(self, rt: Runtime, local: LocalStripe) -> None:
        stage = make.workspace(rt, local)
        with rt.transaction(stage.workspace_id) as session:
            connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="deauthorized", actor="operator")
            session.execute(text("delete from work"))
        told = about(stage, "x.y.z", {"id": "x"})
        keep(rt, [told])
        connecting = threading.Thread(target=reconnect, args=(rt, stage))
        with rt.transaction() as session:  # a drain, just after it found no connection
            lane = store.lock(session, store.lane_id(stage.account, False))
            assert lane is not None
            connecting.start()
            _until(lambda: _is_waiting(rt))
            store.settle(session, [told["id"]], "waiting_for_account", rt.now())
        connecting.join()
        assert states(rt) == {told["id"]: "pending"}
        drain(rt)
        assert states(rt) == {told["id"]: "ignored"}

    def test_the_platform_s_own_news_and_unknown_types_are_ignored(self, rt: Runtime, stage: make.Stage) -> None:
        told = [
            about(stage, "x.y.z", {"id": "x"}),
            about(stage, "customer.tax_id.created", {"id": "txi_1", "object": "tax_id"}),
            about(stage, "invoice.upcoming", {"object": "invoice"}),
            about(stage, "customer.updated", {"id": "cus_1", "object": "customer"}, account=None),
        ]
        keep(rt, told)
        drain(rt)
        assert list(states(rt).values()) == ["ignored"] * 4


def reconnect(rt: Runtime, stage: make.Stage) -> None:
    account = rt.stripe(stage.mode).account(stage.account).account().value
    with rt.transaction(stage.workspace_id) as session:
        workspace_accounts.link_or_relink(
            session,
            stage.workspace_id,
            account=account,
            mode=Mode(stage.mode),
            scope="read_write",
            ring=rt.ring,
            now=rt.now(),
            by="operator",
        )


def connection(rt: Runtime, stage: make.Stage) -> Connection:
    with rt.transaction(stage.workspace_id) as session:
        found = connections.by_id(session, stage.connection_id)
    assert found is not None
    return found


class TestTheConnection:
    def test_a_deauthorization_ends_the_connection(self, rt: Runtime, stage: make.Stage) -> None:
        keep(rt, [about(stage, events.DEAUTHORIZED, {"id": "ca_1", "object": "application"}, created=int(time.time()) + 2)])
        drain(rt)
        ended = connection(rt, stage)
        assert (ended.state, ended.disconnect_reason) == ("disconnected", "deauthorized")
        with rt.transaction() as session:
            assert connections.locate(session, stage.account, "test") is None

    def test_a_deauthorization_from_a_time_to_come_is_asked_about(self, rt: Runtime, stage: make.Stage) -> None:
        keep(rt, [about(stage, events.DEAUTHORIZED, {"id": "ca_1", "object": "application"}, created=int(time.time()) + 3600)])
        work.drain(rt)
        assert connection(rt, stage).state == "connected"

    def test_a_deauthorization_replayed_after_a_reconnect_ends_nothing(self, rt: Runtime, stage: make.Stage) -> None:
        told = about(stage, events.DEAUTHORIZED, {"id": "ca_1", "object": "application"}, created=int(time.time()) - 3)
        with rt.transaction(stage.workspace_id) as session:
            connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="deauthorized", actor="x")
        keep(rt, [told])
        drain(rt)
        reconnect(rt, stage)
        work.drain(rt)
        assert connection(rt, stage).state == "connected"
        assert states(rt) == {told["id"]: "done"}

    def test_a_deauthorization_in_the_second_of_the_connection_is_asked_about(
        self, rt: Runtime, local: LocalStripe, stage: make.Stage
    ) -> None:
        second = int(connection(rt, stage).connected_at.timestamp())
        accounts.disconnect(local, stage.account, False)
        keep(rt, [about(stage, events.DEAUTHORIZED, {"id": "ca_1", "object": "application"}, created=second)])
        work.drain(rt)
        assert connection(rt, stage).disconnect_reason == "access_lost"

    def test_the_connection_remembers_when_it_last_heard(self, rt: Runtime, stage: make.Stage) -> None:
        keep(rt, [about(stage, "x.y.z", {"id": "x"}, created=NOW - 60, api_version="2020-08-27")])
        drain(rt)
        heard = connection(rt, stage)
        assert heard.last_event_at is not None
        assert heard.last_api_version == "2020-08-27"
        assert heard.last_event_lag_ms is not None
        assert heard.last_event_lag_ms >= 60_000

    def test_a_read_that_finds_us_cut_off_ends_the_connection(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        accounts.disconnect(local, stage.account, False)
        with rt.transaction(stage.workspace_id) as session:
            projections.refetch(session, stage.workspace_id, stage.connection_id, "customer", "cus_1", due_at=rt.now())
        drain(rt)
        assert connection(rt, stage).disconnect_reason == "access_lost"

    def test_a_changed_portal_configuration_is_looked_at(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        work_on_check = about(stage, "billing_portal.configuration.updated", {"id": "bpc_1", "object": "billing_portal.configuration"})
        [configuration] = local.world(stage.account, False).all("billing_portal.configuration")
        for is_enabled in (True, False):
            portal.update(dashboard(local, stage), configuration["id"], {"features": {"subscription_cancel": {"enabled": is_enabled}}})
            keep(rt, [{**work_on_check, "id": ids.new("evt")}])
            work.drain(rt)
            assert connection(rt, stage).portal_cancel_open is is_enabled
        assert (connection(rt, stage).can_read, connection(rt, stage).can_write) == (True, True)


class TestPoison:
    def test_poison_fails_after_its_tries_and_delays_nobody(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        subscription = stage.shapes["monthly"][1]
        poison = [
            about(stage, "customer.subscription.updated", absurd)
            for absurd in ({"id": ["sub"], "items": 7}, {"id": "sub_1"}, {"id": "sub_1", "object": "customer"}, {})
        ] + [about(stage, "invoice.paid", {"id": "in_1"}, data=7), about(stage, "product.updated", {"id": "x" * 300, "name": "y"})]
        told = changes(local, stage, subscription)
        keep(rt, [*poison, *told])
        work.perform(rt, _drain_id(rt))
        after_one = states(rt)
        assert {after_one[one["id"]] for one in told} == {"done"}
        assert {after_one[one["id"]] for one in poison} == {"pending"}
        for _ in range(10):
            _make_due(rt)
            drain(rt)
        with rt.transaction() as session:
            ends = session.execute(
                select(WebhookEvent.state, WebhookEvent.attempts, WebhookEvent.error).where(WebhookEvent.state == "failed")
            )
            assert [(end.state, end.attempts, bool(end.error)) for end in ends] == [("failed", store.ATTEMPTS, True)] * len(poison)
            assert session.execute(text("select count(*) from webhook_pending")).scalar_one() == 0
            assert session.execute(text("select count(*) from work where kind = 'drain'")).scalar_one() == 0
        with rt.transaction() as session:
            assert store.replay(session, poison[0]["id"], rt.now())
            assert not store.replay(session, "evt_none", rt.now())
            assert len(store.failed(session, stage.account, False)) == len(poison) - 1
        assert states(rt)[poison[0]["id"]] == "pending"
        with rt.transaction() as session:
            assert store.replay_failed(session, stage.account, False, rt.now()) == len(poison) - 1
        assert {states(rt)[one["id"]] for one in poison} == {"pending"}

    def test_what_only_the_database_refuses_spoils_no_other_event(self, rt: Runtime, stage: make.Stage) -> None:
        product = {"object": "product", "active": True, "metadata": {}}
        told = [about(stage, "product.updated", {**product, "id": f"prod_{name}", "name": name}) for name in ("a", "boom", "z")]
        with rt.engine.begin() as connection:
            connection.execute(text("alter table products add constraint planted check (name <> 'boom')"))
        try:
            keep(rt, told)
            work.perform(rt, _drain_id(rt))
        finally:
            with rt.engine.begin() as connection:
                connection.execute(text("alter table products drop constraint planted"))
        assert [states(rt)[one["id"]] for one in told] == ["done", "pending", "done"]
        _make_due(rt)
        drain(rt)
        assert set(states(rt).values()) == {"done"}
        with rt.transaction(stage.workspace_id) as session:
            assert mirror.counts(session, stage.connection_id)["products"] == 3

    def test_what_text_cannot_hold_is_replaced_in_the_mirror(self, rt: Runtime, stage: make.Stage) -> None:
        raw = json.dumps(about(stage, "customer.updated", {"id": "cus_1", "object": "customer", "created": 5, "name": "A\0B SURROGATE"}))
        with rt.transaction() as session:
            store.keep(session, [events.envelope(raw.replace("SURROGATE", "\\udcff").encode())], rt.now())
        drain(rt)
        with rt.transaction(stage.workspace_id) as session:
            customer = mirror.customer(session, stage.connection_id, "cus_1")
        assert customer is not None
        assert customer.name == "A�B �"

    def test_a_drain_that_lost_its_lease_changes_nothing(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        keep(rt, changes(local, stage, stage.shapes["monthly"][1]))
        work_id = _drain_id(rt)
        claim = work._claim(rt, work_id)
        assert claim is not None
        with rt.transaction() as session:
            session.execute(text("update work set lease_token = lease_token + 1"))
        with pytest.raises(work.LeaseLost):
            stripe_events.drain(rt, claim)
        assert set(states(rt).values()) == {"pending"}
        assert mirrored(rt, stage, stage.shapes["monthly"][1]) is None

    def test_deliveries_are_kept_while_their_lane_is_being_drained(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        subscription = stage.shapes["monthly"][1]
        first, second, *others = changes(local, stage, subscription)
        keep(rt, [first])
        drain(rt)
        keep(rt, [{**second, "created": int(time.time()) + 2}])
        draining = threading.Thread(target=work.perform, args=(rt, _drain_id(rt)))
        with rt.transaction(stage.workspace_id) as session:
            # The drain gets as far as this row, and waits in the middle of its transaction.
            session.execute(select(Subscription.id).where(Subscription.id == subscription).with_for_update())
            draining.start()
            _until(lambda: _is_waiting(rt))
            began = time.monotonic()
            keep(rt, others)
            assert time.monotonic() - began < 4
        draining.join()
        assert states(rt)[second["id"]] == "done"
        drain(rt)
        assert set(states(rt).values()) == {"done"}


def _is_waiting(rt: Runtime) -> bool:
    """Whether some transaction waits for another's lock."""
    with rt.transaction() as session:
        return bool(session.execute(text("select count(*) from pg_locks where not granted")).scalar_one())


def _until(is_so: Callable[[], bool]) -> None:
    for _ in range(200):
        if is_so():
            return
        time.sleep(0.02)
    raise AssertionError("it never came about")


def _drain_id(rt: Runtime) -> str:
    with rt.transaction() as session:
        return session.execute(select(Work.id).where(Work.kind == "drain")).scalar_one()


def _aside(rt: Runtime, stage: make.Stage, count: int, state: str) -> None:
    """As many events that were put aside an hour ago."""
    raw = json.dumps(about(stage, "x.y.z", {"id": "x"})).encode()
    with rt.transaction() as session:
        session.execute(
            text(
                "insert into webhook_events (id, account, livemode, type, api_version, created_at, received_at, raw, state, settled_at)"
                " select 'evt_aside' || n, :account, false, 'x.y.z', '', :at, :at, :raw, :state, :at from generate_series(1, :count) as n"
            ),
            {"account": stage.account, "at": rt.now() - timedelta(hours=1), "raw": raw, "state": state, "count": count},
        )
        session.execute(
            text("insert into webhook_lanes values (:lane, :account, false) on conflict do nothing"),
            {"lane": store.lane_id(stage.account, False), "account": stage.account},
        )


def _make_due(rt: Runtime) -> None:
    with rt.transaction() as session:
        session.execute(text("update work set due_at = :now"), {"now": rt.now()})


OLD_SUBSCRIPTION = {
    "id": "sub_old",
    "object": "subscription",
    "customer": "cus_old",
    "status": "active",
    "livemode": False,
    "created": 1_583_000_000,
    "start_date": 1_583_000_000,
    "current_period_start": 1_583_000_000,
    "current_period_end": 1_585_678_400,
    "cancel_at_period_end": True,
    "cancel_at": 1_585_678_400,
    "discount": {"object": "discount", "coupon": {"id": "HALF", "object": "coupon", "percent_off": 50, "duration": "once", "valid": True}},
    "items": {
        "object": "list",
        "data": [
            {
                "id": "si_1",
                "object": "subscription_item",
                "quantity": 2,
                "plan": {
                    "id": "plan_gold",
                    "object": "plan",
                    "amount": 900,
                    "currency": "usd",
                    "interval": "month",
                    "interval_count": 1,
                    "product": "prod_gold",
                    "active": True,
                },
            }
        ],
    },
}


class TestPayloads:
    @pytest.mark.parametrize("version", ["2020-03-02", "2020-08-27", "2022-11-15", "2024-06-20", "2025-02-24.acacia"])
    def test_payloads_of_earlier_versions_are_understood_as_they_are(self, rt: Runtime, stage: make.Stage, version: str) -> None:
        keep(rt, [about(stage, "customer.subscription.updated", OLD_SUBSCRIPTION, api_version=version)])
        drain(rt)
        kept = columns(rt, stage, "sub_old")
        assert (kept["status"], kept["price"], kept["amount"], kept["cancel_at_period_end"]) == ("active", "plan_gold", 1800, True)
        assert kept["current_period_end"].timestamp() == 1_585_678_400
        assert not kept["is_deleted"]

    @pytest.mark.parametrize("version", [None, "2019-12-03", "2031-01-01.zinnia", "latest"])
    def test_an_unexpected_version_is_read_again(self, rt: Runtime, local: LocalStripe, stage: make.Stage, version: str | None) -> None:
        subscription = stage.shapes["monthly"][1]
        begin = len(local.requests)
        keep(rt, [about(stage, "customer.subscription.updated", {"id": subscription, "from": "the future"}, api_version=version)])
        drain(rt)
        assert asked(local, begin) == [f"GET /v1/subscriptions/{subscription}"]
        assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)

    def test_every_kind_of_object_is_mirrored_and_deleted_for_good(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        make.read_in(rt)
        hand = dashboard(local, stage)
        begin = len(news(local, stage))
        customer = stage.shapes["yearly"][0]
        customers.update(hand, customer, {"name": "Someone Else"})
        catalogue.update_coupon(hand, "LOYAL15", {"name": "Loyal"})
        product = catalogue.create_product(hand, {"name": "Brand new"})
        local.clock.advance(40 * 86400)
        after = int(time.time()) + 5
        afterwards = dataclasses.replace(rt, clock=lambda: datetime.fromtimestamp(after + 20_000, UTC))
        keep(afterwards, [{**one, "created": after + place} for place, one in enumerate(news(local, stage, begin))])
        _make_due(rt)
        drain(rt)
        with rt.transaction(stage.workspace_id) as session:
            found = mirror.customer(session, stage.connection_id, customer)
            assert found is not None
            assert found.name == "Someone Else"
            named = mirror.product(session, stage.connection_id, product["id"])
            assert named is not None
            assert mirror.counts(session, stage.connection_id)["invoices"] > 0
            assert mirror.product_names(session, stage.connection_id, [product["id"], "prod_none"]) == {product["id"]: "Brand new"}
        begin = len(news(local, stage))
        customers.delete(hand, customer, {})
        catalogue.delete_coupon(hand, "LOYAL15", {})
        gone = [{**one, "created": after + 10_000} for one in news(local, stage, begin)]
        keep(afterwards, gone)
        _make_due(rt)
        drain(rt)
        late = {"id": customer, "object": "customer", "created": 5, "name": "Late"}
        keep(afterwards, [about(stage, "customer.updated", late, created=after + 9_000)])
        _make_due(rt)
        drain(rt)
        with rt.transaction(stage.workspace_id) as session:
            assert mirror.customer(session, stage.connection_id, customer) is None
            assert mirror.coupon(session, stage.connection_id, "LOYAL15") is None
            row = session.execute(text("select name, email, raw from customers where id = :id"), {"id": customer}).one()
        assert (row.name, row.email, row.raw) == (None, None, {"id": customer, "object": "customer", "deleted": True})

    def test_a_coupon_s_limits_are_read_since_its_events_leave_them_out(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        begin = len(news(local, stage))
        catalogue.update_coupon(dashboard(local, stage), "ARCHIVE30", {"name": "Archive"})
        keep(rt, [{**one, "created": NOW - 60} for one in news(local, stage, begin)])
        drain(rt)
        with rt.transaction(stage.workspace_id) as session:
            coupon = mirror.coupon(session, stage.connection_id, "ARCHIVE30")
        assert coupon is not None
        assert (coupon.name, len(coupon.products or ())) == ("Archive", 1)

    def test_news_of_a_discount_reads_its_subscription(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        subscription = stage.shapes["monthly"][1]
        keep(rt, [about(stage, "customer.discount.created", {"id": "di_1", "object": "discount", "subscription": subscription})])
        drain(rt)
        assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)

    def test_what_stripe_has_no_more_is_gone_from_the_mirror(self, rt: Runtime, stage: make.Stage) -> None:
        keep(rt, [about(stage, "customer.subscription.updated", OLD_SUBSCRIPTION, created=NOW - 60)])
        drain(rt)
        assert mirrored(rt, stage, "sub_old") is not None
        with rt.transaction(stage.workspace_id) as session:
            projections.refetch(session, stage.workspace_id, stage.connection_id, "subscription", "sub_old", due_at=rt.now())
            projections.refetch(session, stage.workspace_id, stage.connection_id, "price", "price_never_seen", due_at=rt.now())
        drain(rt)
        assert mirrored(rt, stage, "sub_old") is None
        with rt.transaction() as session:
            assert session.execute(text("select count(*) from work where queue = 'events'")).scalar_one() == 0


class TestOrder:
    def test_two_events_in_the_same_second_leave_what_is_true(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        subscription = stage.shapes["monthly"][1]
        told = [{**one, "created": NOW - 50} for one in changes(local, stage, subscription)]
        for one in (told[-1], told[0]):
            keep(rt, [one])
            settle(rt)
        assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)
        assert columns(rt, stage, subscription)["status"] == "canceled"

    def test_an_older_event_after_a_newer_one_takes_nothing_back(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        customer = stage.shapes["monthly"][0]
        customers.update(dashboard(local, stage), customer, {"name": "New"})
        raw = local.world(stage.account, False).get("customer", customer)
        keep(rt, [about(stage, "customer.updated", raw, created=NOW - 10)])
        drain(rt)
        keep(rt, [about(stage, "customer.updated", {**raw, "name": "Old"}, created=NOW - 20)])
        with rt.transaction() as session:
            work_id = session.execute(select(Work.id).where(Work.kind == "drain")).scalar_one()
        work.perform(rt, work_id)
        for _ in range(2):  # before Stripe was asked about it, and after
            with rt.transaction(stage.workspace_id) as session:
                kept = mirror.customer(session, stage.connection_id, customer)
            assert kept is not None
            assert kept.name == "New"
            settle(rt)

    def test_a_deleted_customer_is_gone_and_its_subscription_still_says_whose_it_was(
        self, rt: Runtime, local: LocalStripe, stage: make.Stage
    ) -> None:
        customer, subscription = stage.shapes["monthly"]
        begin = len(news(local, stage))
        raw = local.world(stage.account, False).get("subscription", subscription)
        customers.delete(dashboard(local, stage), customer, {})
        told = [{**one, "created": NOW - 50} for one in news(local, stage, begin)]
        stub = {"id": customer, "object": "customer", "deleted": True}
        keep(rt, [*told, about(stage, "customer.subscription.updated", {**raw, "customer": stub}, created=NOW - 60)])
        settle(rt)
        assert set(states(rt).values()) == {"done"}
        with rt.transaction(stage.workspace_id) as session:
            assert mirror.customer(session, stage.connection_id, customer) is None
            assert [one.customer for one in mirror.subscriptions_of(session, stage.connection_id, customer)] == [customer]
        assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)

    def test_a_subscription_that_comes_before_its_customer_waits_for_nobody(
        self, rt: Runtime, local: LocalStripe, stage: make.Stage
    ) -> None:
        customer, subscription = stage.shapes["monthly"]
        world = local.world(stage.account, False)
        keep(rt, [about(stage, "customer.subscription.created", world.get("subscription", subscription), created=NOW - 50)])
        drain(rt)
        with rt.transaction(stage.workspace_id) as session:
            assert mirror.customer(session, stage.connection_id, customer) is None
            assert [one.id for one in mirror.subscriptions_of(session, stage.connection_id, customer)] == [subscription]
        keep(rt, [about(stage, "customer.created", world.get("customer", customer), created=NOW - 60)])
        drain(rt)
        with rt.transaction(stage.workspace_id) as session:
            found = mirror.customer(session, stage.connection_id, customer)
        assert found is not None
        assert found.id == customer


class TestDiscounts:
    def test_a_discount_is_read_with_its_subscription_and_told_with_its_coupon_s_terms(
        self, rt: Runtime, local: LocalStripe, stage: make.Stage
    ) -> None:
        subscription = stage.shapes["monthly"][1]
        make.read_in(rt)
        begin = len(news(local, stage))
        subscriptions.update(dashboard(local, stage), subscription, {"discounts": [{"coupon": "STAY20"}]})
        keep(rt, [{**one, "created": int(time.time()) + 1} for one in news(local, stage, begin)])
        settle(rt)
        [discount] = _discounts(rt, stage, subscription)
        assert (discount.coupon, discount.subscription) == ("STAY20", subscription)
        assert discount.terms is not None
        assert discount.terms.percent_off == 20
        begin = len(news(local, stage))
        subscriptions.update(dashboard(local, stage), subscription, {"discounts": ""})
        keep(rt, [{**one, "created": int(time.time()) + 2} for one in news(local, stage, begin)])
        settle(rt)
        assert _discounts(rt, stage, subscription) == ()
        with rt.transaction(stage.workspace_id) as session:
            assert session.execute(text("select count(*) from discounts where subscription = :id"), {"id": subscription}).scalar_one() == 0

    def test_a_discount_of_which_only_the_id_is_known_is_asked_about(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        subscription = stage.shapes["monthly"][1]
        subscriptions.update(dashboard(local, stage), subscription, {"discounts": [{"coupon": "STAY20"}]})
        raw = local.world(stage.account, False).get("subscription", subscription)
        assert all(isinstance(id, str) for id in raw["discounts"])
        begin = len(local.requests)
        keep(rt, [about(stage, "customer.subscription.updated", raw, created=NOW - 60)])
        settle(rt)
        assert asked(local, begin) == [f"GET /v1/subscriptions/{subscription}"]
        assert [one.coupon for one in _discounts(rt, stage, subscription)] == ["STAY20"]
        keep(rt, [about(stage, "customer.subscription.updated", {**raw, "metadata": {"a": "b"}}, created=int(time.time()) + 2)])
        settle(rt)
        assert asked(local, begin) == [f"GET /v1/subscriptions/{subscription}"]

    def test_the_one_discount_of_old_needs_no_row(self, rt: Runtime, stage: make.Stage) -> None:
        keep(rt, [about(stage, "customer.subscription.updated", OLD_SUBSCRIPTION, api_version="2020-03-02")])
        drain(rt)
        [discount] = _discounts(rt, stage, "sub_old")
        assert discount.coupon == "HALF"
        assert discount.terms is not None
        assert discount.terms.percent_off == 50

    def test_a_customer_s_own_discount_counts_where_the_subscription_has_none(
        self, rt: Runtime, local: LocalStripe, stage: make.Stage
    ) -> None:
        customer, subscription = stage.shapes["monthly"]
        make.read_in(rt)
        own = {"id": "di_own", "object": "discount", "customer": customer, "subscription": None, "source": {"coupon": "STAY20"}, "start": 5}
        raw = local.world(stage.account, False).get("customer", customer)
        keep(rt, [about(stage, "customer.updated", {**raw, "discount": own}, created=int(time.time()) + 1)])
        drain(rt)
        [discount] = _discounts(rt, stage, subscription)
        assert (discount.id, discount.coupon) == ("di_own", "STAY20")


def _discounts(rt: Runtime, stage: make.Stage, subscription: str) -> tuple[objects.Discount, ...]:
    with rt.transaction(stage.workspace_id) as session:
        return mirror.discounts_of(session, stage.connection_id, [subscription])[subscription]


class TestCharges:
    def test_what_is_given_back_and_what_is_disputed_shows_in_the_charge(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        world = local.world(stage.account, False)
        charge = {
            "id": "ch_1",
            "object": "charge",
            "amount": 2000,
            "amount_refunded": 500,
            "created": NOW - 100,
            "currency": "usd",
            "customer": stage.shapes["monthly"][0],
            "disputed": False,
            "livemode": False,
            "payment_intent": None,
        }
        keep(rt, [about(stage, "charge.refunded", charge, created=NOW - 60)])
        drain(rt)
        assert _charge(rt, stage) == (2000, 500, None, 0)
        # A dispute is told by an object of its own; how it stands takes two reads.
        world.put({**charge, "disputed": True})
        world.put(
            {"id": "dp_1", "object": "dispute", "charge": "ch_1", "amount": 1500, "created": NOW, "currency": "usd", "status": "lost"}
        )
        begin = len(local.requests)
        keep(rt, [about(stage, "charge.dispute.closed", {"id": "dp_1", "object": "dispute", "charge": "ch_1"}, created=NOW - 50)])
        settle(rt)
        assert asked(local, begin) == ["GET /v1/charges/ch_1", "GET /v1/disputes"]
        assert _charge(rt, stage) == (2000, 500, "lost", 1500)
        # A later state of the charge does not say how the dispute stands, and does not forget it.
        keep(rt, [about(stage, "charge.updated", {**charge, "disputed": True, "metadata": {}}, created=int(time.time()) + 1)])
        settle(rt)
        assert _charge(rt, stage) == (2000, 500, "lost", 1500)

    def test_the_invoice_that_was_found_for_a_charge_stays_known(self, rt: Runtime, stage: make.Stage) -> None:
        charge = {"id": "ch_1", "object": "charge", "amount": 5, "created": 5, "currency": "jpy", "invoice": "in_1"}
        keep(rt, [about(stage, "charge.succeeded", charge, created=NOW - 60, api_version="2022-11-15")])
        drain(rt)
        keep(rt, [about(stage, "charge.refunded", {**charge, "invoice": None, "amount_refunded": 5}, created=NOW - 50)])
        drain(rt)
        with rt.transaction(stage.workspace_id) as session:
            assert session.execute(text("select invoice, amount_refunded from charges")).one() == ("in_1", 5)


def _charge(rt: Runtime, stage: make.Stage) -> tuple[int, int, str | None, int]:
    with rt.transaction(stage.workspace_id) as session:
        row = session.execute(text("select amount, amount_refunded, dispute_status, amount_disputed from charges where id = 'ch_1'")).one()
    return tuple(row)


class TestCards:
    def test_a_new_default_card_after_a_visit_to_stripe_s_page_is_followed_once(
        self, rt: Runtime, local: LocalStripe, stage: make.Stage
    ) -> None:
        customer = stage.shapes["monthly"][0]
        make.read_in(rt)
        link = _link(rt, stage, customer, card_update_minutes_ago=5)
        _link(rt, stage, stage.shapes["yearly"][0], card_update_minutes_ago=180)
        raw = local.world(stage.account, False).get("customer", customer)
        other = local.world(stage.account, False).get("customer", stage.shapes["yearly"][0])
        with rt.transaction() as session:
            session.execute(text("delete from work"))
        soon = int(time.time()) + 1
        changed = {"invoice_settings": {"default_payment_method": "pm_new"}}
        keep(
            rt,
            [
                about(stage, "customer.updated", {**raw, "name": "Renamed"}, created=soon),
                about(stage, "customer.updated", {**other, **changed}, created=soon),
            ],
        )
        work.perform(rt, _drain_id(rt))
        assert _asked_to_follow(rt) == []
        keep(rt, [about(stage, "customer.updated", {**raw, **changed}, created=soon + 1)])
        work.perform(rt, _drain_id(rt))
        assert _asked_to_follow(rt) == [link]


def _link(rt: Runtime, stage: make.Stage, customer: str, card_update_minutes_ago: int) -> str:
    now = rt.now()
    link = PortalLink(
        id=ids.new("plk"),
        workspace_id=stage.workspace_id,
        mode=stage.mode,
        connection_id=stage.connection_id,
        customer=customer,
        minted_at=now,
        expires_at=now + timedelta(days=90),
        card_update_at=now - timedelta(minutes=card_update_minutes_ago),
    )
    with rt.transaction(stage.workspace_id) as session:
        session.add(link)
    return link.id


def _asked_to_follow(rt: Runtime) -> list[str]:
    with rt.transaction() as session:
        return list(session.execute(select(Work.row_id).where(Work.kind == "follow_card")).scalars())


class TestTheBudget:
    def test_a_burst_of_doubts_is_read_at_the_account_s_pace_and_wholly(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        wanted = [row["id"] for row in local.world(stage.account, False).all("customer")]
        strangers = [f"cus_stranger{place}" for place in range(50)]
        with rt.transaction(stage.workspace_id) as session:
            for id in (*strangers, *wanted):
                projections.refetch(session, stage.workspace_id, stage.connection_id, "customer", id, due_at=rt.now())
        begin, began = len(local.requests), time.monotonic()
        while _left(rt) and time.monotonic() - began < 20:
            drain(rt)
            time.sleep(0.02)
        seconds = time.monotonic() - began
        assert len(asked(local, begin)) == len(wanted) + len(strangers)
        assert len(asked(local, begin)) <= 25 * (seconds + 0.1) + 1  # Stripe's own limit
        with rt.transaction(stage.workspace_id) as session:
            assert mirror.counts(session, stage.connection_id)["customers"] == len(wanted)
            assert session.execute(text("select count(*) from work where gave_up_at is not null")).scalar_one() == 0

    def test_without_redis_reads_go_on_slowly(self, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
        deaf = dataclasses.replace(rt, redis=Redis.from_url("unix:///nonexistent/redis.sock"))
        subscription = stage.shapes["monthly"][1]
        with rt.transaction(stage.workspace_id) as session:
            projections.refetch(session, stage.workspace_id, stage.connection_id, "subscription", subscription, due_at=rt.now())
        with rt.transaction() as session:
            work_id = session.execute(select(Work.id).where(Work.kind == "reads")).scalar_one()
        began = time.monotonic()
        assert isinstance(work.perform(deaf, work_id), work.Done)
        assert time.monotonic() - began > 0.2
        assert mirrored(rt, stage, subscription) == truth(local, stage, subscription)


def _left(rt: Runtime) -> int:
    with rt.transaction() as session:
        return int(session.execute(text("select count(*) from work where queue = 'events'")).scalar_one())
