"""The fields that every account has: their names, what they are called, and how each is read from a subscriber.

The names of Brightback's example payload are here as they stood there, read from both of Stripe's shapes: `subscription.plan.*` is the
first item's price, whatever Stripe calls it today.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from connect_app.money import Money
from connect_app.stripe_gateway import objects
from webhooks import revenue
from webhooks.catalogue.subjects import Subject
from webhooks.catalogue.values import Value

Group = Literal["stripe", "handoff", "computed"]
# Also the data types of a mapping.
Type = Literal["text", "date", "decimal", "email", "url", "integer", "boolean", "money"]

_TWO_YEARS = timedelta(days=730)
_FREQUENCIES = {("day", 1): "daily", ("week", 1): "weekly", ("month", 1): "monthly", ("month", 3): "quarterly", ("year", 1): "yearly"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One field: its path, whose it is, its name for people, its type, and how it is read; None where this subscriber has no such value."""

    path: str
    group: Group
    label: str
    type: Type
    read: Callable[[Subject, datetime], Value | None]

    @property
    def root(self) -> str:
        """Which part of the subject it comes from, a key of `Subject.as_of`."""
        return _ROOTS.get(self.path) or self.path.split(".")[0]


def _subscription(read: Callable[[objects.Subscription], Value | None]) -> Callable[[Subject, datetime], Value | None]:
    return lambda subject, _: None if subject.subscription is None else read(subject.subscription)


def _customer(read: Callable[[objects.Customer], Value | None]) -> Callable[[Subject, datetime], Value | None]:
    return lambda subject, _: None if subject.customer is None else read(subject.customer)


def _price(read: Callable[[objects.Price], Value | None]) -> Callable[[Subject, datetime], Value | None]:
    """Of the first item's price as the subscription itself holds it."""
    return lambda subject, _: read(subject.subscription.items[0].price) if subject.subscription and subject.subscription.items else None


def _invoice(read: Callable[[objects.Invoice], Value | None]) -> Callable[[Subject, datetime], Value | None]:
    return lambda subject, _: None if subject.invoice is None else read(subject.invoice)


def _discount(read: Callable[[objects.Discount], Value | None]) -> Callable[[Subject, datetime], Value | None]:
    return lambda subject, now: next((read(one) for one in active_discounts(subject, now)), None)


def _coupon(read: Callable[[objects.Coupon], Value | None]) -> Callable[[Subject, datetime], Value | None]:
    return _discount(lambda discount: None if discount.terms is None else read(discount.terms))


def active_discounts(subject: Subject, now: datetime) -> tuple[objects.Discount, ...]:
    """Those that are still at work."""
    return tuple(one for one in subject.discounts if not one.is_deleted and (one.ends_at is None or one.ends_at > now))


def _quantity(subscription: objects.Subscription) -> int | None:
    counted = [item.quantity for item in subscription.items if item.quantity is not None]
    return sum(counted) if counted else None


def _unit_amount(price: objects.Price) -> Money | None:
    return None if price.unit_amount is None else Money(price.unit_amount, price.currency)


def _product_name(subject: Subject, _now: datetime) -> str | None:
    if subject.product is not None and subject.product.name:
        return subject.product.name
    items = subject.subscription.items if subject.subscription else ()
    return items[0].price.product_name if items else None


def _plan_name(subject: Subject, now: datetime) -> str | None:
    """The products' names, with how many there are of each where there are several items; else what the price is called."""
    items = subject.subscription.items if subject.subscription else ()
    if len(items) < 2:
        return _product_name(subject, now) or (items[0].price.nickname if items else None)
    named = [(item.quantity, _name(subject, item.price)) for item in items]
    return " + ".join(f"{count} × {name or 'Item'}" if count not in (None, 1) else name or "Item" for count, name in named)


def _name(subject: Subject, price: objects.Price) -> str | None:
    product = subject.products.get(price.product or "")
    return (product.name if product else None) or price.product_name or price.nickname


def _first_name(customer: objects.Customer) -> str | None:
    words = (customer.name or "").split()
    return words[0] if words else None


def _place(part: str) -> Callable[[Subject, datetime], Value | None]:
    def read(subject: Subject, _now: datetime) -> Value | None:
        place = tax_place(subject.customer)
        value = place.get(part) if place else None
        return value if isinstance(value, str) else None

    return read


def tax_place(customer: objects.Customer | None) -> Mapping[str, object] | None:
    """Where the customer is for taxes: Stripe's own finding where it was sent, else the shipping, else the billing address, as Stripe
    itself goes by them.
    """
    raw = customer.raw if customer else {}
    tax, shipping = raw.get("tax"), raw.get("shipping")
    found = [("tax", tax.get("location") if isinstance(tax, Mapping) else None)]
    found += [("shipping_destination", shipping.get("address") if isinstance(shipping, Mapping) else None)]
    found += [("billing_address", raw.get("address"))]
    for source, place in found:
        if isinstance(place, Mapping) and isinstance(place.get("country"), str):
            return {"source": source, **place}
    return None


def _mrr(subject: Subject, now: datetime) -> Money | None:
    return None if subject.subscription is None else revenue.mrr(subject.subscription, subject.discounts, now)


def _billing_frequency(subscription: objects.Subscription) -> str | None:
    rhythms = {(item.price.interval, item.price.interval_count or 1) for item in subscription.items}
    if len(rhythms) != 1:
        return "mixed" if rhythms else None
    interval, count = rhythms.pop()
    if interval is None:
        return None
    return _FREQUENCIES.get((interval, count), f"every {count} {interval}s")


def _tenure_days(subject: Subject, now: datetime) -> int | None:
    if subject.subscription is None:
        return None
    until = min(now, subject.subscription.ended_at or now)
    return max(0, (until - subject.subscription.start_date).days)


def _next_invoice_date(subject: Subject, now: datetime) -> datetime | None:
    at = subject.subscription.next_charge if subject.subscription else None
    return at if at is not None and at > now else None


def _paid_24m(subject: Subject, now: datetime) -> Money | None:
    """In the subscription's currency, or the only one there is: there is no exchange rate here to add up two with."""
    recent = [amount for at, amount in subject.purchases.paid if now - _TWO_YEARS < at <= now]
    currencies = {amount.currency for amount in recent}
    currency = subject.subscription.currency if subject.subscription else currencies.pop() if len(currencies) == 1 else None
    return None if currency is None else sum((one for one in recent if one.currency == currency), Money(0, currency))


def _discount_active(subject: Subject, now: datetime) -> bool | None:
    return None if subject.subscription is None else bool(active_discounts(subject, now))


def _stripe(path: str, label: str, type: Type, read: Callable[[Subject, datetime], Value | None]) -> Known:
    return Known(path=path, group="stripe", label=label, type=type, read=read)


def _computed(path: str, label: str, type: Type, read: Callable[[Subject, datetime], Value | None]) -> Known:
    return Known(path=path, group="computed", label=label, type=type, read=read)


_EVERY = (
    _stripe("subscription.id", "Subscription id", "text", _subscription(lambda s: s.id)),
    _stripe("subscription.status", "Subscription status", "text", _subscription(lambda s: str(s.status))),
    _stripe("subscription.created", "Subscription created", "date", _subscription(lambda s: s.created)),
    _stripe("subscription.start_date", "Subscription started", "date", _subscription(lambda s: s.start_date)),
    _stripe("subscription.current_period_start", "Current period started", "date", _subscription(lambda s: s.current_period_start)),
    _stripe("subscription.current_period_end", "Current period ends", "date", _subscription(lambda s: s.current_period_end)),
    _stripe("subscription.trial_start_date", "Trial started", "date", _subscription(lambda s: s.trial_start)),
    _stripe("subscription.trial_end_date", "Trial ends", "date", _subscription(lambda s: s.trial_end)),
    _stripe("subscription.cancel_at_period_end", "Cancels at period end", "boolean", _subscription(lambda s: s.cancel_at_period_end)),
    _stripe("subscription.cancel_at", "Cancels on", "date", _subscription(lambda s: s.ends_at)),
    _stripe("subscription.canceled_at", "Cancel asked for", "date", _subscription(lambda s: s.canceled_at)),
    _stripe("subscription.ended_at", "Ended", "date", _subscription(lambda s: s.ended_at)),
    _stripe("subscription.is_paused", "Paused", "boolean", _subscription(lambda s: s.is_paused)),
    _stripe("subscription.resumes_at", "Pause ends", "date", _subscription(lambda s: s.pause.resumes_at if s.pause else None)),
    _stripe("subscription.collection_method", "How it is paid", "text", _subscription(lambda s: s.collection_method)),
    _stripe("subscription.currency", "Currency", "text", _subscription(lambda s: s.currency)),
    _stripe("subscription.amount", "Price per interval, before discounts", "money", _subscription(lambda s: s.amount)),
    _stripe("subscription.quantity", "Quantity of all items", "integer", _subscription(_quantity)),
    _stripe("subscription.customer.id", "Customer id", "text", lambda subject, _: subject.customer_id or None),
    _stripe("subscription.customer.email", "Customer’s email", "email", _customer(lambda c: c.email)),
    _stripe("subscription.customer.created", "Customer created", "date", _customer(lambda c: c.created)),
    _stripe("subscription.plan.id", "Plan id", "text", _price(lambda p: p.id)),
    _stripe("subscription.plan.nickname", "Plan’s nickname", "text", _price(lambda p: p.nickname)),
    _stripe("subscription.plan.interval", "Plan’s interval", "text", _price(lambda p: p.interval)),
    _stripe("subscription.plan.interval_count", "Plan’s number of intervals", "integer", _price(lambda p: p.interval_count)),
    _stripe("subscription.plan.amount", "Plan’s amount", "money", _price(_unit_amount)),
    _stripe("subscription.plan.amount_decimal", "Plan’s amount in minor units", "decimal", _price(lambda p: p.unit_amount_decimal)),
    _stripe("subscription.plan.currency", "Plan’s currency", "text", _price(lambda p: p.currency)),
    _stripe("subscription.plan.billing_scheme", "Plan’s billing scheme", "text", _price(lambda p: p.billing_scheme)),
    _stripe("subscription.plan.usage_type", "Plan’s usage type", "text", _price(lambda p: p.usage_type)),
    _stripe("subscription.plan.product.id", "Product id", "text", _price(lambda p: p.product)),
    _stripe("subscription.plan.product.name", "Product name", "text", _product_name),
    _stripe("customer.name", "Customer’s name", "text", _customer(lambda c: c.name)),
    _stripe("customer.email", "Customer’s email", "email", _customer(lambda c: c.email)),
    _stripe("customer.created", "Customer created", "date", _customer(lambda c: c.created)),
    _stripe("customer.currency", "Customer’s currency", "text", _customer(lambda c: c.currency)),
    _stripe("customer.preferred_locale", "Customer’s language", "text", _customer(lambda c: next(iter(c.preferred_locales), None))),
    _stripe("product.name", "Product name", "text", _product_name),
    _stripe("discount.coupon.id", "Coupon id", "text", _discount(lambda d: d.coupon)),
    _stripe("discount.coupon.name", "Coupon name", "text", _coupon(lambda c: c.name)),
    _stripe("discount.coupon.percent_off", "Coupon’s percent off", "decimal", _coupon(lambda c: c.percent_off)),
    _stripe("discount.coupon.amount_off", "Coupon’s amount off", "money", _coupon(lambda c: c.amount_off)),
    _stripe("discount.coupon.duration", "Coupon’s duration", "text", _coupon(lambda c: c.duration)),
    _stripe("discount.ends_at", "Discount ends", "date", _discount(lambda d: d.ends_at)),
    _stripe("invoice.total", "Last invoice’s total", "money", _invoice(lambda i: i.total)),
    _stripe(
        "invoice.amount_paid",
        "Paid on the last invoice",
        "money",
        _invoice(lambda i: i.amount_paid),
    ),
    _stripe("invoice.status", "Last invoice’s status", "text", _invoice(lambda i: i.status)),
    _stripe("invoice.created", "Last invoice made", "date", _invoice(lambda i: i.created)),
    _stripe("invoice.paid_at", "Last invoice paid", "date", _invoice(lambda i: i.paid_at)),
    _stripe("tax_location.country", "Country for taxes", "text", _place("country")),
    _stripe("tax_location.state", "State for taxes", "text", _place("state")),
    _stripe("tax_location.postal_code", "Postal code for taxes", "text", _place("postal_code")),
    _stripe("tax_location.source", "How the place for taxes is known", "text", _place("source")),
    _computed("first_name", "First name", "text", _customer(_first_name)),
    _computed("plan_name", "What they pay for", "text", _plan_name),
    _computed("mrr", "Monthly recurring revenue", "money", _mrr),
    _computed("billing_frequency", "Billing frequency", "text", _subscription(_billing_frequency)),
    _computed("tenure_days", "Days subscribed", "integer", _tenure_days),
    _computed("first_purchase_date", "First purchase", "date", lambda subject, _: subject.purchases.first_paid_at),
    _computed("discount_active", "Has a discount", "boolean", _discount_active),
    _computed("next_invoice_date", "Next invoice", "date", _next_invoice_date),
    _computed("paid_24m", "Paid in the last 24 months", "money", _paid_24m),
)

FIELDS: Mapping[str, Known] = {one.path: one for one in _EVERY}

_ROOTS = {
    **dict.fromkeys((path for path, one in FIELDS.items() if one.group == "computed"), "subscription"),
    "first_name": "customer",
    "subscription.customer.email": "customer",
    "subscription.customer.created": "customer",
    "subscription.plan.product.name": "product",
    **dict.fromkeys((path for path in FIELDS if path.startswith("tax_location.")), "customer"),
    **dict.fromkeys((path for path in FIELDS if path.startswith("discount.")), "subscription"),
}
