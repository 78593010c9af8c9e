"""Coupons as they are redeemed: discounts on a subscription, how long they last and what they take off."""

from __future__ import annotations

from sandbox.stripe import events, params, periods
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, missing, refused
from sandbox.stripe.worlds import clone, new_id

LIST = params.clearable(
    params.many(params.record(coupon=params.text, discount=params.text, promotion_code=params.text), at_most=20),
)


def is_valid(ctx: Context, coupon: Obj) -> bool:
    """Can this coupon still be redeemed?"""
    over = coupon["redeem_by"] is not None and coupon["redeem_by"] <= ctx.now
    used = coupon["max_redemptions"] is not None and coupon["times_redeemed"] >= coupon["max_redemptions"]
    return not over and not used


def refresh(ctx: Context, coupon: Obj) -> Obj:
    """The coupon with `valid` as it is at this moment."""
    coupon["valid"] = is_valid(ctx, coupon)
    return coupon


def check(ctx: Context, subscription: Obj | None, wanted: list[Obj], currency: str) -> None:
    """Raise 400 unless each entry names a redeemable coupon, or a discount that the subscription already has."""
    for index, entry in enumerate(wanted):
        path = f"discounts[{index}]"
        if len(entry) != 1:
            raise refused(f"You must specify exactly one of coupon, discount, or promotion_code in {path}.", path)
        if "discount" in entry:
            if subscription is None or entry["discount"] not in subscription["discounts"]:
                error = missing("discount", entry["discount"], f"{path}[discount]")
                error.status = 400
                raise error
        elif "promotion_code" in entry:
            error = missing("promotion code", entry["promotion_code"], f"{path}[promotion_code]")
            error.status = 400
            raise error
        else:
            coupon = ctx.world.find("coupon", entry["coupon"])
            if coupon is None:
                error = missing("coupon", entry["coupon"], f"{path}[coupon]")
                error.status = 400
                raise error
            if not is_valid(ctx, coupon):
                raise refused(f"Coupon expired: {coupon['id']}", f"{path}[coupon]", "coupon_expired")
            if coupon["amount_off"] is not None and coupon["currency"] != currency:
                raise refused(
                    f"The coupon `{coupon['id']}` has currency `{coupon['currency']}` but the subscription has `{currency}`.",
                    f"{path}[coupon]",
                )


def overwrite(ctx: Context, subscription: Obj, wanted: list[Obj]) -> None:
    """Make these the subscription's discounts: listed ones stay, coupons are redeemed, the others end."""
    kept = [entry["discount"] for entry in wanted if "discount" in entry]
    gone = [id for id in subscription["discounts"] if id not in kept]
    subscription["discounts"] = [
        entry["discount"] if "discount" in entry else _redeem(ctx, subscription, entry["coupon"]) for entry in wanted
    ]
    for id in gone:
        _end(ctx, id)


def _redeem(ctx: Context, subscription: Obj, coupon_id: str) -> str:
    coupon = ctx.world.get("coupon", coupon_id)
    before = clone(coupon)
    coupon["times_redeemed"] += 1
    end = None
    if coupon["duration"] == "repeating":
        end = periods.later(ctx.now, "month", coupon["duration_in_months"])
    discount = ctx.world.put(
        {
            "id": new_id("discount"),
            "object": "discount",
            "checkout_session": None,
            "customer": subscription["customer"],
            "customer_account": None,
            "end": end,
            "invoice": None,
            "invoice_item": None,
            "promotion_code": None,
            "source": {"coupon": coupon_id, "type": "coupon"},
            "start": ctx.now,
            "subscription": subscription["id"],
            "subscription_item": None,
        }
    )
    events.tell(ctx, "created", discount)
    if not refresh(ctx, coupon)["valid"]:
        events.tell(ctx, "updated", coupon, before)
    return str(discount["id"])


def _end(ctx: Context, id: str) -> None:
    discount = ctx.world.find("discount", id)
    if discount is not None:
        events.tell(ctx, "deleted", {**discount, "deleted": True})


def lapse(ctx: Context, subscription: Obj, *, after_invoice: bool) -> None:
    """Take away what is over: `repeating` past its end, and `once` after an invoice used it."""
    for id in list(subscription["discounts"]):
        discount = ctx.world.get("discount", id)
        coupon = ctx.world.remembered("coupon", discount["source"]["coupon"])
        once = coupon is not None and coupon["duration"] == "once"
        if (once and after_invoice) or (discount["end"] is not None and discount["end"] <= ctx.now):
            subscription["discounts"] = [other for other in subscription["discounts"] if other != id]
            _end(ctx, id)


def taken_off(ctx: Context, subscription: Obj, lines: list[Obj]) -> list[tuple[str, int]]:
    """Each discount and what it takes off these lines, in minor units, one after the other."""
    result: list[tuple[str, int]] = []
    left = {line["id"]: line["amount"] for line in lines if line["amount"] > 0}
    for id in subscription["discounts"]:
        coupon = ctx.world.remembered("coupon", ctx.world.get("discount", id)["source"]["coupon"])
        if coupon is None:
            continue
        only = ctx.world.coupon_products.get(coupon["id"])
        fits = [line["id"] for line in lines if line["id"] in left and (not only or line["pricing"]["price_details"]["product"] in only)]
        base = sum(left[line] for line in fits)
        amount = round(base * coupon["percent_off"] / 100) if coupon["percent_off"] else min(base, coupon["amount_off"] or 0)
        rest = amount
        for line in fits:
            share = min(left[line], rest if line == fits[-1] else round(amount * left[line] / base) if base else 0)
            left[line] -= share
            rest -= share
        if amount:
            result.append((id, amount))
    return result
