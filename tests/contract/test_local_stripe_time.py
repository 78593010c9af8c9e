"""The local Stripe's clock: what falls due as it moves, and what it leaves on real time."""

import time
from email.utils import parsedate_to_datetime

import pytest
import stripe

from sandbox.stripe import periods
from tests.contract.conftest import Shop

DAY = 86400


def days(shop: Shop, count: float) -> None:
    shop.local.clock.advance(int(count * DAY))


def state(shop: Shop, shape: str) -> stripe.Subscription:
    return shop.client.v1.subscriptions.retrieve(shop.subscription(shape), {"expand": ["latest_invoice"]}, shop.here)


def invoices(shop: Shop, shape: str) -> list[tuple[str | None, int]]:
    found = shop.client.v1.invoices.list({"subscription": shop.subscription(shape), "limit": 100}, shop.here)
    return [(invoice.status, invoice.total) for invoice in found.data]


def test_the_seeded_shapes_are_what_they_are_called(shop: Shop) -> None:
    assert [row["shape"] for row in shop.seeded["customers"]] == [
        *("monthly", "yearly", "trialing", "past_due", "already_canceling", "paused", "multi_item", "scheduled"),
        *("two_subscriptions", "two_subscriptions"),
    ]
    assert state(shop, "monthly").status == "active"
    assert state(shop, "yearly")["items"].data[0].price.recurring.interval == "year"
    assert state(shop, "trialing").status == "trialing"
    assert state(shop, "past_due").status == "past_due"
    assert invoices(shop, "past_due")[0] == ("open", 1200)
    assert state(shop, "already_canceling").cancel_at_period_end
    paused = state(shop, "paused")
    assert paused.pause_collection is not None
    assert (paused.status, paused.pause_collection.behavior) == ("active", "void")
    assert len(state(shop, "multi_item")["items"].data) == 2
    assert state(shop, "scheduled").schedule is not None
    assert len({row["customer"] for row in shop.seeded["customers"]}) == 9
    now = time.time()
    for row in shop.seeded["customers"]:
        found = shop.client.v1.subscriptions.retrieve(row["subscription"], None, shop.here)
        assert all(item.current_period_start <= now < item.current_period_end for item in found["items"].data)
    assert not shop.local.effects


def test_months_keep_the_day_they_began_on_where_it_exists() -> None:
    anchor = 1706659200  # 2024-01-31
    february = periods.later(anchor, "month", 1, anchor)
    assert february == 1709164800  # 2024-02-29
    assert periods.later(february, "month", 1, anchor) == 1711843200  # 2024-03-31


def test_a_period_rolls_and_its_invoice_is_paid(shop: Shop) -> None:
    before = state(shop, "monthly")["items"].data[0].current_period_end
    count = len(invoices(shop, "monthly"))
    days(shop, 32)
    after = state(shop, "monthly")
    assert after["items"].data[0].current_period_start == before
    assert len(invoices(shop, "monthly")) == count + 1
    assert isinstance(after.latest_invoice, stripe.Invoice)
    assert after.latest_invoice.created == before
    assert after.latest_invoice.parent is not None
    assert after.latest_invoice.parent.subscription_details is not None
    assert after.latest_invoice.parent.subscription_details.subscription == after.id
    assert {"invoice.created", "invoice.finalized", "invoice.paid", "customer.subscription.updated"} <= set(shop.news())


def test_a_scheduled_cancel_takes_effect_at_its_date(shop: Shop) -> None:
    ends = state(shop, "already_canceling").cancel_at
    days(shop, 32)
    ended = state(shop, "already_canceling")
    assert (ended.status, ended.ended_at) == ("canceled", ends)
    gone = [event["data"]["object"]["id"] for event in shop.local.events(shop.account, "customer.subscription.deleted")]
    assert gone.count(ended.id) == 1
    assert shop.effects("already_canceling") == ["cancel"]
    assert {row["source"] for row in shop.local.effects} == {"clock"}


def test_a_trial_is_announced_and_then_paid(shop: Shop) -> None:
    days(shop, 7)
    assert "customer.subscription.trial_will_end" in shop.news()
    assert state(shop, "trialing").status == "trialing"
    days(shop, 3)
    assert state(shop, "trialing").status == "active"
    assert invoices(shop, "trialing") == [("paid", 2900), ("paid", 0)]


def test_a_pause_voids_what_falls_inside_it_and_lifts_by_itself(shop: Shop) -> None:
    days(shop, 32)
    assert invoices(shop, "paused")[0] == ("void", 1200)
    assert state(shop, "paused").pause_collection is not None
    days(shop, 14)
    assert state(shop, "paused").pause_collection is None
    days(shop, 31)
    assert invoices(shop, "paused")[0] == ("paid", 1200)


def test_a_declining_card_is_tried_again_and_given_up(shop: Shop) -> None:
    days(shop, 16)
    lost = state(shop, "past_due")
    assert lost.status == "canceled"
    assert lost.cancellation_details is not None
    assert lost.cancellation_details.reason == "payment_failed"
    assert "invoice.payment_failed" in shop.news()


def test_a_new_card_saves_a_past_due_subscription_at_the_next_try(shop: Shop) -> None:
    world = shop.local.world(shop.account, False)
    customer = shop.row("past_due")["customer"]
    good = next(card["id"] for card in world.all("payment_method", customer=customer) if card["card"]["last4"] == "4242")
    shop.client.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": good}}, shop.here)
    assert state(shop, "past_due").status == "past_due"
    days(shop, 4)
    assert state(shop, "past_due").status == "active"
    assert invoices(shop, "past_due")[0] == ("paid", 1200)


def test_a_schedule_changes_the_price_and_lets_go(shop: Shop) -> None:
    days(shop, 32)
    assert state(shop, "scheduled")["items"].data[0].price.unit_amount == 2900
    days(shop, 31)
    assert state(shop, "scheduled").schedule is None


def test_discounts_last_as_long_as_their_coupon_says(shop: Shop) -> None:
    update, id = shop.client.v1.subscriptions.update, shop.subscription("monthly")
    update(id, {"discounts": [{"coupon": "HALFOFF"}, {"coupon": "STAY20"}]}, shop.here)
    days(shop, 32)
    assert invoices(shop, "monthly")[0] == ("paid", 1160)
    assert len(state(shop, "monthly").discounts) == 1
    days(shop, 31)
    assert invoices(shop, "monthly")[0] == ("paid", 2320)
    days(shop, 93)
    assert invoices(shop, "monthly")[0] == ("paid", 2900)
    assert state(shop, "monthly").discounts == []


def test_a_longer_trial_moves_the_anchor_and_prorates_unless_told_not_to(shop: Shop) -> None:
    until = shop.local.clock.now() + 60 * DAY
    free = shop.client.v1.subscriptions.update(shop.subscription("monthly"), {"trial_end": until, "proration_behavior": "none"}, shop.here)
    assert (free.status, free.trial_end, free.billing_cycle_anchor) == ("trialing", until, until)
    shop.client.v1.subscriptions.update(shop.subscription("multi_item"), {"trial_end": until}, shop.here)
    days(shop, 61)
    assert invoices(shop, "monthly")[0] == ("paid", 2900)
    status, total = invoices(shop, "multi_item")[0]
    assert (status, total < 5300) == ("paid", True)
    with pytest.raises(stripe.InvalidRequestError):
        shop.client.v1.subscriptions.update(shop.subscription("yearly"), {"trial_end": int(time.time())}, shop.here)


def test_a_new_interval_starts_a_new_period_and_is_billed_at_once(shop: Shop) -> None:
    world = shop.local.world(shop.account, False)
    year = next(price["id"] for price in world.all("price") if price["nickname"] == "Pro yearly")
    item = world.get("subscription", shop.subscription("monthly"))["items"]["data"][0]["id"]
    changed = shop.client.v1.subscriptions.update(shop.subscription("monthly"), {"items": [{"id": item, "price": year}]}, shop.here)
    assert changed["items"].data[0].current_period_start == changed.billing_cycle_anchor
    status, total = invoices(shop, "monthly")[0]
    assert status == "paid"
    assert 26100 < total < 29000  # a year less what was left of the month


def test_a_declined_change_that_must_be_paid_changes_nothing(shop: Shop) -> None:
    world = shop.local.world(shop.account, False)
    year = next(price["id"] for price in world.all("price") if price["nickname"] == "Pro yearly")
    before = world.get("subscription", shop.subscription("past_due"))
    wanted = {"items": [{"id": before["items"]["data"][0]["id"], "price": year}], "payment_behavior": "error_if_incomplete"}
    count = len(invoices(shop, "past_due"))
    with pytest.raises(stripe.CardError) as caught:
        shop.client.v1.subscriptions.update(before["id"], wanted, shop.here)  # type: ignore[arg-type]
    assert caught.value.code == "card_declined"
    assert state(shop, "past_due")["items"].data[0].price.unit_amount == 1200
    assert len(invoices(shop, "past_due")) == count
    assert not list(world.all("invoiceitem"))


def test_news_signatures_and_the_date_header_stay_on_real_time(shop: Shop) -> None:
    days(shop, 100)
    shop.client.v1.subscriptions.update(shop.subscription("monthly"), {"metadata": {"a": "b"}}, shop.here)
    assert abs(shop.local.events(shop.account)[-1]["created"] - time.time()) < 5
    date = parsedate_to_datetime(shop.ask("GET", "/v1/account").headers["Date"])
    assert abs(date.timestamp() - time.time()) < 5
    customer = shop.client.v1.customers.create({"name": "Later"}, shop.here)
    assert customer.created - time.time() > 99 * DAY
