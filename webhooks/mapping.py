"""Variables: named values about a customer, each with where it comes from; a value that is not known is left out."""

from collections.abc import Mapping
from datetime import datetime

from babel import Locale, UnknownLocaleError
from babel.dates import format_date

from connect_app import money
from webhooks.enrichment import Enriched

NAMES = ("first_name", "plan_name", "renewal_date", "amount", "customer_name", "email")
_LONGEST = 500


def variables(enriched: Enriched, custom: Mapping[str, object], *, now: datetime, locale: str) -> dict[str, dict[str, str]]:
    """`{name: {"value": text, "source": "customer.name"}}` for each of NAMES that is known; written for readers of `locale`.

    Stripe's word comes first; the hand-off's `custom` properties of the same name fill in what Stripe lacks. Absent names are left to
    the copy's own `default:`. `now` decides whether a renewal still lies ahead.
    """
    found: dict[str, dict[str, str]] = {}
    for name, source, value in _from_stripe(enriched, now, locale):
        if value and value.strip():
            found.setdefault(name, {"value": value.strip()[:_LONGEST], "source": source})
    for name in NAMES:
        given = custom.get(name)
        if name not in found and isinstance(given, str) and given.strip():
            found[name] = {"value": given.strip()[:_LONGEST], "source": f"custom.{name}"}
    return found


def _from_stripe(enriched: Enriched, now: datetime, locale: str) -> list[tuple[str, str, str | None]]:
    known: list[tuple[str, str, str | None]] = []
    customer, subscription = enriched.customer, enriched.subscription
    if customer is not None:
        name = customer.name or ""
        known += [
            ("first_name", "customer.name", name.split()[0] if name.split() else None),
            ("customer_name", "customer.name", name),
            ("email", "customer.email", customer.email),
        ]
    if subscription is not None:
        nickname = subscription.items[0].price.nickname if subscription.items else None
        known += [("plan_name", "product.name", enriched.product_name), ("plan_name", "price.nickname", nickname)]
        if subscription.amount is not None:
            known.append(("amount", "subscription.amount", money.format(subscription.amount, locale)))
        if subscription.next_charge is not None and subscription.next_charge > now:
            when = format_date(subscription.next_charge.date(), "long", locale=_locale(locale))
            known.append(("renewal_date", "subscription.current_period_end", when))
    return known


def _locale(tag: str) -> Locale:
    try:
        return Locale.parse(tag.replace("-", "_"))
    except (ValueError, TypeError, UnknownLocaleError):
        return Locale("en")
