"""Canceling one of several items, and taking that back: by which calls, and what proves that it was done."""

from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.objects import Item, Schedule, Subscription
from jobs.plans import standing, verdicts
from jobs.plans.verdicts import AlreadyDone, Plan, Refused, Verdict
from jobs.plans.wish import Situation, Wish

_BY_HAND = "Change its items in Stripe's dashboard, then press Mark done."


def is_about_one(wish: Wish) -> bool:
    """Whether the wish names an item: a cancel of one, or what takes that back."""
    return wish.text("item") is not None


def plan(wish: Wish, situation: Situation) -> Verdict:
    """Leave this item out, with the period that is paid or now; everything else goes on. What ends whole by then has it done."""
    subscription = situation.subscription
    if shows(wish, situation):
        return AlreadyDone()
    if subscription.has_more_items:
        return Refused(code="items_unread", message="The subscription has more items than Holdfast reads.", remedy=_BY_HAND)
    item = _item(wish, subscription)
    refusal = (
        standing.renewed(wish, subscription)
        or standing.unpaid(subscription, past_due_too=False)
        or standing.paused(subscription)
        or standing.waiting_for_payment(subscription)
        or standing.led(situation)
        or _ending(subscription)
        or _theirs(situation)
        or _unfit(subscription, item)
    )
    if refusal or item is None:
        return refusal or AlreadyDone()
    try:
        return _now(wish, situation, item) if wish.text("when") == "now" else _next_period(wish, situation, item)
    except calls.CannotPlan as problem:
        return Refused(code="items_unreadable", message=f"What the subscription has besides could not be kept: {problem}.")


def shows(wish: Wish, situation: Situation) -> bool:
    """Whether the item is gone, or will be with the period if that is when it should; with the whole subscription counts, too."""
    subscription = situation.subscription
    item = _item(wish, subscription)
    if subscription.is_ended or (item is None and not subscription.has_more_items):
        return True
    if item is None or wish.text("when") == "now":
        return False
    if subscription.ends_at is not None and subscription.ends_at <= subscription.current_period_end:
        return True
    coming, rest = _coming(situation.schedule), {each.price.id for each in subscription.items if each.id != item.id}
    # A phase that sells it at another price does not end it.
    return bool(coming) and coming[0] <= rest


def plan_undo(wish: Wish, situation: Situation) -> Verdict:
    """Let go of the schedule that would leave the item out."""
    subscription, schedule = situation.subscription, situation.schedule
    if refusal := standing.ended(subscription, "what was canceled of it can no longer be taken back"):
        return refusal
    if not (item := _item(wish, subscription)):
        return Refused(code="item_ended", message="The item has already ended: that can no longer be taken back.", is_final=True)
    if shows_undo(wish, situation):
        return AlreadyDone()
    if subscription.is_scheduled_to_cancel and all(item.price.id in prices for prices in _coming(schedule)):
        return Refused(code="canceling", message="The whole subscription was canceled since, and ends with this item.", is_final=True)
    # Only as it was made for this: what was put into it since, a discount for instance, must not go with it.
    if schedule is None or len(schedule.coming) > 1 or schedule.metadata.get(calls.MARKER) != wish.text("by"):
        return standing.led(situation) or AlreadyDone()
    return verdicts.one(calls.schedules.release(schedule))


def shows_undo(wish: Wish, situation: Situation) -> bool:
    """Whether the item is there, and no phase that is known to come leaves it out."""
    subscription, schedule, item = situation.subscription, situation.schedule, _item(wish, situation.subscription)
    if subscription.is_ended or subscription.is_scheduled_to_cancel or item is None:
        return False
    if subscription.schedule is not None and schedule is None:
        return False  # nobody has looked
    return all(item.price.id in prices for prices in _coming(schedule))


def _item(wish: Wish, subscription: Subscription) -> Item | None:
    return next((each for each in subscription.items if each.id == wish.text("item")), None)


def _coming(schedule: Schedule | None) -> list[frozenset[str]]:
    """The prices of each phase that is to come."""
    if schedule is None or not schedule.is_attached:
        return []
    return [frozenset(price for price, _ in phase.prices) for phase in schedule.coming]


def _ending(subscription: Subscription) -> Refused | None:
    """One that is to end whole, later: what leads it there would be lost."""
    if not subscription.is_scheduled_to_cancel:
        return None
    return Refused(code="canceling", message="The whole subscription is set to end already.", remedy=_BY_HAND)


def _theirs(situation: Situation) -> Refused | None:
    """One whose schedule somebody else has made, with a phase that lasts beyond this period: it would be cut short."""
    subscription, schedule = situation.subscription, situation.schedule
    if schedule is None or not schedule.is_attached or schedule.current is None or calls.MARKER in schedule.metadata:
        return None
    if schedule.current.ends_at <= subscription.current_period_end:
        return None
    return Refused(code="managed_by_schedule", message=f"The subscription schedule {schedule.id} leads this subscription.", remedy=_BY_HAND)


def _unfit(subscription: Subscription, item: Item | None) -> Refused | None:
    if item is not None and item.price.usage_type == "metered":
        return Refused(code="item_metered", message=f"{item.price.id} is billed by usage, which may not be billed yet.", remedy=_BY_HAND)
    if len(subscription.items) == 1:
        return Refused(code="last_item", message="The subscription has no other item any more: without this one, it is to be canceled.")
    return None


def _now(wish: Wish, situation: Situation, item: Item) -> Verdict:
    subscription, schedule = situation.subscription, situation.schedule
    # A schedule in its last phase would refuse to miss what it names: it has nothing left to do.
    released = (calls.schedules.release(schedule),) if schedule is not None and schedule.is_attached else ()
    credited = "always_invoice" if wish.flag("invoice_now") else "create_prorations"
    proration = credited if wish.flag("prorate") else "none"
    return Plan(calls=(*released, calls.remove_item(subscription, item, proration=proration, action_id=wish.action_id)))


def _next_period(wish: Wish, situation: Situation, item: Item) -> Verdict:
    subscription, schedule = situation.subscription, situation.schedule
    if len({(each.price.interval, each.price.interval_count) for each in subscription.items}) > 1:
        return Refused(code="mixed_intervals", message="The items renew on different days, and no one day ends this item.", remedy=_BY_HAND)
    if refusal := standing.archived(subscription.items, f"Let it end now instead. {_BY_HAND}"):
        return refusal
    attached = schedule if schedule is not None and schedule.is_attached else None
    began = attached.current.starts_at if attached and attached.current else None
    change = calls.schedules.drop_item_next(
        subscription, item, schedule=attached.id if attached else "$0", began=began, action_id=wish.action_id
    )
    return Plan(calls=(change,) if attached else (calls.schedules.take_charge(subscription), change))
