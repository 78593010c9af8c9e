"""The real SDK in front of the local Stripe meets what it would meet at Stripe: errors, keys, pages, isolation."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe

from tests.contract.conftest import Shop, client_of


def test_a_request_of_the_sdk_is_answered_with_its_own_objects(shop: Shop) -> None:
    path = ["customer", "items.data.price.product", "discounts.source.coupon"]
    found = shop.client.v1.subscriptions.retrieve(shop.subscription("monthly"), {"expand": path}, shop.here)
    assert isinstance(found.customer, stripe.Customer)
    assert found.customer.name == "Maya Okafor"
    product = found["items"].data[0].price.product
    assert isinstance(product, stripe.Product)
    assert product.name == "Pro"


def test_the_answer_carries_stripes_headers(shop: Shop) -> None:
    reply = shop.ask("GET", "/v1/account")
    assert reply.headers["Request-Id"].startswith("req_")
    assert reply.headers["Stripe-Version"] == "2026-10-28.endive"
    assert reply.headers["Stripe-Account"] == shop.account
    assert reply.headers["Date"].endswith("GMT")


def test_what_can_not_be_expanded_is_refused_before_anything_changes(shop: Shop) -> None:
    before = len(shop.local.effects)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        shop.client.v1.subscriptions.update(shop.subscription("monthly"), {"cancel_at_period_end": True, "expand": ["coupon"]}, shop.here)
    assert len(shop.local.effects) == before


def test_expansion_goes_four_levels_deep(shop: Shop) -> None:
    id = shop.subscription("monthly")
    shop.client.v1.subscriptions.retrieve(id, {"expand": ["customer.subscriptions.data.customer"]}, shop.here)
    with pytest.raises(stripe.InvalidRequestError, match="more than 4 levels"):
        shop.client.v1.subscriptions.retrieve(id, {"expand": ["customer.subscriptions.data.customer.subscriptions"]}, shop.here)


def test_an_unknown_parameter_is_named(shop: Shop) -> None:
    reply = shop.ask("POST", f"/v1/subscriptions/{shop.subscription('monthly')}", {"discounts[0][cupon]": "STAY20"})
    error = json.loads(reply.body)["error"]
    assert reply.status == 400
    assert error["code"] == "parameter_unknown"
    assert error["param"] == "discounts[0][cupon]"
    assert error["type"] == "invalid_request_error"
    assert error["doc_url"] == "https://docs.stripe.com/error-codes/parameter-unknown"
    assert "req_" in error["request_log_url"]


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"cancel_at_period_end": "yes"}, "cancel_at_period_end"),
        ({"cancel_at": "soon"}, "cancel_at"),
        ({"pause_collection[behavior]": "voided"}, "pause_collection[behavior]"),
        ({"pause_collection[resumes_at]": "1900000000"}, "pause_collection[behavior]"),
        ({"discounts": "STAY20"}, "discounts"),
        ({"metadata": "x"}, "metadata"),
        ({"coupon": "STAY20"}, "coupon"),
        ({"items[0][id]": "si_nobody"}, "items[0][id]"),
        ({"discounts[0][coupon]": "NOSUCH"}, "discounts[0][coupon]"),
        ({"discounts[0][coupon]": "SPRING"}, "discounts[0][coupon]"),
        ({"discounts[0][coupon]": "EURO5"}, "discounts[0][coupon]"),
        ({"default_payment_method": "pm_nobody"}, "default_payment_method"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_changes_nothing(shop: Shop, form: dict[str, str], param: str) -> None:
    reply = shop.ask("POST", f"/v1/subscriptions/{shop.subscription('monthly')}", form)
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["param"] == param
    assert not shop.local.effects


def test_wrong_keys_are_refused(shop: Shop) -> None:
    with pytest.raises(stripe.AuthenticationError):
        client_of(shop.local, "sk_test_wrong").v1.customers.list({}, shop.here)
    assert shop.ask("GET", "/v1/account", authorization="").status == 401
    assert shop.ask("GET", "/v1/account", stripe_version="2020-08-27").status == 400


def test_an_account_that_never_connected_is_out_of_reach(shop: Shop) -> None:
    for stranger in (shop.seeded["unconnected_account"], "acct_nobody"):
        with pytest.raises(stripe.PermissionError) as caught:
            shop.client.v1.customers.list({}, {"stripe_account": stranger})
        assert caught.value.error is not None
        assert caught.value.error.code == "account_invalid"
    live = client_of(shop.local, shop.local.keys[True])
    with pytest.raises(stripe.PermissionError):
        live.v1.customers.list({}, shop.here)


def test_accounts_and_modes_do_not_see_each_other(shop: Shop) -> None:
    customer = shop.row("monthly")["customer"]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.client.v1.customers.retrieve(customer)
    assert caught.value.http_status == 404
    assert caught.value.code == "resource_missing"
    shop.local.connections[(shop.account, True)] = "read_write"
    live = client_of(shop.local, shop.local.keys[True])
    with pytest.raises(stripe.InvalidRequestError, match="similar object exists in test mode"):
        live.v1.customers.retrieve(customer, None, shop.here)
    assert {c.livemode for c in live.v1.customers.list({}, shop.here).data} == {True}


def test_a_read_only_connection_can_not_write(shop: Shop) -> None:
    shop.local.connections[(shop.account, False)] = "read_only"
    shop.client.v1.customers.list({}, shop.here)
    with pytest.raises(stripe.PermissionError):
        shop.client.v1.subscriptions.update(shop.subscription("monthly"), {"metadata": {"a": "b"}}, shop.here)


def test_pages_hold_everything_once_newest_first(shop: Shop) -> None:
    everybody = shop.client.v1.customers.list({"limit": 100}, shop.here)
    paged = list(shop.client.v1.customers.list({"limit": 5}, shop.here).auto_paging_iter())
    assert [c.id for c in paged] == [c.id for c in everybody.data]
    assert [c.created for c in paged] == sorted((c.created for c in paged), reverse=True)
    back = shop.client.v1.customers.list({"limit": 3, "ending_before": paged[5].id}, shop.here)
    assert [c.id for c in back.data] == [c.id for c in paged[2:5]]
    assert back.has_more
    assert not shop.client.v1.customers.list({"starting_after": paged[-2].id}, shop.here).has_more
    for wrong in ({"limit": 101}, {"limit": 0}, {"starting_after": "cus_nobody"}):
        with pytest.raises(stripe.InvalidRequestError):
            shop.client.v1.customers.list(wrong, shop.here)  # type: ignore[arg-type]


def test_lists_filter_as_asked(shop: Shop) -> None:
    subscriptions = shop.client.v1.subscriptions
    two = shop.row("two_subscriptions")["customer"]
    assert len(subscriptions.list({"customer": two}, shop.here).data) == 2
    assert [s.id for s in subscriptions.list({"status": "past_due"}, shop.here).data] == [shop.subscription("past_due")]
    subscriptions.cancel(shop.subscription("monthly"), {}, shop.here)
    alive = {s.id for s in subscriptions.list({"limit": 100}, shop.here).data}
    assert shop.subscription("monthly") not in alive
    assert shop.subscription("monthly") in {s.id for s in subscriptions.list({"limit": 100, "status": "all"}, shop.here).data}
    assert {s.status for s in subscriptions.list({"status": "ended"}, shop.here).data} == {"canceled"}


def test_discounts_overwrite_and_what_is_resent_stays(shop: Shop) -> None:
    update, id = shop.client.v1.subscriptions.update, shop.subscription("monthly")
    first = update(id, {"discounts": [{"coupon": "LOYAL15"}]}, shop.here).discounts
    both = update(id, {"discounts": [{"discount": str(first[0])}, {"coupon": "STAY20"}]}, shop.here).discounts
    assert both[0] == first[0]
    assert len(both) == 2
    assert len(update(id, {"metadata": {"a": "b"}}, shop.here).discounts) == 2
    assert len(update(id, {"discounts": [{"coupon": "HALFOFF"}]}, shop.here).discounts) == 1
    assert update(id, {"discounts": ""}, shop.here).discounts == []
    assert shop.effects("monthly") == ["discount", "discount", "other", "discount", "discount"]
    assert shop.news().count("customer.discount.created") == 3
    assert shop.news().count("customer.discount.deleted") == 3


def test_a_cancel_is_scheduled_and_taken_back(shop: Shop) -> None:
    update, id = shop.client.v1.subscriptions.update, shop.subscription("monthly")
    ending = update(id, {"cancel_at_period_end": True, "cancellation_details": {"feedback": "unused", "comment": "bye"}}, shop.here)
    assert ending.cancel_at == ending["items"].data[0].current_period_end
    assert ending.status == "active"
    assert ending.cancellation_details is not None
    assert ending.cancellation_details.reason == "cancellation_requested"
    update(id, {"cancel_at_period_end": True}, shop.here)
    kept = update(id, {"cancel_at_period_end": False}, shop.here)
    assert (kept.cancel_at, kept.canceled_at, kept.cancel_at_period_end) == (None, None, False)
    assert shop.effects("monthly") == ["cancel_at_period_end", "undo_cancel"]


def test_a_discount_that_clears_a_cancel_is_one_effect(shop: Shop) -> None:
    shop.client.v1.subscriptions.update(
        shop.subscription("already_canceling"), {"discounts": [{"coupon": "STAY20"}], "cancel_at_period_end": False}, shop.here
    )
    assert shop.effects("already_canceling") == ["discount"]


def test_a_schedule_refuses_direct_cancels_and_nothing_else(shop: Shop) -> None:
    id = shop.subscription("scheduled")
    for change in ({"cancel_at_period_end": True}, {"cancel_at": 1999999999}, {"cancel_at": ""}):
        with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule `sub_sched_"):
            shop.client.v1.subscriptions.update(id, change, shop.here)  # type: ignore[arg-type]
    shop.client.v1.subscriptions.update(id, {"metadata": {"a": "b"}}, shop.here)


def test_a_second_cancel_is_not_found_and_a_canceled_one_takes_only_its_epitaph(shop: Shop) -> None:
    subscriptions, id = shop.client.v1.subscriptions, shop.subscription("monthly")
    assert subscriptions.cancel(id, {"cancellation_details": {"feedback": "other"}}, shop.here).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription") as caught:
        subscriptions.cancel(id, {}, shop.here)
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    assert subscriptions.retrieve(id, None, shop.here).status == "canceled"
    subscriptions.update(id, {"metadata": {"a": "b"}, "cancellation_details": {"comment": "bye"}}, shop.here)
    with pytest.raises(stripe.InvalidRequestError, match="can only update its cancellation_details and metadata"):
        subscriptions.update(id, {"cancel_at_period_end": True}, shop.here)
    assert shop.effects("monthly") == ["cancel", "other"]


def test_a_new_price_resets_the_quantity_unless_it_is_given(shop: Shop) -> None:
    world = shop.local.world(shop.account, False)
    prices = {price["nickname"]: price["id"] for price in world.all("price")}
    id = shop.subscription("multi_item")
    seat = next(i["id"] for i in world.get("subscription", id)["items"]["data"] if i["quantity"] == 3)
    changed = shop.client.v1.subscriptions.update(
        id, {"items": [{"id": seat, "price": prices["Archive storage monthly"]}], "proration_behavior": "none"}, shop.here
    )
    assert [item.quantity for item in changed["items"].data] == [1, 1]
    assert shop.effects("multi_item") == ["plan_change"]


def test_the_same_key_gives_the_same_answer_and_one_effect(shop: Shop) -> None:
    update, id = shop.client.v1.subscriptions.update, shop.subscription("monthly")
    answers = [update(id, {"discounts": [{"coupon": "STAY20"}]}, shop.keyed("k1")) for _ in range(3)]
    assert len({str(answer) for answer in answers}) == 1
    assert answers[1].last_response is not None
    assert answers[1].last_response.headers["Idempotent-Replayed"] == "true"
    assert shop.effects("monthly") == ["discount"]
    assert shop.local.effects[0]["idempotency_key"] == "k1"


def test_a_key_with_other_parameters_is_an_idempotency_error(shop: Shop) -> None:
    update, id = shop.client.v1.subscriptions.update, shop.subscription("monthly")
    update(id, {"metadata": {"a": "1"}}, shop.keyed("k1"))
    with pytest.raises(stripe.IdempotencyError):
        update(id, {"metadata": {"a": "2"}}, shop.keyed("k1"))
    with pytest.raises(stripe.IdempotencyError):
        update(shop.subscription("yearly"), {"metadata": {"a": "1"}}, shop.keyed("k1"))


def test_a_refusal_after_the_start_is_kept_and_a_validation_failure_is_not(shop: Shop) -> None:
    path = f"/v1/subscriptions/{shop.subscription('scheduled')}"
    kept = [shop.ask("POST", path, {"cancel_at_period_end": "true"}, idempotency_key="kept") for _ in range(2)]
    assert [reply.status for reply in kept] == [400, 400]
    assert kept[1].headers["Idempotent-Replayed"] == "true"
    assert shop.ask("POST", path, {"metadata": "x"}, idempotency_key="free").status == 400
    assert shop.ask("POST", path, {"metadata[a]": "x"}, idempotency_key="free").status == 200


def test_keys_belong_to_an_account_and_deletes_have_none(shop: Shop) -> None:
    shop.local.connections[(shop.seeded["unconnected_account"], False)] = "read_write"
    here = shop.client.v1.customers.create({"name": "A"}, shop.keyed("k1"))
    elsewhere: Any = {**shop.keyed("k1"), "stripe_account": shop.seeded["unconnected_account"]}
    there = shop.client.v1.customers.create({"name": "A"}, elsewhere)
    assert here.id != there.id
    path = f"/v1/subscriptions/{shop.subscription('monthly')}"
    statuses = [shop.ask("DELETE", path, idempotency_key="k2").status for _ in range(2)]
    assert statuses == [200, 404]


def test_a_key_in_flight_is_a_conflict(shop: Shop) -> None:
    shop.local.faults.add({"kind": "slow", "seconds": 0.5, "method": "POST", "times": 1})
    path = f"/v1/subscriptions/{shop.subscription('monthly')}"
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: shop.ask("POST", path, {"metadata[a]": "b"}, idempotency_key="k1"), range(4)))
    assert sorted(reply.status for reply in replies) == [200, 409, 409, 409]
    conflict = next(reply for reply in replies if reply.status == 409)
    assert json.loads(conflict.body)["error"]["code"] == "idempotency_key_in_use"
    assert shop.ask("POST", path, {"metadata[a]": "b"}, idempotency_key="k1").status == 200


def test_events_are_listed_by_type(shop: Shop) -> None:
    shop.client.v1.subscriptions.update(shop.subscription("monthly"), {"discounts": [{"coupon": "LOYAL15"}]}, shop.here)
    events = shop.client.v1.events
    listed = events.list({"types": ["customer.subscription.updated", "customer.discount.created"]}, shop.here).data
    assert {event.type for event in listed} == {"customer.subscription.updated", "customer.discount.created"}
    assert [event.type for event in events.list({"type": "customer.discount.created"}, shop.here).data] == ["customer.discount.created"]
    assert events.list({"created": {"lt": 1000}}, shop.here).data == []
    with pytest.raises(stripe.InvalidRequestError):
        events.list({"type": "a", "types": ["b"]}, shop.here)


def test_an_unknown_url_is_unrecognized(shop: Shop) -> None:
    reply = shop.ask("GET", "/v1/subscriptions/sub_1/nothing")
    assert reply.status == 404
    assert "Unrecognized request URL (GET: /v1/subscriptions/sub_1/nothing)" in json.loads(reply.body)["error"]["message"]
