"""Coupons as they are redeemed: discounts on a customer, a subscription or one of its items, how long they last and what they take off."""

from __future__ import annotations

from sandbox.stripe import events, params, periods, promotion_codes
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, StripeError, missing, refused
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


def check(
    ctx: Context, holder: Obj | None, wanted: list[Obj], currency: str, customer: str | None = None, param: str = "discounts"
) -> None:
    """Raise 400 unless each entry names a redeemable coupon or promotion code, or a discount of the holder's or of one above it."""
    for index, entry in enumerate(wanted):
        path = f"{param}[{index}]"
        if len(entry) != 1:
            raise refused(f"You must specify exactly one of coupon, discount, or promotion_code in {path}.", path)
        if "discount" in entry:
            if holder is None or entry["discount"] not in _at_hand(ctx, holder, customer):
                raise _unknown("discount", entry["discount"], f"{path}[discount]")
            continue
        if "promotion_code" in entry:
            path = f"{path}[promotion_code]"
            name = promotion_codes.redeemable(ctx, entry["promotion_code"], customer, path)
        else:
            name, path = entry["coupon"], f"{path}[coupon]"
        coupon = ctx.world.find("coupon", name)
        if coupon is None:
            raise _unknown("coupon", name, path)
        if not is_valid(ctx, coupon):
            raise refused(f"Coupon expired: {coupon['id']}", path, "coupon_expired")
        if coupon["amount_off"] is not None and amount_off(ctx, coupon, currency) is None:
            raise refused(
                f"The coupon `{coupon['id']}` has currency `{coupon['currency']}` but the subscription has `{currency}`.",
                path,
            )


def _at_hand(ctx: Context, holder: Obj, customer: str | None) -> set[str]:
    """The discounts that this subscription or item may be given again: its own, and those of what it belongs to."""
    found = set(holder["discounts"])
    above = ctx.world.find("subscription", holder["subscription"]) if holder["object"] == "subscription_item" else None
    return found | set(above["discounts"] if above else ()) | ({theirs["id"]} if (theirs := of_customer(ctx, customer)) else set())


def of_customer(ctx: Context, customer: str | None) -> Obj | None:
    """The customer's own discount, while it lasts."""
    found: Obj | None = (ctx.world.find("customer", customer or "") or {}).get("discount")
    return None if found is None or (found["end"] is not None and found["end"] <= ctx.now) else found


def give(ctx: Context, customer: Obj, coupon: str | None) -> None:
    """The customer's own discount becomes one by this coupon, or none: in Stripe's dashboard, and by its API of old."""
    before = clone(customer)
    if customer["discount"] is not None:
        _end(ctx, customer["discount"]["id"])
        customer["discount"] = None
    if coupon is not None:
        found = _redeem(ctx, customer, {"coupon": coupon}, customer["id"])
        customer["discount"] = clone(ctx.world.get("discount", found))
    events.tell(ctx, "updated", customer, before)


def _unknown(kind: str, id: str, path: str) -> StripeError:
    error = missing(kind, id, path)
    error.status = 400
    return error


def amount_off(ctx: Context, coupon: Obj, currency: str) -> int | None:
    """What a coupon of a fixed amount takes off in this currency, in minor units; None where it has no amount in it."""
    if coupon["currency"] == currency:
        return int(coupon["amount_off"])
    option = ctx.world.coupon_currencies.get(coupon["id"], {}).get(currency)
    return int(option["amount_off"]) if option else None


def overwrite(ctx: Context, holder: Obj, wanted: list[Obj], customer: str) -> None:
    """Make these the discounts of a subscription or of an item: listed ones stay, coupons are redeemed, the others end."""
    kept = [entry["discount"] for entry in wanted if "discount" in entry]
    gone = [id for id in holder["discounts"] if id not in kept]
    holder["discounts"] = [entry["discount"] if "discount" in entry else _redeem(ctx, holder, entry, customer) for entry in wanted]
    theirs = of_customer(ctx, customer)
    for id in gone:
        if theirs is None or theirs["id"] != id:
            _end(ctx, id)


def _redeem(ctx: Context, holder: Obj, entry: Obj, customer: str) -> str:
    code = ctx.world.get("promotion_code", entry["promotion_code"]) if "promotion_code" in entry else None
    coupon = ctx.world.get("coupon", code["promotion"]["coupon"] if code else entry["coupon"])
    before = clone(coupon)
    coupon["times_redeemed"] += 1
    end = None
    if coupon["duration"] == "repeating":
        end = periods.later(ctx.now, "month", coupon["duration_in_months"])
    is_item = holder["object"] == "subscription_item"
    discount = ctx.world.put(
        {
            "id": new_id("discount"),
            "object": "discount",
            "checkout_session": None,
            "customer": customer,
            "customer_account": None,
            "end": end,
            "invoice": None,
            "invoice_item": None,
            "promotion_code": code["id"] if code else None,
            "source": {"coupon": coupon["id"], "type": "coupon"},
            "start": ctx.now,
            "subscription": holder["subscription"] if is_item else holder["id"] if holder["object"] == "subscription" else None,
            "subscription_item": holder["id"] if is_item else None,
        }
    )
    events.tell(ctx, "created", discount)
    if not refresh(ctx, coupon)["valid"]:
        events.tell(ctx, "updated", coupon, before)
    if code:
        promotion_codes.count(ctx, code)
    return str(discount["id"])


def _end(ctx: Context, id: str) -> None:
    discount = ctx.world.find("discount", id)
    if discount is not None:
        events.tell(ctx, "deleted", {**discount, "deleted": True})


def lapse(ctx: Context, subscription: Obj, *, after_invoice: bool) -> None:
    """Take away what is over: `repeating` past its end, and `once` after an invoice used it."""
    customer = ctx.world.find("customer", subscription["customer"])
    theirs = customer["discount"] if customer else None
    was_used = not subscription["discounts"]
    over: set[str] = set()
    for holder in (subscription, *subscription["items"]["data"]):
        over |= {id for id in holder["discounts"] if _is_over(ctx, id, after_invoice)}
        holder["discounts"] = [id for id in holder["discounts"] if id not in over]
    for id in over - ({theirs["id"]} if theirs else set()):
        _end(ctx, id)
    if customer and theirs and (theirs["id"] in over or _is_over(ctx, theirs["id"], after_invoice and was_used)):
        give(ctx, customer, None)


def _is_over(ctx: Context, id: str, after_invoice: bool) -> bool:
    discount = ctx.world.get("discount", id)
    coupon = ctx.world.remembered("coupon", discount["source"]["coupon"])
    once = coupon is not None and coupon["duration"] == "once"
    return (once and after_invoice) or (discount["end"] is not None and discount["end"] <= ctx.now)


def take_off(ctx: Context, subscription: Obj, lines: list[Obj], *, lasting: bool = False) -> list[tuple[str, int]]:
    """Write onto each line what its discounts take off, an item's own before the subscription's; gives each discount's sum.

    The customer's takes off what a subscription without one of its own costs. With `lasting`, only those that are not for a single invoice.
    """
    open_lines = [line for line in lines if line["discountable"] and line["amount"] > 0]
    sums: list[tuple[str, int]] = []
    for item in subscription["items"]["data"]:
        own = [line for line in open_lines if (line["parent"]["subscription_item_details"] or {}).get("subscription_item") == item["id"]]
        sums += [(id, _apply(ctx, id, own, subscription["currency"], lasting)) for id in item["discounts"]]
    theirs = of_customer(ctx, subscription["customer"])
    whole = subscription["discounts"] or ([theirs["id"]] if theirs else [])
    sums += [(id, _apply(ctx, id, open_lines, subscription["currency"], lasting)) for id in whole]
    return [(id, amount) for id, amount in sums if amount]


def _apply(ctx: Context, id: str, lines: list[Obj], currency: str, lasting: bool) -> int:
    discount = ctx.world.get("discount", id)
    coupon = ctx.world.remembered("coupon", discount["source"]["coupon"])
    if coupon is None or (lasting and coupon["duration"] == "once") or (discount["end"] is not None and discount["end"] <= ctx.now):
        return 0
    only = ctx.world.coupon_products.get(coupon["id"])
    fits = [line for line in lines if not only or (line["pricing"] or {}).get("price_details", {}).get("product") in only]
    left = {line["id"]: line["amount"] - sum(off["amount"] for off in line["discount_amounts"]) for line in fits}
    base = sum(left.values())
    if not base:
        return 0
    percent = coupon["percent_off"]
    amount = int(base * percent / 100 + 0.5) if percent else min(base, amount_off(ctx, coupon, currency) or 0)
    rest = amount
    for line in fits:
        share = min(left[line["id"]], rest if line is fits[-1] else round(amount * left[line["id"]] / base))
        rest -= share
        if share:
            line["discount_amounts"].append({"amount": share, "discount": id})
    return amount - rest
