"""The table of SPEC section 11, row by row, and the laws that hold for all of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.validation import footing, table, worth
from jobs.validation.table import Outcome, Standing, Visit

DAY = timedelta(days=1)
MARCH = datetime(2026, 3, 1, 12, tzinfo=UTC)
VISIT = Visit(shown_at=MARCH, last_activity_at=MARCH, interval=30 * DAY)
KEPT = replace(VISIT, kept_at=MARCH)
TOOK = replace(VISIT, choice="accept", chosen_at=MARCH, verified_at=MARCH)
CANCELED = replace(VISIT, choice="cancel", chosen_at=MARCH, verified_at=MARCH)
END = MARCH + 30 * DAY


def day(number: float) -> datetime:
    return MARCH + number * DAY


def paying(on: datetime, **more: object) -> Standing:
    return Standing(kind="paying", as_of=on, **more)  # type: ignore[arg-type]


def leaving(on: datetime, door: str = "outside", left: datetime | None = None) -> Standing:
    return Standing(kind="leaving", as_of=on, left_at=left or on, door=door)


def ended(on: datetime, door: str = "outside", left: datetime | None = None) -> Standing:
    return Standing(kind="ended", as_of=on, left_at=left or on, door=door)


def outcome(was: Outcome | None, visit: Visit, standing: Standing | None, now: datetime) -> Outcome:
    steps = table.settled(was, visit, standing, now)
    return steps[-1] if steps else was or Outcome(state="open", since=MARCH)


def told(found: Outcome) -> tuple[str, str | None, str | None]:
    return found.state, found.how, found.door


WATCH = Outcome(state="watch", since=MARCH, how="kept", interval_ends_at=END)
SAVED = replace(WATCH, state="saved", since=END)
PAUSED = replace(WATCH, state="paused", since=END)
LOST = replace(WATCH, state="lost", since=day(3), door="outside")


@pytest.mark.parametrize(
    ("was", "visit", "standing", "now", "expected"),
    [
        # open -> canceled: choice cancel verified.
        (None, CANCELED, None, day(0), ("canceled", None, None)),
        (None, CANCELED, leaving(day(0)), day(0), ("canceled", None, None)),
        (None, CANCELED, ended(day(20), left=day(0)), day(21), ("canceled", None, None)),
        # open -> watch, with how.
        (None, TOOK, None, day(0), ("watch", "offer", None)),
        (None, KEPT, None, day(0), ("watch", "kept", None)),
        (None, VISIT, None, MARCH + timedelta(minutes=29), ("open", None, None)),
        (None, VISIT, None, MARCH + timedelta(minutes=30), ("watch", "abandoned", None)),
        # open: a choice that is not verified.
        (None, replace(TOOK, verified_at=None), paying(day(1)), day(29), ("open", None, None)),
        (None, replace(TOOK, verified_at=None), paying(day(30)), day(30), ("unknown", None, None)),
        (None, replace(CANCELED, verified_at=None), paying(day(30)), day(30), ("unknown", None, None)),
        # … and it ends what went before it.
        (WATCH, replace(KEPT, choice="cancel", chosen_at=day(0.5)), paying(day(1)), day(1), ("open", None, None)),
        (Outcome(state="unknown", since=END), replace(CANCELED, verified_at=day(40)), None, day(40), ("canceled", None, None)),
        # watch -> saved at the end of the interval, paying; not before it, and not without a look at it.
        (WATCH, KEPT, paying(day(29)), day(29), ("watch", "kept", None)),
        (WATCH, KEPT, paying(day(29)), END, ("watch", "kept", None)),
        (WATCH, KEPT, paying(END), END, ("saved", "kept", None)),
        (WATCH, KEPT, None, day(60), ("watch", "kept", None)),
        # watch -> paused; past due stays on watch until settled.
        (WATCH, KEPT, Standing(kind="paused", as_of=day(10)), day(10), ("watch", "kept", None)),
        (WATCH, KEPT, Standing(kind="paused", as_of=END), END, ("paused", "kept", None)),
        (WATCH, KEPT, Standing(kind="owing", as_of=END), END, ("watch", "kept", None)),
        (WATCH, KEPT, paying(day(35)), day(35), ("saved", "kept", None)),
        # paused -> saved: the pause is over, and the first charge after it is paid.
        (PAUSED, KEPT, Standing(kind="paused", as_of=day(60)), day(60), ("paused", "kept", None)),
        (PAUSED, KEPT, paying(day(61), charged_at=day(5)), day(61), ("paused", "kept", None)),
        (PAUSED, KEPT, Standing(kind="owing", as_of=day(61), charged_at=day(5)), day(61), ("paused", "kept", None)),
        (PAUSED, KEPT, paying(day(62), charged_at=day(61)), day(62), ("saved", "kept", None)),
        # watch, saved, paused -> lost, with the door.
        *(
            (was, KEPT, gone(day(70), door), day(70), ("lost", "kept", door))
            for was in (WATCH, SAVED, PAUSED)
            for gone in (leaving, ended)
            for door in ("flow", "portal", "dashboard_or_api", "outside", "payment_failure", "dispute")
        ),
        # saved and owing, or paused: it has been validated, and nobody has left.
        (SAVED, KEPT, Standing(kind="owing", as_of=day(40)), day(40), ("saved", "kept", None)),
        (SAVED, KEPT, Standing(kind="paused", as_of=day(40)), day(40), ("saved", "kept", None)),
        # any -> unknown: over before the session, or no match.
        (None, KEPT, ended(day(1), left=day(-3)), day(1), ("unknown", "kept", None)),
        (None, KEPT, leaving(day(1), left=day(-3)), day(1), ("unknown", "kept", None)),
        (None, KEPT, Standing(kind="missing", as_of=day(1)), day(1), ("unknown", "kept", None)),
        (None, VISIT, Standing(kind="missing", as_of=day(0)), day(0), ("unknown", None, None)),
        (SAVED, KEPT, Standing(kind="missing", as_of=day(40)), day(40), ("unknown", "kept", None)),
        # An accepted offer takes back the cancellation that was there: it is the customer's, not a ghost's.
        (None, TOOK, leaving(day(-1), left=day(-3)), day(0), ("watch", "offer", None)),
        # lost -> watch: undone.
        (LOST, KEPT, paying(day(5)), day(5), ("watch", "kept", None)),
        (LOST, KEPT, paying(day(40)), day(40), ("saved", "kept", None)),
        # lost -> watch: resubscribed within the interval, and not later.
        (LOST, KEPT, paying(day(20), successor_at=day(19)), day(20), ("watch", "kept", None)),
        # canceled -> watch: undone, or resubscribed within the interval.
        (Outcome(state="canceled", since=MARCH), replace(CANCELED, undone_at=day(2)), paying(day(2)), day(2), ("watch", "undone", None)),
        (None, replace(CANCELED, undone_at=day(2)), paying(day(32)), day(32), ("saved", "undone", None)),
        (None, replace(CANCELED, undone_at=day(2)), leaving(day(9), "portal"), day(9), ("lost", "undone", "portal")),
        (
            Outcome(state="canceled", since=MARCH),
            CANCELED,
            paying(day(45), successor_at=day(44)),
            day(45),
            ("watch", "resubscribed", None),
        ),
        (
            Outcome(state="canceled", since=MARCH),
            CANCELED,
            ended(day(80), door="flow", left=day(25)),
            day(80),
            ("canceled", None, None),
        ),
    ],
)  # fmt: skip
def test_each_row_of_the_table(was: Outcome | None, visit: Visit, standing: Standing | None, now: datetime, expected: object) -> None:
    assert told(outcome(was, visit, standing, now)) == expected


def test_nothing_is_decided_twice() -> None:
    for was, visit, standing, now in (
        (None, KEPT, paying(day(1)), day(1)),
        (WATCH, KEPT, paying(END), END),
        (SAVED, KEPT, leaving(day(40)), day(40)),
        (None, CANCELED, leaving(day(0)), day(0)),
    ):
        after = outcome(was, visit, standing, now)
        assert table.settled(after, visit, standing, now) == []


def test_the_interval_that_was_promised_stands_when_the_setting_changes() -> None:
    shorter = replace(KEPT, interval=7 * DAY)
    assert outcome(WATCH, shorter, paying(day(10)), day(10)).state == "watch"
    assert outcome(None, shorter, paying(day(10)), day(10)).state == "saved"


def test_billing_is_asked_when_a_save_fires_and_when_its_interval_is_over() -> None:
    assert table.wants_look(WATCH, None, day(0))
    assert not table.wants_look(WATCH, day(0), day(29))
    assert table.wants_look(WATCH, day(0), END)
    assert not table.wants_look(WATCH, END, day(31))
    assert not table.wants_look(SAVED, END, day(31))
    assert not table.wants_look(None, None, day(0))
    assert not table.wants_look(Outcome(state="canceled", since=MARCH), None, day(0))


def later(state: str, at: datetime, subscription: str = "sub_1") -> footing.Later:
    return footing.Later(id=f"ses_{state}_{at:%j}", subscription=subscription, shown_at=at, joins_until=at + 30 * DAY, state=state)


def told_in(outcome: Outcome, *others: footing.Later, decided_at: datetime | None = None) -> str | None:
    return worth.told_in("sub_1", outcome, others, decided_at)


def test_a_departure_is_told_in_the_last_session_that_was_lost_to_it() -> None:
    lost = Outcome(state="lost", since=day(40), how="kept", interval_ends_at=END)
    again, third = later("lost", day(20)), later("canceled", day(90))
    assert told_in(lost, again, third) == third.id
    assert told_in(lost, again, later("unknown", day(50))) == again.id
    assert told_in(lost, later("open", day(20)), later("saved", day(30))) is None
    # Of the subscription that followed: that departure, or another one of a customer who came back too late.
    assert told_in(lost, later("canceled", day(40) + timedelta(milliseconds=300), "sub_2")) is not None
    assert told_in(lost, later("canceled", day(41), "sub_2")) is None
    assert told_in(Outcome(state="canceled", since=day(1)), third) == third.id


def test_what_a_later_session_tells_of_its_case_is_not_counted_with_one_before_it() -> None:
    lost = Outcome(state="lost", since=day(60), how="kept", interval_ends_at=END)
    assert told_in(lost, later("lost", day(40)), later("watch", day(60))) is None
    assert told_in(lost, later("lost", day(40)), later("open", day(60))) == "ses_lost_100"
    assert told_in(lost, later("lost", day(40)), later("watch", day(90))) == "ses_lost_100"


def test_who_came_again_before_they_were_first_saved_is_worth_what_they_are_once() -> None:
    assert told_in(WATCH, later("saved", day(60))) == "ses_saved_120"
    assert told_in(SAVED, later("watch", day(29), "sub_2"), decided_at=END) == "ses_watch_089"
    assert told_in(SAVED, later("saved", day(31)), decided_at=END) is None
    # They owed when their interval was over.
    assert told_in(SAVED, later("saved", day(31)), decided_at=day(40)) == "ses_saved_091"
    assert told_in(SAVED, later("lost", day(3)), later("unknown", day(4)), decided_at=END) is None
    assert told_in(Outcome(state="unknown", since=MARCH), later("saved", day(3))) is None


def test_who_left_is_back_in_time_by_the_interval_of_the_save_or_by_one_from_what_they_canceled() -> None:
    def by(was: Outcome | None, visit: Visit, back_at: datetime | None = None) -> datetime:
        return table.back_by(was, visit, ended_at=day(60), back_at=back_at, now=day(70))

    assert by(LOST, KEPT) == by(None, KEPT) == END
    assert by(None, CANCELED) == day(90)
    assert by(None, CANCELED, back_at=day(70)) == day(100)
    assert by(None, replace(CANCELED, undone_at=day(5))) == day(35)
    assert by(replace(WATCH, interval_ends_at=day(33)), KEPT) == day(33)


def test_time_is_waited_for_only_where_it_can_change_something() -> None:
    assert table.due_at(None, VISIT, MARCH) == MARCH + timedelta(minutes=30)
    assert table.due_at(WATCH, KEPT, day(1)) == END
    assert table.due_at(WATCH, KEPT, day(31)) is None
    assert table.due_at(None, replace(TOOK, verified_at=None), day(1)) == END
    assert table.due_at(SAVED, KEPT, day(40)) is None


MOMENTS = st.integers(1, 29).map(lambda number: day(number))
NEWS = st.lists(
    st.one_of(
        MOMENTS.map(lambda on: paying(on)),
        MOMENTS.map(lambda on: Standing(kind="owing", as_of=on)),
        MOMENTS.map(lambda on: Standing(kind="paused", as_of=on)),
        st.builds(leaving, MOMENTS, st.sampled_from(("portal", "outside", "dispute"))),
        st.builds(ended, MOMENTS, st.sampled_from(("portal", "payment_failure"))),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda standing: standing.as_of,
)


def played(visit: Visit, news: tuple[Standing, ...]) -> Outcome:
    """The mirror keeps the newest of what it hears, in whatever order; at the end of the interval Stripe is asked."""
    was: Outcome | None = None
    kept: Standing | None = None
    for each in news:
        kept = each if kept is None or each.as_of > kept.as_of else kept
        was = outcome(was, visit, kept, day(29))
    assert kept is not None
    return outcome(was, visit, replace(kept, as_of=END), END)


@given(news=NEWS, visit=st.sampled_from((KEPT, TOOK, VISIT)))
@settings(max_examples=150, deadline=None)
def test_the_order_of_the_news_does_not_matter_in_the_end(news: list[Standing], visit: Visit) -> None:
    ends = {told(played(visit, order)) for order in permutations(news)}
    assert len(ends) == 1


@given(news=NEWS, visit=st.sampled_from((KEPT, TOOK, VISIT, CANCELED)), later=st.integers(29, 60))
@settings(max_examples=150, deadline=None)
def test_saved_needs_a_look_at_a_paying_customer_after_the_interval_and_lost_has_a_door(
    news: list[Standing], visit: Visit, later: int
) -> None:
    was: Outcome | None = None
    for each in sorted(news, key=lambda standing: standing.as_of):
        was = outcome(was, visit, each, each.as_of)
        assert was.state != "saved"
    last = max(news, key=lambda standing: standing.as_of)
    for standing in (last, replace(last, as_of=day(later))):
        was = outcome(was, visit, standing, day(later))
        if was.state == "saved":
            assert standing.kind == "paying"
            assert was.interval_ends_at is not None
            assert standing.as_of >= was.interval_ends_at.replace(microsecond=0)
        assert (was.door is not None) == (was.state == "lost")
