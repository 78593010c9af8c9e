"""Expansion: which ids in an answer may be replaced by the objects they name."""

from __future__ import annotations

from sandbox.stripe.wire import Obj, invalid
from sandbox.stripe.worlds import World, clone

_BY_FIELD = {
    "customer": "customer",
    "product": "product",
    "price": "price",
    "default_price": "price",
    "coupon": "coupon",
    "discounts": "discount",
    "discount": "discount",
    "default_payment_method": "payment_method",
    "latest_invoice": "invoice",
    "schedule": "subscription_schedule",
    "subscription": "subscription",
    "configuration": "billing_portal.configuration",
    "charge": "charge",
    "invoice": "invoice",
    "promotion_code": "promotion_code",
    "payment_method": "payment_method",
    "setup_intent": "setup_intent",
}
_MAX_DEPTH = 4


def kind_of(field: str) -> str | None:
    """The kind of object whose id stands in this field, whichever object has it."""
    return _BY_FIELD.get(field)


def expanded(world: World, answer: Obj, paths: list[str]) -> Obj:
    """A copy of the answer with these paths expanded. Raises 400 for what can't be expanded."""
    result: Obj = clone(answer)
    for path in paths:
        parts = path.split(".")
        if len(parts) - (parts[0] == "data") > _MAX_DEPTH:
            raise invalid(f"You cannot expand more than {_MAX_DEPTH} levels of a property. Property: {path}", "expand")
        _walk(world, result, parts, path)
    return result


def _walk(world: World, node: Obj, parts: list[str], path: str) -> None:
    name, rest = parts[0], parts[1:]
    if name not in node:
        if _lazy(world, node, name):
            return
        raise invalid(
            f"This property cannot be expanded ({path}). You may want to try expanding 'data.{path}'."
            if node.get("object") == "list"
            else f"This property cannot be expanded ({path}).",
            "expand",
        )
    if node[name] is None or node[name] == []:
        return
    if isinstance(node[name], list):
        node[name] = [_opened(world, name, item, rest, path) for item in node[name]]
    else:
        node[name] = _opened(world, name, node[name], rest, path)


def _opened(world: World, name: str, value: object, rest: list[str], path: str) -> object:
    if isinstance(value, str):
        found = world.remembered(_BY_FIELD.get(name, ""), value)
        if found is None:
            raise invalid(f"This property cannot be expanded ({path}).", "expand")
        value = clone(found)
    elif not rest and isinstance(value, dict) and "object" not in value:
        raise invalid(f"This property cannot be expanded ({path}).", "expand")
    if rest and isinstance(value, dict):
        _walk(world, value, rest, path)
    return value


def _lazy(world: World, node: Obj, name: str) -> bool:
    """Fields that Stripe leaves out until they are asked for."""
    match node.get("object"), name:
        case "customer", "subscriptions":
            alive = [s for s in world.all("subscription", customer=node["id"]) if s["status"] != "canceled"]
            node[name] = {
                "object": "list",
                "data": clone(alive[::-1][:10]),
                "has_more": len(alive) > 10,
                "url": f"/v1/customers/{node['id']}/subscriptions",
            }
        case "coupon", "applies_to":
            products = world.coupon_products.get(node["id"])
            if products:
                node[name] = {"products": list(products)}
        case "coupon", "currency_options":
            node[name] = clone(world.coupon_currencies.get(node["id"], {}))
        case "price", "tiers":
            if tiers := world.tiers.get(node["id"]):
                node[name] = clone(tiers)
        case "price", "currency_options":
            pass
        case _:
            return False
    return True
