"""The table of verbs: what each needs to know, comes to on a shape, and must show to be proven. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from connect_app.modes import Mode
from connect_app.stripe_gateway.calls import MARKER, Call
from connect_app.stripe_gateway.objects import Subscription
from jobs.plans import cancels, cards, discounts, item_cancels, pauses, plan_changes, trials
from jobs.plans.verdicts import Refused, Verdict
from jobs.plans.wish import Needs, Situation, Wish

VERBS = (
    "discount", "pause", "extension", "trial_extension", "plan_change", "cancel", "item_cancel", "undo_cancel", "resume", "payment_method",
)  # fmt: skip
# What a customer decides about a subscription: of two of these, the later one counts.
DECISIONS = tuple(verb for verb in VERBS if verb != "payment_method")


def needs(wish: Wish, subscription: Subscription, *, to_prove: bool = False) -> Needs:
    """What to read besides the subscription before the wish can be planned, or only proven."""
    is_voiding = wish.verb == "cancel" and wish.text("open_invoices") == "void"
    if subscription.is_ended or wish.verb in ("payment_method", "resume"):
        return Needs(open_invoices=is_voiding)
    if to_prove:
        is_scheduled = wish.verb in ("discount", "plan_change", "item_cancel") or item_cancels.is_about_one(wish)
        return Needs(
            coupon=discounts.coupon_of(wish.intent) if wish.verb == "discount" and discounts.mint_of(wish.intent) else None,
            schedule=subscription.schedule if is_scheduled else None,
            open_invoices=is_voiding,
        )
    return Needs(
        # A later phase may be without any, where their own discount counts.
        customer=wish.verb == "discount" and (not subscription.discounts or subscription.schedule is not None),
        coupon=discounts.coupon_of(wish.intent) if wish.verb == "discount" else None,
        price=wish.text("price") if wish.verb == "plan_change" else None,
        schedule=subscription.schedule,
        open_invoices=is_voiding or (wish.verb == "cancel" and cancels.is_now(wish, subscription)),
    )


def plan(wish: Wish, situation: Situation, now: datetime) -> Verdict:
    """The calls that fulfil the wish, or why there are none."""
    if refusal := foreign(wish, situation.subscription):
        return refusal
    match wish.verb:
        case "discount":
            return discounts.plan(wish, situation, now)
        case "pause" | "extension":
            return pauses.plan(wish, situation, now)
        case "resume":
            return pauses.plan_resume(wish, situation)
        case "trial_extension":
            return trials.plan(wish, situation, now)
        case "plan_change":
            return plan_changes.plan(wish, situation)
        case "cancel":
            return cancels.plan(wish, situation)
        case "item_cancel":
            return item_cancels.plan(wish, situation)
        case "undo_cancel":
            return item_cancels.plan_undo(wish, situation) if item_cancels.is_about_one(wish) else cancels.plan_undo(wish, situation)
        case "payment_method":
            return cards.plan(wish, situation)
    raise ValueError(f"no such verb: {wish.verb!r}")


def foreign(wish: Wish, subscription: Subscription) -> Refused | None:
    """Why this subscription is none that the wish may touch: it is another customer's, or of the other mode."""
    if subscription.customer != wish.customer:
        return Refused(
            code="wrong_customer",
            message=f"The subscription belongs to {subscription.customer}, not to {wish.customer}. Nothing was changed.",
            is_final=True,
        )
    if subscription.livemode != Mode(wish.mode).livemode:
        return Refused(code="wrong_mode", message="The subscription is of the other mode. Nothing was changed.", is_final=True)
    return None


def shows(wish: Wish, situation: Situation, kept: frozenset[str] = frozenset()) -> bool:
    """Whether Stripe shows the wanted state, whoever brought it about; `kept` are ids of discounts that had to stay."""
    subscription = situation.subscription
    if foreign(wish, subscription):
        return False
    match wish.verb:
        case "discount":
            return discounts.shows(wish, situation, kept)
        case "pause" | "extension":
            return pauses.shows(wish, subscription)
        case "resume":
            return pauses.shows_resumed(subscription)
        case "trial_extension":
            return trials.shows(wish, subscription)
        case "plan_change":
            return plan_changes.shows(wish, situation)
        case "cancel":
            return cancels.shows(wish, subscription)
        case "item_cancel":
            return item_cancels.shows(wish, situation)
        case "undo_cancel":
            return item_cancels.shows_undo(wish, situation) if item_cancels.is_about_one(wish) else cancels.shows_undo(subscription)
        case "payment_method":
            return cards.shows(wish, subscription)
    raise ValueError(f"no such verb: {wish.verb!r}")


def was_made(wish: Wish, before: Subscription, after: Subscription, since: datetime) -> bool:
    """Whether Stripe shows what an offer asked for, and did not before; also where the subscription has been told to end after that.

    A discount says itself when it began; one from before `since` is no answer.
    """
    as_it_was = replace(after, status=before.status, cancel_at=None, cancel_at_period_end=False)
    match wish.verb:
        case "discount":
            known = {discount.id for discount in before.discounts}
            new = [one for one in after.discounts if one.id not in known and (one.starts_at is None or one.starts_at >= since)]
            return any(one.coupon == discounts.coupon_of(wish.intent) for one in new)
        case "plan_change":
            price = wish.text("price")
            return price in {item.price.id for item in after.items} - {item.price.id for item in before.items}
        case "item_cancel":
            return any(item.id == wish.text("item") for item in before.items) and item_cancels.shows(
                wish, Situation(subscription=as_it_was)
            )
        case "pause" | "extension":
            return after.pause != before.pause and pauses.shows(wish, as_it_was)
        case "trial_extension":
            return after.trial_end != before.trial_end and trials.shows(wish, as_it_was)
    return False


def is_marked(wish: Wish, situation: Situation) -> bool:
    """Whether the last change of ours to this subscription, or to the schedule that leads it, was this action's."""
    marked = (situation.subscription.metadata, situation.schedule.metadata if situation.schedule else {})
    return any(metadata.get(MARKER) == wish.action_id for metadata in marked)


def may_have_been_made(wish: Wish, situation: Situation, sent: Sequence[Call], *, has_touched: bool) -> bool:
    """Whether the last of these calls, which brings the change about, may have been applied: what it would have marked is, or is gone.

    A plan that was cut short leaves our mark, too, on what its earlier calls have touched, and those of plans before it: `has_touched` says
    whether one was to the subscription itself. Whose a discount is that is there, nobody can tell.
    """
    if wish.verb == "discount" and shows(wish, situation, kept(sent)):
        return True
    is_marked_itself = situation.subscription.metadata.get(MARKER) == wish.action_id
    if sent[-1].method != "subscription_schedules.update":
        return is_marked_itself
    if situation.schedule is not None:
        return situation.schedule.metadata.get(MARKER) == wish.action_id
    # The schedule marks its subscription on the day of the change; so may a call before it.
    return is_marked_itself and not has_touched


def proves(wish: Wish, situation: Situation, sent: Sequence[Call]) -> bool:
    """Whether Stripe shows that the calls were applied: the wanted state, and for a discount, which may be anybody's, our mark too."""
    if foreign(wish, situation.subscription):
        return False
    if wish.verb == "cancel":
        return cancels.proves(wish, situation, sent, is_marked=is_marked(wish, situation))
    is_ours = wish.verb != "discount" or is_marked(wish, situation)
    return is_ours and shows(wish, situation, kept(sent))


def rest(wish: Wish, situation: Situation, sent: Sequence[Call]) -> tuple[Call, ...]:
    """What is left of these calls where the first of them have been made, and planning anew would not name the others."""
    return cancels.rest(situation, sent) if wish.verb == "cancel" else ()


def kept(sent: Sequence[Call]) -> frozenset[str]:
    """The ids of the discounts that a subscription's update sends along so that they stay."""
    listed = [call.params.get("discounts") for call in sent if call.method == "subscriptions.update"]
    entries = [entry for discounts in listed if isinstance(discounts, list | tuple) for entry in discounts]
    return frozenset(str(entry["discount"]) for entry in entries if isinstance(entry, Mapping) and "discount" in entry)
