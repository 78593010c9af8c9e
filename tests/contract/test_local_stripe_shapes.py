"""Every shape of subscription that the local Stripe can make is what it is called, is one of Stripe's, and lives on for months."""

import json
from typing import Any

import pytest

from sandbox.stripe import shapes
from sandbox.stripe.wire import Request
from tests.contract import checks
from tests.contract.conftest import Shop

DAY = 86400

EXPECTED: dict[str, dict[str, Any]] = {
    "trialing": {"status": "trialing"},
    "past_due": {"status": "past_due"},
    "unpaid": {"status": "unpaid"},
    "incomplete": {"status": "incomplete"},
    "paused": {"status": "paused", "pause_collection": None},
    "canceled": {"status": "canceled"},
    "canceling": {"status": "active", "cancel_at_period_end": True},
    "cancel_at": {"status": "active", "cancel_at_period_end": False},
    "send_invoice": {"status": "active", "collection_method": "send_invoice", "days_until_due": 30},
    "jpy": {"currency": "jpy"},
    "kwd": {"currency": "kwd"},
}


def make(shop: Shop, shape: str, status: int = 200) -> Any:
    body = json.dumps({"account": shop.account, "shape": shape}).encode()
    reply = shop.local.answer(Request(method="POST", path="/_sandbox/shapes", body=body))
    assert reply.status == status, reply.body
    return json.loads(reply.body)


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_a_shape_is_what_it_is_called_and_lives_on(shop: Shop, shape: str) -> None:
    row = make(shop, shape)
    world = shop.local.world(shop.account, False)
    made = world.get("subscription", row["subscription"])
    assert {key: made[key] for key in EXPECTED.get(shape, {})} == EXPECTED.get(shape, {})
    assert (made["cancel_at"] is not None) is (shape in ("canceling", "cancel_at"))
    assert (made["schedule"] is not None) is (shape in ("scheduled", "last_phase"))
    assert (made["pause_collection"] is not None) is shape.startswith("paused_")
    assert (made["pending_update"] is not None) is (shape == "pending_update")
    assert made["billing_mode"]["type"] == ("classic" if shape == "classic" else "flexible")
    shop.local.clock.advance(70 * DAY)
    for kind in ("subscription", "invoice", "invoiceitem", "subscription_schedule", "discount", "charge", "event"):
        for obj in world.all(kind):
            assert not (problems := checks.response_problems(obj)), (kind, problems)


def test_a_shape_that_does_not_exist_is_refused(shop: Shop) -> None:
    assert "shape" in make(shop, "round", status=400)["error"]["message"]
