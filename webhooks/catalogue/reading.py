"""All fields of one subscriber by their dotted paths, and one of them by its path: the catalogue itself."""

from collections.abc import Mapping
from datetime import datetime

from webhooks.catalogue import paths, values
from webhooks.catalogue.known import FIELDS, Group
from webhooks.catalogue.subjects import Subject
from webhooks.catalogue.values import Value

# Below these stands Stripe's own JSON.
_ROOTS = ("subscription", "customer", "price", "product", "invoice", "coupon", "discounts")


def fields(subject: Subject, now: datetime) -> dict[str, Value]:
    """Every value this subscriber has: those all accounts have first, then each scalar of Stripe's own JSON and of the hand-off."""
    found = {path: value for path, known in FIELDS.items() if (value := known.read(subject, now)) is not None}
    for root, raw in _raws(subject).items():
        for path, value in values.of_stripe(raw, root):
            found.setdefault(path, value)
    for path, value in values.of_hand_off(subject.custom, "custom"):
        found.setdefault(path, value)
    return found


def value(subject: Subject, path: str, now: datetime) -> Value | None:
    """The one value at a path, as `fields` has it; None where this subscriber has none."""
    known = FIELDS.get(path)
    if known is not None and (found := known.read(subject, now)) is not None:
        return found
    root, *keys = paths.split(path)
    if is_handed_over(path):
        return values.at(subject.custom, keys, is_stripe=False)
    raw = _raws(subject).get(root)
    return None if raw is None else values.at(raw, keys, is_stripe=True)


def as_of(subject: Subject, path: str) -> datetime | None:
    """From when the value at this path is, by Stripe's clock; None for the hand-off's own, and where nothing is known."""
    known = FIELDS.get(path)
    return subject.as_of.get(known.root if known else paths.split(path)[0])


def _raws(subject: Subject) -> Mapping[str, object]:
    """Stripe's own JSON by the first key of its paths."""
    found = {
        "subscription": subject.subscription,
        "customer": subject.customer,
        "price": subject.price,
        "product": subject.product,
        "invoice": subject.invoice,
    }
    raws: dict[str, object] = {root: one.raw for root, one in found.items() if one is not None}
    if subject.discounts:
        raws["discounts"] = [one.raw for one in subject.discounts]
    if terms := next((one.terms for one in subject.discounts if one.terms), None):
        raws["coupon"] = terms.raw
    return raws


def origin(path: str) -> Group | None:
    """Whose value this path names; None for one that names nothing, whatever the customer."""
    if (known := FIELDS.get(path)) is not None:
        return known.group
    root, *keys = paths.split(path)
    if not keys:
        return None
    return "handoff" if root == "custom" else "stripe" if root in _ROOTS else None


def is_handed_over(path: str) -> bool:
    """Whether a path names something of the hand-off's rather than of Stripe's."""
    return paths.split(path)[0] == "custom"
