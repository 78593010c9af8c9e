"""Applying mappings to one subscriber: a typed value for each variable, or its fallback and the reason why; and how either is read."""

from collections.abc import Iterable
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from babel.dates import format_date
from babel.numbers import format_decimal

from connect_app import money
from connect_app.models.base import Json
from connect_app.money import Money
from webhooks import catalogue
from webhooks.catalogue import Subject, Type, Value
from webhooks.mapping import fitting
from webhooks.mapping.mappings import HAND_OFF, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A variable for one subscriber. `reason` says why the fallback was taken, None where the source's own value stands.

    `value` is of `type`; None where there is none, which is so too when the fallback is text that is not of the type. `as_of` is from when
    the value is, by Stripe's clock; None for the hand-off's.
    """

    name: str
    type: Type
    value: Value | None
    source: str
    reason: str | None
    as_of: datetime | None
    fallback: str | None = None


def resolve(mappings: Iterable[Mapping], subject: Subject, now: datetime, *, closed: str | None = None) -> dict[str, Resolved]:
    """Every variable by its name. Pure, and never raises: a value that does not fit becomes the fallback.

    `closed` says why nothing of Stripe's is to be read for this subscriber, where that is so.
    """
    return {mapping.name: _resolved(mapping, subject, now, closed) for mapping in mappings}


def _resolved(mapping: Mapping, subject: Subject, now: datetime, closed: str | None) -> Resolved:
    if mapping.is_fixed:
        given = subject.subscription_id if mapping.name == "subscription_id" else subject.customer_id
        return _found(mapping, given, HAND_OFF, None) if given else _fallen(mapping, subject, "the hand-off did not name one")
    sources = [mapping.source, f"custom.{mapping.name}"] if mapping.is_default else [mapping.source]
    problem = ""
    for source in sources:
        is_ours = catalogue.is_handed_over(source)
        if closed and not is_ours:
            problem = problem or closed
            continue
        found = catalogue.value(subject, source, now)
        if found is None:
            problem = problem or _absence(subject, source)
            continue
        is_minor = not is_ours and ".metadata." not in source
        try:
            value = fitting.fit(mapping.type, found, currency=_currency(subject), is_minor=is_minor)
        except fitting.Unfit as unfit:
            problem = problem or str(unfit)
            continue
        return _found(mapping, value, source, None if is_ours else catalogue.as_of(subject, source))
    return _fallen(mapping, subject, problem)


def _found(mapping: Mapping, value: Value, source: str, as_of: datetime | None) -> Resolved:
    return Resolved(name=mapping.name, type=mapping.type, value=value, source=source, reason=None, as_of=as_of, fallback=mapping.fallback)


def _fallen(mapping: Mapping, subject: Subject, reason: str) -> Resolved:
    value = None
    if mapping.fallback:
        try:
            value = fitting.fit(mapping.type, mapping.fallback, currency=_currency(subject))
        except fitting.Unfit:
            value = None
    return Resolved(
        name=mapping.name,
        type=mapping.type,
        value=value,
        source=mapping.source,
        reason=reason,
        as_of=catalogue.as_of(subject, mapping.source),
        fallback=mapping.fallback,
    )


def _absence(subject: Subject, source: str) -> str:
    root = source.split(".")[0]
    if catalogue.is_handed_over(source):
        return "the hand-off did not send it"
    if source == "first_purchase_date" and not subject.purchases.is_first_known:
        return "Stripe has not been asked for it yet"
    if root in ("customer", "first_name", "tax_location") or source.startswith("subscription.customer."):
        return "Stripe has none for this customer" if subject.customer else "the customer is not known"
    return "Stripe has none for this subscription" if subject.subscription else "the subscription is not known"


def _currency(subject: Subject) -> str | None:
    if subject.subscription is not None:
        return subject.subscription.currency
    return subject.customer.currency if subject.customer else None


def write(resolved: Resolved, locale: str) -> str:
    """What people read: the value as a reader of `locale` writes it, or the fallback; empty where there is neither."""
    if resolved.value is None:
        return resolved.fallback or ""
    return written(resolved.value, locale)


def written(value: Value, locale: str) -> str:
    """A value as a reader of `locale` writes it; an unknown locale reads English."""
    match value:
        case bool():
            return "yes" if value else "no"
        case datetime():
            return format_date(value.date(), "long", locale=money.reader(locale))
        case Money():
            return money.format(value, locale)
        case int() | Decimal():
            return format_decimal(value, locale=money.reader(locale), decimal_quantization=False)
        case _:
            return value


def keep(resolved: Dictionary[str, Resolved], locale: str) -> Json:
    """What a session remembers of its variables: `{name: {type, source, value | fallback, raw, reason, as_of}}`.

    `value` is text for people and is there only where the source had one that fits; else `fallback` is what was read instead. `raw` is
    the typed value as JSON, for filters and reports.
    """
    kept: Json = {}
    for name, one in resolved.items():
        entry: Json = {"type": one.type, "source": one.source}
        entry["value" if one.reason is None else "fallback"] = write(one, locale)
        if one.value is not None:
            entry["raw"] = _json(one.value)
        if one.reason is not None:
            entry["reason"] = one.reason
        if one.as_of is not None:
            entry["as_of"] = one.as_of.isoformat()
        kept[name] = entry
    return kept


def typed(entry: Json) -> Value | None:
    """The typed value that `keep` remembered; None where there was none."""
    raw = entry.get("raw")
    match entry.get("type"), raw:
        case "date", str():
            return datetime.fromisoformat(raw)
        case "money", {"amount": int(amount), "currency": str(currency)}:
            return Money(amount, currency)
        case "decimal", str():
            return Decimal(raw)
        case _, str() | int():
            return raw
        case _:
            return None


def _json(value: Value) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case Money():
            return {"amount": value.amount, "currency": value.currency}
        case Decimal():
            return f"{value:f}"
        case _:
            return value
