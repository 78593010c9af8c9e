"""The whole days (UTC) of a period that began at some moment, and what is left over before the first of them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

_EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """From `since` to `first_day_at` is the rest of a day; from `first_day` on the days are whole."""

    since: datetime
    first_day: date
    first_day_at: datetime


def whole(since: datetime | None) -> Days:
    """The days since then; None: all of them."""
    begun = (since or _EVER).astimezone(UTC)
    first = datetime.combine(begun.date(), time(), UTC)
    first_at = first if first == begun else first + timedelta(days=1)
    return Days(since=begun, first_day=first_at.date(), first_day_at=first_at)
