"""Pauses, payments that fail, and invoices in their owner's hands: what the local Stripe does when money does not simply come."""

from typing import Any

import pytest
import stripe

from sandbox.stripe import misfortunes
from tests.contract.conftest import Shop
from tests.contract.test_local_stripe_billing import item_of, newest, preview, price, update
from tests.contract.test_local_stripe_schedules import schedule, state

DAY = 86400


def days(shop: Shop, count: float) -> None:
    shop.local.clock.advance(int(count * DAY))


def befall(shop: Shop, shape: str, kind: str) -> None:
    misfortunes.befall(shop.local, {"kind": kind, "subscription": shop.subscription(shape)})


@pytest.mark.parametrize(
    ("behavior", "status", "news"),
    [
        ("void", "void", "invoice.voided"),
        ("mark_uncollectible", "uncollectible", "invoice.marked_uncollectible"),
        ("keep_as_draft", "draft", "invoice.created"),
    ],
)
def test_a_pause_of_collection_does_to_invoices_what_it_says(shop: Shop, behavior: Any, status: str, news: str) -> None:
    until = shop.local.clock.now() + 40 * DAY
    paused = update(shop, "monthly", pause_collection={"behavior": behavior, "resumes_at": until})
    assert paused.status == "active"
    assert shop.effects("monthly") == ["extension" if behavior == "mark_uncollectible" else "pause"]
    assert preview(shop, "monthly").total == 2900
    days(shop, 31)
    assert newest(shop, "monthly").status == status
    assert news in shop.news()
    days(shop, 10)
    assert state(shop, "monthly").pause_collection is None
    days(shop, 21)
    assert newest(shop, "monthly").status == "paid"


def test_a_pause_is_lifted_by_hand(shop: Shop) -> None:
    assert update(shop, "paused", pause_collection="").pause_collection is None
    assert shop.effects("paused") == ["resume"]
    days(shop, 31)
    assert newest(shop, "paused").status == "paid"


def test_a_pause_spends_no_credit(shop: Shop) -> None:
    customer = shop.row("paused")["customer"]
    shop.client.v1.customers.update(customer, {"balance": -500}, shop.here)
    told = shop.news().count("customer.updated")
    days(shop, 31)
    assert shop.news().count("customer.updated") == told
    assert newest(shop, "paused").status == "void"
    assert shop.client.v1.customers.retrieve(customer, None, shop.here).balance == -500


def test_a_paused_subscription_is_not_billed_until_it_is_resumed(shop: Shop) -> None:
    subscriptions, id = shop.client.v1.subscriptions, shop.subscription("monthly")
    paused = subscriptions.pause(id, {"type": "subscription", "bill_for": {"unused_time_from": {"type": "none"}}}, shop.here)
    assert paused.status == "paused"
    assert paused.status_details is not None
    assert paused.status_details.paused.subscription.type == "pause_requested"
    last = newest(shop, "monthly").id
    days(shop, 100)
    assert (state(shop, "monthly").status, newest(shop, "monthly").id) == ("paused", last)
    back = subscriptions.resume(id, {"billing_cycle_anchor": {"type": "now"}, "payment_behavior": "resume_on_payment_success"}, shop.here)
    assert (back.status, back.billing_cycle_anchor, back.status_details) == ("active", back["items"].data[0].current_period_start, None)
    assert (newest(shop, "monthly").status, newest(shop, "monthly").total) == ("paid", 2900)
    assert shop.effects("monthly") == ["pause", "resume"]
    assert {"customer.subscription.paused", "customer.subscription.resumed"} <= set(shop.news())


def test_a_pause_gives_back_the_unused_time(shop: Shop) -> None:
    shop.client.v1.subscriptions.pause(shop.subscription("yearly"), {}, shop.here)
    (waiting,) = shop.client.v1.invoice_items.list({"customer": shop.row("yearly")["customer"], "pending": True}, shop.here).data
    assert -29000 < waiting.amount < 0
    shop.client.v1.subscriptions.resume(shop.subscription("yearly"), {}, shop.here)
    assert newest(shop, "yearly").total == 29000 + waiting.amount


def test_what_can_not_be_paused_or_resumed_is_refused(shop: Shop) -> None:
    subscriptions = shop.client.v1.subscriptions
    with pytest.raises(stripe.InvalidRequestError, match="Cannot pause subscriptions with attached schedules"):
        subscriptions.pause(shop.subscription("scheduled"), {}, shop.here)
    with pytest.raises(stripe.InvalidRequestError, match="not paused"):
        subscriptions.resume(shop.subscription("paused"), {}, shop.here)  # only its collection is
    items: Any = [{"price": price(shop, "Pro monthly")}]
    classic = subscriptions.create(
        {"customer": shop.row("monthly")["customer"], "items": items, "billing_mode": {"type": "classic"}}, shop.here
    )
    with pytest.raises(stripe.InvalidRequestError, match="flexible"):
        subscriptions.pause(classic.id, {}, shop.here)


def test_a_resume_that_must_be_paid_waits_and_gives_up_after_23_hours(shop: Shop) -> None:
    subscriptions, id = shop.client.v1.subscriptions, shop.subscription("monthly")
    subscriptions.pause(id, {"bill_for": {"unused_time_from": {"type": "none"}}}, shop.here)
    befall(shop, "monthly", "card_declines")
    waiting = subscriptions.resume(id, {"payment_behavior": "resume_on_payment_success"}, shop.here)
    assert (waiting.status, newest(shop, "monthly").status) == ("paused", "open")
    days(shop, 1)
    assert (state(shop, "monthly").status, newest(shop, "monthly").status) == ("paused", "void")
    subscriptions.resume(id, {"payment_behavior": "resume_on_payment_success"}, shop.here)
    befall(shop, "monthly", "card_works")
    assert (state(shop, "monthly").status, newest(shop, "monthly").status) == ("active", "paid")


def dearer(shop: Shop, behavior: str) -> dict[str, Any]:
    """A change that is to be paid at once, with a card that declines."""
    befall(shop, "monthly", "card_declines")
    item = {"id": item_of(shop, "monthly"), "quantity": 4}
    return {"items": [item], "proration_behavior": "always_invoice", "payment_behavior": behavior}


def test_a_pending_update_waits_for_its_payment(shop: Shop) -> None:
    waiting = update(shop, "monthly", **dearer(shop, "pending_if_incomplete"))
    assert waiting.pending_update is not None
    assert waiting.pending_update.subscription_items is not None
    assert (waiting.status, waiting["items"].data[0].quantity) == ("active", 1)
    assert waiting.pending_update.subscription_items[0].quantity == 4
    assert newest(shop, "monthly").status == "open"
    befall(shop, "monthly", "card_works")
    done = state(shop, "monthly")
    assert (done.pending_update, done["items"].data[0].quantity, done.status) == (None, 4, "active")
    assert "customer.subscription.pending_update_applied" in shop.news()


def test_a_pending_update_that_nobody_pays_is_given_up(shop: Shop) -> None:
    update(shop, "monthly", **dearer(shop, "pending_if_incomplete"))
    days(shop, 1)
    left = state(shop, "monthly")
    assert (left.pending_update, left["items"].data[0].quantity, left.status) == (None, 1, "active")
    assert newest(shop, "monthly").status == "void"
    assert "customer.subscription.pending_update_expired" in shop.news()
    with pytest.raises(stripe.InvalidRequestError, match="can't pass `cancel_at_period_end`"):
        update(shop, "monthly", cancel_at_period_end=True, payment_behavior="pending_if_incomplete")


def test_an_update_that_may_fail_leaves_the_subscription_past_due_and_one_that_may_not_changes_nothing(shop: Shop) -> None:
    wanted = dearer(shop, "error_if_incomplete")
    last = newest(shop, "monthly").id
    with pytest.raises(stripe.CardError):
        update(shop, "monthly", **wanted, discounts=[{"coupon": "HALFOFF"}])
    assert (state(shop, "monthly")["items"].data[0].quantity, state(shop, "monthly").discounts, newest(shop, "monthly").id) == (1, [], last)
    assert shop.client.v1.coupons.retrieve("HALFOFF", None, shop.here).times_redeemed == 0
    changed = update(shop, "monthly", **{**wanted, "payment_behavior": "allow_incomplete"})
    assert (changed.status, changed["items"].data[0].quantity) == ("past_due", 4)


def test_an_open_invoice_is_voided_paid_or_given_up(shop: Shop) -> None:
    v1, owed = shop.client.v1.invoices, newest(shop, "past_due").id
    with pytest.raises(stripe.CardError):
        v1.pay(owed, {}, shop.here)
    good = next(
        card["id"]
        for card in shop.local.world(shop.account, False).all("payment_method", customer=shop.row("past_due")["customer"])
        if card["card"]["last4"] == "4242"
    )
    assert v1.pay(owed, {"payment_method": good}, shop.here).status == "paid"
    assert state(shop, "past_due").status == "active"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        v1.pay(owed, {}, shop.here)
    days(shop, 31)
    again = newest(shop, "past_due").id
    assert (v1.mark_uncollectible(again, {}, shop.here).status, state(shop, "past_due").status) == ("uncollectible", "active")
    assert v1.void_invoice(again, {}, shop.here).status == "void"
    with pytest.raises(stripe.InvalidRequestError, match="only void an open"):
        v1.void_invoice(again, {}, shop.here)


def test_after_a_cancel_open_invoices_rest_until_somebody_wants_them_collected(shop: Shop) -> None:
    owed = newest(shop, "past_due").id
    shop.client.v1.subscriptions.cancel(shop.subscription("past_due"), {}, shop.here)
    assert shop.client.v1.invoices.retrieve(owed, None, shop.here).auto_advance is False
    days(shop, 10)
    assert shop.client.v1.invoices.retrieve(owed, None, shop.here).status == "open"
    befall(shop, "past_due", "card_declines")
    tried = shop.client.v1.invoices.update(owed, {"auto_advance": True}, shop.here).attempt_count
    days(shop, 1)
    left = shop.client.v1.invoices.retrieve(owed, None, shop.here)
    assert (left.status, left.attempt_count) == ("open", tried + 1)
    assert state(shop, "past_due").status == "canceled"


def test_a_sent_invoice_waits_until_it_is_overdue(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
        update(shop, "monthly", collection_method="send_invoice")
    update(shop, "monthly", collection_method="send_invoice", days_until_due=10)
    days(shop, 20)
    sent = newest(shop, "monthly")
    assert (sent.status, sent.due_date, state(shop, "monthly").status) == ("open", sent.created + 10 * DAY, "active")
    days(shop, 10)
    assert state(shop, "monthly").status == "past_due"
    assert "invoice.overdue" in shop.news()
    shop.client.v1.invoices.pay(sent.id, {"paid_out_of_band": True}, shop.here)
    assert state(shop, "monthly").status == "active"


def test_a_first_invoice_that_nobody_pays_ends_the_subscription(shop: Shop) -> None:
    befall(shop, "monthly", "card_declines")
    items: Any = [{"price": price(shop, "Pro monthly")}]
    made = shop.client.v1.subscriptions.create({"customer": shop.row("monthly")["customer"], "items": items}, shop.here)
    assert made.status == "incomplete"
    days(shop, 1)
    assert shop.client.v1.subscriptions.retrieve(made.id, None, shop.here).status == "incomplete_expired"


def test_a_key_is_remembered_for_a_day_of_the_clock(shop: Shop) -> None:
    def cancel() -> Any:
        change: Any = {"discounts": [{"coupon": "LOYAL15"}]}
        return shop.client.v1.subscriptions.update(shop.subscription("monthly"), change, shop.keyed("k1"))

    first = cancel()
    days(shop, 0.9)
    assert cancel().discounts == first.discounts
    days(shop, 0.2)
    assert cancel().discounts != first.discounts


def test_a_schedule_can_be_made_of_a_paused_collection(shop: Shop) -> None:
    assert schedule(shop, "paused").status == "active"
    assert state(shop, "paused").pause_collection is not None
