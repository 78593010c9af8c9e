"""Sign-ups: how a subscription begins, and everything it consists of."""

from __future__ import annotations

from sandbox.stripe import discounts, events, invoice_lines, invoices, params, payment_methods, subscription_items, subscription_terms
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, StripeError
from sandbox.stripe.worlds import clone, new_id

CREATE: dict[str, params.Shape | params.Required] = {
    **subscription_terms.FIELDS,
    "customer": params.Required(params.text),
    "items": params.Required(subscription_items.CREATE),
    "trial_period_days": params.integer,
    "billing_mode": params.record(type=params.Required(params.one_of("classic", "flexible"))),
}


def create(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/subscriptions`: bills the first period at once, unless it is a trial."""
    customer = ctx.world.get("customer", p["customer"], "customer")
    is_classic = p.get("billing_mode", {}).get("type") == "classic"
    items, redeemed = subscription_items.checked(ctx, None, p["items"], customer["id"], is_classic=is_classic)
    currency = items[0]["price"]["currency"]
    discounts.check(ctx, None, p.get("discounts") or [], currency, customer["id"])
    if p.get("default_payment_method"):
        payment_methods.check_belongs(ctx, customer["id"], p["default_payment_method"], "default_payment_method")
    trial_end = subscription_terms.trial_end_of(ctx, p, ctx.now)
    if "trial_period_days" in p:
        trial_end = ctx.now + p["trial_period_days"] * 86400
    subscription = _blank(ctx, customer["id"], currency, p)
    subscription["items"]["url"] = f"/v1/subscription_items?subscription={subscription['id']}"
    for item in items:
        item |= {"subscription": subscription["id"], "current_period_start": ctx.now}
        item["current_period_end"] = trial_end or subscription_items.next_end(item, ctx.now, ctx.now)
    subscription["items"]["data"] = items
    if trial_end:
        subscription |= {"status": "trialing", "trial_start": ctx.now, "trial_end": trial_end, "billing_cycle_anchor": trial_end}
    ctx.world.put(subscription)
    discounts.overwrite(ctx, subscription, p.get("discounts") or [], customer["id"])
    subscription_items.redeem(ctx, items, redeemed, customer["id"])
    subscription_terms.set_cancel(ctx, subscription, p)
    lines = [invoice_lines.of_item(ctx, subscription, item, amount=0 if trial_end else None) for item in items]
    try:
        invoices.bill(ctx, subscription, lines, "subscription_create", behavior=p.get("payment_behavior"))
    except StripeError:  # a declined card: no subscription
        del ctx.world.table("subscription")[subscription["id"]]
        raise
    if subscription["status"] == "past_due":
        subscription["status"] = "incomplete"
    discounts.lapse(ctx, subscription, after_invoice=not trial_end)
    if customer["currency"] is None:
        before = clone(customer)
        customer["currency"] = currency
        events.tell(ctx, "updated", customer, before)
    events.tell(ctx, "created", subscription)
    ctx.local.clock.watch(ctx.world, subscription)
    return subscription


def _blank(ctx: Context, customer: str, currency: str, p: Obj) -> Obj:
    return {
        "id": new_id("subscription"),
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": ctx.now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible", "updated_at": None}
        if p.get("billing_mode", {}).get("type", "flexible") == "flexible"
        else {"flexible": None, "type": "classic", "updated_at": None},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": p.get("collection_method", "charge_automatically"),
        "created": ctx.now,
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "days_until_due": p.get("days_until_due"),
        "default_payment_method": p.get("default_payment_method"),
        "default_source": None,
        "default_tax_rates": [],
        "description": p.get("description"),
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": {"object": "list", "data": [], "has_more": False, "url": ""},
        "latest_invoice": None,
        "livemode": ctx.livemode,
        "metadata": params.merged(None, p.get("metadata")),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {"payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off"},
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": ctx.now,
        "status": "active",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {
            "end_behavior": {"missing_payment_method": "create_invoice"} | p.get("trial_settings", {}).get("end_behavior", {})
        },
        "trial_start": None,
    }
