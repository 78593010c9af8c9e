"""What a look at a subscription can say to a wish about it, besides a call to make: it is so already, or it cannot be done this way."""

from dataclasses import dataclass

from connect_app.stripe_gateway.calls import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyDone:
    """Stripe shows what was wished for; nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Not by a direct call. `code` is a word, `message` is for the owner; `is_final` where nobody could do it by hand either."""

    code: str
    message: str
    is_final: bool = False


Verdict = Call | AlreadyDone | Refused


def managed_by_schedule(schedule: str) -> Refused:
    """Stripe refuses every change of cancellation while a schedule is attached."""
    return Refused(
        code="managed_by_schedule",
        message=(
            f"The subscription schedule {schedule} manages this subscription, and Stripe refuses to change its cancellation directly."
            " Change or release the schedule in Stripe's dashboard, then press Retry, or do it there and press Mark done."
        ),
    )


def ended(what: str) -> Refused:
    """Nothing revives an ended subscription; `what` completes the sentence."""
    return Refused(code="subscription_ended", message=f"The subscription has already ended: {what}. Nothing was changed.", is_final=True)
