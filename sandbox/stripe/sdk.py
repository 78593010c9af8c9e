"""The door for tests in one process: the SDK's HTTP client, answered by a local Stripe without a socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import stripe

from sandbox.stripe.local import LocalStripe
from sandbox.stripe.wire import Dropped, Request


class CallerKilled(BaseException):
    """A fault killed the caller here; a process would be gone."""


class _InProcess:
    def hold(self, seconds: float) -> None:
        """The wait is skipped: the caller's timeout has passed."""

    def kill(self) -> None:
        """End the caller's work as abruptly as one process can."""
        raise CallerKilled


class LocalClient(stripe.HTTPClient):
    """Pass as `http_client=`; give it one per `StripeClient`."""

    name = "local"

    def __init__(self, local: LocalStripe) -> None:
        super().__init__()
        self._local = local

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, *, _usage: list[str] | None = None
    ) -> tuple[str, int, Mapping[str, str]]:
        """One request, as the SDK makes it; a dropped connection or a timeout is its `APIConnectionError`."""
        parts = urlsplit(url)
        body = post_data.encode() if isinstance(post_data, str) else post_data or b""
        request = Request(
            method=method.upper(),
            path=unquote(parts.path),
            query=parts.query,
            headers={name.lower(): value for name, value in (headers or {}).items()},
            body=body,
            caller=_InProcess(),
        )
        try:
            reply = self._local.answer(request)
        except Dropped:
            raise stripe.APIConnectionError("The local Stripe gave no answer.", should_retry=True) from None  # type: ignore[no-untyped-call]
        return reply.body.decode(), reply.status, reply.headers

    def close(self) -> None:
        """Nothing is open."""
