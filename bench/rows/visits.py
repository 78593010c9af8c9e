"""Sessions and what became of them, as many as a business has in years: written by the database from one that the product made."""

from bench import ours

# What each is made of, in SQL over its number n.
_PLAN = "(array['Starter', 'Pro', 'Team', 'Business', 'Enterprise'])[1 + n % 5]"
_ADA = "'Ada'"
_EMAIL = "'a' || n || '@example.com'"
_PRICE = "jsonb_build_object('amount', 900 + n % 40 * 500, 'currency', 'usd')"
_FELL = "jsonb_build_object('type', 'text', 'source', 'first_name', 'fallback', 'there', 'reason', 'Stripe has none for this customer')"
_HOW = "(array['offer', 'kept', 'abandoned'])[1 + n % 3]"
_STATE = "case when n % 10 < 3 then 'canceled' when age < interval '30 days' then 'watch' when n % 10 < 8 then 'saved' else 'lost' end"
_AMOUNT = "jsonb_build_object('currency', 'usd', 'amount', 2900, 'read_at', '2026-01-05T10:00:00+00:00')"
_PAID = "jsonb_build_object('usd', jsonb_build_object('paid', 2900, 'refunded', 0, 'disputed', 0))"


def fill(us: ours.Ours, home: ours.Home, number: int) -> None:
    """So many opened sessions over 60 days, like the one that is there, four of five by different customers.

    Those of the last half hour are undecided; those older than 30 days are no longer on watch.
    """
    span = f"interval '1 second' * n * {60 * 86400 / number}"
    # Far apart in time and near in number, so that some customers come twice within the save interval and some after it.
    who = f"lpad(((n::bigint * 7919) % {number * 4 // 5})::text, 9, '0')"
    kept = {
        "plan_name": _kept("text", _PLAN, _PLAN),
        "first_name": f"case when n % 7 = 0 then {_FELL} else {_kept('text', _ADA, _ADA)} end",
        "amount": _kept("money", "'$29.00'", _PRICE),
        "email": _kept("email", _EMAIL, _EMAIL),
    }
    given = {
        "id": "id || lpad(n::text, 8, '0')",
        "bundle": "bundle || n",
        "customer": f"'cus_Bench' || {who}",
        "subscription": f"'sub_1Bench000000000' || {who}",
        "minted_at": f"minted_at - {span}",
        "shown_at": f"minted_at - {span}",
        "expires_at": f"expires_at - {span}",
        "last_activity_at": f"last_activity_at - {span}",
        "variables": "jsonb_build_object(" + ", ".join(f"'{name}', {value}" for name, value in kept.items()) + ")",
    }
    names = us.columns("sessions")
    for table in ("sessions", "outcomes"):
        us.execute(f"alter table {table} disable trigger user")
    us.execute(
        f"insert into sessions ({', '.join(names)}) select {', '.join(given.get(name, name) for name in names)}"
        f" from sessions, generate_series(1, {number}) n where workspace_id = '{home.workspace_id}'"
    )
    us.execute(
        "insert into outcomes (session_id, workspace_id, state, how, since, interval_ends_at, checked_at, revenue)"
        f" select id, workspace_id, {_STATE}, {_HOW}, minted_at, minted_at + interval '30 days', minted_at,"
        f" jsonb_build_object('stake', {_AMOUNT}, 'fired', {_AMOUNT}, 'saved', {_AMOUNT}, 'lost', {_AMOUNT}, 'paid', {_PAID})"
        " from (select *, row_number() over () as n, now() - minted_at as age from sessions) given"
        f" where workspace_id = '{home.workspace_id}' and age > interval '30 minutes'"
    )
    # As the migration marks what was there before anything was counted; one by one it would take as long as the rest.
    us.execute(
        "insert into case_marks (workspace_id, mode, customer, subscription)"
        f" select distinct workspace_id, mode, customer, subscription from sessions where workspace_id = '{home.workspace_id}'"
    )
    for table in ("sessions", "outcomes"):
        us.execute(f"alter table {table} enable trigger user")
    us.execute("vacuum analyze")


def _kept(type: str, value: str, raw: str) -> str:
    """A variable as a session remembers it."""
    return f"jsonb_build_object('type', '{type}', 'source', 'x', 'value', {value}, 'raw', {raw}, 'as_of', '2026-01-05T10:00:00+00:00')"
