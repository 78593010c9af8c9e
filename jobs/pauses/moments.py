"""When something happens in the life of a pause by time alone: the reminder, the end, and the first charge after it. Pure."""

from datetime import datetime, timedelta

from connect_app.models import Pause
from connect_app.stripe_gateway.objects import Subscription

_NOTICE, _SHORT_NOTICE, _WEEK = timedelta(days=3), timedelta(days=1), timedelta(days=7)
# Who paused for less than this has only just read when it ends.
_TOO_SHORT = timedelta(days=2)
# Stripe takes a moment to resume by itself, and to charge: its news tell; where they do not come, it is asked.
_LATE, _CHARGED_WITHIN = timedelta(minutes=10), timedelta(days=1)
_WITHOUT_END = timedelta(days=30)


def reminds_at(row: Pause) -> datetime | None:
    """When the customer is to be reminded of the end: three days before, one where it lasts less than a week; None where they were."""
    ends = row.resumes_at
    if ends is None or row.reminded_for == ends or ends - row.started_at < _TOO_SHORT:
        return None
    return ends - (_SHORT_NOTICE if ends - row.started_at < _WEEK else _NOTICE)


def is_due(row: Pause, now: datetime) -> bool:
    """Whether time alone says that something is to be done: a reminder, or to see whether it has ended."""
    reminder = reminds_at(row)
    return (reminder is not None and now >= reminder) or (row.resumes_at is not None and now >= row.resumes_at)


def following(row: Pause, now: datetime) -> datetime:
    """The moment after this one; some minutes from now where Stripe ought to have ended it already."""
    if row.resumes_at is None:
        return now + _WITHOUT_END
    reminder = reminds_at(row)
    if reminder is not None and reminder > now:
        return reminder
    return row.resumes_at if row.resumes_at > now else now + _LATE


def charged_by(row: Pause, subscription: Subscription | None) -> datetime:
    """When the first bill after the pause is paid or has failed, if all goes well."""
    ended = row.ended_at or row.started_at
    return max(subscription.current_period_end if subscription is not None else ended, ended) + _CHARGED_WITHIN
