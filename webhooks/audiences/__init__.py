"""Audiences: rules over variables, whether one customer is meant, and how many are."""

from webhooks.audiences.counting import Count, count
from webhooks.audiences.matching import is_of_present_types, matches
from webhooks.audiences.rules import (
    BARE,
    DEEPEST,
    MOST,
    VERBS,
    Condition,
    Flaw,
    Group,
    Match,
    Rule,
    RuleRefused,
    Verb,
    as_json,
    conditions,
    parse,
)

__all__ = [
    "BARE",
    "DEEPEST",
    "MOST",
    "VERBS",
    "Condition",
    "Count",
    "Flaw",
    "Group",
    "Match",
    "Rule",
    "RuleRefused",
    "Verb",
    "as_json",
    "conditions",
    "count",
    "is_of_present_types",
    "matches",
    "parse",
]
