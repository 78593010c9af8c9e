"""One line for each subscription, as the customer reads it, and *done* only for what was read back from Stripe."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from connect_app.models import Action
from connect_app.models.base import Json
from flow_pages.outcome import verified
from flow_pages.outcome.done import Done
from jobs import actions

_UNDO = {
    "cancel": "Undo the cancellation",
    "item_cancel": "Undo the cancellation",
    "pause": "End the pause now",
    "extension": "End the free time now",
}
_ASKED = {
    "cancel": "Cancel your subscription",
    "item_cancel": "Cancel a part of your subscription",
    "discount": "Apply your discount",
    "pause": "Pause your subscription",
    "extension": "Give you free time",
    "trial_extension": "Make your trial longer",
    "plan_change": "Change your plan",
    "resume": "Resume your subscription",
    "undo_cancel": "Keep your subscription",
    "payment_method": "Use your new card",
}


# Why something is not done where nothing went wrong.
OVERTAKEN = frozenset(("superseded", "closed_by_team"))
ASK_TO_UNDO = "Ask to undo the cancellation"


def deciding(business: str) -> str:
    """Who takes back a cancel for which open bills were voided."""
    return f"Your open bills were voided with it, so the team at {business} decides whether it can be undone."


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the receipt, about this `subscription`.

    `kind` is the macros' (ok, waiting, attention, failed); `facts` are labels and values, `undo` the button.
    """

    kind: str
    title: str
    text: str
    facts: tuple[tuple[str, str], ...]
    can_undo: bool
    undo: str = _UNDO["cancel"]
    subscription: str = ""


def lines(
    found: Sequence[Done],
    *,
    offer: Json | None,
    business: str,
    locale: str,
    now: datetime,
    resumes_at: datetime | None,
    owing: Collection[str],
) -> list[Line]:
    """What the customer reads; `offer` is the choice's, with the terms that were promised, `resumes_at` when a pause ends, if it does.

    `owing` are the ids of subscriptions with an open invoice.
    """
    return [_line(done, offer, business, locale, now, resumes_at, is_owing=done.action.subscription in owing) for done in found]


def accepted(offer: Json, told: str) -> Line:
    """The line of what changes nothing on Stripe, with the terms that were promised and what `told` says of it."""
    terms = tuple((str(label), str(value)) for label, value in offer.get("terms", ()))
    return Line(kind="waiting", title=str(offer.get("headline", "")), text=told, facts=terms, can_undo=False)


def _line(
    done: Done, offer: Json | None, business: str, locale: str, now: datetime, resumes_at: datetime | None, *, is_owing: bool
) -> Line:
    action, receipt = done.action, done.receipt
    if done.is_verified and done.is_overtaken:
        return _plain("ok", f"{_ASKED[action.verb]}: this was done", "You have decided anew for the same subscription since.")
    if done.is_taken_back and receipt is not None:
        plan = receipt.after.get("plan") or "Your subscription"
        return _plain("ok", f"{plan} goes on", "It was canceled here, and that has been taken back since.")
    if done.is_verified and receipt is not None:
        title, text, facts = verified.told(action, receipt, offer, locale, now, resumes_at, is_owing=is_owing)
        can_undo = done.can_undo(now)
        is_asked = can_undo and done.has_voided
        return Line(
            kind="ok",
            title=title,
            text=f"{text} {deciding(business)}" if is_asked else text,
            facts=facts,
            can_undo=can_undo,
            undo=ASK_TO_UNDO if is_asked else _UNDO.get(action.verb, ""),
            subscription=action.subscription,
        )
    if done.is_following:
        return _plain("waiting", _ASKED[action.verb], "An earlier change of this subscription is still on its way. Yours follows it.")
    if done.is_in_flight:
        return _plain("waiting", _ASKED[action.verb], "Stripe has not confirmed it yet. We keep at it.")
    if action.state == "failed":
        return _failed(action, business)
    if action.code == actions.DECLINED:
        why = "Your payment for it did not go through, so it has not been done. With another card you can ask for it again."
        return _plain("attention", _ASKED[action.verb], f"{why} The team at {business} has been told, too.")
    if action.code == actions.YOURS:
        return _plain("waiting", _ASKED[action.verb], f"{business} has been asked to do this. Nothing has been changed yet.")
    return _plain("waiting", _ASKED[action.verb], f"Your request is with the team at {business}. They have been told and will see to it.")


def _failed(action: Action, business: str) -> Line:
    """Why it was not done, as far as the customer can be told."""
    asked = _ASKED[action.verb]
    match action.code:
        case "superseded":
            return _plain("failed", f"{asked}: this was not done", "You have decided anew for the same subscription since.")
        case "closed_by_team":
            told = f"The team at {business} has closed this request. If that is not what you expected, please contact them."
            return _plain("failed", f"{asked}: this was closed", told)
        case "subscription_ended":
            return _plain("failed", f"{asked}: this could not be done", "The subscription had already ended.")
        case _:
            return _plain("failed", f"{asked}: this could not be done", f"Please contact {business}; they can see what happened.")


def _plain(kind: str, title: str, text: str) -> Line:
    return Line(kind=kind, title=title, text=text, facts=(), can_undo=False)
