"""Customers: who they are and which card is theirs by default."""

from __future__ import annotations

from sandbox.stripe import events, listing, params, payment_methods, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj
from sandbox.stripe.worlds import clone, new_id, word

_ADDRESS = params.record(
    **{key: params.clearable(params.text) for key in ("city", "country", "line1", "line2", "postal_code", "state")},
)
CREATE: dict[str, params.Shape | params.Required] = {
    "address": params.clearable(_ADDRESS),
    "balance": params.integer,
    "description": params.clearable(params.text),
    "email": params.clearable(params.at_most(512)),
    "invoice_settings": params.record(default_payment_method=params.clearable(params.text), footer=params.clearable(params.text)),
    "metadata": params.metadata,
    "name": params.clearable(params.at_most(256)),
    "payment_method": params.text,
    "phone": params.clearable(params.at_most(20)),
    "preferred_locales": params.clearable(params.many(params.text)),
}
UPDATE = {key: shape for key, shape in CREATE.items() if key != "payment_method"}
LIST: dict[str, params.Shape | params.Required] = {**params.PAGE, "email": params.text, "created": params.created}


def create(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/customers`."""
    customer: Obj = {
        "id": new_id("customer"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": ctx.now,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": word(8).upper(),
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None},
        "livemode": ctx.livemode,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    card = ctx.world.get("payment_method", p["payment_method"], "payment_method") if "payment_method" in p else None
    _apply(ctx, ctx.world.put(customer), {key: value for key, value in p.items() if key != "payment_method"})
    events.tell(ctx, "created", customer)
    if card:
        payment_methods.attach(ctx, card["id"], {"customer": customer["id"]})
    return customer


def update(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/customers/:id`."""
    customer = ctx.world.get("customer", id)
    before = clone(customer)
    _apply(ctx, customer, p)
    events.tell(ctx, "updated", customer, before)
    return customer


def _apply(ctx: Context, customer: Obj, p: Obj) -> None:
    card = p.get("invoice_settings", {}).get("default_payment_method")
    if card:
        payment_methods.check_belongs(ctx, customer["id"], card, "invoice_settings[default_payment_method]")
    for key, value in p.items():
        if key == "metadata":
            customer["metadata"] = params.merged(customer["metadata"], value)
        elif key == "invoice_settings":
            customer["invoice_settings"] |= value
        elif key == "address" and value is not None:
            blank = {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}
            customer["address"] = blank | (customer["address"] or {}) | value
        elif key == "preferred_locales":
            customer[key] = value or []
        elif key != "expand":
            customer[key] = value


def delete(ctx: Context, id: str, _p: Obj) -> Obj:
    """`DELETE /v1/customers/:id`: cancels what they had; the id still answers, as deleted."""
    customer = ctx.world.get("customer", id)
    for subscription in ctx.world.all("subscription", customer=id):
        if subscription["status"] not in subscriptions.ENDED:
            subscriptions.cancel(ctx, subscription["id"], {})
    stub = ctx.world.forget(customer)
    events.tell(ctx, "deleted", customer)
    return stub


def retrieve(ctx: Context, id: str, _p: Obj) -> Obj:
    """`GET /v1/customers/:id`."""
    if ctx.world.find("customer", id) is None and ctx.world.remembered("customer", id):
        return {"id": id, "object": "customer", "deleted": True}
    return ctx.world.get("customer", id)


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/customers`."""
    having = {"email": p["email"]} if "email" in p else {}
    found = (c for c in ctx.world.all("customer", **having) if "created" not in p or listing.within(c["created"], p["created"]))
    return listing.page("/v1/customers", found, p)
