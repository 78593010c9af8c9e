"""Cancels and taking them back, on a subscription's shape: by which calls, and what proves that it was done."""

from collections.abc import Sequence

from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.calls import Call
from connect_app.stripe_gateway.objects import Invoice, Status, Subscription
from jobs.plans import standing, verdicts
from jobs.plans.verdicts import AlreadyDone, Plan, Verdict
from jobs.plans.wish import Situation, Wish

_ENDINGS = frozenset(("subscriptions.cancel", "subscription_schedules.cancel"))


def plan(wish: Wish, situation: Situation) -> Verdict:
    """End the subscription, with the period that is paid or now, saying why to Stripe. One that ends by then anyway counts as done."""
    subscription = situation.subscription
    voided = _voided(wish, situation)
    if shows(wish, subscription):
        return Plan(calls=voided) if voided else AlreadyDone()
    if refusal := standing.renewed(wish, subscription):
        return refusal
    if is_now(wish, subscription):
        return _now(wish, situation)
    feedback, comment = _said(wish)
    ending = calls.cancel_at_period_end(subscription, feedback=feedback, comment=comment, action_id=wish.action_id)
    schedule = situation.schedule
    if subscription.schedule is None:
        return Plan(calls=(*voided, ending))
    if schedule is None:
        return standing.led(situation) or Plan(calls=(*voided, ending))
    # Stripe refuses to end a subscription that a schedule leads.
    lost = [f"{phase.starts_at:%Y-%m-%d}" for phase in schedule.coming]
    loses = f"The schedule {schedule.id} is released; its changes of {', '.join(lost)} are given up." if lost else ""
    return Plan(calls=(*voided, calls.schedules.release(schedule), ending), loses=loses)


def is_now(wish: Wish, subscription: Subscription) -> bool:
    """Whether it ends at once: as the owner wants it, and where it has not begun there is no period to wait for."""
    return wish.text("when") == "now" or subscription.status is Status.INCOMPLETE


def shows(wish: Wish, subscription: Subscription) -> bool:
    """Whether it has ended, or will with its current period if that is when it should."""
    if subscription.is_ended:
        return True
    if is_now(wish, subscription):
        return False
    if subscription.cancel_at_period_end:
        return True
    return subscription.cancel_at is not None and subscription.cancel_at <= subscription.current_period_end


def plan_undo(wish: Wish, situation: Situation) -> Verdict:
    """Take back a scheduled cancellation; an ended subscription stays ended."""
    subscription = situation.subscription
    if refusal := standing.ended(subscription, "its cancellation can no longer be taken back"):
        return refusal
    if not subscription.is_scheduled_to_cancel:
        return AlreadyDone()
    going_on = standing.going_on(wish, situation)
    if isinstance(going_on, verdicts.Refused):
        return going_on
    return Plan(calls=going_on) if going_on else verdicts.one(calls.undo_cancel(subscription, action_id=wish.action_id))


def shows_undo(subscription: Subscription) -> bool:
    """Whether it goes on, with no end in sight."""
    return not subscription.is_ended and not subscription.is_scheduled_to_cancel


def _now(wish: Wish, situation: Situation) -> Plan:
    subscription = situation.subscription
    voided = _voided(wish, situation)
    # What is voided was never paid: to credit its unused time would be a gift.
    bills = {"invoice_now": wish.flag("invoice_now"), "prorate": wish.flag("prorate") and not voided}
    schedule = situation.schedule
    ending = calls.schedules.cancel_now(schedule, **bills) if schedule and schedule.is_attached else calls.cancel_now(subscription, **bills)
    feedback, comment = _said(wish)
    telling = calls.describe_cancellation(subscription, feedback=feedback, comment=comment, action_id=wish.action_id)
    # Stripe stops asking for every open bill of the customer, whatever it is for; what never began is owed by nobody.
    gone = {call.target for call in voided} | ({each.id for each in _own(situation)} if subscription.status is Status.INCOMPLETE else set())
    kept = [invoice for invoice in situation.open_invoices if invoice.auto_advance and invoice.id not in gone]
    return Plan(calls=(*voided, ending, *(calls.invoices.keep_collecting(invoice.id) for invoice in kept), telling))


def proves(wish: Wish, situation: Situation, sent: Sequence[Call], *, is_marked: bool) -> bool:
    """Whether all of it was done: it ends, what was to be void is, and what follows the end of one that ended was said."""
    is_told = is_marked or not (sent and _is_telling(sent[-1]))
    return shows(wish, situation.subscription) and not _still_open(situation, sent) and is_told


def rest(situation: Situation, sent: Sequence[Call]) -> tuple[Call, ...]:
    """What is left to do of these calls where the subscription has ended and not all that follows its end was done."""
    if not (situation.subscription.is_ended and sent and _is_telling(sent[-1])):
        return ()
    ended_at = next((place for place, call in enumerate(sent) if call.method in _ENDINGS), -1)
    return (*_still_open(situation, sent), *(call for call in sent[ended_at + 1 :] if call.method != "invoices.void"))


def _is_telling(call: Call) -> bool:
    return call.method == "subscriptions.update" and "cancel_at_period_end" not in call.params


def _still_open(situation: Situation, sent: Sequence[Call]) -> tuple[Call, ...]:
    there = {invoice.id for invoice in situation.open_invoices}
    return tuple(call for call in sent if call.method == "invoices.void" and call.target in there)


def _own(situation: Situation) -> list[Invoice]:
    return [invoice for invoice in situation.open_invoices if invoice.subscription == situation.subscription.id]


def _voided(wish: Wish, situation: Situation) -> tuple[Call, ...]:
    if wish.text("open_invoices") != "void":
        return ()
    return tuple(calls.invoices.void(invoice.id) for invoice in _own(situation))


def _said(wish: Wish) -> tuple[str | None, str | None]:
    """Why, in Stripe's word where it has one, and in the customer's own."""
    feedback = wish.text("feedback")
    return feedback if feedback in calls.FEEDBACK else None, wish.text("comment") or None
