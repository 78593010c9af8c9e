"""Promotion codes: words that customers type, each for one coupon, with limits of its own."""

from __future__ import annotations

from sandbox.stripe import events, listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, missing, refused
from sandbox.stripe.worlds import clone, new_id, word

_Fields = dict[str, params.Shape | params.Required]

UPDATE: _Fields = {"active": params.boolean, "metadata": params.metadata}
CREATE: _Fields = {
    **UPDATE,
    "code": params.text,
    "customer": params.text,
    "expires_at": params.integer,
    "max_redemptions": params.integer,
    "promotion": params.Required(params.record(type=params.Required(params.one_of("coupon")), coupon=params.Required(params.text))),
    "restrictions": params.record(first_time_transaction=params.boolean),
}
LIST: _Fields = {
    **params.PAGE,
    "active": params.boolean,
    "code": params.text,
    "coupon": params.text,
    "customer": params.text,
    "created": params.created,
}


def create(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/promotion_codes`."""
    coupon = ctx.world.get("coupon", p["promotion"]["coupon"], "promotion[coupon]")
    if "customer" in p:
        ctx.world.get("customer", p["customer"], "customer")
    code = p.get("code") or word(8).upper()
    if any(other["code"].lower() == code.lower() for other in ctx.world.all("promotion_code", active=True)):
        raise refused("An active promotion code with `code: " + code + "` already exists.", "code", "resource_already_exists")
    if p.get("expires_at", ctx.now + 1) <= ctx.now:
        raise refused("`expires_at` must be in the future.", "expires_at")
    made = ctx.world.put(
        {
            "id": new_id("promotion_code"),
            "object": "promotion_code",
            "active": p.get("active", True),
            "code": code,
            "created": ctx.now,
            "customer": p.get("customer"),
            "customer_account": None,
            "expires_at": p.get("expires_at"),
            "livemode": ctx.livemode,
            "max_redemptions": p.get("max_redemptions"),
            "metadata": params.merged(None, p.get("metadata")),
            "promotion": {"coupon": coupon["id"], "type": "coupon"},
            "restrictions": {
                "first_time_transaction": p.get("restrictions", {}).get("first_time_transaction", False),
                "minimum_amount": None,
                "minimum_amount_currency": None,
            },
            "times_redeemed": 0,
        }
    )
    events.tell(ctx, "created", made)
    return made


def update(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/promotion_codes/:id`."""
    code = ctx.world.get("promotion_code", id)
    before = clone(code)
    code["active"] = p.get("active", code["active"])
    if "metadata" in p:
        code["metadata"] = params.merged(code["metadata"], p["metadata"])
    events.tell(ctx, "updated", code, before)
    return code


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/promotion_codes`."""
    having = {key: p[key] for key in ("active", "code", "customer") if key in p}
    found = (
        code
        for code in ctx.world.all("promotion_code", **having)
        if ("coupon" not in p or code["promotion"]["coupon"] == p["coupon"])
        and ("created" not in p or listing.within(code["created"], p["created"]))
    )
    return listing.page("/v1/promotion_codes", found, p)


def redeemable(ctx: Context, id: str, customer: str | None, path: str) -> str:
    """The coupon behind a code that this customer may use now. Raises 400."""
    code = ctx.world.find("promotion_code", id)
    if code is None:
        error = missing("promotion code", id, path)
        error.status = 400
        raise error
    over = code["expires_at"] is not None and code["expires_at"] <= ctx.now
    used = code["max_redemptions"] is not None and code["times_redeemed"] >= code["max_redemptions"]
    if not code["active"] or over or used:
        raise refused("This promotion code is not active, has expired, or has been used up.", path, "promotion_code_expired")
    if code["customer"] not in (None, customer):
        raise refused("This promotion code cannot be redeemed because it is not valid for this customer.", path)
    if code["restrictions"]["first_time_transaction"] and customer and any(ctx.world.all("invoice", customer=customer, status="paid")):
        raise refused(
            "This promotion code cannot be redeemed because the associated customer has prior transactions.",
            path,
            "customer_has_prior_transactions",
        )
    return str(code["promotion"]["coupon"])


def count(ctx: Context, code: Obj) -> None:
    """The code was used once more."""
    before = clone(code)
    code["times_redeemed"] += 1
    if code["max_redemptions"] is not None and code["times_redeemed"] >= code["max_redemptions"]:
        code["active"] = False
    events.tell(ctx, "updated", code, before)
