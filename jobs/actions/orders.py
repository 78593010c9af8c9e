"""Orders: what the business's own system is asked to do to a subscription, in words for its team."""

from collections.abc import Mapping
from datetime import datetime

from connect_app.models.base import Json
from jobs.plans import discounts


def words(verb: str, intent: Mapping[str, object], before: Json, now: datetime) -> str:
    """One order, who does it, since when, and how it comes off the list. `before` is the subscription's JSON as it is asked for."""
    going_on = ""
    if verb not in ("cancel", "item_cancel", "undo_cancel") and (before.get("cancel_at_period_end") or before.get("cancel_at")):
        going_on = " Its scheduled cancellation is to be taken back with that."
    return (
        f"Your own system does this, and has been asked since {now:%Y-%m-%d %H:%M} UTC: {wanted(verb, intent)}.{going_on}"
        " It shows as done here once Stripe has told of it, or Mark done or the API’s confirm has found it there."
    )


def wanted(verb: str, intent: Mapping[str, object]) -> str:
    """What is to be done, as the team would be asked for it."""
    match verb:
        case "discount":
            made = discounts.mint_of(intent)
            if made is not None:
                return f"make the coupon {made.id} ({made.name}) and add it to the subscription"
            return f"add the coupon {intent.get('coupon')} to the subscription"
        case "pause":
            return f"pause the subscription until {_day(intent, 'resumes_at')}, its bills void"
        case "extension":
            return f"collect nothing for the subscription until {_day(intent, 'resumes_at')}, its bills marked as uncollectible"
        case "trial_extension":
            return f"let the trial run until {_day(intent, 'trial_end')}"
        case "plan_change":
            when = "with the next period" if intent.get("when") == "period_end" else "now"
            return f"change the plan to the price {intent.get('price')} {when}"
        case "cancel":
            return _ending(intent)
        case "item_cancel":
            return _without(intent)
        case "undo_cancel" if intent.get("item"):
            return f"keep the item {intent['item']} ({intent.get('name')}), which was to end"
        case "undo_cancel":
            return "take the scheduled cancellation back"
        case "resume":
            return "resume the subscription"
        case "payment_method":
            return "charge the subscription to the customer's new card"
    raise ValueError(f"no such verb: {verb!r}")


def _ending(intent: Mapping[str, object]) -> str:
    is_now = intent.get("when") == "now"
    how = ["cancel the subscription now" if is_now else "cancel the subscription at the end of its period"]
    if is_now and intent.get("invoice_now") is True:
        how.append("bill what is outstanding")
    if is_now and intent.get("prorate") is True:
        how.append("credit what is not used")
    if intent.get("open_invoices") == "void":
        how.append("void its open invoices")
    return ", ".join(how)


def _without(intent: Mapping[str, object]) -> str:
    is_now = intent.get("when") == "now"
    how = [f"cancel the item {intent.get('item')} ({intent.get('name')}) {'now' if is_now else 'at the end of the period'}"]
    if is_now and intent.get("prorate") is True:
        how.append("credit what is not used" + (", on an invoice made at once" if intent.get("invoice_now") is True else ""))
    return ", ".join(how) + "; the rest of the subscription goes on"


def _day(intent: Mapping[str, object], name: str) -> str:
    told = intent.get(name)
    return f"{datetime.fromisoformat(str(told)):%Y-%m-%d %H:%M} UTC" if told else "the day in the request"
