"""Prorations: what a change in the middle of a period gives back for the old and asks for the new."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.stripe import discounts, invoice_items, invoice_lines
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj


def credits(ctx: Context, subscription: Obj, items: list[Obj], at: int, *, since_start: bool = False) -> list[Obj]:
    """Invoice items that give back these items' unused time from `at` on, or with `since_start` their whole period.

    Flexible billing mode gives back what was really charged for that time; classic goes by today's price, quantity and discounts.
    Time that was never charged for (a trial, a voided invoice) is worth nothing in flexible mode.
    """
    made = []
    for item in items:
        if item["price"]["recurring"]["usage_type"] == "metered" or at >= item["current_period_end"]:
            continue
        start = item["current_period_start"] if since_start else at
        if subscription["billing_mode"]["type"] == "flexible":
            charged = [(net, span, credited) for net, span, credited in _charged(ctx, item) if net]
        else:
            net = _net(ctx, subscription, subscription["items"]["data"]).get(item["id"], 0)
            charged = [(net, (item["current_period_start"], item["current_period_end"]), None)]
        for net, (first, last), credited in charged:
            amount = round(net * (last - max(start, first)) / ((last - first) or 1))
            if amount > 0:
                words = f"Unused time on {_name(ctx, item)}"
                made.append(invoice_items.of_proration(ctx, subscription, item, -amount, words, (max(start, first), last), credited))
    return made


def debits(ctx: Context, subscription: Obj, items: list[Obj], at: int, wholes: dict[str, int]) -> list[Obj]:
    """Invoice items that ask for these items' remaining time from `at` on; `subscription` already has its new items.

    `wholes` says how long a whole period is of items that were added in the middle of one and have only its rest.
    """
    net = _net(ctx, subscription, subscription["items"]["data"])
    made = []
    for item in items:
        length = item["current_period_end"] - item["current_period_start"]
        left = min(length, item["current_period_end"] - at)
        amount = round(net.get(item["id"], 0) * left / (wholes.get(item["id"]) or length or 1))
        if amount > 0 and left > 0:
            words = f"Remaining time on {_name(ctx, item)}"
            made.append(invoice_items.of_proration(ctx, subscription, item, amount, words, (at, item["current_period_end"]), None))
    return made


def _net(ctx: Context, subscription: Obj, items: list[Obj]) -> dict[str, int]:
    """What a whole period of each item costs after the discounts that last; one for a single invoice is not used up here."""
    lines = [invoice_lines.of_item(ctx, subscription, item) for item in items]
    discounts.take_off(ctx, subscription, lines, lasting=True)
    return {str(invoice_lines.subscription_item(line)): net_of(line) for line in lines}


def net_of(line: Obj) -> int:
    """A line's amount after its discounts."""
    return int(line["amount"] - sum(off["amount"] for off in line["discount_amounts"]))


def _charged(ctx: Context, item: Obj) -> Iterator[tuple[int, tuple[int, int], Obj | None]]:
    """What the customer was charged, or will be, for the time until the end of the item's period, unless it was given back since."""
    subscription = ctx.world.get("subscription", item["subscription"])
    for waiting in reversed(invoice_items.pending(ctx, subscription)):
        details = (waiting["parent"] or {}).get("subscription_details") or {}
        if details.get("subscription_item") == item["id"] and waiting["period"]["end"] == item["current_period_end"]:
            credited: Obj = {"invoice_item": waiting["id"], "invoice_line_item_details": None, "type": "invoice_item"}
            if waiting["amount"] > 0:
                yield waiting["amount"], (waiting["period"]["start"], waiting["period"]["end"]), credited
            return
    for invoice in reversed(list(ctx.world.all("invoice", customer=subscription["customer"]))):
        for line in reversed(invoice["lines"]["data"]):
            if invoice_lines.subscription_item(line) != item["id"] or line["period"]["end"] != item["current_period_end"]:
                continue
            if line["amount"] > 0 and invoice["status"] not in ("void", "uncollectible"):
                told = {"invoice": invoice["id"], "invoice_line_items": [line["id"]]}
                credited = {"invoice_item": None, "invoice_line_item_details": told, "type": "invoice_line_items"}
                yield net_of(line), (line["period"]["start"], line["period"]["end"]), credited
            return


def _name(ctx: Context, item: Obj) -> str:
    return str(ctx.world.get("product", item["price"]["product"])["name"])
