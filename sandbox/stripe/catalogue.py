"""What is for sale: products and prices."""

from __future__ import annotations

from sandbox.stripe import coupons, edits, events, listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, refused
from sandbox.stripe.worlds import clone, new_id

_Fields = dict[str, params.Shape | params.Required]

create_coupon, update_coupon, delete_coupon = coupons.create, coupons.update, coupons.delete

PRODUCT_UPDATE: _Fields = {
    "active": params.boolean,
    "description": params.clearable(params.text),
    "metadata": params.metadata,
    "name": params.text,
    "statement_descriptor": params.text,
    "unit_label": params.clearable(params.text),
    "url": params.clearable(params.text),
    "default_price": params.text,
}
PRODUCT_CREATE: _Fields = {**PRODUCT_UPDATE, "name": params.Required(params.text), "id": params.text}
PRODUCT_LIST: _Fields = {
    **params.PAGE,
    "active": params.boolean,
    "ids": params.many(params.text),
    "created": params.created,
    "url": params.text,
}

_INTERVAL = params.one_of("day", "month", "week", "year")
_TIER = params.record(flat_amount=params.integer, unit_amount=params.integer, up_to=params.Required(params.either("inf", params.integer)))
PRICE_UPDATE: _Fields = {
    "active": params.boolean,
    "lookup_key": params.clearable(params.text),
    "metadata": params.metadata,
    "nickname": params.clearable(params.text),
}
PRICE_CREATE: _Fields = {
    **PRICE_UPDATE,
    "currency": params.Required(params.text),
    "product": params.Required(params.text),
    "billing_scheme": params.one_of("per_unit", "tiered"),
    "tiers": params.many(_TIER),
    "tiers_mode": params.one_of("graduated", "volume"),
    "unit_amount": params.integer,
    "unit_amount_decimal": params.decimal,
    "tax_behavior": params.one_of("exclusive", "inclusive", "unspecified"),
    "recurring": params.record(
        interval=params.Required(_INTERVAL),
        interval_count=params.integer,
        usage_type=params.one_of("licensed", "metered"),
        meter=params.text,
    ),
}
PRICE_LIST: _Fields = {
    **params.PAGE,
    "active": params.boolean,
    "currency": params.text,
    "product": params.text,
    "type": params.one_of("one_time", "recurring"),
    "recurring": params.record(interval=_INTERVAL, usage_type=params.one_of("licensed", "metered"), meter=params.text),
    "lookup_keys": params.many(params.text, at_most=10),
    "created": params.created,
}


def create_product(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/products`."""
    product = ctx.world.put(
        {
            "id": edits.unused(ctx, "product", p.get("id")),
            "object": "product",
            "active": p.get("active", True),
            "created": ctx.now,
            "default_price": None,
            "description": p.get("description"),
            "images": [],
            "livemode": ctx.livemode,
            "marketing_features": [],
            "metadata": params.merged(None, p.get("metadata")),
            "name": p["name"],
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": p.get("statement_descriptor"),
            "tax_code": None,
            "type": "service",
            "unit_label": p.get("unit_label"),
            "updated": ctx.now,
            "url": p.get("url"),
        }
    )
    events.tell(ctx, "created", product)
    return product


def update_product(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/products/:id`."""
    product = ctx.world.get("product", id)
    if "default_price" in p:
        ctx.world.get("price", p["default_price"], "default_price")
    return edits.changed(ctx, product, p)


def find_products(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/products`."""
    having = {key: p[key] for key in ("active", "url") if key in p}
    found = (
        product
        for product in ctx.world.all("product", **having)
        if ("ids" not in p or product["id"] in p["ids"]) and ("created" not in p or listing.within(product["created"], p["created"]))
    )
    return listing.page("/v1/products", found, p)


def create_price(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/prices`, per unit or in tiers."""
    ctx.world.get("product", p["product"], "product")
    recurring = None
    if "recurring" in p:
        recurring = {"interval_count": 1, "meter": None, "trial_period_days": None, "usage_type": "licensed"} | p["recurring"]
    if recurring and recurring["usage_type"] == "metered" and recurring["meter"] is None:
        raise refused(
            "You must specify `recurring[meter]` when `recurring[usage_type]` is `metered`.", "recurring[meter]", "parameter_missing"
        )
    tiers = _tiers(p)
    amount, decimal = p.get("unit_amount"), p.get("unit_amount_decimal")
    if tiers is None and (amount is None) == (decimal is None):
        raise refused("You must specify either `unit_amount` or `unit_amount_decimal`.", "unit_amount", "parameter_missing")
    if decimal is not None and "." not in decimal:
        amount = int(decimal)
    price = ctx.world.put(
        {
            "id": new_id("price"),
            "object": "price",
            "active": p.get("active", True),
            "billing_scheme": p.get("billing_scheme", "per_unit"),
            "created": ctx.now,
            "currency": p["currency"].lower(),
            "custom_unit_amount": None,
            "livemode": ctx.livemode,
            "lookup_key": p.get("lookup_key"),
            "metadata": params.merged(None, p.get("metadata")),
            "nickname": p.get("nickname"),
            "product": p["product"],
            "recurring": recurring,
            "tax_behavior": p.get("tax_behavior", "unspecified"),
            "tiers_mode": p.get("tiers_mode"),
            "transform_quantity": None,
            "type": "recurring" if recurring else "one_time",
            "unit_amount": amount,
            "unit_amount_decimal": decimal or (None if amount is None else str(amount)),
        }
    )
    if tiers is not None:
        ctx.world.tiers[price["id"]] = tiers
    events.tell(ctx, "created", price)
    return price


def _tiers(p: Obj) -> list[Obj] | None:
    """The tiers as a price shows them, the last one endless; None for a price per unit. Raises 400."""
    if p.get("billing_scheme", "per_unit") == "per_unit":
        if set(p) & {"tiers", "tiers_mode"}:
            raise refused("You may only specify `tiers` and `tiers_mode` when `billing_scheme` is `tiered`.", "tiers")
        return None
    if "unit_amount" in p or "unit_amount_decimal" in p:
        raise refused("You can't specify `unit_amount` when `billing_scheme` is `tiered`.", "unit_amount")
    for name in ("tiers", "tiers_mode"):
        if not p.get(name):
            raise refused(f"You must specify `{name}` when `billing_scheme` is `tiered`.", name, "parameter_missing")
    ends = [None if tier["up_to"] == "inf" else int(tier["up_to"]) for tier in p["tiers"]]
    finite = [end for end in ends[:-1] if end is not None]
    if ends[-1] is not None or len(finite) < len(ends) - 1 or sorted(finite) != finite:
        raise refused("Tiers must be in ascending order of `up_to`, and the last one must be `inf`.", "tiers")
    return [
        {
            "flat_amount": tier.get("flat_amount"),
            "flat_amount_decimal": None if "flat_amount" not in tier else str(tier["flat_amount"]),
            "unit_amount": tier.get("unit_amount"),
            "unit_amount_decimal": None if "unit_amount" not in tier else str(tier["unit_amount"]),
            "up_to": end,
        }
        for tier, end in zip(p["tiers"], ends, strict=True)
    ]


def update_price(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/prices/:id`. Subscriptions show the price as it is, not as it was when they took it."""
    price = edits.changed(ctx, ctx.world.get("price", id), p)
    for subscription in ctx.world.all("subscription"):
        for item in subscription["items"]["data"]:
            if item["price"]["id"] == id:
                item["price"] = clone(price)
    return price


def find_prices(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/prices`."""
    having = {key: p[key] for key in ("active", "currency", "product", "type") if key in p}
    found = (
        price
        for price in ctx.world.all("price", **having)
        if ("lookup_keys" not in p or price["lookup_key"] in p["lookup_keys"])
        and all((price["recurring"] or {}).get(key) == value for key, value in p.get("recurring", {}).items())
        and ("created" not in p or listing.within(price["created"], p["created"]))
    )
    return listing.page("/v1/prices", found, p)
