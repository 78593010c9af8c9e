"""Plans are pure: from a subscription's shape and a wish to a call, a refusal, or nothing to do; and what counts as proof."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_app.stripe_gateway.calls import Call
from connect_app.stripe_gateway.objects import Coupon, Subscription, read_coupon, read_subscription
from jobs import plans, receipts
from jobs.plans import AlreadyDone, Plan, Refused, Situation

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
START, END = int((NOW - timedelta(days=10)).timestamp()), int((NOW + timedelta(days=20)).timestamp())
STATUSES = ("active", "trialing", "past_due", "unpaid", "paused", "incomplete", "canceled", "incomplete_expired")


def subscription(**changes: Any) -> Subscription:
    price = {
        "id": "price_1", "object": "price", "currency": "usd", "unit_amount": 2900, "product": {"id": "prod_1", "name": "Pro"},
        "recurring": {"interval": "month", "interval_count": 1}, "active": True,
    }  # fmt: skip
    item = {"id": "si_1", "price": price, "quantity": 1, "current_period_start": START, "current_period_end": END}
    return read_subscription(
        {
            "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active", "livemode": False, "created": START,
            "start_date": START, "currency": "usd", "items": {"object": "list", "data": [item], "has_more": False},
            "cancel_at_period_end": False, "cancel_at": None, "discounts": [], "metadata": {}, **changes,
        }
    )  # fmt: skip


def coupon(**changes: Any) -> Coupon:
    return read_coupon({"id": "SAVE", "object": "coupon", "percent_off": 20.0, "duration": "once", "valid": True, **changes})


def wish(verb: str, **intent: Any) -> plans.Wish:
    return plans.Wish(action_id="act_1", verb=verb, intent=intent, customer="cus_1", subscription="sub_1", mode="test")


DISCOUNT = wish("discount", coupon="SAVE", offer_id="off_1", headline="20% off")
CANCEL = wish("cancel", feedback="unused", comment="Never opened it.", when="period_end")
UNDO = wish("undo_cancel")
CARD = wish("payment_method", payment_method="pm_new")


def seen(found: Subscription, its_coupon: Coupon | None = None) -> Situation:
    return Situation(subscription=found, coupon=its_coupon)


def only(verdict: plans.Verdict) -> Call:
    """The one call of a plan that has one."""
    assert isinstance(verdict, Plan), verdict
    [call] = verdict.calls
    return call


def discount(id: str, coupon_id: str) -> dict[str, Any]:
    return {"id": id, "object": "discount", "source": {"coupon": coupon_id, "type": "coupon"}}


def test_a_cancel_says_why_and_carries_the_mark() -> None:
    call = only(plans.plan(CANCEL, seen(subscription()), NOW))
    assert call.params["cancel_at_period_end"] is True
    assert call.params["cancellation_details"] == {"feedback": "unused", "comment": "Never opened it."}
    assert call.params["metadata"] == {"holdfast_action": "act_1"}


def test_a_reason_stripe_does_not_know_is_left_out_rather_than_fail_the_cancel() -> None:
    call = only(plans.plan(wish("cancel", feedback="boredom", comment=None), seen(subscription()), NOW))
    assert "cancellation_details" not in call.params


def test_a_cancel_that_is_due_after_the_period_is_brought_forward() -> None:
    assert isinstance(plans.plan(CANCEL, seen(subscription(cancel_at=END + 90 * 86400)), NOW), Plan)
    assert isinstance(plans.plan(CANCEL, seen(subscription(cancel_at=END)), NOW), AlreadyDone)


@pytest.mark.parametrize(("wanted", "found"), [(DISCOUNT, {"cancel_at_period_end": True}), (CANCEL, {}), (UNDO, {"cancel_at": END})])
def test_a_schedule_refuses_every_change_of_cancellation(wanted: plans.Wish, found: dict[str, Any]) -> None:
    verdict = plans.plan(wanted, seen(subscription(schedule="sub_sched_1", **found), coupon()), NOW)
    assert isinstance(verdict, Refused)
    assert (verdict.code, verdict.is_final) == ("managed_by_schedule", False)


def test_a_coupon_for_one_of_several_products_fits() -> None:
    assert isinstance(plans.plan(DISCOUNT, seen(subscription(), coupon(applies_to={"products": ["prod_9", "prod_1"]})), NOW), Plan)


def test_a_coupon_in_the_subscriptions_currency_fits() -> None:
    assert isinstance(plans.plan(DISCOUNT, seen(subscription(), coupon(percent_off=None, amount_off=500, currency="usd")), NOW), Plan)


@pytest.mark.parametrize("verb", [DISCOUNT, CANCEL, UNDO, CARD])
@pytest.mark.parametrize(("theirs", "code"), [({"customer": "cus_2"}, "wrong_customer"), ({"livemode": True}, "wrong_mode")])
def test_what_is_anothers_is_refused_for_good_and_never_counts_as_done(verb: plans.Wish, theirs: dict[str, Any], code: str) -> None:
    found = subscription(status="canceled", **theirs)
    verdict = plans.plan(verb, seen(found, coupon()), NOW)
    assert isinstance(verdict, Refused)
    assert (verdict.code, verdict.is_final) == (code, True)
    assert not plans.shows(verb, seen(found))


def test_a_discount_is_proven_by_our_mark_and_by_what_was_kept() -> None:
    before = subscription(discounts=[discount("di_old", "LOYAL")])
    call = only(plans.plan(DISCOUNT, seen(before, coupon()), NOW))
    assert plans.kept([call]) == {"di_old"}
    both, ours = [discount("di_old", "LOYAL"), discount("di_new", "SAVE")], {"holdfast_action": "act_1"}
    assert plans.proves(DISCOUNT, seen(subscription(discounts=both, metadata=ours)), [call])
    assert not plans.proves(DISCOUNT, seen(subscription(discounts=both)), [call])
    assert not plans.proves(DISCOUNT, seen(subscription(discounts=both, metadata={"holdfast_action": "act_2"})), [call])
    assert not plans.proves(DISCOUNT, seen(subscription(discounts=both[1:], metadata=ours)), [call])
    assert not plans.proves(DISCOUNT, seen(subscription(discounts=both[:1], metadata=ours)), [call])
    assert not plans.proves(DISCOUNT, seen(subscription(discounts=both, metadata=ours, cancel_at_period_end=True)), [call])
    assert not plans.proves(DISCOUNT, seen(subscription(discounts=both, metadata=ours, status="canceled")), [call])


shapes = st.builds(
    subscription,
    status=st.sampled_from(STATUSES),
    cancel_at_period_end=st.booleans(),
    cancel_at=st.sampled_from([None, END - 86400, END, END + 86400 * 60]),
    schedule=st.sampled_from([None, "sub_sched_1"]),
    discounts=st.lists(st.sampled_from([discount("di_1", "LOYAL"), discount("di_2", "SAVE")]), unique_by=lambda each: each["id"]),
    pause_collection=st.sampled_from([None, {"behavior": "void", "resumes_at": None}]),
    default_payment_method=st.sampled_from([None, "pm_old", "pm_new"]),
)


@given(found=shapes, wanted=st.sampled_from([DISCOUNT, CANCEL, UNDO, CARD]))
def test_every_shape_has_a_verdict_and_what_is_already_done_shows(found: Subscription, wanted: plans.Wish) -> None:
    match plans.plan(wanted, seen(found, coupon()), NOW):
        case AlreadyDone():
            assert plans.shows(wanted, seen(found))
        case Plan(calls=sent):
            assert all(call.target == "sub_1" for call in sent)
            assert not plans.shows(wanted, seen(found), plans.kept(sent)), "what shows already is not written again"
            assert not (found.is_ended and wanted is not CANCEL)
        case Refused() as refusal:
            assert refusal.code
            assert refusal.message.endswith(".")


@given(found=shapes)
def test_a_discount_call_keeps_every_discount_and_never_touches_what_has_ended(found: Subscription) -> None:
    verdict = plans.plan(DISCOUNT, seen(found, coupon()), NOW)
    if isinstance(verdict, Plan):
        assert not found.is_ended
        assert plans.kept(verdict.calls) == {each.id for each in found.discounts}


@given(found=shapes)
def test_a_receipt_can_be_kept_of_every_shape(found: Subscription) -> None:
    kept = receipts.snapshot(found)
    assert kept["plan"] == "Pro"
    assert (kept["ends_at"] is None) == (found.ends_at is None)
    assert receipts.effective_at("cancel", found, NOW) <= NOW + timedelta(days=120)


@pytest.mark.parametrize(
    ("days_to_the_bill", "duration", "months", "has_effect"),
    [
        (300, "repeating", 3, False),
        (300, "repeating", 12, True),
        (300, "once", None, True),
        (300, "forever", None, True),
        (20, "repeating", 1, True),
        (70, "repeating", 2, False),
    ],
)
def test_a_coupon_that_ends_before_the_next_bill_is_no_offer(
    days_to_the_bill: int, duration: str, months: int | None, has_effect: bool
) -> None:
    long = subscription()
    item = {**long.raw["items"]["data"][0], "current_period_end": int((NOW + timedelta(days=days_to_the_bill)).timestamp())}  # type: ignore[index]
    yearly = subscription(items={"object": "list", "data": [item], "has_more": False})
    verdict = plans.plan(DISCOUNT, seen(yearly, coupon(duration=duration, duration_in_months=months)), NOW)
    assert isinstance(verdict, Plan if has_effect else Refused)
    assert has_effect or verdict.code == "coupon_without_effect"  # type: ignore[union-attr]


def test_a_coupons_months_end_on_the_last_day_of_a_shorter_one() -> None:
    new_years_eve = datetime(2026, 12, 31, 12, tzinfo=UTC)
    item = {**subscription().raw["items"]["data"][0], "current_period_end": int(datetime(2027, 2, 28, 13, tzinfo=UTC).timestamp())}  # type: ignore[index]
    found = subscription(items={"object": "list", "data": [item], "has_more": False})
    verdict = plans.plan(DISCOUNT, seen(found, coupon(duration="repeating", duration_in_months=2)), new_years_eve)
    assert isinstance(verdict, Refused)


MINTED = {"id": "hf_1", "name": "30% off, 3 months", "percent_off": "30", "duration": "repeating", "duration_in_months": 3}
OFF = {"id": "hf_2", "name": "Discount, one bill", "amounts": {"usd": 500, "jpy": 700}, "duration": "once"}


@pytest.mark.parametrize(
    ("mint", "made", "is_as_promised"),
    [
        (MINTED, {"percent_off": 30.0, "duration": "repeating", "duration_in_months": 3}, True),
        (MINTED, {"percent_off": 20.0, "duration": "repeating", "duration_in_months": 3}, False),
        (MINTED, {"percent_off": 30.0, "duration": "repeating", "duration_in_months": 2}, False),
        (MINTED, {"percent_off": 30.0, "duration": "once"}, False),
        (MINTED, {"percent_off": None, "amount_off": 3000, "currency": "usd", "duration": "repeating", "duration_in_months": 3}, False),
        (OFF, {"percent_off": None, "amount_off": 500, "currency": "usd"}, True),
        (OFF, {"percent_off": None, "amount_off": 400, "currency": "usd"}, False),
        (OFF, {"percent_off": 50.0}, False),
    ],
)
def test_a_coupon_under_the_promised_id_counts_only_with_the_promised_terms(
    mint: dict[str, Any], made: dict[str, Any], is_as_promised: bool
) -> None:
    promised = wish("discount", mint={"redeem_by": (NOW + timedelta(days=7)).isoformat(), **mint})
    theirs = coupon(id=mint["id"], **made)
    there = seen(subscription(discounts=[discount("di_1", mint["id"])], metadata={"holdfast_action": "act_1"}), theirs)
    assert plans.shows(promised, there) is is_as_promised
    verdict = plans.plan(promised, seen(subscription(), theirs), NOW)
    assert isinstance(verdict, Plan if is_as_promised else Refused)
    if isinstance(verdict, Refused):
        assert verdict.code == "coupon_not_as_offered"
    assert plans.needs(promised, subscription(), to_prove=True).coupon == mint["id"], "its terms are read for the proof"
