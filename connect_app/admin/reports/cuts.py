"""The groups that a variable divides sessions into: each value one of its own, numbers and money by bands, dates by month.

A group is called by a token: `is:Pro`, `in:usd:25:50` (from, below), `on:2026-03`, `fell` where the session read its fallback, and `none`
where it had no such variable. What people typed and what Stripe says cannot be taken for the last two.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from babel.dates import format_date
from sqlalchemy import TextClause, text

from connect_app import money
from connect_app.money import Money

FELL, NONE, OTHER = "fell", "none", "other"
# What sessions are divided by beside variables, whose names have no dot.
REASON, OFFER = "flow.reason", "flow.offer"
OURS = {REASON: "Reason", OFFER: "Offer"}
_BOUNDS = (0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000)
# More values than anybody would tick, and more than an address holds.
MOST_TOKENS = 50
_OFFERS = {"accepted": "Accepted an offer", "declined": "Declined an offer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Only sessions whose `name` falls into one of the groups `tokens`."""

    name: str
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """By which name sessions are divided, and which of them are left out."""

    by: str = ""
    cut: Cut | None = None

    @property
    def is_plain(self) -> bool:
        return not self.by and self.cut is None


def joins(prefix: str, name: str) -> str:
    """What a query over `sessions s` joins to have `{prefix}.token`; the parameter `{prefix}_name` is the variable's name."""
    if name == REASON:
        return (
            f" left join answers {prefix}_a on {prefix}_a.session_id = s.id and {prefix}_a.step = 'survey'"
            f" cross join lateral (select coalesce('is:' || ({prefix}_a.value->>'reason'), 'none') as token) {prefix}"
        )
    if name == OFFER:
        return f""" left join choices {prefix}_c on {prefix}_c.session_id = s.id and {prefix}_c.verb = 'accept'
 cross join lateral (
   select case when {prefix}_c.id is not null then 'is:accepted' when exists (
     select 1 from answers offered where offered.session_id = s.id and offered.step like 'offer:%'
   ) then 'is:declined' else 'none' end as token
 ) {prefix}"""  # noqa: S608  constants of ours
    e, x = f"{prefix}_e.e", f"{prefix}_x"
    # Each lateral ends in `offset 0`, so that it is worked out once, and not wherever it is named.
    return f"""
 cross join lateral (select s.variables -> cast(:{prefix}_name as text) as e offset 0) {prefix}_e
 cross join lateral (
   select case when {e}->>'type' = 'money' then {e}->'raw'->>'currency' else '' end as currency,
     case when {e}->>'type' = 'money' and {e}->'raw'->>'amount' ~ '^-?[0-9]+$'
       then cast({e}->'raw'->>'amount' as numeric) / {_scale(f"{e}->'raw'->>'currency'")}
     when {e}->>'type' in ('integer', 'decimal') and {e}->>'raw' ~ '^-?[0-9]+([.][0-9]+)?$' then cast({e}->>'raw' as numeric) end as x
   offset 0
 ) {x}
 cross join lateral (select width_bucket({x}.x, {_bounds()}) as place offset 0) {prefix}_b
 cross join lateral (
   select case when {e} is null then 'none' when not jsonb_exists({e}, 'value') then 'fell'
     when {x}.x is not null then 'in:' || {x}.currency || ':' || coalesce(cast(({_bounds()})[{prefix}_b.place] as text), '') || ':'
       || coalesce(cast(({_bounds()})[{prefix}_b.place + 1] as text), '')
     when {e}->>'type' = 'date' and jsonb_exists({e}, 'raw') then 'on:' || left({e}->>'raw', 7)
     else 'is:' || coalesce({e}->>'raw', {e}->>'value') end as token offset 0
 ) {prefix}"""


def condition(cut: Cut) -> TextClause:
    """Whether a row of `sessions` is one of the cut's, for a query that has the table under its own name."""
    told = f"exists (select 1 from (select sessions.id, sessions.variables) s {joins('cut', cut.name)} where cut.token = any(:cut_tokens))"  # noqa: S608
    values = {"cut_tokens": list(cut.tokens), "cut_name": cut.name}
    return text(told).bindparams(**{name: value for name, value in values.items() if f":{name}" in told})


def label(name: str, token: str, type: str = "text", reasons: dict[str, str] | None = None) -> str:
    """A group in words. `type` is the variable's data type, `reasons` the survey's answers by their ids."""
    kind, _, rest = token.partition(":")
    match kind:
        case "none":
            return {REASON: "Not said", OFFER: "No offer"}.get(name, "No value")
        case "fell":
            return "Fell back"
        case "other":
            return "Other"
        case "on":
            return _month(rest)
        case "in":
            return _band(rest, type)
    if name == REASON:
        return (reasons or {}).get(rest, rest)
    if name == OFFER:
        return _OFFERS.get(rest, rest)
    return {"true": "Yes", "false": "No"}.get(rest, rest) if type == "boolean" else rest or "Empty"


def order(token: str) -> tuple[object, ...]:
    """Where bands and months stand among their like."""
    kind, _, rest = token.partition(":")
    if kind == "in":
        currency, low, _ = _parts(rest)
        return (currency, 0 if low is None else 1, low or Decimal(0))
    return (rest,)


def _parts(rest: str) -> tuple[str, Decimal | None, Decimal | None]:
    currency, low, high = [*rest.split(":"), "", "", ""][:3]
    return currency, Decimal(low) if low.isdigit() else None, Decimal(high) if high.isdigit() else None


def _band(rest: str, type: str) -> str:
    currency, low, high = _parts(rest)

    def told(number: Decimal) -> str:
        if len(currency) == 3 and currency.isascii() and currency.isalpha():
            return money.format(Money(int(number.scaleb(money.exponent(currency))), currency.lower()), "en")
        return f"{number:,}"

    if low is None:
        return f"Below {told(high or Decimal(0))}"
    if high is None:
        return f"{told(low)} or more"
    if type == "integer":
        return told(low) if high - low == 1 else f"{told(low)} to {told(high - 1)}"
    return f"{told(low)} to below {told(high)}"


def _month(rest: str) -> str:
    try:
        return str(format_date(date.fromisoformat(f"{rest}-01"), "MMMM y", locale="en"))
    except ValueError:
        return rest


def _bounds() -> str:
    return f"cast(array{list(_BOUNDS)} as numeric[])"


def _scale(currency: str) -> str:
    """By what an amount of this currency is divided to be in the unit people speak of."""
    named = {exponent: [code for code in money.UNUSUAL if money.exponent(code) == exponent] for exponent in (0, 3)}
    return f"case when {currency} = any(array{named[0]}) then 1 when {currency} = any(array{named[3]}) then 1000 else 100 end"
