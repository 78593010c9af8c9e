"""The paying customer and the card they pay with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connect_app.stripe_gateway.objects import discounts
from connect_app.stripe_gateway.objects.discounts import Discount
from connect_app.stripe_gateway.objects.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A customer; of a deleted one Stripe tells the id and nothing else, so `created` can be None."""

    id: str
    email: str | None
    name: str | None
    created: datetime | None
    is_deleted: bool
    currency: str | None
    default_payment_method: str | None
    preferred_locales: tuple[str, ...]
    discount: Discount | None
    metadata: Mapping[str, str]
    raw: Mapping[str, object] = field(repr=False, compare=False)

    def discount_at(self, now: datetime) -> Discount | None:
        """Their own discount, while it lasts: it counts on subscriptions that have none."""
        ends_at = self.discount.ends_at if self.discount is not None else None
        return self.discount if ends_at is None or ends_at > now else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """A way to pay. `brand`, `last4` and the expiry are known for cards only."""

    id: str
    customer: str | None
    type: str
    brand: str | None
    last4: str | None
    exp_month: int | None
    exp_year: int | None
    raw: Mapping[str, object] = field(repr=False, compare=False)


def read_customer(raw: Mapping[str, object]) -> Customer:
    """A `customer`, or what is left of a deleted one. Raises Malformed."""
    shape = Shape(raw)
    is_deleted = shape.flag("deleted", default=False)
    settings = shape.maybe_part("invoice_settings")
    discount = shape.maybe_expanded("discount")
    return Customer(
        id=shape.name(),
        email=shape.maybe_text("email"),
        name=shape.maybe_text("name"),
        created=shape.maybe_instant("created") if is_deleted else shape.instant("created"),
        is_deleted=is_deleted,
        currency=shape.maybe_currency(),
        default_payment_method=settings.maybe_reference("default_payment_method") if settings else None,
        preferred_locales=shape.texts("preferred_locales"),
        discount=discounts.discount_of(discount) if discount else None,
        metadata=shape.metadata(),
        raw=shape.raw,
    )


def read_payment_method(raw: Mapping[str, object]) -> PaymentMethod:
    """A `payment_method`. Raises Malformed."""
    shape = Shape(raw)
    card = shape.maybe_part("card")
    return PaymentMethod(
        id=shape.name(),
        customer=shape.maybe_reference("customer"),
        type=shape.text("type"),
        brand=card.maybe_text("brand") if card else None,
        last4=card.maybe_text("last4") if card else None,
        exp_month=card.maybe_whole("exp_month") if card else None,
        exp_year=card.maybe_whole("exp_year") if card else None,
        raw=shape.raw,
    )
