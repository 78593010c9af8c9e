"""Reading the mirror: a connected account's objects as they last were, typed, inside the caller's transaction."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from connect_app import money
from connect_app.models import Coupon, Customer, Discount, Invoice, Price, Product, Schedule, Subscription
from connect_app.money import Money
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


def owing(session: Session, connection_id: str, subscription_ids: Iterable[str]) -> set[str]:
    """Those of these subscriptions that have an open invoice."""
    found = select(Invoice.subscription).where(
        Invoice.connection_id == connection_id, Invoice.subscription.in_(list(subscription_ids)), Invoice.status == "open"
    )
    return {id for id in session.execute(found.distinct()).scalars() if id is not None}


def owed(session: Session, connection_id: str, subscription_id: str) -> tuple[Money, ...]:
    """What is still to be paid of a subscription's open invoices, one sum for each currency."""
    found = select(Invoice.raw).where(
        Invoice.connection_id == connection_id,
        Invoice.subscription == subscription_id,
        Invoice.status == "open",
        Invoice.is_deleted.is_(False),
    )
    return money.sums(objects.read_invoice(raw).remaining for raw in session.execute(found).scalars())


def invoices_of(
    session: Session,
    connection_id: str,
    *,
    customer: str | None = None,
    subscription: str | None = None,
    since: datetime | None = None,
    limit: int = 100,
) -> list[objects.Invoice]:
    """The newest invoices of a customer or of a subscription, made at `since` or later, the newest first."""
    found = select(Invoice.raw).where(Invoice.connection_id == connection_id, Invoice.is_deleted.is_(False))
    for column, wanted in ((Invoice.customer, customer), (Invoice.subscription, subscription)):
        found = found if wanted is None else found.where(column == wanted)
    if since is not None:
        found = found.where(Invoice.created_at >= since)
    rows = session.execute(found.order_by(Invoice.created_at.desc(), Invoice.id.desc()).limit(limit)).scalars()
    return [objects.read_invoice(raw) for raw in rows]


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


def schedule(session: Session, connection_id: str, id: str) -> objects.Schedule | None:
    return _one(session, Schedule, objects.read_schedule, connection_id, id)


def schedules(session: Session, connection_id: str, most: int) -> dict[str, objects.Schedule]:
    """The schedules that lead a subscription, by id; at most `most`."""
    leading = select(Schedule.raw).where(
        Schedule.connection_id == connection_id, Schedule.is_deleted.is_(False), Schedule.status.in_(("active", "not_started"))
    )
    rows = session.execute(leading.order_by(Schedule.id).limit(most)).scalars()
    return {one.id: one for one in map(objects.read_schedule, rows)}


def coupon(session: Session, connection_id: str, id: str) -> objects.Coupon | None:
    return _one(session, Coupon, objects.read_coupon, connection_id, id)


def coupons(session: Session, connection_id: str) -> list[objects.Coupon]:
    """The account's coupons: valid ones first, then by name."""
    found = select(Coupon.raw).where(Coupon.connection_id == connection_id, Coupon.is_deleted.is_(False))
    rows = session.execute(found.order_by(Coupon.is_valid.desc(), func.coalesce(Coupon.name, Coupon.id), Coupon.id)).scalars()
    return [objects.read_coupon(raw) for raw in rows]


def discounts_of(session: Session, connection_id: str, subscription_ids: Iterable[str]) -> dict[str, tuple[objects.Discount, ...]]:
    """What takes something off each of these subscriptions that the mirror has: its own discounts first, then its items'.

    Where it has none of its own, its customer's counts, as at Stripe. A discount of which only the id is known has no `coupon`; the
    `terms` are the coupon's as the mirror has it, or as it was when it was redeemed where the coupon is gone. Four queries at most.
    """
    found = select(Subscription.raw).where(Subscription.connection_id == connection_id, Subscription.id.in_(list(subscription_ids)))
    read = [objects.read_subscription(raw) for raw in session.execute(found).scalars()]
    own = {one.id: (*one.discounts, *_of_items(one)) for one in read}
    owners = {one.customer for one in read if not own[one.id]}
    theirs = _customers_own(session, connection_id, owners)
    given = {one.id: own[one.id] or theirs.get(one.customer, ()) for one in read}
    filled = iter(whole(session, connection_id, [one for all in given.values() for one in all]))
    return {id: tuple(itertools.islice(filled, len(all))) for id, all in given.items()}


def whole(session: Session, connection_id: str, given: Sequence[objects.Discount]) -> list[objects.Discount]:
    """These discounts with all that the mirror has of them, as `discounts_of` says. Two queries at most, none for none."""
    bare = {one.id for one in given if one.id and not one.coupon}
    held = select(Discount.id, Discount.raw).where(Discount.connection_id == connection_id, Discount.id.in_(bare))
    known = {line.id: objects.read_discount(line.raw) for line in session.execute(held)} if bare else {}
    filled = [_filled(one, known.get(one.id or "")) for one in given]
    terms = _terms(session, connection_id, {one.coupon for one in filled if one.coupon})
    return [dataclasses.replace(one, terms=terms.get(one.coupon or "", one.terms)) for one in filled]


def _of_items(subscription: objects.Subscription) -> list[objects.Discount]:
    return [dataclasses.replace(one, subscription_item=item.id) for item in subscription.items for one in item.discounts]


def _filled(discount: objects.Discount, known: objects.Discount | None) -> objects.Discount:
    return dataclasses.replace(known, subscription_item=discount.subscription_item or known.subscription_item) if known else discount


def _customers_own(session: Session, connection_id: str, ids: set[str]) -> dict[str, tuple[objects.Discount, ...]]:
    if not ids:
        return {}
    found = select(Customer.id, Customer.raw["discount"]).where(
        Customer.connection_id == connection_id, Customer.id.in_(ids), Customer.raw["discount"].astext.is_not(None)
    )
    return {id: (objects.read_discount(raw),) for id, raw in session.execute(found) if isinstance(raw, Mapping)}


def _terms(session: Session, connection_id: str, ids: set[str]) -> dict[str, objects.Coupon]:
    if not ids:
        return {}
    found = select(Coupon.id, Coupon.raw).where(Coupon.connection_id == connection_id, Coupon.id.in_(ids), Coupon.is_deleted.is_(False))
    return {id: objects.read_coupon(raw) for id, raw in session.execute(found)}


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
