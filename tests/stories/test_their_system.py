"""The business's own system changes Stripe: its saves and cancels count once Stripe has shown them, and not before."""

from sqlalchemy import select

from connect_app.models import Action
from tests.stories.diary import Diary


def test_a_discount_that_their_system_gives_in_the_second_week_is_a_save_in_april(diary: Diary) -> None:
    diary.prefers("manage_offers", False)
    visit = diary.takes_the_offer()
    assert diary.outcome(visit) == ("open", None, None)
    assert (state(diary, visit), diary.stripe("subscription", diary.subscription)["discounts"]) == ("requested", [])
    diary.day(8)
    assert diary.outcome(visit) == ("open", None, None), "nobody has kept the promise yet"
    diary.changes(discounts=[{"coupon": "STAY20"}])
    assert (diary.outcome(visit), state(diary, visit)) == (("watch", "offer", None), "verified")
    assert [fact.data["code"] for fact in diary.facts(visit, "action.requested", "action.verified")] == ["yours", None]
    diary.day(37.9)
    assert diary.outcome(visit) == ("watch", "offer", None), "the interval counts from the proof"
    diary.day(39)
    assert diary.outcome(visit) == ("saved", "offer", None)


def test_a_promise_that_nobody_keeps_is_unknown_after_the_interval_and_still_waits(diary: Diary) -> None:
    diary.prefers("manage_offers", False)
    visit = diary.takes_the_offer()
    diary.day(29.9)
    assert diary.outcome(visit) == ("open", None, None)
    diary.day(31)
    assert (diary.outcome(visit), state(diary, visit)) == (("unknown", None, None), "requested")
    # Late, but kept.
    diary.changes(discounts=[{"coupon": "STAY20"}])
    assert (diary.outcome(visit)[0], state(diary, visit)) == ("watch", "verified")


def test_a_cancel_that_their_system_makes_is_one_once_stripe_shows_it(diary: Diary) -> None:
    diary.prefers("manage_cancels", False)
    visit = diary.cancels()
    assert (diary.outcome(visit), state(diary, visit)) == (("open", None, None), "requested")
    diary.changes(cancel_at_period_end=True)
    assert (diary.outcome(visit), state(diary, visit)) == (("canceled", None, None), "verified")


def test_what_is_theirs_to_do_is_not_done_by_us_when_the_connection_is_back(diary: Diary) -> None:
    diary.prefers("manage_cancels", False)
    diary.leaves()
    browser = diary.opens_the_flow().press("confirm")
    visit = diary.session_of(browser)
    diary.comes_back()
    assert state(diary, visit) == "requested"
    assert not diary.stripe("subscription", diary.subscription)["cancel_at_period_end"]
    diary.changes(cancel_at_period_end=True)
    assert (diary.outcome(visit), state(diary, visit)) == (("canceled", None, None), "verified")


def state(diary: Diary, visit: str) -> str:
    with diary.rt.transaction(diary.stage.workspace_id) as session:
        return str(session.execute(select(Action.state).where(Action.session_id == visit)).scalar_one())
