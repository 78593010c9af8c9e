"""What costs nothing already takes no discount, no pause and no free time; and a customer's own discount stays beside ours."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connect_app.stripe_gateway.objects import read_discount
from jobs import plans
from jobs.plans import Plan, Refused, Situation
from tests.unit.test_plan_table import DAY, END, METERED, NOON, NOW, SHAPES, check, coupon, item, schedule, subscription

PAUSE = {"resumes_at": (NOW + timedelta(days=60)).isoformat()}


def gift(duration: str = "forever", end: int | None = None, percent: float = 100.0, **more: Any) -> dict[str, Any]:
    made = {"id": "GIFT", "object": "coupon", "percent_off": percent, "duration": duration, "valid": True, **more}
    return {"id": "di_9", "object": "discount", "end": end, "source": {"type": "coupon", "coupon": made}}


FREE = item(unit_amount=0, quantity=1)
# The shape, and whether one bill off, three months off, for ever off and a pause over two bills would change nothing.
CASES: dict[str, tuple[Situation, tuple[bool, bool, bool, bool]]] = {
    "free": (Situation(subscription=subscription(FREE)), (True, True, True, True)),
    "free beside usage": (
        Situation(subscription=subscription(FREE, item(2, id="price_9", quantity=None, **METERED))),
        (False, False, False, False),
    ),
    "free beside a price": (Situation(subscription=subscription(FREE, item(2, id="price_9"))), (False, False, False, False)),
    "free for now": (
        Situation(subscription=subscription(FREE, schedule="sub_sched_1"), schedule=schedule(END, END + 90 * DAY)),
        (False, False, False, False),
    ),
    "tiered": (Situation(subscription=subscription(item(billing_scheme="tiered", unit_amount=None))), (False, False, False, False)),
    "all off for ever": (Situation(subscription=subscription(discounts=[gift()])), (True, True, True, True)),
    "all off once": (Situation(subscription=subscription(discounts=[gift("once")])), (True, False, False, False)),
    "all off for half a year": (
        Situation(subscription=subscription(discounts=[gift("repeating", NOON + 180 * DAY)])),
        (True, True, False, True),
    ),
    "all of another product off": (
        Situation(subscription=subscription(discounts=[gift(applies_to={"products": ["prod_9"]})])),
        (False, False, False, False),
    ),
    "each item free in its own way": (
        Situation(subscription=subscription(FREE, {**item(2, id="price_9"), "discounts": [gift()]}, discounts=[])),
        (True, True, True, True),
    ),
    "one item free for good, the other for half a year": (
        Situation(subscription=subscription(FREE, {**item(2, id="price_9"), "discounts": [gift("repeating", NOON + 180 * DAY)]})),
        (True, True, False, True),
    ),
    "one item free, the other half off": (
        Situation(subscription=subscription(FREE, {**item(2, id="price_9"), "discounts": [gift(percent=50.0)]})),
        (False, False, False, False),
    ),
    "half off": (Situation(subscription=subscription(discounts=[gift(percent=50.0)])), (False, False, False, False)),
    "all off by the customer's own": (
        Situation(subscription=subscription(), customers_discount=read_discount(gift())),
        (True, True, True, True),
    ),
}  # fmt: skip


def wish(verb: str, **intent: Any) -> plans.Wish:
    return plans.Wish(action_id="act_1", verb=verb, intent=intent, customer="cus_1", subscription="sub_1", mode="test")


def is_refused(wanted: plans.Wish, found: Situation) -> bool:
    verdict = plans.plan(wanted, found, NOW)
    if isinstance(verdict, Refused):
        assert verdict.code == "nothing_to_pay", verdict
        assert "Offer another plan" in verdict.message
    return isinstance(verdict, Refused)


@pytest.mark.parametrize("case", CASES)
def test_what_would_change_no_bill_is_refused(case: str) -> None:
    found, expected = CASES[case]
    once = replace(found, coupon=coupon())
    months = replace(found, coupon=coupon(duration="repeating", duration_in_months=3))
    ever = replace(found, coupon=coupon(duration="forever"))
    discounts = tuple(is_refused(wish("discount", coupon="SAVE"), situation) for situation in (once, months, ever))
    assert (*discounts, is_refused(wish("pause", **PAUSE), found)) == expected


@pytest.mark.parametrize("verb", ["pause", "extension"])
def test_on_trial_there_is_nothing_to_pause_and_a_longer_trial_is_what_helps(verb: str) -> None:
    verdict = plans.plan(wish(verb, **PAUSE), SHAPES["trialing"], NOW)
    assert isinstance(verdict, Refused)
    assert (verdict.code, verdict.is_final) == ("on_trial", False)
    assert "longer trial" in verdict.message


def test_another_plan_is_still_for_who_pays_nothing() -> None:
    found = replace(CASES["free"][0], price=SHAPES["monthly"].price)
    assert isinstance(plans.plan(wish("plan_change", price="price_2", when="now", proration="none"), found, NOW), Plan)


# The customer's own discount counts at Stripe only as long as the subscription has none.

THEIRS = read_discount({**gift(percent=10.0), "id": "di_own"})


def test_a_customers_own_discount_is_sent_along_with_ours() -> None:
    found = Situation(subscription=subscription(), coupon=coupon(), customers_discount=THEIRS)
    planned = plans.plan(wish("discount", coupon="SAVE"), found, NOW)
    assert isinstance(planned, Plan)
    assert planned.calls[-1].params["discounts"] == [{"discount": "di_own"}, {"coupon": "SAVE"}]
    check(planned.calls[-1].to_json())
    own = [{"id": "di_1", "object": "discount", "source": {"type": "coupon", "coupon": "LOYAL"}}]
    displaced = plans.plan(wish("discount", coupon="SAVE"), replace(found, subscription=subscription(discounts=own)), NOW)
    assert isinstance(displaced, Plan)
    assert displaced.calls[-1].params["discounts"] == [{"discount": "di_1"}, {"coupon": "SAVE"}], "it does not count beside one of its own"


def test_a_customers_own_discount_goes_into_the_phases_to_come_as_well() -> None:
    led = subscription(schedule="sub_sched_1")
    found = Situation(subscription=led, schedule=schedule(END, END + 90 * DAY), coupon=coupon(), customers_discount=THEIRS)
    planned = plans.plan(wish("discount", coupon="SAVE"), found, NOW)
    assert isinstance(planned, Plan)
    given = [phase.get("discounts") for phase in planned.calls[-1].params["phases"]]  # type: ignore[attr-defined,union-attr]
    assert [{"discount": "di_own"}, {"coupon": "SAVE"}] in given
    check(planned.calls[-1].to_json())


@pytest.mark.parametrize(("ids", "is_shown"), [(("di_own", "di_new"), True), (("di_other", "di_new"), True), (("di_new",), False)])
def test_it_is_proven_only_where_the_customers_own_is_still_there_under_whatever_id(ids: tuple[str, ...], is_shown: bool) -> None:
    found = Situation(subscription=subscription(), coupon=coupon(), customers_discount=THEIRS)
    planned = plans.plan(wish("discount", coupon="SAVE"), found, NOW)
    assert isinstance(planned, Plan)
    there = [{"id": id, "object": "discount", "source": {"type": "coupon", "coupon": "SAVE" if id == "di_new" else "GIFT"}} for id in ids]
    after = subscription(discounts=there, metadata={"holdfast_action": "act_1"})
    assert plans.proves(wish("discount", coupon="SAVE"), Situation(subscription=after), planned.calls) is is_shown


def test_an_offer_for_those_without_a_discount_is_not_for_who_has_one_of_their_own() -> None:
    found = Situation(subscription=subscription(), coupon=coupon(), customers_discount=THEIRS)
    verdict = plans.plan(wish("discount", coupon="SAVE", not_if_discounted=True), found, NOW)
    assert isinstance(verdict, Refused)
    assert verdict.code == "discounted_already"


def test_of_several_discounts_none_stands_in_for_another() -> None:
    own = [{"id": f"di_{n}", "object": "discount", "source": {"type": "coupon", "coupon": f"C{n}"}} for n in (1, 2)]
    planned = plans.plan(wish("discount", coupon="SAVE"), Situation(subscription=subscription(discounts=own), coupon=coupon()), NOW)
    assert isinstance(planned, Plan)
    ours = {"id": "di_new", "object": "discount", "source": {"type": "coupon", "coupon": "SAVE"}}
    another = {**own[1], "id": "di_3"}
    for there, is_shown in (([*own, ours], True), ([own[0], another, ours], False), ([own[0], ours], False)):
        after = subscription(discounts=there, metadata={"holdfast_action": "act_1"})
        assert plans.proves(wish("discount", coupon="SAVE"), Situation(subscription=after), planned.calls) is is_shown
