"""Checkout in setup mode: a page of Stripe's on which a customer leaves a card, and the session behind it."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import events, listing, params, payment_methods, setup_intents
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, missing, refused
from sandbox.stripe.worlds import clone, word

_Fields = dict[str, params.Shape | params.Required]
_DAY = 86400

CREATE: _Fields = {
    "allowed_payment_method_types": params.many(params.one_of("card")),
    "cancel_url": params.text,
    "client_reference_id": params.at_most(200),
    "currency": params.text,
    "customer": params.text,
    "expires_at": params.integer,
    "locale": params.text,
    "metadata": params.metadata,
    "mode": params.Required(params.one_of("setup")),
    "setup_intent_data": params.record(description=params.text, metadata=params.metadata),
    "success_url": params.Required(params.text),
}
LIST: _Fields = {**params.PAGE, "customer": params.text, "status": params.one_of("complete", "expired", "open"), "created": params.created}


def create(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/checkout/sessions` with `mode=setup`; its page is good for a day."""
    if "currency" not in p and "allowed_payment_method_types" not in p:
        raise refused(
            "`currency` is required in `setup` mode when `allowed_payment_method_types` is not set.", "currency", "parameter_missing"
        )
    customer = ctx.world.get("customer", p["customer"], "customer") if "customer" in p else None
    ends = p.get("expires_at", ctx.now + _DAY)
    if not ctx.now + 1800 <= ends <= ctx.now + _DAY:
        raise refused("The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.", "expires_at")
    about = p.get("setup_intent_data", {})
    intent = setup_intents.make(
        ctx, customer["id"] if customer else None, params.merged(None, about.get("metadata")), about.get("description")
    )
    secret = word(60)
    session: Obj = _blank(ctx, p) | {
        "id": f"cs_{'live' if ctx.livemode else 'test'}_a1{word(56)}",
        "customer": customer["id"] if customer else None,
        "customer_details": _details(customer) if customer else None,
        "expires_at": ends,
        "setup_intent": intent["id"],
        "url": f"{ctx.local.base_url}/c/pay/{secret}",
    }
    ctx.world.pages[secret] = session["id"]
    ctx.world.put(session)
    return session


def _details(customer: Obj) -> Obj:
    return {
        "address": clone(customer["address"]),
        "business_name": None,
        "email": customer["email"],
        "individual_name": None,
        "name": customer["name"],
        "phone": customer["phone"],
        "tax_exempt": customer["tax_exempt"],
        "tax_ids": [],
    }


def refreshed(ctx: Context, session: Obj) -> Obj:
    """The session as it is by now: an open one is over at its time."""
    if session["status"] == "open" and session["expires_at"] <= ctx.now:
        _expire(ctx, session)
    return session


def _expire(ctx: Context, session: Obj) -> None:
    session |= {"status": "expired", "url": None}
    events.tell(ctx, "expired", session)
    setup_intents.cancel(ctx, ctx.world.get("setup_intent", session["setup_intent"]))


def expire(ctx: Context, id: str, _p: Obj) -> Obj:
    """`POST /v1/checkout/sessions/:id/expire`."""
    session = retrieve(ctx, id, {})
    if session["status"] != "open":
        raise refused(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of {session["status"]}.'
        )
    _expire(ctx, session)
    return session


def retrieve(ctx: Context, id: str, _p: Obj) -> Obj:
    """`GET /v1/checkout/sessions/:id`."""
    return refreshed(ctx, ctx.world.get("checkout.session", id))


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/checkout/sessions`."""
    having = {"customer": p["customer"]} if "customer" in p else {}
    found = (
        session
        for session in (refreshed(ctx, each) for each in ctx.world.all("checkout.session", **having))
        if ("status" not in p or session["status"] == p["status"])
        and ("created" not in p or listing.within(session["created"], p["created"]))
    )
    return listing.page("/v1/checkout/sessions", found, p)


def visit(ctx: Context, secret: str) -> Obj:
    """The open session behind a page. Raises 404 when it is unknown or over."""
    id = ctx.world.pages.get(secret)
    session = ctx.world.find("checkout.session", id) if id else None
    if session is None or refreshed(ctx, session)["status"] != "open":
        raise missing("checkout.session", secret)
    return session


def complete(ctx: Context, session: Obj, last4: str) -> str:
    """The customer left this card; says where the page leads now. It is attached, and nobody's default."""
    customer = ctx.world.find("customer", session["customer"] or "")
    about = {"name": customer["name"], "email": customer["email"]} if customer else {}
    card = payment_methods.make_card(ctx, last4, **about)
    if customer:
        payment_methods.attach(ctx, card["id"], {"customer": customer["id"]})
    intent = ctx.world.get("setup_intent", session["setup_intent"])
    setup_intents.succeed(ctx, intent, card)
    session |= {"status": "complete", "url": None}
    events.tell(ctx, "completed", session)
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


def _blank(ctx: Context, p: Obj) -> dict[str, Any]:
    return {
        "object": "checkout.session",
        "adaptive_pricing": None,
        "after_expiration": None,
        "allow_promotion_codes": None,
        "allowed_payment_method_types": p.get("allowed_payment_method_types"),
        "amount_subtotal": None,
        "amount_total": None,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "cancel_url": p.get("cancel_url"),
        "client_reference_id": p.get("client_reference_id"),
        "client_secret": None,
        "consent": None,
        "consent_collection": None,
        "created": ctx.now,
        "currency": p.get("currency"),
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {"after_submit": None, "shipping_address": None, "submit": None, "terms_of_service_acceptance": None},
        "customer_account": None,
        "customer_creation": None,
        "customer_email": None,
        "invoice": None,
        "invoice_creation": None,
        "livemode": ctx.livemode,
        "locale": p.get("locale"),
        "metadata": params.merged(None, p.get("metadata")),
        "mode": "setup",
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "always",
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "no_payment_required",
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "success_url": p["success_url"],
        "total_details": None,
        "ui_mode": "hosted_page",
    }
