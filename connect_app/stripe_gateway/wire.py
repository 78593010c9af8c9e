"""One Stripe client per mode: how a request leaves, how its answer is dated, and which of our four failures an error is."""

import os
import urllib.parse
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, TypedDict

import requests
import stripe
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, StripeFailure, Transient

API_VERSION = "2026-10-28.endive"

# What a caller may put in the network's place, without importing the SDK itself.
HTTPClient = stripe.HTTPClient

# Else the SDK writes a file into the home directory and tells Stripe about this machine.
stripe.enable_telemetry = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A successful answer: parsed JSON, the time Stripe gave it (its `Date`, whole seconds) and Stripe's id of the request."""

    body: Mapping[str, object]
    as_of: datetime
    request_id: str


class Wire:
    """A Stripe client of one platform key. Threads share it (each has its own connection); a forked child gets a new one."""

    def __init__(
        self,
        *,
        secret_key: str,
        api_base: str | None,
        connect_base: str | None,
        timeout: tuple[float, float],
        http_client: stripe.HTTPClient | None,
    ) -> None:
        self._secret_key = secret_key
        self._timeout = timeout
        self._http_client = http_client
        self._api_base = (api_base or stripe.DEFAULT_API_BASE).rstrip("/")
        self._connect_base = (connect_base or stripe.DEFAULT_CONNECT_API_BASE).rstrip("/")
        self.reopen()
        _wires.add(self)

    def reopen(self) -> None:
        """Forget every open connection: a child that used its parent's would mix its answers with the parent's."""
        self._client = stripe.StripeClient(
            self._secret_key,
            stripe_version=API_VERSION,
            max_network_retries=0,  # the work row owns retries
            base_addresses={"api": self._api_base, "connect": self._connect_base},
            http_client=self._http_client or stripe.RequestsClient(timeout=self._timeout),
        )

    def ask(
        self,
        method: Literal["get", "post", "delete"],
        path: str,
        params: Mapping[str, object],
        *,
        account: str | None = None,
        idempotency_key: str | None = None,
        base: Literal["api", "connect"] = "api",
    ) -> Answer:
        """One request, one attempt. Raises one of the four kinds of StripeFailure and nothing else."""
        options = {"stripe_account": account, "idempotency_key": idempotency_key}
        with _translated():
            response: stripe.StripeResponse = self._client.raw_request(
                method, path, base=base, **_in_order(params), **{name: value for name, value in options.items() if value}
            )
        headers = _lower(response.headers)
        request_id = headers.get("request-id", "")
        as_of = _date(headers.get("date"))
        if not isinstance(response.data, Mapping) or as_of is None:
            raise unreadable(f"{method} {path}: the answer is no JSON object with a Date", response.code, request_id)
        return Answer(body=response.data, as_of=as_of, request_id=request_id)


def path(*parts: str) -> str:
    """`/v1/…` with each part quoted. Raises Missing for an id that would name another path, quoted or not: there is no such object."""
    if any(part.strip(".") == "" or "/" in part or "\\" in part or not part.isprintable() for part in parts):
        raise Missing(message="Nothing has such an id.", code="resource_missing", http_status=404)
    return "/v1/" + "/".join(urllib.parse.quote(part, safe="") for part in parts)


_wires: "weakref.WeakSet[Wire]" = weakref.WeakSet()


def _reopen_all() -> None:
    for wire in list(_wires):
        wire.reopen()


os.register_at_fork(after_in_child=_reopen_all)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except stripe.StripeError as error:
        raise _failure(error) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The SDK takes the shape of an error body for granted: `{"error": []}` ends here.
        raise unreadable(f"Stripe's answer could not be read ({type(error).__name__}: {error})", None, None) from error


class _Facts(TypedDict):
    message: str
    code: str | None
    param: str | None
    request_id: str | None
    http_status: int | None


def _failure(error: stripe.StripeError) -> StripeFailure:
    """Which of our four kinds an SDK error is. Its body is read by hand: several of the SDK's classes leave their own `code` empty."""
    body = error.json_body.get("error") if isinstance(error.json_body, Mapping) else None
    told: Mapping[str, object] = body if isinstance(body, Mapping) else {}
    headers, status = _lower(error.headers or {}), error.http_status
    code = told.get("code") or error.code or (told.get("type") if told.get("type") == "idempotency_error" else None)
    facts = _Facts(
        message=error.user_message or "Stripe gave no reason.",
        code=str(code) if code else None,
        param=str(told["param"]) if told.get("param") else None,
        request_id=headers.get("request-id"),
        http_status=status,
    )
    if status is None:
        facts["code"] = "no_answer"
        return Transient(**facts, ambiguous=not _never_left(error.__cause__))
    if status >= 500 or status < 400:  # below 400: an answer that is no JSON, or a redirect that leads nowhere
        return Transient(**facts, ambiguous=True, replayed=status >= 500 and headers.get("idempotent-replayed") == "true")
    if status in (409, 429) or code == "rate_limit" or headers.get("stripe-should-retry") == "true":
        return Transient(**facts, ambiguous=code == "idempotency_key_in_use")
    if isinstance(error, stripe.oauth_error.OAuthError):
        return Refused(**facts)
    if not isinstance(body, Mapping):  # Stripe says why it refuses: this was cut short on its way, or somebody in between said it
        return unreadable(facts["message"], status, facts["request_id"])
    if status == 401 or (status == 403 and code == "account_invalid"):
        return AccessLost(**facts)
    if status == 404 and code == "resource_missing":
        return Missing(**facts)
    return Refused(**facts)


def unreadable(message: str, status: int | None, request_id: str | None) -> Transient:
    """The failure of an answer that came and says nothing: whether the request was applied is not known."""
    return Transient(message=message, code="unreadable_answer", http_status=status, request_id=request_id, ambiguous=True)


def _never_left(cause: BaseException | None) -> bool:
    """True when no connection came about, so that nothing can have been applied."""
    reason = cause.args[0] if isinstance(cause, requests.ConnectionError) and cause.args else None
    return isinstance(reason, MaxRetryError) and isinstance(reason.reason, NewConnectionError | ConnectTimeoutError)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _date(header: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def _in_order(value: Mapping[str, object]) -> dict[str, object]:
    """The same parameters in one order, whatever order the database gave them back in: a retry sends the same bytes."""
    return {key: _ordered(value[key]) for key in sorted(value)}


def _ordered(value: object) -> object:
    if isinstance(value, Mapping):
        return _in_order(value)
    return [_ordered(entry) for entry in value] if isinstance(value, list | tuple) else value
