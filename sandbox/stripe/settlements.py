"""Settlements: what an owner does with an invoice: finalize it, have it paid, void it, give it up, or let it be collected again."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.stripe import collection, events, invoices, params, payment_methods, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, refused
from sandbox.stripe.worlds import clone

_Fields = dict[str, params.Shape | params.Required]

UPDATE: _Fields = {
    "auto_advance": params.boolean,
    "description": params.clearable(params.text),
    "metadata": params.metadata,
}
PAY: _Fields = {"off_session": params.boolean, "paid_out_of_band": params.boolean, "payment_method": params.text}
FINALIZE: _Fields = {"auto_advance": params.boolean}
_SETTLED = ("paid", "void", "uncollectible")


def update(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/invoices/:id`; `auto_advance` on an open invoice lets Stripe try to collect it again, from an hour on."""
    invoice = ctx.world.get("invoice", id)
    if invoice["status"] in _SETTLED and "auto_advance" in p:
        raise refused(f"You can't change `auto_advance` of an invoice that is {invoice['status']}.", "auto_advance")
    before = clone(invoice)
    for key in ("auto_advance", "description"):
        if key in p:
            invoice[key] = p[key]
    if "metadata" in p:
        invoice["metadata"] = params.merged(invoice["metadata"], p["metadata"])
    if "auto_advance" in p and invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically":
        invoice["next_payment_attempt"] = (before["next_payment_attempt"] or ctx.now + 3600) if p["auto_advance"] else None
    events.tell(ctx, "updated", invoice, before)
    _watch(ctx, invoice)
    return invoice


def finalize(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/invoices/:id/finalize`: a draft becomes open; with `auto_advance` it is collected in an hour."""
    invoice = ctx.world.get("invoice", id)
    if invoice["status"] != "draft":
        raise refused("This invoice is already finalized, you can't re-finalize a non-draft invoice.", None, "invoice_not_editable")
    collection.finalize(ctx, invoice)
    if invoice["amount_due"] == 0:
        _with_subscription(ctx, invoice, lambda subscription: collection.settle(ctx, subscription, invoice, None))
    elif p.get("auto_advance"):
        update(ctx, id, {"auto_advance": True})
    return invoice


def pay(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/invoices/:id/pay`, by this card or the usual one, or outside Stripe. Raises 402 where the card is declined."""
    invoice = ctx.world.get("invoice", id)
    if invoice["status"] == "paid":
        raise refused("Invoice is already paid", None, "invoice_already_paid")
    if invoice["status"] == "void":
        raise refused("This invoice is voided and can no longer be paid.")
    if invoice["status"] == "draft":
        collection.finalize(ctx, invoice)
    before = _subscription(ctx, invoice)
    card = None
    if "payment_method" in p:
        payment_methods.check_belongs(ctx, invoice["customer"], p["payment_method"], "payment_method")
        card = ctx.world.get("payment_method", p["payment_method"])
    elif before is not None:
        card = payment_methods.of_subscription(ctx, before)
    if not p.get("paid_out_of_band") and invoice["amount_due"] and not payment_methods.accepts(card):
        _failed(ctx, invoice)
        raise invoices.declined()
    out_of_band = bool(p.get("paid_out_of_band"))
    _with_subscription(ctx, invoice, lambda subscription: collection.settle(ctx, subscription, invoice, card, out_of_band=out_of_band))
    return invoice


def _failed(ctx: Context, invoice: Obj) -> None:
    before = clone(invoice)
    invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
    events.tell(ctx, "updated", invoice, before)
    events.tell(ctx, "payment_failed", invoice)


def void(ctx: Context, id: str, _p: Obj) -> Obj:
    """`POST /v1/invoices/:id/void`: nothing is owed any more, and nothing was."""
    invoice = ctx.world.get("invoice", id)
    if invoice["status"] not in ("open", "uncollectible"):
        raise refused(f"You can only void an open or uncollectible invoice; this one is {invoice['status']}.", None, "invoice_not_editable")
    _with_subscription(ctx, invoice, lambda subscription: _closed(ctx, subscription, invoice, "void"))
    return invoice


def mark_uncollectible(ctx: Context, id: str, _p: Obj) -> Obj:
    """`POST /v1/invoices/:id/mark_uncollectible`: it is owed still, and given up."""
    invoice = ctx.world.get("invoice", id)
    if invoice["status"] != "open":
        raise refused(f"You can only mark an open invoice as uncollectible; this one is {invoice['status']}.", None, "invoice_not_editable")
    _with_subscription(ctx, invoice, lambda subscription: _closed(ctx, subscription, invoice, "uncollectible"))
    return invoice


def _closed(ctx: Context, subscription: Obj | None, invoice: Obj, status: str) -> None:
    """A past due subscription whose newest invoice is closed owes nothing and is active again."""
    collection.close(ctx, invoice, status)
    if subscription is None or not collection.is_latest(subscription, invoice):
        return
    if subscription["status"] in ("past_due", "unpaid"):
        subscription["status"] = "active"
    elif subscription["status"] == "incomplete" and status == "void":
        subscription |= {"status": "incomplete_expired", "ended_at": ctx.now}


def _subscription(ctx: Context, invoice: Obj) -> Obj | None:
    return ctx.world.find("subscription", invoices.subscription_of(invoice) or "")


def _with_subscription(ctx: Context, invoice: Obj, verb: Callable[[Obj | None], None]) -> None:
    """Do something to the invoice and to the subscription it is for, and tell what became of that."""
    before = _subscription(ctx, invoice)
    after: Obj | None = clone(before)
    verb(after)
    if before is not None and after is not None:
        subscriptions.commit(ctx, before, after)


def _watch(ctx: Context, invoice: Obj) -> None:
    if subscription := _subscription(ctx, invoice):
        ctx.local.clock.watch(ctx.world, subscription)
