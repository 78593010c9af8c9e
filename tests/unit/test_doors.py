"""By which door a customer left: only what Stripe's signs can bear."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connect_app.stripe_gateway import objects
from jobs.validation import doors
from tests.unit.test_revenue import item, subscription

LEFT = datetime(2026, 5, 1, 12, tzinfo=UTC)
SOON = int(LEFT.timestamp()) + 86400


def left(reason: str | None = "cancellation_requested", **more: Any) -> objects.Subscription:
    values: dict[str, Any] = {"canceled_at": int(LEFT.timestamp()), "cancellation_details": {"reason": reason}, "status": "canceled"}
    return subscription(item(), **{**values, **more})


@pytest.mark.parametrize(
    ("one", "is_portal_open", "expected"),
    [
        (left("payment_failed"), True, "payment_failure"),
        (left("payment_disputed"), True, "dispute"),
        (left("canceled_by_retention_policy"), True, "retention_policy"),
        (left(None, status="unpaid", canceled_at=None), True, "payment_failure"),
        (left(None, status="incomplete_expired"), None, "payment_failure"),
        (left(), False, "dashboard_or_api"),
        (left(), True, "outside"),
        (left(), None, "outside"),
        (left(status="active", cancel_at=SOON, billing_mode={"type": "flexible"}), True, "portal"),
        (left(status="active", cancel_at=SOON, billing_mode={"type": "flexible"}), None, "outside"),
        (left(status="active", cancel_at=SOON, billing_mode={"type": "flexible"}), False, "dashboard_or_api"),
        (left(status="active", cancel_at=SOON, billing_mode={"type": "classic"}), True, "outside"),
        (left(status="active", cancel_at=SOON, cancel_at_period_end=True, billing_mode={"type": "flexible"}), True, "outside"),
    ],
)
def test_the_door_is_what_stripe_s_signs_say(one: objects.Subscription, is_portal_open: bool | None, expected: str) -> None:
    assert doors.door(one, (), is_portal_open) == expected
    assert expected in doors.WORDS


def test_a_cancel_of_ours_is_ours_only_where_stripe_s_time_says_so() -> None:
    second = timedelta(seconds=1)
    assert doors.door(left(), [(LEFT - second, LEFT + second)], True) == "flow"
    # Ours was undone, and somebody else canceled a week later.
    week = timedelta(days=7)
    assert doors.door(left(), [(LEFT - week, LEFT - week + second)], True) == "outside"
    # Ours is on its way out, and the card fails first.
    assert doors.door(left("payment_failed"), [(LEFT - second, LEFT + second)], True) == "payment_failure"
