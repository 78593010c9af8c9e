"""What time does to a subscription: periods roll, trials end, pauses lift, retries run, cancellations take effect."""

from __future__ import annotations

from sandbox.stripe import (
    collection,
    discounts,
    events,
    invoice_items,
    invoice_lines,
    invoices,
    payment_methods,
    pending_updates,
    schedules,
    subscription_items,
    subscriptions,
)
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj
from sandbox.stripe.worlds import World, clone

_TRIAL_NOTICE = 3 * 86400
_PATIENCE = 23 * 3600
_ROLLING = ("active", "trialing", "past_due", "unpaid")


def due_at(world: World, subscription: Obj) -> int | None:
    """The next moment at which something happens to this subscription by itself."""
    status = subscription["status"]
    moments = [_payment_at(world, subscription)]
    if status not in subscriptions.ENDED:
        moments += [subscription["cancel_at"], pending_updates.due_at(world, subscription), schedules.due_at(world, subscription)]
        moments += [world.get("discount", id)["end"] for id in _discounts(subscription)]
    if status == "incomplete":
        moments = [subscription["created"] + _PATIENCE]
    if subscription["pause_collection"] is not None:
        moments.append(subscription["pause_collection"]["resumes_at"])
    if status == "trialing" and subscription["id"] not in world.trials_told:
        moments.append(subscription["trial_end"] - _TRIAL_NOTICE)
    if status in _ROLLING:
        moments.append(subscriptions.period_end(subscription))
    return min((moment for moment in moments if moment is not None), default=None)


def _discounts(subscription: Obj) -> list[str]:
    return [id for holder in (subscription, *subscription["items"]["data"]) for id in holder["discounts"]]


def _owed(world: World, subscription: Obj) -> Obj | None:
    """The open invoice that the subscription's state hangs on."""
    invoice = world.find("invoice", subscription["latest_invoice"] or "")
    return invoice if invoice is not None and invoice["status"] == "open" else None


def _payment_at(world: World, subscription: Obj) -> int | None:
    """When the open invoice is tried again, or is overdue."""
    invoice = _owed(world, subscription)
    if invoice is None:
        return None
    if invoice["collection_method"] == "send_invoice":
        return invoice["due_date"] if subscription["status"] == "active" else None
    return invoice["next_payment_attempt"] if subscription["status"] in ("past_due", *subscriptions.ENDED) else None


def settle(ctx: Context, before: Obj) -> None:
    """Do what is due at `ctx.now`, which is the moment it was due."""
    after = clone(before)
    pause = after["pause_collection"]
    if pause is not None and pause["resumes_at"] is not None and pause["resumes_at"] <= ctx.now:
        after["pause_collection"] = None
        after = subscriptions.commit(ctx, before, after)
        before, after = after, clone(after)
    if after["status"] == "incomplete":
        _expire(ctx, before, after)
        return
    if (over := pending_updates.due_at(ctx.world, after)) is not None and over <= ctx.now:
        pending_updates.expire(ctx, after)
    if after["cancel_at"] is not None and after["cancel_at"] <= ctx.now and after["status"] not in subscriptions.ENDED:
        if invoice_items.pending(ctx, after):
            invoices.bill(ctx, after, [], "subscription_cycle")
        subscriptions.end(ctx, before, after, "cancellation_requested")
        return
    if after["status"] == "trialing" and after["id"] not in ctx.world.trials_told and after["trial_end"] - _TRIAL_NOTICE <= ctx.now:
        ctx.world.trials_told.add(after["id"])
        events.tell(ctx, "trial_will_end", after)
    if not _pursue(ctx, before, after):
        return
    discounts.lapse(ctx, after, after_invoice=False)
    if not schedules.move_on(ctx, before, after):
        return
    if after["status"] in _ROLLING and subscriptions.period_end(after) <= ctx.now and not _roll(ctx, before, after):
        return
    subscriptions.commit(ctx, before, after)


def _expire(ctx: Context, before: Obj, after: Obj) -> None:
    """Nobody paid the first invoice within 23 hours."""
    after |= {"status": "incomplete_expired", "ended_at": ctx.now}
    if invoice := _owed(ctx.world, after):
        collection.close(ctx, invoice, "void")
    subscriptions.commit(ctx, before, after)


def _pursue(ctx: Context, before: Obj, after: Obj) -> bool:
    """See to the open invoice where that is due; after the last try the subscription is canceled and this says no."""
    at, invoice = _payment_at(ctx.world, after), _owed(ctx.world, after)
    if at is None or at > ctx.now or invoice is None:
        return True
    if invoice["collection_method"] == "send_invoice":
        after["status"] = "past_due"
        events.tell(ctx, "overdue", invoice)
        return True
    collection.collect(ctx, after, invoice)
    if invoice["status"] == "open" and invoice["next_payment_attempt"] is None and after["status"] == "past_due":
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
            lines.append(invoice_lines.of_item(ctx, after, item))
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
