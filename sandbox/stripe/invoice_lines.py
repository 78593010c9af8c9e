"""The lines of an invoice: an item's period at its price, or an invoice item that waited."""

from __future__ import annotations

from decimal import Decimal

from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj
from sandbox.stripe.worlds import clone, new_id


def price_of(ctx: Context, price: Obj, quantity: int) -> int:
    """What so many cost for one period, in minor units: by unit, or by the tiers that the quantity reaches."""
    tiers = ctx.world.tiers.get(price["id"])
    if tiers is None:
        return int(Decimal(price["unit_amount_decimal"] or 0) * quantity + Decimal("0.5"))
    if price["tiers_mode"] == "volume":
        tier = next(tier for tier in tiers if tier["up_to"] is None or quantity <= tier["up_to"])
        return (tier["flat_amount"] or 0) + (tier["unit_amount"] or 0) * quantity if quantity else 0
    total, reached = 0, 0
    for tier in tiers:
        within = quantity - reached if tier["up_to"] is None else min(quantity, tier["up_to"]) - reached
        if within <= 0:
            break
        total += (tier["flat_amount"] or 0) + (tier["unit_amount"] or 0) * within
        reached += within
    return total


def of_item(ctx: Context, subscription: Obj, item: Obj, *, amount: int | None = None) -> Obj:
    """One line for an item's current period. What is metered is billed when its period is over; no usage is reported here, so it is 0."""
    price = item["price"]
    quantity = item["quantity"] or 0
    name = ctx.world.get("product", price["product"])["name"]
    cost = price_of(ctx, price, quantity) if amount is None else amount
    return _line(ctx, cost, price["currency"], f"{quantity} × {name}") | {
        "discountable": True,
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"start": item["current_period_start"], "end": item["current_period_end"]},
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": quantity,
        "subscription": subscription["id"],
    }


def of_invoice_item(ctx: Context, waiting: Obj) -> Obj:
    """One line for an invoice item: a proration belongs to its subscription's item, any other to itself."""
    about = (waiting["parent"] or {}).get("subscription_details") or {}
    credited = (waiting["proration_details"] or {}).get("credited_items") or {}
    details = {
        "invoice_item": waiting["id"],
        "proration": waiting["proration"],
        "proration_details": {"credited_items": clone(credited.get("invoice_line_item_details"))},
        "subscription": about.get("subscription"),
    }
    kind = "subscription_item_details" if about.get("subscription_item") else "invoice_item_details"
    if kind == "subscription_item_details":
        details["subscription_item"] = about["subscription_item"]
    return _line(ctx, waiting["amount"], waiting["currency"], waiting["description"]) | {
        "discountable": waiting["discountable"],
        "parent": {"invoice_item_details": None, "subscription_item_details": None, "type": kind} | {kind: details},
        "period": clone(waiting["period"]),
        "pricing": clone(waiting["pricing"]),
        "quantity": waiting["quantity"],
        "subscription": about.get("subscription"),
    }


def subscription_item(line: Obj) -> str | None:
    """The subscription item that a line is about."""
    details = line["parent"]["subscription_item_details"]
    return str(details["subscription_item"]) if details else None


def _line(ctx: Context, amount: int, currency: str, description: str | None) -> Obj:
    return {
        "id": new_id("line_item"),
        "object": "line_item",
        "amount": amount,
        "currency": currency,
        "description": description,
        "discount_amounts": [],
        "discounts": [],
        "invoice": None,
        "livemode": ctx.livemode,
        "metadata": {},
        "pretax_credit_amounts": [],
        "subtotal": amount,
        "taxes": [],
    }
