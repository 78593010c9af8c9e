"""Previews of the next invoice: a change is made and time moved in a rehearsal, and what would be billed is told."""

from __future__ import annotations

from sandbox.stripe import (
    discounts,
    invoice_items,
    lifecycle,
    params,
    pauses,
    rehearsals,
    schedules,
    signups,
    subscription_items,
    subscription_terms,
    subscriptions,
)
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, StripeError, invalid, refused
from sandbox.stripe.worlds import clone, word

_Fields = dict[str, params.Shape | params.Required]

_ANCHOR = params.record(type=params.Required(params.one_of("now", "timestamp", "unchanged")), timestamp=params.integer)
_DETAILS = params.record(
    billing_cycle_anchor=_ANCHOR,
    cancel_at=subscription_terms.FIELDS["cancel_at"],
    cancel_at_period_end=params.boolean,
    cancel_now=params.boolean,
    items=subscription_items.UPDATE,
    metadata=params.metadata,
    pause=params.record(**pauses.PAUSE),
    proration_behavior=subscription_terms.PRORATION,
    proration_date=params.integer,
    resume_at=params.one_of("now"),
    trial_end=params.either("now", params.integer),
)
CREATE: _Fields = {
    "customer": params.text,
    "discounts": discounts.LIST,
    "preview_mode": params.one_of("next", "recurring"),
    "schedule": params.text,
    "schedule_details": params.record(
        end_behavior=params.one_of("cancel", "release"),
        phases=schedules.UPDATE["phases"],
        proration_behavior=subscription_terms.PRORATION,
    ),
    "subscription": params.text,
    "subscription_details": _DETAILS,
}
_FARTHEST = 10 * 366 * 86400


def create(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/invoices/create_preview`: nothing is kept. Raises 404 `invoice_upcoming_none` where nothing will be billed."""
    if "schedule" in p and "subscription_details" in p:
        raise refused("You may only specify one of these parameters: schedule, subscription_details.", "schedule")
    details = dict(p.get("subscription_details", {}))
    customer, id = _whose(ctx, p)
    tried = rehearsals.of(ctx, customer)
    if id is None:
        id = _begun(tried, customer, details, p)
    elif "schedule_details" in p and "schedule" in p:
        schedules.update(tried, p["schedule"], p["schedule_details"])
    elif details:
        _change(tried, id, details)
    draft = _next(tried, id, p)
    ctx.world.previewed = {each["id"]: each for each in tried.world.all("discount") if ctx.world.find("discount", each["id"]) is None}
    if draft is None:
        raise StripeError(404, f"No upcoming invoices for customer: {customer}", code="invoice_upcoming_none")
    return _shown(draft)


def _whose(ctx: Context, p: Obj) -> tuple[str, str | None]:
    """The customer, and the subscription whose next invoice is wanted; None for one that is yet to be made."""
    if "schedule" in p:
        schedule = ctx.world.get("subscription_schedule", p["schedule"], "schedule")
        if schedule["subscription"] is None:
            raise refused(f"The schedule {schedule['id']} is {schedule['status']} and has no upcoming invoice.", "schedule")
        return schedule["customer"], schedule["subscription"]
    if "subscription" in p:
        subscription = ctx.world.get("subscription", p["subscription"], "subscription")
        if p.get("customer", subscription["customer"]) != subscription["customer"]:
            raise refused(f"The subscription {subscription['id']} does not belong to customer {p['customer']}.", "subscription")
        return subscription["customer"], subscription["id"]
    if "customer" not in p:
        raise invalid("You must pass one of customer, subscription or schedule.", "customer", "parameter_missing")
    customer = ctx.world.get("customer", p["customer"], "customer")["id"]
    if p.get("subscription_details", {}).get("items"):
        return customer, None
    running = [each for each in ctx.world.all("subscription", customer=customer) if each["status"] not in subscriptions.ENDED]
    if not running:
        raise StripeError(404, f"No upcoming invoices for customer: {customer}", code="invoice_upcoming_none")
    return customer, min(running, key=subscriptions.period_end)["id"]


def _begun(tried: Context, customer: str, details: Obj, p: Obj) -> str:
    """A subscription that does not exist yet, begun in the rehearsal."""
    asked: Obj = {"customer": customer, "items": details["items"]}
    asked |= {key: details[key] for key in ("trial_end", "cancel_at", "cancel_at_period_end", "proration_behavior") if key in details}
    if "discounts" in p:
        asked["discounts"] = p["discounts"]
    return str(signups.create(tried, asked)["id"])


def _change(tried: Context, id: str, details: Obj) -> None:
    """The wanted change of a running subscription."""
    if details.pop("cancel_now", False):
        prorates = details.get("proration_behavior", "create_prorations") != "none"
        subscriptions.cancel(tried, id, {"invoice_now": True, "prorate": prorates})
        return
    if details.pop("resume_at", None):
        asked: Obj = {key: details[key] for key in ("billing_cycle_anchor", "proration_behavior", "proration_date") if key in details}
        pauses.resume(tried, id, asked)
        return
    if "pause" in details:
        pauses.pause(tried, id, details["pause"])
        return
    if details.get("billing_cycle_anchor", {}).get("type") == "timestamp":
        raise refused("For existing subscriptions the billing cycle anchor can only be `now` or `unchanged`.", "subscription_details")
    subscriptions.update(tried, id, details)


def _next(tried: Context, id: str, p: Obj) -> Obj | None:
    """The first invoice that is drafted from here on."""
    subscription = tried.world.get("subscription", id)
    if wanted := p.get("discounts"):
        after = clone(subscription)
        discounts.check(tried, after, wanted, after["currency"], after["customer"])
        discounts.overwrite(tried, after, wanted, after["customer"])
        subscription = subscriptions.commit(tried, subscription, after)
    elif "discounts" in p:
        subscription["discounts"] = []
    if p.get("preview_mode") == "recurring":
        rehearsals.drafted(tried).clear()
        for item in invoice_items.pending(tried, subscription):
            del tried.world.table("invoiceitem")[item["id"]]
    if owed := tried.world.find("invoice", subscription["latest_invoice"] or ""):
        owed["next_payment_attempt"] = None  # what is told does not depend on whether an older invoice is paid
    farthest = tried.now + _FARTHEST
    while not rehearsals.drafted(tried):
        subscription = tried.world.get("subscription", id)
        at = lifecycle.due_at(tried.world, subscription)
        if at is None or at > farthest:
            return None
        rehearsals.move_to(tried, at)
        lifecycle.settle(tried, subscription)
    return rehearsals.drafted(tried)[0]


def _shown(draft: Obj) -> Obj:
    """A draft as a preview looks: its own kind of id, and an hour until it would be finalized and paid."""
    shown: Obj = clone(draft)
    shown["id"] = "upcoming_in_1" + word(23)
    for line in shown["lines"]["data"]:
        line["invoice"] = shown["id"]
    shown["lines"]["url"] = f"/v1/invoices/{shown['id']}/lines"
    if shown["collection_method"] == "charge_automatically":
        shown["next_payment_attempt"] = shown["created"] + 3600
    shown["ending_balance"] = min(0, shown["total"] + shown["starting_balance"])
    return shown
