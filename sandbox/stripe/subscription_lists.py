"""Lists of subscriptions: which are wanted, by status, price and time."""

from __future__ import annotations

from sandbox.stripe import listing, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj

ENDED = ("canceled", "incomplete_expired")

LIST: dict[str, params.Shape | params.Required] = {
    **params.PAGE,
    "customer": params.text,
    "price": params.text,
    "status": params.one_of(
        "active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due", "paused", "trialing", "unpaid"
    ),
    "created": params.created,
    "current_period_end": params.created,
    "current_period_start": params.created,
    "collection_method": params.one_of("charge_automatically", "send_invoice"),
}


def period_end(subscription: Obj) -> int:
    """The first end of a period among the items."""
    return int(min(item["current_period_end"] for item in subscription["items"]["data"]))


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/subscriptions`; canceled ones only when asked for."""
    status = p.get("status")

    def fits(subscription: Obj) -> bool:
        if status == "ended":
            wanted = subscription["status"] in ENDED
        else:
            wanted = status == "all" or (subscription["status"] == status if status else subscription["status"] not in ENDED)
        items = subscription["items"]["data"]
        starts = max(item["current_period_start"] for item in items)
        return (
            wanted
            and ("price" not in p or any(item["price"]["id"] == p["price"] for item in items))
            and ("created" not in p or listing.within(subscription["created"], p["created"]))
            and ("current_period_end" not in p or listing.within(period_end(subscription), p["current_period_end"]))
            and ("current_period_start" not in p or listing.within(starts, p["current_period_start"]))
        )

    having = {key: p[key] for key in ("customer", "collection_method") if key in p}
    return listing.page("/v1/subscriptions", filter(fits, ctx.world.all("subscription", **having)), p)
