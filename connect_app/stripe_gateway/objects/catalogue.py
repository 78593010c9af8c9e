"""What is sold and for how much less: products, prices and coupons, in the API shapes of 2020 and of today."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from connect_app import money
from connect_app.money import Money
from connect_app.stripe_gateway.objects.shape import Shape

_INTERVALS = frozenset(("day", "week", "month", "year"))
_USAGE_TYPES = frozenset(("licensed", "metered"))
_SCHEMES = frozenset(("per_unit", "tiered"))
_DURATIONS = frozenset(("once", "repeating", "forever"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """`transform_quantity`: the unit amount buys `size` pieces, and a broken package counts as whole or not at all."""

    size: int
    rounds_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price; `interval` is None when it is paid once. `product_name` is known only where the product was expanded."""

    id: str
    product: str | None
    product_name: str | None
    currency: str
    unit_amount: int | None
    unit_amount_decimal: Decimal | None
    interval: str | None
    interval_count: int | None
    usage_type: str
    billing_scheme: str
    package: Package | None
    nickname: str | None
    active: bool
    metadata: Mapping[str, str]
    raw: Mapping[str, object] = field(repr=False, compare=False)

    def amount(self, quantity: int) -> Money | None:
        """What this many cost per interval, before discounts and tax; None for metered and tiered prices: it depends on usage or tiers."""
        if self.unit_amount_decimal is None or self.usage_type == "metered" or self.billing_scheme == "tiered":
            return None
        count = Decimal(quantity)
        if self.package:
            count = (count / self.package.size).to_integral_value(ROUND_CEILING if self.package.rounds_up else ROUND_FLOOR)
        return money.rounded(self.unit_amount_decimal * count, self.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product; of a deleted one Stripe still tells the id."""

    id: str
    name: str
    description: str | None
    active: bool
    is_deleted: bool
    created: datetime | None
    default_price: str | None
    metadata: Mapping[str, str]
    raw: Mapping[str, object] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """A coupon: one of `percent_off` and `amount_off`. `products` is None when it is for all, or when `applies_to` was not expanded."""

    id: str
    name: str | None
    percent_off: Decimal | None
    amount_off: Money | None
    duration: str
    duration_in_months: int | None
    valid: bool
    redeem_by: datetime | None
    max_redemptions: int | None
    times_redeemed: int
    products: tuple[str, ...] | None
    is_deleted: bool
    created: datetime | None
    metadata: Mapping[str, str]
    raw: Mapping[str, object] = field(repr=False, compare=False)


def read_price(raw: Mapping[str, object]) -> Price:
    """A `price`, or the `plan` that stood in its place before 2020. Raises Malformed."""
    return price_of(Shape(raw))


def price_of(shape: Shape) -> Price:
    """A price or a plan inside another object."""
    # A plan has at its top what a price keeps under `recurring`.
    is_plan = "interval" in shape.raw
    recurring = shape if is_plan else shape.maybe_part("recurring")
    amount_key, package_key = ("amount", "transform_usage") if is_plan else ("unit_amount", "transform_quantity")
    product = shape.maybe_expanded("product")
    unit_amount = shape.maybe_whole(amount_key)
    exact = shape.maybe_decimal(f"{amount_key}_decimal")
    return Price(
        id=shape.name(),
        product=shape.maybe_reference("product"),
        product_name=product.maybe_text("name") if product else None,
        currency=shape.currency(),
        unit_amount=unit_amount,
        unit_amount_decimal=Decimal(unit_amount) if exact is None and unit_amount is not None else exact,
        interval=recurring.choice("interval", _INTERVALS) if recurring else None,
        interval_count=_count(recurring, "interval_count", 1) if recurring else None,
        usage_type=(recurring.maybe_choice("usage_type", _USAGE_TYPES) if recurring else None) or "licensed",
        billing_scheme=shape.maybe_choice("billing_scheme", _SCHEMES) or "per_unit",
        package=_package(shape.maybe_part(package_key)),
        nickname=shape.maybe_text("nickname"),
        active=shape.flag("active", default=False),
        metadata=shape.metadata(),
        raw=shape.raw,
    )


def read_product(raw: Mapping[str, object]) -> Product:
    """A `product`, or what is left of a deleted one. Raises Malformed."""
    shape = Shape(raw)
    is_deleted = shape.flag("deleted", default=False)
    return Product(
        id=shape.name(),
        name=(shape.maybe_text("name") or "") if is_deleted else shape.text("name"),
        description=shape.maybe_text("description"),
        active=shape.flag("active", default=not is_deleted) and not is_deleted,
        is_deleted=is_deleted,
        created=shape.maybe_instant("created"),
        default_price=shape.maybe_reference("default_price"),
        metadata=shape.metadata(),
        raw=shape.raw,
    )


def read_coupon(raw: Mapping[str, object]) -> Coupon:
    """A `coupon`, or what is left of a deleted one. Raises Malformed."""
    return coupon_of(Shape(raw))


def coupon_of(shape: Shape) -> Coupon:
    """A coupon inside another object."""
    is_deleted = shape.flag("deleted", default=False)
    percent, amount = shape.maybe_decimal("percent_off"), shape.maybe_whole("amount_off")
    if not is_deleted:
        if (percent is None) == (amount is None):
            raise shape.wrong("percent_off", "a coupon takes off either a percentage or an amount")
        if percent is not None and not 0 < percent <= 100:
            raise shape.wrong("percent_off", "not between 0 and 100")
    applies_to = shape.maybe_part("applies_to")
    return Coupon(
        id=shape.name(),
        name=shape.maybe_text("name"),
        percent_off=percent,
        amount_off=None if amount is None else Money(amount, shape.currency()),
        duration=(shape.maybe_choice("duration", _DURATIONS) or "once") if is_deleted else shape.choice("duration", _DURATIONS),
        duration_in_months=shape.maybe_whole("duration_in_months"),
        valid=shape.flag("valid", default=False) and not is_deleted,
        redeem_by=shape.maybe_instant("redeem_by"),
        max_redemptions=shape.maybe_whole("max_redemptions"),
        times_redeemed=shape.maybe_whole("times_redeemed") or 0,
        products=applies_to.texts("products") if applies_to else None,
        is_deleted=is_deleted,
        created=shape.maybe_instant("created"),
        metadata=shape.metadata(),
        raw=shape.raw,
    )


def _package(shape: Shape | None) -> Package | None:
    if shape is None:
        return None
    return Package(size=_count(shape, "divide_by"), rounds_up=shape.choice("round", frozenset(("up", "down"))) == "up")


def _count(shape: Shape, key: str, default: int | None = None) -> int:
    """A whole number of at least one."""
    value = shape.maybe_whole(key)
    if value is None:
        value = default
    if value is None or value < 1:
        raise shape.wrong(key, "expected one or more")
    return value
