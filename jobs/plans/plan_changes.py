"""Plan changes: another price for what the customer has, now or from the next period on; by which calls, and what proves it."""

from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.objects import Item, Price, Subscription
from jobs.plans import standing
from jobs.plans.verdicts import AlreadyDone, Plan, Refused, Verdict
from jobs.plans.wish import Situation, Wish

PRORATIONS = frozenset(("none", "create_prorations", "always_invoice"))


def plan(wish: Wish, situation: Situation) -> Verdict:
    """Sell the one thing it is for at the price in the intent, as many as before, and take back a scheduled cancellation."""
    subscription = situation.subscription
    if shows(wish, situation):
        return AlreadyDone()
    refusal = (
        standing.ended(subscription, "another plan would not bring it back")
        or standing.renewed(wish, subscription)
        or standing.unpaid(subscription, past_due_too=True)
        or standing.paused(subscription)
        or standing.waiting_for_payment(subscription)
        or standing.led(situation)
    )
    if refusal:
        return refusal
    item, price = changed(subscription), situation.price
    if isinstance(item, Refused):
        return item
    if price is None:
        return Refused(code="price_gone", message=f"Your Stripe account has no price {wish.text('price')}.")
    if refusal := _unfit(subscription, price):
        return refusal
    try:
        return _next_period(wish, situation, item, price) if wish.text("when") == "period_end" else _now(wish, situation, item, price)
    except calls.CannotPlan as problem:
        return Refused(code="plan_unreadable", message=f"What the subscription has could not be kept: {problem}.")


def changed(subscription: Subscription) -> Item | Refused:
    """The item that another price would replace: the only one that is not metered."""
    licensed = [item for item in subscription.items if item.price.usage_type != "metered"]
    if not licensed:
        return Refused(code="metered", message="The subscription is billed by usage alone: there is no plan to change.")
    if len(licensed) > 1 or subscription.has_more_items:
        return Refused(code="several_items", message="The subscription has several plans, and the offer does not say which one to change.")
    return licensed[0]


def shows(wish: Wish, situation: Situation) -> bool:
    """Whether it is sold at that price, or will be with the schedule's next phase, and goes on."""
    subscription, price = situation.subscription, wish.text("price")
    if subscription.is_ended or subscription.is_scheduled_to_cancel:
        return False
    if any(item.price.id == price for item in subscription.items):
        return True
    coming = situation.schedule.coming if situation.schedule and situation.schedule.is_attached else ()
    return wish.text("when") == "period_end" and bool(coming) and price in {each for each, _ in coming[0].prices}


def _now(wish: Wish, situation: Situation, item: Item, price: Price) -> Verdict:
    subscription, schedule = situation.subscription, situation.schedule
    # A schedule in its last phase would refuse another price beside its own: it has nothing left to do.
    released = (calls.schedules.release(schedule),) if schedule is not None and schedule.is_attached else ()
    proration = wish.text("proration")
    call = calls.change_price(
        subscription,
        item,
        price=price.id,
        proration=proration if proration in PRORATIONS else "none",
        action_id=wish.action_id,
        clear_cancellation=not released,
    )
    return Plan(calls=(*released, call))


def _next_period(wish: Wish, situation: Situation, item: Item, price: Price) -> Verdict:
    subscription, schedule = situation.subscription, situation.schedule
    if refusal := standing.archived(subscription.items, "Offer the change from now on instead of from the next period."):
        return refusal
    if schedule is not None and schedule.is_attached:
        began = schedule.current.starts_at if schedule.current else None
        change = calls.schedules.change_price_next(subscription, item, price, schedule=schedule.id, began=began, action_id=wish.action_id)
        return Plan(calls=(change,))
    clearing = (calls.undo_cancel(subscription, action_id=wish.action_id),) if subscription.is_scheduled_to_cancel else ()
    made = f"${len(clearing)}"
    change = calls.schedules.change_price_next(subscription, item, price, schedule=made, began=None, action_id=wish.action_id)
    return Plan(calls=(*clearing, calls.schedules.take_charge(subscription), change))


def _unfit(subscription: Subscription, price: Price) -> Refused | None:
    if not price.active:
        return Refused(code="price_archived", message=f"The price {price.id} is archived in Stripe: nobody can be moved to it.")
    if price.interval is None:
        return Refused(code="price_not_recurring", message=f"The price {price.id} is paid once, and is no plan.")
    if price.usage_type == "metered":
        return Refused(code="price_metered", message=f"The price {price.id} is billed by usage: a number of seats cannot be moved to it.")
    if price.currency != subscription.currency:
        theirs, ours = subscription.currency.upper(), price.currency.upper()
        return Refused(code="price_currency", message=f"The price {price.id} is in {ours}, and the subscription is in {theirs}.")
    return None
