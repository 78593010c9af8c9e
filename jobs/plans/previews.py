"""Previews: how Stripe is asked what a subscription's next bill would be if a wish came true. Pure."""

from connect_app.models.base import Json
from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.objects import Item, Price, Subscription
from jobs.plans import plan_changes
from jobs.plans.verdicts import Plan
from jobs.plans.wish import Situation, Wish

# What a call on the subscription itself changes, by the names that `invoices.create_preview` has for it, too.
_DETAILS = ("items", "proration_behavior", "trial_end", "cancel_at_period_end", "cancel_at")
_TOLD = ("discount", "trial_extension", "plan_change")


def asking(wish: Wish, situation: Situation, planned: Plan) -> Json | None:
    """The parameters of `invoices.create_preview` for the very change that is planned; None where Stripe could not tell, or need not.

    It cannot for a coupon that is yet to be made, for what a schedule will do, and for another interval from the next period on. A pause
    or an extension has no bill to ask for.
    """
    subscription = situation.subscription
    if wish.verb not in _TOLD or subscription.schedule is not None:
        return None
    if wish.verb == "plan_change" and wish.text("when") == "period_end":
        return _next_period(subscription, situation.price)
    if len(planned.calls) != 1 or planned.calls[0].method != "subscriptions.update":
        return None
    params = planned.calls[0].params
    asked: Json = {"subscription": subscription.id}
    if "discounts" in params:
        asked["discounts"] = params["discounts"]
    if details := {name: params[name] for name in _DETAILS if name in params}:
        asked["subscription_details"] = details
    return asked


def _next_period(subscription: Subscription, price: Price | None) -> Json | None:
    """The first bill of the next period, which Stripe tells of a change now without prorations: the same one, if it comes as often."""
    item = plan_changes.changed(subscription)
    if price is None or not isinstance(item, Item) or rhythm(item.price) != rhythm(price):
        return None
    call = calls.change_price(subscription, item, price=price.id, proration="none", action_id="", clear_cancellation=True)
    details = {name: call.params[name] for name in _DETAILS if name in call.params}
    return {"subscription": subscription.id, "subscription_details": details}


def rhythm(price: Price) -> tuple[str | None, int]:
    """How often it is billed: so many of an interval."""
    return price.interval, price.interval_count or 1
