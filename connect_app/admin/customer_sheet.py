"""The customers of a connection as CSV: a line for each running subscription, with every mapped field."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from connect_app.admin import customers, sheets
from connect_app.money import Money
from connect_app.runtime import Runtime
from webhooks import audiences, mapping

# Fetched at once, each time in a transaction of its own: the file may take minutes, and memory holds only these.
_AT_ONCE = 200
_OURS = ("customer", "subscription", "name", "email", "status")


def pieces(
    rt: Runtime, workspace_id: str, connection_id: str | None, *, search: str = "", rule: audiences.Rule | None = None
) -> Iterator[str]:
    """The file in pieces: of the customers that `search` finds and `rule` means, as the list shows them, all pages of it.

    A line for each running subscription; who has none gets one for the latest that ended, or without any. Money takes two columns, amount
    and `…_currency`. Fields that only a hand-off brings are empty, or their fallback.
    """
    now = rt.now()
    with rt.transaction(workspace_id) as session:
        variables = mapping.of_workspace(session, workspace_id)
    ours = [one for one in variables if one.name not in ("customer_id", "subscription_id")]
    yield sheets.lines([[*_OURS, *_columns(ours)]])
    after: str | None = ""
    while connection_id is not None and after is not None:
        with rt.transaction(workspace_id) as session:
            people, after = customers.batch(session, connection_id, search, after, _AT_ONCE)
        meant = [person for person in people if rule is None or customers.is_meant(rule, variables, person, now)]
        yield sheets.lines(line for person in meant for line in _lines(person, ours, now))


def _columns(variables: Sequence[mapping.Mapping]) -> Iterator[str]:
    for one in variables:
        yield one.name
        if one.type == "money":
            yield f"{one.name}_currency"


def _lines(person: customers.Person, variables: Sequence[mapping.Mapping], now: datetime) -> Iterator[list[sheets.Cell]]:
    for subject in person.running or person.subjects[:1]:
        theirs = subject.subscription
        state = "deleted" if person.is_deleted else customers.state_of(theirs) if theirs else None
        line: list[sheets.Cell] = [person.id, theirs.id if theirs else None, person.name, person.email, state]
        for resolved in mapping.resolve(variables, subject, now).values():
            line += _cells(resolved)
        yield line


def _cells(resolved: mapping.Resolved) -> list[sheets.Cell]:
    value = resolved.value if resolved.value is not None else resolved.fallback
    if isinstance(value, Money):
        return [value.decimal, value.currency.upper()]
    return [value, None] if resolved.type == "money" else [value]
