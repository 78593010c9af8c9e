"""Pending updates: a change of a subscription, or its return from a pause, that waits 23 hours at most until its invoice is paid."""

from __future__ import annotations

from sandbox.stripe import collection, events
from sandbox.stripe.context import Context
from sandbox.stripe.rehearsals import drafted
from sandbox.stripe.wire import Obj, refused
from sandbox.stripe.worlds import World, clone

_SECONDS = 23 * 3600
_SUPPORTED = {
    "billing_cycle_anchor",
    "discounts",
    "expand",
    "items",
    "metadata",
    "off_session",
    "payment_behavior",
    "proration_behavior",
    "proration_date",
    "trial_end",
}
_HELD = ("items", "billing_cycle_anchor", "trial_end", "trial_start", "discounts", "metadata")


def check(p: Obj) -> None:
    """Raise 400 for what can't wait for a payment."""
    for key in sorted(set(p) - _SUPPORTED):
        raise refused(
            f"When `payment_behavior` is set to `pending_if_incomplete`, you can't pass `{key}`. "
            "See https://docs.stripe.com/billing/pending-updates-reference#supported-attributes.",
            key,
        )


def hold(ctx: Context, before: Obj, tried: Context, hoped: Obj) -> Obj:
    """The subscription as it was, with what it will become once the invoice of the rehearsal, which is now a real one, is paid."""
    after: Obj = clone(before)
    invoice = tried.world.get("invoice", drafted(tried)[-1]["id"])
    invoice |= {"auto_advance": False, "next_payment_attempt": None}
    _keep(ctx, tried, invoice)
    expires_at = ctx.now + _SECONDS
    ctx.world.held[after["id"]] = {"invoice": invoice["id"], "expires_at": expires_at, "fields": {key: hoped[key] for key in _HELD}}
    after["latest_invoice"] = invoice["id"]
    after["pending_update"] = {
        "billing_cycle_anchor": _new(before, hoped, "billing_cycle_anchor"),
        "cancel_at_period_end": None,
        "discount": None,
        "discounts": _new(before, hoped, "discounts"),
        "expires_at": expires_at,
        "metadata": _new(before, hoped, "metadata"),
        "subscription_items": clone(hoped["items"]["data"]) if hoped["items"] != before["items"] else None,
        "trial_end": _new(before, hoped, "trial_end"),
        "trial_from_plan": None,
    }
    return after


def _new(before: Obj, hoped: Obj, key: str) -> object:
    return clone(hoped[key]) if hoped[key] != before[key] else None


def _keep(ctx: Context, tried: Context, invoice: Obj) -> None:
    """What the rehearsal made for this invoice becomes real: the invoice itself, its invoice items, and discounts redeemed for it."""
    for kind in ("invoiceitem", "discount"):
        for made in tried.world.table(kind).values():
            if ctx.world.find(kind, made["id"]) is None or made.get("invoice") == invoice["id"]:
                ctx.world.put(made)
    for kind in ("coupon", "promotion_code"):
        for counted in tried.world.table(kind).values():
            if counted["times_redeemed"] != ctx.world.get(kind, counted["id"])["times_redeemed"]:
                ctx.world.put(counted)
    customer = tried.world.get("customer", invoice["customer"])
    before = ctx.world.get("customer", invoice["customer"])
    ctx.world.put(customer)
    events.tell(ctx, "updated", customer, before)
    ctx.world.put(invoice)
    for verb in ("created", "finalized", "payment_failed"):
        events.tell(ctx, verb, invoice)


def due_at(world: World, subscription: Obj) -> int | None:
    """When the waiting is over."""
    held = world.held.get(subscription["id"])
    return int(held["expires_at"]) if held else None


def apply(ctx: Context, subscription: Obj, invoice: Obj) -> None:
    """The invoice is paid: if a change waited for it, make it."""
    held = ctx.world.held.get(subscription["id"])
    if held is None or held["invoice"] != invoice["id"]:
        return
    del ctx.world.held[subscription["id"]]
    verb = "pending_update_applied" if subscription["pending_update"] else "resumed"
    subscription |= held["fields"] | {"pending_update": None}
    events.tell(ctx, verb, subscription)


def expire(ctx: Context, subscription: Obj) -> None:
    """Nobody paid in time: the change is given up and its invoice voided."""
    held = ctx.world.held.pop(subscription["id"])
    if (invoice := ctx.world.find("invoice", held["invoice"])) and invoice["status"] == "open":
        collection.close(ctx, invoice, "void")
    if subscription["pending_update"]:
        subscription["pending_update"] = None
        events.tell(ctx, "pending_update_expired", subscription)
