"""What Stripe is asked before an offer is taken: the very change that would be made, and nothing where it could not tell."""

from datetime import timedelta
from typing import Any

import pytest

from connect_app.stripe_gateway.objects import Price, Subscription, read_price
from jobs import plans
from jobs.plans import previews
from tests.unit.test_plans import NOW, coupon, discount, seen, subscription, wish


def price(**changes: Any) -> Price:
    sold = {
        "object": "price",
        "currency": "usd",
        "unit_amount": 900,
        "recurring": {"interval": "month", "interval_count": 1},
        "active": True,
    }
    return read_price({"id": "price_2", **sold, **changes})


def asked(wanted: plans.Wish, situation: plans.Situation) -> Any:
    planned = plans.plan(wanted, situation, NOW)
    assert isinstance(planned, plans.Plan), planned
    return previews.asking(wanted, situation, planned)


def change(when: str, found: Subscription, other: Price) -> Any:
    return asked(wish("plan_change", price="price_2", when=when, proration="none"), plans.Situation(subscription=found, price=other))


def test_a_discount_is_asked_for_beside_those_that_are_there() -> None:
    found = subscription(discounts=[discount("di_1", "OLD")])
    told = asked(wish("discount", coupon="SAVE"), seen(found, coupon()))
    assert told == {"subscription": "sub_1", "discounts": [{"discount": "di_1"}, {"coupon": "SAVE"}]}


def test_a_cancellation_that_the_offer_takes_back_is_taken_back_in_the_question_too() -> None:
    told = asked(wish("discount", coupon="SAVE"), seen(subscription(cancel_at_period_end=True), coupon()))
    assert told["subscription_details"] == {"cancel_at_period_end": False}


def test_a_plan_is_asked_for_with_the_quantity_that_they_have() -> None:
    now, later = (change(when, subscription(), price()) for when in ("now", "period_end"))
    assert now == later
    assert now["subscription_details"] == {"items": [{"id": "si_1", "price": "price_2", "quantity": 1}], "proration_behavior": "none"}


def test_a_longer_trial_is_asked_for_without_prorations() -> None:
    found = subscription(status="trialing", trial_start=int(NOW.timestamp()) - 86400, trial_end=int((NOW + timedelta(days=20)).timestamp()))
    until = NOW + timedelta(days=30)
    told = asked(wish("trial_extension", trial_end=until.isoformat()), seen(found))
    assert told["subscription_details"] == {"trial_end": int(until.timestamp()), "proration_behavior": "none"}


def test_another_interval_of_the_next_period_is_not_asked_for_since_stripe_would_tell_of_a_change_now() -> None:
    yearly = price(recurring={"interval": "year", "interval_count": 1})
    assert change("period_end", subscription(), yearly) is None
    assert change("now", subscription(), yearly) is not None


def test_a_coupon_that_is_yet_to_be_made_and_a_pause_are_not_asked_for() -> None:
    minted = {
        "id": "hf_1",
        "name": "x",
        "percent_off": "20",
        "amounts": {},
        "duration": "once",
        "redeem_by": (NOW + timedelta(1)).isoformat(),
    }
    assert asked(wish("discount", mint=minted), seen(subscription())) is None
    for verb in ("pause", "extension"):
        assert asked(wish(verb, resumes_at=(NOW + timedelta(days=60)).isoformat()), seen(subscription())) is None


def test_what_a_schedule_leads_is_not_asked_for() -> None:
    found = subscription(schedule="sub_sched_1")
    call = plans.plan(wish("discount", coupon="SAVE"), seen(subscription(), coupon()), NOW)
    assert isinstance(call, plans.Plan)
    assert previews.asking(wish("discount", coupon="SAVE"), seen(found, coupon()), call) is None


@pytest.mark.parametrize("verb", ["cancel", "undo_cancel", "resume", "payment_method"])
def test_nothing_is_asked_of_what_is_no_offer(verb: str) -> None:
    assert previews.asking(wish(verb), seen(subscription()), plans.Plan(calls=())) is None
