"""Subscription schedules: phases that change a subscription by themselves, and guard it from direct cancels meanwhile."""

from __future__ import annotations

from typing import Any

from sandbox.stripe import events, listing, params, schedule_phases, subscription_terms, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, refused
from sandbox.stripe.worlds import World, clone, new_id

_Fields = dict[str, params.Shape | params.Required]

CREATE: _Fields = {"from_subscription": params.Required(params.text)}
UPDATE: _Fields = {
    "end_behavior": params.one_of("cancel", "release"),
    "metadata": params.metadata,
    "phases": schedule_phases.LIST,
    "proration_behavior": subscription_terms.PRORATION,
}
RELEASE: _Fields = {"preserve_cancel_date": params.boolean}
CANCEL: _Fields = {"invoice_now": params.boolean, "prorate": params.boolean}
LIST: _Fields = {
    **params.PAGE,
    "customer": params.text,
    "scheduled": params.boolean,
    "created": params.created,
    "canceled_at": params.created,
    "completed_at": params.created,
    "released_at": params.created,
}
_TIMES = ("created", "canceled_at", "completed_at", "released_at")


def create(ctx: Context, p: Obj) -> Obj:
    """`POST /v1/subscription_schedules` from a subscription: one phase, as it is, until its period or its cancellation ends."""
    subscription = ctx.world.get("subscription", p["from_subscription"], "from_subscription")
    if subscription["schedule"]:
        raise refused(
            f"You cannot migrate a subscription that is already attached to a schedule: `{subscription['schedule']}`.", "from_subscription"
        )
    if subscription["status"] in subscriptions.ENDED or subscription["status"] == "incomplete":
        raise refused(f"You cannot migrate a subscription that is {subscription['status']}.", "from_subscription")
    end = subscription["cancel_at"] or max(item["current_period_end"] for item in subscription["items"]["data"])
    phase = schedule_phases.current(subscription, end)
    schedule = ctx.world.put(_blank(ctx, subscription) | {"phases": [phase]})
    schedule["current_phase"] = {"start_date": phase["start_date"], "end_date": end}
    schedule["end_behavior"] = "cancel" if subscription["cancel_at"] else "release"
    events.tell(ctx, "created", schedule)
    subscriptions.commit(ctx, subscription, {**clone(subscription), "schedule": schedule["id"]})
    return schedule


def update(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/subscription_schedules/:id`: phases are given whole, from the current one on; a change of that takes effect at once."""
    schedule = _running(ctx, id, "update")
    after, before = clone(schedule), ctx.world.get("subscription", schedule["subscription"])
    if "phases" in p:
        after["phases"] = _kept(schedule, schedule_phases.read(ctx, schedule, p["phases"]))
    if "metadata" in p:
        after["metadata"] = params.merged(after["metadata"], p["metadata"])
    after["end_behavior"] = p.get("end_behavior", after["end_behavior"])
    changed = clone(before)
    if "phases" in p:
        phase = _phase_at(after, ctx.now)
        if phase is not None and phase != _phase_at(schedule, ctx.now):
            schedule_phases.enter(ctx, before, changed, phase, p.get("proration_behavior", "create_prorations"))
        if phase is not None:
            after["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    _set_end(after, changed)
    ctx.world.put(after)
    events.tell(ctx, "updated", after, schedule)
    if phase_over := after["current_phase"]["end_date"] <= ctx.now:
        move_on(ctx, before, changed)
    subscriptions.commit(ctx, before, changed)
    return ctx.world.get("subscription_schedule", id) if phase_over else after


def _kept(schedule: Obj, wanted: list[Obj]) -> list[Obj]:
    """The wanted phases after those that are over, which may be left out. Raises 400 where the current one's start is moved."""
    now = schedule["current_phase"]["start_date"]
    over = [phase for phase in schedule["phases"] if phase["end_date"] <= now]
    coming = [phase for phase in wanted if phase["end_date"] > now]
    if not coming or coming[0]["start_date"] != now:
        raise refused("You can not modify the start date of the current phase.", "phases[0][start_date]")
    return over + coming


def _phase_at(schedule: Obj, moment: int) -> Obj | None:
    return next((phase for phase in schedule["phases"] if phase["start_date"] <= moment < phase["end_date"]), None)


def _set_end(schedule: Obj, subscription: Obj) -> None:
    """A schedule that ends with a cancel sets the subscription's date in its last phase, and takes back the date it set."""
    is_last = schedule["current_phase"]["end_date"] == schedule["phases"][-1]["end_date"]
    if is_last and schedule["end_behavior"] == "cancel":
        if subscription["cancel_at"] is None:
            subscription["canceled_at"] = schedule["phases"][-1]["start_date"]
        subscription["cancel_at"] = schedule["phases"][-1]["end_date"]
        subscription["cancellation_details"]["reason"] = "cancellation_requested"
    elif subscription["cancel_at"] is not None:
        _forget_end(subscription)


def _forget_end(subscription: Obj) -> None:
    subscription |= {"cancel_at": None, "cancel_at_period_end": False, "canceled_at": None}
    subscription["cancellation_details"] = {"comment": None, "feedback": None, "reason": None}


def _running(ctx: Context, id: str, verb: str) -> Obj:
    schedule = ctx.world.get("subscription_schedule", id)
    if schedule["status"] not in ("active", "not_started"):
        raise refused(
            f"You cannot {verb} a subscription schedule that is currently in the `{schedule['status']}` status. "
            "Its status must be one of active, not_started."
        )
    return schedule


def release(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/subscription_schedules/:id/release`: the subscription goes on as it is, without its schedule and the phases to come."""
    schedule = _running(ctx, id, "release")
    before = ctx.world.get("subscription", schedule["subscription"])
    after = clone(before)
    if not p.get("preserve_cancel_date") and schedule["end_behavior"] == "cancel" and after["cancel_at"] is not None:
        _forget_end(after)
    _let_go(ctx, schedule, after)
    subscriptions.commit(ctx, before, after)
    return schedule


def _let_go(ctx: Context, schedule: Obj, subscription: Obj) -> None:
    before = clone(schedule)
    schedule |= {"status": "released", "released_at": ctx.now, "released_subscription": subscription["id"]}
    schedule |= {"subscription": None, "current_phase": None}
    subscription["schedule"] = None
    events.tell(ctx, "updated", schedule, before)
    events.tell(ctx, "released", schedule)


def cancel(ctx: Context, id: str, p: Obj) -> Obj:
    """`POST /v1/subscription_schedules/:id/cancel`: the subscription ends now with its schedule."""
    schedule = _running(ctx, id, "cancel")
    asked = {"invoice_now": p.get("invoice_now", True), "prorate": p.get("prorate", True)}
    subscriptions.cancel(ctx, schedule["subscription"], asked)
    return schedule


def end(ctx: Context, id: str) -> None:
    """The subscription ended: its schedule is complete if that was its plan, else canceled with it."""
    schedule = ctx.world.get("subscription_schedule", id)
    is_planned = schedule["end_behavior"] == "cancel" and schedule["phases"][-1]["end_date"] <= ctx.now
    verb, field = ("completed", "completed_at") if is_planned else ("canceled", "canceled_at")
    schedule |= {"status": verb, field: ctx.now, "current_phase": None}
    events.tell(ctx, verb, schedule)


def due_at(world: World, subscription: Obj) -> int | None:
    """When the schedule's phase is over."""
    if not subscription["schedule"]:
        return None
    phase = world.get("subscription_schedule", subscription["schedule"])["current_phase"]
    return int(phase["end_date"]) if phase else None


def move_on(ctx: Context, before: Obj, after: Obj) -> bool:
    """At the end of a phase enter the next; after the last let the subscription go; no if it ended instead."""
    at = due_at(ctx.world, after)
    if at is None or at > ctx.now:
        return True
    schedule = ctx.world.get("subscription_schedule", after["schedule"])
    coming = _phase_at(schedule, ctx.now)
    if coming is None and schedule["end_behavior"] == "cancel":
        subscriptions.end(ctx, before, after, "cancellation_requested")
        return False
    if coming is None:
        _let_go(ctx, schedule, after)
        return True
    told = clone(schedule)
    schedule["current_phase"] = {"start_date": coming["start_date"], "end_date": coming["end_date"]}
    schedule_phases.enter(ctx, before, after, coming, coming["proration_behavior"])
    _set_end(schedule, after)
    events.tell(ctx, "updated", schedule, told)
    return True


def find_all(ctx: Context, p: Obj) -> Obj:
    """`GET /v1/subscription_schedules`."""
    having = {"customer": p["customer"]} if "customer" in p else {}

    def fits(schedule: Obj) -> bool:
        is_scheduled = schedule["status"] == "not_started"
        return ("scheduled" not in p or p["scheduled"] == is_scheduled) and all(
            key not in p or listing.within(schedule[key], p[key]) for key in _TIMES
        )

    return listing.page("/v1/subscription_schedules", filter(fits, ctx.world.all("subscription_schedule", **having)), p)


def _blank(ctx: Context, subscription: Obj) -> dict[str, Any]:
    return {
        "id": new_id("subscription_schedule"),
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": clone(subscription["billing_mode"]),
        "canceled_at": None,
        "completed_at": None,
        "created": ctx.now,
        "current_phase": None,
        "customer": subscription["customer"],
        "customer_account": None,
        "default_settings": {
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": subscription["collection_method"],
            "default_payment_method": None,
            "description": None,
            "invoice_settings": {
                "account_tax_ids": None,
                "custom_fields": None,
                "days_until_due": None,
                "description": None,
                "footer": None,
                "issuer": {"type": "self"},
            },
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": "release",
        "livemode": ctx.livemode,
        "metadata": {},
        "pause_schedules": [],
        "phases": [],
        "released_at": None,
        "released_subscription": None,
        "status": "active",
        "subscription": subscription["id"],
        "test_clock": None,
    }
