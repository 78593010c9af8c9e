"""Reading the mirror: a connected account's objects as they last were, typed, inside the caller's transaction."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from connect_app.models import Coupon, Customer, Price, Product, Subscription
from connect_app.stripe_gateway import objects
from webhooks import projections

T = TypeVar("T", bound=projections.Mirrored)


def subscription(session: Session, connection_id: str, id: str) -> objects.Subscription | None:
    """The subscription, whoever's it is; ended ones too. Products and coupons are ids here, not expanded."""
    return _one(session, Subscription, objects.read_subscription, connection_id, id)


def subscriptions_of(session: Session, connection_id: str, customer: str) -> list[objects.Subscription]:
    """All subscriptions of a customer, ended ones too, newest first."""
    found = select(Subscription.raw).where(
        Subscription.connection_id == connection_id, Subscription.customer == customer, Subscription.is_deleted.is_(False)
    )
    rows = session.execute(found.order_by(Subscription.created_at.desc(), Subscription.id)).scalars()
    return [objects.read_subscription(raw) for raw in rows]


def customer(session: Session, connection_id: str, id: str) -> objects.Customer | None:
    """The customer; None for one that was deleted."""
    return _one(session, Customer, objects.read_customer, connection_id, id)


def price(session: Session, connection_id: str, id: str) -> objects.Price | None:
    return _one(session, Price, objects.read_price, connection_id, id)


def product(session: Session, connection_id: str, id: str) -> objects.Product | None:
    return _one(session, Product, objects.read_product, connection_id, id)


def product_names(session: Session, connection_id: str, ids: Iterable[str]) -> dict[str, str]:
    """The names of those of these products that are known, in one query."""
    found = select(Product.id, Product.name).where(
        Product.connection_id == connection_id, Product.id.in_(list(ids)), Product.is_deleted.is_(False)
    )
    return {line.id: line.name for line in session.execute(found)}


def coupon(session: Session, connection_id: str, id: str) -> objects.Coupon | None:
    return _one(session, Coupon, objects.read_coupon, connection_id, id)


def coupons(session: Session, connection_id: str) -> list[objects.Coupon]:
    """The account's coupons: valid ones first, then by name."""
    found = select(Coupon.raw).where(Coupon.connection_id == connection_id, Coupon.is_deleted.is_(False))
    rows = session.execute(found.order_by(Coupon.is_valid.desc(), func.coalesce(Coupon.name, Coupon.id), Coupon.id)).scalars()
    return [objects.read_coupon(raw) for raw in rows]


def counts(session: Session, connection_id: str) -> dict[str, int]:
    """How many of each the mirror holds, by the name of their table; deleted ones are not counted."""
    found = {}
    for table in projections.TABLES.values():
        model = table.model
        held = select(func.count()).select_from(model).where(model.connection_id == connection_id, model.is_deleted.is_(False))
        found[model.__tablename__] = session.execute(held).scalar_one()
    return found


def _one(session: Session, model: projections.Model, read: Callable[[Mapping[str, object]], T], connection_id: str, id: str) -> T | None:
    found = select(model.raw).where(model.connection_id == connection_id, model.id == id, model.is_deleted.is_(False))
    raw: Mapping[str, object] | None = session.execute(found).scalar_one_or_none()
    return None if raw is None else read(raw)
