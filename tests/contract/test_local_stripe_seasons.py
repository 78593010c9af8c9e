"""Seasons of changes that nobody planned: whatever is asked in whatever order, the books agree and every object is one of Stripe's."""

import json
import random
from typing import Any

import pytest

from sandbox.stripe import misfortunes, shapes
from tests.contract import checks
from tests.contract.conftest import Shop

DAY = 86400
STEPS = 120
COUPONS = ("STAY20", "HALFOFF", "TENBACK", "LOYAL15", "EURO5")


def asked(chance: random.Random, subscription: dict[str, Any], prices: list[str], now: int) -> list[tuple[str, str, dict[str, str]]]:
    """All that somebody might ask about this subscription at this moment: method, path below /v1, form."""
    path, item = f"subscriptions/{subscription['id']}", chance.choice(subscription["items"]["data"])["id"]
    later = str(now + chance.randint(1, 60) * DAY)
    behaviors = ("allow_incomplete", "error_if_incomplete", "pending_if_incomplete", "default_incomplete")
    plan = {"items[0][id]": item, "items[0][price]": chance.choice(prices), "items[0][quantity]": str(chance.randint(1, 4))}
    plan |= {
        "proration_behavior": chance.choice(["none", "create_prorations", "always_invoice"]),
        "payment_behavior": chance.choice(behaviors),
    }
    pause = chance.choice(["void", "keep_as_draft", "mark_uncollectible"])
    resumed = {"billing_cycle_anchor[type]": chance.choice(["now", "unchanged"])}
    wanted = [
        ("POST", path, plan),
        ("POST", path, {"trial_end": later, "proration_behavior": chance.choice(["none", "create_prorations"])}),
        ("POST", path, {"pause_collection[behavior]": pause, "pause_collection[resumes_at]": later}),
        ("POST", path, {"pause_collection": ""}),
        ("POST", path, {"discounts[0][coupon]": chance.choice(COUPONS)}),
        ("POST", path, {"cancel_at_period_end": chance.choice(["true", "false"])}),
        ("POST", path, {"billing_cycle_anchor[type]": "now"}),
        ("POST", f"{path}/pause", {}),
        ("POST", f"{path}/resume", resumed),
        ("POST", "invoices/create_preview", {"subscription": subscription["id"]}),
        ("POST", f"invoices/{subscription['latest_invoice']}/{chance.choice(['pay', 'void', 'mark_uncollectible', 'finalize'])}", {}),
        ("POST", "invoiceitems", {"customer": subscription["customer"], "amount": str(chance.randint(-500, 900))}),
        ("POST", "subscription_schedules", {"from_subscription": subscription["id"]}),
        ("DELETE", path, {"prorate": "true", "invoice_now": chance.choice(["true", "false"])}),
    ]
    if schedule := subscription["schedule"]:
        wanted += [("POST", f"subscription_schedules/{schedule}/{chance.choice(['release', 'cancel'])}", {})] * 3
        wanted += [("POST", f"subscription_schedules/{schedule}", {"end_behavior": chance.choice(["cancel", "release"])})] * 3
    return wanted


@pytest.mark.parametrize("seed", [3, 8])
def test_after_a_season_the_books_agree_and_every_object_is_stripes(shop: Shop, seed: int) -> None:
    chance, world = random.Random(seed), shop.local.world(shop.account, False)
    made = [shapes.make(shop.local, {"account": shop.account, "shape": shape})["subscription"] for shape in shapes.SHAPES]
    statuses = set()
    for _ in range(STEPS):
        subscription = world.get("subscription", chance.choice(made))
        prices = [price["id"] for price in world.all("price", type="recurring")]
        match chance.randrange(8):
            case 0:
                shop.local.clock.advance(chance.randint(1, 20) * DAY)
            case 1:
                kind = chance.choice(["card_declines", "card_works"])
                misfortunes.befall(shop.local, {"kind": kind, "subscription": subscription["id"]})
            case _:
                method, path, form = chance.choice(asked(chance, subscription, prices, shop.local.clock.now()))
                reply = shop.ask(method, f"/v1/{path}", form)
                statuses.add(reply.status)
                assert reply.status in (200, 400, 402, 404), reply.body
                if reply.status == 200:
                    checks.check_response(json.loads(reply.body))
    shop.local.clock.advance(200 * DAY)
    assert {200, 400} <= statuses
    for kind in ("subscription", "invoice", "invoiceitem", "subscription_schedule", "discount", "charge", "customer"):
        for obj in world.all(kind):
            assert not (problems := checks.response_problems(obj)), (kind, problems)
    for invoice in world.all("invoice"):
        off = sum(each["amount"] for each in invoice["total_discount_amounts"])
        by_line = sum(each["amount"] for line in invoice["lines"]["data"] for each in line["discount_amounts"])
        assert (invoice["total"], off) == (invoice["subtotal"] - off, by_line)
        assert invoice["subtotal"] == sum(line["amount"] for line in invoice["lines"]["data"])
        if invoice["status"] == "paid":
            assert invoice["amount_paid"] == invoice["amount_due"]
            assert invoice["ending_balance"] <= 0
    for customer in world.all("customer"):  # what was credited and not used is all there is
        kept = [
            each
            for each in world.all("invoice", customer=customer["id"])
            if each["ending_balance"] is not None and each["status"] != "void"
        ]
        assert customer["balance"] == sum(each["ending_balance"] - each["starting_balance"] for each in kept)
