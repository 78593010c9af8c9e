"""Webhook endpoints: where news is to be sent, of which types, signed with which secret."""

from __future__ import annotations

from urllib.parse import urlsplit

from sandbox.stripe import listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import API_VERSION, Obj, refused
from sandbox.stripe.worlds import World, new_id, word

_Fields = dict[str, params.Shape | params.Required]

UPDATE: _Fields = {
    "description": params.clearable(params.text),
    "disabled": params.boolean,
    "enabled_events": params.many(params.text),
    "metadata": params.metadata,
    "url": params.text,
}
CREATE: _Fields = {
    **{key: shape for key, shape in UPDATE.items() if key != "disabled"},
    "api_version": params.text,
    "connect": params.boolean,
    "enabled_events": params.Required(params.many(params.text)),
    "url": params.Required(params.text),
}


def create(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/webhook_endpoints`; with `connect` it hears of connected accounts. The secret is shown in this answer only."""
    _check_url(p["url"])
    if p.get("api_version", API_VERSION) != API_VERSION:
        raise refused(f"Invalid API version: {p['api_version']}. The local Stripe speaks {API_VERSION} only.", "api_version")
    endpoint = ctx.world.put(
        {
            "id": new_id("webhook_endpoint"),
            "object": "webhook_endpoint",
            "api_version": p.get("api_version"),
            "application": ctx.local.client_ids[ctx.livemode] if p.get("connect") else None,
            "created": ctx.now,
            "description": p.get("description"),
            "enabled_events": p["enabled_events"],
            "livemode": ctx.livemode,
            "metadata": params.merged(None, p.get("metadata")),
            "status": "enabled",
            "url": p["url"],
        }
    )
    secret = ctx.local.endpoint_secrets[endpoint["id"]] = "whsec_" + word(32)
    return {**endpoint, "secret": secret}


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise refused("Invalid URL: An explicit scheme (such as https) must be provided.", "url", "url_invalid")


def update(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/webhook_endpoints/:id`."""
    endpoint = ctx.world.get("webhook_endpoint", id)
    if "url" in p:
        _check_url(p["url"])
    if "metadata" in p:
        endpoint["metadata"] = params.merged(endpoint["metadata"], p["metadata"])
    if "disabled" in p:
        endpoint["status"] = "disabled" if p["disabled"] else "enabled"
    for key in ("description", "enabled_events", "url"):
        if key in p:
            endpoint[key] = p[key]
    return endpoint


def delete(ctx: Context, id: str, _p: Obj) -> Obj:
    """`DELETE /v1/webhook_endpoints/:id`."""
    ctx.local.endpoint_secrets.pop(id, None)
    return ctx.world.forget(ctx.world.get("webhook_endpoint", id))


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/webhook_endpoints`."""
    return listing.page("/v1/webhook_endpoints", ctx.world.all("webhook_endpoint"), p)


def hearing(event: Obj, worlds: list[tuple[World, bool]]) -> list[Obj]:
    """The endpoints that hear this event, among those of these worlds; the flag asks for Connect endpoints."""
    return [
        endpoint
        for world, connect in worlds
        for endpoint in world.all("webhook_endpoint", status="enabled")
        if (endpoint["application"] is not None) == connect
        and ("*" in endpoint["enabled_events"] or event["type"] in endpoint["enabled_events"])
    ]
