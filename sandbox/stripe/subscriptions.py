"""Subscriptions as the API changes them: update, cancel, list."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import discounts, events, invoices, listing, params, payment_methods, schedules, subscription_items
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, StripeError, missing, refused
from sandbox.stripe.worlds import clone

ENDED = ("canceled", "incomplete_expired")
_TWO_YEARS = 2 * 366 * 86400

FEEDBACK = params.one_of(
    "customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex", "too_expensive", "unused"
)
DETAILS = params.record(comment=params.clearable(params.at_most(5000)), feedback=params.clearable(FEEDBACK))
PRORATION = params.one_of("always_invoice", "create_prorations", "none")
PAYMENT = params.one_of("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")
TRIAL_SETTINGS = params.record(
    end_behavior=params.Required(
        params.record(
            missing_payment_method=params.Required(params.one_of("cancel", "create_invoice", "pause")),
            billing_cycle_anchor=params.one_of("now", "unchanged"),
        )
    )
)

FIELDS: dict[str, params.Shape | params.Required] = {
    "cancel_at": params.clearable(params.either("min_period_end", params.either("max_period_end", params.integer))),
    "cancel_at_period_end": params.boolean,
    "collection_method": params.one_of("charge_automatically", "send_invoice"),
    "days_until_due": params.integer,
    "default_payment_method": params.clearable(params.text),
    "description": params.clearable(params.at_most(500)),
    "discounts": discounts.LIST,
    "metadata": params.metadata,
    "off_session": params.boolean,
    "payment_behavior": PAYMENT,
    "proration_behavior": PRORATION,
    "trial_end": params.either("now", params.integer),
    "trial_settings": TRIAL_SETTINGS,
}
UPDATE: dict[str, params.Shape | params.Required] = {
    **FIELDS,
    "cancellation_details": DETAILS,
    "items": subscription_items.UPDATE,
    "pause_collection": params.clearable(
        params.record(behavior=params.Required(params.one_of("keep_as_draft", "mark_uncollectible", "void")), resumes_at=params.integer)
    ),
    "proration_date": params.integer,
}
CANCEL: dict[str, params.Shape | params.Required] = {
    "cancellation_details": DETAILS,
    "invoice_now": params.boolean,
    "prorate": params.boolean,
}
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


def commit(ctx: Context, before: Obj, after: Obj, verb: str = "updated") -> Obj:
    """Keep the changed subscription, tell the news, and watch for its next moment."""
    ctx.world.put(after)
    events.tell(ctx, verb, after, before)
    ctx.local.clock.watch(ctx.world, after)
    return after


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


def update(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/subscriptions/:id`."""
    before = ctx.world.get("subscription", id)
    after = clone(before)
    if before["status"] in ENDED and set(p) - {"cancellation_details", "metadata", "expand"}:
        raise refused("A canceled subscription can only update its cancellation_details and metadata.")
    if before["schedule"] and set(p) & {"cancel_at_period_end", "cancel_at"}:
        raise refused(
            f"The subscription is managed by the subscription schedule `{before['schedule']}`, and updating any cancelation behavior "
            "directly is not allowed. Please update the schedule instead."
        )
    wanted = p.get("discounts")
    discounts.check(ctx, before, wanted or [], before["currency"])
    if p.get("default_payment_method"):
        payment_methods.check_belongs(ctx, before["customer"], p["default_payment_method"], "default_payment_method")
    trial_end = trial_end_of(ctx, p, before["billing_cycle_anchor"])
    items = subscription_items.checked(ctx, before, p["items"]) if "items" in p else None
    pending = clone(ctx.world.pending_lines)
    for key in ("default_payment_method", "description", "collection_method", "days_until_due"):
        if key in p:
            after[key] = p[key]
    if "trial_settings" in p:
        after["trial_settings"]["end_behavior"] |= p["trial_settings"]["end_behavior"]
    if "metadata" in p:
        after["metadata"] = params.merged(after["metadata"], p["metadata"])
    if "pause_collection" in p:
        after["pause_collection"] = _paused(ctx, p["pause_collection"])
    set_cancel(ctx, after, p)
    for key, value in p.get("cancellation_details", {}).items():
        after["cancellation_details"][key] = value
    try:
        if items is not None:
            subscription_items.change(ctx, after, items, p)
        if "trial_end" in p:
            subscription_items.set_trial(ctx, after, trial_end, p)
    except StripeError:  # a declined card: nothing of it happened
        ctx.world.pending_lines = pending
        raise
    if "discounts" in p:
        discounts.overwrite(ctx, after, wanted or [])
    return commit(ctx, before, after)


def cancel(ctx: Context, id: str, p: Obj) -> Obj:
    """`DELETE /v1/subscriptions/:id`; a second time it is not found."""
    before = ctx.world.get("subscription", id)
    if before["status"] in ENDED:
        raise missing("subscription", id)
    after = clone(before)
    if p.get("prorate"):
        subscription_items.credit(ctx, after)
    for key, value in p.get("cancellation_details", {}).items():
        after["cancellation_details"][key] = value
    if p.get("invoice_now") and ctx.world.pending_lines.get(id):
        invoices.bill(ctx, after, [], "subscription_update")
    elif not p.get("prorate"):
        ctx.world.pending_lines.pop(id, None)
    return end(ctx, before, after, "cancellation_requested")


def end(ctx: Context, before: Obj, after: Obj, reason: str) -> Obj:
    """The subscription is canceled as of now, for this reason."""
    after |= {"status": "canceled", "ended_at": ctx.now, "canceled_at": after["canceled_at"] or ctx.now, "pause_collection": None}
    after["cancellation_details"]["reason"] = reason
    invoices.stop_collecting(ctx, after)
    if after["schedule"]:
        schedules.cancel(ctx, after["schedule"])
    return commit(ctx, before, after, "deleted")


def trial_end_of(ctx: Context, p: Obj, anchor: int) -> int | None:
    """The wanted end of the trial, None for none or for `now`. Raises 400 unless it is in the coming two years."""
    wanted: Any = p.get("trial_end")
    if not isinstance(wanted, int):
        return None
    if wanted <= ctx.now:
        raise refused("Timestamp for trial_end must be an integer Unix timestamp in the future.", "trial_end")
    if wanted > max(anchor, ctx.now) + _TWO_YEARS:
        raise refused("The maximum number of trial days is 730 (2 years).", "trial_end")
    return wanted


def _paused(ctx: Context, wanted: Obj | None) -> Obj | None:
    if wanted is None:
        return None
    resumes_at = wanted.get("resumes_at")
    if resumes_at is not None and resumes_at <= ctx.now:
        raise refused("`pause_collection[resumes_at]` must be a timestamp in the future.", "pause_collection[resumes_at]")
    return {"behavior": wanted["behavior"], "resumes_at": resumes_at}


def set_cancel(ctx: Context, subscription: Obj, p: Obj) -> None:
    """Schedule the end, move it or take it back, as `cancel_at` or `cancel_at_period_end` ask. Raises 400."""
    if p.get("cancel_at_period_end") and p.get("cancel_at") is not None:
        raise refused("You may only specify one of these parameters: cancel_at, cancel_at_period_end.", "cancel_at")
    was_ending = subscription["cancel_at"] is not None
    if "cancel_at" in p:
        at = p["cancel_at"]
        if isinstance(at, str):
            pick = min if at == "min_period_end" else max
            at = pick(item["current_period_end"] for item in subscription["items"]["data"])
        if at is not None and at <= ctx.now:
            raise refused("`cancel_at` must be a timestamp in the future.", "cancel_at")
        subscription |= {"cancel_at": at, "cancel_at_period_end": False}
    elif p.get("cancel_at_period_end") and not subscription["cancel_at_period_end"]:
        subscription |= {"cancel_at": period_end(subscription), "cancel_at_period_end": True}
    elif p.get("cancel_at_period_end") is False and subscription["cancel_at_period_end"]:
        subscription |= {"cancel_at": None, "cancel_at_period_end": False}
    is_ending = subscription["cancel_at"] is not None
    if is_ending and not was_ending:
        subscription["canceled_at"] = ctx.now
        subscription["cancellation_details"]["reason"] = "cancellation_requested"
    elif was_ending and not is_ending:
        subscription["canceled_at"] = None
        subscription["cancellation_details"] = {"comment": None, "feedback": None, "reason": None}
