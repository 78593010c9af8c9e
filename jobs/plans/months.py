"""Months as Stripe counts them, and the bills that fall into a stretch of time."""

import calendar
from collections.abc import Iterator
from datetime import datetime, timedelta

from connect_app.stripe_gateway.objects import Subscription

_MOST_BILLS = 500


def later(moment: datetime, months: int) -> datetime:
    """The same day so many months on, or the month's last where it has no such day: how Stripe counts a coupon's months."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, calendar.monthrange(year, month + 1)[1]))


def bills(subscription: Subscription, first: datetime, until: datetime) -> list[datetime]:
    """The days of its bills from `first` on, before `until`; by the item that is billed most often."""
    found: list[datetime] = []
    for day in _bills(subscription, first):
        if day >= until or len(found) >= _MOST_BILLS:
            break
        found.append(day)
    return found


def _bills(subscription: Subscription, first: datetime) -> Iterator[datetime]:
    steps = [(item.price.interval, item.price.interval_count or 1) for item in subscription.items if item.price.interval]
    interval, count = min(steps, key=lambda step: _days(*step), default=("month", 1))
    for place in range(_MOST_BILLS + 1):
        if interval in ("day", "week"):
            yield first + timedelta(days=place * count * (7 if interval == "week" else 1))
        else:
            yield later(first, place * count * (12 if interval == "year" else 1))


def _days(interval: str, count: int) -> int:
    return {"day": 1, "week": 7, "month": 30, "year": 365}[interval] * count
