"""What is for sale: products, prices and coupons."""

from __future__ import annotations

from sandbox.stripe import discounts, events, listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, refused
from sandbox.stripe.worlds import clone, new_id

_Fields = dict[str, params.Shape | params.Required]

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
    "unit_amount": params.integer,
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
COUPON_UPDATE: _Fields = {"metadata": params.metadata, "name": params.at_most(40)}
COUPON_CREATE: _Fields = {
    **COUPON_UPDATE,
    "id": params.text,
    "amount_off": params.integer,
    "applies_to": params.record(products=params.many(params.text)),
    "currency": params.text,
    "duration": params.one_of("forever", "once", "repeating"),
    "duration_in_months": params.integer,
    "max_redemptions": params.integer,
    "percent_off": params.number,
    "redeem_by": params.integer,
}
COUPON_LIST: _Fields = {**params.PAGE, "created": params.created}


def _changed(ctx: Context, obj: Obj, p: Obj) -> Obj:
    before = clone(obj)
    for key, value in p.items():
        if key == "metadata":
            obj["metadata"] = params.merged(obj["metadata"], value)
        elif key != "expand":
            obj[key] = value
    if obj["object"] == "product" and obj != before:
        obj["updated"] = ctx.now
    events.tell(ctx, "updated", obj, before)
    return obj


def _unused(ctx: Context, kind: str, id: str | None) -> str:
    if id is not None and ctx.world.find(kind, id):
        raise refused(f"{kind.capitalize()} already exists.", "id", "resource_already_exists")
    return id or new_id(kind)


def create_product(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/products`."""
    product = ctx.world.put(
        {
            "id": _unused(ctx, "product", p.get("id")),
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
    return _changed(ctx, product, p)


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
    """`POST /v1/prices`, per unit."""
    ctx.world.get("product", p["product"], "product")
    recurring = None
    if "recurring" in p:
        recurring = {"interval_count": 1, "meter": None, "trial_period_days": None, "usage_type": "licensed"} | p["recurring"]
    if "unit_amount" not in p:
        raise refused("You must specify either `unit_amount` or `unit_amount_decimal`.", "unit_amount", "parameter_missing")
    price = ctx.world.put(
        {
            "id": new_id("price"),
            "object": "price",
            "active": p.get("active", True),
            "billing_scheme": "per_unit",
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
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "recurring" if recurring else "one_time",
            "unit_amount": p["unit_amount"],
            "unit_amount_decimal": str(p["unit_amount"]),
        }
    )
    events.tell(ctx, "created", price)
    return price


def update_price(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/prices/:id`."""
    return _changed(ctx, ctx.world.get("price", id), p)


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


def create_coupon(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/coupons`."""
    if ("percent_off" in p) == ("amount_off" in p):
        raise refused("You must pass either `percent_off` or `amount_off`, but not both.", "percent_off", "parameter_missing")
    if "amount_off" in p and "currency" not in p:
        raise refused("You must pass `currency` when passing `amount_off`", "currency", "parameter_missing")
    if not 0 < p.get("percent_off", 1) <= 100:
        raise refused("`percent_off` must be greater than 0 and at most 100.", "percent_off")
    duration = p.get("duration", "once")
    if (duration == "repeating") != ("duration_in_months" in p):
        raise refused("`duration_in_months` is required if and only if `duration` is `repeating`.", "duration_in_months")
    coupon: Obj = {
        "id": _unused(ctx, "coupon", p.get("id")),
        "object": "coupon",
        "amount_off": p.get("amount_off"),
        "created": ctx.now,
        "currency": p["currency"].lower() if "amount_off" in p else None,
        "duration": duration,
        "duration_in_months": p.get("duration_in_months"),
        "livemode": ctx.livemode,
        "max_redemptions": p.get("max_redemptions"),
        "metadata": params.merged(None, p.get("metadata")),
        "name": p.get("name"),
        "percent_off": p.get("percent_off"),
        "redeem_by": p.get("redeem_by"),
        "times_redeemed": 0,
        "valid": True,
    }
    if products := p.get("applies_to", {}).get("products"):
        for product in products:
            ctx.world.get("product", product, "applies_to[products]")
        ctx.world.coupon_products[coupon["id"]] = products
    ctx.world.put(discounts.refresh(ctx, coupon))
    events.tell(ctx, "created", coupon)
    return coupon


def retrieve_coupon(ctx: Context, id: str, _p: Obj) -> Obj:
    """`GET /v1/coupons/:id`."""
    return discounts.refresh(ctx, ctx.world.get("coupon", id))


def update_coupon(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/coupons/:id`."""
    return _changed(ctx, ctx.world.get("coupon", id), p)


def delete_coupon(ctx: Context, id: str, _p: Obj) -> Obj:
    """`DELETE /v1/coupons/:id`: no more redemptions; discounts made from it stay."""
    coupon = ctx.world.get("coupon", id)
    stub = ctx.world.forget(coupon)
    events.tell(ctx, "deleted", coupon)
    return stub


def find_coupons(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/coupons`."""
    found = (
        discounts.refresh(ctx, coupon)
        for coupon in ctx.world.all("coupon")
        if "created" not in p or listing.within(coupon["created"], p["created"])
    )
    return listing.page("/v1/coupons", found, p)
