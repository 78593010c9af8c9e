"""The mirror's rows: what is kept of an object, and the guard that lets only what is provably newer replace what is there."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from connect_app.models import Coupon, Customer, Invoice, PortalLink, Price, Product, Subscription
from connect_app.stripe_gateway import objects
from jobs import queues

# How long after a customer was sent to update their card a change of it is taken for theirs.
CARD_UPDATE_WINDOW = timedelta(hours=2)

Mirrored = objects.Customer | objects.Subscription | objects.Product | objects.Price | objects.Coupon | objects.Invoice
Columns = Mapping[str, object]
Model = type[Customer] | type[Subscription] | type[Product] | type[Price] | type[Coupon] | type[Invoice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One object as it is to be kept; `as_of` is Stripe's time."""

    kind: str
    id: str
    as_of: datetime
    is_deleted: bool
    raw: Mapping[str, object]
    columns: Columns = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Where a kind of object is kept. `gone` is what is left of a deleted one; None: all of it, marked."""

    model: Model
    read: Callable[[Mapping[str, object]], Mirrored]
    gone: Columns | None
    upsert: str


def row(kind: str, raw: Mapping[str, object], as_of: datetime, *, is_deleted: bool = False) -> Row:
    """The row of an object from the JSON of any API version. Raises objects.Malformed, or another ValueError for what cannot be kept."""
    table = TABLES[kind]
    if is_deleted and table.gone is not None:
        # The same whether an event or a read told us: an event shows the object's last state, a read only a stub.
        id = objects.Shape(raw).name()
        return Row(kind=kind, id=id, as_of=as_of, is_deleted=True, raw={"id": id, "object": kind, "deleted": True}, columns=table.gone)
    return _row_of(table.read(raw), as_of, is_deleted)


def read_row(found: Mirrored, as_of: datetime) -> Row:
    """The row of what a read brought. Raises ValueError for what cannot be kept."""
    if getattr(found, "is_deleted", False):
        return row(kind_of(found), found.raw, as_of, is_deleted=True)
    return _row_of(found, as_of, is_deleted=False)


def _row_of(found: Mirrored, as_of: datetime, is_deleted: bool) -> Row:
    raw = _collapsed(found.raw)
    json.dumps(raw, allow_nan=False)  # a ValueError here is one event's; in the statement it would be the whole batch's
    return Row(kind=kind_of(found), id=found.id, as_of=as_of, is_deleted=is_deleted, raw=raw, columns=_columns(found))


def kind_of(found: Mirrored) -> str:
    """Stripe's name for the kind of a typed object."""
    return type(found).__name__.lower()


def apply_read(session: Session, workspace_id: str, connection_id: str, object: Mirrored, as_of: datetime) -> bool:
    """Keep what a read from Stripe brought (`as_of` is the read's). Whether the mirror says as much afterwards.

    When it says otherwise and the two cannot be put in order, reading again has been asked for.
    """
    doubtful = apply_reads(session, workspace_id, connection_id, [object], as_of)
    return not doubtful


def apply_reads(session: Session, workspace_id: str, connection_id: str, found: Iterable[Mirrored], as_of: datetime) -> int:
    """Keep a page of what a read brought; gives how many are in doubt and will be read again."""
    doubtful = apply(session, workspace_id, connection_id, [read_row(each, as_of) for each in found])
    for each in doubtful:
        refetch(session, workspace_id, connection_id, each.kind, each.id, due_at=as_of + timedelta(seconds=1))
    return len(doubtful)


def refetch(session: Session, workspace_id: str, connection_id: str, kind: str, id: str, *, due_at: datetime) -> None:
    """Ask for one object to be read again; asked for many times at once, it is read once."""
    queues.enqueue(session, "refetch", refetch_id(connection_id, kind, id), workspace_id, due_at=due_at)


def refetch_id(connection_id: str, kind: str, id: str) -> str:
    """The row id of `refetch` work."""
    return f"{connection_id}/{kind}/{id}"


def newest(rows: Iterable[Row]) -> tuple[list[Row], set[tuple[str, str]]]:
    """Of several states of the same objects the last of each; and which (kind, id) were in two states in their last second."""
    chosen, doubtful = [], set()
    ordered = sorted(rows, key=lambda each: (each.kind, each.id, each.as_of))
    for key, states in groupby(ordered, key=lambda each: (each.kind, each.id)):
        history = list(states)
        last = history[-1]
        if any(each.as_of == last.as_of and _differs(each, last.raw, last.is_deleted) for each in history):
            doubtful.add(key)
        chosen.append(last)
    return chosen, doubtful


def apply(session: Session, workspace_id: str, connection_id: str, rows: Sequence[Row]) -> list[Row]:
    """Keep each row that is newer than what is there (one row an object); gives those that are not, and say something else.

    In the order of kinds and ids, so that two transactions never wait for each other's rows in a circle.
    """
    doubtful = []
    ordered = sorted(rows, key=lambda each: (each.kind, each.id))
    for kind, group in groupby(ordered, key=lambda each: each.kind):
        wanted = list(group)
        before = _default_payment_methods(session, connection_id, wanted) if kind == "customer" else {}
        lines = [_line(each, workspace_id, connection_id) for each in wanted]
        kept = set(session.execute(text(TABLES[kind].upsert), {"rows": json.dumps(lines)}).scalars())
        doubtful += _contradicting(session, connection_id, kind, [each for each in wanted if each.id not in kept])
        if kind == "customer":
            _follow_cards(session, workspace_id, connection_id, [each for each in wanted if each.id in kept], before)
    return doubtful


def mark_deleted(session: Session, workspace_id: str, connection_id: str, kind: str, id: str, as_of: datetime) -> bool:
    """Stripe has no such object any more. False when the mirror holds something that may be newer."""
    table = TABLES[kind]
    if table.gone is not None:
        return not apply(session, workspace_id, connection_id, [row(kind, {"id": id}, as_of, is_deleted=True)])
    model = table.model
    here = model.connection_id == connection_id, model.id == id
    session.execute(update(model).where(*here, model.as_of < as_of).values(is_deleted=True, as_of=as_of))
    return session.execute(select(model.id).where(*here, model.is_deleted.is_(False))).first() is None


def _differs(each: Row, raw: object, is_deleted: bool) -> bool:
    return each.is_deleted != is_deleted or each.raw != raw


def _contradicting(session: Session, connection_id: str, kind: str, rows: list[Row]) -> list[Row]:
    """Which of these say something else than what is kept. What says the same proves nothing new, and needs no proof."""
    if not rows:
        return []
    model = TABLES[kind].model
    held = select(model.id, model.raw, model.is_deleted).where(
        model.connection_id == connection_id, model.id.in_([each.id for each in rows])
    )
    kept = {line.id: line for line in session.execute(held)}
    return [each for each in rows if _differs(each, kept[each.id].raw, kept[each.id].is_deleted)]


def _line(each: Row, workspace_id: str, connection_id: str) -> dict[str, object]:
    columns = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in each.columns.items()}
    place = {"workspace_id": workspace_id, "connection_id": connection_id}
    return {**columns, **place, "id": each.id, "as_of": each.as_of.isoformat(), "is_deleted": each.is_deleted, "raw": each.raw}


def _default_payment_methods(session: Session, connection_id: str, rows: list[Row]) -> dict[str, str | None]:
    customers = select(Customer.id, Customer.default_payment_method).where(
        Customer.connection_id == connection_id, Customer.id.in_([each.id for each in rows])
    )
    return {line.id: line.default_payment_method for line in session.execute(customers)}


def _follow_cards(session: Session, workspace_id: str, connection_id: str, rows: list[Row], before: Mapping[str, str | None]) -> None:
    """A new default card, soon after its owner was sent to Stripe to give one: their subscriptions are to follow it."""
    changed = {
        each.id: each.as_of
        for each in rows
        if each.columns["default_payment_method"] and each.columns["default_payment_method"] != before.get(each.id)
    }
    if not changed:
        return
    links = select(PortalLink.id, PortalLink.customer, PortalLink.card_update_at).where(
        PortalLink.connection_id == connection_id, PortalLink.customer.in_(changed), PortalLink.card_update_at.is_not(None)
    )
    for link in session.execute(links).all():
        if link.card_update_at >= changed[link.customer] - CARD_UPDATE_WINDOW:
            queues.enqueue(session, "follow_card", link.id, workspace_id, due_at=changed[link.customer])


def _collapsed(raw: Mapping[str, object]) -> Mapping[str, object]:
    """The object with what was expanded in it cut back to ids, so that a read and an event leave the same."""
    flat: dict[str, object] = {}
    for key, value in raw.items():
        match value:
            case {"id": str(id), "object": str()} if key in _EXPANDABLE:
                flat[key] = id
            case list() if key == "discounts":
                flat[key] = [entry["id"] if isinstance(entry, dict) and isinstance(entry.get("id"), str) else entry for entry in value]
            case {"object": "list", "data": list(lines), **rest} if key == "items":
                flat[key] = {"object": "list", **rest, "data": [_collapsed(line) if isinstance(line, dict) else line for line in lines]}
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


def _table(model: Model, read: Callable[[Mapping[str, object]], Mirrored], gone: Columns | None) -> _Table:
    name = model.__tablename__
    columns = [f'"{column.name}"' for column in model.__table__.columns]
    changed = [column for column in columns if column not in ('"connection_id"', '"id"', '"workspace_id"')]
    # One parameter for any number of rows: the same statement each time.
    upsert = (
        f"insert into {name} ({', '.join(columns)}) select {', '.join(columns)}"  # noqa: S608  names of our own tables only
        f" from json_populate_recordset(null::{name}, cast(:rows as json))"
        f" on conflict (connection_id, id) do update set {', '.join(f'{column} = excluded.{column}' for column in changed)}"
        f" where {name}.as_of < excluded.as_of returning id"
    ).replace("::", "\\:\\:")
    return _Table(model=model, read=read, gone=gone, upsert=upsert)


TABLES: Mapping[str, _Table] = {
    "customer": _table(Customer, objects.read_customer, {"email": None, "name": None, "created_at": None, "default_payment_method": None}),
    "subscription": _table(Subscription, objects.read_subscription, None),
    "product": _table(Product, objects.read_product, {"name": "", "is_active": False}),
    "price": _table(
        Price,
        objects.read_price,
        {"product": None, "currency": "", "unit_amount": None, "interval": None, "interval_count": None, "is_active": False},
    ),
    "coupon": _table(Coupon, objects.read_coupon, {"name": None, "is_valid": False}),
    "invoice": _table(Invoice, objects.read_invoice, None),
}
