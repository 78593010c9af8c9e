"""Where the mirror keeps each kind of object, and the one statement that keeps any number of its rows where they are newer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import BigInteger, Boolean, DateTime, Integer, Text
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import Session

from connect_app.models import Charge, Coupon, Customer, Discount, Invoice, Price, Product, Schedule, Subscription
from webhooks.projections.rows import Row

Model = (
    type[Customer]
    | type[Subscription]
    | type[Product]
    | type[Price]
    | type[Coupon]
    | type[Invoice]
    | type[Discount]
    | type[Charge]
    | type[Schedule]
)

_ARRAYS = {Text: "text", DateTime: "timestamptz", Boolean: "bool", BigInteger: "int8", Integer: "int4", JSON: "text"}
# The same for all rows of a statement.
_PLACE = ("workspace_id", "connection_id")
_OF_EVERY_KIND = (*_PLACE, "id", "as_of", "is_deleted", "raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Where a kind of object is kept; `columns` are those that only this kind has."""

    model: Model
    columns: tuple[str, ...]
    upsert: str = field(repr=False)


def keep(session: Session, table: Table, workspace_id: str, connection_id: str, rows: Sequence[Row]) -> set[str]:
    """Keep each of these rows that is newer than what is there; gives the ids of those that were. The order given is the order of locks."""
    values: dict[str, object] = {
        "workspace_id": workspace_id,
        "connection_id": connection_id,
        "id": [each.id for each in rows],
        "as_of": [each.as_of for each in rows],
        "is_deleted": [each.is_deleted for each in rows],
        "raw": [each.json for each in rows],
    }
    for name in table.columns:
        column = [each.columns[name] for each in rows]
        # An array of nothing but nulls would have no type; unnest fills up with nulls what has no array.
        values[name] = None if column.count(None) == len(column) else column
    return set(session.connection().exec_driver_sql(table.upsert, values).scalars())


def _table(model: Model, learned: frozenset[str] = frozenset()) -> Table:
    """`learned` columns are ones that a payload may leave out and that stay as they were where it does."""
    name = model.__tablename__
    arrays = {
        column.name: _ARRAYS[type(column.type)]
        for column in model.__table__.columns
        if column.name not in _PLACE and column.computed is None
    }
    quoted = {column: f'"{column}"' for column in (*_PLACE, *arrays)}
    news = ", ".join(
        f"{column} = coalesce(excluded.{column}, {name}.{column})" if plain in learned else f"{column} = excluded.{column}"
        for plain, column in quoted.items()
        if plain not in (*_PLACE, "id")
    )
    given = ["%(workspace_id)s", "%(connection_id)s", *(f"{quoted[plain]}::json" if plain == "raw" else quoted[plain] for plain in arrays)]
    unnested = ", ".join(f"%({plain})b::{type}[]" for plain, type in arrays.items())
    # Arrays as binary (%b), and the same statement for any number of rows: it is prepared once.
    upsert = (
        f"insert into {name} ({', '.join(quoted.values())}) select {', '.join(given)}"  # noqa: S608  names of our own tables only
        f" from unnest({unnested}) as given({', '.join(quoted[plain] for plain in arrays)})"
        f" on conflict (connection_id, id) do update set {news} where {name}.as_of < excluded.as_of returning id"
    )
    return Table(model=model, columns=tuple(plain for plain in arrays if plain not in _OF_EVERY_KIND), upsert=upsert)


TABLES: Mapping[str, Table] = {
    "customer": _table(Customer),
    "subscription_schedule": _table(Schedule),
    "subscription": _table(Subscription),
    "product": _table(Product),
    "price": _table(Price),
    "coupon": _table(Coupon),
    "invoice": _table(Invoice),
    "discount": _table(Discount),
    "charge": _table(Charge, learned=frozenset(("invoice",))),
}
