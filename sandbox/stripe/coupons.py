"""Coupons: what can be taken off a price, how often and until when."""

from __future__ import annotations

from sandbox.stripe import discounts, edits, events, listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, refused

_Fields = dict[str, params.Shape | params.Required]

UPDATE: _Fields = {"metadata": params.metadata, "name": params.at_most(40)}
CREATE: _Fields = {
    **UPDATE,
    "id": params.text,
    "amount_off": params.integer,
    "applies_to": params.record(products=params.many(params.text)),
    "currency": params.text,
    "currency_options": params.by_key(params.record(amount_off=params.Required(params.integer))),
    "duration": params.one_of("forever", "once", "repeating"),
    "duration_in_months": params.integer,
    "max_redemptions": params.integer,
    "percent_off": params.number,
    "redeem_by": params.integer,
}
# Amounts in these come in steps of so many minor units: the last digit of three decimals is 0, and the hundredths of two more are.
# Stripe documents it for charges (https://docs.stripe.com/currencies); coupons are held to it here, since they end up on them.
_STEPS = {**dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 10), "isk": 100, "ugx": 100}
LIST: _Fields = {**params.PAGE, "created": params.created}


def create(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/coupons`."""
    if ("percent_off" in p) == ("amount_off" in p):
        raise refused("You must pass either `percent_off` or `amount_off`, but not both.", "percent_off", "parameter_missing")
    if "amount_off" in p and "currency" not in p:
        raise refused("You must pass `currency` when passing `amount_off`", "currency", "parameter_missing")
    if "currency_options" in p and "amount_off" not in p:
        raise refused("You may only specify `currency_options` with `amount_off`.", "currency_options")
    if "amount_off" in p:
        _charged(p["amount_off"], p["currency"], "amount_off")
        for currency, option in p.get("currency_options", {}).items():
            _charged(option["amount_off"], currency, f"currency_options[{currency}][amount_off]")
    if p.get("redeem_by", ctx.now + 1) <= ctx.now and not ctx.local.is_quiet:
        raise refused("`redeem_by` must be a timestamp in the future.", "redeem_by")
    if p.get("max_redemptions", 1) < 1:
        raise refused("This value must be greater than or equal to 1.", "max_redemptions", "parameter_invalid_integer")
    if not 0 < p.get("percent_off", 1) <= 100:
        raise refused("`percent_off` must be greater than 0 and at most 100.", "percent_off")
    duration = p.get("duration", "once")
    if (duration == "repeating") != ("duration_in_months" in p):
        raise refused("`duration_in_months` is required if and only if `duration` is `repeating`.", "duration_in_months")
    coupon: Obj = {
        "id": edits.unused(ctx, "coupon", p.get("id")),
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
    if options := p.get("currency_options"):
        ctx.world.coupon_currencies[coupon["id"]] = {currency.lower(): option for currency, option in options.items()}
    ctx.world.put(discounts.refresh(ctx, coupon))
    events.tell(ctx, "created", coupon)
    return coupon


def retrieve(ctx: Context, id: str, _p: Obj) -> Obj:
    """`GET /v1/coupons/:id`."""
    return discounts.refresh(ctx, ctx.world.get("coupon", id))


def update(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/coupons/:id`."""
    return edits.changed(ctx, ctx.world.get("coupon", id), p)


def delete(ctx: Context, id: str, _p: Obj) -> Obj:
    """`DELETE /v1/coupons/:id`: no more redemptions; discounts made from it stay."""
    coupon = ctx.world.get("coupon", id)
    stub = ctx.world.forget(coupon)
    events.tell(ctx, "deleted", coupon)
    return stub


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/coupons`."""
    found = (
        discounts.refresh(ctx, coupon)
        for coupon in ctx.world.all("coupon")
        if "created" not in p or listing.within(coupon["created"], p["created"])
    )
    return listing.page("/v1/coupons", found, p)


def _charged(amount: int, currency: str, param: str) -> None:
    """Refuse an amount that no bill in this currency can have."""
    if amount < 1:
        raise refused("This value must be greater than or equal to 1.", param, "parameter_invalid_integer")
    if amount % _STEPS.get(currency.lower(), 1):
        step = _STEPS[currency.lower()]
        raise refused(f"Invalid amount: {amount}. Amounts in {currency.lower()} must be a multiple of {step}.", param)
