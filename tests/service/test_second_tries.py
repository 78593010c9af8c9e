"""What an action does at its second try, when the world has moved on: nothing that others did is lost, all that was promised is done."""

from datetime import timedelta
from typing import Any

import pytest

from jobs import work
from sandbox.stripe import settlements, signups
from sandbox.stripe.context import Context
from tests.service.ledgers import Stage
from tests.service.test_shapes import stage as stage  # the fixture

NOW = {"when": "now", "invoice_now": False, "prorate": False, "open_invoices": "keep", "feedback": "unused", "comment": "No time."}
DISCOUNT = {"offer_id": "off_1", "coupon": "LOYAL15", "headline": "15% off"}


def of_shape(stage: Stage, name: str) -> tuple[str, str]:
    """A new customer of this shape, and their subscription."""
    made = stage.control("POST", "shapes", {"account": stage.account, "shape": name})
    return made["customer"], made["subscription"]


def bill_of(stage: Stage, subscription: str) -> Any:
    return stage.stripe_says(stage.stripe_says(subscription)["latest_invoice"])


def discounts(stage: Stage, subscription: str) -> set[str]:
    return {str(each) for each in stage.stripe_says(subscription)["discounts"]}


def dashboard(stage: Stage) -> Context:
    return Context(local=stage.local, world=stage.local.world(stage.account, False), source="dashboard", request_id="req_1")


@pytest.mark.parametrize("kind", ["500", "500_after"])
def test_the_bill_of_who_left_at_once_is_still_asked_for_though_stripe_saved_an_error_for_that_call(stage: Stage, kind: str) -> None:
    customer, owing = of_shape(stage, "past_due")
    action = stage.ask("monthly", "cancel", NOW, customer=customer, subscription=owing)
    stage.fault(kind, "/v1/invoices/*", "POST", times=1)
    assert stage.run(action).state == "verified"
    assert bill_of(stage, owing)["auto_advance"] is True


@pytest.mark.parametrize("kind", ["500", "500_after"])
@pytest.mark.parametrize(("shape", "path"), [("monthly", "/v1/subscriptions/*"), ("last_phase", "/v1/subscription_schedules/*/cancel")])
def test_why_somebody_left_at_once_is_told_though_stripe_saved_an_error(stage: Stage, shape: str, path: str, kind: str) -> None:
    customer, leaving = of_shape(stage, shape)
    action = stage.ask("monthly", "cancel", NOW, customer=customer, subscription=leaving)
    stage.fault(kind, path, "POST", times=1)
    assert stage.run(action).state == "verified"
    said = stage.stripe_says(leaving)["cancellation_details"]
    assert (said["feedback"], said["comment"]) == ("unused", "No time.")


def test_a_day_after_the_end_what_follows_it_is_still_done(stage: Stage) -> None:
    customer, owing = of_shape(stage, "past_due")
    action = stage.ask("monthly", "cancel", NOW, customer=customer, subscription=owing)
    stage.fault("reset", "/v1/invoices/*", "POST")
    assert isinstance(stage.work(action.id), work.Again)
    stage.calm()
    stage.later(hours=24)
    assert stage.run(action).state == "verified"
    assert bill_of(stage, owing)["auto_advance"] is True
    assert stage.stripe_says(owing)["cancellation_details"]["feedback"] == "unused"
    assert stage.effects(owing).count("cancel") == 1


@pytest.mark.parametrize("hours", [5, 25])
def test_a_discount_that_support_gave_between_two_tries_stays(stage: Stage, hours: int) -> None:
    customer, theirs = of_shape(stage, "monthly")
    action = stage.ask("monthly", "discount", DISCOUNT, customer=customer, subscription=theirs)
    stage.fault("reset", f"/v1/subscriptions/{theirs}", "POST")
    assert isinstance(stage.work(action.id), work.Again)
    stage.later(hours=hours)
    stage.calm()
    stage.change(theirs, discounts=[{"coupon": "STAY20"}])
    given = discounts(stage, theirs)
    assert stage.run(action).state == "verified"
    assert given < discounts(stage, theirs)


def test_seats_that_were_added_between_two_tries_stay(stage: Stage) -> None:
    customer, theirs = of_shape(stage, "monthly")
    price = stage.stripe_says(stage.shapes["yearly"][1])["items"]["data"][0]["price"]["id"]
    action = stage.ask(
        "monthly", "plan_change", {"price": price, "when": "now", "proration": "none"}, customer=customer, subscription=theirs
    )
    stage.fault("reset", f"/v1/subscriptions/{theirs}", "POST")
    assert isinstance(stage.work(action.id), work.Again)
    stage.later(hours=5)
    stage.calm()
    stage.change(theirs, items=[{"id": stage.stripe_says(theirs)["items"]["data"][0]["id"], "quantity": 7}])
    assert stage.run(action).state == "verified"
    assert [(item["price"]["id"], item["quantity"]) for item in stage.stripe_says(theirs)["items"]["data"]] == [(price, 7)]


@pytest.mark.parametrize("kind", ["reset", "timeout_after", "lock_timeout"])
def test_where_nothing_has_changed_the_same_is_sent_again_under_the_same_key(stage: Stage, kind: str) -> None:
    customer, theirs = of_shape(stage, "monthly")
    action = stage.ask("monthly", "discount", DISCOUNT, customer=customer, subscription=theirs)
    stage.fault(kind, f"/v1/subscriptions/{theirs}", "POST", times=1, **({"seconds": 0.01} if kind == "timeout_after" else {}))
    assert isinstance(stage.work(action.id), work.Again)
    stage.later(hours=5)
    assert stage.run(action).state == "verified"
    keys = {row["idempotency_key"] for row in stage.local.requests if row["method"] == "POST" and row["path"].endswith(theirs)}
    assert len(keys) == 1
    assert stage.effects(theirs) == ["discount"]


def test_what_was_to_be_void_is_where_somebody_canceled_first(stage: Stage) -> None:
    customer, owing = of_shape(stage, "past_due")
    action = stage.ask("monthly", "cancel", {"when": "period_end", "open_invoices": "void"}, customer=customer, subscription=owing)
    stage.change(owing, cancel_at_period_end=True)
    assert stage.run(action).state == "verified"
    assert bill_of(stage, owing)["status"] == "void"


def test_a_cancel_is_made_though_the_bill_that_it_was_to_void_is_void_already(stage: Stage) -> None:
    customer, owing = of_shape(stage, "past_due")
    bill = stage.stripe_says(owing)["latest_invoice"]
    action = stage.ask("monthly", "cancel", {"when": "period_end", "open_invoices": "void"}, customer=customer, subscription=owing)
    stage.fault("reset", f"/v1/invoices/{bill}/void", "POST")
    assert isinstance(stage.work(action.id), work.Again)
    stage.calm()
    settlements.void(dashboard(stage), bill, {})
    assert stage.run(action).state == "verified"
    assert stage.stripe_says(owing)["cancel_at_period_end"] is True


def test_a_discount_is_given_though_one_that_was_there_has_ended_meanwhile(stage: Stage) -> None:
    customer, theirs = of_shape(stage, "discounted")
    action = stage.ask("monthly", "discount", DISCOUNT, customer=customer, subscription=theirs)
    stage.fault("reset", f"/v1/subscriptions/{theirs}", "POST")
    assert isinstance(stage.work(action.id), work.Again)
    stage.calm()
    left = sorted(discounts(stage, theirs))[0]
    stage.change(theirs, discounts=[{"discount": left}])
    assert stage.run(action).state == "verified"
    assert left in discounts(stage, theirs)
    assert len(discounts(stage, theirs)) == 2


def test_a_pause_of_what_its_schedule_would_end_is_made_though_only_the_schedule_was_changed_on_the_first_day(stage: Stage) -> None:
    customer, theirs = of_shape(stage, "last_phase")
    stage.change(stage.stripe_says(theirs)["schedule"], end_behavior="cancel")
    resumes_at = (stage.rt.now() + timedelta(days=150)).replace(microsecond=0).isoformat()
    action = stage.ask("monthly", "pause", {"resumes_at": resumes_at}, customer=customer, subscription=theirs)
    stage.fault("reset", f"/v1/subscriptions/{theirs}", "POST")
    assert isinstance(stage.work(action.id), work.Again)
    stage.calm()
    stage.later(hours=24)
    assert stage.run(action).state == "verified"
    assert stage.stripe_says(theirs)["pause_collection"]["behavior"] == "void"


@pytest.mark.parametrize("open_invoices", ["keep", "void"])
def test_whoever_ends_one_subscription_is_still_asked_for_what_they_owe_for_another(stage: Stage, open_invoices: str) -> None:
    customer, owing = of_shape(stage, "past_due")
    price = stage.stripe_says(owing)["items"]["data"][0]["price"]["id"]
    other = signups.create(dashboard(stage), {"customer": customer, "items": [{"price": price}], "trial_period_days": 14})["id"]
    action = stage.ask("monthly", "cancel", {"when": "now", "open_invoices": open_invoices}, customer=customer, subscription=other)
    assert stage.run(action).state == "verified"
    assert stage.stripe_says(owing)["status"] == "past_due"
    assert bill_of(stage, owing)["auto_advance"] is True


def test_what_never_began_is_not_charged_after_its_cancel(stage: Stage) -> None:
    customer, first = of_shape(stage, "incomplete")
    wanted = {"when": "period_end", "open_invoices": "keep"}
    assert stage.run(stage.ask("monthly", "cancel", wanted, customer=customer, subscription=first)).state == "verified"
    bill = bill_of(stage, first)
    assert not (bill["status"] == "open" and bill["auto_advance"])
