"""What a rule of an audience may be: groups (all / any / none) of typed conditions over variables, and how it is written as JSON.

{"match": "all", "rules": [
    {"field": "plan_name", "type": "text", "verb": "is_one_of", "value": ["Pro", "Team"]},
    {"match": "none", "rules": [{"field": "mrr", "type": "money", "verb": "is_less_than", "value": {"amount": 5000, "currency": "usd"}}]}
]}
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from connect_app.money import Money

# What a person can still read, and what is quick to decide for a million customers.
DEEPEST = 4
MOST = 60
MOST_LISTED = 50
LONGEST = 500
LONGEST_DAYS = 3650
_LARGEST = 10**18
# What no text of the database can hold: NUL, and half a surrogate pair.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Match(StrEnum):
    """How a group reads its rules; `none` is exactly *not any*."""

    ALL = "all"
    ANY = "any"
    NONE = "none"


class Verb(StrEnum):
    """What a condition asks of a value."""

    IS = "is"
    IS_NOT = "is_not"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    IS_ONE_OF = "is_one_of"
    IS_LESS_THAN = "is_less_than"
    IS_AT_MOST = "is_at_most"
    IS_MORE_THAN = "is_more_than"
    IS_AT_LEAST = "is_at_least"
    IS_BEFORE = "is_before"
    IS_AFTER = "is_after"
    IN_LAST = "in_last"
    IN_NEXT = "in_next"
    IS_TRUE = "is_true"
    IS_FALSE = "is_false"
    IS_KNOWN = "is_known"
    IS_NOT_KNOWN = "is_not_known"


_KNOWN = (Verb.IS_KNOWN, Verb.IS_NOT_KNOWN)
_TEXT = (Verb.IS, Verb.IS_NOT, Verb.CONTAINS, Verb.STARTS_WITH, Verb.IS_ONE_OF, *_KNOWN)
_NUMBER = (Verb.IS, Verb.IS_NOT, Verb.IS_LESS_THAN, Verb.IS_AT_MOST, Verb.IS_MORE_THAN, Verb.IS_AT_LEAST, *_KNOWN)
# What may be asked of a variable of each data type, in the order in which it is offered.
VERBS = {
    "text": _TEXT,
    "email": _TEXT,
    "url": _TEXT,
    "integer": _NUMBER,
    "decimal": _NUMBER,
    "money": _NUMBER,
    "date": (Verb.IS_BEFORE, Verb.IS_AFTER, Verb.IN_LAST, Verb.IN_NEXT, *_KNOWN),
    "boolean": (Verb.IS_TRUE, Verb.IS_FALSE, *_KNOWN),
}
# These ask for nothing to compare with.
BARE = frozenset((Verb.IS_TRUE, Verb.IS_FALSE, *_KNOWN))

Operand = str | tuple[str, ...] | int | Decimal | date | Money | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One question about one variable. `type` is the variable's data type when the rule was written.

    `value` by type and verb: text, several texts (`is_one_of`), a whole number, a decimal, Money, a day, a number of days (`in_last`,
    `in_next`), or None where nothing is compared.
    """

    field: str
    type: str
    verb: Verb
    value: Operand


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """At least one rule, read as all, any or none of them."""

    match: Match
    rules: "tuple[Rule, ...]"


Rule = Condition | Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """What is wrong at `path` of a document, such as `rules.0.value`; "" is the whole."""

    path: str
    message: str


class RuleRefused(ValueError):
    """A document that is no rule; `flaws` says everything that is wrong with it, in reading order."""

    def __init__(self, flaws: tuple[Flaw, ...]) -> None:
        super().__init__("; ".join(f"{flaw.path or 'rule'}: {flaw.message}" for flaw in flaws))
        self.flaws = flaws


def parse(document: object) -> Rule:
    """The rule that a JSON document writes. Raises RuleRefused for whatever is not exactly one."""
    reader = _Reader()
    rule = reader.rule(document, "", 1)
    if rule is None or reader.flaws:
        raise RuleRefused(tuple(reader.flaws))
    return rule


def as_json(rule: Rule) -> dict[str, Any]:
    """The document that `parse` reads as this rule."""
    if isinstance(rule, Group):
        return {"match": str(rule.match), "rules": [as_json(inner) for inner in rule.rules]}
    written: dict[str, Any] = {"field": rule.field, "type": rule.type, "verb": str(rule.verb)}
    match rule.value:
        case None:
            return written
        case Decimal():
            return {**written, "value": format(rule.value, "f")}
        case Money():
            return {**written, "value": {"amount": rule.value.amount, "currency": rule.value.currency}}
        case date():
            return {**written, "value": rule.value.isoformat()}
        case tuple():
            return {**written, "value": list(rule.value)}
        case _:
            return {**written, "value": rule.value}


def conditions(rule: Rule) -> Iterator[Condition]:
    """Every condition of a rule, in reading order."""
    if isinstance(rule, Condition):
        yield rule
    else:
        for inner in rule.rules:
            yield from conditions(inner)


class _Wrong(ValueError):
    """What is at this path of the document is not what it must be."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.flaw = Flaw(path=path, message=message)


class _Reader:
    """Reads one document and notes every flaw on the way; never goes deeper or longer than a rule may be."""

    def __init__(self) -> None:
        self.flaws: list[Flaw] = []
        self._read = 0

    def rule(self, document: object, path: str, depth: int) -> Rule | None:
        """None where the document is flawed; what is wrong with it has been noted."""
        self._read += 1
        try:
            if self._read == MOST + 1:
                raise _Wrong(path, f"a rule has at most {MOST} conditions and groups")
            if self._read > MOST:
                return None
            if not isinstance(document, dict):
                raise _Wrong(path, "write a condition or a group")
            if "match" in document or "rules" in document:
                return self._group(document, path, depth)
            return self._condition(document, path)
        except _Wrong as wrong:
            self.flaws.append(wrong.flaw)
            return None

    def _group(self, document: dict[object, object], path: str, depth: int) -> Group:
        self._only(document, path, {"match", "rules"})
        match, rules = document.get("match"), document.get("rules")
        if depth > DEEPEST:
            raise _Wrong(path, f"groups are at most {DEEPEST} deep")
        if match not in tuple(Match):
            raise _Wrong(_at(path, "match"), "choose all, any or none")
        if not isinstance(rules, list) or not rules:
            raise _Wrong(_at(path, "rules"), "a group needs at least one condition")
        found = [self.rule(inner, _at(path, f"rules.{place}"), depth + 1) for place, inner in enumerate(rules[: MOST + 1])]
        return Group(match=Match(str(match)), rules=tuple(rule for rule in found if rule is not None))

    def _condition(self, document: dict[object, object], path: str) -> Condition:
        self._only(document, path, {"field", "type", "verb", "value"})
        field, type, verb = document.get("field"), document.get("type"), document.get("verb")
        if not isinstance(field, str) or not field or len(field) > LONGEST or _UNSTORABLE.search(field):
            raise _Wrong(_at(path, "field"), "choose a variable")
        if not isinstance(type, str) or type not in VERBS:
            raise _Wrong(_at(path, "type"), f"one of {', '.join(VERBS)}")
        if verb not in VERBS[type]:
            raise _Wrong(_at(path, "verb"), f"for a variable of type {type}: one of {', '.join(VERBS[type])}")
        asked, value, place = Verb(str(verb)), document.get("value"), _at(path, "value")
        if asked in BARE and value is not None:
            raise _Wrong(place, "there is nothing to compare with")
        return Condition(field=field, type=type, verb=asked, value=None if asked in BARE else _operand(type, asked, value, place))

    def _only(self, document: dict[object, object], path: str, known: set[str]) -> None:
        if strange := sorted(str(key)[:40] for key in document if key not in known):
            self.flaws.append(Flaw(path=path, message=f"unknown: {', '.join(strange[:5])}"))


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _operand(type: str, verb: Verb, value: object, path: str) -> Operand:
    if verb in (Verb.IN_LAST, Verb.IN_NEXT):
        return _days(value, path)
    if verb is Verb.IS_ONE_OF:
        return _texts(value, path)
    match type:
        case "integer":
            return _whole(value, path)
        case "decimal":
            return _decimal(value, path)
        case "money":
            return _money(value, path)
        case "date":
            return _day(value, path)
        case _:
            return _text(value, path)


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST or _UNSTORABLE.search(value):
        raise _Wrong(path, f"write a text of at most {LONGEST} characters")
    return value


def _texts(value: object, path: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_LISTED:
        raise _Wrong(path, f"write one to {MOST_LISTED} texts")
    return tuple(_text(entry, path) for entry in value)


def _whole(value: object, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _LARGEST:
        raise _Wrong(path, "write a whole number, such as 12")
    return value


def _decimal(value: object, path: str) -> Decimal:
    """From a string, or a whole number; not from a float, which is rarely the number that was meant."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", value):
        return Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return Decimal(value)
    raise _Wrong(path, "write a number, such as 12.5")


def _money(value: object, path: str) -> Money:
    if isinstance(value, dict) and set(value) == {"amount", "currency"} and isinstance(value["currency"], str):
        try:
            return Money(_whole(value["amount"], path), value["currency"])
        except ValueError:
            pass
    raise _Wrong(path, "write an amount, such as 12.50, and a currency in three letters, such as usd")


def _day(value: object, path: str) -> date:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise _Wrong(path, "write a day, such as 2026-03-01")


def _days(value: object, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LONGEST_DAYS:
        raise _Wrong(path, f"write a number of days from 1 to {LONGEST_DAYS}")
    return value
