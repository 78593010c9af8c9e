"""What a person changes in Stripe's dashboard: through the API's own verb where it takes these names, else field by field."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sandbox.stripe import catalogue, coupons, customers, events, expansion, params, portal, schedules, settlements, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, StripeError, invalid, missing
from sandbox.stripe.worlds import World, clone, new_id

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe

_VERBS: dict[str, tuple[dict[str, params.Shape | params.Required], Callable[[Context, str, Obj], Obj]]] = {
    "subscription": (subscriptions.UPDATE, subscriptions.update),
    "customer": (customers.UPDATE, customers.update),
    "product": (catalogue.PRODUCT_UPDATE, catalogue.update_product),
    "price": (catalogue.PRICE_UPDATE, catalogue.update_price),
    "coupon": (coupons.UPDATE, coupons.update),
    "subscription_schedule": (schedules.UPDATE, schedules.update),
    "invoice": (settlements.UPDATE, settlements.update),
    "billing_portal.configuration": (portal.UPDATE, portal.update),
}
_STATUSES = {
    "subscription": ("active", "canceled", "incomplete", "incomplete_expired", "past_due", "paused", "trialing", "unpaid"),
    "invoice": ("draft", "open", "paid", "uncollectible", "void"),
    "subscription_schedule": ("active", "canceled", "completed", "not_started", "released"),
}
# Who an object is, and what all the rest stands on.
_FIXED = ("id", "object", "livemode")
_NEVER_NULL = ("billing_cycle_anchor", "collection_method", "created", "currency", "customer", "start_date", "status")
_MOST = 10**12
_NUMBERS = re.compile(r"_(at|attempt|by|due|end|months|off|redemptions|start)$")


def find(local: LocalStripe, id: str) -> tuple[World, Obj]:
    """The object of this id and the world it is in, whichever that is. Raises 404."""
    if id in local.accounts:
        mode = next((mode for account, mode in local.connections if account == id), False)
        return local.world(id, mode), local.accounts[id]
    for world in local.worlds.values():
        for table in list(world.tables.values()):
            if id in table:
                return world, table[id]
    raise missing("object", id)


def change(local: LocalStripe, id: str, wanted: Any) -> Obj:
    """Change an object and tell the news; raises 404 for an id nobody has, 400 with the field's name for what it can't become."""
    if not isinstance(wanted, dict):
        raise invalid("The change is an object: its fields and their new values.", "id")
    world, obj = find(local, id)
    ctx = Context(local=local, world=world, source="dashboard", request_id=new_id("request"))
    kind = obj["object"]
    if kind == "subscription" and wanted == {"status": "canceled"}:
        return subscriptions.cancel(ctx, id, {})
    if wanted == {"deleted": True} and kind in ("customer", "coupon"):
        return customers.delete(ctx, id, {}) if kind == "customer" else coupons.delete(ctx, id, {})
    fields, verb = _VERBS.get(kind, ({}, None))
    if verb is not None and set(wanted) <= set(fields):
        return verb(ctx, id, params.read(fields, {key: _as_form(value) for key, value in wanted.items()}))
    after: Obj = clone(obj)
    _merge(world, after, wanted, "")
    if kind == "subscription":
        if after["status"] == "trialing" and after["trial_end"] is None:
            raise invalid("A subscription without a trial's end can't be trialing.", "status")
        if after["status"] == "past_due" and after["latest_invoice"] is None:
            raise invalid("A subscription without an invoice can't be past due.", "status")
        return subscriptions.commit(ctx, obj, after)
    if kind == "account":
        local.accounts[id] = after
    else:
        world.put(after)
    events.tell(ctx, "updated", after, obj)
    return after


def _as_form(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_form(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_form(item) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _merge(world: World, target: Obj, wanted: Obj, path: str) -> None:
    for key, value in wanted.items():
        name = f"{path}[{key}]" if path else key
        if path == "metadata":
            if not isinstance(value, str):
                raise invalid("Metadata are texts.", name)
        elif key not in target:
            raise invalid(f"The object has no field {name}.", name)
        elif key in _FIXED:
            raise invalid(f"{name} can't be changed.", name)
        elif isinstance(value, dict) and isinstance(target[key], dict):
            _merge(world, target[key], value, name)
            continue
        else:
            _check(world, target, key, value, name)
        target[key] = value


def _check(world: World, target: Obj, key: str, value: Any, name: str) -> None:
    """Raises 400 where the field can't hold this value."""
    if key == "status" and (statuses := _STATUSES.get(target.get("object", ""))) and value not in statuses:
        raise invalid(f"Invalid {name}: must be one of {', '.join(statuses)}", name)
    if not _fits(target[key], key, value):
        raise invalid(f"{name} can't become {value!r:.80}.", name)
    if (kind := expansion.kind_of(key)) and value is not None:
        for id in value if isinstance(value, list) else [value]:
            if not isinstance(id, str) or world.find(kind, id) is None:
                raise _nobody(kind, id, name)


def _fits(old: Any, key: str, value: Any) -> bool:
    """Whether it is of the old value's kind. Lists of objects have the API's own names only."""
    if value is None:
        return not isinstance(old, dict | list | bool) and key not in _NEVER_NULL
    if isinstance(old, list):
        return isinstance(value, list) and all(isinstance(item, str) for item in [*old, *value])
    if old is None or (isinstance(old, int | float) and not isinstance(old, bool)):
        is_whole = (
            isinstance(value, int) and not isinstance(value, bool) and (0 <= value <= _MOST or (key == "balance" and -_MOST <= value < 0))
        )
        if isinstance(old, float) or key.endswith("percent_off"):
            return is_whole or isinstance(value, float)
        return is_whole if old is not None or _NUMBERS.search(key) else is_whole or isinstance(value, str | bool)
    return type(value) is type(old)


def _nobody(kind: str, id: Any, name: str) -> StripeError:
    return invalid(f"No such {kind.replace('_', ' ')}: {id!r:.80}", name, "resource_missing")
