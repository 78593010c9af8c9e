"""A customer's own discount at Stripe: it counts on their bills, and goes on counting beside one of ours."""

from typing import Any

import pytest

from sandbox.stripe import coupons, discounts, previews
from tests.service.ledgers import Stage
from tests.service.test_second_tries import DISCOUNT, dashboard, of_shape
from tests.service.test_shapes import stage as stage  # the fixture


def give(stage: Stage, customer: str, coupon: str) -> str:
    """Make it the customer's own, as only Stripe's dashboard still can."""
    ctx = dashboard(stage)
    discounts.give(ctx, ctx.world.get("customer", customer), coupon)
    return str(ctx.world.get("customer", customer)["discount"]["id"])


def make(stage: Stage, **terms: Any) -> str:
    return str(coupons.create(dashboard(stage), {"duration": "forever", "name": "Given", **terms})["id"])


def next_bill(stage: Stage, subscription: str) -> int:
    return int(previews.create(dashboard(stage), {"subscription": subscription})["total"])


def test_ours_is_added_and_theirs_still_counts(stage: Stage) -> None:
    customer, subscription = of_shape(stage, "monthly")
    full = next_bill(stage, subscription)
    own = give(stage, customer, "STAY20")
    assert next_bill(stage, subscription) == round(full * 0.8)
    action = stage.ask("monthly", "discount", DISCOUNT, customer=customer, subscription=subscription)
    assert stage.run(action).state == "verified"
    assert own in stage.stripe_says(subscription)["discounts"]
    assert len(stage.stripe_says(subscription)["discounts"]) == 2
    assert next_bill(stage, subscription) == round(full * 0.8 * 0.85)


def test_who_was_given_one_of_their_own_meanwhile_is_not_given_what_is_for_those_without(stage: Stage) -> None:
    customer, subscription = of_shape(stage, "monthly")
    give(stage, customer, "STAY20")
    action = stage.ask("monthly", "discount", {**DISCOUNT, "not_if_discounted": True}, customer=customer, subscription=subscription)
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", "discounted_already")
    assert stage.stripe_says(subscription)["discounts"] == []


def test_one_that_is_over_is_nobodys(stage: Stage) -> None:
    customer, subscription = of_shape(stage, "monthly")
    give(stage, customer, "STAY20")
    ctx = dashboard(stage)
    ctx.world.get("customer", customer)["discount"]["end"] = ctx.now - 60
    action = stage.ask("monthly", "discount", {**DISCOUNT, "not_if_discounted": True}, customer=customer, subscription=subscription)
    assert stage.run(action).state == "verified"
    assert len(stage.stripe_says(subscription)["discounts"]) == 1


def test_the_very_coupon_of_the_offer_as_their_own_is_not_given_twice(stage: Stage) -> None:
    customer, subscription = of_shape(stage, "monthly")
    give(stage, customer, "LOYAL15")
    done = stage.run(stage.ask("monthly", "discount", DISCOUNT, customer=customer, subscription=subscription))
    assert (done.state, done.code) == ("manual", "coupon_already_applied")


@pytest.mark.parametrize("is_own", [True, False])
def test_who_pays_nothing_by_a_discount_is_given_nothing_more(stage: Stage, is_own: bool) -> None:
    customer, subscription = of_shape(stage, "monthly")
    coupon = make(stage, percent_off=100)
    if is_own:
        give(stage, customer, coupon)
    else:
        stage.change(subscription, discounts=[{"coupon": coupon}])
    assert next_bill(stage, subscription) == 0
    done = stage.run(stage.ask("monthly", "discount", DISCOUNT, customer=customer, subscription=subscription))
    assert (done.state, done.code) == ("manual", "nothing_to_pay")


def test_all_of_another_product_off_is_not_nothing_to_pay(stage: Stage) -> None:
    customer, subscription = of_shape(stage, "monthly")
    other = next(one["id"] for one in stage.local.world(stage.account, False).all("product"))
    stage.change(subscription, discounts=[{"coupon": make(stage, percent_off=100, applies_to={"products": [other]})}])
    full = next_bill(stage, subscription)
    assert full > 0
    assert stage.run(stage.ask("monthly", "discount", DISCOUNT, customer=customer, subscription=subscription)).state == "verified"
    assert next_bill(stage, subscription) == round(full * 0.85)


def test_one_of_another_currency_takes_nothing_off_and_is_left_where_it_is(stage: Stage) -> None:
    customer, subscription = of_shape(stage, "monthly")
    own = give(stage, customer, make(stage, amount_off=500, currency="jpy"))
    assert stage.run(stage.ask("monthly", "discount", DISCOUNT, customer=customer, subscription=subscription)).state == "verified"
    assert own not in stage.stripe_says(subscription)["discounts"]
