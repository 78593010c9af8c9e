"""Events: the news that each change makes, kept for 30 days and handed to delivery."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sandbox.stripe import effects, listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import API_VERSION, Obj, invalid
from sandbox.stripe.worlds import clone, new_id

_KEPT_SECONDS = 30 * 86400

_NEWS_PREFIX = {
    "subscription": "customer.subscription",
    "discount": "customer.discount",
    "billing_portal.configuration": "billing_portal.configuration",
}


def tell(ctx: Context, verb: str, obj: Obj, before: Obj | None = None) -> None:
    """Record that this object was `created`, `updated`, `deleted` … (`before` is what it looked like), and pass the news on."""
    if before is not None and obj["object"] == "subscription":
        effects.note(ctx, before, obj)
    previous = effects.difference(before, obj) if before is not None and verb == "updated" else None
    if previous == {}:
        return
    send(ctx, f"{_NEWS_PREFIX.get(obj['object'], obj['object'])}.{verb}", obj, previous)


def send(ctx: Context, type: str, obj: Obj, previous: Obj | None = None) -> None:
    """Record an event of this type and queue its deliveries, unless history is being made or a change only tried."""
    if ctx.local.is_quiet:
        return
    data: Obj = {"object": clone(obj)}
    if previous is not None:
        data["previous_attributes"] = previous
    event: Obj = {
        "id": new_id("event"),
        "object": "event",
        "api_version": API_VERSION,
        "created": int(time.time()),
        "data": data,
        "livemode": ctx.livemode,
        "pending_webhooks": 0,
        "request": {"id": ctx.request_id, "idempotency_key": ctx.idempotency_key},
        "type": type,
    }
    if ctx.world.account != ctx.local.platform:
        event["account"] = ctx.world.account
    ctx.world.put(event)
    ctx.local.deliveries.queue(event, ctx.world)


LIST: dict[str, params.Shape | params.Required] = {
    **params.PAGE,
    "type": params.text,
    "types": params.many(params.text, at_most=20),
    "created": params.created,
    "delivery_success": params.boolean,
}


def _matching(ctx: Context, p: Obj) -> Iterable[Obj]:
    oldest = time.time() - _KEPT_SECONDS
    wanted = p.get("types") or ([p["type"]] if "type" in p else None)
    for event in ctx.world.all("event"):
        if event["created"] < oldest:
            continue
        if wanted is not None and not any(_is_of(event["type"], pattern) for pattern in wanted):
            continue
        if "created" in p and not listing.within(event["created"], p["created"]):
            continue
        if "delivery_success" in p and p["delivery_success"] == (event["id"] in ctx.local.deliveries.undelivered):
            continue
        yield event


def _is_of(type: str, pattern: str) -> bool:
    return type == pattern or pattern == "*" or (pattern.endswith(".*") and type.startswith(pattern[:-1]))


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/events`."""
    if "type" in p and "types" in p:
        raise invalid("You may only specify one of these parameters: type, types.", "types")
    return listing.page("/v1/events", _matching(ctx, p), p)
