"""A quick look at the objects that news is mostly about: whether they are as Stripe makes them today, and their row if so.

What is out of the ordinary is left to the thorough reading of `rows.row`, which this one never contradicts: it only answers sooner.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from webhooks.projections.rows import Row, written

_BIGGEST = 2**63 - 1
# As objects.Shape has them: whole numbers a database holds, times until the year 9999, ids that are not empty and fit an index.
_Whole = Annotated[int, Meta(ge=-_BIGGEST, le=_BIGGEST)]
_Instant = Annotated[int, Meta(ge=0, le=253_402_300_799)]
_Count = Annotated[int, Meta(ge=1, le=_BIGGEST)]
_Name = Annotated[str, Meta(min_length=1)]
_Key = Annotated[str, Meta(min_length=1, max_length=255)]
_Metadata = dict[str, str] | None


class _Flat(msgspec.Struct):
    """Nothing is expanded in it, and none of today's shape of it has what was left behind in the years."""

    customer: _Name | None = None
    product: _Name | None = None
    latest_invoice: _Name | None = None
    default_payment_method: _Name | None = None
    default_source: _Name | None = None
    schedule: _Name | None = None
    subscription: _Name | None = None
    discounts: list[str] | None = None
    discount: None = None
    items: None = None
    price: None = None
    plan: None = None


class _Recurring(msgspec.Struct):
    interval: Literal["day", "week", "month", "year"]
    interval_count: _Count | None = None
    usage_type: Literal["licensed", "metered"] | None = None


class _Price(_Flat, kw_only=True):
    id: _Name
    currency: str
    unit_amount: _Whole | None = None
    unit_amount_decimal: str | None = None
    recurring: _Recurring | None = None
    billing_scheme: Literal["per_unit"] | None = None
    transform_quantity: None = None
    nickname: str | None = None
    active: bool | None = None
    metadata: _Metadata = None
    # A plan has it, whatever it holds.
    interval: UnsetType | None = UNSET


class _Line(_Flat, kw_only=True):
    id: _Name
    price: _Price  # type: ignore[assignment]
    plan: _Flat | None = None  # type: ignore[assignment]
    quantity: _Whole | None = None
    current_period_start: _Instant | None = None
    current_period_end: _Instant | None = None


class _Lines(msgspec.Struct):
    data: list[_Line]
    has_more: bool | None = None


class _Details(msgspec.Struct):
    feedback: str | None = None
    comment: str | None = None
    reason: str | None = None


class _Pause(msgspec.Struct):
    behavior: Literal["void", "mark_uncollectible", "keep_as_draft"]
    resumes_at: _Instant | None = None


class _Mode(msgspec.Struct):
    type: str | None = None


class _Subscription(_Flat, kw_only=True):
    id: _Key
    object: Literal["subscription"]
    customer: _Key
    status: Literal["incomplete", "incomplete_expired", "trialing", "active", "past_due", "unpaid", "paused", "canceled"]
    livemode: bool
    created: _Instant
    items: _Lines  # type: ignore[assignment]
    plan: _Flat | None = None  # type: ignore[assignment]
    start_date: _Instant | None = None
    currency: str | None = None
    current_period_start: _Instant | None = None
    current_period_end: _Instant | None = None
    cancel_at_period_end: bool | None = None
    cancel_at: _Instant | None = None
    canceled_at: _Instant | None = None
    ended_at: _Instant | None = None
    cancellation_details: _Details | None = None
    trial_start: _Instant | None = None
    trial_end: _Instant | None = None
    pause_collection: _Pause | None = None
    pending_update: dict[str, Any] | None = None
    collection_method: str | None = None
    billing_mode: _Mode | None = None
    metadata: _Metadata = None
    deleted: None = None


class _Settings(msgspec.Struct):
    default_payment_method: _Name | None = None


class _Customer(_Flat, kw_only=True):
    id: _Key
    object: Literal["customer"]
    created: _Instant
    email: str | None = None
    name: str | None = None
    currency: str | None = None
    invoice_settings: _Settings | None = None
    preferred_locales: list[str] | None = None
    metadata: _Metadata = None
    deleted: None = None


class _SubscriptionDetails(msgspec.Struct):
    subscription: _Key | None = None


class _Parent(msgspec.Struct):
    subscription_details: _SubscriptionDetails | None = None


class _Transitions(msgspec.Struct):
    paid_at: _Instant | None = None


class _Invoice(_Flat, kw_only=True):
    id: _Key
    object: Literal["invoice"]
    currency: str
    total: _Whole
    amount_paid: _Whole
    created: _Instant
    period_start: _Instant
    period_end: _Instant
    status: Literal["draft", "open", "paid", "uncollectible", "void"] | None = None
    subscription: _Key | None = None
    parent: _Parent | None = None
    status_transitions: _Transitions | None = None
    billing_reason: str | None = None
    hosted_invoice_url: str | None = None
    deleted: None = None


def row(kind: str, raw: Mapping[str, object], as_of: datetime) -> Row | None:
    """The row of an object that is plainly in order, the same that `rows.row` gives; None says nothing about it."""
    look = _LOOKS.get(kind)
    if look is None:
        return None
    try:
        id, columns, discounts = look(raw)
    except (msgspec.ValidationError, _Unusual):
        return None
    if not id.isprintable():
        return None
    return Row(kind=kind, id=id, as_of=as_of, is_deleted=False, json=written(raw), columns=columns, discounts=discounts)


class _Unusual(Exception):
    """Nothing wrong with it, but not for a glance."""


_Seen = tuple[str, Mapping[str, object], frozenset[str]]
_NONE: frozenset[str] = frozenset()


def _subscription(raw: Mapping[str, object]) -> _Seen:
    found = msgspec.convert(raw, _Subscription)
    lines = found.items.data
    currency = _currency(found.currency if found.currency is not None else lines[0].price.currency if lines else "")
    has_start = found.current_period_start is not None or any(line.current_period_start is not None for line in lines)
    end = min((line.current_period_end for line in lines if line.current_period_end is not None), default=found.current_period_end)
    if not has_start or end is None:
        raise _Unusual
    columns = {
        "customer": found.customer,
        "status": found.status,
        "created_at": _time(found.created),
        "current_period_end": _time(end),
        "cancel_at_period_end": found.cancel_at_period_end or False,
        "cancel_at": None if found.cancel_at is None else _time(found.cancel_at),
        "ended_at": None if found.ended_at is None else _time(found.ended_at),
        "is_paused": found.pause_collection is not None or found.status == "paused",
        "schedule": found.schedule,
        "price": lines[0].price.id if lines else None,
        "currency": currency,
        "amount": _amount(lines, currency, has_more=found.items.has_more or False),
        "default_payment_method": found.default_payment_method,
    }
    named = [id for part in (found, *lines) if part.discounts for id in part.discounts]
    return found.id, columns, frozenset(named) if named else _NONE


def _amount(lines: list[_Line], currency: str, *, has_more: bool) -> int | None:
    """As objects.Subscription.amount says it, for prices per unit."""
    total, intervals, is_known = 0, set(), not has_more
    for line in lines:
        price = line.price
        _currency(price.currency)
        if price.interval is not UNSET:
            raise _Unusual
        if price.unit_amount_decimal is not None and price.unit_amount_decimal != str(price.unit_amount):
            raise _Unusual
        if price.recurring is not None and price.recurring.usage_type == "metered":
            continue
        recurring = price.recurring
        intervals.add((recurring.interval, recurring.interval_count or 1) if recurring else None)
        if price.unit_amount is None or price.currency != currency:
            is_known = False
        else:
            total += price.unit_amount * (1 if line.quantity is None else line.quantity)
    if len(intervals) != 1 or not is_known:
        return None
    if abs(total) > _BIGGEST:
        raise _Unusual
    return total


def _customer(raw: Mapping[str, object]) -> _Seen:
    found = msgspec.convert(raw, _Customer)
    if found.currency is not None:
        _currency(found.currency)
    columns = {
        "email": found.email,
        "name": found.name,
        "created_at": _time(found.created),
        "default_payment_method": found.invoice_settings.default_payment_method if found.invoice_settings else None,
    }
    return found.id, columns, _NONE


def _invoice(raw: Mapping[str, object]) -> _Seen:
    found = msgspec.convert(raw, _Invoice)
    details = found.parent.subscription_details if found.parent else None
    paid_at = found.status_transitions.paid_at if found.status_transitions else None
    columns = {
        "customer": found.customer,
        "subscription": (details.subscription if details else None) or found.subscription,
        "status": found.status,
        "created_at": _time(found.created),
        "paid_at": None if paid_at is None else _time(paid_at),
        "currency": _currency(found.currency),
        "total": found.total,
        "amount_paid": found.amount_paid,
    }
    return found.id, columns, _NONE


def _currency(text: str) -> str:
    if not (len(text) == 3 and text.isascii() and text.isalpha() and text.islower()):
        raise _Unusual
    return text


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


_LOOKS: Mapping[str, Callable[[Mapping[str, object]], _Seen]] = {
    "subscription": _subscription,
    "customer": _customer,
    "invoice": _invoice,
}
