"""What a subscription's state means to the customer who wants to cancel it: which page is right, and what must be said on it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from connect_app import money
from connect_app.stripe_gateway.objects import Status, Subscription
from flow_pages import spoken
from flow_pages.cancels import Ending
from flow_pages.parts import Part


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


def notice(subscription: Subscription | None, shape: Shape, locale: str, *, is_voiding: bool = False) -> tuple[str, str, str] | None:
    """(kind, title, text) of what this customer should know before they choose; `is_voiding`: a cancel voids what is open."""
    match shape:
        case Shape.PAUSED if subscription is not None:
            resumes = subscription.pause.resumes_at if subscription.pause else None
            until = f" Unless you cancel, it resumes on {spoken.day(resumes, locale)}." if resumes else ""
            return "waiting", "Your subscription is paused", f"Nothing is charged while it is paused.{until} You can still cancel it here."
        case Shape.PAST_DUE:
            then = "you then no longer owe what is open" if is_voiding else "what is open already stays due"
            return (
                "attention",
                "Your last payment did not go through",
                f"If you meant to stay: with a new card it can be tried again. You can also cancel here; {then}.",
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
    if subscription.status in (Status.PAST_DUE, Status.UNPAID):
        return spoken.OPEN_INVOICE
    if subscription.next_charge is not None:
        return spoken.day(subscription.next_charge, locale)
    if subscription.is_paused and not subscription.is_scheduled_to_cancel:
        return spoken.while_paused(subscription.pause.resumes_at if subscription.pause else None, locale)
    return "None"


def consequences(ending: Ending, shape: Shape, names: Mapping[str, str], locale: str) -> list[tuple[str, str]]:
    """What the confirmed cancel of this subscription changes, when, and what of the money, as labels and values."""
    subscription = ending.subscription
    lines = [_ends(ending, shape, locale), *(_settled(ending, shape) if ending.is_at_once else _after(ending, shape))]
    if ending.is_owing and (ending.is_voiding or ending.is_at_once):
        lines.append(("Open invoices", "Voided: you no longer owe them" if ending.is_voiding else "Stay due"))
    if shape is not Shape.TRIALING and (amount := spoken.price(subscription, locale)):
        lines.insert(0, ("Today’s price", amount))
    if len(subscription.items) > 1:
        lines.insert(0, ("Cancels all of", ", ".join(spoken.item(item, names) for item in subscription.items)))
    return lines


def in_short(ending: Ending, name: str, locale: str) -> str:
    """What becomes of another subscription that ends with this one: `Team plan ends on January 6, 2027`."""
    subscription = ending.subscription
    when = "at once" if ending.is_at_once else f"on {spoken.day(subscription.current_period_end, locale)}"
    owed = ("; its open invoices are voided" if ending.is_voiding else "; its open invoices stay due") if ending.is_owing else ""
    return f"{name} ends {when}{owed}"


def in_part(part: Part, subscription: Subscription, locale: str) -> tuple[str, str, str]:
    """(its id, what it is and costs, what becomes of it) of an item that can be canceled by itself."""
    every = spoken.interval(subscription)
    costs = f", {money.format(part.amount, locale)} {every}".rstrip() if part.amount is not None else ""
    if not part.is_at_once:
        then = f"It ends on {spoken.day(subscription.current_period_end, locale)}; the rest goes on."
    elif subscription.status is not Status.ACTIVE:
        then = "It ends at once; the rest goes on."
    elif not part.intent["prorate"]:
        then = "It ends at once, and paid time that is left is not paid back; the rest goes on."
    else:
        where = "on an invoice made at once" if part.intent["invoice_now"] else "to your next invoice"
        then = f"It ends at once, and paid time that is left is credited {where}; the rest goes on."
    return part.id, f"{part.name}{costs}", then


def _ends(ending: Ending, shape: Shape, locale: str) -> tuple[str, str]:
    subscription = ending.subscription
    if ending.is_at_once:
        return "Ends", "At once, when you confirm"
    if shape is Shape.TRIALING and subscription.trial_end is not None:
        return "Trial ends on", spoken.day(subscription.trial_end, locale)
    return "Ends on", spoken.day(subscription.current_period_end, locale)


def _after(ending: Ending, shape: Shape) -> list[tuple[str, str]]:
    """Of one that runs until the end of its period."""
    if _is_metered(ending.subscription) and shape is not Shape.TRIALING:
        return [("Renewal", "None, only a last bill for your usage until then")]
    stays = ending.is_owing and not ending.is_voiding
    # What has been added by hand and not billed yet is not in the mirror: it would come with a last bill.
    return [("Renewal", "None, but what is open stays due" if stays else "None")]


def _settled(ending: Ending, shape: Shape) -> list[tuple[str, str]]:
    """Of one that ends at once: the time that is paid for and not used, and what has not been billed yet."""
    bills, credits = ending.intent["invoice_now"], ending.intent["prorate"]
    lines = []
    is_owed = ending.is_owing and not ending.is_voiding
    if is_owed and credits and shape is not Shape.PAUSED:
        where = "on a last invoice, made at once" if bills else "to your next invoice, if there is one"
        lines.append(("Time that is left", f"Credited {where}"))
    elif shape not in (Shape.TRIALING, Shape.PAUSED) and ending.subscription.status is Status.ACTIVE and not ending.is_owing:
        if not credits:
            unused = "Not paid back"
        else:
            unused = "Credited on a last invoice, made at once" if bills else "Credited to your next invoice, if there is one"
        lines.append(("Paid time that is left", unused))
    if ending.subscription.status is Status.INCOMPLETE:
        return [("Charges after that", "None")]  # it has not begun
    label = "Usage and charges not billed yet" if _is_metered(ending.subscription) else "Charges not billed yet"
    lines.append((label, "Billed at once, on a last invoice" if bills else "Not billed"))
    return [*lines, ("Charges after that", "None")]


def _is_metered(subscription: Subscription) -> bool:
    return any(item.price.usage_type == "metered" for item in subscription.items)
