"""Invoice items: what waits to be billed with the next invoice, by hand or because a subscription changed in the middle of its period."""

from __future__ import annotations

from sandbox.stripe import events, listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, refused
from sandbox.stripe.worlds import new_id

_Fields = dict[str, params.Shape | params.Required]

CREATE: _Fields = {
    "amount": params.Required(params.integer),
    "currency": params.text,
    "customer": params.Required(params.text),
    "description": params.text,
    "discountable": params.boolean,
    "metadata": params.metadata,
    "period": params.record(start=params.Required(params.integer), end=params.Required(params.integer)),
    "subscription": params.text,
}
LIST: _Fields = {
    **params.PAGE,
    "customer": params.text,
    "invoice": params.text,
    "pending": params.boolean,
    "created": params.created,
}


def blank(ctx: Context, customer: str, currency: str, amount: int) -> Obj:
    """An invoice item that nobody has put anywhere yet."""
    return {
        "id": new_id("invoiceitem"),
        "object": "invoiceitem",
        "amount": amount,
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "date": ctx.now,
        "description": None,
        "discountable": True,
        "discounts": [],
        "frozen_fields": None,
        "invoice": None,
        "invoicing_rules": None,
        "livemode": ctx.livemode,
        "metadata": {},
        "net_amount": amount,
        "parent": None,
        "period": {"start": ctx.now, "end": ctx.now},
        "pricing": None,
        "proration": False,
        "proration_details": None,
        "quantity": 1,
        "quantity_decimal": "1",
        "tax_rates": [],
        "test_clock": None,
    }


def create(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/invoiceitems`: an amount that goes onto the customer's, or the subscription's, next invoice."""
    customer = ctx.world.get("customer", p["customer"], "customer")
    subscription = ctx.world.get("subscription", p["subscription"], "subscription") if "subscription" in p else None
    if subscription and subscription["customer"] != customer["id"]:
        raise refused(f"The subscription {subscription['id']} does not belong to customer {customer['id']}.", "subscription")
    wanted = p.get("currency") or (subscription or customer)["currency"] or ctx.local.accounts[ctx.world.account]["default_currency"]
    if customer["currency"] not in (None, wanted):
        raise refused(
            "You cannot combine currencies on a single customer. This customer has an active subscription, subscription schedule, "
            f"discount, quote, invoice item, or invoice with currency {customer['currency']}.",
            "currency",
        )
    item = blank(ctx, customer["id"], wanted, p["amount"])
    for key in ("description", "discountable", "period"):
        item[key] = p.get(key, item[key])
    item["metadata"] = params.merged(None, p.get("metadata"))
    if subscription:
        item["parent"] = _of(subscription["id"], None)
    return put(ctx, [item])[0]


def of_proration(ctx: Context, subscription: Obj, item: Obj, amount: int, words: str, period: tuple[int, int], credited: Obj | None) -> Obj:
    """A credit (below zero) or a debit for a part of an item's period; it is kept by `put`."""
    price = item["price"]
    made = blank(ctx, subscription["customer"], subscription["currency"], amount)
    return made | {
        "description": words,
        "discountable": False,
        "parent": _of(subscription["id"], item["id"]),
        "period": {"start": period[0], "end": period[1]},
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": str(amount),
        },
        "proration": True,
        "proration_details": {"credited_items": credited, "discount_amounts": []},
        "quantity": item["quantity"] or 1,
        "quantity_decimal": str(item["quantity"] or 1),
    }


def _of(subscription: str, item: str | None) -> Obj:
    return {"subscription_details": {"subscription": subscription, "subscription_item": item}, "type": "subscription_details"}


def put(ctx: Context, items: list[Obj]) -> list[Obj]:
    """Let these wait for the next invoice."""
    for item in items:
        events.tell(ctx, "created", ctx.world.put(item))
    return items


def subscription_of(item: Obj) -> str | None:
    """The subscription that this is for, None for any of the customer's."""
    details = (item["parent"] or {}).get("subscription_details")
    return str(details["subscription"]) if details else None


def pending(ctx: Context, subscription: Obj) -> list[Obj]:
    """What waits for this subscription's next invoice, the customer's own items included, oldest first."""
    waiting = ctx.world.all("invoiceitem", customer=subscription["customer"], invoice=None)
    return [
        item for item in waiting if subscription_of(item) in (None, subscription["id"]) and item["currency"] == subscription["currency"]
    ]


def drop_prorations(ctx: Context, subscription: Obj) -> None:
    """The subscription ends without a last invoice: its pending prorations go."""
    for item in pending(ctx, subscription):
        if item["proration"] and subscription_of(item) == subscription["id"]:
            events.tell(ctx, "deleted", {**ctx.world.table("invoiceitem").pop(item["id"]), "deleted": True})


def delete(ctx: Context, id: str, _p: Obj) -> Obj:
    """`DELETE /v1/invoiceitems/:id`, while no invoice has it."""
    item = ctx.world.get("invoiceitem", id)
    if item["invoice"] is not None:
        raise refused("This invoice item is on an invoice and can no longer be deleted.", "id")
    stub = ctx.world.forget(item)
    events.tell(ctx, "deleted", {**item, "deleted": True})
    return stub


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/invoiceitems`."""
    having = {key: p[key] for key in ("customer", "invoice") if key in p}
    found = (
        item
        for item in ctx.world.all("invoiceitem", **having)
        if ("pending" not in p or (item["invoice"] is None) == p["pending"])
        and ("created" not in p or listing.within(item["date"], p["created"]))
    )
    return listing.page("/v1/invoiceitems", found, p)
