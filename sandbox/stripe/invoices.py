"""Invoices: made from lines, then paid, voided, left open or given up, as the subscription and the customer's card say."""

from __future__ import annotations

from sandbox.stripe import discounts, events, listing, params, payment_methods, payments
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, StripeError
from sandbox.stripe.worlds import clone, new_id, word

RETRY_SECONDS = (3 * 86400, 5 * 86400, 7 * 86400)


def line(ctx: Context, subscription: Obj, item: Obj, *, amount: int | None = None, proration: str | None = None) -> Obj:
    """One line for an item's current period; with `proration`, a credit or debit of that description."""
    price = item["price"]
    quantity = item["quantity"] or 0
    name = ctx.world.get("product", price["product"])["name"]
    return {
        "id": new_id("line_item"),
        "object": "line_item",
        "amount": (price["unit_amount"] or 0) * quantity if amount is None else amount,
        "currency": price["currency"],
        "description": proration or f"{quantity} × {name}",
        "discount_amounts": [],
        "discountable": proration is None,
        "discounts": [],
        "invoice": None,
        "livemode": ctx.livemode,
        "metadata": {},
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": proration is not None,
                "proration_details": {"credited_items": None},
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"start": item["current_period_start"], "end": item["current_period_end"]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": quantity,
        "subscription": subscription["id"],
        "subtotal": (price["unit_amount"] or 0) * quantity if amount is None else amount,
        "taxes": [],
    }


def bill(ctx: Context, subscription: Obj, lines: list[Obj], reason: str, *, must_pay: bool = False) -> Obj:
    """Invoice these lines and whatever is pending, try to collect, and set the subscription's latest invoice and status.

    With `must_pay` a declined card raises 402 and nothing is kept.
    """
    lines = ctx.world.pending_lines.pop(subscription["id"], []) + lines
    off = discounts.taken_off(ctx, subscription, [line for line in lines if line["discountable"]])
    subtotal = sum(line["amount"] for line in lines)
    total = max(0, subtotal - sum(amount for _, amount in off))
    customer = ctx.world.get("customer", subscription["customer"])
    invoice = _blank(ctx, subscription, customer, reason)
    for each in lines:
        each["invoice"] = invoice["id"]
    invoice |= {
        "lines": {"object": "list", "data": lines, "has_more": False, "url": f"/v1/invoices/{invoice['id']}/lines"},
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": total,
        "total_excluding_tax": total,
        "amount_due": total,
        "amount_remaining": total,
        "discounts": [id for id, _ in off],
        "total_discount_amounts": [{"amount": amount, "discount": id} for id, amount in off],
        "period_start": min((line["period"]["start"] for line in lines), default=ctx.now),
        "period_end": max((line["period"]["end"] for line in lines), default=ctx.now),
    }
    if must_pay and total and not payment_methods.pays(ctx, subscription):
        raise declined()
    ctx.world.put(invoice)
    subscription["latest_invoice"] = invoice["id"]
    events.tell(ctx, "created", invoice)
    pause = subscription["pause_collection"]
    if pause is not None and pause["behavior"] == "keep_as_draft":
        invoice["auto_advance"] = False
        return invoice
    _finalize(ctx, invoice)
    if pause is not None:
        settled = "void" if pause["behavior"] == "void" else "uncollectible"
        close(ctx, invoice, settled)
    elif invoice["collection_method"] == "send_invoice" and total:
        invoice["due_date"] = ctx.now + (subscription["days_until_due"] or 30) * 86400
        invoice["auto_advance"] = False
    else:
        collect(ctx, subscription, invoice)
    return invoice


def declined() -> StripeError:
    """The customer's card was refused: 402 `card_declined`."""
    return StripeError(402, "Your card was declined.", code="card_declined", type="card_error", extra={"decline_code": "generic_decline"})


def collect(ctx: Context, subscription: Obj, invoice: Obj) -> None:
    """Try to take the money: the invoice is paid, or open and the subscription past due."""
    before = clone(invoice)
    invoice["attempted"] = True
    if invoice["total"] == 0 or payment_methods.pays(ctx, subscription):
        invoice |= {"status": "paid", "amount_paid": invoice["total"], "amount_remaining": 0}
        invoice |= {"next_payment_attempt": None, "auto_advance": False, "attempt_count": invoice["attempt_count"] + (invoice["total"] > 0)}
        invoice["status_transitions"]["paid_at"] = ctx.now
        if subscription["status"] in ("past_due", "incomplete"):
            subscription["status"] = "active"
        payments.take(ctx, invoice, payment_methods.of_subscription(ctx, subscription))
        events.tell(ctx, "updated", invoice, before)
        events.tell(ctx, "paid", invoice)
        events.tell(ctx, "payment_succeeded", invoice)
    else:
        tries = invoice["attempt_count"]
        invoice["attempt_count"] = tries + 1
        invoice["next_payment_attempt"] = ctx.now + RETRY_SECONDS[tries] if tries < len(RETRY_SECONDS) else None
        if subscription["status"] in ("active", "trialing"):
            subscription["status"] = "past_due"
        events.tell(ctx, "updated", invoice, before)
        events.tell(ctx, "payment_failed", invoice)
    _mark_delinquent(ctx, subscription, invoice["status"] != "paid")


def close(ctx: Context, invoice: Obj, status: str) -> None:
    """Void an invoice, or mark it uncollectible."""
    before = clone(invoice)
    field, verb = ("voided_at", "voided") if status == "void" else ("marked_uncollectible_at", "marked_uncollectible")
    invoice |= {"status": status, "auto_advance": False, "next_payment_attempt": None}
    invoice["status_transitions"][field] = ctx.now
    events.tell(ctx, "updated", invoice, before)
    events.tell(ctx, verb, invoice)


def stop_collecting(ctx: Context, subscription: Obj) -> None:
    """A canceled subscription's open invoices are tried no more."""
    for invoice in ctx.world.all("invoice", customer=subscription["customer"], status="open"):
        if invoice["parent"]["subscription_details"]["subscription"] == subscription["id"] and invoice["auto_advance"]:
            before = clone(invoice)
            invoice |= {"auto_advance": False, "next_payment_attempt": None}
            events.tell(ctx, "updated", invoice, before)


def _finalize(ctx: Context, invoice: Obj) -> None:
    before = clone(invoice)
    customer = ctx.world.get("customer", invoice["customer"])
    number = customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] = number + 1
    secret = f"live_{word(40)}" if ctx.livemode else f"test_{word(40)}"
    page = f"https://invoice.stripe.com/i/{ctx.world.account}/{secret}"
    invoice |= {"status": "open", "number": f"{customer['invoice_prefix']}-{number:04d}", "effective_at": ctx.now, "ending_balance": 0}
    invoice |= {"hosted_invoice_url": page, "invoice_pdf": page + "/pdf"}
    invoice["status_transitions"]["finalized_at"] = ctx.now
    events.tell(ctx, "updated", invoice, before)
    events.tell(ctx, "finalized", invoice)


def _mark_delinquent(ctx: Context, subscription: Obj, delinquent: bool) -> None:
    customer = ctx.world.get("customer", subscription["customer"])
    if customer["delinquent"] != delinquent:
        before = clone(customer)
        customer["delinquent"] = delinquent
        events.tell(ctx, "updated", customer, before)


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
        if ("subscription" not in p or invoice["parent"]["subscription_details"]["subscription"] == p["subscription"])
        and all(key not in p or listing.within(invoice[key], p[key]) for key in ("created", "due_date"))
    )
    return listing.page("/v1/invoices", found, p)
