"""The oracle: what the mirror must hold, read from the local Stripe's own objects and not by any code of the product."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.faults.storm.business import Business

Obj = dict[str, Any]
Thing = tuple[str, str]
"""(Stripe's name for the kind, id)."""


def _customer(one: Obj) -> Obj:
    return {
        "email": one["email"],
        "name": one["name"],
        "created_at": one["created"],
        "default_payment_method": one["invoice_settings"]["default_payment_method"],
        "raw.metadata": one["metadata"],
    }


def _subscription(one: Obj) -> Obj:
    items = one["items"]["data"]
    terms = {(item["price"]["recurring"]["interval"], item["price"]["recurring"]["interval_count"]) for item in items}
    return {
        "customer": one["customer"],
        "status": one["status"],
        "created_at": one["created"],
        "current_period_end": min(item["current_period_end"] for item in items),
        "cancel_at_period_end": one["cancel_at_period_end"],
        "cancel_at": one["cancel_at"],
        "ended_at": one["ended_at"],
        "is_paused": one["pause_collection"] is not None or one["status"] == "paused",
        "schedule": one["schedule"],
        "price": items[0]["price"]["id"],
        "currency": one["currency"],
        # What a mix of months and years costs cannot be said in one figure.
        "amount": sum(item["price"]["unit_amount"] * item["quantity"] for item in items) if len(terms) == 1 else None,
        "default_payment_method": one["default_payment_method"],
        "raw.metadata": one["metadata"],
        "raw.pause_collection": one["pause_collection"],
        "raw.discounts": one["discounts"],
        "raw.latest_invoice": one["latest_invoice"],
    }


def _product(one: Obj) -> Obj:
    return {"name": one["name"], "is_active": one["active"], "raw.livemode": one["livemode"]}


def _price(one: Obj) -> Obj:
    return {
        "product": one["product"],
        "currency": one["currency"],
        "unit_amount": one["unit_amount"],
        "interval": one["recurring"]["interval"],
        "interval_count": one["recurring"]["interval_count"],
        "is_active": one["active"],
        "raw.nickname": one["nickname"],
    }


def _schedule(one: Obj) -> Obj:
    return {"subscription": one["subscription"], "status": one["status"], "raw.end_behavior": one["end_behavior"]}


def _coupon(one: Obj) -> Obj:
    return {"name": one["name"], "is_valid": one["valid"], "raw.livemode": one["livemode"]}


def _invoice(one: Obj) -> Obj:
    return {
        "customer": one["customer"],
        "subscription": one["parent"]["subscription_details"]["subscription"],
        "status": one["status"],
        "created_at": one["created"],
        "paid_at": one["status_transitions"]["paid_at"],
        "currency": one["currency"],
        "total": one["total"],
        "amount_paid": one["amount_paid"],
        "raw.attempt_count": one["attempt_count"],
    }


def _discount(one: Obj) -> Obj:
    return {
        "customer": one["customer"],
        "subscription": one["subscription"],
        "coupon": one["source"]["coupon"],
        "starts_at": one["start"],
        "ends_at": one["end"],
    }


def _charge(one: Obj) -> Obj:
    return {
        "customer": one["customer"],
        "payment_intent": one["payment_intent"],
        "created_at": one["created"],
        "currency": one["currency"],
        "amount": one["amount"],
        "amount_refunded": one["amount_refunded"],
        "raw.disputed": one["disputed"],
    }


READ = {
    "customer": ("customers", _customer),
    "subscription": ("subscriptions", _subscription),
    "product": ("products", _product),
    "price": ("prices", _price),
    "coupon": ("coupons", _coupon),
    "invoice": ("invoices", _invoice),
    "discount": ("discounts", _discount),
    "charge": ("charges", _charge),
    "subscription_schedule": ("subscription_schedules", _schedule),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One object that the mirror has otherwise than Stripe."""

    whose: str
    thing: Thing
    expected: Any
    found: Any


def expected(business: Business) -> tuple[dict[Thing, Obj], set[Thing]]:
    """What this account has in this mode, and what it had until it was deleted."""
    with business.local.lock:
        here = {(kind, id): read(one) for kind, (_, read) in READ.items() for id, one in business.world.table(kind).items()}
        for dispute in business.world.table("dispute").values():
            here["charge", dispute["charge"]] |= {"dispute_status": dispute["status"], "amount_disputed": dispute["amount"]}
        gone = {(kind, id) for kind in READ for id in business.world.table(f"deleted {kind}")}
    return here, gone - set(here)


def differences(session: Session, business: Business, connection_id: str) -> Iterable[Difference]:
    """Where the mirror of this connection is not what its account has in its mode; inside a transaction of its workspace."""
    here, gone = expected(business)
    whose = f"{business.account}/{business.mode}"
    found = {
        (kind, row["id"]): row
        for kind, (table, _) in READ.items()
        for row in session.execute(text(f"select * from {table} where connection_id = :id"), {"id": connection_id}).mappings()  # noqa: S608
    }
    wanted = {thing for thing in here if thing[0] not in ("discount", "charge")} | _telling(business)
    # A discount that its subscription names no more is looked for by nobody.
    held = {thing for thing in found if thing[0] != "discount"}
    for thing in sorted(wanted | held):
        row = found.get(thing)
        if thing in here:
            told = None if row is None else "deleted" if row["is_deleted"] else {name: _told(row, name) for name in here[thing]}
            if told != here[thing]:
                yield Difference(whose=whose, thing=thing, expected=here[thing], found=told)
        elif row is not None and not (thing in gone and row["is_deleted"]):
            yield Difference(whose=whose, thing=thing, expected="deleted" if thing in gone else "nobody has it", found=dict(row))


def _telling(business: Business) -> set[Thing]:
    """The discounts that a subscription names, and the charges that were given back or disputed: no others are told to us whole."""
    with business.local.lock:
        world = business.world
        named = {("discount", id) for one in world.table("subscription").values() for id in one["discounts"]}
        return named | {("charge", id) for id, one in world.table("charge").items() if one["amount_refunded"] or one["disputed"]}


def _told(row: Any, name: str) -> Any:
    if name.startswith("raw."):
        return row["raw"].get(name.removeprefix("raw."))
    value = row[name]
    return int(value.timestamp()) if isinstance(value, datetime) else value


def touched(event: Obj) -> set[Thing]:
    """Which objects an event speaks of."""
    one = event["data"]["object"]
    found = {(one["object"], one.get("id", ""))}
    if one["object"] == "discount" and one["subscription"]:
        found.add(("subscription", one["subscription"]))
    if one["object"] == "subscription":
        # Its discounts are read with it, and not told by themselves.
        found |= {("discount", id) for id in one["discounts"]}
    if one["object"] == "dispute":
        found.add(("charge", one["charge"]))
    return found
