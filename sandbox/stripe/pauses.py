"""Pauses in earnest: a subscription that stands still and is not billed until somebody resumes it."""

from __future__ import annotations

from sandbox.stripe import (
    events,
    invoice_items,
    invoice_lines,
    invoices,
    params,
    payment_methods,
    prorations,
    subscription_items,
    subscription_terms,
    subscriptions,
)
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, refused
from sandbox.stripe.worlds import clone

_Fields = dict[str, params.Shape | params.Required]

PAUSE: _Fields = {
    "bill_for": params.record(
        outstanding_usage_through=params.record(type=params.Required(params.one_of("none", "now"))),
        unused_time_from=params.record(type=params.Required(params.one_of("item_current_period_start", "none", "now"))),
    ),
    "invoicing_behavior": params.one_of("invoice", "pending_invoice_item"),
    "type": params.one_of("subscription"),
}
RESUME: _Fields = {
    "billing_cycle_anchor": params.record(type=params.Required(params.one_of("now", "unchanged"))),
    "payment_behavior": params.one_of("resume_on_payment_attempt", "resume_on_payment_success"),
    "proration_behavior": subscription_terms.PRORATION,
    "proration_date": params.integer,
}
_PATIENCE = 23 * 3600


def pause(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/subscriptions/:id/pause`: flexible billing mode only, and not under a schedule."""
    before = ctx.world.get("subscription", id)
    if before["billing_mode"]["type"] != "flexible":
        raise refused("Only subscriptions with `billing_mode` set to `flexible` can be paused.")
    if before["schedule"]:
        raise refused("Cannot pause subscriptions with attached schedules.")
    if before["status"] not in ("active", "trialing", "past_due"):
        raise refused(f"A subscription that is {before['status']} can't be paused.")
    after: Obj = clone(before)
    unused = p.get("bill_for", {}).get("unused_time_from", {}).get("type", "now")
    fresh: list[Obj] = []
    if unused != "none":
        since_start = unused == "item_current_period_start"
        fresh = prorations.credits(ctx, before, before["items"]["data"], ctx.now, since_start=since_start)
    if p.get("invoicing_behavior") == "invoice" and (fresh or invoice_items.pending(ctx, before)):
        invoices.bill(ctx, after, [], "subscription_update", fresh=fresh)
    else:
        invoice_items.put(ctx, fresh)
    after["status"] = "paused"
    after["status_details"] = {"paused": {"subscription": {"type": "pause_requested"}, "transitioned_at": ctx.now, "type": "subscription"}}
    subscriptions.commit(ctx, before, after)
    events.tell(ctx, "paused", after)
    return after


def resume(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/subscriptions/:id/resume`: from now on in a new period, or in the old rhythm with the rest of a period to pay.

    With `resume_on_payment_success` it stays paused until the invoice is paid, for 23 hours at most.
    """
    before = ctx.world.get("subscription", id)
    if before["status"] != "paused":
        raise refused("You cannot resume a subscription that is not paused.")
    if before["collection_method"] != "charge_automatically":
        raise refused("Only subscriptions with `collection_method` set to `charge_automatically` can be resumed.")
    if id in ctx.world.held:
        raise refused("This subscription is being resumed already: its invoice waits to be paid.")
    after: Obj = clone(before)
    lines, fresh = _restarted(ctx, after, p)
    after |= {"status": "active", "status_details": None}
    if not lines and not fresh:
        return _back(ctx, before, after)
    is_patient = p.get("payment_behavior") == "resume_on_payment_success"
    if not is_patient or payment_methods.pays(ctx, after):
        invoices.bill(ctx, after, lines, "subscription_update", fresh=fresh)
        return _back(ctx, before, after)
    fields = {key: clone(after[key]) for key in ("status", "status_details", "items", "billing_cycle_anchor", "trial_end")}
    waiting: Obj = {**clone(before), "pause_collection": None}
    invoice = invoices.bill(ctx, waiting, lines, "subscription_update", fresh=fresh)
    if invoice["status"] == "paid":  # the customer's balance was enough
        return _back(ctx, before, after | {"latest_invoice": invoice["id"]})
    ctx.world.held[id] = {"invoice": invoice["id"], "expires_at": ctx.now + _PATIENCE, "fields": fields}
    return subscriptions.commit(ctx, before, {**clone(before), "latest_invoice": invoice["id"]})


def _back(ctx: Context, before: Obj, after: Obj) -> Obj:
    subscriptions.commit(ctx, before, after)
    events.tell(ctx, "resumed", after)
    return after


def _restarted(ctx: Context, after: Obj, p: Obj) -> tuple[list[Obj], list[Obj]]:
    """Give every item the period it resumes in; says what is to be billed for that: whole periods, or the rest of one."""
    items = after["items"]["data"]
    if p.get("billing_cycle_anchor", {}).get("type", "now") == "now":
        after["billing_cycle_anchor"] = ctx.now
        for item in items:
            item |= {"current_period_start": ctx.now, "current_period_end": subscription_items.next_end(item, ctx.now, ctx.now)}
        return [invoice_lines.of_item(ctx, after, item) for item in items], []
    passed = []
    for item in items:
        while item["current_period_end"] <= ctx.now:
            item["current_period_start"] = item["current_period_end"]
            end = subscription_items.next_end(item, item["current_period_start"], after["billing_cycle_anchor"])
            item["current_period_end"] = end
        passed.append(item)
    behavior = p.get("proration_behavior", "create_prorations")
    if behavior == "none":
        return [], []
    fresh = prorations.debits(ctx, after, passed, subscription_items.proration_date(ctx, after, p), {})
    if behavior == "always_invoice":
        return [], fresh
    invoice_items.put(ctx, fresh)
    return [], []
