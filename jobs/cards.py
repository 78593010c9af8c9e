"""Cards: the payment method a subscription is charged to, where it has one of its own."""

from collections.abc import Mapping

from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.objects import Subscription
from jobs import verdicts
from jobs.verdicts import AlreadyDone, Verdict


def plan(subscription: Subscription, *, action_id: str, intent: Mapping[str, object]) -> Verdict:
    """Charge the subscription to the payment method in the intent."""
    if subscription.is_ended:
        return verdicts.ended("it is charged to no card any more")
    if shows(subscription, intent=intent):
        return AlreadyDone()
    return calls.set_default_payment_method(subscription, payment_method=str(intent["payment_method"]), action_id=action_id)


def shows(subscription: Subscription, *, intent: Mapping[str, object]) -> bool:
    """Whether it is charged to that payment method."""
    return subscription.default_payment_method == intent["payment_method"]
