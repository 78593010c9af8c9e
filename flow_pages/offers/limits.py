"""How often offers are made: what a customer has accepted before, what this month has cost, and one at a time where that is counted."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from connect_app.money import Money
from connect_app.stripe_gateway.objects import Subscription
from flow_pages.document import Offer

# What came to nothing does not count; what waits for the team, or for the business's own system, does.
_COUNTS = """
  c.workspace_id = :workspace and c.verb = 'accept'
  and coalesce((select bool_or(a.state <> 'failed') from actions a where a.choice_id = c.id), true)
"""
_ACCEPTED = text(
    f"""
select c.offer_id as offer, c.offer->>'kind' as kind, c.made_at
from sessions s join choices c on c.session_id = s.id
where s.workspace_id = :workspace and s.customer = :customer and s.mode = :mode and {_COUNTS}
"""  # noqa: S608  constants of ours
)
_SPENT = text(
    f"""
select c.offer_id as offer, c.offer->'cost'->>'currency' as currency, sum(cast(c.offer->'cost'->>'amount' as bigint)) as amount
from choices c join sessions s on s.id = c.session_id
where c.offer_id = any(:offers) and c.made_at >= :since and s.mode = :mode and jsonb_typeof(c.offer->'cost') = 'object' and {_COUNTS}
group by 1, 2
"""  # noqa: S608  constants of ours
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An offer that this customer took before."""

    offer: str
    kind: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What limits are held against: what the customer accepted, and what each offer has cost this month, by currency in minor units."""

    accepted: tuple[Accepted, ...] = ()
    spent: Mapping[tuple[str, str], int]


def is_limited(offer: Offer) -> bool:
    """Whether anything has to be counted before it is made."""
    limits = offer.limits
    return limits.cooldown_days is not None or limits.lifetime is not None or bool(limits.monthly_budget)


def read(session: Session, workspace_id: str, mode: str, customer: str, offers: Iterable[Offer], now: datetime) -> Ledger:
    """What has been accepted so far; no query where none of these offers asks for it."""
    wanted = list(offers)
    accepted: tuple[Accepted, ...] = ()
    spent: dict[tuple[str, str], int] = {}
    place = {"workspace": workspace_id, "mode": mode}
    if any(offer.limits.cooldown_days is not None or offer.limits.lifetime is not None for offer in wanted):
        rows = session.execute(_ACCEPTED, {**place, "customer": customer})
        accepted = tuple(Accepted(offer=row.offer, kind=row.kind, at=row.made_at) for row in rows)
    if budgeted := [offer.id for offer in wanted if offer.limits.monthly_budget]:
        rows = session.execute(_SPENT, {**place, "offers": budgeted, "since": month(now)})
        spent = {(row.offer, row.currency): int(row.amount) for row in rows}
    return Ledger(accepted=accepted, spent=spent)


def month(now: datetime) -> datetime:
    """When the present calendar month began, in UTC."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def hold(session: Session, workspace_id: str, mode: str, customer: str, offer: Offer) -> None:
    """Until the transaction ends, nobody else accepts for this customer, nor this offer where its budget is counted.

    Read the ledger after this: what others accepted meanwhile is seen then. Always in this order, so that nobody waits in a circle.
    """
    if not is_limited(offer):
        return
    keys = [f"{mode}/{customer}", *([f"{mode}/{offer.id}"] if offer.limits.monthly_budget else [])]
    for key in keys:
        digest = hashlib.blake2b(f"offers/{workspace_id}/{key}".encode(), digest_size=8).digest()
        session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": int.from_bytes(digest, signed=True)})


def in_the_way(offer: Offer, subscription: Subscription | None, ledger: Ledger, cost: Money | None, now: datetime) -> str | None:
    """The limit that keeps this offer from the customer now; None where none does.

    It is one of `dates`, `discounted`, `lifetime`, `cooldown`, `budget`. `cost` is what accepting takes off the next bill; what cannot be
    said of it counts as nothing.
    """
    limits, today = offer.limits, now.astimezone(UTC).date()
    if (offer.starts_on and today < offer.starts_on) or (offer.ends_on and today > offer.ends_on):
        return "dates"
    if limits.not_if_discounted and subscription is not None and _is_discounted(subscription):
        return "discounted"
    if limits.lifetime is not None and sum(one.offer == offer.id for one in ledger.accepted) >= limits.lifetime:
        return "lifetime"
    if limits.cooldown_days is not None:
        since = now - timedelta(days=limits.cooldown_days)
        if any(one.kind == offer.kind and one.at > since for one in ledger.accepted):
            return "cooldown"
    budget = limits.monthly_budget.get(cost.currency) if cost is not None else None
    if cost is not None and budget is not None and ledger.spent.get((offer.id, cost.currency), 0) + cost.amount > budget:
        return "budget"
    return None


def _is_discounted(subscription: Subscription) -> bool:
    return bool(subscription.discounts) or any(item.discounts for item in subscription.items)
