"""What a subscription is worth a month: the one definition of MRR, which docs/revenue.md states for people."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction

from connect_app.money import Money
from connect_app.stripe_gateway import objects

# Months in one interval: 52 weeks and 365 days make twelve months.
_MONTHS = {"month": Fraction(1), "year": Fraction(12), "week": Fraction(12, 52), "day": Fraction(12, 365)}


class _Unknown(Exception):
    """Something that decides the amount was not told."""


def mrr(subscription: objects.Subscription, discounts: Sequence[objects.Discount], at: datetime) -> Money | None:
    """Items x quantity, per month, in the subscription's currency; the discounts at work at `at` taken off, metered items left out.

    By its terms alone: whether it is paid, on trial, paused or over is the status's to say. `discounts` are those known of the
    subscription and of its items, with their coupons' terms; which of them are at work, and in which order, the subscription says. A
    coupon for one invoice (`once`) takes nothing off a month. None where it cannot be said: items or tiers that were not sent, a price in
    another currency, a coupon without its terms, or a fixed amount off invoices of different intervals.
    """
    if subscription.has_more_items:
        return None
    known = {discount.id: discount for discount in (*subscription.discounts, *discounts) if discount.id and discount.terms}
    try:
        lines = [_line(item, subscription.currency, known, at) for item in subscription.items if item.price.usage_type != "metered"]
        for discount in subscription.discounts or _of_customer(subscription, discounts):
            _take_off(lines, _told(discount, known), at, subscription.currency)
    except _Unknown:
        return None
    cents = sum((line.amount / line.months for line in lines), Fraction(0))
    return _rounded(cents, subscription.currency)


def _of_customer(subscription: objects.Subscription, discounts: Sequence[objects.Discount]) -> list[objects.Discount]:
    """A customer's own discount is for the subscriptions that have none."""
    if any(item.discounts for item in subscription.items):
        return []
    return [discount for discount in discounts if discount.subscription is None and discount.customer == subscription.customer]


class _Line:
    """An item's amount for one of its intervals, exact, while discounts are being taken off it."""

    __slots__ = ("amount", "months", "product")

    def __init__(self, amount: Fraction, months: Fraction, product: str | None) -> None:
        self.amount, self.months, self.product = amount, months, product


def _line(item: objects.Item, currency: str, known: Mapping[str, objects.Discount], at: datetime) -> _Line:
    price = item.price
    if price.currency != currency or price.interval not in _MONTHS:
        raise _Unknown
    quantity = 1 if item.quantity is None else item.quantity
    amount = price.amount(quantity)
    cents = Fraction(amount.amount) if amount is not None else _tiered(price, quantity)
    line = _Line(cents, _MONTHS[price.interval] * (price.interval_count or 1), price.product)
    for discount in item.discounts:
        _take_off([line], _told(discount, known), at, currency)
    return line


def _told(discount: objects.Discount, known: Mapping[str, objects.Discount]) -> objects.Discount:
    if discount.terms is not None:
        return discount
    if discount.id is None or discount.id not in known:
        raise _Unknown
    return known[discount.id]


def _take_off(lines: Iterable[_Line], discount: objects.Discount, at: datetime, currency: str) -> None:
    terms = discount.terms
    if terms is None or terms.is_deleted:
        raise _Unknown
    if terms.duration == "once" or (discount.ends_at is not None and discount.ends_at <= at):
        return
    meant = [line for line in lines if terms.products is None or line.product in terms.products]
    if terms.percent_off is not None:
        for line in meant:
            line.amount *= 1 - Fraction(terms.percent_off) / 100
        return
    if len({line.months for line in meant}) > 1:
        raise _Unknown
    total = sum((line.amount for line in meant), Fraction(0))
    if total > 0:
        left = max(Fraction(0), 1 - _amount_off(terms, currency) / total)
        for line in meant:
            line.amount *= left


def _amount_off(terms: objects.Coupon, currency: str) -> Fraction:
    """A coupon's fixed amount in this currency: its own, or one of its `currency_options`."""
    if terms.amount_off is not None and terms.amount_off.currency == currency:
        return Fraction(terms.amount_off.amount)
    options = objects.Shape(terms.raw).maybe_part("currency_options")
    option = options.maybe_part(currency) if options else None
    if option is None:
        raise _Unknown
    return Fraction(option.whole("amount_off"))


def _tiered(price: objects.Price, quantity: int) -> Fraction:
    """The tiers' price of this quantity: each piece in its own tier (`graduated`), or all in the one they end in (`volume`)."""
    shape = objects.Shape(price.raw)
    tiers = list(shape.parts("tiers")) if price.billing_scheme == "tiered" and price.raw.get("tiers") else []
    if not tiers or price.package is not None:
        raise _Unknown
    is_volume = shape.maybe_text("tiers_mode") == "volume"
    total, counted = Fraction(0), 0
    for place, tier in enumerate(tiers):
        last = tier.maybe_whole("up_to")
        reached = quantity if last is None else min(quantity, last)
        if is_volume:
            if last is None or quantity <= last:
                return _tier_amount(tier, "flat_amount") + _tier_amount(tier, "unit_amount") * quantity
        elif reached > counted or (place == 0 and quantity == 0):
            total += _tier_amount(tier, "flat_amount") + _tier_amount(tier, "unit_amount") * (reached - counted)
            counted = reached
    if is_volume or counted < quantity:
        raise _Unknown
    return total


def _tier_amount(tier: objects.Shape, key: str) -> Fraction:
    exact = tier.maybe_decimal(f"{key}_decimal")
    return Fraction(exact) if exact is not None else Fraction(tier.maybe_whole(key) or 0)


def _rounded(cents: Fraction, currency: str) -> Money:
    """To the nearest minor unit, half of one upwards: amounts are never negative here."""
    return Money((2 * cents.numerator + cents.denominator) // (2 * cents.denominator), currency)
