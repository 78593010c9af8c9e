"""An invoice: what was asked, what was paid, and for which subscription."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from connect_app.money import Money
from connect_app.stripe_gateway.objects.shape import Shape

_STATUSES = frozenset(("draft", "open", "paid", "uncollectible", "void"))
_HELD_BACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice; `subscription` is None for one that was made by hand. `total` may be negative: a credit.

    `due` is what is asked of the customer after their balance is counted in, `remaining` what is still to be paid of that.
    `auto_advance` says that Stripe goes on collecting it.
    """

    id: str
    customer: str | None
    subscription: str | None
    status: str | None
    total: Money
    due: Money
    remaining: Money
    amount_paid: Money
    currency: str
    created: datetime
    paid_at: datetime | None
    period_start: datetime
    period_end: datetime
    billing_reason: str | None
    hosted_invoice_url: str | None
    auto_advance: bool
    raw: Mapping[str, object] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """A bill that is yet to come: what is left to pay of it, tax and balance counted in, and when Stripe makes it.

    A `total` below nothing is credited to the customer's balance.
    """

    due: Money
    total: Money
    at: datetime


def read_upcoming(raw: Mapping[str, object]) -> Upcoming:
    """An `invoice` of `create_preview`. Raises Malformed."""
    shape = Shape(raw)
    # Stripe makes a bill an hour before it charges it; the day that people are told is the one on which it is made.
    charged_at, due = shape.maybe_instant("next_payment_attempt"), shape.whole("amount_due")
    total = shape.maybe_whole("total")
    return Upcoming(
        due=Money(due, shape.currency()),
        total=Money(due if total is None else total, shape.currency()),
        at=shape.instant("created") if charged_at is None else charged_at - _HELD_BACK,
    )


def read_invoice(raw: Mapping[str, object]) -> Invoice:
    """An `invoice` of any API version from 2020-03-02 on. Raises Malformed."""
    shape = Shape(raw)
    currency = shape.currency()
    transitions = shape.maybe_part("status_transitions")
    total, due, remaining = shape.whole("total"), shape.maybe_whole("amount_due"), shape.maybe_whole("amount_remaining")
    due = max(0, total) if due is None else due
    return Invoice(
        id=shape.name(),
        customer=shape.maybe_reference("customer"),
        subscription=_subscription(shape),
        status=shape.maybe_choice("status", _STATUSES),
        total=Money(total, currency),
        due=Money(due, currency),
        remaining=Money(max(0, due - shape.whole("amount_paid")) if remaining is None else remaining, currency),
        amount_paid=Money(shape.whole("amount_paid"), currency),
        currency=currency,
        created=shape.instant("created"),
        paid_at=transitions.maybe_instant("paid_at") if transitions else None,
        period_start=shape.instant("period_start"),
        period_end=shape.instant("period_end"),
        billing_reason=shape.maybe_text("billing_reason"),
        hosted_invoice_url=shape.maybe_text("hosted_invoice_url"),
        auto_advance=shape.flag("auto_advance", default=False),
        raw=shape.raw,
    )


def _subscription(shape: Shape) -> str | None:
    """Under `parent` since 2025-03-31, at the top before."""
    parent = shape.maybe_part("parent")
    details = parent.maybe_part("subscription_details") if parent else None
    return (details.maybe_reference("subscription") if details else None) or shape.maybe_reference("subscription")
