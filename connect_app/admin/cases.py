"""Headline numbers: cases, and not sessions, by one definition, with the revenue that was at stake, saved and lost."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from connect_app import money
from connect_app.admin import days
from connect_app.models import Outcome
from connect_app.models.base import Json
from connect_app.money import Money
from jobs import counting, validation

# What was counted of the days since, without what is marked; and the marked ones as they are now. One statement: whoever counts
# meanwhile changes all of it at once.
_SUMS = text(
    f"""
with wanted as (select distinct mode, customer, subscription from case_marks where workspace_id = :workspace and mode = :mode),
{counting.NUMBERED}, edge as (
  select * from case_sessions where workspace_id = :workspace and mode = :mode and begun_at >= :since and begun_at < :first_day_at
), marked as (
  select c.* from wanted join case_sessions c on c.workspace_id = :workspace and c.mode = wanted.mode and c.customer = wanted.customer
    and c.subscription = wanted.subscription
  where c.begun_at >= :since
), lines as (
  select what, key, number, amount, unknown from case_days
  where workspace_id = :workspace and mode = :mode and what <> 'session' and day >= :first_day
  union all
  select what, key, number, amount, unknown from ({counting.LINES.format(rows="edge")}) line where what <> 'session'
  union all
  select what, key, -number, -amount, -unknown from ({counting.LINES.format(rows="marked")}) line where what <> 'session'
  union all
  select 'case', case_state, 1, 0, 0 from told_cases where begun_at >= :since
  union all
  select what, currency, case when amount is null then 0 else 1 end, coalesce(amount, 0), case when amount is null then 1 else 0 end
  from told_cases cross join lateral ({counting.AMOUNTS}) worth where begun_at >= :since
)
select what, key, sum(number) as number, sum(amount) as amount, sum(unknown) as unknown from lines group by what, key
"""  # noqa: S608  constants of ours
)
# The paused come last; each half is in the order of an index, so that nobody but those who are shown is looked at.
_NEXT = """
  select o.* from outcomes o join sessions s on s.id = o.session_id and s.mode = :mode
  where o.workspace_id = :workspace and o.state = '{state}' and o.revenue->>'told_in' is null
  order by o.interval_ends_at, o.session_id limit :most
"""
_WATCHED = f"""
with next as (({_NEXT.format(state="watch")}) union all ({_NEXT.format(state="paused")}))
select s.id, s.customer, c.name, c.email, o.how, o.state, o.interval_ends_at, o.revenue
from next o join sessions s on s.id = o.session_id
left join customers c on c.workspace_id = s.workspace_id and c.connection_id = s.connection_id and c.id = s.customer
order by o.state = 'paused', o.interval_ends_at, s.id limit :most
"""  # noqa: S608  constants of ours


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
    values = {
        "workspace": workspace_id,
        "mode": mode,
        **dataclasses.asdict(days.whole(since)),
    }
    return told((row.what, row.key, row.number, row.amount, row.unknown) for row in session.execute(_SUMS, values))


def told(lines: Iterable[tuple[str, str, int, int, int]]) -> Headline:
    """What sums (what, key, number, amount, unknown) come to, as jobs.counting makes them."""
    by_state: dict[str, int] = {}
    amounts: dict[str, dict[str, str]] = {}
    unknown = 0
    for what, key, number, total, unsaid in lines:
        if what == "case":
            if number:
                by_state[key] = int(number)
            continue
        unknown += int(unsaid)
        if number:
            amounts.setdefault(key, {})[what] = money.format(Money(int(total), key), "en")
    sums = [Sums(currency=currency, **of_it) for currency, of_it in sorted(amounts.items())]
    return Headline(by_state=by_state, sums=sums, unknown_amounts=unknown)


def watched(session: Session, workspace_id: str, mode: str, most: int, now: datetime) -> list[Watched]:
    """Who is on watch, the next to be decided first; of whoever came again, the last session alone."""
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
