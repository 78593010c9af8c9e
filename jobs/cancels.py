"""Cancels and taking them back, on a subscription's shape: by which call, and what proves that it was done."""

from collections.abc import Mapping

from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.objects import Subscription
from jobs import verdicts
from jobs.verdicts import AlreadyDone, Verdict


def plan(subscription: Subscription, *, action_id: str, intent: Mapping[str, object]) -> Verdict:
    """End the subscription with the period that is paid, saying why to Stripe. One that ends by then anyway counts as done."""
    if shows(subscription):
        return AlreadyDone()
    if subscription.schedule:
        return verdicts.managed_by_schedule(subscription.schedule)
    feedback, comment = intent.get("feedback"), intent.get("comment")
    return calls.cancel_at_period_end(
        subscription,
        feedback=str(feedback) if feedback in calls.FEEDBACK else None,
        comment=str(comment) if comment else None,
        action_id=action_id,
    )


def shows(subscription: Subscription) -> bool:
    """Whether it has ended, or will with its current period."""
    if subscription.is_ended or subscription.cancel_at_period_end:
        return True
    return subscription.cancel_at is not None and subscription.cancel_at <= subscription.current_period_end


def plan_undo(subscription: Subscription, *, action_id: str) -> Verdict:
    """Take back a scheduled cancellation; an ended subscription stays ended."""
    if subscription.is_ended:
        return verdicts.ended("its cancellation can no longer be taken back")
    if not subscription.is_scheduled_to_cancel:
        return AlreadyDone()
    if subscription.schedule:
        return verdicts.managed_by_schedule(subscription.schedule)
    return calls.undo_cancel(subscription, action_id=action_id)


def shows_undo(subscription: Subscription) -> bool:
    """Whether it goes on, with no end in sight."""
    return not subscription.is_ended and not subscription.is_scheduled_to_cancel
