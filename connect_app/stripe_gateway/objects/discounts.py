"""A discount: a coupon at work on a subscription, one of its items or a customer, in the API shapes of 2020 and of today."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connect_app.stripe_gateway.objects import catalogue
from connect_app.stripe_gateway.objects.catalogue import Coupon
from connect_app.stripe_gateway.objects.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """A coupon at work. Unexpanded, only the id is known; before 2020-08-27 a discount had no id at all.

    `subscription_item` is set where it takes something off one item only; without a subscription it is the customer's own.
    """

    id: str | None
    coupon: str | None = None
    terms: Coupon | None = None
    customer: str | None = None
    subscription: str | None = None
    subscription_item: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    is_deleted: bool = False
    raw: Mapping[str, object] = field(repr=False, compare=False, default_factory=dict)


def read_discount(raw: Mapping[str, object]) -> Discount:
    """A `discount` of any API version from 2020-03-02 on. Raises Malformed."""
    return discount_of(Shape(raw))


def discount_of(shape: Shape) -> Discount:
    """A discount inside another object."""
    # The coupon moved under `source` in 2025.
    holder = shape.maybe_part("source") or shape
    coupon = holder.maybe_expanded("coupon")
    return Discount(
        id=shape.maybe_text("id"),
        coupon=holder.maybe_reference("coupon"),
        terms=catalogue.coupon_of(coupon) if coupon else None,
        customer=shape.maybe_reference("customer"),
        subscription=shape.maybe_reference("subscription"),
        subscription_item=shape.maybe_reference("subscription_item"),
        starts_at=shape.maybe_instant("start"),
        ends_at=shape.maybe_instant("end"),
        is_deleted=shape.flag("deleted", default=False),
        raw=shape.raw,
    )


def discounts_of(shape: Shape) -> tuple[Discount, ...]:
    """The discounts of a subscription, an item or a customer, in Stripe's order.

    Today's list, whose entries may be only ids; or the one `discount` of old, which also fills in an id that the list left bare.
    """
    single = shape.maybe_expanded("discount")
    old = discount_of(single) if single else None
    found = []
    for place, entry in enumerate(shape.listed("discounts")):
        if not isinstance(entry, str):
            found.append(discount_of(Shape(entry, f"{shape.at('discounts')}.{place}")))
        else:
            found.append(old if old is not None and old.id == entry else Discount(id=entry))
    if found or old is None:
        return tuple(found)
    return (old,)
