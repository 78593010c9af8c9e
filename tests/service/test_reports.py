"""Reports by variables: every case in one group, each group what it would be alone, and no value taken for what it is not."""

import json
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connect_app.admin import cases, outcomes, reports
from connect_app.money import Money
from tests.service.test_counting import NOW, PERIODS, STATES, Town, one_amount
from tests.service.test_counting import town as town  # the same ground
from webhooks import mapping
from webhooks.catalogue import Type, Value

BOUNDS = [0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000]

texts = st.sampled_from(["Pro", "Team", "pro", "none", "fell", "other", "is:Pro", "", "x' or '1'='1", "%s :tokens", "Ж", "a" * 400])
typed: dict[Type, st.SearchStrategy[Any]] = {
    "text": texts,
    "boolean": st.booleans(),
    "integer": st.sampled_from([-3, 0, 1, 4, 5, 24, 25, 999_999, 1_000_000, 2**40]),
    "decimal": st.sampled_from([Decimal("-0.5"), Decimal("0.5"), Decimal("9.99"), Decimal("10"), Decimal("250000.01")]),
    "money": st.builds(Money, st.sampled_from([-1, 0, 99, 100, 2900, 5000, 10**9]), st.sampled_from(["usd", "jpy", "kwd"])),
    "date": st.dates(date(1999, 1, 1), date(2031, 1, 1)).map(lambda day: datetime.combine(day, time(3, 4), UTC)),
    "email": st.sampled_from(["ada@example.com", "grace@example.com"]),
}
# A variable of a session: its type and value; a fallback; or none at all.
kept = st.one_of(
    *(st.tuples(st.just(type), values) for type, values in typed.items()), st.tuples(st.just("fallback"), texts), st.just((None, None))
)


def variables(type: Any, value: Any) -> dict[str, Any]:
    if type is None:
        return {}
    is_fallback = type == "fallback"
    resolved = mapping.Resolved(
        name="v", type="text" if is_fallback else type, value=value, source="custom.v", as_of=None, fallback="there",
        reason="the hand-off did not send it" if is_fallback else None,
    )  # fmt: skip
    return mapping.keep({"v": resolved}, "en")


def token(type: Any, value: Value | None) -> str:
    """The group of a value, told by hand."""
    match type, value:
        case None, _:
            return "none"
        case "fallback", _:
            return "fell"
        case _, Money():
            return _band(value.currency, value.decimal)
        case _, bool():
            return f"is:{str(value).lower()}"
        case _, int() | Decimal():
            return _band("", Decimal(value))
        case _, datetime():
            return f"on:{value:%Y-%m}"
    return f"is:{value}"


def _band(currency: str, value: Decimal) -> str:
    low = [bound for bound in BOUNDS if bound <= value]
    high = [bound for bound in BOUNDS if bound > value]
    return f"in:{currency}:{low[-1] if low else ''}:{high[0] if high else ''}"


def divided(town: Town, asked: reports.Asked, since: datetime | None = None, **more: Any) -> reports.Breakdown:
    with town.rt.transaction(town.stage.workspace_id) as session:
        return reports.broken_down(session, town.stage.workspace_id, "test", asked, since=since, now=NOW, **more)


def opened(town: Town, customer: str, hour: int, known: tuple[Any, Any]) -> str:
    made = town.open(customer, "s", "test", hour, True)
    town.run("update sessions set variables = cast(:kept as jsonb) where id = :id", id=made, kept=json.dumps(variables(*known)))
    return made


visits = st.lists(
    st.tuples(
        st.sampled_from("abcdef"), st.integers(0, 24 * 75), kept, st.none() | st.tuples(st.sampled_from(STATES), one_amount), st.booleans()
    ),
    min_size=1, max_size=14,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(visits, st.sampled_from(PERIODS))
def test_each_case_is_in_the_group_of_its_first_session_and_all_groups_are_the_whole(
    town: Town, course: list[Any], since: datetime | None
) -> None:
    town.run("delete from sessions")
    town.made, town.after = [], 0
    chains: dict[str, list[tuple[datetime, str, str]]] = {}
    for customer, hour, known, ended, is_counted in course:
        made = opened(town, customer, hour, known)
        chains.setdefault(customer, []).append((NOW - timedelta(hours=hour), made, token(*known)))
        if ended:
            state, amount = ended
            town.decide(len(town.made) - 1, state, None, {"stake": amount, "saved": amount, "lost": amount})
        if is_counted:
            town.count()
    expected: Counter[str] = Counter()
    for chain in chains.values():
        before: datetime | None = None
        for at, _, group in sorted(chain):
            if (before is None or at - before > timedelta(days=30)) and (since is None or at >= since):
                expected[group] += 1
            before = at
    found = divided(town, reports.Asked(by="v"), since)
    told = {group.token: group.headline.cases for group in found.groups}
    named = {key: number for key, number in told.items() if key != "other"}
    assert named == {key: number for key, number in expected.items() if key in named}
    assert sum(told.values()) == expected.total()
    assert ("other" in told) == (len(set(expected) - {"none", "fell"}) > 12)
    with town.rt.transaction(town.stage.workspace_id) as session:
        place = town.stage.workspace_id, "test"
        assert found.headline == cases.headline(session, *place, since=since)
        assert {key: number for key, number in found.tally.by_outcome.items() if number} == outcomes.tally(
            session, *place, since=since, now=NOW
        ).by_outcome
    for group in found.groups:
        if group.token != "other":
            alone = divided(town, reports.Asked(cut=reports.Cut(name="v", tokens=(group.token,))), since)
            assert alone.headline == group.headline


def test_what_fell_back_is_its_own_group_and_not_the_fallbacks_text(town: Town) -> None:
    opened(town, "a", 1, ("text", "there"))
    opened(town, "b", 1, ("fallback", "there"))
    opened(town, "c", 1, (None, None))
    assert [(group.token, group.headline.cases) for group in divided(town, reports.Asked(by="v")).groups] == [
        ("is:there", 1), ("fell", 1), ("none", 1),
    ]  # fmt: skip


def test_beyond_the_largest_groups_the_others_are_one_with_their_number_of_values(town: Town) -> None:
    for number in range(15):
        for visit in range(1 if number > 2 else 2):
            opened(town, f"{number}_{visit}", 1, ("text", f"plan {number:02}"))
    found = divided(town, reports.Asked(by="v"))
    assert [group.token for group in found.groups] == [*(f"is:plan {number:02}" for number in range(12)), "other"]
    assert (found.groups[-1].headline.cases, found.others, found.headline.cases) == (3, 3, 18)


def test_reason_and_offer_divide_sessions_too(town: Town) -> None:
    made = [opened(town, customer, 1, (None, None)) for customer in "abc"]
    for id, step, value in ((made[0], "survey", {"reason": "unused"}), (made[1], "offer:off_1", {"declined": True})):
        town.run(
            "insert into answers (session_id, workspace_id, step, value, answered_at)"
            " select id, workspace_id, :step, cast(:value as jsonb), minted_at from sessions where id = :id",
            id=id, step=step, value=json.dumps(value),
        )  # fmt: skip
    town.choose(2, "accept", "applied")
    by = {name: {group.token: group.headline.cases for group in divided(town, reports.Asked(by=name)).groups}
          for name in ("flow.reason", "flow.offer")}  # fmt: skip
    assert by == {"flow.reason": {"is:unused": 1, "none": 2}, "flow.offer": {"is:accepted": 1, "is:declined": 1, "none": 1}}


def test_what_takes_too_long_is_given_up_and_said(town: Town) -> None:
    opened(town, "a", 1, ("text", "Pro"))
    with pytest.raises(reports.TooMuch):
        divided(town, reports.Asked(by="v"), seconds=0.001)


@pytest.mark.parametrize(
    ("type", "group", "said"),
    [
        ("integer", "in::2:5", "2 to 4"),
        ("integer", "in::1:2", "1"),
        ("decimal", "in::2:5", "2 to below 5"),
        ("money", "in:usd:25:50", "$25.00 to below $50.00"),
        ("money", "in:jpy:1000000:", "¥1,000,000 or more"),
        ("money", "in:usd::0", "Below $0.00"),
        ("date", "on:2026-03", "March 2026"),
        ("boolean", "is:true", "Yes"),
        ("text", "is:", "Empty"),
        ("text", "in:what:ever", "Below 0"),
        ("text", "on:never", "never"),
    ],
)
def test_a_group_is_called_in_words(type: str, group: str, said: str) -> None:
    assert reports.label("v", group, type) == said
