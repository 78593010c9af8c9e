"""Collection: an invoice is finalized, paid, tried again, voided, left open or given up, as the subscription and the card say."""

from __future__ import annotations

from sandbox.stripe import events, payment_methods, payments, pending_updates
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj
from sandbox.stripe.worlds import clone, word

RETRY_SECONDS = (3 * 86400, 5 * 86400, 7 * 86400)


def begin(ctx: Context, subscription: Obj, invoice: Obj, *, waits: bool = False) -> None:
    """What happens to a new invoice: kept as a draft, finalized and settled by a pause, sent, or paid at once."""
    pause = subscription["pause_collection"]
    if subscription["status"] == "unpaid" or (pause is not None and pause["behavior"] == "keep_as_draft"):
        invoice["auto_advance"] = False
        return
    finalize(ctx, invoice, uses_balance=pause is None)
    if pause is not None and subscription["status"] != "incomplete":
        close(ctx, invoice, "void" if pause["behavior"] == "void" else "uncollectible")
    elif waits and invoice["amount_due"]:
        invoice["auto_advance"] = False
        subscription["status"] = "past_due" if subscription["status"] in ("active", "trialing", "past_due") else subscription["status"]
    elif invoice["collection_method"] == "send_invoice" and invoice["amount_due"]:
        invoice["due_date"] = ctx.now + (subscription["days_until_due"] or 30) * 86400
    else:
        collect(ctx, subscription, invoice)


def finalize(ctx: Context, invoice: Obj, *, uses_balance: bool = True) -> None:
    """A draft becomes open: numbered, with a page to pay it on, and the customer's balance taken into account."""
    before = clone(invoice)
    customer = ctx.world.get("customer", invoice["customer"])
    number = customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] = number + 1
    secret = f"live_{word(40)}" if ctx.livemode else f"test_{word(40)}"
    page = f"https://invoice.stripe.com/i/{ctx.world.account}/{secret}"
    invoice |= {"status": "open", "number": f"{customer['invoice_prefix']}-{number:04d}", "effective_at": ctx.now}
    invoice |= {"hosted_invoice_url": page, "invoice_pdf": page + "/pdf", "ending_balance": customer["balance"]}
    if uses_balance:
        invoice["starting_balance"] = customer["balance"]
        invoice["amount_due"] = invoice["amount_remaining"] = max(0, invoice["total"] + customer["balance"])
        invoice["ending_balance"] = min(0, invoice["total"] + customer["balance"])
        _set_balance(ctx, customer, invoice["ending_balance"])
    invoice["status_transitions"]["finalized_at"] = ctx.now
    events.tell(ctx, "updated", invoice, before)
    events.tell(ctx, "finalized", invoice)


def _set_balance(ctx: Context, customer: Obj, balance: int) -> None:
    before = clone(customer)
    customer["balance"] = balance
    events.tell(ctx, "updated", customer, before)


def collect(ctx: Context, subscription: Obj, invoice: Obj, *, card: Obj | None = None) -> None:
    """Try to take the money: the invoice is paid, or open and the subscription past due. `card` is another than the subscription's."""
    pays = payment_methods.accepts(card) if card else payment_methods.pays(ctx, subscription)
    if invoice["amount_due"] == 0 or pays:
        settle(ctx, subscription, invoice, card or payment_methods.of_subscription(ctx, subscription))
        return
    before = clone(invoice)
    invoice["attempted"] = True
    tries = invoice["attempt_count"]
    invoice["attempt_count"] = tries + 1
    is_tried_again = invoice["auto_advance"] and tries < len(RETRY_SECONDS) and subscription["status"] not in ("incomplete", "paused")
    invoice["next_payment_attempt"] = ctx.now + RETRY_SECONDS[tries] if is_tried_again else None
    if subscription["status"] in ("active", "trialing"):
        subscription["status"] = "past_due"
    events.tell(ctx, "updated", invoice, before)
    events.tell(ctx, "payment_failed", invoice)
    _mark_delinquent(ctx, subscription, True)


def settle(ctx: Context, subscription: Obj | None, invoice: Obj, card: Obj | None, *, out_of_band: bool = False) -> None:
    """The invoice is paid, by this card or outside Stripe; what its subscription waited for goes on."""
    before = clone(invoice)
    invoice["attempted"] = invoice["attempted"] or not out_of_band
    tried = invoice["attempt_count"] + (invoice["amount_due"] > 0 and not out_of_band)
    invoice |= {"status": "paid", "amount_paid": invoice["amount_due"], "amount_remaining": 0, "attempt_count": tried}
    invoice |= {"next_payment_attempt": None, "auto_advance": False}
    invoice["status_transitions"]["paid_at"] = ctx.now
    if subscription is not None and subscription["status"] in ("past_due", "incomplete", "unpaid") and is_latest(subscription, invoice):
        subscription["status"] = "active"
    if subscription is not None:
        pending_updates.apply(ctx, subscription, invoice)
    if not out_of_band:
        payments.take(ctx, invoice, card)
    events.tell(ctx, "updated", invoice, before)
    events.tell(ctx, "paid", invoice)
    if not out_of_band:
        events.tell(ctx, "payment_succeeded", invoice)
    if subscription is not None:
        _mark_delinquent(ctx, subscription, False)


def is_latest(subscription: Obj, invoice: Obj) -> bool:
    """Whether the subscription's state hangs on this invoice."""
    return bool(subscription["latest_invoice"] == invoice["id"])


def close(ctx: Context, invoice: Obj, status: str) -> None:
    """Void an invoice, giving back the balance it used, or mark it uncollectible."""
    before = clone(invoice)
    field, verb = ("voided_at", "voided") if status == "void" else ("marked_uncollectible_at", "marked_uncollectible")
    invoice |= {"status": status, "auto_advance": False, "next_payment_attempt": None}
    invoice["status_transitions"][field] = ctx.now
    if status == "void" and (used := (invoice["ending_balance"] or 0) - invoice["starting_balance"]):
        customer = ctx.world.get("customer", invoice["customer"])
        _set_balance(ctx, customer, customer["balance"] - used)
    events.tell(ctx, "updated", invoice, before)
    events.tell(ctx, verb, invoice)


def stop(ctx: Context, subscription: Obj) -> None:
    """After a cancel the customer's open invoices are tried no more, unless somebody sets `auto_advance` again."""
    for invoice in ctx.world.all("invoice", customer=subscription["customer"], status="open"):
        if invoice["auto_advance"]:
            before = clone(invoice)
            invoice |= {"auto_advance": False, "next_payment_attempt": None}
            events.tell(ctx, "updated", invoice, before)


def _mark_delinquent(ctx: Context, subscription: Obj, delinquent: bool) -> None:
    customer = ctx.world.get("customer", subscription["customer"])
    if customer["delinquent"] != delinquent:
        before = clone(customer)
        customer["delinquent"] = delinquent
        events.tell(ctx, "updated", customer, before)
