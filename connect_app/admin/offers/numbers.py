"""What has come of each offer so far: how often it was accepted and declined in a mode, and what it has cost this month."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from connect_app.admin.offers.shelf import Kept
from connect_app.money import Money
from flow_pages.offers import limits

_ACCEPTED = text(
    """
select offer_id as offer, count(*) as times from choices
where workspace_id = :workspace and verb = 'accept' and offer_id = any(:offers) and mode = :mode group by 1
"""
)
# A link that was followed is no choice: it is told by a fact of its own, one for a session.
_FOLLOWED = text(
    """
select data->>'offer' as offer, count(*) as times from session_facts
where workspace_id = :workspace and kind = 'offer.taken' and data->>'offer' = any(:offers) and data->>'mode' = :mode group by 1
"""
)
_DECLINED = text(
    """
select step, count(*) as times from answers where workspace_id = :workspace and mode = :mode and step = any(:steps) group by 1
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """`spent` and `budget` are of the present calendar month in UTC, by currency; only currencies with a budget are there."""

    accepted: int = 0
    declined: int = 0
    spent: Mapping[str, tuple[Money, Money]] = field(default_factory=dict)


def tallies(session: Session, workspace_id: str, mode: str, kept: Sequence[Kept], now: datetime) -> dict[str, Tally]:
    """By the offers' ids. A failed acceptance was one too; it costs nothing. As many queries for one offer as for fifty."""
    if not kept:
        return {}
    ids = [one.id for one in kept]
    place = {"workspace": workspace_id, "mode": mode}
    accepted = {row.offer: row.times for row in session.execute(_ACCEPTED, {**place, "offers": ids})}
    if links := [one.id for one in kept if one.offer.kind == "link"]:
        accepted |= {row.offer: row.times for row in session.execute(_FOLLOWED, {**place, "offers": links})}
    asked = {**place, "steps": [f"offer:{one}" for one in ids]}
    declined = {row.step.removeprefix("offer:"): row.times for row in session.execute(_DECLINED, asked)}
    spent = limits.spent(session, workspace_id, mode, [one.offer for one in kept], now)
    return {
        one.id: Tally(
            accepted=accepted.get(one.id, 0),
            declined=declined.get(one.id, 0),
            spent={
                currency: (Money(spent.get((one.id, currency), 0), currency), Money(budget, currency))
                for currency, budget in sorted(one.offer.limits.monthly_budget.items())
            },
        )
        for one in kept
    }
