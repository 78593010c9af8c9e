"""Pauses and extensions, and taking them back: whether a bill falls into them, by which call, and what proves that it was done."""

from datetime import datetime

from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.objects import Status, Subscription
from jobs.plans import months, standing, verdicts
from jobs.plans.verdicts import AlreadyDone, Refused, Verdict
from jobs.plans.wish import Situation, Wish

# A pause: no service, and nothing to pay. An extension: service for free, the bills stay on the books as never to be collected.
BEHAVIORS = {"pause": "void", "extension": "mark_uncollectible"}


def plan(wish: Wish, situation: Situation, now: datetime) -> Verdict:
    """Stop collecting until the day in the intent, and take back a scheduled cancellation."""
    subscription, resumes_at = situation.subscription, _resumes_at(wish)
    if shows(wish, subscription):
        return AlreadyDone()
    refusal = (
        standing.ended(subscription, "there is nothing left to pause")
        or standing.renewed(wish, subscription)
        or standing.unpaid(subscription, past_due_too=False)
        or standing.paused(subscription)
        or _on_trial(subscription)
        or _without_effect(subscription, resumes_at, now)
        or _of_nothing(situation, resumes_at, now)
    )
    if refusal:
        return refusal
    before = standing.going_on(wish, situation)
    if isinstance(before, Refused):
        return before
    call = calls.pause(
        subscription,
        behavior=BEHAVIORS[wish.verb],
        resumes_at=resumes_at,
        action_id=wish.action_id,
        clear_cancellation=not before,
    )
    return verdicts.Plan(calls=(*before, call))


def shows(wish: Wish, subscription: Subscription) -> bool:
    """Whether collection is stopped in this way until that day, on a subscription that goes on."""
    found = subscription.pause
    return (
        found is not None
        and found.behavior == BEHAVIORS[wish.verb]
        and found.resumes_at == _resumes_at(wish)
        and not subscription.is_ended
        and not subscription.is_scheduled_to_cancel
    )


def affected(subscription: Subscription, resumes_at: datetime, now: datetime) -> list[datetime]:
    """The days of the bills that such a pause would stop."""
    first = standing.bill(subscription)
    return months.bills(subscription, first, resumes_at) if first >= now else []


def plan_resume(wish: Wish, situation: Situation) -> Verdict:
    """End whichever of Stripe's two pauses there is."""
    subscription = situation.subscription
    if refusal := standing.ended(subscription, "there is nothing to resume"):
        return refusal
    if shows_resumed(subscription):
        return AlreadyDone()
    if subscription.pause is not None:
        return verdicts.one(calls.collect_again(subscription, action_id=wish.action_id))
    if subscription.collection_method != "charge_automatically":
        return Refused(
            code="resume_by_hand", message="Stripe resumes a subscription that is paid by invoice only from its dashboard. Resume it there."
        )
    return verdicts.one(calls.resume(subscription))


def shows_resumed(subscription: Subscription) -> bool:
    """Whether it runs, and is collected."""
    return not subscription.is_paused and not subscription.is_ended


def _without_effect(subscription: Subscription, resumes_at: datetime, now: datetime) -> Refused | None:
    if resumes_at <= now:
        return Refused(code="pause_over", message=f"The pause was to end on {resumes_at:%Y-%m-%d}, which is over.")
    if affected(subscription, resumes_at, now):
        return None
    bill = standing.bill(subscription)
    return Refused(
        code="pause_without_effect",
        message=f"It would end on {resumes_at:%Y-%m-%d}, before the next bill on {bill:%Y-%m-%d}: nothing would change."
        " Use one that lasts beyond that day, or a discount on that bill.",
    )


def _on_trial(subscription: Subscription) -> Refused | None:
    """Nothing is charged before the trial is over, and what comes then is said by a longer trial alone."""
    if subscription.status is not Status.TRIALING:
        return None
    return Refused(code="on_trial", message="The subscription is on trial: nothing is charged before it ends. Use a longer trial instead.")


def _of_nothing(situation: Situation, resumes_at: datetime, now: datetime) -> Refused | None:
    until = standing.free_until(situation)
    if until is None or any(day >= until for day in affected(situation.subscription, resumes_at, now)):
        return None
    return standing.nothing_to_pay("a pause or free time")


def _resumes_at(wish: Wish) -> datetime:
    found = wish.moment("resumes_at")
    if found is None:
        raise ValueError(f"{wish.action_id} does not say when collection resumes")
    return found.replace(microsecond=0)
