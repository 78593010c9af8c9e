"""Sessions, cases and revenue, divided by what was known of the customer, or of some customers only; every session is looked at."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import QueryCanceled
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from connect_app.admin import cases, days, outcomes
from connect_app.admin.reports import cuts
from connect_app.admin.reports.cuts import Asked
from jobs import counting

# So many groups stand by themselves; a page of more is no overview.
MOST = 12
# Longer than this nobody waits for a page.
SECONDS = 6

Line = tuple[str, str, int, int, int]

_QUERY = """
with wanted as (select distinct mode, customer, subscription from case_marks where workspace_id = :workspace and mode = :mode),
{numbered}, present as (
  select told_cases.id, told_cases.minted_at, {outcome} as outcome, told_cases.begun_at, told_cases.case_state as state,
    case when told_cases.begun_at is not null then (
      select coalesce(jsonb_agg(jsonb_build_object('what', what, 'currency', currency, 'amount', amount)), '[]') from ({amounts}) worth
    ) end as worth
  from told_cases join sessions on sessions.id = told_cases.id
  left join outcomes on outcomes.session_id = told_cases.id left join choices on choices.session_id = told_cases.id
), everyone as (
  select c.session_id as id, c.minted_at, c.outcome, c.begun_at, c.state, c.worth from case_sessions c
  where c.workspace_id = :workspace and c.mode = :mode
    and not exists (select 1 from wanted where wanted.customer = c.customer and wanted.subscription = c.subscription)
  union all
  select id, minted_at, outcome, begun_at, state, worth from present
), grouped as (
  select {token} as token, outcome, everyone.state, worth, everyone.minted_at >= :since as is_session,
    coalesce(begun_at >= :since, false) as is_case, count(*) as number
  from everyone join sessions s on s.id = everyone.id and s.workspace_id = :workspace {joins}
  where (everyone.minted_at >= :since or everyone.begun_at >= :since) {only}
  group by 1, 2, 3, 4, 5, 6
), ranked as (
  select token from grouped where token not in ('none', 'fell') group by token
  order by coalesce(sum(number) filter (where is_case), 0) desc, sum(number) desc, token limit :most
), placed as (
  select grouped.*, case when token in ('none', 'fell') or token in (select token from ranked) then token else 'other' end as place
  from grouped
)
select place, 'session' as what, outcome as key, sum(number) as number, 0 as amount, 0 as unknown
from placed where is_session group by place, outcome
union all
select place, 'case', state, sum(number), 0, 0 from placed where is_case group by place, state
union all
select place, each->>'what', each->>'currency', coalesce(sum(number) filter (where each->>'amount' is not null), 0),
  coalesce(sum(number * cast(each->>'amount' as bigint)), 0), coalesce(sum(number) filter (where each->>'amount' is null), 0)
from placed, jsonb_array_elements(worth) each where is_case group by place, each->>'what', each->>'currency'
union all
select 'other', 'values', '', count(distinct token), 0, 0 from placed where place = 'other'
"""


class TooMuch(Exception):
    """There are too many sessions to look at each of them while somebody waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group: its cases and what they were worth."""

    token: str
    headline: cases.Headline


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """The groups, largest first (bands and months in their order), then `other`, `fell` and `none` where there are any.

    `others` is how many values `other` stands for. `headline` and `tally` are all groups together.
    """

    groups: list[Group]
    others: int
    headline: cases.Headline
    tally: outcomes.Tally

    @property
    def most(self) -> int:
        """The cases of the largest group, for bars."""
        return max((group.headline.cases for group in self.groups), default=0)


def broken_down(
    session: Session, workspace_id: str, mode: str, asked: Asked, *, since: datetime | None, now: datetime, seconds: float = SECONDS
) -> Breakdown:
    """The sessions and cases since then, divided by `asked.by` (one group where that is empty), of `asked.cut` only.

    A case belongs where its first session does. Raises TooMuch after so many `seconds`; the transaction is over then.
    """
    wanted = _sql(asked, now)
    values = {
        "workspace": workspace_id,
        "mode": mode,
        "since": days.whole(since).since,
        "most": MOST,
        "by_name": asked.by,
        "cut_name": asked.cut.name if asked.cut else "",
        "tokens": list(asked.cut.tokens) if asked.cut else [],
    }
    statement = text(wanted)
    # A plan for any parameters would look sessions up one by one; and what is sorted and hashed here should stay in memory.
    session.execute(text("select set_config('plan_cache_mode', 'force_custom_plan', true), set_config('work_mem', '64MB', true)"))
    with patiently(session, seconds):
        rows = session.execute(statement, {name: value for name, value in values.items() if f":{name}" in wanted}).all()
    return _told([(row.place, (row.what, row.key, int(row.number), int(row.amount), int(row.unknown))) for row in rows])


@contextmanager
def patiently(session: Session, seconds: float = SECONDS) -> Iterator[None]:
    """Statements that look at every session, each of `seconds` at most. Raises TooMuch; the transaction is over then."""
    session.execute(text("select set_config('statement_timeout', :limit, true)"), {"limit": str(int(seconds * 1000))})
    try:
        yield
    except OperationalError as problem:
        if isinstance(problem.orig, QueryCanceled):
            raise TooMuch from problem
        raise


def _sql(asked: Asked, now: datetime) -> str:
    outcome = outcomes.outcome(now).compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
    joined = (cuts.joins("by", asked.by) if asked.by else "") + (cuts.joins("cut", asked.cut.name) if asked.cut else "")
    return _QUERY.format(
        numbered=counting.NUMBERED,
        amounts=counting.AMOUNTS,
        outcome=str(outcome),
        token="by.token" if asked.by else "'none'",
        joins=joined,
        only="and cut.token = any(:tokens)" if asked.cut else "",
    )


def _told(rows: Iterable[tuple[str, Line]]) -> Breakdown:
    by_place: dict[str, list[Line]] = defaultdict(list)
    whole: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    others = 0
    for place, line in rows:
        what, key, *numbers = line
        if what == "values":
            others = numbers[0]
            continue
        by_place[place].append(line)
        whole[what, key] = [one + another for one, another in zip(whole[what, key], numbers, strict=True)]
    by_outcome = {key: numbers[0] for (what, key), numbers in whole.items() if what == "session"}
    groups = [Group(token=token, headline=cases.told(line for line in lines if line[0] != "session")) for token, lines in by_place.items()]
    return Breakdown(
        groups=sorted((group for group in groups if group.headline.cases), key=_order),
        others=others,
        headline=cases.told((what, key, *numbers) for (what, key), numbers in whole.items() if what != "session"),  # type: ignore[misc]
        tally=outcomes.Tally(by_outcome=by_outcome),
    )


def _order(group: Group) -> tuple[object, ...]:
    last = (cuts.OTHER, cuts.FELL, cuts.NONE)
    if group.token in last:
        return (1, last.index(group.token))
    kind = group.token.partition(":")[0]
    return (0, kind, -group.headline.cases, group.token) if kind == "is" else (0, kind, *cuts.order(group.token))
