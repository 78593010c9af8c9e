"""Schedules of the local Stripe: made from a subscription, changed whole, let go, and carried out by the clock."""

from typing import Any

import pytest
import stripe

from tests.contract.conftest import Shop
from tests.contract.test_local_stripe_billing import newest, preview, price, update

DAY = 86400


def state(shop: Shop, shape: str) -> stripe.Subscription:
    return shop.client.v1.subscriptions.retrieve(shop.subscription(shape), None, shop.here)


def schedule(shop: Shop, shape: str) -> stripe.SubscriptionSchedule:
    return shop.client.v1.subscription_schedules.create({"from_subscription": shop.subscription(shape)}, shop.here)


def kept(made: stripe.SubscriptionSchedule) -> dict[str, Any]:
    """The current phase as it must be sent again."""
    phase = made.phases[0]
    return {
        "items": [{"price": str(item.price), "quantity": item.quantity} for item in phase["items"]],
        "discounts": [{"discount": str(each.discount)} for each in phase.discounts],
        "start_date": phase.start_date,
        "end_date": phase.end_date,
    }


def change_next(shop: Shop, shape: str, nickname: str, **more: Any) -> stripe.SubscriptionSchedule:
    """Put a subscription under a schedule that changes its price at the end of its period."""
    made = schedule(shop, shape)
    coming = {"items": [{"price": price(shop, nickname), "quantity": 1}], "proration_behavior": "none", **more}
    return shop.client.v1.subscription_schedules.update(made.id, {"phases": [kept(made), coming]}, shop.here)  # type: ignore[arg-type]


def test_a_schedule_from_a_subscription_is_what_the_subscription_is(shop: Shop) -> None:
    update(shop, "monthly", discounts=[{"coupon": "LOYAL15"}])
    made = schedule(shop, "monthly")
    assert state(shop, "monthly").schedule == made.id
    item = state(shop, "monthly")["items"].data[0]
    (phase,) = made.phases
    assert (phase.start_date, phase.end_date) == (item.current_period_start, item.current_period_end)
    assert (phase["items"][0].price, phase["items"][0].quantity) == (item.price.id, 1)
    assert [each.discount for each in phase.discounts] == state(shop, "monthly").discounts
    assert (made.status, made.end_behavior) == ("active", "release")
    assert {"subscription_schedule.created", "customer.subscription.updated"} <= set(shop.news())
    with pytest.raises(stripe.InvalidRequestError, match="already attached to a schedule"):
        schedule(shop, "monthly")
    assert preview(shop, "monthly").total == 2465


def test_a_plan_changes_at_the_next_period_and_the_schedule_lets_go(shop: Shop) -> None:
    made = change_next(shop, "monthly", "Starter monthly")
    assert state(shop, "monthly")["items"].data[0].price.unit_amount == 2900
    assert shop.client.v1.invoices.create_preview({"schedule": made.id}, shop.here).total == 1200
    item = state(shop, "monthly")["items"].data[0]
    shop.local.clock.advance(31 * DAY)
    changed = state(shop, "monthly")
    assert (changed["items"].data[0].id, changed["items"].data[0].price.unit_amount) == (item.id, 1200)
    assert (newest(shop, "monthly").total, newest(shop, "monthly").billing_reason) == (1200, "subscription_cycle")
    shop.local.clock.advance(31 * DAY)
    assert state(shop, "monthly").schedule is None
    assert newest(shop, "monthly").total == 1200
    assert shop.client.v1.subscription_schedules.retrieve(made.id, None, shop.here).status == "released"
    assert "subscription_schedule.released" in shop.news()


def test_a_discount_that_the_next_phase_does_not_name_is_gone_in_it(shop: Shop) -> None:
    update(shop, "monthly", discounts=[{"coupon": "LOYAL15"}])
    update(shop, "multi_item", discounts=[{"coupon": "LOYAL15"}])
    change_next(shop, "monthly", "Starter monthly")
    kept_one = str(state(shop, "multi_item").discounts[0])
    change_next(shop, "multi_item", "Starter monthly", discounts=[{"discount": kept_one}, {"coupon": "TENBACK"}])
    shop.local.clock.advance(31 * DAY)
    assert newest(shop, "monthly").total == 1200
    assert newest(shop, "multi_item").total == 20  # 12 less 15 %, less 10
    assert state(shop, "multi_item").discounts == [kept_one]


def test_the_current_phase_can_not_be_moved_and_must_be_sent_again(shop: Shop) -> None:
    made = schedule(shop, "monthly")
    coming = {"items": [{"price": price(shop, "Starter monthly")}]}
    for phases, message in (
        ([coming], "missing at least one phase with a `start_date`"),
        ([{**kept(made), "start_date": made.phases[0].start_date + 5}], "can not modify the start date of the current phase"),
        ([{**kept(made), "end_date": made.phases[0].start_date - 5}], "must be after"),
        ([], "at least one phase"),
    ):
        if phases:
            with pytest.raises(stripe.InvalidRequestError, match=message):
                shop.client.v1.subscription_schedules.update(made.id, {"phases": phases}, shop.here)  # type: ignore[arg-type]
    assert len(shop.client.v1.subscription_schedules.retrieve(made.id, None, shop.here).phases) == 1


def test_a_schedule_that_ends_with_a_cancel_sets_the_date_and_carries_it_out(shop: Shop) -> None:
    made = schedule(shop, "monthly")
    shop.client.v1.subscription_schedules.update(made.id, {"end_behavior": "cancel"}, shop.here)
    ending = state(shop, "monthly")
    assert ending.cancel_at == made.phases[0].end_date
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        update(shop, "monthly", cancel_at="")
    shop.client.v1.subscription_schedules.update(made.id, {"end_behavior": "release"}, shop.here)
    assert state(shop, "monthly").cancel_at is None
    shop.client.v1.subscription_schedules.update(made.id, {"end_behavior": "cancel"}, shop.here)
    shop.local.clock.advance(31 * DAY)
    assert state(shop, "monthly").status == "canceled"
    assert shop.client.v1.subscription_schedules.retrieve(made.id, None, shop.here).status == "completed"
    assert shop.effects("monthly").count("cancel") == 1


def test_a_released_subscription_goes_on_without_the_phases_to_come(shop: Shop) -> None:
    made = change_next(shop, "monthly", "Starter monthly")
    released = shop.client.v1.subscription_schedules.release(made.id, {}, shop.here)
    assert (released.status, released.released_subscription, released.subscription) == ("released", shop.subscription("monthly"), None)
    update(shop, "monthly", cancel_at_period_end=True)
    with pytest.raises(stripe.InvalidRequestError, match="currently in the `released` status"):
        shop.client.v1.subscription_schedules.release(made.id, {}, shop.here)
    update(shop, "monthly", cancel_at_period_end=False)
    shop.local.clock.advance(31 * DAY)
    assert newest(shop, "monthly").total == 2900


@pytest.mark.parametrize("keeps", [True, False])
def test_a_release_keeps_the_schedules_cancel_date_only_if_asked(shop: Shop, keeps: bool) -> None:
    made = schedule(shop, "monthly")
    shop.client.v1.subscription_schedules.update(made.id, {"end_behavior": "cancel"}, shop.here)
    shop.client.v1.subscription_schedules.release(made.id, {"preserve_cancel_date": keeps}, shop.here)
    assert (state(shop, "monthly").cancel_at is not None) is keeps


def test_canceling_a_schedule_cancels_its_subscription_with_a_last_invoice(shop: Shop) -> None:
    made = schedule(shop, "yearly")
    assert shop.client.v1.subscription_schedules.cancel(made.id, {}, shop.here).status == "canceled"
    assert state(shop, "yearly").status == "canceled"
    assert newest(shop, "yearly").total < 0
    assert shop.client.v1.subscription_schedules.list({"customer": shop.row("yearly")["customer"]}, shop.here).data[0].id == made.id


def test_a_change_of_the_current_phase_takes_effect_at_once(shop: Shop) -> None:
    made = schedule(shop, "monthly")
    now: Any = kept(made) | {"items": [{"price": price(shop, "Pro monthly"), "quantity": 3}]}
    shop.client.v1.subscription_schedules.update(made.id, {"phases": [now], "proration_behavior": "always_invoice"}, shop.here)
    assert state(shop, "monthly")["items"].data[0].quantity == 3
    assert newest(shop, "monthly").billing_reason == "subscription_update"
