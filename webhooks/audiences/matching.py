"""Whether a rule is true of one customer: pure, total, two-valued.

What the conditions see is the variable as the flow's copy would show it, its fallback included. A variable without any value meets no
condition, `is not` neither: of what is not known nothing can be said. Only `is not known` is met by it, and with it whatever a `none`
group turns around, since `none` is exactly *not any*. `is known` asks for a value from the variable's own source: a fallback is not one.
"""

import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Protocol, assert_never

from connect_app.money import Money
from webhooks.audiences.rules import Condition, Group, Match, Operand, Rule, Verb

_DAY = timedelta(days=1)


class Known(Protocol):
    """What `matches` wants to know of a variable: webhooks.mapping.Resolved is one."""

    @property
    def type(self) -> str: ...
    @property
    def value(self) -> object: ...
    @property
    def reason(self) -> str | None: ...


def matches(rule: Rule, resolved: Mapping[str, Known], now: datetime) -> bool:
    """Whether the rule is true of a customer with these variables, at `now`; never raises, whatever they hold.

    Texts compare without regard to case and to space around them. Money of another currency is never more or less, and it `is not`. A
    variable whose data type has changed since the rule was written counts as not having a value.
    """
    if isinstance(rule, Condition):
        return _is_met(rule, resolved.get(rule.field), now)
    match rule.match:
        case Match.ALL:
            return all(matches(inner, resolved, now) for inner in rule.rules)
        case Match.ANY:
            return any(matches(inner, resolved, now) for inner in rule.rules)
        case Match.NONE:
            return not any(matches(inner, resolved, now) for inner in rule.rules)
        case _:
            assert_never(rule.match)


def is_of_present_types(rule: Rule, types: Mapping[str, str]) -> bool:
    """Whether every variable that the rule asks about is still there, with the type it was written for."""
    if isinstance(rule, Group):
        return all(is_of_present_types(inner, types) for inner in rule.rules)
    return types.get(rule.field) == rule.type


def _is_met(condition: Condition, known: Known | None, now: datetime) -> bool:
    value = None if known is None or known.type != condition.type else known.value
    if condition.verb is Verb.IS_KNOWN or condition.verb is Verb.IS_NOT_KNOWN:
        is_known = value is not None and known is not None and known.reason is None
        return is_known is (condition.verb is Verb.IS_KNOWN)
    wanted = condition.value
    match value:
        case bool():
            return value is (condition.verb is Verb.IS_TRUE) if condition.type == "boolean" else False
        case str():
            return _text(condition.verb, value, wanted)
        case Money():
            return _money(condition.verb, value, wanted)
        case int() | Decimal():
            return _compare(condition.verb, value, wanted) if isinstance(wanted, int | Decimal) else False
        case datetime():
            return _date(condition.verb, value, wanted, now)
        case _:
            return False


def _text(verb: Verb, value: str, wanted: Operand) -> bool:
    said = _plain(value)
    if isinstance(wanted, tuple):
        return verb is Verb.IS_ONE_OF and said in map(_plain, wanted)
    if not isinstance(wanted, str):
        return False
    asked = _plain(wanted)
    match verb:
        case Verb.IS:
            return said == asked
        case Verb.IS_NOT:
            return said != asked
        case Verb.CONTAINS:
            return asked in said
        case Verb.STARTS_WITH:
            return said.startswith(asked)
        case _:
            return False


def _money(verb: Verb, value: Money, wanted: Operand) -> bool:
    if not isinstance(wanted, Money):
        return False
    if value.currency != wanted.currency:
        return verb is Verb.IS_NOT
    return _compare(verb, value.amount, wanted.amount)


def _compare(verb: Verb, value: int | Decimal, wanted: int | Decimal) -> bool:
    match verb:
        case Verb.IS:
            return value == wanted
        case Verb.IS_NOT:
            return value != wanted
        case Verb.IS_LESS_THAN:
            return value < wanted
        case Verb.IS_AT_MOST:
            return value <= wanted
        case Verb.IS_MORE_THAN:
            return value > wanted
        case Verb.IS_AT_LEAST:
            return value >= wanted
        case _:
            return False


def _date(verb: Verb, value: datetime, wanted: Operand, now: datetime) -> bool:
    """Days begin at midnight UTC; *after* a day is from the next one on. The last and next n days are n times 24 hours from `now`."""
    if value.tzinfo is None:
        return False
    if isinstance(wanted, date):
        # Differences, because the calendar's first and last day have none before and after them.
        since = value - datetime.combine(wanted, time(), UTC)
        return since < timedelta() if verb is Verb.IS_BEFORE else verb is Verb.IS_AFTER and since >= _DAY
    if isinstance(wanted, int):
        if verb is Verb.IN_LAST:
            return timedelta() <= now - value <= wanted * _DAY
        return verb is Verb.IN_NEXT and timedelta() <= value - now <= wanted * _DAY
    return False


@lru_cache(maxsize=4096)
def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold()).strip()
