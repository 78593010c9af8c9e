"""A customer cancels one of several items and keeps the rest: what that was worth, told over months."""

import re

from sandbox.stripe import dashboard
from tests.http.test_cancels import told
from tests.http.test_portal import guest
from tests.stories.diary import Diary


def test_who_keeps_a_part_is_a_save_of_what_that_part_pays(diary: Diary) -> None:
    visit = cancels_the_seats(diary)
    assert diary.outcome(visit) == ("watch", "reduced", None)
    diary.day(40)
    assert diary.outcome(visit) == ("saved", "reduced", None)
    worth = diary.worth(visit)
    assert (worth["stake"]["amount"], worth["saved"]["amount"], worth["lost"]) == (5300, 2900, None)
    items = diary.stripe("subscription", diary.subscription)["items"]["data"]
    assert [item["quantity"] for item in items] == [1]


def test_who_keeps_a_part_and_leaves_with_it_later_is_lost_with_all_that_was_at_stake(diary: Diary) -> None:
    visit = cancels_the_seats(diary)
    diary.day(10)
    dashboard.change(diary.local, diary.subscription, {"status": "canceled"})
    diary.work()
    assert diary.outcome(visit)[:2] == ("lost", "reduced")
    assert diary.worth(visit)["lost"]["amount"] == 5300


def test_what_is_to_come_is_told_in_the_portal_and_given_up_by_a_cancel_of_the_rest(diary: Diary) -> None:
    cancels_the_seats(diary)
    portal = guest(diary.app, diary.stage, "multi_item").look()
    assert re.search(r"<dt>From March [0-9]+, 2026</dt><dd>[A-Z][^<+]+, .29.00 per month</dd>", portal.page)
    diary.minutes(40)
    again = diary.opens_the_flow().press("answer", reason="unused")
    assert "given up with the cancellation" in again.page


def cancels_the_seats(diary: Diary) -> str:
    diary.shape = "multi_item"
    diary.prefers("cancel_single", True)
    browser = diary.opens_the_flow().press("answer", reason="unused")
    [_, seats] = diary.stripe("subscription", diary.subscription)["items"]["data"]
    browser.press("confirm", scope=seats["id"], told=told(browser.page))
    diary.work()
    return diary.session_of(browser)
