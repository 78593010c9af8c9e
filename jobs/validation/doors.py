"""By which door a customer left: what Stripe says of a cancellation, and what it does not."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from connect_app.stripe_gateway import objects

# Key -> how people read it. docs/revenue.md says how each is told.
WORDS = {
    "flow": "through your cancel flow",
    "portal": "in Stripe’s portal",
    "dashboard_or_api": "by your team, in Stripe’s dashboard or by the API",
    "outside": "in Stripe’s portal, in its dashboard or by the API: Stripe does not say which",
    "payment_failure": "after failed payments",
    "dispute": "after a disputed payment",
    "retention_policy": "by a retention policy of your Stripe account",
}
_REASONS = {"payment_failed": "payment_failure", "payment_disputed": "dispute", "canceled_by_retention_policy": "retention_policy"}
# Stripe's clock and ours, and the second in which Stripe writes `canceled_at`.
_CLOCKS_DIFFER = timedelta(seconds=5)


def door(subscription: objects.Subscription, ours: Iterable[tuple[datetime, datetime]], is_portal_open: bool | None) -> str:
    """How this ended or ending subscription was left. `ours` are the cancels we verified on it: (asked, verified).

    `is_portal_open` is whether Stripe's own portal lets customers of the account cancel; None where nobody knows. Of a cancellation by
    request Stripe does not tell whose it was. Two signs are left: with the portal closed it was not the portal; and the portal alone writes
    `cancel_at` where the API's `cancel_at_period_end` would write the boolean, in flexible billing mode.
    """
    if reason := _REASONS.get(subscription.cancellation.reason or ""):
        return reason
    if subscription.status in (objects.Status.UNPAID, objects.Status.INCOMPLETE_EXPIRED):
        return "payment_failure"
    left_at = subscription.canceled_at
    if left_at is not None and any(asked - _CLOCKS_DIFFER <= left_at <= verified + _CLOCKS_DIFFER for asked, verified in ours):
        return "flow"
    if is_portal_open is False:
        return "dashboard_or_api"
    has_its_mark = subscription.billing_mode == "flexible" and subscription.cancel_at is not None and not subscription.cancel_at_period_end
    return "portal" if is_portal_open and has_its_mark else "outside"
