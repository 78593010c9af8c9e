"""The mirror: our rows about a connected account's objects.

Only fields we decide on are columns; the raw object is kept beside them. `as_of` is Stripe's time: the event's `created`, or the
Date header of the answer that brought the object. No foreign keys between mirrored objects, because events arrive in any order.
"""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, declared_attr, mapped_column
from sqlalchemy.schema import SchemaItem

from connect_app.models.base import Base, Json, Tenant


class _Mirrored(Tenant):
    connection_id: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    as_of: Mapped[datetime]
    is_deleted: Mapped[bool] = mapped_column(server_default="false")
    raw: Mapped[Json]

    @declared_attr.directive
    def __table_args__(cls) -> tuple[SchemaItem, ...]:
        return (
            ForeignKeyConstraint(["workspace_id", "connection_id"], ["connections.workspace_id", "connections.id"], ondelete="CASCADE"),
            *getattr(cls, "indexes", ()),
        )


class Customer(_Mirrored, Base):
    __tablename__ = "customers"
    email: Mapped[str | None]
    name: Mapped[str | None]
    created_at: Mapped[datetime | None]
    default_payment_method: Mapped[str | None]


class Subscription(_Mirrored, Base):
    __tablename__ = "subscriptions"
    customer: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[datetime]
    current_period_end: Mapped[datetime | None]
    cancel_at_period_end: Mapped[bool]
    cancel_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    is_paused: Mapped[bool]
    schedule: Mapped[str | None]
    price: Mapped[str | None]
    currency: Mapped[str | None]
    amount: Mapped[int | None] = mapped_column(BigInteger)
    default_payment_method: Mapped[str | None]
    indexes = (Index("ix_subscriptions_connection_id_customer", "connection_id", "customer"),)


class Product(_Mirrored, Base):
    __tablename__ = "products"
    name: Mapped[str]
    is_active: Mapped[bool]


class Price(_Mirrored, Base):
    __tablename__ = "prices"
    product: Mapped[str | None]
    currency: Mapped[str]
    unit_amount: Mapped[int | None] = mapped_column(BigInteger)
    interval: Mapped[str | None]
    interval_count: Mapped[int | None]
    is_active: Mapped[bool]


class Coupon(_Mirrored, Base):
    __tablename__ = "coupons"
    name: Mapped[str | None]
    is_valid: Mapped[bool]


class Invoice(_Mirrored, Base):
    __tablename__ = "invoices"
    customer: Mapped[str | None]
    subscription: Mapped[str | None]
    status: Mapped[str | None]
    created_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    currency: Mapped[str]
    total: Mapped[int] = mapped_column(BigInteger)
    amount_paid: Mapped[int] = mapped_column(BigInteger)
    indexes = (Index("ix_invoices_connection_id_subscription", "connection_id", "subscription"),)
