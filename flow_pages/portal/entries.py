"""One subscription as the portal lists it: its state, what it costs and when, what became of what was asked here, and what can be done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from connect_app.stripe_gateway import objects
from flow_pages import offers, outcome, shapes, spoken
from flow_pages.coming import Coming
from flow_pages.portal.guests import Guest
from flow_pages.portal.parts import Ending
from flow_pages.shapes import Shape
from jobs import actions
from jobs.plans import months

# How long the page goes on telling what was done here.
_TOLD_FOR = timedelta(days=1)
# So long the mirror may lag behind what was read back before the page shows what it has.
_NEWS_WITHIN = timedelta(seconds=30)
_FREE = "mark_uncollectible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`badge` is (kind, text), `facts` are labels and values, `told` is (kind, title, text) of the last thing that was asked here."""

    id: str
    plan: str
    price: str
    badge: tuple[str, str]
    facts: list[tuple[str, str]]
    notice: str | None
    told: tuple[str, str, str] | None
    can_cancel: bool
    undo: str | None
    can_pause: bool
    resume: str | None


def of(
    one: objects.Subscription,
    called: str,
    names: Mapping[str, str],
    done: outcome.Done | None,
    guest: Guest,
    *,
    coming: Coming | None,
    ending: Ending | None,
    is_voided: bool,
    discounts: Sequence[objects.Discount],
    can_pause: bool,
    now: datetime,
) -> Entry:
    """`resume` is the button that ends a pause or free time; None where there is none, or it cannot be ended from here. `coming` is what
    its schedule has in store, `ending` the item that ends alone; `is_voided`: for its cancel, what was owed was voided.
    `discounts` are those at work on it, with their terms.
    """
    shape = shapes.of(one, now)
    is_busy = done is not None and (done.is_in_flight or is_behind(one, done, now))
    notice = None
    if is_busy:
        notice = "A change to this subscription is on its way. This page shows it once it is confirmed."
    elif done is not None and done.is_waiting:
        notice = _waiting(done, guest)
    elif shape is Shape.PAST_DUE:
        notice = "Your last payment did not go through. With a new card it can be tried again."
    can_act = not is_busy and guest.account is not None
    told = None if is_busy or done is None else _told(done, one, guest, now)
    undo = f"Keep {ending.name}" if ending else "Undo the cancellation" if shape is Shape.CANCELING else None
    if shape is Shape.CANCELING and is_voided:
        is_asked = done is not None and done.is_waiting and done.action.verb == "undo_cancel"
        undo, notice = None if is_asked else outcome.ASK_TO_UNDO, notice if told or is_asked else outcome.deciding(guest.business)
    return Entry(
        id=one.id,
        plan=called,
        price=spoken.price(one, spoken.LANGUAGE),
        badge=("waiting", "Changing") if is_busy else _badge(one, shape),
        facts=[
            *_discounts(discounts, shape, now),
            *_facts(one, names, shape),
            *([(f"From {spoken.day(coming.at, spoken.LANGUAGE)}", coming.plan)] if coming else []),
        ],
        notice=notice,
        told=told,
        can_cancel=not is_busy and shape not in (Shape.ENDED, Shape.CANCELING),
        undo=undo if can_act else None,
        can_pause=can_act and can_pause,
        resume=_resume(one, shape) if can_act else None,
    )


_BADGES = {
    Shape.ENDED: ("neutral", "Canceled"),
    Shape.CANCELING: ("attention", "Cancels soon"),
    Shape.PAUSED: ("waiting", "Paused"),
    Shape.PAST_DUE: ("failed", "Payment failed"),
    Shape.TRIALING: ("waiting", "Trial"),
    Shape.ORDINARY: ("ok", "Active"),
    Shape.UNKNOWN: ("neutral", "Unknown"),
}


def is_behind(one: objects.Subscription, done: outcome.Done, now: datetime) -> bool:
    """Whether the mirror still shows what was there before a change that has been read back since: for seconds, until its news are in."""
    action = done.action
    if not done.is_verified or now - action.changed_at > _NEWS_WITHIN:
        return False
    is_leaving = one.is_ended or one.is_scheduled_to_cancel
    match action.verb:
        case "cancel":
            return not is_leaving
        case "undo_cancel":
            return is_leaving
        case "pause" | "extension":
            return one.pause is None
        case "resume":
            return one.is_paused
        case _:
            return False


def can_resume(one: objects.Subscription) -> bool:
    """Whether a pause can be ended from here: Stripe's own only where it is paid by card."""
    return not one.is_ended and (one.pause is not None or (one.is_paused and one.collection_method == "charge_automatically"))


def _is_free(one: objects.Subscription) -> bool:
    return one.pause is not None and one.pause.behavior == _FREE


def _badge(one: objects.Subscription, shape: Shape) -> tuple[str, str]:
    if shape is Shape.ORDINARY and one.status is objects.Status.INCOMPLETE:
        return "attention", "First payment open"
    return ("ok", "Free for now") if shape is Shape.PAUSED and _is_free(one) else _BADGES[shape]


def _resume(one: objects.Subscription, shape: Shape) -> str | None:
    if shape is Shape.ENDED or not can_resume(one):
        return None
    return "End the free time" if _is_free(one) else "Resume now"


def _facts(one: objects.Subscription, names: Mapping[str, str], shape: Shape) -> list[tuple[str, str]]:
    locale, facts = spoken.LANGUAGE, []
    if len(one.items) > 1:
        facts.append(("Contains", ", ".join(spoken.item(item, names) for item in one.items)))
    if shape is Shape.CANCELING and one.ends_at is not None:
        return [*facts, ("Ends on", spoken.day(one.ends_at, locale)), ("Next charge", shapes.next_charge(one, locale))]
    if shape is Shape.ENDED:
        return [*facts, ("Ended on", spoken.day(one.ended_at or one.current_period_end, locale))]
    if one.pause is not None and one.pause.resumes_at is not None:
        until = one.pause.resumes_at
        bills = months.bills(one, one.current_period_end, until + timedelta(days=800))
        first = next((bill for bill in bills if bill >= until), None)
        facts.append(("Free until", spoken.day(first or until, locale)) if _is_free(one) else ("Paused until", spoken.day(until, locale)))
        return [*facts, *([("Next charge", spoken.day(first, locale))] if first is not None else [])]
    if one.next_charge is not None or shape in (Shape.PAUSED, Shape.PAST_DUE):
        facts.append(("Next charge", shapes.next_charge(one, locale)))
    return facts


def _discounts(discounts: Sequence[objects.Discount], shape: Shape, now: datetime) -> list[tuple[str, str]]:
    if shape is Shape.ENDED:
        return []
    return [("Discount", _off(one, one.terms)) for one in discounts if one.terms and (one.ends_at is None or one.ends_at > now)]


def _off(discount: objects.Discount, coupon: objects.Coupon) -> str:
    """`50% off until March 6, 2027`."""
    what = f"{offers.saving(offers.of_coupon(coupon), spoken.LANGUAGE)} off"
    if discount.subscription_item is not None or coupon.products is not None:
        what += " a part of it"
    if discount.ends_at is not None:
        return f"{what} until {spoken.day(discount.ends_at, spoken.LANGUAGE)}"
    return f"{what} your next bill" if coupon.duration == "once" else what


def _waiting(done: outcome.Done, guest: Guest) -> str:
    if done.action.code == "yours":
        return f"{guest.business} has been asked for your last change. Nothing has been changed yet."
    if done.action.code == actions.DECLINED:
        return "Your payment for your last change did not go through, so it has not been made. With a new card you can ask for it again."
    return f"Your last request is with the team at {guest.business}. They have been told and will see to it."


def _told(done: outcome.Done, one: objects.Subscription, guest: Guest, now: datetime) -> tuple[str, str, str] | None:
    """What became of the last thing that was asked on this page: *done* only of what was read back from Stripe, and still is so."""
    action = done.action
    if action.portal_link_id != guest.link.id or action.state not in ("verified", "failed") or now - action.changed_at > _TOLD_FOR:
        return None
    if done.is_verified and action.verb in ("pause", "extension") and one.pause is None:
        return None
    if done.is_verified and action.verb == "resume" and one.is_paused:
        return None
    resumes_at = one.pause.resumes_at if one.pause else None
    owing = (one.id,) if one.status in (objects.Status.PAST_DUE, objects.Status.UNPAID) else ()
    [line] = outcome.lines([done], offer=None, business=guest.business, locale=spoken.LANGUAGE, now=now, resumes_at=resumes_at, owing=owing)
    return line.kind, line.title, line.text
