"""What a session was worth, in words; and how good the data behind it is: last sync, accounts matched, webhook lag."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from connect_app import money
from connect_app.admin import cases
from connect_app.models import Connection, Outcome
from connect_app.models.base import Json
from connect_app.money import Money
from jobs.validation import doors

_MATCHED = """
select count(*) filter (where is_matched) as matched, count(*) filter (where not is_matched) as unmatched from (
  select bool_or(m.id is not null) as is_matched
  from sessions s left join subscriptions m on m.connection_id = s.connection_id and m.id = s.subscription and not m.is_deleted
  where s.workspace_id = :workspace and s.mode = :mode and s.shown_at is not null
  group by s.customer
) customers
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One amount of a session: what it is, how much, and when Stripe was read for it."""

    name: str
    value: str
    note: str | None = None
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """The state of the data that revenue is told from. Accounts are customers with a session; the mirror has a matched one's
    subscription, or at least one of theirs.
    """

    synced_at: datetime | None
    matched: int
    unmatched: int
    lag: str | None
    heard_at: datetime | None


def lines(outcome: Outcome | None) -> list[Line]:
    """The frozen values of a session's outcome; empty where nothing has been read."""
    known: Json = (outcome.revenue if outcome else None) or {}
    found = []
    for key, name, note in (
        ("stake", "At stake", "a month, before the choice changed anything"),
        ("fired", "When it was put on watch", "a month, as Stripe showed it then"),
        ("ended", "At the end of the save interval", "a month, as Stripe showed it then"),
    ):
        if key in known and not (key == "fired" and outcome is not None and outcome.state == "canceled"):
            told = cases.amount(known[key])
            at = datetime.fromisoformat(known[key]["read_at"])
            found.append(Line(name=name, value=told or "Cannot be said", note=note if told else _UNSAYABLE, read_at=at))
    for key, name in (("saved", "Saved"), ("lost", "Lost")):
        if known.get(key):
            note = f"a month, counted in {known['told_in']}" if known.get("told_in") else "a month"
            found.append(Line(name=name, value=cases.amount(known[key]) or "Cannot be said", note=note))
    read_at = datetime.fromisoformat(known["paid_read_at"]) if known.get("paid_read_at") else None
    for currency, sums in sorted((known.get("paid") or {}).items()):
        net = Money(sums["paid"] - sums["refunded"] - sums["disputed"], currency)
        found.append(Line(name="Paid since", value=money.format(net, "en"), note=_taken(sums, currency), read_at=read_at))
    if read_at is not None and not known.get("paid"):
        found.append(Line(name="Paid since", value="Nothing yet", read_at=read_at))
    return found


_UNSAYABLE = "tiers, a currency or a coupon’s terms are not known"


def door(outcome: Outcome | None) -> str | None:
    """By which way a lost customer left, in words."""
    return doors.WORDS.get(outcome.door, outcome.door) if outcome is not None and outcome.door is not None else None


def data_card(session: Session, workspace_id: str, mode: str, connection: Connection | None) -> DataCard | None:
    """How current and how complete the data is; None where nothing is connected in this mode."""
    if connection is None:
        return None
    counted = session.execute(text(_MATCHED), {"workspace": workspace_id, "mode": mode}).one()
    finished = connection.read_in.get("finished_at")
    synced = [connection.reconciled_at, datetime.fromisoformat(finished) if finished else None]
    return DataCard(
        synced_at=max((at for at in synced if at is not None), default=None),
        matched=counted.matched,
        unmatched=counted.unmatched,
        lag=_seconds(connection.last_event_lag_ms),
        heard_at=connection.last_event_at,
    )


def _taken(sums: Mapping[str, int], currency: str) -> str | None:
    parts = [
        f"{money.format(Money(sums[key], currency), 'en')} {word}"
        for key, word in (("refunded", "given back"), ("disputed", "disputed"))
        if sums[key]
    ]
    return f"after {' and '.join(parts)}" if parts else None


def _seconds(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    if milliseconds < 1000:
        return "Under a second"
    return f"{milliseconds / 1000:,.0f} s"
