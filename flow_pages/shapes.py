"""What a subscription's state means to the customer who wants to cancel it: which page is right, and what must be said on it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from connect_app.stripe_gateway.objects import Status, Subscription
from flow_pages import spoken


class Shape(StrEnum):
    """The states that call for a page or a word of their own; of several, the one that decides."""

    UNKNOWN = "unknown"
    ENDED = "ended"
    CANCELING = "canceling"
    PAUSED = "paused"
    PAST_DUE = "past_due"
    TRIALING = "trialing"
    ORDINARY = "ordinary"


def of(subscription: Subscription | None, now: datetime) -> Shape:
    """The shape that decides the page; UNKNOWN where we have no subscription to speak of."""
    if subscription is None:
        return Shape.UNKNOWN
    if subscription.is_ended:
        return Shape.ENDED
    if subscription.is_scheduled_to_cancel:
        ends = subscription.ends_at
        return Shape.ENDED if ends is not None and ends <= now else Shape.CANCELING
    if subscription.is_paused:
        return Shape.PAUSED
    if subscription.status in (Status.PAST_DUE, Status.UNPAID):
        return Shape.PAST_DUE
    return Shape.TRIALING if subscription.status is Status.TRIALING else Shape.ORDINARY


def notice(subscription: Subscription | None, shape: Shape, locale: str) -> tuple[str, str, str] | None:
    """(kind, title, text) of what this customer should know before they choose."""
    match shape:
        case Shape.PAUSED if subscription is not None:
            resumes = subscription.pause.resumes_at if subscription.pause else None
            until = f" Unless you cancel, it resumes on {spoken.day(resumes, locale)}." if resumes else ""
            return "waiting", "Your subscription is paused", f"Nothing is charged while it is paused.{until} You can still cancel it here."
        case Shape.PAST_DUE:
            return (
                "attention",
                "Your last payment did not go through",
                "If you meant to stay: with a new card it can be tried again. You can also cancel here; what is open already stays due.",
            )
        case Shape.TRIALING if subscription is not None and subscription.trial_end is not None:
            return (
                "waiting",
                f"Your trial runs until {spoken.day(subscription.trial_end, locale)}",
                "Cancel before then and nothing is charged.",
            )
        case _:
            return None


def next_charge(subscription: Subscription, locale: str) -> str:
    """The day of the next charge by schedule, or why there is none; never a bare "None" where something may still be collected."""
    if subscription.next_charge is not None:
        return spoken.day(subscription.next_charge, locale)
    if subscription.is_paused and not subscription.is_scheduled_to_cancel:
        return spoken.while_paused(subscription.pause.resumes_at if subscription.pause else None, locale)
    return spoken.OPEN_INVOICE if subscription.status in (Status.PAST_DUE, Status.UNPAID) else "None"


def consequences(subscription: Subscription, shape: Shape, names: Mapping[str, str], locale: str) -> list[tuple[str, str]]:
    """What a cancellation at the end of the period changes, and when, as labels and values."""
    if shape is Shape.TRIALING and subscription.trial_end is not None:
        ends = ("Trial ends on", spoken.day(subscription.trial_end, locale))
    else:
        ends = ("Ends on", spoken.day(subscription.current_period_end, locale))
    lines = [ends, ("Charges after that", "None, but what is open stays due" if shape is Shape.PAST_DUE else "None")]
    if shape is not Shape.TRIALING and (amount := spoken.price(subscription, locale)):
        lines.insert(0, ("Today’s price", amount))
    if len(subscription.items) > 1:
        lines.insert(0, ("Cancels all of", ", ".join(spoken.item(item, names) for item in subscription.items)))
    return lines
