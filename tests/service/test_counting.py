"""The numbers of Home and Analytics are what they would be if everything were counted at every look, whatever was counted before."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from connect_app import ids, preferences
from connect_app.admin import cases, outcomes, sessions
from connect_app.models import Choice, FlowSession, FlowVersion, Outcome
from connect_app.runtime import Runtime
from jobs import counting
from tests import make

NOW = datetime(2026, 6, 15, 9, 30, tzinfo=UTC)

# The definition: every opened session is looked at, every time.
CASES = """
with seen as (
  select s.id, s.customer, s.subscription, s.shown_at, coalesce(o.state, 'open') as state, o.revenue,
    lag(s.shown_at) over mine as before, lag(s.save_interval_days) over mine as days
  from sessions s left join outcomes o on o.session_id = s.id
  where s.workspace_id = :workspace and s.mode = :mode and s.shown_at is not null
  window mine as (partition by s.customer, s.subscription order by s.shown_at, s.id)
), numbered as (
  select *, count(*) filter (where before is null or shown_at - before > make_interval(hours => 24 * days))
    over (partition by customer, subscription order by shown_at, id) as number
  from seen
), cases as (
  select distinct on (customer, subscription, number) *,
    min(shown_at) over (partition by customer, subscription, number) as begun_at
  from numbered
  order by customer, subscription, number, (state in ('open', 'unknown')), shown_at desc, id desc
)
"""
COUNTED = "select state, count(*) as cases from cases where cast(:since as timestamptz) is null or begun_at >= :since group by state"
WORTH = """
select currency, what, sum(amount) as amount, count(*) filter (where amount is null) as unknown from (
  select 'saved' as what, revenue->'saved'->>'currency' as currency, cast(revenue->'saved'->>'amount' as bigint) as amount, begun_at
  from cases where state = 'saved' and revenue->>'told_in' is null
  union all
  select 'lost', revenue->'lost'->>'currency', cast(revenue->'lost'->>'amount' as bigint), begun_at
  from cases where state in ('lost', 'canceled') and revenue->>'told_in' is null
  union all
  select 'watched', revenue->'stake'->>'currency', cast(revenue->'stake'->>'amount' as bigint), begun_at
  from cases where state in ('watch', 'paused') and revenue->>'told_in' is null
  union all
  select 'paid', each.key, cast(each.value->>'paid' as bigint) - cast(each.value->>'refunded' as bigint)
    - cast(each.value->>'disputed' as bigint), begun_at
  from cases, jsonb_each(case when jsonb_typeof(revenue->'paid') = 'object' then revenue->'paid' else '{}' end) each
  where state in ('saved', 'watch', 'paused')
) amounts where currency is not null and (cast(:since as timestamptz) is null or begun_at >= :since) group by currency, what
"""
STATES = ("open", "canceled", "watch", "saved", "paused", "lost", "unknown")
HOWS = (None, "offer", "kept", "abandoned", "undone", "resubscribed")
ACTION_STATES = ("requested", "queued", "applied", "verified", "manual", "failed")
PERIODS = (None, NOW - timedelta(days=7), NOW - timedelta(days=30), datetime(2026, 5, 1, tzinfo=UTC), NOW - timedelta(minutes=5))

amounts = st.sampled_from([0, 2900, 4900, None])
currencies = st.sampled_from(["usd", "eur"])
one_amount = st.fixed_dictionaries({"currency": currencies, "amount": amounts})
paid = st.dictionaries(currencies, st.fixed_dictionaries({key: st.integers(0, 5000) for key in ("paid", "refunded", "disputed")}))
revenues = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "stake": one_amount,
        "saved": one_amount,
        "lost": one_amount,
        "paid": paid | st.none(),
        "told_in": st.none() | st.just("ses_later"),
    },
)
hours = st.integers(0, 24 * 75)
which = st.integers(0, 30)
steps = st.one_of(
    st.tuples(st.just("open"), st.sampled_from("ab"), st.sampled_from(["s", ""]), st.sampled_from(["test", "test", "live"]), hours,
              st.booleans()),
    st.tuples(st.just("decide"), which, st.sampled_from(STATES), st.sampled_from(HOWS), revenues),
    st.tuples(st.just("undecide"), which),
    st.tuples(st.just("choose"), which, st.sampled_from(["accept", "cancel"]), st.sampled_from(ACTION_STATES)),
    st.tuples(st.just("act"), which, st.sampled_from(ACTION_STATES)),
    st.tuples(st.just("look"), which),
    st.tuples(st.just("go"), which),
    st.tuples(st.just("interval"), st.sampled_from([1, 7, 30, 60])),
    st.tuples(st.just("count"), st.sampled_from([1, 2, 500])),
)  # fmt: skip


@dataclass
class Town:
    """A workspace whose sessions come and go, without anybody being told to count them."""

    rt: Runtime
    stage: make.Stage
    version: str
    made: list[str] = field(default_factory=list)
    after: int = 0

    def run(self, statement: str, **values: Any) -> Sequence[Any]:
        with self.rt.transaction(self.stage.workspace_id) as session:
            found = session.execute(text(statement), {"workspace": self.stage.workspace_id, **values})
            return found.all() if found.returns_rows else []

    def one(self, number: int) -> str:
        return self.made[number % len(self.made)] if self.made else "none"

    def open(self, customer: str, subscription: str, mode: str, hour: int, is_opened: bool) -> str:
        at = NOW - timedelta(hours=hour)
        self.made.append(ids.new("ses"))
        with self.rt.transaction(self.stage.workspace_id) as session:
            days = preferences.read(session, self.stage.workspace_id).save_interval_days
            session.add(
                FlowSession(
                    id=self.made[-1], workspace_id=self.stage.workspace_id, mode=mode, flow_version_id=self.version, origin="embed",
                    is_control=False, customer=f"cus_{customer}", subscription=subscription, bundle=self.made[-1], minted_at=at,
                    expires_at=at + timedelta(hours=24), shown_at=at if is_opened else None, last_activity_at=at, custom={}, variables={},
                    save_interval_days=days,
                )
            )  # fmt: skip
        return self.made[-1]

    def decide(self, number: int, state: str, how: str | None, revenue: Any) -> None:
        self.run(
            "insert into outcomes (session_id, workspace_id, state, how, since, revenue)"
            " select id, workspace_id, :state, :how, :now, cast(:revenue as jsonb) from sessions where id = :id"
            " on conflict (session_id) do update set state = excluded.state, how = excluded.how, revenue = excluded.revenue",
            id=self.one(number), state=state, how=how, now=NOW, revenue=None if revenue is None else json.dumps(revenue),
        )  # fmt: skip

    def undecide(self, number: int) -> None:
        self.run("delete from outcomes where session_id = :id", id=self.one(number))

    def choose(self, number: int, verb: str, state: str) -> None:
        values = {"id": self.one(number), "verb": verb, "state": state, "now": NOW, "choice": ids.new("cho"), "action": ids.new("act")}
        self.run(
            "with made as (insert into choices (id, workspace_id, session_id, verb, made_at)"
            " select :choice, workspace_id, id, :verb, :now from sessions where id = :id on conflict (session_id) do nothing returning *)"
            " select 1 from made",
            **values,
        )
        self.run(
            "insert into actions (id, workspace_id, mode, choice_id, session_id, customer, subscription, verb, state,"
            " intent, asked_at, changed_at) select :action, s.workspace_id, s.mode, c.id, s.id, s.customer, s.subscription, 'cancel',"
            " :state, '{}', :now, :now from sessions s join choices c on c.session_id = s.id where c.id = :choice",
            **values,
        )

    def act(self, number: int, state: str) -> None:
        self.run("update actions set state = :state where session_id = :id", id=self.one(number), state=state)

    def look(self, number: int) -> None:
        self.run("update sessions set shown_at = minted_at where id = :id and shown_at is null", id=self.one(number))

    def go(self, number: int) -> None:
        self.run("delete from sessions where id = :id", id=self.one(number))

    def interval(self, days: int) -> None:
        with self.rt.transaction(self.stage.workspace_id) as session:
            preferences.save(session, self.stage.workspace_id, "save_interval_days", days, NOW)

    def count(self, size: int = 500) -> None:
        """One batch of the counting; the next goes on behind it."""
        with self.rt.transaction(self.stage.workspace_id) as session:
            _, after = counting.batch(session, self.stage.workspace_id, self.after, size)
        self.after = after or 0

    def marks(self) -> int:
        return int(self.run("select count(*) from case_marks")[0][0])

    def check(self, since: datetime | None, mode: str = "test") -> None:
        place = self.stage.workspace_id, mode
        with self.rt.transaction(self.stage.workspace_id) as session:
            values = {"workspace": place[0], "mode": mode, "since": since}
            by_state = {row.state: row.cases for row in session.execute(text(CASES + COUNTED), values)}
            worth = session.execute(text(CASES + WORTH), values).all()
            found = cases.headline(session, *place, since=since)
            assert dict(found.by_state) == by_state
            assert found.unknown_amounts == sum(row.unknown for row in worth)
            told = {(sums.currency, what): getattr(sums, what) for sums in found.sums for what in ("saved", "lost", "watched", "paid")}
            expected = {
                (row.currency, row.what): cases.amount({"currency": row.currency, "amount": row.amount})
                for row in worth
                if row.amount is not None
            }
            assert {key: value for key, value in told.items() if value is not None} == expected
            ended = by_outcome(session, *place, since)
            assert outcomes.tally(session, *place, since=since, now=NOW).by_outcome == ended
            for wanted, number in ended.items():
                page = sessions.page(session, *place, now=NOW, outcome=wanted, is_opened=True, since=since, total=number)
                assert [row.outcome for row in page.rows] == [wanted] * number
                assert [row.minted_at for row in page.rows] == sorted((row.minted_at for row in page.rows), reverse=True)


def by_outcome(session: Session, workspace_id: str, mode: str, since: datetime | None) -> dict[str, int]:
    """The opened sessions by outcome, each one looked at."""
    found = outcomes.outcome(NOW).label("outcome")
    query = (
        select(found, func.count().label("sessions"))
        .select_from(FlowSession)
        .outerjoin(Choice, Choice.session_id == FlowSession.id)
        .outerjoin(Outcome, Outcome.session_id == FlowSession.id)
        .where(FlowSession.workspace_id == workspace_id, FlowSession.mode == mode, FlowSession.shown_at.is_not(None))
        .group_by(found)
    )
    if since is not None:
        query = query.where(FlowSession.minted_at >= since)
    return {row.outcome: row.sessions for row in session.execute(query)}


@pytest.fixture
def town(rt: Runtime) -> Town:
    stage = make.workspace(rt)
    with rt.transaction(stage.workspace_id) as session:
        version = session.execute(select(FlowVersion.id)).scalars().first()
    assert version is not None
    return Town(rt=rt, stage=stage, version=version)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, min_size=1, max_size=25), st.sampled_from(PERIODS))
def test_what_is_told_is_what_a_look_at_everything_would_tell(town: Town, course: list[tuple[Any, ...]], since: datetime | None) -> None:
    town.run("delete from sessions")
    town.made, town.after = [], 0
    for verb, *given_to in course:
        getattr(town, verb)(*given_to)
        if verb == "count":
            town.check(since)
    town.count()
    town.check(since)
    town.check(None, "live")


def test_what_is_settled_is_counted_once_and_what_is_open_stays_marked(town: Town) -> None:
    town.open("a", "s", "test", 40, True)
    town.open("b", "s", "test", 40, True)
    town.decide(0, "saved", "kept", None)
    town.count()
    assert [row.customer for row in town.run("select distinct customer from case_marks")] == ["cus_b"]
    town.decide(1, "lost", "kept", None)
    town.count()
    assert town.marks() == 0
    town.check(None)


def test_another_save_interval_counts_for_sessions_that_are_opened_later_and_changes_nothing_before(town: Town) -> None:
    for hour in (1500, 1100):
        town.open("a", "s", "test", hour, True)
        town.decide(len(town.made) - 1, "saved", "kept", None)
    town.count()
    town.interval(7)
    assert town.marks() == 0
    assert told(town) == {"saved": 1}
    # Within the 30 days of the one before, which keeps them; its own are 7.
    town.decide(2, "lost", "kept", town.open("a", "s", "test", 600, True) and None)
    assert told(town) == {"lost": 1}
    town.decide(3, "saved", "kept", town.open("a", "s", "test", 400, True) and None)
    assert told(town) == {"lost": 1, "saved": 1}
    town.count()
    town.interval(60)
    assert (told(town), town.marks()) == ({"lost": 1, "saved": 1}, 0)
    town.check(None)


def test_a_session_of_which_nothing_is_known_yet_does_not_change_what_its_case_was(town: Town) -> None:
    for hour, state in ((500, "canceled"), (400, "saved"), (300, "unknown"), (200, "open")):
        town.open("a", "s", "test", hour, True)
        town.decide(len(town.made) - 1, state, None, None)
    assert told(town) == {"saved": 1}
    town.decide(3, "unknown", None, None)
    town.count()
    assert told(town) == {"saved": 1}


def test_what_is_told_in_a_later_case_is_at_stake_once(town: Town) -> None:
    for hour in (2000, 10):
        town.open("a", "s", "test", hour, True)
        town.decide(len(town.made) - 1, "watch", "kept", {"stake": {"currency": "usd", "amount": 2900}})
    town.decide(0, "watch", "kept", {"stake": {"currency": "usd", "amount": 2900}, "told_in": town.made[1]})
    for _ in range(2):
        with town.rt.transaction(town.stage.workspace_id) as session:
            [sums] = cases.headline(session, town.stage.workspace_id, "test", since=None).sums
            watched = cases.watched(session, town.stage.workspace_id, "test", 10, NOW)
        assert (sums.watched, [one.session_id for one in watched]) == ("$29.00", [town.made[1]])
        town.count()


def told(town: Town) -> dict[str, int]:
    with town.rt.transaction(town.stage.workspace_id) as session:
        return dict(cases.headline(session, town.stage.workspace_id, "test", since=None).by_state)


def test_a_workspace_can_be_deleted_with_all_that_was_counted(town: Town) -> None:
    town.open("a", "s", "test", 40, True)
    town.decide(0, "saved", "kept", None)
    town.count()
    town.run("delete from link_lookups")
    town.run("delete from workspaces where id = :workspace")
    assert (town.marks(), town.run("select 1 from case_sessions"), town.run("select 1 from case_days")) == (0, [], [])
