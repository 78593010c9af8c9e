"""How long a billing period is, months of unequal length included."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime


def later(moment: int, interval: str, count: int, anchor: int | None = None) -> int:
    """So many days, weeks, months or years on; months keep the anchor's day where it exists."""
    if interval in ("day", "week"):
        return moment + count * 86400 * (7 if interval == "week" else 1)
    at = datetime.fromtimestamp(moment, UTC)
    months = at.year * 12 + at.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = datetime.fromtimestamp(anchor if anchor is not None else moment, UTC).day
    day = min(day, calendar.monthrange(year, month + 1)[1])
    return int(at.replace(year=year, month=month + 1, day=day).timestamp())
