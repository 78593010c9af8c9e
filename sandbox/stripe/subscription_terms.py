"""The terms of a subscription: what of it can be changed, until when it is free, paused or running, and how these are checked."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import discounts, params, payment_methods, subscription_items
from sandbox.stripe.context import Context
from sandbox.stripe.subscription_lists import ENDED, period_end
from sandbox.stripe.wire import Obj, refused

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
    "billing_cycle_anchor": params.record(type=params.Required(params.one_of("now", "unchanged"))),
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


def paused(ctx: Context, wanted: Obj | None) -> Obj | None:
    """The pause of collection that is wanted, None for none. Raises 400 unless it ends in the future."""
    if wanted is None:
        return None
    resumes_at = wanted.get("resumes_at")
    if resumes_at is not None and resumes_at <= ctx.now:
        raise refused("`pause_collection[resumes_at]` must be a timestamp in the future.", "pause_collection[resumes_at]")
    return {"behavior": wanted["behavior"], "resumes_at": resumes_at}


def check(ctx: Context, before: Obj, p: Obj) -> None:
    """Raise 400 for what this subscription can't be changed to."""
    if before["status"] in ENDED and set(p) - {"cancellation_details", "metadata", "expand"}:
        raise refused("A canceled subscription can only update its cancellation_details and metadata.")
    if before["schedule"] and set(p) & {"cancel_at_period_end", "cancel_at"}:
        raise refused(
            f"The subscription is managed by the subscription schedule `{before['schedule']}`, and updating any cancelation behavior "
            "directly is not allowed. Please update the schedule instead."
        )
    discounts.check(ctx, before, p.get("discounts") or [], before["currency"], before["customer"])
    if p.get("default_payment_method"):
        payment_methods.check_belongs(ctx, before["customer"], p["default_payment_method"], "default_payment_method")
    method = p.get("collection_method", before["collection_method"])
    if method == "send_invoice" and p.get("days_until_due", before["days_until_due"]) is None:
        raise refused(
            "You must specify `days_until_due` when `collection_method` is set to `send_invoice`.", "days_until_due", "parameter_missing"
        )
    if method == "charge_automatically" and "days_until_due" in p:
        raise refused("You can only set `days_until_due` if `collection_method` is set to `send_invoice`.", "days_until_due")


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
