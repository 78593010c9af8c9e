"""A customer's own discount at Stripe: it counts on their bills, and goes on counting beside one of ours."""

from typing import Any

from sandbox.stripe import previews
from sandbox.stripe.worlds import new_id
from tests.service.ledgers import Stage
from tests.service.test_second_tries import DISCOUNT, dashboard, of_shape
from tests.service.test_shapes import stage as stage  # the fixture


def give(stage: Stage, customer: str, coupon: str) -> str:
    """Make it the customer's own, as only Stripe's dashboard still can."""
    ctx = dashboard(stage)
    discount: dict[str, Any] = {
        "id": new_id("discount"), "object": "discount", "checkout_session": None, "customer": customer, "customer_account": None,
        "end": None, "invoice": None, "invoice_item": None, "promotion_code": None, "source": {"coupon": coupon, "type": "coupon"},
        "start": ctx.now, "subscription": None, "subscription_item": None,
    }  # fmt: skip
    ctx.world.put(discount)
    ctx.world.get("customer", customer)["discount"] = discount
    return str(discount["id"])


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
