"""What time does to a subscription: periods roll, trials end, pauses lift, retries run, cancellations take effect."""

from __future__ import annotations

from sandbox.stripe import discounts, events, invoices, payment_methods, schedules, subscription_items, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj
from sandbox.stripe.worlds import World, clone

_TRIAL_NOTICE = 3 * 86400


def due_at(world: World, subscription: Obj) -> int | None:
    """The next moment at which something happens to this subscription by itself."""
    status = subscription["status"]
    if status in (*subscriptions.ENDED, "incomplete"):
        return None
    moments = [subscription["cancel_at"]]
    if subscription["pause_collection"] is not None:
        moments.append(subscription["pause_collection"]["resumes_at"])
    if status == "trialing" and subscription["id"] not in world.trials_told:
        moments.append(subscription["trial_end"] - _TRIAL_NOTICE)
    if status in ("active", "trialing", "past_due"):
        moments.append(subscriptions.period_end(subscription))
        moments.append(schedules.due_at(world, subscription))
    if status == "past_due":
        moments.append(world.get("invoice", subscription["latest_invoice"])["next_payment_attempt"])
    return min((moment for moment in moments if moment is not None), default=None)


def settle(ctx: Context, before: Obj) -> None:
    """Do what is due at `ctx.now`, which is the moment it was due."""
    after = clone(before)
    pause = after["pause_collection"]
    if pause is not None and pause["resumes_at"] is not None and pause["resumes_at"] <= ctx.now:
        after["pause_collection"] = None
        after = subscriptions.commit(ctx, before, after)
        before, after = after, clone(after)
    if after["cancel_at"] is not None and after["cancel_at"] <= ctx.now:
        subscriptions.end(ctx, before, after, "cancellation_requested")
        return
    if after["status"] == "trialing" and after["id"] not in ctx.world.trials_told and after["trial_end"] - _TRIAL_NOTICE <= ctx.now:
        ctx.world.trials_told.add(after["id"])
        events.tell(ctx, "trial_will_end", after)
    if after["status"] == "past_due" and not _retry(ctx, before, after):
        return
    schedules.move_on(ctx, after)
    if (
        subscriptions.period_end(after) <= ctx.now
        and after["status"] in ("active", "trialing", "past_due")
        and not _roll(ctx, before, after)
    ):
        return
    subscriptions.commit(ctx, before, after)


def _retry(ctx: Context, before: Obj, after: Obj) -> bool:
    """Try the open invoice again; after the last try the subscription is canceled and this says no."""
    invoice = ctx.world.get("invoice", after["latest_invoice"])
    if invoice["next_payment_attempt"] is None or invoice["next_payment_attempt"] > ctx.now:
        return True
    invoices.collect(ctx, after, invoice)
    if invoice["status"] == "open" and invoice["next_payment_attempt"] is None:
        subscriptions.end(ctx, before, after, "payment_failed")
        return False
    return True


def _roll(ctx: Context, before: Obj, after: Obj) -> bool:
    """Start the next period and bill it; no if the subscription ended or paused instead, its trial over without a card."""
    if after["status"] == "trialing":
        missing = after["trial_settings"]["end_behavior"]["missing_payment_method"]
        if payment_methods.of_subscription(ctx, after) is None and missing != "create_invoice":
            if missing == "cancel":
                subscriptions.end(ctx, before, after, "payment_failed")
            else:
                _pause(ctx, before, after)
            return False
        after["status"] = "active"
    lines = []
    for item in after["items"]["data"]:
        if item["current_period_end"] <= ctx.now:
            item["current_period_start"] = item["current_period_end"]
            item["current_period_end"] = subscription_items.next_end(item, item["current_period_start"], after["billing_cycle_anchor"])
            lines.append(invoices.line(ctx, after, item))
    discounts.lapse(ctx, after, after_invoice=False)
    invoice = invoices.bill(ctx, after, lines, "subscription_cycle")
    discounts.lapse(ctx, after, after_invoice=bool(invoice["discounts"]))
    return True


def _pause(ctx: Context, before: Obj, after: Obj) -> None:
    after["status"] = "paused"
    after["status_details"] = {
        "paused": {"subscription": {"type": "trial_end_without_payment_method"}, "transitioned_at": ctx.now, "type": "subscription"}
    }
    subscriptions.commit(ctx, before, after)
    events.tell(ctx, "paused", after)
