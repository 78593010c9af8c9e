"""The changes we make at Stripe, planned from a fresh read and frozen."""

import json
from typing import Any

import pytest

from connect_app.stripe_gateway import calls, objects
from connect_app.stripe_gateway.calls import Call
from tests.unit import test_objects

MARK = {"metadata": {"holdfast_action": "act_1"}}


def subscription(**changes: Any) -> objects.Subscription:
    return objects.read_subscription(test_objects.subscription(**changes))


def discount(subject: objects.Subscription, *, clear_cancellation: bool = True) -> Call:
    return calls.add_discount(subject, coupon="SAVE20", action_id="act_1", clear_cancellation=clear_cancellation)


def test_a_discount_is_added_and_every_discount_that_is_there_is_sent_again() -> None:
    there = ["di_1", {"id": "di_2", "object": "discount", "source": {"type": "coupon", "coupon": "SAVE20"}}]
    call = discount(subscription(discounts=there))
    assert (call.method, call.target) == ("subscriptions.update", "sub_1")
    assert call.params == {"discounts": [{"discount": "di_1"}, {"discount": "di_2"}, {"coupon": "SAVE20"}], **MARK}


def test_a_discount_that_could_not_be_kept_is_not_lost_silently() -> None:
    with pytest.raises(calls.CannotPlan):
        discount(objects.read_subscription(test_objects.subscription_of_2020()))


@pytest.mark.parametrize(
    ("changes", "clearing"),
    [
        ({}, {}),
        ({"cancel_at_period_end": True}, {"cancel_at_period_end": False}),
        ({"cancel_at_period_end": True, "cancel_at": test_objects.END}, {"cancel_at_period_end": False}),
        ({"cancel_at": test_objects.END}, {"cancel_at": ""}),
    ],
)
def test_accepting_a_discount_takes_back_the_cancellation_in_the_same_call(changes: Any, clearing: Any) -> None:
    canceling = subscription(**changes)
    assert discount(canceling).params == {"discounts": [{"coupon": "SAVE20"}], **clearing, **MARK}
    assert discount(canceling, clear_cancellation=False).params == {"discounts": [{"coupon": "SAVE20"}], **MARK}
    if clearing:
        assert calls.undo_cancel(canceling, action_id="act_1").params == {**clearing, **MARK}


@pytest.mark.parametrize("changes", [{}, {"status": "canceled", "cancel_at_period_end": True}])
def test_an_undo_without_a_scheduled_cancellation_is_not_planned(changes: Any) -> None:
    with pytest.raises(calls.CannotPlan):
        calls.undo_cancel(subscription(**changes), action_id="act_1")


@pytest.mark.parametrize(
    ("feedback", "comment", "details"),
    [
        (None, None, {}),
        (None, " \0 ", {}),
        ("too_expensive", None, {"cancellation_details": {"feedback": "too_expensive"}}),
        ("other", " I\0 moved \ud800", {"cancellation_details": {"feedback": "other", "comment": "I moved"}}),
        (None, "x" * 6000, {"cancellation_details": {"comment": "x" * 5000}}),
    ],
)
def test_a_cancel_carries_what_the_customer_said_as_far_as_stripe_can_hold_it(feedback: Any, comment: Any, details: Any) -> None:
    call = calls.cancel_at_period_end(subscription(), feedback=feedback, comment=comment, action_id="act_1")
    assert call.params == {"cancel_at_period_end": True, **details, **MARK}
    json.dumps(call.to_json()).encode()


def test_a_feedback_that_stripe_does_not_know_is_refused_before_it_is_frozen() -> None:
    with pytest.raises(ValueError, match="too_dear"):
        calls.cancel_at_period_end(subscription(), feedback="too_dear", comment=None, action_id="act_1")


def test_the_payment_method_of_one_subscription_can_follow_the_new_card() -> None:
    call = calls.set_default_payment_method(subscription(), payment_method="pm_2", action_id="act_1")
    assert call.params == {"default_payment_method": "pm_2", **MARK}


def test_a_call_survives_its_stay_in_the_database() -> None:
    call = discount(subscription(discounts=["di_1"]))
    assert Call.from_json(json.loads(json.dumps(call.to_json()))) == call


@pytest.mark.parametrize("kept", [{}, {"method": "x", "target": "y"}, {"method": 1, "target": "y", "params": {}}])
def test_what_is_no_kept_call_is_refused(kept: Any) -> None:
    with pytest.raises(ValueError, match="not a kept call"):
        Call.from_json(kept)
