"""Subscription schedules: phases that change a subscription by themselves, and guard it from direct cancels meanwhile."""

from __future__ import annotations

from sandbox.stripe import events, subscription_items
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj
from sandbox.stripe.worlds import World, clone, new_id


def attach(ctx: Context, subscription: Obj, next_price: str, ends_at: int) -> Obj:
    """Put a subscription under a schedule: as it is for this period, then at another price until `ends_at`, then released."""
    item = subscription["items"]["data"][0]
    now = [(item["price"]["id"], item["current_period_start"], item["current_period_end"])]
    phases = [*now, (next_price, item["current_period_end"], ends_at)]
    schedule = ctx.world.put(
        {
            "id": new_id("subscription_schedule"),
            "object": "subscription_schedule",
            "application": None,
            "billing_mode": clone(subscription["billing_mode"]),
            "canceled_at": None,
            "completed_at": None,
            "created": ctx.now,
            "current_phase": {"start_date": item["current_period_start"], "end_date": item["current_period_end"]},
            "customer": subscription["customer"],
            "customer_account": None,
            "default_settings": {
                "application_fee_percent": None,
                "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
                "billing_cycle_anchor": "automatic",
                "billing_thresholds": None,
                "collection_method": "charge_automatically",
                "default_payment_method": None,
                "description": None,
                "invoice_settings": {
                    "account_tax_ids": None,
                    "custom_fields": None,
                    "days_until_due": None,
                    "description": None,
                    "footer": None,
                    "issuer": {"type": "self"},
                },
                "on_behalf_of": None,
                "transfer_data": None,
            },
            "end_behavior": "release",
            "livemode": ctx.livemode,
            "metadata": {},
            "pause_schedules": [],
            "phases": [_phase(subscription, item["quantity"], *phase) for phase in phases],
            "released_at": None,
            "released_subscription": None,
            "status": "active",
            "subscription": subscription["id"],
            "test_clock": None,
        }
    )
    before = clone(subscription)
    subscription["schedule"] = schedule["id"]
    events.tell(ctx, "created", schedule)
    events.tell(ctx, "updated", subscription, before)
    ctx.local.clock.watch(ctx.world, subscription)
    return schedule


def _phase(subscription: Obj, quantity: int | None, price: str, start: int, end: int) -> Obj:
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": subscription["currency"],
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "end_date": end,
        "invoice_settings": None,
        "items": [
            {
                "billing_thresholds": None,
                "discounts": [],
                "metadata": {},
                "plan": price,
                "price": price,
                "quantity": quantity,
                "tax_rates": [],
            }
        ],
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": "none",
        "start_date": start,
        "transfer_data": None,
        "trial_end": None,
    }


def due_at(world: World, subscription: Obj) -> int | None:
    """When the schedule's phase is over."""
    if not subscription["schedule"]:
        return None
    phase = world.get("subscription_schedule", subscription["schedule"])["current_phase"]
    return int(phase["end_date"]) if phase else None


def move_on(ctx: Context, subscription: Obj) -> None:
    """At the end of a phase take the next one's price; after the last, let the subscription go."""
    at = due_at(ctx.world, subscription)
    if at is None or at > ctx.now:
        return
    schedule = ctx.world.get("subscription_schedule", subscription["schedule"])
    before = clone(schedule)
    coming = next((phase for phase in schedule["phases"] if phase["start_date"] == at), None)
    if coming is None:
        schedule |= {"status": "released", "released_at": ctx.now, "released_subscription": subscription["id"]}
        schedule |= {"subscription": None, "current_phase": None}
        subscription["schedule"] = None
        events.tell(ctx, "updated", schedule, before)
        events.tell(ctx, "released", schedule)
        return
    schedule["current_phase"] = {"start_date": coming["start_date"], "end_date": coming["end_date"]}
    item = subscription["items"]["data"][0]
    item["price"] = clone(ctx.world.get("price", coming["items"][0]["price"]))
    item["plan"] = subscription_items.plan(item["price"])
    events.tell(ctx, "updated", schedule, before)


def cancel(ctx: Context, id: str) -> None:
    """The subscription was canceled, and its schedule with it."""
    schedule = ctx.world.get("subscription_schedule", id)
    schedule |= {"status": "canceled", "canceled_at": ctx.now, "current_phase": None}
    events.tell(ctx, "canceled", schedule)
