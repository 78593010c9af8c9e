"""How often offers are made: what a customer has accepted before, what this month has cost, and one at a time where that is counted."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from connect_app.models import FlowSession
from connect_app.money import Money
from connect_app.stripe_gateway.objects import Customer, Subscription
from flow_pages.document import LinkOffer, Offer

# What came to nothing does not count; what waits for the team, or for the business's own system, does. An acceptance has one action.
_COUNTS = """
  c.workspace_id = :workspace and c.mode = :mode and c.verb = 'accept' and not exists (
    select from actions a where a.workspace_id = :workspace and a.state = 'failed' and a.choice_id = c.id
  )
"""
_ACCEPTED = text(
    f"""
select c.offer_id as offer, c.offer->>'kind' as kind, c.made_at
from sessions s join choices c on c.session_id = s.id
where s.workspace_id = :workspace and s.customer = :customer and s.mode = :mode and {_COUNTS}
"""  # noqa: S608  constants of ours
)
# A link that was followed is no choice. It does not count against its own session, which leads out by it as often as they like.
_FOLLOWED = text(
    """
select f.data->>'offer' as offer, f.at
from sessions s join session_facts f on f.workspace_id = s.workspace_id and f.session_id = s.id
where s.workspace_id = :workspace and s.customer = :customer and s.mode = :mode and s.id <> :session and f.kind = 'offer.taken'
"""
)
_SPENT = text(
    f"""
select c.offer_id as offer, c.cost_currency as currency, sum(c.cost_amount) as amount from choices c
where c.offer_id = any(:offers) and c.made_at >= :since and c.cost_amount is not null and {_COUNTS}
group by 1, 2
"""  # noqa: S608  constants of ours
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An offer that this customer took before; a link, that they followed it in another session."""

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


def read(session: Session, row: FlowSession, offers: Iterable[Offer], now: datetime) -> Ledger:
    """What this session's customer has taken so far, and what these offers have cost; no query where none of them asks for it."""
    wanted = list(offers)
    whose = {"workspace": row.workspace_id, "mode": row.mode, "customer": row.customer}
    counted = {
        isinstance(offer, LinkOffer) for offer in wanted if offer.limits.cooldown_days is not None or offer.limits.lifetime is not None
    }
    accepted: list[Accepted] = []
    if False in counted:
        accepted += [Accepted(offer=one.offer, kind=one.kind, at=one.made_at) for one in session.execute(_ACCEPTED, whose)]
    if True in counted:
        followed = session.execute(_FOLLOWED, {**whose, "session": row.id})
        accepted += [Accepted(offer=one.offer, kind="link", at=one.at) for one in followed]
    return Ledger(accepted=tuple(accepted), spent=spent(session, row.workspace_id, row.mode, wanted, now))


def spent(session: Session, workspace_id: str, mode: str, offers: Iterable[Offer], now: datetime) -> dict[tuple[str, str], int]:
    """What those of these offers that have a budget have cost this month, by id and currency in minor units."""
    budgeted = [offer.id for offer in offers if offer.limits.monthly_budget]
    if not budgeted:
        return {}
    rows = session.execute(_SPENT, {"workspace": workspace_id, "mode": mode, "offers": budgeted, "since": month(now)})
    return {(row.offer, row.currency): int(row.amount) for row in rows}


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


def in_the_way(
    offer: Offer, subscription: Subscription | None, customer: Customer | None, ledger: Ledger, cost: Money | None, now: datetime
) -> str | None:
    """The limit that keeps this offer from the customer now; None where none does.

    It is one of `dates`, `discounted`, `lifetime`, `cooldown`, `budget`. `cost` is what accepting takes off the next bill; what cannot be
    said of it counts as nothing. One link says nothing of another, so that its cooldown is its own.
    """
    limits, today = offer.limits, now.astimezone(UTC).date()
    if (offer.starts_on and today < offer.starts_on) or (offer.ends_on and today > offer.ends_on):
        return "dates"
    if limits.not_if_discounted and subscription is not None and is_discounted(subscription, customer, now):
        return "discounted"
    if limits.lifetime is not None and sum(one.offer == offer.id for one in ledger.accepted) >= limits.lifetime:
        return "lifetime"
    if limits.cooldown_days is not None:
        since = now - timedelta(days=limits.cooldown_days)
        same = [one for one in ledger.accepted if (one.offer == offer.id if offer.kind == "link" else one.kind == offer.kind)]
        if any(one.at > since for one in same):
            return "cooldown"
    budget = limits.monthly_budget.get(cost.currency) if cost is not None else None
    if cost is not None and budget is not None and ledger.spent.get((offer.id, cost.currency), 0) + cost.amount > budget:
        return "budget"
    return None


def is_discounted(subscription: Subscription, customer: Customer | None, now: datetime) -> bool:
    """Whether something is taken off its bills: by a discount of its own or of an item, or else by its customer's."""
    if subscription.discounts or any(item.discounts for item in subscription.items):
        return True
    return customer is not None and customer.discount_at(now) is not None
