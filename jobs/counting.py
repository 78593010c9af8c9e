"""Counting cases: what one is and what it comes to, in SQL; and adding up what no longer changes, so that reports need not.

Triggers mark each customer's sessions for one subscription when they change, in the transaction that changes them. A report adds up
`case_days`, takes out whatever is marked as it was counted, and puts it in as it is now: exact at any time, and quick while little is
marked. Here the marks are worked off.
"""

import time
from datetime import datetime, timedelta
from typing import get_args

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from connect_app.runtime import Runtime
from jobs import queues, work
from jobs.validation import table

log = structlog.get_logger()

# What changes in a minute is counted at once.
_AFTER = timedelta(minutes=1)
_BATCH = 2_000

# The sessions of `wanted` (mode, customer, subscription), each with its case.
#
# A case is one customer's opened sessions for one subscription, each within the save interval of the one before, which is the one that was
# set when that one was opened. It is counted where its first session was opened, and its outcome is that of the last session of which one
# is known. `begun_at`, `case_state` and `case_revenue` stand in the row of its first session; they are null in the others.
NUMBERED = """
seen as (
  select s.id, s.mode, s.customer, s.subscription, s.minted_at, s.shown_at, o.state as found, o.how, coalesce(o.state, 'open') as state,
    o.revenue, lag(s.shown_at + make_interval(hours => 24 * s.save_interval_days)) over mine as joins_until
  from wanted join sessions s on s.workspace_id = :workspace and s.mode = wanted.mode and s.customer = wanted.customer
    and s.subscription = wanted.subscription
  left join outcomes o on o.session_id = s.id
  where s.shown_at is not null
  window mine as (partition by s.mode, s.customer, s.subscription order by s.shown_at, s.id)
), numbered as (
  select *, count(*) filter (where joins_until is null or shown_at > joins_until)
    over (partition by mode, customer, subscription order by shown_at, id) as number
  from seen
), told as (
  select *,
    row_number() over (partition by mode, customer, subscription, number order by shown_at, id) = 1 as is_first,
    first_value(state) over last_known as last_state,
    first_value(revenue) over last_known as last_revenue
  from numbered
  window last_known as (
    partition by mode, customer, subscription, number order by (state in ('open', 'unknown')), shown_at desc, id desc
  )
), told_cases as (
  select id, mode, customer, subscription, minted_at, found, how,
    case when is_first then shown_at end as begun_at,
    case when is_first then last_state end as case_state,
    case when is_first then last_revenue end as case_revenue
  from told
)"""

# What a case is worth, in a row for each amount; what nobody could say has none, and what is told in a later session is left to it.
# For a lateral join with `case_state`, `case_revenue`.
AMOUNTS = """
  select what, currency, amount from (
    select 'saved' as what, case_revenue->'saved'->>'currency' as currency, cast(case_revenue->'saved'->>'amount' as bigint) as amount
    where case_state = 'saved'
    union all
    select 'lost', case_revenue->'lost'->>'currency', cast(case_revenue->'lost'->>'amount' as bigint)
    where case_state in ('lost', 'canceled')
    union all
    select 'watched', case_revenue->'stake'->>'currency', cast(case_revenue->'stake'->>'amount' as bigint)
    where case_state in ('watch', 'paused')
    union all
    select 'paid', each.key, cast(each.value->>'paid' as bigint) - cast(each.value->>'refunded' as bigint)
      - cast(each.value->>'disputed' as bigint)
    from jsonb_each(case when jsonb_typeof(case_revenue->'paid') = 'object' then case_revenue->'paid' else '{}' end) each
    where case_state in ('saved', 'watch', 'paused')
  ) every_amount where currency is not null and (what = 'paid' or case_revenue->>'told_in' is null)
"""

# The lines of `rows` (as case_sessions has them) that sums are made of: `at` is when it counts, `number` 1 where it is known.
LINES = """
  select mode, minted_at as at, 'session' as what, outcome as key, 1 as number, 0::bigint as amount, 0 as unknown from {rows}
  union all
  select mode, begun_at, 'case', state, 1, 0, 0 from {rows} where begun_at is not null
  union all
  select mode, begun_at, each->>'what', each->>'currency', case when each->>'amount' is null then 0 else 1 end,
    coalesce(cast(each->>'amount' as bigint), 0), case when each->>'amount' is null then 1 else 0 end
  from {rows}, jsonb_array_elements(worth) each where begun_at is not null
"""

# Marks in their order, and of each whether its sessions are settled: what they come to changes only by what marks them again. An open
# one becomes another thing by time alone; one of whom nothing is known waits for what its customer chose.
_MARKS = text(
    """
with next as (select * from case_marks where workspace_id = :workspace and id > :after order by id limit :batch)
select next.id, next.mode, next.customer, next.subscription, not exists (
  select 1 from sessions s left join outcomes o on o.session_id = s.id
  where s.workspace_id = :workspace and s.mode = next.mode and s.customer = next.customer and s.subscription = next.subscription
    and s.shown_at is not null and (
      coalesce(o.state, 'open') = 'open' or o.state = 'unknown' and exists (
        select 1 from choices c join actions a on a.choice_id = c.id where c.session_id = s.id and a.state not in ('verified', 'failed')
      )
    )
) as is_settled from next order by next.id
"""
)
_WANTED = """
wanted as (
  select distinct mode, customer, subscription
  from unnest(cast(:modes as text[]), cast(:customers as text[]), cast(:subscriptions as text[])) as given(mode, customer, subscription)
)"""
_ADD = (
    """
insert into case_days as kept (workspace_id, mode, day, what, key, number, amount, unknown)
select :workspace, mode, cast(at at time zone 'UTC' as date), what, key, {sign} * sum(number), {sign} * sum(amount), {sign} * sum(unknown)
from ("""
    + LINES.format(rows="{rows}")
    + """) line group by mode, cast(at at time zone 'UTC' as date), what, key
on conflict (workspace_id, mode, day, what, key) do update
set number = kept.number + excluded.number, amount = kept.amount + excluded.amount, unknown = kept.unknown + excluded.unknown
"""
)
_TAKE_OUT = text(
    f"""
with {_WANTED}, gone as (
  delete from case_sessions c using wanted where c.workspace_id = :workspace and c.mode = wanted.mode and c.customer = wanted.customer
    and c.subscription = wanted.subscription returning c.*
)
{_ADD.format(sign="-1", rows="gone")}
"""  # noqa: S608  constants of ours
)
_PUT_IN = text(
    f"""
with {_WANTED}, {NUMBERED}, put as (
  insert into case_sessions (session_id, workspace_id, mode, customer, subscription, minted_at, outcome, begun_at, state, worth)
  select id, :workspace, mode, customer, subscription, minted_at,
    case when found = 'watch' and how = any(:hows) then how else coalesce(found, 'open') end, begun_at, case_state,
    case when begun_at is not null then (
      select coalesce(jsonb_agg(jsonb_build_object('what', what, 'currency', currency, 'amount', amount)), '[]') from ({AMOUNTS}) worth
    ) end
  from told_cases returning *
)
{_ADD.format(sign="1", rows="put")}
"""  # noqa: S608  constants of ours
)
# A plan for any parameters would join the whole table, once the server has seen these often enough to make one.
_PLAN = text("set local plan_cache_mode = force_custom_plan")
_WORKED_OFF = text("delete from case_marks where id = any(:ids)")
# One counts a workspace at a time.
_ALONE = text("select pg_advisory_xact_lock(hashtext('jobs.counting'), hashtext(:workspace))")


def ask(session: Session, workspace_id: str, now: datetime) -> None:
    """Have what changed in this workspace counted, with whatever else changes until then."""
    queues.enqueue(session, "count_cases", workspace_id, workspace_id, due_at=now + _AFTER)


def count(rt: Runtime, claim: work.Claim) -> work.End:
    """Work off the marks of the workspace `claim.row_id`, a batch in each transaction; what is not settled yet stays marked."""
    until = time.monotonic() + rt.settings.holdfast_lease_seconds / 3
    after: int | None = 0
    counted = 0
    while after is not None:
        if time.monotonic() > until:
            with rt.transaction(claim.tenant) as session:
                claim.fence(session)
                queues.enqueue(session, claim.kind, claim.row_id, claim.tenant, due_at=rt.now())
            return work.Done()
        with rt.transaction(claim.tenant) as session:
            settled, after = batch(session, claim.tenant, after)
            claim.fence(session)
        counted += settled
    log.info("cases.counted", marks=counted)
    return work.Done()


def batch(session: Session, workspace_id: str, after: int, size: int = _BATCH) -> tuple[int, int | None]:
    """Count what the next marks beyond number `after` mean; gives how many were worked off, and where to go on (None: at the end)."""
    session.execute(_PLAN)
    session.execute(_ALONE, {"workspace": workspace_id})
    # What is read from here on, each mark that is seen has been written with: who changes more, marks again.
    marks = session.execute(_MARKS, {"workspace": workspace_id, "after": after, "batch": size}).all()
    settled = [mark for mark in marks if mark.is_settled]
    if settled:
        values = {
            "workspace": workspace_id,
            "modes": [mark.mode for mark in settled],
            "customers": [mark.customer for mark in settled],
            "subscriptions": [mark.subscription for mark in settled],
        }
        session.execute(_TAKE_OUT, values)
        session.execute(_PUT_IN, {**values, "hows": list(get_args(table.How))})
        session.execute(_WORKED_OFF, {"ids": [mark.id for mark in settled]})
    return len(settled), marks[-1].id if len(marks) == size else None
