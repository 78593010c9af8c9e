"""Invoices: made from what a period costs and from what waited, less the discounts and the customer's credit."""

from __future__ import annotations

from sandbox.stripe import collection, discounts, events, invoice_items, invoice_lines, listing, params, payment_methods
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, StripeError
from sandbox.stripe.worlds import clone, new_id


def bill(
    ctx: Context,
    subscription: Obj,
    lines: list[Obj],
    reason: str,
    *,
    fresh: list[Obj] | None = None,
    takes_pending: bool = True,
    behavior: str | None = None,
) -> Obj:
    """Invoice these lines, what is pending, and `fresh` invoice items; try to collect; set the subscription's latest invoice and status.

    `behavior` is a `payment_behavior`: with `error_if_incomplete` a declined card raises 402 and nothing is kept, with
    `default_incomplete` nobody is asked to pay yet.
    """
    waiting = (invoice_items.pending(ctx, subscription) if takes_pending else []) + (fresh or [])
    lines = [invoice_lines.of_invoice_item(ctx, item) for item in waiting] + lines
    off = discounts.take_off(ctx, subscription, lines)
    customer = ctx.world.get("customer", subscription["customer"])
    invoice = _blank(ctx, subscription, customer, reason)
    subtotal = sum(line["amount"] for line in lines)
    total = subtotal - sum(amount for _, amount in off)
    due = max(0, total + customer["balance"])
    for line in lines:
        line["invoice"] = invoice["id"]
    invoice |= {
        "lines": {"object": "list", "data": lines, "has_more": False, "url": f"/v1/invoices/{invoice['id']}/lines"},
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": total,
        "total_excluding_tax": total,
        "starting_balance": customer["balance"],
        "amount_due": due,
        "amount_remaining": due,
        "discounts": [id for id, _ in off],
        "total_discount_amounts": [{"amount": amount, "discount": id} for id, amount in off],
        "period_start": min((line["period"]["start"] for line in lines), default=ctx.now),
        "period_end": max((line["period"]["end"] for line in lines), default=ctx.now),
    }
    if behavior == "error_if_incomplete" and due and not payment_methods.pays(ctx, subscription):
        raise declined()
    if ctx.world.rehearsed is not None:
        ctx.world.rehearsed.append(clone(invoice))
    for item in fresh or []:
        events.tell(ctx, "created", ctx.world.put(item))
    for item in waiting:
        item["invoice"] = invoice["id"]
    ctx.world.put(invoice)
    subscription["latest_invoice"] = invoice["id"]
    events.tell(ctx, "created", invoice)
    collection.begin(ctx, subscription, invoice, waits=behavior == "default_incomplete")
    return invoice


def declined() -> StripeError:
    """The customer's card was refused: 402 `card_declined`."""
    return StripeError(402, "Your card was declined.", code="card_declined", type="card_error", extra={"decline_code": "generic_decline"})


def subscription_of(invoice: Obj) -> str | None:
    """The subscription that an invoice is for."""
    details = (invoice["parent"] or {}).get("subscription_details")
    return str(details["subscription"]) if details else None


def _blank(ctx: Context, subscription: Obj, customer: Obj, reason: str) -> Obj:
    account = ctx.local.accounts[ctx.world.account]
    return {
        "id": new_id("invoice"),
        "object": "invoice",
        "account_country": account["country"],
        "account_name": account["business_profile"]["name"],
        "account_tax_ids": None,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None},
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": subscription["collection_method"],
        "created": ctx.now,
        "currency": subscription["currency"],
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": None,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "livemode": ctx.livemode,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {"metadata": clone(subscription["metadata"]), "subscription": subscription["id"]},
            "type": "subscription_details",
        },
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {"finalized_at": None, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None},
        "test_clock": None,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": None,
    }


LIST: dict[str, params.Shape | params.Required] = {
    **params.PAGE,
    "customer": params.text,
    "subscription": params.text,
    "status": params.one_of("draft", "open", "paid", "uncollectible", "void"),
    "created": params.created,
    "due_date": params.created,
    "collection_method": params.one_of("charge_automatically", "send_invoice"),
}


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/invoices`."""
    having = {key: p[key] for key in ("customer", "status", "collection_method") if key in p}
    found = (
        invoice
        for invoice in ctx.world.all("invoice", **having)
        if ("subscription" not in p or subscription_of(invoice) == p["subscription"])
        and all(key not in p or listing.within(invoice[key], p[key]) for key in ("created", "due_date"))
    )
    return listing.page("/v1/invoices", found, p)
