"""Every wish on every shape of subscription, carried out on the local Stripe: done and proven, or refused with nothing written."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from connect_app import config
from sandbox.stripe import invoices, payment_methods
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import cells, ledgers
from tests.service.ledgers import Stage

REFUSED: dict[str, dict[str, str]] = {
    "discount": {"unpaid": "unpaid", "incomplete": "incomplete", "pending_update": "pending_update", "free": "nothing_to_pay"},
    "pause": {
        "yearly": "pause_without_effect", "trialing": "on_trial", "free": "nothing_to_pay",
        "unpaid": "unpaid", "incomplete": "incomplete", "paused": "paused_by_stripe",
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
    "cancel void": {},
    "cancel now": {},
    "cancel now void": {},
    "undo_cancel": {},
    "resume": {},
    "payment_method": {},
}  # fmt: skip
REFUSED["mint"] = REFUSED["discount"]
REFUSED["extension"] = REFUSED["pause"]
REFUSED["plan_change later"] = {**REFUSED["plan_change"], "legacy_price": "present_price_archived"}
# What an ended one is refused; a cancel of it counts as done.
ENDED = "subscription_ended"
SHAPES = (
    "monthly", "yearly", "multi_item", "metered", "licensed_and_metered", "tiered", "eur", "jpy", "kwd", "free", "trialing", "classic",
    "send_invoice", "discounted", "legacy_price", "past_due", "unpaid", "incomplete", "pending_update", "canceling", "cancel_at",
    "paused_void", "paused_uncollectible", "paused_draft", "paused", "scheduled", "last_phase",
    "two_subscriptions", "canceled",
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


def intent(stage: Stage, row: str, customer: str, price: str) -> dict[str, Any]:
    now = stage.rt.now()
    said = {"feedback": "unused", "comment": "No time."}
    made = {"name": "15% off", "percent_off": "15", "duration": "once", "redeem_by": (now + timedelta(days=7)).isoformat()}
    match row:
        case "discount":
            return {"coupon": "LOYAL15", "offer_id": "off_1", "headline": "15% off"}
        case "mint":
            return {"offer_id": "off_1", "mint": {"id": f"hf_{customer}", **made}}
        case "pause" | "extension":
            return {"resumes_at": (now + timedelta(days=60)).isoformat()}
        case "trial_extension":
            return {"trial_end": (now + timedelta(days=30)).isoformat()}
        case "plan_change":
            return {"price": price, "when": "now", "proration": "none"}
        case "plan_change later":
            return {"price": price, "when": "period_end"}
        case "cancel" | "cancel void":
            return {"when": "period_end", **said, **({"open_invoices": "void"} if "void" in row else {})}
        case "cancel now" | "cancel now void":
            bills = {"invoice_now": True, "prorate": True}
            return {"when": "now", **bills, **said, **({"open_invoices": "void"} if "void" in row else {})}
        case "payment_method":
            return {"payment_method": another_card(stage, customer)}
    return {}


def another_card(stage: Stage, customer: str) -> str:
    world = stage.local.world(stage.account, False)
    ctx = Context(local=stage.local, world=world, source="dashboard", request_id="req_1")
    card = str(payment_methods.make_card(ctx, payment_methods.GOOD)["id"])
    payment_methods.attach(ctx, card, {"customer": customer})
    return card


def test_the_shapes_are_those_that_the_local_stripe_makes(stage: Stage) -> None:
    assert set(SHAPES) == set(stage.control("GET", "shapes"))


def happened(stage: Stage, row: str, shape: str, wanted: dict[str, Any], after: dict[str, Any]) -> None:
    """What the verb is for, as the local Stripe shows it."""
    items = after["items"]["data"]
    match row:
        case "discount" | "mint":
            coupon = wanted.get("coupon") or wanted["mint"]["id"]
            held = [stage.stripe_says(each)["source"]["coupon"] for each in after["discounts"]]
            if row == "mint" and shape == "scheduled":
                later = stage.stripe_says(after["schedule"])["phases"][-1]
                held = [each["coupon"] for each in later["discounts"]]
            assert held.count(coupon) == 1
            if row == "mint":
                made = stage.stripe_says(coupon)
                assert (made["percent_off"], made["duration"], made["max_redemptions"]) == (15, "once", 1)
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
        case "cancel" | "cancel void" if shape not in ("canceled", "canceling", "cancel_at", "incomplete"):
            assert after["cancel_at_period_end"]
        case "cancel now" | "cancel now void":
            assert after["status"] in ("canceled", "incomplete_expired")
        case "undo_cancel":
            assert (after["cancel_at"], after["cancel_at_period_end"]) == (None, False)
        case "resume":
            assert after["pause_collection"] is None
            assert after["status"] != "paused"
        case "payment_method":
            assert after["default_payment_method"] == wanted["payment_method"]
    if "void" in row and shape in cells.OWING:
        bills = [each for each in stage.local.world(stage.account, False).all("invoice") if invoices.subscription_of(each) == after["id"]]
        assert "void" in {each["status"] for each in bills} <= {"void", "paid"}
    if row.startswith("cancel") and shape not in ("canceled", "canceling", "cancel_at"):
        assert after["cancellation_details"]["feedback"] == "unused"


def seconds(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp())


def world(stage: Stage) -> dict[str, str]:
    """Everything that the account has at Stripe, as text by id."""
    tables = stage.local.world(stage.account, False).tables
    return {id: json.dumps(each) for kind, table in tables.items() if kind != "event" for id, each in table.items()}


def differences(before: dict[str, str], after: dict[str, str], but: str) -> set[str]:
    """What else than the subscription is new, changed or gone."""
    changed = {id for id in before.keys() | after.keys() if before.get(id) != after.get(id)} - {but}
    told = {id: json.loads(after.get(id) or before[id])["object"] for id in changed}
    return {f"{kind} {'new' if id not in before else 'changed' if id in after else 'gone'}" for id, kind in told.items()}


def called(stage: Stage, since: int) -> list[str]:
    """The writes, without the ids in them; a preview is a question."""
    rows = [each for each in stage.local.requests[since:] if each["method"] != "GET" and not each["path"].endswith("/create_preview")]
    parts = [(each["method"], each["path"].removeprefix("/v1/").split("/")) for each in rows]
    return [f"{method} {'/'.join([path[0], *path[2:]])}" for method, path in parts]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_wish_on_a_shape(stage: Stage, shape: str) -> None:
    price = stage.stripe_says(stage.shapes["yearly"][1])["items"]["data"][0]["price"]["id"]
    for row in REFUSED:
        made = stage.control("POST", "shapes", {"account": stage.account, "shape": shape, "quantity": 3})
        id, customer = made["subscription"], made["customer"]
        wanted = intent(stage, row, customer, price)
        seen, effects, was, before = len(stage.local.requests), len(stage.local.effects), world(stage), stage.stripe_says(id)
        verb = "discount" if row == "mint" else row.split()[0]
        done = stage.run(stage.ask("monthly", verb, wanted, customer=customer, subscription=id))
        code = expected(row, shape)
        assert (row, done.code, done.message if code != done.code else None) == (row, code, None)
        after, happens = stage.stripe_says(id), cells.NOTHING if code is not None else cells.cell(row, shape)
        assert done.state == ("verified" if code is None else "failed" if code == ENDED else "manual")
        fields = {name for name in before | after if before.get(name) != after.get(name)} - cells.BY_CHANCE.get(row, set())
        assert (row, called(stage, seen)) == (row, happens.calls)
        assert (row, [(each["subscription"], each["kind"]) for each in stage.local.effects[effects:]]) == (
            row,
            [(id, kind) for kind in happens.effects],
        )
        assert (row, fields, differences(was, world(stage), id)) == (row, happens.fields, happens.others)
        if code is None:
            keeps(before, after)
            happened(stage, row, shape, wanted, after)
    assert [each["problem"] for each in stage.control("GET", "contract")] == []


def keeps(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Every discount that was there, and as many of each thing."""
    kept = {each["id"] if isinstance(each, dict) else each for each in before["discounts"]}
    assert kept <= {each["id"] if isinstance(each, dict) else each for each in after["discounts"]}
    quantities = [item.get("quantity") for item in after["items"]["data"]]
    assert quantities == [item.get("quantity") for item in before["items"]["data"]]
    assert quantities in ([3], [None], [3, 5], [3, None])


def test_whoever_ends_all_of_two_subscriptions_ends_each_once(stage: Stage) -> None:
    for row in ("cancel", "cancel void", "cancel now", "cancel now void"):
        made = stage.control("POST", "shapes", {"account": stage.account, "shape": "two_subscriptions"})
        customer, two = made["customer"], [made["subscription"], made["other"]]
        since, wanted, session_id = len(stage.local.effects), intent(stage, row, made["customer"], ""), stage.visit(customer, two[0])
        whose = {"session_id": session_id, "choice_id": stage.choice(session_id), "customer": customer}
        for action in [stage.ask("monthly", "cancel", wanted, subscription=each, **whose) for each in two]:
            assert stage.run(action).state == "verified"
        effects = [(each["subscription"], each["kind"]) for each in stage.local.effects[since:]]
        assert effects == [(each, kind) for each in two for kind in cells.cell(row, "two_subscriptions").effects]
        for each in two:
            happened(stage, row, "two_subscriptions", wanted, stage.stripe_says(each))
