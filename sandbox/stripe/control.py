"""The control door: what was asked, what it changed, and how to disturb, move and change things from outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from sandbox.stripe import accounts, catalogue, customers, events, params, portal, seed, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, Reply, Request, StripeError, invalid, missing, to_json
from sandbox.stripe.worlds import World, clone

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe

_VERBS: dict[str, tuple[dict[str, params.Shape | params.Required], Callable[[Context, str, Obj], Obj]]] = {
    "subscription": (subscriptions.UPDATE, subscriptions.update),
    "customer": (customers.UPDATE, customers.update),
    "product": (catalogue.PRODUCT_UPDATE, catalogue.update_product),
    "price": (catalogue.PRICE_UPDATE, catalogue.update_price),
    "coupon": (catalogue.COUPON_UPDATE, catalogue.update_coupon),
    "billing_portal.configuration": (portal.UPDATE, portal.update),
}


def answer(local: LocalStripe, request: Request) -> Reply:
    """JSON in, JSON out; 400 and 404 say why. The caller holds the lock."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    try:
        return Reply(headers=headers, body=to_json(_answer(local, request)))
    except StripeError as error:
        told = {"error": {"message": error.message, "param": error.param}}
        return Reply(status=error.status, headers=headers, body=to_json(told))


def _body(request: Request) -> Any:
    if not request.body:
        return {}
    try:
        return json.loads(request.body)
    except ValueError:
        raise invalid("The body is not JSON.", None) from None


def _answer(local: LocalStripe, request: Request) -> Any:
    method, path = request.method, request.path.removeprefix("/_sandbox").rstrip("/")
    query = {key: values[-1] for key, values in parse_qs(request.query).items()}
    match method, path.split("/")[1:]:
        case "GET", ["requests"]:
            since = query.get("since", "0")
            if not since.isdecimal():
                raise invalid("`since` is the number of a request.", "since")
            return local.requests[int(since) :]
        case "GET", ["effects"]:
            wanted = query.get("subscription")
            return [row for row in local.effects if wanted in (None, row["subscription"])]
        case "POST", ["faults"]:
            body = _body(request)
            added = [local.faults.add(each).shown() for each in (body if isinstance(body, list) else [body])]
            return added if isinstance(body, list) else added[0]
        case "GET", ["faults"]:
            return [rule.shown() for rule in local.faults.rules]
        case "DELETE", ["faults"]:
            local.faults.rules.clear()
            return []
        case "POST", ["webhooks"]:
            local.deliveries.disturb(_body(request))
            return _webhooks(local)
        case "GET", ["webhooks"]:
            return _webhooks(local)
        case "DELETE", ["webhooks"]:
            local.deliveries.calm()
            return _webhooks(local)
        case "POST", ["clock"]:
            seconds = _body(request).get("advance")
            if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
                raise invalid("`advance` is a number of seconds, 0 or more.", "advance")
            local.clock.advance(seconds)
            return _clock(local)
        case "GET", ["clock"]:
            return _clock(local)
        case "POST", ["deauthorize"]:
            account = str(_body(request).get("account"))
            done = [mode for mode in (False, True) if accounts.disconnect(local, account, mode)]
            if not done:
                raise missing("connected account", account, "account")
            return {"account": account, "modes": ["live" if mode else "test" for mode in done]}
        case "GET", ["objects", id]:
            return _found(local, id)[1]
        case "POST", ["objects", id]:
            return _change(local, id, _body(request))
        case "POST", ["seed"]:
            return seed.plant(local)
        case "GET", ["seeded"]:
            return seed.told(local)
    raise StripeError(404, f"There is no control {method} {request.path}.")


def _webhooks(local: LocalStripe) -> Obj:
    return {**local.deliveries.disturbance, "waiting": local.deliveries.waiting, **local.deliveries.counts}


def _clock(local: LocalStripe) -> Obj:
    return {"now": local.clock.now(), "offset": local.clock.offset}


def _found(local: LocalStripe, id: str) -> tuple[World, Obj]:
    if id in local.accounts:
        mode = next((mode for account, mode in local.connections if account == id), False)
        return local.world(id, mode), local.accounts[id]
    for world in local.worlds.values():
        for table in list(world.tables.values()):
            if id in table:
                return world, table[id]
    raise missing("object", id)


def _change(local: LocalStripe, id: str, change: Any) -> Obj:
    """What a person does in Stripe's dashboard: through the API's own verb where it takes these names, else as told."""
    if not isinstance(change, dict):
        raise invalid("The change is an object.", None)
    world, obj = _found(local, id)
    ctx = Context(local=local, world=world, source="dashboard")
    kind = obj["object"]
    if kind == "subscription" and change == {"status": "canceled"}:
        return subscriptions.cancel(ctx, id, {})
    if change == {"deleted": True} and kind in ("customer", "coupon"):
        return customers.delete(ctx, id, {}) if kind == "customer" else catalogue.delete_coupon(ctx, id, {})
    fields, verb = _VERBS.get(kind, ({}, None))
    if verb is not None and set(change) <= set(fields):
        return verb(ctx, id, params.read(fields, {key: _as_form(value) for key, value in change.items()}))
    after: Obj = clone(obj)
    _merge(after, change, "")
    if kind == "subscription":
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


def _merge(target: Obj, change: Obj, path: str) -> None:
    for key, value in change.items():
        if key not in target and path != "metadata":
            raise invalid(f"The object has no field {key}.", key)
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value, key)
        else:
            target[key] = value
