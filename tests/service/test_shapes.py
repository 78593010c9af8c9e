"""Every wish on every shape of subscription, carried out on the local Stripe: done and proven, or refused with nothing written."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from connect_app import config
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import Stage

REFUSED: dict[str, dict[str, str]] = {
    "discount": {"unpaid": "unpaid", "incomplete": "incomplete", "pending_update": "pending_update"},
    "pause": {
        "yearly": "pause_without_effect", "unpaid": "unpaid", "incomplete": "incomplete", "paused": "paused_by_stripe",
        **dict.fromkeys(("paused_void", "paused_uncollectible", "paused_draft"), "paused_already"),
    },
    "plan_change": {
        "multi_item": "several_items", "metered": "metered", "past_due": "past_due", "unpaid": "unpaid", "incomplete": "incomplete",
        "pending_update": "pending_update", "scheduled": "schedule_has_phases", "paused": "paused_by_stripe",
        **dict.fromkeys(("eur", "jpy", "kwd"), "price_currency"),
        **dict.fromkeys(("paused_void", "paused_uncollectible", "paused_draft"), "paused_already"),
    },
    "trial_extension": {},
    "cancel": {},
    "cancel now": {},
    "undo_cancel": {},
    "resume": {},
}  # fmt: skip
REFUSED["extension"] = REFUSED["pause"]
REFUSED["plan_change later"] = {**REFUSED["plan_change"], "legacy_price": "present_price_archived"}
# What an ended one is refused; a cancel of it counts as done.
ENDED = "subscription_ended"
SHAPES = (
    "monthly", "yearly", "multi_item", "metered", "licensed_and_metered", "tiered", "eur", "jpy", "kwd", "free", "trialing", "classic",
    "send_invoice", "discounted", "legacy_price", "past_due", "unpaid", "incomplete", "pending_update", "canceling", "cancel_at",
    "paused_void", "paused_uncollectible", "paused_draft", "paused", "scheduled", "last_phase", "canceled",
)  # fmt: skip


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local) as opened:
        yield opened


def expected(row: str, shape: str) -> str | None:
    """The refusal of this cell; None where it is done."""
    if shape == "canceled":
        return None if row.startswith("cancel") else ENDED
    if row == "trial_extension":
        return None if shape == "trialing" else "not_trialing"
    return REFUSED[row].get(shape)


def intent(stage: Stage, row: str, price: str) -> dict[str, Any]:
    now = stage.rt.now()
    return {
        "discount": {"coupon": "LOYAL15", "offer_id": "off_1", "headline": "15% off"},
        "pause": {"resumes_at": (now + timedelta(days=60)).isoformat()},
        "extension": {"resumes_at": (now + timedelta(days=60)).isoformat()},
        "trial_extension": {"trial_end": (now + timedelta(days=30)).isoformat()},
        "plan_change": {"price": price, "when": "now", "proration": "none"},
        "plan_change later": {"price": price, "when": "period_end"},
        "cancel": {"when": "period_end", "feedback": "unused", "comment": "No time."},
        "cancel now": {"when": "now", "invoice_now": True, "prorate": True, "feedback": "unused", "comment": "No time."},
    }.get(row, {})


def test_the_shapes_are_those_that_the_local_stripe_makes(stage: Stage) -> None:
    assert set(SHAPES) == set(stage.control("GET", "shapes"))


def happened(stage: Stage, row: str, shape: str, wanted: dict[str, Any], after: dict[str, Any]) -> None:
    """What the verb is for, as the local Stripe shows it."""
    items = after["items"]["data"]
    match row:
        case "discount":
            held = [stage.stripe_says(each)["source"]["coupon"] for each in after["discounts"]]
            assert "LOYAL15" in held
        case "pause" | "extension":
            behavior = "void" if row == "pause" else "mark_uncollectible"
            assert after["pause_collection"] == {"behavior": behavior, "resumes_at": seconds(wanted["resumes_at"])}
        case "trial_extension":
            assert after["status"] == "trialing"
            assert after["trial_end"] == seconds(wanted["trial_end"])
            assert stage.stripe_says(after["latest_invoice"])["total"] == 0
        case "plan_change":
            assert wanted["price"] in {item["price"]["id"] for item in items}
        case "plan_change later":
            now, later = stage.stripe_says(after["schedule"])["phases"][-2:]
            assert [line["price"] for line in now["items"]] == [each["price"]["id"] for each in items]
            assert [line["quantity"] for line in now["items"]] == [each["quantity"] for each in items]
            assert later["items"][0]["price"] == wanted["price"]
            assert [line["quantity"] for line in later["items"]] == [line["quantity"] for line in now["items"]]
            assert (later["start_date"], later["discounts"]) == (min(each["current_period_end"] for each in items), now["discounts"])
            assert {each["discount"] for each in now["discounts"]} == set(after["discounts"])
        case "cancel" if shape not in ("canceled", "canceling", "cancel_at", "incomplete"):
            assert after["cancel_at_period_end"]
        case "cancel now":
            assert after["status"] in ("canceled", "incomplete_expired")
        case "undo_cancel":
            assert (after["cancel_at"], after["cancel_at_period_end"]) == (None, False)
        case "resume":
            assert after["pause_collection"] is None
            assert after["status"] != "paused"
    if row.startswith("cancel") and shape not in ("canceled", "canceling", "cancel_at"):
        assert after["cancellation_details"]["feedback"] == "unused"


def seconds(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp())


@pytest.mark.parametrize("shape", SHAPES)
def test_every_wish_on_a_shape(stage: Stage, shape: str) -> None:
    price = stage.stripe_says(stage.shapes["yearly"][1])["items"]["data"][0]["price"]["id"]
    for row in REFUSED:
        made = stage.control("POST", "shapes", {"account": stage.account, "shape": shape})
        id, seen = made["subscription"], len(stage.local.requests)
        before = stage.stripe_says(id)
        wanted = intent(stage, row, price)
        action = stage.ask("monthly", row.split()[0], wanted, customer=made["customer"], subscription=id)
        done = stage.run(action)
        code = expected(row, shape)
        assert (row, done.code, done.message if code != done.code else None) == (row, code, None)
        after = stage.stripe_says(id)
        if code is not None:
            assert done.state == ("failed" if code == ENDED else "manual")
            assert after == before
            assert [each for each in stage.local.requests[seen:] if each["method"] != "GET"] == []
            continue
        assert done.state == "verified"
        if row != "cancel now" and shape != "canceled":
            kept = {each["id"] if isinstance(each, dict) else each for each in before["discounts"]}
            assert kept <= {each["id"] if isinstance(each, dict) else each for each in after["discounts"]}
            assert [item.get("quantity") for item in after["items"]["data"]] == [item.get("quantity") for item in before["items"]["data"]]
        # What is not asked about stays as it was, whatever way the change takes.
        if row not in ("cancel now", "resume", "trial_extension") and shape not in ("canceled", "incomplete"):
            # From monthly to yearly now is a new period, and its bill.
            bill = () if row == "plan_change" else ("latest_invoice",)
            for name in ("status", "trial_end", "collection_method", "days_until_due", "default_payment_method", *bill):
                assert (row, name, after[name]) == (row, name, before[name])
        happened(stage, row, shape, wanted, after)
    assert [each["problem"] for each in stage.control("GET", "contract")] == []
