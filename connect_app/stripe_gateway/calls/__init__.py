"""The changes we make at Stripe, each a frozen call: planned from a fresh read, kept as JSON, sent unchanged as often as needed."""

from connect_app.stripe_gateway.calls import coupons, invoices, schedules
from connect_app.stripe_gateway.calls.call import MARKER, Call, CannotPlan, are_same
from connect_app.stripe_gateway.calls.subscriptions import (
    FEEDBACK,
    add_discount,
    cancel_at_period_end,
    cancel_now,
    change_price,
    collect_again,
    describe_cancellation,
    extend_trial,
    kept_discounts,
    pause,
    remove_item,
    resume,
    set_default_payment_method,
    undo_cancel,
)

__all__ = [
    "FEEDBACK",
    "MARKER",
    "Call",
    "CannotPlan",
    "add_discount",
    "are_same",
    "cancel_at_period_end",
    "cancel_now",
    "change_price",
    "collect_again",
    "coupons",
    "describe_cancellation",
    "extend_trial",
    "invoices",
    "kept_discounts",
    "pause",
    "remove_item",
    "resume",
    "schedules",
    "set_default_payment_method",
    "undo_cancel",
]
