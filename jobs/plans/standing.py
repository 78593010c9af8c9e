"""The standing of a subscription: which of its states keep an offer from it, and what its schedule has still in store."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.calls import Call
from connect_app.stripe_gateway.objects import Discount, Item, Status, Subscription
from jobs.plans.verdicts import Refused
from jobs.plans.wish import Situation, Wish

FOREVER = datetime.max.replace(tzinfo=UTC)
# Per cent of a bill.
_WHOLE = 100
_DRIVES = "Change or release the schedule in Stripe's dashboard, then press Retry, or do it there and press Mark done."


def ended(subscription: Subscription, what: str) -> Refused | None:
    """An ended one takes nothing any more; `what` says why the wish would not help."""
    if not subscription.is_ended:
        return None
    message = f"The subscription has already ended: {what}. Nothing was changed."
    return Refused(code="subscription_ended", message=message, is_final=True)


def unpaid(subscription: Subscription, *, past_due_too: bool) -> Refused | None:
    """One whose first or last bill is not paid: what is promised for the next bill would hide the one that is open."""
    if subscription.status is Status.INCOMPLETE:
        return Refused(code="incomplete", message="The subscription has not begun: its first payment is still open.")
    if subscription.status is Status.UNPAID:
        return Refused(code="unpaid", message="The subscription is unpaid: Stripe collects nothing for it.")
    if past_due_too and subscription.status is Status.PAST_DUE:
        return Refused(code="past_due", message="The subscription is past due: its open invoice must be paid first.")
    return None


def paused(subscription: Subscription) -> Refused | None:
    """One that is paused already, by Stripe's status or by a stop of its collection."""
    if subscription.status is Status.PAUSED:
        return Refused(code="paused_by_stripe", message="Stripe itself has paused the subscription: resume it first.")
    if subscription.pause is None:
        return None
    until = subscription.pause.resumes_at
    return Refused(
        code="paused_already",
        message="The subscription is paused already" + (f" until {until:%Y-%m-%d}." if until else ", without an end."),
    )


def waiting_for_payment(subscription: Subscription) -> Refused | None:
    """One with a change that takes hold once it has been paid: another on top of it would put it aside."""
    if not subscription.has_pending_update:
        return None
    return Refused(
        code="pending_update",
        message="An earlier change of the subscription waits for its payment.",
        remedy="Press Retry once that is settled.",
    )


def led(situation: Situation) -> Refused | None:
    """One whose schedule has phases in store, or where nobody has looked: what is changed now, the next phase would undo."""
    subscription, schedule = situation.subscription, situation.schedule
    if subscription.schedule is None:
        return None
    if schedule is None:
        return Refused(
            code="managed_by_schedule",
            message=f"The subscription schedule {subscription.schedule} manages this subscription.",
            remedy=_DRIVES,
        )
    if schedule.is_attached and schedule.coming:
        when = schedule.coming[0].starts_at
        return Refused(
            code="schedule_has_phases",
            message=f"The subscription schedule {schedule.id} changes this subscription on {when:%Y-%m-%d}, and would undo it.",
            remedy=_DRIVES,
        )
    return None


def archived(items: Iterable[Item], instead: str) -> Refused | None:
    """What has a price that no schedule can go on with; `instead` says what to do."""
    for each in items:
        if not each.price.active:
            what = f"The customer's present price {each.price.id} is archived, and Stripe takes no archived price into a schedule."
            return Refused(code="present_price_archived", message=what, remedy=instead)
    return None


def free_until(situation: Situation) -> datetime | None:
    """Before when all its bills are surely over nothing: it costs nothing, or one of its discounts takes all of it; None where one may not
    be, and where that cannot be said (usage, tiers, phases to come).
    """
    subscription = situation.subscription
    is_led = subscription.schedule is not None and (situation.schedule is None or bool(situation.schedule.coming))
    if is_led or subscription.has_more_items or any(item.price.usage_type == "metered" for item in subscription.items):
        return None
    own = (customers,) if not subscription.discounts and (customers := situation.customers_discount) else subscription.discounts
    until = [_item_free_until(item, own, bill(subscription)) for item in subscription.items]
    return min((day for day in until if day is not None), default=None) if None not in until else None


def nothing_to_pay(what: str) -> Refused:
    """Why a `what` would change nothing on a bill over nothing."""
    return Refused(
        code="nothing_to_pay",
        message=f"The bills that it is for are over nothing already: {what} would change nothing. Offer another plan, or a link.",
    )


def _item_free_until(item: Item, shared: Iterable[Discount], next_bill: datetime) -> datetime | None:
    """`shared` are for the whole subscription."""
    amount = item.price.amount(1 if item.quantity is None else item.quantity)
    if amount is not None and amount.amount == 0:
        return FOREVER
    return max((_all_off_until(one, next_bill) for one in (*item.discounts, *shared) if _takes_all(one, item)), default=None)


def _takes_all(discount: Discount, item: Item) -> bool:
    terms = discount.terms
    return terms is not None and terms.percent_off == _WHOLE and (terms.products is None or item.price.product in terms.products)


def _all_off_until(discount: Discount, next_bill: datetime) -> datetime:
    duration = discount.terms.duration if discount.terms else "once"
    if duration == "once":
        return next_bill + timedelta(seconds=1)
    return discount.ends_at or FOREVER


def going_on(wish: Wish, situation: Situation) -> tuple[Call, ...] | Refused:
    """The calls that keep a schedule from ending the subscription: none where it would not, a refusal where nobody has looked."""
    subscription, schedule = situation.subscription, situation.schedule
    if not subscription.is_scheduled_to_cancel or subscription.schedule is None:
        return ()
    if schedule is None:
        return led(situation) or ()
    return (calls.schedules.go_on(schedule, action_id=wish.action_id),)


def renewed(wish: Wish, subscription: Subscription) -> Refused | None:
    """One that was charged anew between the customer's choice and now: what they were promised for that day cannot be kept by a call."""
    promised = wish.moment("renews_at")
    if promised is None or subscription.current_period_start < promised:
        return None
    invoice = f" Its invoice is {subscription.latest_invoice}." if subscription.latest_invoice else ""
    return Refused(
        code="renewed_meanwhile",
        message=f"The subscription renewed on {subscription.current_period_start:%Y-%m-%d %H:%M} UTC, before this could be done.{invoice}",
        remedy="Decide whether the customer is owed it back, then press Mark done, or do what they asked for by hand.",
    )


def bill(subscription: Subscription) -> datetime:
    """When the next bill comes, if a scheduled cancellation is taken back."""
    return subscription.next_charge or subscription.current_period_end
