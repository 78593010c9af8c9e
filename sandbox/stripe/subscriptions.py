"""Subscriptions as they are changed: updated, canceled, and ended by what happens to them."""

from __future__ import annotations

from sandbox.stripe import (
    collection,
    discounts,
    events,
    invoice_items,
    invoices,
    params,
    pending_updates,
    prorations,
    rehearsals,
    schedules,
    subscription_items,
    subscription_lists,
    subscription_terms,
)
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, missing
from sandbox.stripe.worlds import clone

ENDED = subscription_lists.ENDED
FIELDS, UPDATE, CANCEL = subscription_terms.FIELDS, subscription_terms.UPDATE, subscription_terms.CANCEL
LIST, find_all = subscription_lists.LIST, subscription_lists.find_all
period_end = subscription_lists.period_end


def commit(ctx: Context, before: Obj, after: Obj, verb: str = "updated") -> Obj:
    """Keep the changed subscription, tell the news, and watch for its next moment."""
    ctx.world.put(after)
    events.tell(ctx, verb, after, before)
    ctx.local.clock.watch(ctx.world, after)
    return after


def update(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/subscriptions/:id`."""
    before = ctx.world.get("subscription", id)
    if p.get("payment_behavior") == "pending_if_incomplete":
        pending_updates.check(p)
        tried = rehearsals.of(ctx, before["customer"])
        hoped = changed(tried, tried.world.get("subscription", id), p)
        if hoped["latest_invoice"] != before["latest_invoice"] and hoped["status"] == "past_due":
            return commit(ctx, before, pending_updates.hold(ctx, before, tried, hoped))
    elif p.get("payment_behavior") == "error_if_incomplete":
        tried = rehearsals.of(ctx, before["customer"])  # a declined card: nothing of it happens
        changed(tried, tried.world.get("subscription", id), p)
    return commit(ctx, before, changed(ctx, before, p))


def changed(ctx: Context, before: Obj, p: Obj) -> Obj:
    """The subscription after these changes, billed where they cost something at once, not kept yet. Raises 400 and 402."""
    after: Obj = clone(before)
    subscription_terms.check(ctx, before, p)
    trial_end = subscription_terms.trial_end_of(ctx, p, before["billing_cycle_anchor"])
    items: list[Obj] | None = None
    redeemed: subscription_items.Redeemed = {}
    if "items" in p or p.get("billing_cycle_anchor", {}).get("type") == "now":
        is_classic = before["billing_mode"]["type"] == "classic"
        items, redeemed = subscription_items.checked(ctx, before, p.get("items", []), before["customer"], is_classic=is_classic)
    for key in ("default_payment_method", "description", "collection_method", "days_until_due"):
        if key in p:
            after[key] = p[key]
    if after["collection_method"] == "charge_automatically":
        after["days_until_due"] = None
    if "trial_settings" in p:
        after["trial_settings"]["end_behavior"] |= p["trial_settings"]["end_behavior"]
    if "metadata" in p:
        after["metadata"] = params.merged(after["metadata"], p["metadata"])
    if "pause_collection" in p:
        after["pause_collection"] = subscription_terms.paused(ctx, p["pause_collection"])
    subscription_terms.set_cancel(ctx, after, p)
    for key, value in p.get("cancellation_details", {}).items():
        after["cancellation_details"][key] = value
    if "discounts" in p:  # the empty string clears, and so it is None here; an empty list can't be sent in a form
        discounts.overwrite(ctx, after, p["discounts"] or [], after["customer"])
    if items is not None:
        subscription_items.redeem(ctx, items, redeemed, after["customer"])
        subscription_items.change(ctx, before, after, items, p)
    if "trial_end" in p:
        subscription_items.set_trial(ctx, before, after, trial_end, p)
    if after["cancel_at_period_end"]:
        after["cancel_at"] = period_end(after)
    return after


def cancel(ctx: Context, id: str, p: Obj) -> Obj:
    """`DELETE /v1/subscriptions/:id`; a second time it is not found."""
    before = ctx.world.get("subscription", id)
    if before["status"] in ENDED:
        raise missing("subscription", id)
    after = clone(before)
    for key, value in p.get("cancellation_details", {}).items():
        after["cancellation_details"][key] = value
    fresh = prorations.credits(ctx, before, before["items"]["data"], ctx.now) if p.get("prorate") else []
    if p.get("invoice_now") and (fresh or invoice_items.pending(ctx, before)):
        invoices.bill(ctx, after, [], "subscription_update", fresh=fresh)
    elif p.get("prorate"):
        invoice_items.put(ctx, fresh)
    elif not p.get("invoice_now"):
        invoice_items.drop_prorations(ctx, before)
    return end(ctx, before, after, "cancellation_requested")


def end(ctx: Context, before: Obj, after: Obj, reason: str) -> Obj:
    """The subscription is canceled as of now, for this reason."""
    after |= {"status": "canceled", "ended_at": ctx.now, "canceled_at": after["canceled_at"] or ctx.now, "pause_collection": None}
    after |= {"pending_update": None, "status_details": None}
    ctx.world.held.pop(after["id"], None)
    after["cancellation_details"]["reason"] = reason
    collection.stop(ctx, after)
    if after["schedule"]:
        schedules.end(ctx, after["schedule"])
    return commit(ctx, before, after, "deleted")
