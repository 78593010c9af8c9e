"""A customer cancels one of several items and keeps the rest: what that was worth, told over months."""

from sandbox.stripe import dashboard
from tests.http.test_cancels import told
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


def cancels_the_seats(diary: Diary) -> str:
    diary.shape = "multi_item"
    diary.prefers("cancel_single", True)
    browser = diary.opens_the_flow().press("answer", reason="unused")
    [_, seats] = diary.stripe("subscription", diary.subscription)["items"]["data"]
    browser.press("confirm", scope=seats["id"], told=told(browser.page))
    diary.work()
    return diary.session_of(browser)
