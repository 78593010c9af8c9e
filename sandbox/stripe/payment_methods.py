"""Cards: attached to customers, asked to pay, and, by Stripe's test number ending 0341, refusing to."""

from __future__ import annotations

from sandbox.stripe import events, listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, refused
from sandbox.stripe.worlds import new_id, word

GOOD, DECLINES_LATER = "4242", "0341"


def make_card(ctx: Context, last4: str = GOOD, *, brand: str = "visa", name: str | None = None, email: str | None = None) -> Obj:
    """A new card that nobody has yet."""
    return ctx.world.put(
        {
            "id": new_id("payment_method"),
            "object": "payment_method",
            "allow_redisplay": "unspecified",
            "billing_details": {
                "address": {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None},
                "email": email,
                "name": name,
                "phone": None,
                "tax_id": None,
            },
            "card": {
                "brand": brand,
                "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
                "country": "US",
                "display_brand": brand,
                "exp_month": 8,
                "exp_year": 2031,
                "fingerprint": word(16),
                "funding": "credit",
                "generated_from": None,
                "last4": last4,
                "networks": {"available": [brand], "preferred": None},
                "regulated_status": "unregulated",
                "three_d_secure_usage": {"supported": True},
                "wallet": None,
            },
            "created": ctx.now,
            "customer": None,
            "customer_account": None,
            "livemode": ctx.livemode,
            "metadata": {},
            "type": "card",
        }
    )


def of_subscription(ctx: Context, subscription: Obj) -> Obj | None:
    """The card that pays: the subscription's own, else the customer's default."""
    customer = ctx.world.get("customer", subscription["customer"])
    id = subscription["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    return ctx.world.find("payment_method", id) if id else None


def pays(ctx: Context, subscription: Obj) -> bool:
    """Would a charge go through?"""
    return accepts(of_subscription(ctx, subscription))


def accepts(card: Obj | None) -> bool:
    """Would a charge on this card go through?"""
    return card is not None and card["card"]["last4"] != DECLINES_LATER


def check_belongs(ctx: Context, customer: str, id: str, param: str) -> None:
    """Raise 400 unless this card is attached to the customer."""
    card = ctx.world.find("payment_method", id)
    if card is None or card["customer"] != customer:
        raise refused(
            f"The customer does not have a payment method with the ID {id}. The payment method must be attached to the customer.",
            param,
            "resource_missing",
        )


ATTACH: dict[str, params.Shape | params.Required] = {"customer": params.Required(params.text)}


def attach(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/payment_methods/:id/attach`."""
    card = ctx.world.get("payment_method", id, "payment_method")
    ctx.world.get("customer", p["customer"], "customer")
    if card["customer"] not in (None, p["customer"]):
        raise refused("The payment method you provided has already been attached to a customer.", "payment_method")
    if card["customer"] is None:
        card["customer"] = p["customer"]
        events.tell(ctx, "attached", card)
    return card


LIST: dict[str, params.Shape | params.Required] = {
    **params.PAGE,
    "customer": params.text,
    "type": params.text,
    "allow_redisplay": params.one_of("always", "limited", "unspecified"),
}


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/payment_methods`, and a customer's own under `/v1/customers/:id/payment_methods`."""
    if "customer" in p:
        ctx.world.get("customer", p["customer"], "customer")
    having = {key: p[key] for key in ("customer", "type", "allow_redisplay") if key in p}
    attached = (card for card in ctx.world.all("payment_method", **having) if card["customer"] is not None)
    return listing.page("/v1/payment_methods", attached, p)


def find_of_customer(ctx: Context, id: str, p: Obj) -> Obj:
    """`GET /v1/customers/:id/payment_methods`."""
    return find_all(ctx, {**p, "customer": id}) | {"url": f"/v1/customers/{id}/payment_methods"}
