"""One of several items is canceled, on each shape that matters: by which calls, or why not; and what proves and undoes it."""

from dataclasses import replace
from typing import Any

import pytest

from connect_app.stripe_gateway.objects import Schedule, read_schedule
from jobs import plans
from jobs.plans import AlreadyDone, Plan, Refused, Situation
from tests.unit.test_plan_table import DAY, END, METERED, NOW, PAUSED, START, YEAR, check, item, subscription

SEATS = {"id": "price_9", "product": "prod_9"}
BOTH = (item(quantity=1), item(2, **SEATS))
LED = {"schedule": "sub_sched_1"}


def schedule(*phases: tuple[str, ...], **changes: Any) -> Schedule:
    """A schedule of ours whose phases are of these prices, the first one with the present period."""
    ends = [END + 30 * DAY * number for number in range(len(phases))]
    starts = [START, *ends[:-1]]
    return read_schedule(
        {
            "id": "sub_sched_1", "object": "subscription_schedule", "status": "active", "subscription": "sub_1",
            "metadata": {"holdfast_action": "act_1"}, "end_behavior": "release",
            "current_phase": {"start_date": START, "end_date": END},
            "phases": [
                {"start_date": start, "end_date": end, "items": [{"price": price, "quantity": 1} for price in prices], "discounts": []}
                for start, end, prices in zip(starts, ends, phases, strict=True)
            ],
            **changes,
        }
    )  # fmt: skip


def lasting(end: int, **changes: Any) -> Schedule:
    """One whose only phase lasts until then."""
    phase = {"start_date": START, "end_date": end, "items": [{"price": price, "quantity": 1} for price in ("price_1", "price_9")]}
    return schedule(("price_1",), phases=[{**phase, "discounts": []}], **changes)


WHOLE, REST = ("price_1", "price_9"), ("price_1",)
SHAPES = {
    "two items": Situation(subscription=subscription(*BOTH)),
    "trialing": Situation(subscription=subscription(*BOTH, status="trialing", trial_end=END)),
    "past due": Situation(subscription=subscription(*BOTH, status="past_due")),
    "last phase": Situation(subscription=subscription(*BOTH, **LED), schedule=schedule(WHOLE)),
    "more phases": Situation(subscription=subscription(*BOTH, **LED), schedule=schedule(WHOLE, WHOLE)),
    "schedule unread": Situation(subscription=subscription(*BOTH, **LED)),
    "ends with the next phase": Situation(subscription=subscription(*BOTH, **LED), schedule=schedule(WHOLE, REST)),
    "gone": Situation(subscription=subscription(item())),
    "alone": Situation(subscription=subscription(item(2, **SEATS))),
    "more than was sent": Situation(subscription=subscription(*BOTH, items={"data": list(BOTH), "has_more": True})),
    "metered": Situation(subscription=subscription(item(), item(2, quantity=None, **SEATS, **METERED))),
    "by the year": Situation(subscription=subscription(item(), item(2, **SEATS, **YEAR))),
    "beside an archived one": Situation(subscription=subscription(item(active=False), item(2, **SEATS))),
    "paused": Situation(subscription=subscription(*BOTH, pause_collection=PAUSED)),
    "unpaid": Situation(subscription=subscription(*BOTH, status="unpaid")),
    "incomplete": Situation(subscription=subscription(*BOTH, status="incomplete")),
    "pending update": Situation(subscription=subscription(*BOTH, pending_update={"expires_at": END})),
    "canceling": Situation(subscription=subscription(*BOTH, cancel_at_period_end=True, cancel_at=END)),
    "canceling later": Situation(subscription=subscription(*BOTH, cancel_at=END + 90 * DAY)),
    "long phase of theirs": Situation(subscription=subscription(*BOTH, **LED), schedule=lasting(END + 90 * DAY, metadata={})),
    "long phase of ours": Situation(subscription=subscription(*BOTH, **LED), schedule=lasting(END + 90 * DAY)),
    "a schedule begun for this": Situation(subscription=subscription(*BOTH, **LED), schedule=lasting(END, metadata={})),
    "sold at another price next": Situation(subscription=subscription(*BOTH, **LED), schedule=schedule(WHOLE, ("price_1", "price_10"))),
    "ended, with more than was sent": Situation(
        subscription=subscription(*BOTH, status="canceled", ended_at=START, items={"data": list(BOTH), "has_more": True})
    ),
    "ended": Situation(subscription=subscription(*BOTH, status="canceled", ended_at=START)),
}
CREATE, EDIT, RELEASE = "subscription_schedules.create", "subscription_schedules.update", "subscription_schedules.release"
UPDATE = "subscriptions.update"
# With the period, and now. A string is a refusal's code, None is done already, a tuple are the calls.
TABLE: dict[str, tuple[Any, Any]] = {
    "two items": ((CREATE, EDIT), (UPDATE,)),
    "trialing": ((CREATE, EDIT), (UPDATE,)),
    "past due": ((CREATE, EDIT), (UPDATE,)),
    "last phase": ((EDIT,), (RELEASE, UPDATE)),
    "more phases": ("schedule_has_phases", "schedule_has_phases"),
    "schedule unread": ("managed_by_schedule", "managed_by_schedule"),
    "ends with the next phase": (None, "schedule_has_phases"),
    "gone": (None, None),
    "alone": ("last_item", "last_item"),
    "more than was sent": ("items_unread", "items_unread"),
    "metered": ("item_metered", "item_metered"),
    "by the year": ("mixed_intervals", (UPDATE,)),
    "beside an archived one": ("present_price_archived", (UPDATE,)),
    "paused": ("paused_already", "paused_already"),
    "unpaid": ("unpaid", "unpaid"),
    "incomplete": ("incomplete", "incomplete"),
    "pending update": ("pending_update", "pending_update"),
    "canceling": (None, "canceling"),
    "canceling later": ("canceling", "canceling"),
    "sold at another price next": ("schedule_has_phases", "schedule_has_phases"),
    "ended, with more than was sent": (None, None),
    "long phase of theirs": ("managed_by_schedule", "managed_by_schedule"),
    "long phase of ours": ((EDIT,), (RELEASE, UPDATE)),
    "a schedule begun for this": ((EDIT,), (RELEASE, UPDATE)),
    "ended": (None, None),
}


def wish(verb: str = "item_cancel", **intent: Any) -> plans.Wish:
    said = {"item": "si_2", "name": "Seats", **intent}
    return plans.Wish(action_id="act_1", verb=verb, intent=said, customer="cus_1", subscription="sub_1", mode="test")


@pytest.mark.parametrize("when", ["period_end", "now"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_item_on_a_shape(shape: str, when: str) -> None:
    wanted, found, expected = wish(when=when), SHAPES[shape], TABLE[shape][when == "now"]
    match plans.plan(wanted, found, NOW):
        case AlreadyDone():
            assert expected is None
            assert plans.shows(wanted, found)
        case Refused() as refused:
            assert expected == refused.code, refused.message
            assert refused.message.endswith(".")
            assert not refused.is_final
        case Plan() as planned:
            assert expected == tuple(call.method for call in planned.calls)
            assert not plans.shows(wanted, found)
            for call in planned.calls:
                check(call.to_json())


def test_the_other_item_goes_on_as_it_is_and_this_one_until_its_period_ends() -> None:
    planned = plans.plan(wish(when="period_end"), SHAPES["two items"], NOW)
    assert isinstance(planned, Plan)
    now, later = planned.calls[-1].params["phases"]  # type: ignore[misc,unused-ignore]
    assert (now["end_date"], later["start_date"]) == (END, END)
    assert [(line["price"], line["quantity"]) for line in now["items"]] == [("price_1", 1), ("price_9", 3)]
    assert [(line["price"], line["quantity"]) for line in later["items"]] == [("price_1", 1)]
    assert planned.calls[-1].params["end_behavior"] == "release"


def test_a_phase_that_runs_already_goes_on_from_the_day_on_which_it_began() -> None:
    began = START - 90 * DAY
    phase = {"start_date": began, "end_date": END, "items": [{"price": price, "quantity": 1} for price in WHOLE], "discounts": []}
    led = schedule(WHOLE, phases=[phase], current_phase={"start_date": began, "end_date": END})
    planned = plans.plan(wish(when="period_end"), Situation(subscription=subscription(*BOTH, **LED), schedule=led), NOW)
    assert isinstance(planned, Plan)
    now, _ = planned.calls[-1].params["phases"]  # type: ignore[misc,unused-ignore]
    assert now["start_date"] == began


@pytest.mark.parametrize(
    ("options", "proration"),
    [
        ({}, "none"),
        ({"invoice_now": True}, "none"),
        ({"prorate": True}, "create_prorations"),
        ({"prorate": True, "invoice_now": True}, "always_invoice"),
    ],
)
def test_what_was_paid_and_not_used_is_credited_as_the_owner_has_it(options: dict[str, bool], proration: str) -> None:
    planned = plans.plan(wish(when="now", **options), SHAPES["two items"], NOW)
    assert isinstance(planned, Plan)
    [call] = planned.calls
    assert call.params["items"] == [{"id": "si_2", "deleted": True}]
    assert call.params["proration_behavior"] == proration


def test_who_was_charged_for_the_next_period_meanwhile_is_left_to_a_person() -> None:
    verdict = plans.plan(wish(when="period_end", renews_at="2026-11-10T00:00:00+00:00"), SHAPES["two items"], NOW)
    assert isinstance(verdict, Refused)
    assert verdict.code == "renewed_meanwhile"


def test_an_item_that_was_to_end_is_kept_by_letting_go_of_the_schedule_that_is_ours() -> None:
    undoing, found = wish("undo_cancel", by="act_1"), SHAPES["ends with the next phase"]
    planned = plans.plan(undoing, found, NOW)
    assert isinstance(planned, Plan)
    assert [call.method for call in planned.calls] == [RELEASE]
    assert not plans.shows(undoing, found)
    assert plans.shows(undoing, SHAPES["two items"])
    assert not plans.shows(undoing, SHAPES["schedule unread"]), "nobody has looked"
    # Another's, or one into which another action has put something since.
    for metadata in ({}, {"holdfast_action": "act_2"}):
        refused = plans.plan(undoing, replace(found, schedule=schedule(WHOLE, REST, metadata=metadata)), NOW)
        assert isinstance(refused, Refused)
        assert refused.code == "schedule_has_phases"
    longer = plans.plan(undoing, replace(found, schedule=schedule(WHOLE, REST, REST)), NOW)
    assert isinstance(longer, Refused)


@pytest.mark.parametrize(("shape", "code"), [("gone", "item_ended"), ("ended", "subscription_ended"), ("canceling", "canceling")])
def test_what_has_ended_is_not_brought_back(shape: str, code: str) -> None:
    refused = plans.plan(wish("undo_cancel"), SHAPES[shape], NOW)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.is_final) == (code, True)


def test_what_the_business_takes_away_itself_is_seen() -> None:
    before, after = subscription(*BOTH), subscription(item())
    assert plans.was_made(wish(), before, after, NOW)
    assert not plans.was_made(wish(), before, before, NOW)
    assert not plans.was_made(wish(), after, after, NOW)
