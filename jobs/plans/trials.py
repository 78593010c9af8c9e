"""Longer trials: by which call, and what proves that it was done."""

from datetime import datetime

from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.objects import Status, Subscription
from jobs.plans import months, standing, verdicts
from jobs.plans.verdicts import AlreadyDone, Refused, Verdict
from jobs.plans.wish import Situation, Wish

# Stripe's limit, from the billing cycle's anchor on.
_MOST_MONTHS = 24


def plan(wish: Wish, situation: Situation, now: datetime) -> Verdict:
    """Let the trial run until the day in the intent, and take back a scheduled cancellation."""
    subscription, trial_end = situation.subscription, _trial_end(wish)
    if shows(wish, subscription):
        return AlreadyDone()
    refusal = (
        standing.ended(subscription, "its trial is over for good")
        or standing.renewed(wish, subscription)
        or _not_trialing(subscription, trial_end, now)
        or standing.paused(subscription)
        or standing.waiting_for_payment(subscription)
        or standing.led(situation)
        or (standing.nothing_to_pay("a longer trial") if standing.free_until(situation) == standing.FOREVER else None)
    )
    if refusal:
        return refusal
    before = standing.going_on(wish, situation)
    if isinstance(before, Refused):
        return before
    call = calls.extend_trial(subscription, trial_end=trial_end, action_id=wish.action_id, clear_cancellation=not before)
    return verdicts.Plan(calls=(*before, call))


def shows(wish: Wish, subscription: Subscription) -> bool:
    """Whether it is on trial until that day or longer, and goes on afterwards."""
    return (
        subscription.status is Status.TRIALING
        and subscription.trial_end is not None
        and subscription.trial_end >= _trial_end(wish)
        and not subscription.is_scheduled_to_cancel
    )


def _not_trialing(subscription: Subscription, trial_end: datetime, now: datetime) -> Refused | None:
    if subscription.status is not Status.TRIALING:
        return Refused(
            code="not_trialing",
            message="The subscription is not on trial. For one that is paid, use an extension: service for free over its next bill.",
        )
    if trial_end <= now:
        return Refused(code="trial_over", message=f"The trial was to run until {trial_end:%Y-%m-%d}, which is over.")
    if trial_end > months.later(subscription.trial_start or subscription.start_date, _MOST_MONTHS):
        return Refused(code="trial_too_long", message="Stripe lets a trial last for two years at most.")
    return None


def _trial_end(wish: Wish) -> datetime:
    found = wish.moment("trial_end")
    if found is None:
        raise ValueError(f"{wish.action_id} does not say when the trial ends")
    return found.replace(microsecond=0)
