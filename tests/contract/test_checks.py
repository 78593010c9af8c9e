"""The checkers catch what Stripe would refuse, and what Stripe would never send."""

from typing import Any

import pytest

from tests.contract import checks
from tests.contract.conftest import Shop

UPDATE = ("POST", "/v1/subscriptions/sub_1")


@pytest.mark.parametrize(
    "params",
    [
        {"cancel_at_period_end": True, "cancellation_details": {"feedback": "unused", "comment": "bye"}},
        {"discounts": [{"discount": "di_1"}, {"coupon": "C"}], "metadata": {"holdfast_action": "act_1"}},
        {"discounts": ""},
        {"cancel_at": ""},
        {"cancel_at": 1800000000},
        {"cancel_at": "min_period_end"},
        {"trial_end": "now"},
        {"billing_cycle_anchor": {"type": "now"}},
        {"pause_collection": {"behavior": "void", "resumes_at": 1800000000}},
        {"description": "any text"},
        {},
    ],
)
def test_what_stripe_takes_passes(params: dict[str, Any]) -> None:
    checks.check_request(*UPDATE, params)


@pytest.mark.parametrize(
    "params",
    [
        {"coupon": "C"},
        {"promotion_code": "p"},
        {"pause_collection": {"behavior": "voided"}},
        {"pause_collection": {"resumes_at": 1800000000}},
        {"billing_cycle_anchor": "now"},
        {"metadata": {"a": 1}},
        {"cancel_at_period_end": "true"},
        {"cancel_at": "next_tuesday"},
        {"cancellation_details": {"feedback": "bored"}},
        {"discounts": [{"coupon": "C", "amount": 3}]},
        {"items": [{"id": "si_1", "quantity": 1.5}]},
        {"at_period_end": True},
    ],
)
def test_what_stripe_refuses_is_caught(params: dict[str, Any]) -> None:
    with pytest.raises(checks.ContractBroken):
        checks.check_request(*UPDATE, params)


def test_removed_and_invented_calls_are_caught() -> None:
    with pytest.raises(checks.ContractBroken, match="payment_method_types"):
        checks.check_request("POST", "/v1/checkout/sessions", {"mode": "setup", "payment_method_types": ["card"]})
    with pytest.raises(checks.ContractBroken, match="no call"):
        checks.check_request("GET", "/v1/invoices/upcoming/lines/all", {})
    with pytest.raises(checks.ContractBroken):
        checks.check_request("DELETE", "/v1/subscriptions/sub_1", {"at_period_end": True})


def test_a_form_from_the_wire_is_checked_as_text() -> None:
    checks.check_form(*UPDATE, "cancel_at_period_end=true&discounts[0][coupon]=C&metadata[a]=1&expand[]=customer&expand[]=schedule")
    checks.check_form("GET", "/v1/subscriptions", "limit=3&customer=cus_1&created[gte]=3&status=all")
    with pytest.raises(checks.ContractBroken):
        checks.check_form(*UPDATE, "coupon=C")
    with pytest.raises(checks.ContractBroken):
        checks.check_form(*UPDATE, "pause_collection[behavior]=voided")


def subscription(shop: Shop) -> dict[str, Any]:
    row = shop.row("monthly")
    found: dict[str, Any] = shop.local.world(shop.account, False).get("subscription", row["subscription"])
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["current_period_end"], 1800000000),
        (["plan"], None),
        (["status"], "cancelled"),
        (["livemode"], None),
        (["created"], "1800000000"),
        (["cancel_at_period_end"], 0),
        (["items", "data", 0, "price", "unit_amount_decimal"], 29),
        (["items", "data", 0, "price", "recurring", "interval"], "monthly"),
        (["items", "data", 0, "current_period_end"], None),
        (["items", "has_more"], None),
        (["discounts"], None),
        (["cancellation_details"], {"reason": "bored", "comment": None, "feedback": None}),
    ],
)
def test_a_wrong_value_in_a_response_is_caught(shop: Shop, path: list[Any], value: Any) -> None:
    payload = subscription(shop)
    checks.check_response(payload)
    node: Any = payload
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    assert checks.response_problems(payload)


@pytest.mark.parametrize("key", ["livemode", "items", "billing_mode", "billing_schedules", "automatic_tax", "object"])
def test_a_missing_key_in_a_response_is_caught(shop: Shop, key: str) -> None:
    payload = subscription(shop)
    del payload[key]
    assert checks.response_problems(payload)


def test_an_event_is_checked_down_to_its_object(shop: Shop) -> None:
    shop.client.v1.subscriptions.update(shop.subscription("monthly"), {"cancel_at_period_end": True}, shop.here)
    event = shop.local.events(shop.account, "customer.subscription.updated")[-1]
    checks.check_response(event)
    event["data"]["previous_attributes"]["current_period_end"] = 1
    event["data"]["object"]["status"] = "gone"
    assert len(checks.response_problems(event)) == 2
