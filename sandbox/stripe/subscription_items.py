"""The items of a subscription: what is bought, for which period, and what a change in the middle costs or gives back."""

from __future__ import annotations

from sandbox.stripe import discounts, invoice_items, invoice_lines, invoices, params, periods, prorations
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, missing, refused
from sandbox.stripe.worlds import clone, new_id

_FIELDS: dict[str, params.Shape | params.Required] = {
    "discounts": discounts.LIST,
    "metadata": params.metadata,
    "price": params.text,
    "quantity": params.integer,
}
CREATE = params.many(params.record(**_FIELDS), at_most=20)
UPDATE = params.many(params.record(**_FIELDS, id=params.text, deleted=params.boolean, clear_usage=params.boolean), at_most=20)


def next_end(item: Obj, start: int, anchor: int) -> int:
    """When the period that starts then is over."""
    recurring = item["price"]["recurring"]
    return periods.later(start, recurring["interval"], recurring["interval_count"], anchor)


Redeemed = dict[str, list[Obj]]


def checked(ctx: Context, subscription: Obj | None, wanted: list[Obj], customer: str, *, is_classic: bool) -> tuple[list[Obj], Redeemed]:
    """The items as they will be, and the discounts wanted for them by id. Raises 400 for prices that can't be bought, or nothing left."""
    redeemed: Redeemed = {}
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
                item["price"] = price_named(ctx, entry["price"], f"{path}[price]")
                item["plan"] = plan(item["price"])
                item["quantity"] = 1 if item["price"]["recurring"]["usage_type"] == "licensed" else None
        else:
            if "price" not in entry:
                raise refused(f"Missing required param: {path}[price].", f"{path}[price]", "parameter_missing")
            item = _blank(ctx, price_named(ctx, entry["price"], f"{path}[price]"))
            result[item["id"]] = item
        if "quantity" in entry:
            if item["quantity"] is None:
                raise refused("Quantity should not be specified where usage_type is `metered`.", f"{path}[quantity]")
            item["quantity"] = entry["quantity"]
        if "metadata" in entry:
            item["metadata"] = params.merged(item["metadata"], entry["metadata"])
        if "discounts" in entry:
            redeemed[item["id"]] = entry["discounts"] or []
            discounts.check(ctx, item, redeemed[item["id"]], item["price"]["currency"], customer, f"{path}[discounts]")
    items = list(result.values())
    if not items:
        raise refused("A subscription must have at least one active plan. To cancel it, use the cancel endpoint.", "items")
    if len({item["price"]["currency"] for item in items}) > 1 or (
        subscription and items[0]["price"]["currency"] != subscription["currency"]
    ):
        raise refused("All prices on a subscription must have the same currency.", "items")
    if len({item["price"]["id"] for item in items}) < len(items):
        raise refused("Cannot add multiple subscription items with the same price.", "items")
    if is_classic and len({_interval(item) for item in items}) > 1:
        raise refused(
            "Currency and interval fields must match across all plans on this subscription. Found mismatch in interval field.", "items"
        )
    return items, redeemed


def redeem(ctx: Context, items: list[Obj], redeemed: Redeemed, customer: str) -> None:
    """Give the items the discounts that were wanted for them."""
    for item in items:
        if item["id"] in redeemed:
            discounts.overwrite(ctx, item, redeemed[item["id"]], customer)


def price_named(ctx: Context, id: str, path: str) -> Obj:
    """A copy of the price of this id. Raises 400 unless it can be subscribed to."""
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
        "tiers_mode": price["tiers_mode"],
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }


def change(ctx: Context, before: Obj, after: Obj, items: list[Obj], p: Obj) -> None:
    """Put these items in place of what `before` has; differences are prorated.

    A new interval, the step from free to paid, or `billing_cycle_anchor` `now` starts a new period now, which is billed at once.
    """
    old = {item["id"]: item for item in before["items"]["data"]}
    behavior = p.get("proration_behavior", "create_prorations")
    is_trial = after["status"] == "trialing"
    at = proration_date(ctx, before, p)
    changed = [item for item in items if item["id"] in old and _bought(item) != _bought(old[item["id"]])]
    added = [item for item in items if item["id"] not in old]
    gone = [item for id, item in old.items() if id not in {item["id"] for item in items}]
    restarted = [] if is_trial else _restarted(ctx, old, items, p)
    wholes = {item["id"]: _join(ctx, before, item) for item in added}
    if not is_trial:
        for item in restarted:
            item |= {"current_period_start": ctx.now, "current_period_end": next_end(item, ctx.now, ctx.now)}
        if restarted:
            after["billing_cycle_anchor"] = ctx.now
    after["items"]["data"] = items
    fresh: list[Obj] = []
    if behavior != "none" and not is_trial:
        credited = [old[item["id"]] for item in items if item in changed or item in restarted] + gone
        fresh = prorations.credits(ctx, before, credited, at)
        fresh += prorations.debits(ctx, after, [item for item in (*changed, *added) if item not in restarted], at, wholes)
    if restarted or (behavior == "always_invoice" and fresh):
        lines = [invoice_lines.of_item(ctx, after, item) for item in restarted]
        invoices.bill(ctx, after, lines, "subscription_update", fresh=fresh, behavior=p.get("payment_behavior"))
    else:
        invoice_items.put(ctx, fresh)


def proration_date(ctx: Context, subscription: Obj, p: Obj) -> int:
    """The moment that prorations are counted from. Raises 400 unless it is in the current period."""
    at = int(p.get("proration_date", ctx.now))
    starts = max(item["current_period_start"] for item in subscription["items"]["data"])
    if "proration_date" in p and not starts <= at <= min(item["current_period_end"] for item in subscription["items"]["data"]):
        raise refused("`proration_date` must be within the subscription's current billing period.", "proration_date")
    return at


def _bought(item: Obj) -> tuple[str, int | None]:
    return item["price"]["id"], item["quantity"]


def _restarted(ctx: Context, old: dict[str, Obj], items: list[Obj], p: Obj) -> list[Obj]:
    kept = [item for item in items if item["id"] in old]
    was_free = not any(invoice_lines.price_of(ctx, item["price"], item["quantity"] or 0) for item in old.values())
    is_free = not any(invoice_lines.price_of(ctx, item["price"], item["quantity"] or 0) for item in items)
    if p.get("billing_cycle_anchor", {}).get("type") == "now" or (was_free and not is_free and kept):
        return kept
    return [item for item in kept if _interval(item) != _interval(old[item["id"]])]


def _join(ctx: Context, subscription: Obj, item: Obj) -> int:
    """Give an added item the period that the others of its interval are in; says how long a whole one is."""
    item |= {"subscription": subscription["id"], "current_period_start": ctx.now}
    alike = [other["current_period_end"] for other in subscription["items"]["data"] if _interval(other) == _interval(item)]
    whole = next_end(item, ctx.now, ctx.now)
    if subscription["status"] == "trialing":
        item["current_period_end"] = subscription["trial_end"]
    else:
        item["current_period_end"] = min(alike) if alike else whole
    return whole - ctx.now


def _interval(item: Obj) -> tuple[str, int]:
    return item["price"]["recurring"]["interval"], item["price"]["recurring"]["interval_count"]


def set_trial(ctx: Context, before: Obj, after: Obj, trial_end: int | None, p: Obj) -> None:
    """Free until then (None: the trial ends now); the billing anchor and the periods follow."""
    items = after["items"]["data"]
    if trial_end is not None:
        fresh = after["status"] != "trialing"
        if fresh and p.get("proration_behavior", "create_prorations") != "none":
            invoice_items.put(ctx, prorations.credits(ctx, before, before["items"]["data"], proration_date(ctx, before, p)))
        after |= {"status": "trialing", "trial_end": trial_end, "billing_cycle_anchor": trial_end}
        after["trial_start"] = ctx.now if fresh or after["trial_start"] is None else after["trial_start"]
        for item in items:
            item["current_period_end"] = trial_end
            if fresh:
                item["current_period_start"] = ctx.now
        ctx.world.trials_told.discard(after["id"])
        if fresh:
            lines = [invoice_lines.of_item(ctx, after, item, amount=0) for item in items]
            invoices.bill(ctx, after, lines, "subscription_update", takes_pending=False)
    elif after["status"] == "trialing":
        after |= {"status": "active", "trial_end": ctx.now, "billing_cycle_anchor": ctx.now}
        for item in items:
            item |= {"current_period_start": ctx.now, "current_period_end": next_end(item, ctx.now, ctx.now)}
        lines = [invoice_lines.of_item(ctx, after, item) for item in items]
        invoices.bill(ctx, after, lines, "subscription_update", behavior=p.get("payment_behavior"))
    if after["cancel_at_period_end"]:
        after["cancel_at"] = min(item["current_period_end"] for item in items)
