"""Headline numbers: cases, and not sessions, by one definition, with the revenue that was at stake, saved and lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from connect_app import money, preferences
from connect_app.models import Outcome
from connect_app.models.base import Json
from connect_app.money import Money
from jobs import validation

# A case is one customer's opened sessions for one subscription, each within the save interval of the one before. It is counted where its
# first session was opened, and its outcome is that of the last session of which one is known.
_CASES = """
with seen as (
  select s.id, s.customer, s.subscription, s.shown_at, coalesce(o.state, 'open') as state, o.revenue, o.interval_ends_at,
    lag(s.shown_at) over mine as before
  from sessions s left join outcomes o on o.session_id = s.id
  where s.workspace_id = :workspace and s.mode = :mode and s.shown_at is not null
  window mine as (partition by s.customer, s.subscription order by s.shown_at, s.id)
), numbered as (
  select *, count(*) filter (where before is null or shown_at - before > :interval)
    over (partition by customer, subscription order by shown_at, id) as number
  from seen
), cases as (
  select distinct on (customer, subscription, number) *,
    min(shown_at) over (partition by customer, subscription, number) as begun_at
  from numbered
  order by customer, subscription, number, (state in ('open', 'unknown')), shown_at desc, id desc
)
"""
_COUNTED = "select state, count(*) as cases from cases where cast(:since as timestamptz) is null or begun_at >= :since group by state"
# Amounts by currency; what nobody could say is counted, and not guessed.
_WORTH = """
select currency, what, sum(amount) as amount, count(*) filter (where amount is null) as unknown from (
  select 'saved' as what, revenue->'saved'->>'currency' as currency, cast(revenue->'saved'->>'amount' as bigint) as amount, begun_at
  from cases where state = 'saved'
  union all
  select 'lost', revenue->'lost'->>'currency', cast(revenue->'lost'->>'amount' as bigint), begun_at
  from cases where state in ('lost', 'canceled')
  union all
  select 'watched', revenue->'stake'->>'currency', cast(revenue->'stake'->>'amount' as bigint), begun_at
  from cases where state in ('watch', 'paused')
  union all
  select 'paid', each.key, cast(each.value->>'paid' as bigint) - cast(each.value->>'refunded' as bigint)
    - cast(each.value->>'disputed' as bigint), begun_at
  from cases, jsonb_each(case when jsonb_typeof(revenue->'paid') = 'object' then revenue->'paid' else '{}' end) each
  where state in ('saved', 'watch', 'paused')
) amounts where currency is not null and (cast(:since as timestamptz) is null or begun_at >= :since) group by currency, what
"""
_WATCHED = """
select s.id, s.customer, c.name, c.email, o.how, o.state, o.interval_ends_at, o.revenue
from outcomes o join sessions s on s.id = o.session_id
left join customers c on c.workspace_id = s.workspace_id and c.connection_id = s.connection_id and c.id = s.customer
where o.workspace_id = :workspace and s.mode = :mode and o.state in ('watch', 'paused')
order by o.state = 'paused', o.interval_ends_at, s.id limit :most
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """One currency's amounts, as people read them; None where there are none. All but `paid` are a month's."""

    currency: str
    saved: str | None = None
    lost: str | None = None
    watched: str | None = None
    paid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The cases of a period by state, and what they were worth in each currency. Nothing is added up across currencies."""

    by_state: Mapping[str, int]
    sums: list[Sums]
    unknown_amounts: int

    @property
    def cases(self) -> int:
        return sum(self.by_state.values())

    def of(self, *states: str) -> int:
        return sum(self.by_state.get(state, 0) for state in states)

    @property
    def save_rate(self) -> int | None:
        """Per cent of the decided cases that are validated saves; None while none is decided."""
        decided = self.of("saved", "canceled", "lost")
        return round(100 * self.of("saved") / decided) if decided else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A session on watch, and when it will be decided: a paused one by the first charge after its pause, an overdue one once it is paid."""

    session_id: str
    customer: str
    name: str | None
    how: str
    state: str
    ends_at: datetime | None
    is_overdue: bool
    at_stake: str | None


def headline(session: Session, workspace_id: str, mode: str, *, since: datetime | None) -> Headline:
    """The cases that began since then."""
    interval = timedelta(days=preferences.read(session, workspace_id).save_interval_days)
    values = {"workspace": workspace_id, "mode": mode, "since": since, "interval": interval}
    by_state = {row.state: row.cases for row in session.execute(text(_CASES + _COUNTED), values)}
    amounts: dict[str, dict[str, str]] = {}
    unknown = 0
    for row in session.execute(text(_CASES + _WORTH), values):
        unknown += row.unknown
        if row.amount is not None:
            amounts.setdefault(row.currency, {})[row.what] = money.format(Money(int(row.amount), row.currency), "en")
    sums = [Sums(currency=currency, **of_it) for currency, of_it in sorted(amounts.items())]
    return Headline(by_state=by_state, sums=sums, unknown_amounts=unknown)


def watched(session: Session, workspace_id: str, mode: str, most: int, now: datetime) -> list[Watched]:
    """Who is on watch, the next to be decided first."""
    rows = session.execute(text(_WATCHED), {"workspace": workspace_id, "mode": mode, "most": most})
    return [
        Watched(
            session_id=row.id,
            customer=row.customer,
            name=row.name or row.email,
            how=row.how or "watch",
            state=row.state,
            ends_at=row.interval_ends_at,
            is_overdue=row.interval_ends_at is not None and row.interval_ends_at <= now,
            at_stake=amount((row.revenue or {}).get("stake")),
        )
        for row in rows
    ]


def look_again(session: Session, workspace_id: str, now: datetime) -> None:
    """Have everybody on watch validated anew: nobody was while attribution was off."""
    waiting = select(Outcome.session_id).where(Outcome.workspace_id == workspace_id, Outcome.state.in_(("watch", "paused")))
    validation.ask(session, workspace_id, session.execute(waiting).scalars(), now)


def amount(frozen: Json | None) -> str | None:
    """A frozen amount of `outcomes.revenue` as people read it; None where there is none, or where it could not be said."""
    if not frozen or frozen.get("amount") is None:
        return None
    return money.format(Money(int(frozen["amount"]), str(frozen["currency"])), "en")
