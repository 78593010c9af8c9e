"""Charges: what a paid invoice took, which invoice a payment was for, and what is given back or disputed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sandbox.stripe import events, listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, refused
from sandbox.stripe.worlds import clone, new_id, word

# fmt: off
_EVIDENCE_TEXTS = (
    "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure", "cancellation_rebuttal",
    "customer_communication", "customer_email_address", "customer_name", "customer_purchase_ip", "customer_signature",
    "duplicate_charge_documentation", "duplicate_charge_explanation", "duplicate_charge_id", "product_description", "receipt",
    "refund_policy", "refund_policy_disclosure", "refund_refusal_explanation", "service_date", "service_documentation",
    "shipping_address", "shipping_carrier", "shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file",
    "uncategorized_text",
)
# fmt: on
_CLOSED = ("won", "lost")


def take(ctx: Context, invoice: Obj, card: Obj | None) -> None:
    """The money of an invoice that was just paid: a charge, and the invoice's payment that names it. Nothing for an invoice of nothing."""
    if not invoice["amount_due"] or card is None:
        return
    intent = new_id("payment_intent")
    charge = ctx.world.put(_charge(ctx, invoice, card, intent))
    ctx.world.put(
        {
            "id": new_id("invoice_payment"),
            "object": "invoice_payment",
            "amount_paid": invoice["amount_due"],
            "amount_requested": invoice["amount_due"],
            "created": ctx.now,
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": ctx.livemode,
            "payment": {"payment_intent": intent, "type": "payment_intent"},
            "status": "paid",
            "status_transitions": {"canceled_at": None, "paid_at": ctx.now},
        }
    )
    events.tell(ctx, "succeeded", charge)


LIST: dict[str, params.Shape | params.Required] = {
    **params.PAGE,
    "customer": params.text,
    "payment_intent": params.text,
    "created": params.created,
}


def find_charges(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/charges`."""
    having = {key: p[key] for key in ("customer", "payment_intent") if key in p}
    return listing.page("/v1/charges", _made(ctx.world.all("charge", **having), p), p)


PAYMENTS: dict[str, params.Shape | params.Required] = {
    **params.PAGE,
    "invoice": params.text,
    "payment": params.record(type=params.Required(params.one_of("payment_intent", "payment_record")), payment_intent=params.text),
    "status": params.one_of("canceled", "open", "paid"),
}


def find_payments(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/invoice_payments`."""
    having = {key: p[key] for key in ("invoice", "status") if key in p}
    intent = p.get("payment", {}).get("payment_intent")
    found = (one for one in ctx.world.all("invoice_payment", **having) if intent in (None, one["payment"]["payment_intent"]))
    return listing.page("/v1/invoice_payments", found, p)


REFUND: dict[str, params.Shape | params.Required] = {
    "charge": params.text,
    "payment_intent": params.text,
    "amount": params.integer,
    "reason": params.one_of("duplicate", "fraudulent", "requested_by_customer"),
    "metadata": params.metadata,
}


def refund(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/refunds`: what is asked for, else all that is left."""
    charge = _wanted(ctx, p)
    left = charge["amount"] - charge["amount_refunded"]
    amount = p.get("amount", left)
    if not 0 < amount <= left:
        if not left:
            raise refused(f"Charge {charge['id']} has already been refunded.", "charge", "charge_already_refunded")
        raise refused(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", "amount")
    before = clone(charge)
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    made = ctx.world.put(
        {
            "id": new_id("refund"),
            "object": "refund",
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "created": ctx.now,
            "currency": charge["currency"],
            "metadata": params.merged({}, p.get("metadata")),
            "payment_intent": charge["payment_intent"],
            "reason": p.get("reason"),
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "succeeded",
            "transfer_reversal": None,
        }
    )
    events.send(ctx, "charge.refunded", charge, {key: before[key] for key in ("amount_refunded", "refunded")})
    events.tell(ctx, "created", made)
    return made


REFUNDS: dict[str, params.Shape | params.Required] = {
    **params.PAGE,
    "charge": params.text,
    "payment_intent": params.text,
    "created": params.created,
}
DISPUTES = REFUNDS


def find_refunds(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/refunds`."""
    return listing.page("/v1/refunds", _made(ctx.world.all("refund", **_of_charge(p)), p), p)


def find_disputes(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/disputes`."""
    return listing.page("/v1/disputes", _made(ctx.world.all("dispute", **_of_charge(p)), p), p)


def dispute(ctx: Context, charge_id: str, reason: str = "product_not_received") -> Obj:
    """The cardholder's bank takes back what is left of a charge."""
    charge = ctx.world.get("charge", charge_id, "charge")
    if charge["disputed"]:
        raise refused(f"Charge {charge_id} is disputed already.", "charge")
    charge["disputed"] = True
    made = ctx.world.put(
        {
            "id": new_id("dispute"),
            "object": "dispute",
            "amount": charge["amount"] - charge["amount_refunded"],
            "balance_transactions": [],
            "charge": charge_id,
            "created": ctx.now,
            "currency": charge["currency"],
            "enhanced_eligibility_types": [],
            "evidence": {**dict.fromkeys(_EVIDENCE_TEXTS), "enhanced_evidence": {}},
            "evidence_details": {
                "due_by": ctx.now + 9 * 86400,
                "enhanced_eligibility": {},
                "has_evidence": False,
                "past_due": False,
                "submission_count": 0,
                "submission_method": "not_submitted",
            },
            "is_charge_refundable": False,
            "livemode": ctx.livemode,
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "reason": reason,
            "status": "needs_response",
        }
    )
    events.send(ctx, "charge.dispute.created", made)
    events.send(ctx, "charge.dispute.funds_withdrawn", made)
    return made


def close(ctx: Context, dispute_id: str, status: str) -> Obj:
    """The bank has decided: `won` brings the money back, `lost` does not."""
    made = ctx.world.get("dispute", dispute_id)
    if made["status"] in _CLOSED:
        raise refused("This dispute is closed already.", "dispute")
    made["status"] = status
    if status == "won":
        events.send(ctx, "charge.dispute.funds_reinstated", made)
    events.send(ctx, "charge.dispute.closed", made)
    return made


def newest(ctx: Context, subscription: Obj) -> Obj | None:
    """The charge of this subscription's newest invoice that was paid for with money."""
    paid = [
        one
        for one in ctx.world.all("invoice", customer=subscription["customer"], status="paid")
        if one["amount_paid"] and (one["parent"] or {}).get("subscription_details", {}).get("subscription") == subscription["id"]
    ]
    if not paid:
        return None
    payment = next(ctx.world.all("invoice_payment", invoice=paid[-1]["id"]), None)
    return next(ctx.world.all("charge", payment_intent=payment["payment"]["payment_intent"]), None) if payment else None


def _wanted(ctx: Context, p: Obj) -> Obj:
    if "charge" in p:
        return ctx.world.get("charge", p["charge"], "charge")
    found = next(ctx.world.all("charge", payment_intent=p.get("payment_intent")), None)
    if found is None:
        raise refused("One of the following params should be provided for this request: payment_intent or charge.", "charge")
    return found


def _made(found: Iterable[Obj], p: Obj) -> Iterator[Obj]:
    """Those that were created when it is wanted."""
    return (one for one in found if "created" not in p or listing.within(one["created"], p["created"]))


def _of_charge(p: Obj) -> Obj:
    return {key: p[key] for key in ("charge", "payment_intent") if key in p}


def _charge(ctx: Context, invoice: Obj, card: Obj, intent: str) -> Obj:
    return {
        "id": new_id("charge"),
        "object": "charge",
        "amount": invoice["amount_due"],
        "amount_captured": invoice["amount_due"],
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": clone(card["billing_details"]),
        "calculated_statement_descriptor": None,
        "captured": True,
        "created": ctx.now,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": "Subscription creation" if invoice["billing_reason"] == "subscription_create" else "Subscription update",
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": ctx.livemode,
        "metadata": {},
        "on_behalf_of": None,
        "outcome": {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "seller_message": "Payment complete.",
            "type": "authorized",
        },
        "paid": True,
        "payment_intent": intent,
        "payment_method": card["id"],
        "payment_method_details": None,
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": f"https://pay.stripe.com/receipts/{word(24)}",
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }
