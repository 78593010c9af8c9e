"""What a field may hold, and how Stripe's JSON is read as such: seconds become times, minor units money, fractions decimals."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite

from connect_app.money import Money
from webhooks.catalogue import paths

Value = str | int | Decimal | bool | datetime | Money

_LAST_SECOND = 253_402_300_799
# Stripe's names for moments that do not end in `_at`, and for amounts in minor units of the currency that stands beside or above them.
_MOMENTS = frozenset(
    (
        "created",
        "start",
        "end",
        "start_date",
        "due_date",
        "trial_start",
        "trial_end",
        "current_period_start",
        "current_period_end",
        "period_start",
        "period_end",
        "billing_cycle_anchor",
        "next_payment_attempt",
        "redeem_by",
        "updated",
    )
)
_AMOUNTS = frozenset(
    (
        "amount",
        "amount_due",
        "amount_off",
        "amount_overpaid",
        "amount_paid",
        "amount_remaining",
        "amount_shipping",
        "balance",
        "ending_balance",
        "flat_amount",
        "post_payment_credit_notes_amount",
        "pre_payment_credit_notes_amount",
        "starting_balance",
        "subtotal",
        "subtotal_excluding_tax",
        "tax",
        "taxable_amount",
        "total",
        "total_excluding_tax",
        "unit_amount",
    )
)


def of_stripe(raw: object, root: str) -> Iterator[tuple[str, Value]]:
    """Every scalar of one of Stripe's objects as (path, value), in its own order; nulls are left out, as if absent. Never raises."""
    return _walk(raw, root, is_stripe=True)


def of_hand_off(custom: object, root: str) -> Iterator[tuple[str, Value]]:
    """The hand-off's own properties: nested objects are followed, arrays are not, and nothing is taken for Stripe's."""
    return _walk(custom, root, is_stripe=False)


def at(raw: object, keys: Sequence[str], *, is_stripe: bool) -> Value | None:
    """The one value at this place, just as the whole walk would give it; None where there is none."""
    found, key, currency = raw, "", _currency(raw, None)
    for step in keys:
        found, currency, key = paths.child(found, step, is_listing=is_stripe), _inherited(key, step, currency), step
        currency = _currency(found, currency)
    return _read(key, found, currency, is_stripe=is_stripe) if paths.is_scalar(found) else None


def wire(value: Value) -> str | int | float | bool:
    """As Stripe's own JSON would hold it: seconds, minor units, plain numbers."""
    match value:
        case datetime():
            return int(value.timestamp())
        case Money():
            return value.amount
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case _:
            return value


def _walk(raw: object, root: str, *, is_stripe: bool) -> Iterator[tuple[str, Value]]:
    # A stack of our own: what a hand-off nests a thousand deep must not end in a RecursionError.
    waiting = [(root, "", raw, _currency(raw, None))]
    while waiting:
        path, key, found, currency = waiting.pop()
        if paths.is_scalar(found):
            if (value := _read(key, found, currency, is_stripe=is_stripe)) is not None:
                yield path, value
            continue
        inner = []
        for step, part in paths.children(found, is_listing=is_stripe):
            inner.append((f"{path}.{paths.join([step])}", step, part, _currency(part, _inherited(key, step, currency))))
        waiting.extend(reversed(inner))


def _inherited(parent: str, key: str, currency: str | None) -> str | None:
    """The currency that a part is in for all its parent knows: `currency_options` has one part for each."""
    return _code(key) if parent == "currency_options" else currency


def _currency(found: object, inherited: str | None) -> str | None:
    return (_code(found.get("currency")) or inherited) if isinstance(found, Mapping) else inherited


def _code(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha() and value.islower() else None


def _read(key: str, value: paths.Scalar, currency: str | None, *, is_stripe: bool) -> Value | None:
    if isinstance(value, float):
        return Decimal(repr(value)) if isfinite(value) else None
    if not is_stripe or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return (_number(value) if key.endswith("_decimal") else None) or value
    if (key in _MOMENTS or key.endswith("_at")) and 0 < value <= _LAST_SECOND:
        return datetime.fromtimestamp(value, UTC)
    return Money(value, currency) if key in _AMOUNTS and currency is not None else value


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= 30 else None
