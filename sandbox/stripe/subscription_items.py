"""The items of a subscription: what is bought, for which period, and what a change in the middle costs or gives back."""

from __future__ import annotations

from sandbox.stripe import invoices, params, periods
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, missing, refused
from sandbox.stripe.worlds import clone, new_id

_FIELDS: dict[str, params.Shape | params.Required] = {"metadata": params.metadata, "price": params.text, "quantity": params.integer}
CREATE = params.many(params.record(**_FIELDS), at_most=20)
UPDATE = params.many(params.record(**_FIELDS, id=params.text, deleted=params.boolean, clear_usage=params.boolean), at_most=20)


def next_end(item: Obj, start: int, anchor: int) -> int:
    """When the period that starts then is over."""
    recurring = item["price"]["recurring"]
    return periods.later(start, recurring["interval"], recurring["interval_count"], anchor)


def checked(ctx: Context, subscription: Obj | None, wanted: list[Obj]) -> list[Obj]:
    """The items as they will be. Raises 400 for prices that can't be bought, foreign items, or nothing left."""
    current = {item["id"]: clone(item) for item in subscription["items"]["data"]} if subscription else {}
    result = dict(current)
    for index, entry in enumerate(wanted):
        path = f"items[{index}]"
        if "id" in entry:
            if entry["id"] not in current:
                error = missing("subscription item", entry["id"], f"{path}[id]")
                error.status = 400
                raise error
            item = result[entry["id"]]
            if entry.get("deleted"):
                del result[entry["id"]]
                continue
            if "price" in entry and entry["price"] != item["price"]["id"]:
                item["price"] = _price(ctx, entry["price"], f"{path}[price]")
                item["plan"] = plan(item["price"])
                item["quantity"] = 1 if item["price"]["recurring"]["usage_type"] == "licensed" else None
        else:
            if "price" not in entry:
                raise refused(f"Missing required param: {path}[price].", f"{path}[price]", "parameter_missing")
            item = _blank(ctx, _price(ctx, entry["price"], f"{path}[price]"))
            result[item["id"]] = item
        if "quantity" in entry:
            if item["quantity"] is None:
                raise refused("Quantity should not be specified where usage_type is `metered`.", f"{path}[quantity]")
            item["quantity"] = entry["quantity"]
        if "metadata" in entry:
            item["metadata"] = params.merged(item["metadata"], entry["metadata"])
    items = list(result.values())
    if not items:
        raise refused("A subscription must have at least one active plan. To cancel it, use the cancel endpoint.", "items")
    if len({item["price"]["currency"] for item in items}) > 1 or (
        subscription and items[0]["price"]["currency"] != subscription["currency"]
    ):
        raise refused("All prices on a subscription must have the same currency.", "items")
    if len({item["price"]["id"] for item in items}) < len(items):
        raise refused("Cannot add multiple subscription items with the same price.", "items")
    return items


def _price(ctx: Context, id: str, path: str) -> Obj:
    price = ctx.world.find("price", id)
    if price is None:
        error = missing("price", id, path)
        error.status = 400
        raise error
    if not price["active"]:
        raise refused(f"The price specified is inactive. This field only accepts active prices. ({id})", path)
    if price["recurring"] is None:
        raise refused(
            f"The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`. ({id})", path
        )
    copy: Obj = clone(price)
    return copy


def _blank(ctx: Context, price: Obj) -> Obj:
    return {
        "id": new_id("subscription_item"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": ctx.now,
        "current_period_end": ctx.now,
        "current_period_start": ctx.now,
        "discounts": [],
        "metadata": {},
        "plan": plan(price),
        "price": price,
        "quantity": 1 if price["recurring"]["usage_type"] == "licensed" else None,
        "subscription": "",
        "tax_rates": [],
    }


def plan(price: Obj) -> Obj:
    """The legacy face of a price."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": price["livemode"],
        "metadata": clone(price["metadata"]),
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }


def change(ctx: Context, after: Obj, items: list[Obj], p: Obj) -> None:
    """Put these items in place; a new interval starts a new period now and is billed at once, else differences are prorated."""
    old = {item["id"]: item for item in after["items"]["data"]}
    prorates = p.get("proration_behavior", "create_prorations") != "none" and after["status"] != "trialing"
    restarted = [item for item in items if item["id"] in old and _interval(item) != _interval(old[item["id"]])]
    end = min(item["current_period_end"] for item in old.values())
    if prorates:
        gone = [item for item in old.values() if item not in items]
        _prorate(ctx, after, gone, -1)
    for item in items:
        if item["id"] not in old:
            item |= {"subscription": after["id"], "current_period_start": ctx.now, "current_period_end": end}
        elif item in restarted and after["status"] != "trialing":
            item |= {"current_period_start": ctx.now, "current_period_end": next_end(item, ctx.now, ctx.now)}
            after["billing_cycle_anchor"] = ctx.now
    if prorates:
        _prorate(ctx, after, [item for item in items if item not in old.values() and item not in restarted], 1)
    after["items"]["data"] = items
    due = restarted if after["status"] != "trialing" else []
    if due or (p.get("proration_behavior") == "always_invoice" and ctx.world.pending_lines.get(after["id"])):
        must_pay = p.get("payment_behavior") == "error_if_incomplete"
        lines = [invoices.line(ctx, after, item) for item in due]
        invoices.bill(ctx, after, lines, "subscription_update", must_pay=must_pay)


def _interval(item: Obj) -> tuple[str, int]:
    return item["price"]["recurring"]["interval"], item["price"]["recurring"]["interval_count"]


def _prorate(ctx: Context, subscription: Obj, items: list[Obj], sign: int) -> None:
    for item in items:
        length = item["current_period_end"] - item["current_period_start"]
        is_new = sign > 0 and item["current_period_start"] == ctx.now
        whole = next_end(item, ctx.now, ctx.now) - ctx.now if is_new else length
        left = max(0, item["current_period_end"] - ctx.now)
        amount = sign * round((item["price"]["unit_amount"] or 0) * (item["quantity"] or 0) * left / (whole or 1))
        if amount:
            words = "Remaining time on" if sign > 0 else "Unused time on"
            name = ctx.world.get("product", item["price"]["product"])["name"]
            line = invoices.line(ctx, subscription, item, amount=amount, proration=f"{words} {name}")
            line["period"]["start"] = ctx.now
            ctx.world.pending_lines.setdefault(subscription["id"], []).append(line)


def credit(ctx: Context, subscription: Obj) -> None:
    """Give back the unused time of all items on the next invoice."""
    _prorate(ctx, subscription, subscription["items"]["data"], -1)


def set_trial(ctx: Context, after: Obj, trial_end: int | None, p: Obj) -> None:
    """Free until then (None: the trial ends now); the billing anchor and the periods follow."""
    items = after["items"]["data"]
    if trial_end is not None:
        if after["status"] != "trialing" and p.get("proration_behavior", "create_prorations") != "none":
            credit(ctx, after)
        fresh = after["status"] != "trialing"
        after |= {"status": "trialing", "trial_end": trial_end, "billing_cycle_anchor": trial_end}
        after["trial_start"] = ctx.now if fresh or after["trial_start"] is None else after["trial_start"]
        for item in items:
            item["current_period_end"] = trial_end
            if fresh:
                item["current_period_start"] = ctx.now
        ctx.world.trials_told.discard(after["id"])
        if fresh:
            pending = ctx.world.pending_lines.pop(after["id"], [])
            invoices.bill(ctx, after, [invoices.line(ctx, after, item, amount=0) for item in items], "subscription_update")
            if pending:
                ctx.world.pending_lines[after["id"]] = pending
    elif after["status"] == "trialing":
        after |= {"status": "active", "trial_end": ctx.now, "billing_cycle_anchor": ctx.now}
        for item in items:
            item |= {"current_period_start": ctx.now, "current_period_end": next_end(item, ctx.now, ctx.now)}
        must_pay = p.get("payment_behavior") == "error_if_incomplete"
        invoices.bill(ctx, after, [invoices.line(ctx, after, item) for item in items], "subscription_update", must_pay=must_pay)
    if after["cancel_at_period_end"]:
        after["cancel_at"] = min(item["current_period_end"] for item in items)
