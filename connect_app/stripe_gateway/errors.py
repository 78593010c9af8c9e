"""The four ways in which Stripe says no, and what each lets the asker do next."""

from dataclasses import dataclass


@dataclass(kw_only=True, eq=False)
class StripeFailure(Exception):
    """A call to Stripe that did not do what was asked.

    `code` is Stripe's (`coupon_expired`, `lock_timeout`) or ours (`no_answer`, `unreadable_answer`); `message` is Stripe's English,
    for the owner and the log; `param` the field it blames; `request_id` Stripe's `req_…`; `http_status` is None when nothing came back.
    """

    message: str
    code: str | None = None
    param: str | None = None
    request_id: str | None = None
    http_status: int | None = None

    def __str__(self) -> str:
        facts = [str(fact) for fact in (self.http_status, self.code, self.request_id) if fact is not None]
        return f"{self.message} [{' '.join(facts)}]" if facts else self.message


@dataclass(kw_only=True, eq=False)
class Transient(StripeFailure):
    """May pass: no answer, 409, 429, 5xx. Ask again later, a write with the same key and parameters.

    `ambiguous`: the request may have been applied all the same (a timeout, a dropped connection, a 5xx, the same key in use).
    `replayed`: Stripe repeats a 5xx it saved under this key; the key will never say anything else, so read before a new one is made.
    """

    ambiguous: bool = False
    replayed: bool = False


class Refused(StripeFailure):
    """Stripe understood and will not (4xx): a declined card, a bad coupon, a schedule in the way. Asking again changes nothing."""


class Missing(StripeFailure):
    """There is no such object on this account (404 `resource_missing`). A second cancel of a subscription answers this, too."""


class AccessLost(StripeFailure):
    """The key opens nothing here: 401 (our platform key is wrong) or 403 `account_invalid` (the account has cut us off)."""

    @property
    def is_disconnected(self) -> bool:
        """True when the connected account has revoked us; False when our own platform key is at fault, whatever the account."""
        return self.http_status == 403
