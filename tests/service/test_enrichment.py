"""What is known when a customer's flow opens: never another's data, never more than two seconds, never a failure."""

import dataclasses
import json
import time
from typing import Any

import pytest
from sqlalchemy import event

from connect_app import connections
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.gateway import Gateway
from sandbox.stripe import accounts, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.sdk import LocalClient
from tests import make
from webhooks import enrichment, events, mirror, projections, store
from webhooks.enrichment import Enriched


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    return make.workspace(rt, local)


def load(rt: Runtime, stage: make.Stage, customer: str, subscription: str | None) -> Enriched:
    return enrichment.load(
        rt,
        workspace_id=stage.workspace_id,
        mode=stage.mode,
        connection_id=stage.connection_id,
        customer=customer,
        subscription=subscription,
    )


def reads(local: LocalStripe, begin: int) -> int:
    return len(local.requests) - begin


def test_the_mirror_answers_in_one_query_and_without_stripe(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    make.read_in(rt)
    customer, subscription = stage.shapes["monthly"]
    begin, queries = len(local.requests), []

    def count(*given: Any) -> None:
        queries.append(given[2])

    event.listen(rt.engine, "before_cursor_execute", count)
    found = load(rt, stage, customer, subscription)
    event.remove(rt.engine, "before_cursor_execute", count)
    assert found.subscription is not None
    assert found.customer is not None
    assert (found.subscription.id, found.customer.name, found.product_name, found.source) == (subscription, "Maya Okafor", "Pro", "mirror")
    assert len([query for query in queries if "set_config" not in query]) == 1
    assert reads(local, begin) == 0


def test_what_the_mirror_lacks_is_read_once_and_kept(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    customer, subscription = stage.shapes["yearly"]
    begin = len(local.requests)
    found = load(rt, stage, customer, subscription)
    assert found.subscription is not None
    assert found.customer is not None
    assert (found.source, found.product_name, found.customer.name) == ("stripe", "Pro", "Jonas Lindqvist")
    assert reads(local, begin) == 2
    with rt.transaction(stage.workspace_id) as session:
        kept = mirror.subscription(session, stage.connection_id, subscription)
    assert kept is not None
    assert (kept.status, kept.current_period_end) == (found.subscription.status, found.subscription.current_period_end)
    again = load(rt, stage, customer, subscription)
    assert (again.source, reads(local, begin)) == ("mirror", 2)


def test_what_is_in_doubt_is_read_again(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    make.read_in(rt)
    customer, subscription = stage.shapes["monthly"]
    with rt.transaction(stage.workspace_id) as session:
        projections.refetch(session, stage.workspace_id, stage.connection_id, "subscription", subscription, due_at=rt.now())
    begin = len(local.requests)
    assert load(rt, stage, customer, subscription).source == "stripe"
    assert reads(local, begin) == 1
    local.faults.add({"kind": "500"})
    assert load(rt, stage, customer, subscription).source == "mirror"  # better than nothing


def test_news_that_is_kept_and_not_yet_understood_puts_in_doubt_what_it_is_about(
    rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    make.read_in(rt)
    customer, subscription = stage.shapes["monthly"]
    hand = Context(local=local, world=local.world(stage.account, False), source="dashboard")
    subscriptions.update(hand, subscription, {"cancel_at_period_end": True})
    told = json.dumps(list(hand.world.all("event"))[-1]).encode()
    with rt.transaction() as session:
        store.keep(session, [events.envelope(told)], rt.now())
    found = load(rt, stage, customer, subscription)
    assert found.subscription is not None
    assert (found.source, found.subscription.cancel_at_period_end) == ("stripe", True)
    assert load(rt, stage, *stage.shapes["yearly"]).source == "mirror"


def test_another_customer_s_subscription_tells_nothing(rt: Runtime, stage: make.Stage) -> None:
    for _ in ("live", "mirror"):
        found = load(rt, stage, stage.shapes["monthly"][0], stage.shapes["yearly"][1])
        assert (found.subscription, found.product_name, found.is_of_another) == (None, None, True)
        assert found.customer is not None


@pytest.mark.parametrize("subscription", ["sub_unknown", "..", "a/b?c=d&e", "sub 1", "é", "", None])
def test_an_unknown_subscription_is_no_failure(rt: Runtime, stage: make.Stage, subscription: str | None) -> None:
    found = load(rt, stage, stage.shapes["monthly"][0], subscription)
    assert found.subscription is None
    assert found.customer is not None


@pytest.mark.parametrize("kind", ["500", "429", "reset", "timeout_after"])
def test_a_stripe_that_fails_leaves_what_is_known(rt: Runtime, local: LocalStripe, stage: make.Stage, kind: str) -> None:
    local.faults.add({"kind": kind})
    assert load(rt, stage, *stage.shapes["monthly"]) == Enriched()


def test_a_stripe_that_hangs_is_waited_for_two_seconds_with_nothing_open(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    checked_out = []

    class Hanging(LocalClient):
        def request(self, *_args: Any, **_kwargs: Any) -> Any:
            checked_out.append(rt.engine.pool.checkedout())  # type: ignore[attr-defined]
            time.sleep(4)
            raise TimeoutError

    hanging = Gateway(
        mode="test",
        secret_key=local.keys[False],
        client_id="ca_1",
        api_base=local.base_url,
        connect_base=None,
        connect_timeout=1,
        read_timeout=1,
        http_client=Hanging(local),
    )
    slow = dataclasses.replace(rt, quick_gateways={**rt.quick_gateways, rt.settings.modes[0]: hanging})
    began = time.monotonic()
    assert load(slow, stage, *stage.shapes["monthly"]) == Enriched()
    assert time.monotonic() - began < 3.9
    assert checked_out == [0, 0]


def test_without_a_working_connection_nothing_is_known(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    make.read_in(rt)
    customer, subscription = stage.shapes["monthly"]
    nothing = enrichment.load(
        rt, workspace_id=stage.workspace_id, mode="test", connection_id=None, customer=customer, subscription=subscription
    )
    assert nothing == Enriched()
    with rt.transaction(stage.workspace_id) as session:
        connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="deauthorized", actor="x")
    begin = len(local.requests)
    assert load(rt, stage, customer, subscription) == Enriched()
    assert reads(local, begin) == 0


def test_a_read_that_finds_us_cut_off_ends_the_connection(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    accounts.disconnect(local, stage.account, False)
    assert load(rt, stage, *stage.shapes["monthly"]) == Enriched()
    with rt.transaction(stage.workspace_id) as session:
        found = connections.by_id(session, stage.connection_id)
    assert found is not None
    assert found.disconnect_reason == "access_lost"


def test_another_workspace_s_connection_is_not_there(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    other = make.workspace(rt, local)
    make.read_in(rt)
    customer, subscription = stage.shapes["monthly"]
    found = enrichment.load(
        rt, workspace_id=other.workspace_id, mode="test", connection_id=stage.connection_id, customer=customer, subscription=subscription
    )
    assert found == Enriched()
