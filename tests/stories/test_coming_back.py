"""Who leaves and comes back, with other subscriptions, in time and too late: each departure and each stay is told, and counted once."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from jobs import queues, work
from tests.stories.diary import Diary


def about(diary: Diary, subscription: str) -> None:
    """From here on the customer opens the flow of this subscription."""
    diary.stage = replace(diary.stage, shapes={**diary.stage.shapes, diary.shape: (diary.customer, subscription)})


def brought(diary: Diary, subscription: str) -> int:
    with diary.rt.transaction(diary.stage.workspace_id) as session:
        paid = text("select coalesce(sum(amount_paid), 0) from invoices where subscription = :id and status = 'paid'")
        return int(session.execute(paid, {"id": subscription}).scalar_one())


def test_who_comes_back_too_late_and_leaves_again_has_left_twice(diary: Diary) -> None:
    first = diary.says_never_mind()
    diary.day(31)
    diary.changes(status="canceled")
    lost = diary.row(first)
    paid = diary.worth(first)["paid"]
    diary.day(50)
    about(diary, diary.subscribes_again())
    diary.day(55)
    second = diary.cancels()
    diary.day(90)
    row = diary.row(first)
    assert row is not None
    assert lost is not None
    assert (diary.outcome(first), row.since) == (("lost", "kept", "outside"), lost.since)
    assert diary.outcome(second) == ("canceled", None, None)
    assert (diary.worth(first)["paid"], diary.headline()[1]["lost"]) == (paid, "$58.00")


def test_who_canceled_came_back_and_left_again_stays_lost_whatever_begins_later(diary: Diary) -> None:
    visit = diary.cancels()
    diary.day(40)
    again = diary.subscribes_again()
    diary.day(76)
    paid = diary.worth(visit)["paid"]
    diary.changes(again, status="canceled")
    diary.day(95)
    diary.subscribes_again()
    assert diary.course(visit) == ["canceled", "watch", "saved", "lost"]
    assert diary.worth(visit)["paid"] == paid


def test_what_each_of_a_chain_of_subscriptions_brought_is_paid_since(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.day(2)
    diary.changes(status="canceled")
    diary.day(3)
    second = diary.subscribes_again()
    diary.day(5)
    diary.changes(second, status="canceled")
    diary.day(6)
    third = diary.subscribes_again()
    assert diary.outcome(visit)[0] == "watch"
    assert diary.worth(visit)["paid"]["usd"]["paid"] == brought(diary, second) + brought(diary, third) > 0


def test_another_subscription_beside_the_one_they_came_back_with_is_told_of_by_itself(diary: Diary) -> None:
    first = diary.says_never_mind()
    diary.day(2)
    diary.changes(status="canceled")
    diary.day(3)
    back = diary.subscribes_again()
    diary.day(4)
    beside = diary.subscribes_again()
    diary.day(12)
    about(diary, beside)
    diary.says_never_mind()
    diary.day(50)
    assert (diary.headline()[1]["saved"], diary.worth(first)["paid"]["usd"]["paid"]) == ("$58.00", brought(diary, back))
    diary.changes(beside, status="canceled")
    diary.day(60)
    diary.changes(back, status="canceled")
    assert diary.headline()[1]["lost"] == "$58.00"


def test_two_visits_about_one_subscription_with_another_between_them_come_back_together(diary: Diary) -> None:
    one, other = diary.subscription, diary.subscribes_again()
    visits = []
    for day, subscription in enumerate((one, other, one)):
        diary.day(day)
        about(diary, subscription)
        visits.append(diary.says_never_mind())
    diary.day(4)
    for subscription in (one, other):
        diary.changes(subscription, status="canceled")
    diary.day(6)
    diary.subscribes_again()
    assert [diary.outcome(visit)[0] for visit in visits] == ["watch", "lost", "watch"]


def test_who_was_paused_when_the_interval_ended_is_saved_once_though_they_came_again(diary: Diary) -> None:
    diary.says_never_mind()
    diary.changes(pause_collection={"behavior": "void", "resumes_at": int(diary.clock().timestamp()) + 50 * 86400})
    diary.day(40)
    diary.says_never_mind()
    diary.day(110)
    assert diary.headline() == ({"saved": 2}, {"saved": "$29.00", "paid": diary.headline()[1]["paid"]})


def test_a_departure_that_a_later_visit_of_the_case_took_back_is_still_counted_for_who_was_lost(diary: Diary) -> None:
    diary.says_never_mind()
    diary.day(40)
    diary.says_never_mind()
    diary.day(60)
    diary.cancels()
    diary.day(max(diary.renewal() + 1, 72))
    diary.subscribes_again()
    assert diary.headline() == ({"lost": 1, "watch": 1}, {"lost": "$29.00", "watched": "$29.00", "paid": diary.headline()[1]["paid"]})


def test_who_lapsed_unpaid_comes_back_with_another_subscription(diary: Diary) -> None:
    visit = diary.says_never_mind()
    diary.changes(status="unpaid")
    assert diary.outcome(visit)[0] == "lost"
    diary.day(5)
    diary.subscribes_again()
    assert diary.outcome(visit)[0] == "watch"


@pytest.mark.filterwarnings("error")
def test_two_visits_of_one_customer_are_decided_at_once_without_waiting_for_each_other_in_a_circle(diary: Diary) -> None:
    visits = [diary.says_never_mind()]
    diary.day(3)
    visits.append(diary.says_never_mind())
    diary.is_deaf = True
    diary.changes(cancel_at_period_end=True)
    with diary.rt.transaction(diary.stage.workspace_id) as session:
        gone = "jsonb_build_object('cancel_at_period_end', true, 'canceled_at', cast(:at as int))"
        known = text(f"update subscriptions set raw = cast(cast(raw as jsonb) || {gone} as json), as_of = :now where id = :id")  # noqa: S608
        now = diary.rt.now().replace(microsecond=0)
        session.execute(known, {"at": int(now.timestamp()), "now": now, "id": diary.subscription})
        works = [queues.enqueue(session, "validate", visit, diary.stage.workspace_id, due_at=now) for visit in visits]
    ends: list[object] = []
    both = threading.Barrier(2)

    def decide(work_id: str) -> None:
        both.wait()
        ends.append(work.perform(diary.rt, work_id))

    threads = [threading.Thread(target=decide, args=(work_id,)) for work_id in works]
    # As if the machine were slow: each takes half a second over what all sessions of a workspace ask for.
    run = (
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return new; end $$",
        "create trigger slow before insert on work for each row when (new.kind = 'count_cases') execute function slow()",
    )
    with diary.rt.transaction() as session:
        for statement in run:
            session.execute(text(statement))
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        with diary.rt.transaction() as session:
            session.execute(text("drop function slow() cascade"))
    assert [getattr(end, "problem", "") for end in ends if "eadlock" in getattr(end, "problem", "")] == []
    diary.is_deaf = False
    diary.work()
    assert diary.worth(visits[0])["told_in"] == visits[1]
