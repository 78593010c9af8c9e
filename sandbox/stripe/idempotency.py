"""Idempotency keys: the first answer to a POST is kept for a day and given again to the same request."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.stripe.wire import Reply, StripeError

_KEPT_SECONDS = 24 * 3600
_LONGEST = 255

Scope = tuple[str, bool, str]


@dataclass(slots=True)
class _Entry:
    print: str
    at: float
    reply: Reply | None = None


class Keys:
    """What was answered under which key, by account and mode, for a day of the clock; the caller holds the lock."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._entries: dict[Scope, _Entry] = {}

    def begin(self, scope: Scope, print: str) -> Reply | None:
        """The kept answer, or None and the key is now in flight. Raises on other parameters (400), in flight (409), too long (400)."""
        if len(scope[2]) > _LONGEST:
            raise StripeError(400, "Idempotency keys can be at most 255 characters long.", is_saved=False)
        entry = self._entries.get(scope)
        if entry is not None and entry.at < self._now() - _KEPT_SECONDS:
            entry = None
        if entry is None:
            self._entries[scope] = _Entry(print, self._now())
            return None
        if entry.print != print:
            raise StripeError(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{scope[2]}' if you meant to execute a different request.",
                type="idempotency_error",
                is_saved=False,
            )
        if entry.reply is None:
            raise StripeError(
                409,
                "There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and "
                f"the other request is still going through): {scope[2]}. Please try again later.",
                code="idempotency_key_in_use",
                type="idempotency_error",
                is_saved=False,
            )
        first = entry.reply
        return Reply(
            status=first.status,
            headers={**first.headers, "Idempotent-Replayed": "true", "Original-Request": first.headers.get("Request-Id", "")},
            body=first.body,
        )

    def keep(self, scope: Scope, reply: Reply) -> None:
        """This is the answer from now on."""
        self._entries[scope].reply = reply

    def release(self, scope: Scope) -> None:
        """Nothing was done: the key is free again."""
        entry = self._entries.get(scope)
        if entry is not None and entry.reply is None:
            del self._entries[scope]
