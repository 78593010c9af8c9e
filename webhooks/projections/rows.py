"""What the mirror keeps of an object: its columns, its JSON cut back to ids, and which of several states is the last."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from connect_app.stripe_gateway import objects
from webhooks import events

Mirrored = (
    objects.Customer
    | objects.Subscription
    | objects.Product
    | objects.Price
    | objects.Coupon
    | objects.Invoice
    | objects.Discount
    | objects.Charge
    | objects.Schedule
)
Columns = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One object as it is to be kept; `as_of` is Stripe's time. `discounts` are the ids of those that a subscription names."""

    kind: str
    id: str
    as_of: datetime
    is_deleted: bool
    json: str = field(repr=False)
    columns: Columns = field(repr=False)
    discounts: frozenset[str] = frozenset()

    @property
    def raw(self) -> Mapping[str, object]:
        """What `json` says; read anew each time."""
        found: Mapping[str, object] = msgspec.json.decode(self.json)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a kind of object is read. `gone` is what is left of a deleted one; None: all of it, marked."""

    read: Callable[[Mapping[str, object]], Mirrored]
    gone: Columns | None


def row(kind: str, raw: Mapping[str, object], as_of: datetime, *, is_deleted: bool = False) -> Row:
    """The row of an object from the JSON of any API version. Raises objects.Malformed, or another ValueError for what cannot be kept."""
    how = KINDS[kind]
    if is_deleted and how.gone is not None:
        # The same whether an event or a read told us: an event shows the object's last state, a read only a stub.
        id = objects.Shape(raw).name()
        return Row(
            kind=kind, id=id, as_of=as_of, is_deleted=True, json=written({"id": id, "object": kind, "deleted": True}), columns=how.gone
        )
    return _row_of(how.read(raw), as_of, is_deleted)


def read_row(found: Mirrored, as_of: datetime) -> Row:
    """The row of what a read brought. Raises ValueError for what cannot be kept."""
    json.dumps(found.raw, allow_nan=False)  # an infinite number in it would else be refused by the database, with the whole page
    if getattr(found, "is_deleted", False):
        return row(kind_of(found), found.raw, as_of, is_deleted=True)
    return _row_of(found, as_of, is_deleted=False)


def discounts(found: objects.Subscription, as_of: datetime) -> list[Row]:
    """The rows of the discounts that a read brought whole inside a subscription, its items' included."""
    inside = [*found.discounts, *(discount for item in found.items for discount in item.discounts)]
    place = {"customer": found.customer, "subscription": found.id}
    # One of before 2020-08-27 has no id to keep it by, and needs none: it stands in the subscription's own JSON.
    return [_row_of(objects.read_discount({**one.raw, **place}), as_of, is_deleted=False) for one in inside if one.raw and one.id]


def written(raw: Mapping[str, object]) -> str:
    """`raw` as the mirror keeps it. Raises ValueError for what is no JSON."""
    text = msgspec.json.encode(raw).decode()
    # Kept as it is, it could be read whole, but no statement could look inside.
    return msgspec.json.encode(events.storable(raw)).decode() if "\\u0000" in text else text


def discount_ids(raw: Mapping[str, object]) -> frozenset[str]:
    """The ids of all discounts that a subscription's JSON names, those of its items included."""
    named: set[str] = set()
    lines = raw.get("items")
    for part in (raw, *(lines.get("data") or () if isinstance(lines, Mapping) else ())):
        for entry in (part.get("discounts") or ()) if isinstance(part, Mapping) else ():
            id = entry.get("id") if isinstance(entry, Mapping) else entry
            if isinstance(id, str):
                named.add(id)
    return frozenset(named)


def _row_of(found: Mirrored, as_of: datetime, is_deleted: bool) -> Row:
    if found.id is None:
        raise objects.Malformed("id", "missing")
    kind = kind_of(found)
    raw = _collapsed(found.raw)
    named = discount_ids(raw) if kind == "subscription" else frozenset[str]()
    return Row(kind=kind, id=found.id, as_of=as_of, is_deleted=is_deleted, json=written(raw), columns=_columns(found), discounts=named)


def kind_of(found: Mirrored) -> str:
    """Stripe's name for the kind of a typed object."""
    return "subscription_schedule" if isinstance(found, objects.Schedule) else type(found).__name__.lower()


def newest(rows: Iterable[Row]) -> tuple[list[Row], set[tuple[str, str]]]:
    """Of several states of the same objects the last of each; and which (kind, id) were in two states in their last second."""
    last: dict[tuple[str, str], Row] = {}
    doubtful: set[tuple[str, str]] = set()
    for each in rows:
        key = each.kind, each.id
        before = last.get(key)
        if before is None or each.as_of > before.as_of:
            last[key] = each
            doubtful.discard(key)
        elif each.as_of == before.as_of and differs(each, before.raw, before.is_deleted):
            doubtful.add(key)
    return list(last.values()), doubtful


def differs(each: Row, raw: Mapping[str, object], is_deleted: bool) -> bool:
    """Whether this row says something else than what was kept."""
    return each.is_deleted != is_deleted or each.raw != raw


def _collapsed(raw: Mapping[str, object]) -> Mapping[str, object]:
    """The object with what was expanded in it cut back to ids, so that a read and an event leave the same."""
    flat: dict[str, object] = {}
    for key, value in raw.items():
        match value:
            case {"id": str(id), "object": str()} if key in _EXPANDABLE:
                flat[key] = id
            case list() if key == "discounts":
                flat[key] = [entry["id"] if isinstance(entry, dict) and isinstance(entry.get("id"), str) else entry for entry in value]
            case {"object": "list", "data": list(lines)} if key == "items" and isinstance(value, dict):
                # Its keys stay in their order, so that the same is the same text.
                flat[key] = {**value, "data": [_collapsed(line) if isinstance(line, dict) else line for line in lines]}
            case {} if key in ("price", "plan") and isinstance(value, dict):
                flat[key] = _collapsed(value)
            case _:
                flat[key] = value
    return flat


_EXPANDABLE = frozenset(("customer", "product", "latest_invoice", "default_payment_method", "default_source", "schedule", "subscription"))
_BIGGEST = 2**63 - 1


def _amount(value: int | None) -> int | None:
    if value is not None and abs(value) > _BIGGEST:
        raise objects.Malformed("amount", "no price of anything")
    return value


def _id(value: str | None) -> str | None:
    # Indexed: PostgreSQL refuses keys of some thousand bytes.
    if value is not None and len(value) > 255:
        raise objects.Malformed("id", "longer than any id")
    return value


def _columns(found: Mirrored) -> Columns:
    match found:
        case objects.Customer():
            return {
                "email": found.email,
                "name": found.name,
                "created_at": found.created,
                "default_payment_method": found.default_payment_method,
            }
        case objects.Subscription():
            amount = found.amount
            return {
                "customer": _id(found.customer),
                "status": found.status,
                "created_at": found.created,
                "current_period_end": found.current_period_end,
                "cancel_at_period_end": found.cancel_at_period_end,
                "cancel_at": found.cancel_at,
                "ended_at": found.ended_at,
                "is_paused": found.is_paused,
                "schedule": found.schedule,
                "price": found.items[0].price.id if found.items else None,
                "currency": found.currency,
                "amount": _amount(amount.amount if amount else None),
                "default_payment_method": found.default_payment_method,
            }
        case objects.Product():
            return {"name": found.name, "is_active": found.active}
        case objects.Price():
            return {
                "product": found.product,
                "currency": found.currency,
                "unit_amount": _amount(found.unit_amount),
                "interval": found.interval,
                "interval_count": found.interval_count,
                "is_active": found.active,
            }
        case objects.Coupon():
            return {"name": found.name, "is_valid": found.valid}
        case objects.Invoice():
            return {
                "customer": found.customer,
                "subscription": _id(found.subscription),
                "status": found.status,
                "created_at": found.created,
                "paid_at": found.paid_at,
                "currency": found.currency,
                "total": _amount(found.total.amount),
                "amount_paid": _amount(found.amount_paid.amount),
            }
        case objects.Discount():
            return {
                "customer": _id(found.customer),
                "subscription": _id(found.subscription),
                "coupon": _id(found.coupon),
                "starts_at": found.starts_at,
                "ends_at": found.ends_at,
            }
        case objects.Charge():
            return {
                "customer": _id(found.customer),
                "payment_intent": found.payment_intent,
                "invoice": _id(found.invoice),
                "created_at": found.created,
                "currency": found.currency,
                "amount": _amount(found.amount.amount),
                "amount_refunded": _amount(found.amount_refunded.amount),
                "dispute_status": found.dispute_status,
                "amount_disputed": _amount(found.amount_disputed.amount),
            }
        case objects.Schedule():
            return {"subscription": _id(found.subscription), "status": found.status}


KINDS: Mapping[str, Kind] = {
    "customer": Kind(read=objects.read_customer, gone={"email": None, "name": None, "created_at": None, "default_payment_method": None}),
    "subscription": Kind(read=objects.read_subscription, gone=None),
    "product": Kind(read=objects.read_product, gone={"name": "", "is_active": False}),
    "price": Kind(
        read=objects.read_price,
        gone={"product": None, "currency": "", "unit_amount": None, "interval": None, "interval_count": None, "is_active": False},
    ),
    "coupon": Kind(read=objects.read_coupon, gone={"name": None, "is_valid": False}),
    "invoice": Kind(read=objects.read_invoice, gone=None),
    "discount": Kind(
        read=objects.read_discount,
        gone={"customer": None, "subscription": None, "coupon": None, "starts_at": None, "ends_at": None},
    ),
    "charge": Kind(read=objects.read_charge, gone=None),
    "subscription_schedule": Kind(read=objects.read_schedule, gone=None),
}
