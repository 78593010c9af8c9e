"""How many customers an audience means: all of them looked at where that is quick, else an estimate from a fair share of them.

Whoever has a subscription that has not ended is looked at with each such subscription, and meant when the rule is true with one of them.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from webhooks import catalogue, mapping, shares
from webhooks.audiences import matching, rules

BUDGET_SECONDS = 1.0
SAMPLE = 10
# Up to here everybody is fetched; beyond, a share is drawn.
_ALL_OF = 20_000
_DRAWN = 6_000
_BATCH = 200

Pair = tuple[str, str]

_EVERYBODY = text(
    """
select customer, id as subscription from subscriptions
where connection_id = :connection and not is_deleted and status not in ('canceled', 'incomplete_expired') limit :most
"""
)
_SHARE = text(
    """
select drawn.id as customer, s.id as subscription
from (
  select id from customers tablesample system (:percent) repeatable (1) where connection_id = :connection and not is_deleted
) drawn
left join subscriptions s on s.connection_id = :connection and s.customer = drawn.id and not s.is_deleted
  and s.status not in ('canceled', 'incomplete_expired')
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Of `total` customers `looked_at` were looked at, and `matching` of those are meant; the first of them are the `sample`.

    Drawn at random where not all were looked at. `total` leaves out who has no running subscription, but of a large account: there it is
    all of its customers, itself estimated (`is_large`).
    """

    matching: int
    looked_at: int
    total: int
    sample: tuple[Pair, ...]
    is_large: bool

    @property
    def is_exact(self) -> bool:
        return not self.is_large and self.looked_at == self.total

    @property
    def estimate(self) -> int:
        """How many of `total` are meant, if the others are like those that were looked at."""
        return round(self.matching * self.total / self.looked_at) if self.looked_at else 0


@dataclass(slots=True)
class _Tally:
    matching: int = 0
    sample: list[Pair] = field(default_factory=list)


def count(
    session: Session,
    workspace_id: str,
    connection_id: str,
    asked: Mapping[str, rules.Rule],
    now: datetime,
    *,
    seconds: float = BUDGET_SECONDS,
    all_of: int = _ALL_OF,
    drawn: int = _DRAWN,
) -> dict[str, Count]:
    """How many customers of a connection each of these rules means, by its key, all from one walk that ends after `seconds`.

    An account of more than `all_of` running subscriptions is large: of its customers about `drawn` are drawn to be looked at.
    One query finds whom to look at (three to five on a large account), one the variables, and one each batch of customers.
    """
    until = time.monotonic() + seconds
    everybody, total, is_large = _people(session, connection_id, all_of, drawn)
    tallies = {key: _Tally() for key in asked}
    looked_at = 0
    variables = _variables(session, workspace_id, asked.values())
    for batch in _batches(everybody):
        found = _meant(session, connection_id, variables, asked, [(who, id) for who, ids in batch for id in ids], now)
        looked_at += len(batch)
        for key, tally in tallies.items():
            met = found[key]
            tally.matching += len(met)
            tally.sample += list(met.items())[: SAMPLE - len(tally.sample)]
        if time.monotonic() >= until:
            break
    return {
        key: Count(matching=tally.matching, looked_at=looked_at, total=total, sample=tuple(tally.sample), is_large=is_large)
        for key, tally in tallies.items()
    }


def _people(session: Session, connection_id: str, all_of: int, drawn: int) -> tuple[list[tuple[str, list[str]]], int, bool]:
    """Whom to look at, each with the ids of their running subscriptions, in an order that has nothing to do with who they are.

    And of how many they are, and whether they are only a share of a large account.
    """
    rows, percent = shares.draw(session, connection_id, every=_EVERYBODY, share=_SHARE, of="customers", all_of=all_of, drawn=drawn)
    people: dict[str, list[str]] = {}
    for row in rows:
        ids = people.setdefault(row.customer, [])
        if row.subscription is not None:
            ids.append(row.subscription)
    mixed = sorted(people.items(), key=lambda person: shares.lot(person[0]))
    return mixed, round(len(mixed) * 100 / (percent or 100)), percent is not None


def _batches(people: list[tuple[str, list[str]]]) -> Iterator[list[tuple[str, list[str]]]]:
    """In turns of at most _BATCH people, and about as many subscriptions."""
    batch: list[tuple[str, list[str]]] = []
    size = 0
    for person in people:
        batch.append(person)
        size += max(1, len(person[1]))
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _variables(session: Session, workspace_id: str, asked: Iterable[rules.Rule]) -> list[mapping.Mapping]:
    """The mappings that these rules ask about; what else there is need not be resolved."""
    wanted = {condition.field for rule in asked for condition in rules.conditions(rule)}
    return [one for one in mapping.of_workspace(session, workspace_id) if one.name in wanted]


def _meant(
    session: Session,
    connection_id: str,
    variables: list[mapping.Mapping],
    asked: Mapping[str, rules.Rule],
    pairs: list[Pair],
    now: datetime,
) -> dict[str, dict[str, str]]:
    """By rule, whom of these it means: customer -> the first subscription it is true with."""
    found: dict[str, dict[str, str]] = {key: {} for key in asked}
    for subject in catalogue.load(session, connection_id, pairs):
        resolved = mapping.resolve(variables, subject, now)
        for key, rule in asked.items():
            if subject.customer_id not in found[key] and matching.matches(rule, resolved, now):
                found[key][subject.customer_id] = subject.subscription_id
    return found
