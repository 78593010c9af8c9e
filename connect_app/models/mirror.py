"""The mirror: our rows about a connected account's objects.

Only fields we decide on are columns; the raw object is kept beside them. `as_of` is Stripe's time: the event's `created`, or the
Date header of the answer that brought the object. No foreign keys between mirrored objects, because events arrive in any order.
"""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import BigInteger, Computed, ForeignKeyConstraint, Index
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import Mapped, declared_attr, mapped_column
from sqlalchemy.schema import SchemaItem

from connect_app.models.base import Base, Json, Tenant


class _Mirrored(Tenant):
    # The foreign key below is enough: each of them is looked up at every row that is written.
    workspace_id: Mapped[str] = mapped_column()
    connection_id: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    as_of: Mapped[datetime]
    is_deleted: Mapped[bool] = mapped_column(server_default="false")
    # Not jsonb, which takes far longer to write: it is read whole, or by a key or two.
    raw: Mapped[Json] = mapped_column(JSON)

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
    # Columns rather than expressions in the index: lower() is not leakproof, and below row level security nothing else is looked up in one.
    email_key: Mapped[str | None] = mapped_column(Computed("lower(email)", persisted=True))
    name_key: Mapped[str | None] = mapped_column(Computed("lower(name)", persisted=True))
    indexes = (
        Index("ix_customers_connection_id_email_key", "connection_id", "email_key", "id", postgresql_ops={"email_key": "text_pattern_ops"}),
        Index("ix_customers_connection_id_name_key", "connection_id", "name_key", "id", postgresql_ops={"name_key": "text_pattern_ops"}),
    )


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
    indexes = (
        Index("ix_invoices_connection_id_subscription", "connection_id", "subscription"),
        Index("ix_invoices_connection_id_customer", "connection_id", "customer"),
    )


class Discount(_Mirrored, Base):
    """A coupon at work on a subscription; the subscription's own JSON keeps only its id."""

    __tablename__ = "discounts"
    customer: Mapped[str | None]
    subscription: Mapped[str | None]
    coupon: Mapped[str | None]
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    indexes = (Index("ix_discounts_connection_id_subscription", "connection_id", "subscription"),)


class Schedule(_Mirrored, Base):
    """What Stripe has been told to lead a subscription through."""

    __tablename__ = "subscription_schedules"
    subscription: Mapped[str | None]
    status: Mapped[str]


class Charge(_Mirrored, Base):
    """A payment, for what of it was given back or is disputed. `invoice` is filled in from Stripe where the payload no longer says it.

    There, null is not asked yet, and PAID_NONE an answer.
    """

    PAID_NONE: ClassVar = ""
    __tablename__ = "charges"
    customer: Mapped[str | None]
    payment_intent: Mapped[str | None]
    invoice: Mapped[str | None]
    created_at: Mapped[datetime]
    currency: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    amount_refunded: Mapped[int] = mapped_column(BigInteger)
    dispute_status: Mapped[str | None]
    amount_disputed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    indexes = (
        Index("ix_charges_connection_id_customer", "connection_id", "customer"),
        Index("ix_charges_connection_id_invoice", "connection_id", "invoice"),
    )
