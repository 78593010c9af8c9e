"""Cards: the payment method a subscription is charged to, where it has one of its own."""

from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.objects import Subscription
from jobs.plans import standing, verdicts
from jobs.plans.verdicts import AlreadyDone, Verdict
from jobs.plans.wish import Situation, Wish


def plan(wish: Wish, situation: Situation) -> Verdict:
    """Charge the subscription to the payment method in the intent."""
    subscription = situation.subscription
    if refusal := standing.ended(subscription, "it is charged to no card any more"):
        return refusal
    if shows(wish, subscription):
        return AlreadyDone()
    method = str(wish.intent["payment_method"])
    return verdicts.one(calls.set_default_payment_method(subscription, payment_method=method, action_id=wish.action_id))


def shows(wish: Wish, subscription: Subscription) -> bool:
    """Whether it is charged to that payment method."""
    return subscription.default_payment_method == wish.intent["payment_method"]
