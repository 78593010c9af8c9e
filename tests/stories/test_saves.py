"""Was it a save? One story for each row of the table and each door, told over months."""

import random
from dataclasses import replace

import pytest

from connect_app.models import FlowSession
from sandbox.stripe import payments, portal, settlements
from tests import customers
from tests.stories.diary import Diary


def close_portal(diary: Diary, is_open: bool) -> None:
    """Stripe's own portal lets customers cancel, or not; and we have looked."""
    for configuration in diary.local.world(diary.stage.account, False).all("billing_portal.configuration"):
        portal.update(diary.by_hand(), configuration["id"], {"features": {"subscription_cancel": {"enabled": is_open}}})
    diary.knows_portal(is_open)


# On watch, and saved.


def test_march_never_mind_april_a_save(diary: Diary) -> None:
    visit = diary.says_never_mind()
    assert diary.outcome(visit) == ("watch", "kept", None)
    diary.day(29.9)
    assert diary.outcome(visit) == ("watch", "kept", None)
    diary.day(30.1)
    assert diary.outcome(visit) == ("saved", "kept", None)
    assert diary.course(visit) == ["watch", "saved"]
    worth = diary.worth(visit)
    assert (worth["stake"]["amount"], worth["saved"], worth["lost"]) == (2900, {"amount": 2900, "currency": "usd"}, None)


def test_a_discount_taken_in_march_is_a_save_of_what_is_left_of_the_price(diary: Diary) -> None:
    visit = diary.takes_the_offer()
    assert diary.outcome(visit) == ("watch", "offer", None)
    diary.day(31)
    assert diary.outcome(visit) == ("saved", "offer", None)
    worth = diary.worth(visit)
    assert (worth["stake"]["amount"], worth["saved"]["amount"]) == (2900, 2320)
    assert worth["paid"] == {"usd": {"paid": 2320, "refunded": 0, "disputed": 0}}
    assert worth["stake"]["read_at"] < worth["ended"]["read_at"]


def test_who_walks_away_is_on_watch_after_half_an_hour(diary: Diary) -> None:
    visit = diary.walks_away()
    diary.minutes(28)
    assert diary.outcome(visit) == ("open", None, None)
    diary.minutes(3)
    assert diary.outcome(visit) == ("watch", "abandoned", None)
    diary.day(31)
    assert diary.outcome(visit) == ("saved", "abandoned", None)


def test_a_yearly_plan_is_worth_a_twelfth_a_month_and_has_paid_nothing_since(diary: Diary) -> None:
    diary.shape = "yearly"
    visit = diary.says_never_mind()
    diary.day(31)
    assert diary.outcome(visit) == ("saved", "kept", None)
    yearly = diary.stripe("subscription", diary.subscription)["items"]["data"][0]["price"]["unit_amount"]
    assert diary.worth(visit)["saved"]["amount"] == round(yearly / 12)
    assert diary.worth(visit)["paid"] == {}


def test_a_trial_that_turned_into_a_plan_is_a_save(diary: Diary) -> None:
    diary.shape = "trialing"
    visit = diary.says_never_mind()
    diary.day(31)
    assert diary.outcome(visit) == ("saved", "kept", None)


# Canceled.


def test_a_cancel_is_canceled_the_day_it_is_verified_and_after_its_period_too(diary: Diary) -> None:
    visit = diary.cancels()
    assert diary.outcome(visit) == ("canceled", None, None)
    diary.day(65)
    assert diary.stripe("subscription", diary.subscription)["status"] == "canceled"
    assert diary.outcome(visit) == ("canceled", None, None)
    assert diary.worth(visit)["lost"]["amount"] == 2900


def test_a_cancel_that_is_undone_is_on_watch_for_an_interval_of_its_own(diary: Diary) -> None:
    visit = diary.cancels()
    diary.day(5)
    back = diary.undoes()
    assert [diary.outcome(one) for one in (visit, back)] == [("watch", "undone", None)] * 2
    assert diary.worth(visit)["lost"] is None
    diary.day(34.9)
    assert [diary.outcome(one) for one in (visit, back)] == [("watch", "undone", None)] * 2
    diary.day(35.1)
    assert [diary.outcome(one) for one in (visit, back)] == [("saved", "undone", None)] * 2
    assert diary.headline() == ({"saved": 1}, {"saved": "$29.00", "paid": "$29.00"})


def test_a_cancel_undone_in_stripe_s_dashboard_is_on_watch_too(diary: Diary) -> None:
    visit = diary.cancels()
    diary.day(3)
    diary.changes(cancel_at_period_end=False)
    assert diary.outcome(visit) == ("watch", "undone", None)
    diary.day(34)
    assert diary.outcome(visit) == ("saved", "undone", None)


def test_who_canceled_and_comes_back_with_another_subscription_is_on_watch_again(diary: Diary) -> None:
    visit = diary.cancels()
    diary.day(40)
    assert diary.outcome(visit) == ("canceled", None, None)
    diary.subscribes_again()
    assert diary.outcome(visit) == ("watch", "resubscribed", None)
    diary.day(71)
    assert diary.outcome(visit) == ("saved", "resubscribed", None)
    assert diary.course(visit) == ["canceled", "watch", "saved"]


def test_who_comes_back_much_later_is_a_new_customer(diary: Diary) -> None:
    visit = diary.cancels()
    diary.day(100)
    diary.subscribes_again()
    assert diary.outcome(visit) == ("canceled", None, None)


# A choice that nobody carried out.


@pytest.mark.parametrize("chosen", ["cancels", "takes_the_offer"])
def test_a_choice_that_is_never_verified_is_unknown_when_its_interval_is_over(diary: Diary, chosen: str) -> None:
    diary.is_idle = True
    visit = getattr(diary, chosen)()
    diary.day(29.9)
    assert diary.outcome(visit) == ("open", None, None)
    diary.day(30.1)
    assert diary.outcome(visit) == ("unknown", None, None)


# Past due, and paused.


def test_an_unpaid_invoice_at_the_end_keeps_it_on_watch_until_it_is_settled(diary: Diary) -> None:
    renewal = diary.renewal()
    diary.prefers("save_interval_days", int(renewal) + 2)
    visit = diary.says_never_mind()
    diary.befalls("card_declines")
    diary.day(renewal + 3)
    assert diary.stripe("subscription", diary.subscription)["status"] == "past_due"
    assert diary.outcome(visit) == ("watch", "kept", None)
    diary.befalls("card_works")
    assert diary.outcome(visit) == ("saved", "kept", None)


@pytest.mark.parametrize("behavior", ["void", "mark_uncollectible"])
def test_invoices_of_a_pause_or_an_extension_that_is_over_are_not_owed(diary: Diary, behavior: str) -> None:
    renewal = diary.renewal()
    diary.prefers("save_interval_days", int(renewal) + 5)
    visit = diary.says_never_mind()
    ends = int(diary.clock().timestamp()) + int((renewal + 2) * 86400)
    diary.changes(pause_collection={"behavior": behavior, "resumes_at": ends})
    diary.day(renewal + 3)
    [newest, *_] = sorted(
        diary.local.world(diary.stage.account, False).all("invoice", customer=diary.customer), key=lambda one: one["created"], reverse=True
    )
    assert newest["status"] == {"void": "void", "mark_uncollectible": "uncollectible"}[behavior]
    assert diary.outcome(visit) == ("watch", "kept", None)
    diary.day(renewal + 6)
    assert diary.outcome(visit) == ("saved", "kept", None)
    assert diary.worth(visit)["paid"] == {}


def test_an_invoice_that_was_given_up_is_not_paid_and_a_later_one_settles_it(diary: Diary) -> None:
    renewal = diary.renewal()
    diary.prefers("save_interval_days", int(renewal) + 2)
    visit = diary.says_never_mind()
    diary.befalls("card_declines")
    diary.day(renewal + 1)
    owed = diary.stripe("subscription", diary.subscription)["latest_invoice"]
    settlements.mark_uncollectible(diary.by_hand(), owed, {})
    diary.day(renewal + 3)
    assert diary.stripe("subscription", diary.subscription)["status"] == "active"
    assert diary.outcome(visit) == ("watch", "kept", None)
    diary.befalls("card_works")
    diary.day(diary.renewal() + 0.1)
    assert diary.outcome(visit) == ("saved", "kept", None)


def test_who_owes_an_invoice_that_is_voided_owes_nothing(diary: Diary) -> None:
    renewal = diary.renewal()
    diary.prefers("save_interval_days", int(renewal) + 2)
    visit = diary.says_never_mind()
    diary.befalls("card_declines")
    diary.day(renewal + 3)
    assert diary.outcome(visit) == ("watch", "kept", None)
    settlements.void(diary.by_hand(), diary.stripe("subscription", diary.subscription)["latest_invoice"], {})
    diary.work()
    assert diary.outcome(visit) == ("saved", "kept", None)


def test_a_pause_is_a_pause_until_the_first_charge_after_it_is_paid(diary: Diary) -> None:
    visit = diary.says_never_mind()
    ends = int(diary.clock().timestamp()) + 50 * 86400
    diary.changes(pause_collection={"behavior": "void", "resumes_at": ends})
    diary.day(31)
    assert diary.outcome(visit) == ("paused", "kept", None)
    diary.day(51)
    assert diary.stripe("subscription", diary.subscription)["pause_collection"] is None
    assert diary.outcome(visit) == ("paused", "kept", None)
    diary.day(diary.renewal() + 0.1)
    assert diary.outcome(visit) == ("saved", "kept", None)
    # The months that were free brought nothing.
    assert diary.worth(visit)["paid"] == {"usd": {"paid": 2900, "refunded": 0, "disputed": 0}}


def test_who_leaves_out_of_a_pause_is_lost(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.changes(pause_collection={"behavior": "mark_uncollectible", "resumes_at": int(diary.clock().timestamp()) + 70 * 86400})
    diary.day(31)
    assert diary.outcome(visit) == ("paused", "kept", None)
    diary.changes(status="canceled")
    assert diary.outcome(visit)[0] == "lost"
    assert diary.course(visit) == ["watch", "paused", "lost"]


# Lost, by each door.


def test_a_customer_who_stayed_and_cancels_in_the_flow_later_is_lost_through_the_flow(diary: Diary) -> None:
    first = diary.says_never_mind()
    diary.day(12)
    second = diary.cancels()
    assert diary.outcome(first) == ("lost", "kept", "flow")
    assert diary.outcome(second) == ("canceled", None, None)
    assert diary.worth(first)["lost"] == {"amount": 2900, "currency": "usd"}
    diary.day(60)
    assert diary.headline() == ({"canceled": 1}, {"lost": "$29.00"})


def test_a_cancel_of_one_tab_is_lost_through_the_flow_in_the_other(diary: Diary) -> None:
    first = diary.opens_the_flow().press("answer", reason="unused")
    second = diary.says_never_mind()
    first.press("confirm")
    diary.work()
    assert diary.outcome(diary.session_of(first)) == ("canceled", None, None)
    assert diary.outcome(second) == ("lost", "kept", "flow")
    assert diary.headline() == ({"lost": 1}, {"lost": "$29.00"})


def test_a_cancel_in_stripe_s_open_portal_is_known_by_its_mark(diary: Diary) -> None:
    close_portal(diary, is_open=True)
    visit = diary.says_never_mind()
    diary.day(4)
    diary.befalls("portal_cancel")
    is_flexible = diary.stripe("subscription", diary.subscription)["billing_mode"]["type"] == "flexible"
    assert diary.outcome(visit) == ("lost", "kept", "portal" if is_flexible else "outside")
    diary.day(60)
    assert diary.outcome(visit) == ("lost", "kept", "portal" if is_flexible else "outside")


def test_where_the_portal_is_closed_it_was_the_dashboard_or_the_api(diary: Diary) -> None:
    close_portal(diary, is_open=False)
    visit = diary.says_never_mind()
    diary.day(4)
    diary.changes(cancel_at_period_end=True)
    assert diary.outcome(visit) == ("lost", "kept", "dashboard_or_api")


def test_where_the_portal_is_open_stripe_does_not_say_whose_cancel_it_was(diary: Diary) -> None:
    close_portal(diary, is_open=True)
    visit = diary.says_never_mind()
    diary.changes(cancel_at_period_end=True)
    assert diary.outcome(visit) == ("lost", "kept", "outside")


def test_a_card_that_fails_to_the_last_try_is_lost_to_failed_payments(diary: Diary) -> None:
    visit = diary.takes_the_offer()
    diary.befalls("card_declines")
    diary.day(diary.renewal() + 16)
    assert diary.stripe("subscription", diary.subscription)["status"] == "canceled"
    assert diary.outcome(visit) == ("lost", "offer", "payment_failure")


def test_a_disputed_payment_that_ends_the_subscription_is_lost_to_the_dispute(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.day(3)
    diary.befalls("dispute", cancels=True)
    assert diary.outcome(visit) == ("lost", "kept", "dispute")


def test_a_save_of_april_can_still_be_lost_in_may(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.day(31)
    assert diary.outcome(visit)[0] == "saved"
    diary.day(60)
    diary.changes(status="canceled")
    assert diary.outcome(visit)[0] == "lost"
    assert diary.course(visit) == ["watch", "saved", "lost"]
    assert diary.worth(visit)["saved"] is None
    assert diary.worth(visit)["lost"]["amount"] == 2900


# And back.


def test_a_cancel_that_is_taken_back_within_the_interval_is_a_save_at_its_end(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.day(4)
    diary.changes(cancel_at_period_end=True)
    assert diary.outcome(visit)[0] == "lost"
    diary.day(6)
    diary.changes(cancel_at_period_end=False)
    assert diary.outcome(visit) == ("watch", "kept", None)
    diary.day(30.1)
    assert diary.outcome(visit) == ("saved", "kept", None)
    assert diary.course(visit) == ["watch", "lost", "watch", "saved"]


def test_who_left_and_subscribes_again_within_the_interval_is_on_watch_with_the_new_subscription(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.day(4)
    diary.changes(status="canceled")
    assert diary.outcome(visit)[0] == "lost"
    diary.day(9)
    again = diary.subscribes_again()
    assert diary.outcome(visit) == ("watch", "kept", None)
    diary.day(20)
    diary.changes(again, status="canceled")
    assert diary.outcome(visit)[0] == "lost"


# Unknown.


def test_who_had_canceled_before_they_came_was_not_kept_by_the_flow(diary: Diary) -> None:
    diary.shape = "already_canceling"
    visit = diary.says_never_mind()
    assert diary.outcome(visit) == ("unknown", "kept", None)


@pytest.mark.parametrize("subscription", ["sub_1NobodyKnowsThisOne", "a/../b"])
def test_a_subscription_that_the_account_does_not_know_is_unknown(diary: Diary, subscription: str) -> None:
    customer, _ = diary.stage.shapes["monthly"]
    body = customers.bundle(diary.stage, customer, subscription)
    answer = diary.app.test_client().post("/api/embed/cancel", json=body)
    assert answer.status_code == 200, answer.json
    path = answer.get_json()["url"].removeprefix("http://127.0.0.1:8000")
    browser = customers.Browser(client=diary.app.test_client(use_cookies=False), path=path).look().press("keep")
    diary.work()
    assert diary.outcome(diary.session_of(browser)) == ("unknown", "kept", None)


# What it was worth.


def test_paid_since_is_net_of_refunds_and_disputes_and_a_dispute_won_brings_it_back(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.day(diary.renewal() + 0.1)
    assert diary.worth(visit)["paid"] == {"usd": {"paid": 2900, "refunded": 0, "disputed": 0}}
    diary.befalls("refund", amount=900)
    diary.day(31)
    assert diary.outcome(visit)[0] == "saved"
    assert diary.worth(visit)["paid"] == {"usd": {"paid": 2900, "refunded": 900, "disputed": 0}}
    diary.befalls("dispute")
    assert diary.worth(visit)["paid"] == {"usd": {"paid": 2900, "refunded": 900, "disputed": 2000}}
    diary.befalls("dispute_won")
    assert diary.worth(visit)["paid"] == {"usd": {"paid": 2900, "refunded": 900, "disputed": 0}}
    assert [fact.data["amount"] for fact in diary.facts(visit, "charge.refunded")] == [900]
    assert [fact.data["status"] for fact in diary.facts(visit, "charge.disputed")] == ["needs_response", "won"]


def asked_for_payments(diary: Diary) -> int:
    return sum(row["path"] == "/v1/invoice_payments" for row in diary.local.requests)


def test_what_is_given_back_while_on_watch_or_after_the_decision_counts_at_once_and_stripe_is_asked_once(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.day(diary.renewal() + 0.1)
    before = asked_for_payments(diary)
    diary.befalls("refund", amount=100)
    assert diary.outcome(visit)[0] == "watch"
    assert diary.worth(visit)["paid"]["usd"]["refunded"] == 100
    diary.befalls("refund", amount=200)
    diary.day(31)
    assert diary.outcome(visit)[0] == "saved"
    assert asked_for_payments(diary) == before + 1
    # Another month, long after the decision.
    diary.day(diary.renewal() + 0.1)
    assert diary.worth(visit)["paid"] == {"usd": {"paid": 5800, "refunded": 300, "disputed": 0}}
    diary.befalls("refund")
    assert diary.worth(visit)["paid"] == {"usd": {"paid": 5800, "refunded": 3200, "disputed": 0}}
    assert [fact.data["amount"] for fact in diary.facts(visit, "charge.refunded")] == [100, 300, 2900]
    # What was frozen stays.
    assert (diary.outcome(visit)[0], diary.worth(visit)["saved"]["amount"]) == ("saved", 2900)


def test_a_payment_of_a_lost_customer_s_is_disputed_and_the_dispute_is_lost_after_they_went(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.day(diary.renewal() + 0.1)
    diary.changes(cancel_at_period_end=True)
    assert diary.outcome(visit)[0] == "lost"
    diary.day(40)
    diary.befalls("dispute")
    assert diary.worth(visit)["paid"] == {"usd": {"paid": 2900, "refunded": 0, "disputed": 2900}}
    diary.befalls("dispute_lost")
    diary.day(75)
    assert diary.outcome(visit)[0] == "lost"
    assert diary.worth(visit)["paid"] == {"usd": {"paid": 2900, "refunded": 0, "disputed": 2900}}
    assert [fact.data["status"] for fact in diary.facts(visit, "charge.disputed")] == ["needs_response", "lost"]


def test_a_charge_that_paid_no_invoice_is_asked_about_once_and_counts_for_nothing(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.day(diary.renewal() + 0.1)
    world, before = diary.local.world(diary.stage.account, False), asked_for_payments(diary)
    charge = max(world.all("charge", customer=diary.customer), key=lambda one: one["created"])["id"]
    for payment in list(world.all("invoice_payment")):
        world.forget(payment)
    payments.refund(diary.by_hand(), {"charge": charge, "amount": 100})
    diary.work()
    payments.dispute(diary.by_hand(), charge)
    diary.day(31)
    assert diary.worth(visit)["paid"] == {"usd": {"paid": 2900, "refunded": 0, "disputed": 0}}
    assert asked_for_payments(diary) == before + 1


def test_what_was_given_back_and_disputed_while_we_were_away_is_read_in_when_we_are_back(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.day(diary.renewal() + 0.1)
    diary.leaves()
    diary.is_deaf = True
    diary.befalls("refund", amount=500)
    diary.befalls("refund", amount=400)
    diary.befalls("dispute")
    diary.day(50)
    assert diary.worth(visit)["paid"] == {"usd": {"paid": 2900, "refunded": 0, "disputed": 0}}
    diary.comes_back()
    paid = diary.worth(visit)["paid"]["usd"]
    assert (paid["refunded"], paid["disputed"]) == (900, 2000)
    assert [fact.data["amount"] for fact in diary.facts(visit, "charge.refunded")] == [900]
    diary.is_deaf = False
    diary.told = len(list(diary.local.world(diary.stage.account, False).all("event")))
    [dispute] = diary.local.world(diary.stage.account, False).all("dispute")
    payments.close(diary.by_hand(), dispute["id"], "won")
    diary.work()
    assert diary.worth(visit)["paid"]["usd"]["disputed"] == 0


# Who comes again.


def net(diary: Diary, visit: str) -> int:
    return sum(sums["paid"] - sums["refunded"] - sums["disputed"] for sums in diary.worth(visit).get("paid", {}).values())


def received(diary: Diary, since: int) -> int:
    """What this customer's invoices brought at Stripe."""
    made = diary.local.world(diary.stage.account, False).all("invoice", customer=diary.customer)
    return sum(one["amount_paid"] for one in made if one["status"] == "paid" and one["status_transitions"]["paid_at"] >= since)


def test_who_comes_again_after_the_interval_is_another_case_and_each_invoice_is_one_s_alone(diary: Diary) -> None:
    first = diary.says_never_mind()
    diary.day(40)
    second = diary.says_never_mind()
    diary.day(75)
    assert diary.headline() == ({"saved": 2}, {"saved": "$58.00", "paid": "$58.00"})
    assert net(diary, first) + net(diary, second) == received(diary, diary.began(first)) == 5800
    assert [len(diary.facts(visit, "invoice.paid")) for visit in (first, second)] == [1, 1]
    diary.day(80)
    third = diary.cancels()
    diary.day(130)
    assert [diary.outcome(visit)[0] for visit in (first, second, third)] == ["lost", "lost", "canceled"]
    assert [diary.worth(visit)["told_in"] for visit in (first, second, third)] == [third, third, None]
    # Three cases, one departure.
    assert diary.headline() == ({"lost": 2, "canceled": 1}, {"lost": "$29.00"})
    assert sum(net(diary, visit) for visit in (first, second, third)) == received(diary, diary.began(first))


def test_what_was_given_back_is_counted_with_its_invoice_whoever_came_meanwhile(diary: Diary) -> None:
    first = diary.says_never_mind()
    diary.day(40)
    second = diary.says_never_mind()
    diary.befalls("refund", amount=900)
    diary.day(75)
    assert (net(diary, first), net(diary, second)) == (2000, 2900)


def test_a_departure_before_they_came_again_is_the_earlier_visit_s_however_late_it_is_told(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.is_deaf = True
    diary.day(10)
    diary.changes(cancel_at_period_end=True)
    diary.day(12)
    again = diary.says_never_mind()
    diary.is_deaf = False
    diary.work()
    assert diary.outcome(visit) == ("lost", "kept", "outside")
    assert diary.outcome(again) == ("unknown", "kept", None)
    assert diary.headline()[0] == {"lost": 1}
    diary.day(13)
    diary.changes(cancel_at_period_end=False)
    diary.day(50)
    assert (diary.outcome(visit)[0], diary.outcome(again)[0]) == ("saved", "saved")
    assert diary.headline() == ({"saved": 1}, {"saved": "$29.00", "paid": "$58.00"})


def test_who_owed_when_they_came_again_is_saved_once_they_pay_and_it_is_counted_with_the_later_visit(diary: Diary) -> None:
    renewal = diary.renewal()
    diary.prefers("save_interval_days", int(renewal) + 2)
    visit = diary.says_never_mind()
    diary.befalls("card_declines")
    diary.day(renewal + 4)
    again = diary.says_never_mind()
    diary.befalls("card_works")
    diary.day(renewal * 2 + 8)
    assert (diary.outcome(visit), diary.outcome(again)) == (("saved", "kept", None), ("saved", "kept", None))
    assert net(diary, visit) == 0
    assert net(diary, again) == received(diary, diary.began(visit))


def test_another_save_interval_is_for_those_who_come_later(diary: Diary) -> None:
    browser = diary.opens_the_flow().press("answer", reason="unused")
    diary.prefers("save_interval_days", 5)
    first = diary.session_of(browser.press("keep"))
    diary.day(10)
    assert diary.outcome(first)[0] == "watch"
    second = diary.says_never_mind()
    diary.day(15.1)
    assert (diary.outcome(first)[0], diary.outcome(second)[0]) == ("watch", "saved")
    diary.prefers("save_interval_days", 1)
    assert diary.headline()[0] == {"saved": 1}


def test_who_comes_back_and_opens_the_flow_for_the_new_subscription_is_worth_what_they_are_once(diary: Diary) -> None:
    first = diary.cancels()
    diary.day(40)
    again = diary.subscribes_again()
    assert diary.outcome(first) == ("watch", "resubscribed", None)
    began = diary.began(first)
    diary.day(45)
    diary.stage = replace(diary.stage, shapes={**diary.stage.shapes, diary.shape: (diary.customer, again)})
    second = diary.says_never_mind()
    diary.day(60)
    assert diary.headline()[1]["watched"] == "$29.00"
    diary.day(110)
    assert (diary.outcome(first)[0], diary.outcome(second)[0]) == ("saved", "saved")
    assert (diary.worth(first)["told_in"], diary.headline()[1]["saved"]) == (second, "$29.00")
    assert net(diary, second) > 0
    assert net(diary, first) + net(diary, second) == received(diary, began)
    third = diary.cancels()
    assert [diary.outcome(visit) for visit in (first, second, third)] == [
        ("lost", "resubscribed", "flow"), ("lost", "kept", "flow"), ("canceled", None, None),
    ]  # fmt: skip
    assert diary.headline() == ({"lost": 2, "canceled": 1}, {"lost": "$29.00"})


@pytest.mark.parametrize("seed", range(2))
def test_no_invoice_is_counted_in_two_visits_whatever_is_given_up_and_begun_again(diary: Diary, seed: int) -> None:
    chance = random.Random(seed)
    began = int(diary.clock().timestamp())
    visits, day, subscription = [], 0.0, diary.subscription
    for _ in range(7):
        day += chance.choice([2, 9, 26, 33])
        diary.day(day)
        if diary.stripe("subscription", subscription)["status"] == "canceled":
            subscription = diary.subscribes_again()
        diary.stage = replace(diary.stage, shapes={**diary.stage.shapes, diary.shape: (diary.customer, subscription)})
        match chance.choice(["stay", "stay", "cancel", "gone", "leave"]):
            case "stay":
                visits.append(diary.says_never_mind())
            case "cancel":
                visits.append(diary.cancels())
            case "gone":
                diary.changes(subscription, status="canceled")
                diary.day(day := day + 1)
            case "leave":
                diary.opens_the_flow()
    diary.day(day + 40)
    told = [fact.data["invoice"] for visit in visits for fact in diary.facts(visit, "invoice.paid")]
    assert len(told) == len(set(told))
    assert 0 < sum(net(diary, visit) for visit in visits) <= received(diary, began)


# How we know.


def test_without_any_news_the_look_at_the_end_finds_out(diary: Diary) -> None:
    diary.is_deaf = True
    visit = diary.says_never_mind()
    diary.day(10)
    diary.changes(cancel_at_period_end=True)
    assert diary.outcome(visit) == ("watch", "kept", None)
    diary.day(30.1)
    assert diary.outcome(visit)[0] == "lost"


def test_stripe_is_asked_once_when_the_save_fires_and_once_at_the_end(diary: Diary) -> None:
    path = f"/v1/subscriptions/{diary.subscription}"

    def looks() -> int:
        return sum(row["method"] == "GET" and row["path"] == path for row in diary.local.requests)

    before = looks()
    diary.says_never_mind()
    diary.day(29)
    assert looks() == before + 1
    diary.day(31)
    diary.day(45)
    assert looks() == before + 2


def test_every_change_and_payment_is_a_fact_once_however_often_and_in_whatever_order_it_is_told(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.day(diary.renewal() + 1)
    diary.changes(cancel_at_period_end=True)
    diary.day(70)
    told = [(fact.kind, fact.at, fact.data) for fact in diary.facts(visit, "stripe.changed", "invoice.paid")]
    assert [kind for kind, _, _ in told].count("invoice.paid") == 1
    events = {str(data["event"]) for kind, _, data in told if kind == "stripe.changed"}
    since = [
        event
        for event in diary.local.world(diary.stage.account, False).all("event")
        if event["type"].startswith("customer.subscription.") and event["data"]["object"]["id"] == diary.subscription
    ]
    assert events == {event["id"] for event in since if event["created"] >= diary.began(visit)}
    diary.tell_again(random.Random(4))
    assert told == [(fact.kind, fact.at, fact.data) for fact in diary.facts(visit, "stripe.changed", "invoice.paid")]


def test_news_told_backwards_comes_to_the_same_end(diary: Diary) -> None:
    diary.is_deaf = True
    visit = diary.says_never_mind()
    diary.changes(cancel_at_period_end=True)
    diary.changes(cancel_at_period_end=False)
    diary.changes(status="canceled")
    diary.is_deaf = False
    diary.tell_again(random.Random(1))
    assert diary.outcome(visit)[0] == "lost"
    diary.day(31)
    assert diary.outcome(visit)[0] == "lost"


def test_with_attribution_off_nothing_is_validated_and_stripe_is_left_alone(diary: Diary) -> None:
    diary.prefers("attribution", False)
    visit = diary.says_never_mind()
    diary.day(31)
    assert diary.outcome(visit) == ("watch", "kept", None)
    assert diary.worth(visit) == {}
    assert not [row for row in diary.local.requests if row["path"] == "/v1/invoices" and diary.subscription in str(row["params"])]
    diary.prefers("attribution", True)
    diary.looks_again(visit)
    assert diary.outcome(visit) == ("saved", "kept", None)


def test_an_account_that_is_gone_is_not_guessed_at(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.leaves()
    diary.day(31)
    assert diary.outcome(visit) == ("watch", "kept", None)
    assert diary.find(FlowSession, visit).state == "open"
