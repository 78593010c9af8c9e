"""Faults: the ways in which Stripe, or the caller, is made to fail on purpose."""

from __future__ import annotations

import fnmatch
import itertools
import random
from dataclasses import dataclass, field
from typing import Any

from sandbox.stripe import knobs
from sandbox.stripe.wire import Obj, StripeError, invalid

KINDS = ("500", "500_after", "429", "lock_timeout", "timeout_after", "reset", "slow", "kill_before", "kill_after")
MOST_TIMES = 1_000_000
_SECONDS = {"timeout_after": 30.0, "slow": 2.0}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One rule: which requests fail, in which way, how often."""

    id: int
    kind: str
    method: str | None
    path: str
    rate: float
    times: int | None
    seconds: float
    seed: int | str | None
    chance: random.Random = field(repr=False)
    hits: int = 0

    def shown(self) -> Obj:
        """As the control door tells it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "method": self.method,
            "path": self.path,
            "rate": self.rate,
            "times": self.times,
            "seconds": self.seconds,
            "seed": self.seed,
            "hits": self.hits,
        }


class Faults:
    """The rules in force; the caller holds the lock."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []
        self._ids = itertools.count(1)

    def add(self, wanted: Any) -> Fault:
        """One rule more, from `{method?, path?, kind, rate? | times?, seed?, seconds?}`. Raises 400."""
        return self.add_all([wanted])[0]

    def add_all(self, wanted: list[Any]) -> list[Fault]:
        """So many rules more, or none where one of them is wrong. Raises 400."""
        added = [self._read(each) for each in wanted]
        self.rules.extend(added)
        return added

    def _read(self, wanted: Any) -> Fault:
        told = knobs.record(wanted, ("method", "path", "kind", "rate", "times", "seed", "seconds"), "kind")
        kind = told.get("kind")
        if kind not in KINDS:
            raise invalid(f"Invalid kind: must be one of {', '.join(KINDS)}", "kind")
        if "rate" in told and "times" in told:
            raise invalid("You may only specify one of these parameters: rate, times.", "rate")
        seed = knobs.seed(told["seed"], "seed") if "seed" in told else None
        return Fault(
            id=next(self._ids),
            kind=kind,
            method=knobs.text(told["method"], "method").upper() if "method" in told else None,
            path=knobs.text(told.get("path", "*"), "path"),
            rate=knobs.rate(told.get("rate", 1), "rate"),
            times=knobs.whole(told["times"], "times", 1, MOST_TIMES) if "times" in told else None,
            seconds=knobs.seconds(told.get("seconds", _SECONDS.get(kind, 0)), "seconds"),
            seed=seed,
            chance=random.Random(seed),
        )

    def pick(self, method: str, path: str) -> Fault | None:
        """The first rule that strikes this request."""
        for rule in self.rules:
            if rule.method not in (None, method) or not fnmatch.fnmatchcase(path, rule.path):
                continue
            if rule.times is not None and rule.hits >= rule.times:
                continue
            if rule.chance.random() < rule.rate:
                rule.hits += 1
                return rule
        return None


def server_error() -> StripeError:
    """500, kept under the idempotency key as Stripe does."""
    return StripeError(500, "An error occurred on our end. (Sandbox fault.)", type="api_error")


def rate_limited() -> StripeError:
    """429 by the rate limiter, before anything ran."""
    return StripeError(
        429,
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="rate_limit",
        is_saved=False,
        headers={"Stripe-Rate-Limited-Reason": "endpoint-rate"},
    )


def locked() -> StripeError:
    """429 because the object is locked by another request."""
    return StripeError(
        429,
        "This object cannot be accessed right now because another API request or Stripe process is currently accessing it. If you see this "
        "error intermittently, retry the request. If you see this error frequently and are making multiple concurrent requests to a single "
        "object, make your requests serially or at a lower rate. For more details, see https://stripe.com/docs/rate-limits#object-lock-timeouts.",
        code="lock_timeout",
        is_saved=False,
        headers={"Stripe-Should-Retry": "true"},
    )
