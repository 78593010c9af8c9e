"""Dates and prices as this customer reads them."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from babel.dates import format_date

from connect_app import money
from connect_app.stripe_gateway.objects import Customer, Item, Price, Subscription

# What our pages are written in, and what is read to those of whom nobody knows better.
LANGUAGE = "en"

OPEN_INVOICE = "Only an open invoice"


def reader(wanted: str | None, customer: Customer | None) -> str:
    """What a customer's own values are written for: the hand-off's locale, else the first they prefer at Stripe, else English."""
    for tag in (wanted, *(customer.preferred_locales if customer else ())):
        if tag and money.is_known(tag):
            return tag
    return LANGUAGE


def day(at: datetime, locale: str) -> str:
    """`December 22, 2026`, as a reader of `locale` writes it; an unknown locale reads English."""
    return format_date(at.date(), format="long", locale=money.reader(locale))


def while_paused(resumes_at: datetime | None, locale: str) -> str:
    """What a paused subscription says for its next charge."""
    return f"None while paused; resumes on {day(resumes_at, locale)}" if resumes_at else "None while paused"


def price(subscription: Subscription, locale: str) -> str:
    """`€29.00 per month`; empty where it depends on usage."""
    amount = subscription.amount
    if amount is None:
        return "Price depends on usage"
    return f"{money.format(amount, locale)} {interval(subscription)}".strip()


def interval(subscription: Subscription) -> str:
    """`per month`, `every 3 months`; empty where the items differ or there are none."""
    return every(item.price for item in subscription.items)


def every(prices: Iterable[Price]) -> str:
    """How often these are billed, if all alike."""
    found = {(price.interval, price.interval_count or 1) for price in prices}
    [(name, count)] = found if len(found) == 1 else [(None, 1)]
    return "" if name is None else f"per {name}" if count == 1 else f"every {count} {name}s"


def names_wanted(subscriptions: Iterable[Subscription]) -> list[str]:
    """The products whose names the mirror is to be asked for."""
    return [line.price.product for subscription in subscriptions for line in subscription.items if line.price.product]


def item(line: Item, names: Mapping[str, str]) -> str:
    """One item by its product's name, with how many there are of it."""
    name = _name(line, names) or "Item"
    return f"{line.quantity} × {name}" if line.quantity is not None and line.quantity != 1 else name


def plan(subscription: Subscription, names: Mapping[str, str]) -> str:
    """What the subscription is called: the names of its products, with how many there are of each where there are several."""
    if len(subscription.items) > 1:
        return " + ".join(item(line, names) for line in subscription.items)
    found = [_name(line, names) for line in subscription.items]
    return " + ".join(dict.fromkeys(name for name in found if name)) or "Your subscription"


def told_apart(subscriptions: Iterable[Subscription], names: Mapping[str, str], locale: str) -> dict[str, str]:
    """What each of these is called, by its id: those of one name with their price and the day they began."""
    found = list(subscriptions)
    called = {one.id: plan(one, names) for one in found}
    alike = {name for name in called.values() if list(called.values()).count(name) > 1}
    return {
        one.id: f"{called[one.id]} ({price(one, locale)}, since {day(one.start_date, locale)})"
        if called[one.id] in alike
        else called[one.id]
        for one in found
    }


def _name(line: Item, names: Mapping[str, str]) -> str | None:
    return names.get(line.price.product or "") or line.price.product_name or line.price.nickname
