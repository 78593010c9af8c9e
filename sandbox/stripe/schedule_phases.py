"""Phases of a schedule: how they are asked for, how long they last, and what a subscription becomes when it enters one."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import discounts, params, periods, subscription_items, subscription_terms
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, refused
from sandbox.stripe.worlds import clone

_SAID = ("billing_cycle_anchor", "collection_method", "default_payment_method", "description", "invoice_settings", "proration_behavior")
_ITEM = params.record(
    discounts=discounts.LIST,
    metadata=params.metadata,
    price=params.Required(params.text),
    quantity=params.integer,
)
LIST = params.many(
    params.record(
        billing_cycle_anchor=params.one_of("automatic", "phase_start"),
        collection_method=params.one_of("charge_automatically", "send_invoice"),
        currency=params.text,
        default_payment_method=params.text,
        description=params.clearable(params.at_most(500)),
        discounts=discounts.LIST,
        duration=params.record(interval=params.Required(params.one_of("day", "month", "week", "year")), interval_count=params.integer),
        end_date=params.either("now", params.integer),
        invoice_settings=params.record(days_until_due=params.integer),
        items=params.Required(params.many(_ITEM, at_most=20)),
        metadata=params.metadata,
        proration_behavior=subscription_terms.PRORATION,
        start_date=params.either("now", params.integer),
        trial=params.boolean,
        trial_end=params.either("now", params.integer),
    )
)


def blank(currency: str, start: int, end: int) -> Obj:
    """A phase of these dates without items."""
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": currency,
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "end_date": end,
        "invoice_settings": None,
        "items": [],
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": "create_prorations",
        "start_date": start,
        "transfer_data": None,
        "trial_end": None,
    }


def _item(price: str, quantity: int | None, wanted: Any, metadata: Obj | None) -> Obj:
    return {
        "billing_thresholds": None,
        "discounts": [_discount(entry) for entry in wanted or []],
        "metadata": metadata or {},
        "plan": price,
        "price": price,
        "quantity": quantity,
        "tax_rates": [],
    }


def _discount(entry: Obj) -> Obj:
    return {"coupon": None, "discount": None, "promotion_code": None} | entry


def current(subscription: Obj, end: int) -> Obj:
    """The phase that a subscription is in by itself: as it is, until then."""
    items = subscription["items"]["data"]
    phase = blank(subscription["currency"], min(item["current_period_start"] for item in items), end)
    phase["items"] = [
        _item(item["price"]["id"], item["quantity"], [{"discount": id} for id in item["discounts"]], clone(item["metadata"]))
        for item in items
    ]
    phase["discounts"] = [_discount({"discount": id}) for id in subscription["discounts"]]
    phase["trial_end"] = subscription["trial_end"] if subscription["status"] == "trialing" else None
    return phase


def read(ctx: Context, schedule: Obj, wanted: list[Obj]) -> list[Obj]:
    """The phases asked for, each from the end of the one before it. Raises 400 for dates that make no sense."""
    if not wanted:
        raise refused("A subscription schedule must have at least one phase.", "phases")
    if "start_date" not in wanted[0]:
        raise refused(
            "The subscription schedule update is missing at least one phase with a `start_date` to anchor end dates to.", "phases"
        )
    subscription = ctx.world.get("subscription", schedule["subscription"])
    phases: list[Obj] = []
    for index, entry in enumerate(wanted):
        path = f"phases[{index}]"
        start = int(ctx.now if entry.get("start_date") == "now" else entry.get("start_date") or phases[-1]["end_date"])
        if phases and start != phases[-1]["end_date"]:
            raise refused("Each phase's `start_date` must be the `end_date` of the phase before it.", f"{path}[start_date]")
        if "end_date" in entry and "duration" in entry:
            raise refused("You may only specify one of these parameters: duration, end_date.", f"{path}[duration]")
        items = [_checked(ctx, subscription, item, f"{path}[items][{place}]") for place, item in enumerate(entry["items"])]
        phase = blank(subscription["currency"], start, _end(ctx, entry, start, items))
        if phase["end_date"] <= start:
            raise refused("The phase's `end_date` must be after its `start_date`.", f"{path}[end_date]")
        for key in _SAID:
            phase[key] = entry.get(key, phase[key])
        _check_discounts(ctx, subscription, subscription, entry.get("discounts"), f"{path}[discounts]")
        phase |= {"items": items, "metadata": params.merged(None, entry.get("metadata"))}
        phase["discounts"] = [_discount(each) for each in entry.get("discounts") or []]
        ends = phase["end_date"] if entry.get("trial") else entry.get("trial_end")
        phase["trial_end"] = ctx.now if ends == "now" else ends
        phases.append(phase)
    return phases


def _check_discounts(ctx: Context, subscription: Obj, holder: Obj | None, wanted: list[Obj] | None, path: str) -> None:
    discounts.check(ctx, holder, wanted or [], subscription["currency"], subscription["customer"], path)


def _checked(ctx: Context, subscription: Obj, item: Obj, path: str) -> Obj:
    price = subscription_items.price_named(ctx, item["price"], f"{path}[price]")
    if price["currency"] != subscription["currency"]:
        raise refused("All prices on a subscription must have the same currency.", f"{path}[price]")
    holder = next((each for each in subscription["items"]["data"] if each["price"]["id"] == price["id"]), None)
    _check_discounts(ctx, subscription, holder, item.get("discounts"), f"{path}[discounts]")
    licensed = price["recurring"]["usage_type"] == "licensed"
    return _item(
        price["id"], item.get("quantity", 1) if licensed else None, item.get("discounts"), params.merged(None, item.get("metadata"))
    )


def _end(ctx: Context, entry: Obj, start: int, items: list[Obj]) -> int:
    if "end_date" in entry:
        return ctx.now if entry["end_date"] == "now" else int(entry["end_date"])
    if "duration" in entry:
        return periods.later(start, entry["duration"]["interval"], entry["duration"].get("interval_count", 1))
    recurring = ctx.world.get("price", items[0]["price"])["recurring"]
    return periods.later(start, recurring["interval"], recurring["interval_count"])


def enter(ctx: Context, before: Obj, after: Obj, phase: Obj, proration_behavior: str) -> None:
    """Make the subscription what this phase says; what that costs is billed or prorated as a change by hand would be."""
    p: Obj = {"proration_behavior": proration_behavior, "items": _as_change(after, phase["items"])}
    if phase["billing_cycle_anchor"] == "phase_start" and phase["start_date"] == ctx.now:
        p["billing_cycle_anchor"] = {"type": "now"}
    is_classic = after["billing_mode"]["type"] == "classic"
    items, redeemed = subscription_items.checked(ctx, after, p["items"], after["customer"], is_classic=is_classic)
    discounts.overwrite(ctx, after, _still(after, phase["discounts"]), after["customer"])
    subscription_items.redeem(ctx, items, redeemed, after["customer"])
    for key in ("collection_method", "default_payment_method", "description"):
        if phase[key] is not None:
            after[key] = phase[key]
    if phase["invoice_settings"] is not None:
        after["days_until_due"] = phase["invoice_settings"].get("days_until_due", after["days_until_due"])
    after["metadata"] = params.merged(after["metadata"], phase["metadata"])
    subscription_items.change(ctx, before, after, items, p)
    if phase["trial_end"] is not None and phase["trial_end"] > ctx.now and phase["trial_end"] != after["trial_end"]:
        subscription_items.set_trial(ctx, before, after, phase["trial_end"], p)
    if phase["trial_end"] is None and after["status"] == "trialing" and ctx.now < after["trial_end"]:
        subscription_items.set_trial(ctx, before, after, None, p)


def _still(holder: Obj, wanted: list[Obj]) -> list[Obj]:
    """What of a phase's discounts can be had now: one that is over by then is not brought back."""
    given = [{key: value for key, value in entry.items() if value is not None} for entry in wanted]
    return [entry for entry in given if "discount" not in entry or entry["discount"] in holder["discounts"]]


def _as_change(subscription: Obj, wanted: list[Obj]) -> list[Obj]:
    """The items of a phase as a change of the subscription's: the same price stays, another takes the place of one that goes."""
    old = list(subscription["items"]["data"])
    kept = {item["price"]["id"]: item for item in old if any(entry["price"] == item["price"]["id"] for entry in wanted)}
    free = [item for item in old if item["price"]["id"] not in kept]
    change: list[Obj] = []
    for entry in wanted:
        item = kept.get(entry["price"]) or (free.pop(0) if free else None)
        told: Obj = {"price": entry["price"], "metadata": entry["metadata"]}
        told["discounts"] = _still(item, entry["discounts"]) if item else _still({"discounts": []}, entry["discounts"])
        if entry["quantity"] is not None:
            told["quantity"] = entry["quantity"]
        change.append(told | ({"id": item["id"]} if item else {}))
    return change + [{"id": item["id"], "deleted": True} for item in free]
