"""Rules of audiences: what a document may be, and of whom a rule is true."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_app.money import Money
from webhooks import audiences
from webhooks.audiences import Condition, Group, Match, Verb

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Known:
    """A variable as `matches` sees it."""

    type: str
    value: object
    reason: str | None = None


def asks(type: str, verb: str, value: Any = None, field: str = "x") -> dict[str, Any]:
    return {"field": field, "type": type, "verb": verb, **({} if value is None else {"value": value})}


def is_true(document: dict[str, Any], **variables: Known) -> bool:
    return audiences.matches(audiences.parse(document), variables, NOW)


def flaws(document: object) -> list[tuple[str, str]]:
    with pytest.raises(audiences.RuleRefused) as refused:
        audiences.parse(document)
    return [(flaw.path, flaw.message) for flaw in refused.value.flaws]


# Of whom a rule is true


@pytest.mark.parametrize(
    ("verb", "wanted", "expected"),
    [
        ("is", "premium plan", True),
        ("is", "Premium", False),
        ("is_not", "Premium", True),
        ("is_not", "PREMIUM PLAN ", False),
        ("contains", "ium p", True),
        ("contains", "gold", False),
        ("starts_with", "PREM", True),
        ("starts_with", "plan", False),
        ("is_one_of", ["Basic", "premium PLAN"], True),
        ("is_one_of", ["Basic", "Premium"], False),
        ("is_known", None, True),
        ("is_not_known", None, False),
    ],
)
@pytest.mark.parametrize("type", ["text", "email", "url"])
def test_texts_compare_without_case_and_outer_space(type: str, verb: str, wanted: Any, expected: bool) -> None:
    assert is_true(asks(type, verb, wanted), x=Known(type, " Premium Plan")) is expected


def test_texts_of_two_unicode_spellings_are_the_same() -> None:
    assert is_true(asks("text", "is", "Zoe\u0308"), x=Known("text", "zoë"))


@pytest.mark.parametrize(
    ("verb", "less", "same", "more"),
    [
        ("is", False, True, False),
        ("is_not", True, False, True),
        ("is_less_than", True, False, False),
        ("is_at_most", True, True, False),
        ("is_more_than", False, False, True),
        ("is_at_least", False, True, True),
    ],
)
def test_numbers_and_money_compare(verb: str, less: bool, same: bool, more: bool) -> None:
    for value, expected in ((9, less), (10, same), (11, more)):
        assert is_true(asks("integer", verb, 10), x=Known("integer", value)) is expected
        assert is_true(asks("decimal", verb, "10.0"), x=Known("decimal", Decimal(value))) is expected
        wanted = {"amount": 10, "currency": "eur"}
        assert is_true(asks("money", verb, wanted), x=Known("money", Money(value, "eur"))) is expected


@pytest.mark.parametrize("verb", ["is", "is_less_than", "is_at_most", "is_more_than", "is_at_least"])
def test_money_of_another_currency_is_neither_more_nor_less(verb: str) -> None:
    assert not is_true(asks("money", verb, {"amount": 1000, "currency": "usd"}), x=Known("money", Money(1000, "eur")))


def test_money_of_another_currency_is_not_the_same() -> None:
    assert is_true(asks("money", "is_not", {"amount": 1000, "currency": "usd"}), x=Known("money", Money(1000, "eur")))


@pytest.mark.parametrize(
    ("verb", "wanted", "value", "expected"),
    [
        ("is_before", "2026-03-10", datetime(2026, 3, 9, 23, 59, 59, tzinfo=UTC), True),
        ("is_before", "2026-03-10", datetime(2026, 3, 10, tzinfo=UTC), False),
        ("is_after", "2026-03-10", datetime(2026, 3, 10, 23, 59, 59, tzinfo=UTC), False),
        ("is_after", "2026-03-10", datetime(2026, 3, 11, tzinfo=UTC), True),
        ("in_last", 7, NOW - timedelta(days=7), True),
        ("in_last", 7, NOW - timedelta(days=7, seconds=1), False),
        ("in_last", 7, NOW, True),
        ("in_last", 7, NOW + timedelta(seconds=1), False),
        ("in_next", 7, NOW + timedelta(days=7), True),
        ("in_next", 7, NOW + timedelta(days=7, seconds=1), False),
        ("in_next", 7, NOW - timedelta(seconds=1), False),
        ("is_before", "0001-01-01", NOW, False),
        ("is_after", "9999-12-31", datetime.max.replace(tzinfo=UTC), False),
    ],
)
def test_dates_compare_by_days_in_utc_and_by_days_from_now(verb: str, wanted: Any, value: datetime, expected: bool) -> None:
    assert is_true(asks("date", verb, wanted), x=Known("date", value)) is expected


def test_booleans_are_true_or_false_and_numbers_are_neither() -> None:
    assert is_true(asks("boolean", "is_true"), x=Known("boolean", True))
    assert not is_true(asks("boolean", "is_false"), x=Known("boolean", True))
    assert is_true(asks("boolean", "is_false"), x=Known("boolean", False))
    assert not is_true(asks("boolean", "is_true"), x=Known("boolean", 1))
    assert not is_true(asks("integer", "is", 1), x=Known("integer", True))


EVERY_QUESTION = [
    asks("text", "is", "a"),
    asks("text", "is_not", "a"),
    asks("text", "is_one_of", ["a"]),
    asks("integer", "is_not", 1),
    asks("money", "is_not", {"amount": 1, "currency": "usd"}),
    asks("date", "is_before", "2026-01-01"),
    asks("boolean", "is_false"),
    asks("text", "is_known"),
]


@pytest.mark.parametrize("question", EVERY_QUESTION)
def test_what_is_missing_meets_no_condition_and_none_turns_that_around(question: dict[str, Any]) -> None:
    for variables in ({}, {"x": Known(question["type"], None, "Stripe does not say")}):
        assert not is_true(question, **variables)
        assert not is_true({"match": "any", "rules": [question]}, **variables)
        assert not is_true({"match": "all", "rules": [question]}, **variables)
        assert is_true({"match": "none", "rules": [question]}, **variables)
        assert is_true(asks(question["type"], "is_not_known"), **variables)


def test_a_fallback_is_compared_and_is_not_known() -> None:
    fallen_back = Known("text", "there", "Stripe does not say")
    assert is_true(asks("text", "is", "there"), x=fallen_back)
    assert not is_true(asks("text", "is_known"), x=fallen_back)
    assert is_true(asks("text", "is_not_known"), x=fallen_back)


def test_a_variable_of_another_type_than_the_rule_was_written_for_counts_as_missing() -> None:
    assert not is_true(asks("text", "is_not", "a"), x=Known("integer", 5))
    assert not is_true(asks("text", "is_known"), x=Known("integer", 5))
    rule = audiences.parse({"match": "all", "rules": [asks("text", "is", "a"), asks("integer", "is", 1, field="y")]})
    assert audiences.is_of_present_types(rule, {"x": "text", "y": "integer"})
    assert not audiences.is_of_present_types(rule, {"x": "text", "y": "decimal"})
    assert not audiences.is_of_present_types(rule, {"x": "text"})


def test_groups_nest() -> None:
    rule = {
        "match": "all",
        "rules": [
            {"match": "any", "rules": [asks("text", "is", "pro", "plan"), asks("text", "is", "team", "plan")]},
            {"match": "none", "rules": [asks("integer", "is_less_than", 30, "tenure")]},
        ],
    }
    assert is_true(rule, plan=Known("text", "Team"), tenure=Known("integer", 31))
    assert not is_true(rule, plan=Known("text", "Team"), tenure=Known("integer", 3))
    assert not is_true(rule, plan=Known("text", "Basic"), tenure=Known("integer", 31))


# What a document may be


def test_every_flaw_is_told_with_its_path() -> None:
    document = {
        "match": "all",
        "rules": [
            asks("text", "is", " "),
            {"match": "some", "rules": [asks("text", "is", "a")]},
            {"match": "any", "rules": [asks("colour", "is", "a"), asks("text", "is_before", "a"), asks("integer", "is", 1.5)]},
            {"match": "any", "rules": []},
            {**asks("text", "is", "a"), "note": 1},
            "x",
        ],
    }
    assert [path for path, _ in flaws(document)] == [
        "rules.0.value",
        "rules.1.match",
        "rules.2.rules.0.type",
        "rules.2.rules.1.verb",
        "rules.2.rules.2.value",
        "rules.3.rules",
        "rules.4",
        "rules.5",
    ]


@pytest.mark.parametrize(
    ("type", "verb", "value"),
    [
        ("text", "is", 5),
        ("text", "is", "a\0"),
        ("text", "is", "\ud800"),
        ("text", "is", "a" * 501),
        ("text", "is_one_of", "a"),
        ("text", "is_one_of", []),
        ("text", "is_one_of", ["a"] * 51),
        ("integer", "is", True),
        ("integer", "is", "1"),
        ("integer", "is", 10**18),
        ("decimal", "is", 1.5),
        ("decimal", "is", "NaN"),
        ("decimal", "is", "1e9"),
        ("decimal", "is", "１"),
        ("money", "is", 5),
        ("money", "is", {"amount": 1.5, "currency": "usd"}),
        ("money", "is", {"amount": 5, "currency": "USD"}),
        ("money", "is", {"amount": 5}),
        ("date", "is_before", "2026-02-30"),
        ("date", "is_before", "20260201"),
        ("date", "in_last", 0),
        ("date", "in_last", 3651),
        ("date", "in_last", "7"),
        ("boolean", "is_true", True),
        ("text", "is_known", "a"),
        ("text", "is", None),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(type: str, verb: str, value: Any) -> None:
    assert [path for path, _ in flaws({"field": "x", "type": type, "verb": verb, "value": value})] == ["value"]


def test_a_rule_has_bounds() -> None:
    leaf = asks("text", "is", "a")
    deep: dict[str, Any] = leaf
    for _ in range(audiences.DEEPEST):
        deep = {"match": "any", "rules": [deep]}
    audiences.parse(deep)
    assert flaws({"match": "any", "rules": [deep]}) == [("rules.0" + ".rules.0" * (audiences.DEEPEST - 1), "groups are at most 4 deep")]
    audiences.parse({"match": "any", "rules": [leaf] * (audiences.MOST - 1)})
    assert flaws({"match": "any", "rules": [leaf] * audiences.MOST}) == [("rules.59", "a rule has at most 60 conditions and groups")]
    assert len(flaws({"match": "any", "rules": [leaf] * 100_000})) == 1
    bottomless: dict[str, Any] = leaf
    for _ in range(100_000):
        bottomless = {"match": "any", "rules": [bottomless]}
    assert len(flaws(bottomless)) == 1


# Laws

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=12).filter(str.strip)
amounts = st.integers(-(10**17), 10**17)
monies = st.builds(Money, amounts, st.sampled_from(["usd", "eur", "jpy"]))
decimals = st.decimals(-(10**9), 10**9, places=3, allow_nan=False, allow_infinity=False)
instants = st.datetimes(timezones=st.just(UTC))
operands: dict[str, st.SearchStrategy[Any]] = {
    "text": texts,
    "email": texts,
    "url": texts,
    "integer": amounts,
    "decimal": decimals,
    "money": monies,
    "date": st.dates(),
}
values: dict[str, st.SearchStrategy[Any]] = {**operands, "date": instants, "boolean": st.booleans()}


@st.composite
def some_conditions(draw: st.DrawFn) -> Condition:
    type = draw(st.sampled_from(sorted(audiences.VERBS)))
    verb = draw(st.sampled_from(audiences.VERBS[type]))
    value: Any = None
    if verb is Verb.IS_ONE_OF:
        value = tuple(draw(st.lists(texts, min_size=1, max_size=4)))
    elif verb in (Verb.IN_LAST, Verb.IN_NEXT):
        value = draw(st.integers(1, 3650))
    elif verb not in audiences.BARE:
        value = draw(operands[type])
    return Condition(field=draw(st.sampled_from("abc")), type=type, verb=verb, value=value)


def some_groups(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Group]:
    return st.builds(Group, match=st.sampled_from(Match), rules=st.lists(inner, min_size=1, max_size=3).map(tuple))


shallow = some_conditions() | some_groups(some_conditions())
rules = shallow | some_groups(shallow)


@st.composite
def somebody(draw: st.DrawFn) -> dict[str, Known]:
    people = {}
    for field in draw(st.sets(st.sampled_from("abc"))):
        type = draw(st.sampled_from(sorted(values)))
        people[field] = Known(type, draw(st.none() | values[type]), draw(st.none() | st.just("why")))
    return people


@given(rules)
def test_a_rule_that_is_written_down_reads_the_same(rule: audiences.Rule) -> None:
    assert audiences.parse(json.loads(json.dumps(audiences.as_json(rule)))) == rule


@given(st.lists(rules, min_size=1, max_size=3).map(tuple), somebody())
def test_none_is_not_any_and_all_is_none_of_the_contraries(inner: tuple[audiences.Rule, ...], who: dict[str, Known]) -> None:
    def decide(match: Match, rules: tuple[audiences.Rule, ...]) -> bool:
        return audiences.matches(Group(match=match, rules=rules), who, NOW)

    contraries = tuple(Group(match=Match.NONE, rules=(rule,)) for rule in inner)
    assert decide(Match.NONE, inner) is not decide(Match.ANY, inner)
    assert decide(Match.NONE, inner) is decide(Match.ALL, contraries)
    assert decide(Match.ALL, inner) is decide(Match.NONE, contraries)


@given(rules, st.dictionaries(st.sampled_from("abc"), st.builds(Known, st.sampled_from(sorted(values)), st.one_of(*values.values()))))
def test_matching_never_raises_whatever_the_variables_hold(rule: audiences.Rule, who: dict[str, Known]) -> None:
    assert audiences.matches(rule, who, NOW) in (True, False)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["all", "text", "is", "money", "in_last"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["match", "rules", "field", "type", "verb", "value", "amount", "currency", "odd"]), inner)
    ),
    max_leaves=25,
)


@given(anything)
def test_any_document_is_a_rule_or_is_refused_with_reasons(document: object) -> None:
    try:
        rule = audiences.parse(document)
    except audiences.RuleRefused:
        assert flaws(document)
    else:
        assert audiences.parse(audiences.as_json(rule)) == rule


def test_the_days_of_a_rule_are_days_and_not_times() -> None:
    rule = audiences.parse(asks("date", "is_after", "2026-03-01"))
    assert isinstance(rule, Condition)
    assert rule.value == date(2026, 3, 1)
