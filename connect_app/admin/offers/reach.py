"""Whom an offer can be made to: how many subscriptions, and what they are worth a month, and the same for each reason it cannot be.

All running subscriptions are looked at where that is quick, else a fair share of them, and then it is an estimate.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from connect_app.admin.offers import verdicts
from connect_app.models import Subscription as Row
from connect_app.money import Money
from connect_app.stripe_gateway import objects
from flow_pages.document import Offer
from jobs.plans import Refused
from webhooks import catalogue, mirror, revenue, shares

BUDGET_SECONDS = 1.0
_ALL_OF = 20_000
_DRAWN = 6_000
_BATCH = 200

_EVERY = text(
    """
select id, customer from subscriptions
where connection_id = :connection and not is_deleted and status not in ('canceled', 'incomplete_expired') limit :most
"""
)
_SHARE = text(
    """
select id, customer from subscriptions tablesample system (:percent) repeatable (1)
where connection_id = :connection and not is_deleted and status not in ('canceled', 'incomplete_expired')
"""
)


@dataclass(slots=True, kw_only=True)
class Part:
    """Subscriptions with one verdict: how many, and their MRR by currency; `unpriced` of them have none that can be said.

    `example` is the reason of one of them in full; '' for those that the offer can be made to.
    """

    title: str
    example: str = ""
    subscriptions: int = 0
    unpriced: int = 0
    worth: dict[str, Money] = field(default_factory=dict)

    def add(self, worth: Money | None) -> None:
        self.subscriptions += 1
        if worth is None:
            self.unpriced += 1
        else:
            self.worth[worth.currency] = self.worth.get(worth.currency, Money(0, worth.currency)) + worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What came of looking: `looked_at` of `total` running subscriptions; `refused` has the reason with most of them first.

    `is_large`: `total` is an estimate itself.
    """

    possible: Part
    refused: Sequence[Part]
    looked_at: int
    total: int
    is_large: bool

    @property
    def is_exact(self) -> bool:
        return not self.is_large and self.looked_at == self.total

    def count(self, part: Part) -> int:
        """How many of `total` that is, if the others are like those that were looked at."""
        return round(part.subscriptions * self.total / self.looked_at) if self.looked_at else 0

    def worth(self, part: Part) -> list[Money]:
        """What these are worth a month, by currency, on the same assumption."""
        if not self.looked_at:
            return []
        return [Money(round(one.amount * self.total / self.looked_at), one.currency) for _, one in sorted(part.worth.items())]


def look(
    session: Session,
    workspace_id: str,
    connection_id: str,
    offer: Offer,
    mode: str,
    now: datetime,
    *,
    seconds: float = BUDGET_SECONDS,
    all_of: int = _ALL_OF,
    drawn: int = _DRAWN,
) -> Reach:
    """Walk the connection's running subscriptions, at most for so long; of more than `all_of` about `drawn` are drawn to be looked at.

    A handful of queries for each couple of hundred. Dates, cooldown, lifetime and budget are not asked: they pass.
    """
    until = time.monotonic() + seconds
    pairs, total, is_large = _pairs(session, connection_id, all_of, drawn)
    on = verdicts.ground(session, workspace_id, connection_id, offer, mode)
    possible, refused = Part(title="Can be made"), dict[str, Part]()
    looked_at, unread = 0, len(pairs)
    for start in range(0, len(pairs), _BATCH):
        for subject, subscription, discounts in _read(session, connection_id, on, pairs[start : start + _BATCH]):
            looked_at += 1
            worth = revenue.mrr(subscription, discounts, now)
            verdict = verdicts.of(on, subscription, subject, discounts, now)
            if isinstance(verdict, Refused):
                refused.setdefault(verdict.code, Part(title=verdicts.title(verdict.code), example=verdict.message)).add(worth)
            else:
                possible.add(worth)
        unread = max(0, unread - _BATCH)
        if time.monotonic() >= until:
            break
    return Reach(
        possible=possible,
        refused=sorted(refused.values(), key=lambda one: (-one.subscriptions, one.title)),
        looked_at=looked_at,
        # What vanished meanwhile was never there.
        total=total if is_large or unread else looked_at,
        is_large=is_large,
    )


def _pairs(session: Session, connection_id: str, all_of: int, drawn: int) -> tuple[list[tuple[str, str]], int, bool]:
    """(subscription, customer) of those to look at, in an order that has nothing to do with who they are; of how many; whether a share."""
    rows, percent = shares.draw(session, connection_id, every=_EVERY, share=_SHARE, of="subscriptions", all_of=all_of, drawn=drawn)
    mixed = sorted(((row.id, row.customer) for row in rows), key=lambda pair: shares.lot(pair[0]))
    return mixed, round(len(mixed) * 100 / (percent or 100)), percent is not None


def _read(
    session: Session, connection_id: str, on: verdicts.Ground, pairs: Sequence[tuple[str, str]]
) -> list[tuple[catalogue.Subject | None, objects.Subscription, Sequence[objects.Discount]]]:
    """These subscriptions with what takes something off them, and with their customers where the verdict asks for them."""
    ids = [id for id, _ in pairs]
    subjects: list[catalogue.Subject | None]
    if on.is_for_all:
        raw = select(Row.raw).where(Row.connection_id == connection_id, Row.id.in_(ids), Row.is_deleted.is_(False))
        found = [objects.read_subscription(one) for one in session.execute(raw).scalars()]
        subjects = [None] * len(found)
    else:
        loaded = catalogue.load(session, connection_id, [(customer, id) for id, customer in pairs])
        subjects = [one for one in loaded if one.subscription is not None]
        found = [one.subscription for one in subjects if one is not None and one.subscription is not None]
    discounts = mirror.discounts_of(session, connection_id, ids)
    return [(subject, one, discounts.get(one.id, ())) for subject, one in zip(subjects, found, strict=True)]
