"""What a look at a subscription can say to a wish about it: calls to make, that it is so already, or that it cannot be done this way."""

from dataclasses import dataclass

from connect_app.stripe_gateway.calls import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The calls that fulfil the wish, in their order. `loses` says what is given up with it, for the team; '' where nothing is."""

    calls: tuple[Call, ...]
    loses: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyDone:
    """Stripe shows what was wished for; nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Not by a direct call. `code` is a word, `message` is for the owner; `is_final` where nobody could do it by hand either.

    `remedy` says what to do about an action that waits for them.
    """

    code: str
    message: str
    remedy: str = ""
    is_final: bool = False

    @property
    def in_full(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()


Verdict = Plan | AlreadyDone | Refused


def one(call: Call) -> Plan:
    """The plan of a single call."""
    return Plan(calls=(call,))
