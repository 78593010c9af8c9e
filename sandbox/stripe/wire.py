"""Stripe's wire: how a request arrives, how a form nests, and how an answer or an error leaves."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

Obj = dict[str, Any]

API_VERSION = "2026-10-28.endive"

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_DEEPEST = 16
_PART = re.compile(r"\[([^\[\]]*)\]")


class Caller(Protocol):
    """The other end of a connection, as far as a fault needs it."""

    def hold(self, seconds: float) -> None:
        """Keep the caller waiting; come back early when it has hung up."""

    def kill(self) -> None:
        """End the calling process as `kill -9` would."""


class Dropped(Exception):
    """The connection ends here and the caller gets no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request; header names are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    caller: Caller | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer, ready to send."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class StripeError(Exception):
    """An error as Stripe words it. `is_saved` is false for what fails before the endpoint runs: no idempotency key keeps it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        type: str = "invalid_request_error",
        is_saved: bool = True,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.type = status, message, code, param, type
        self.is_saved, self.headers, self.extra = is_saved, dict(headers or {}), dict(extra or {})


def invalid(message: str, param: str | None, code: str | None = None) -> StripeError:
    """The parameters can't be read: 400, kept under no idempotency key."""
    return StripeError(400, message, code=code, param=param, is_saved=False)


def refused(message: str, param: str | None = None, code: str | None = None) -> StripeError:
    """The request was read, tried and refused: 400, kept under its idempotency key."""
    return StripeError(400, message, code=code, param=param)


def missing(kind: str, id: str, param: str = "id", note: str = "") -> StripeError:
    """There is no such object in this account and mode: 404 `resource_missing`."""
    return StripeError(404, f"No such {kind.replace('_', ' ')}: '{id}'{note}", code="resource_missing", param=param)


def to_json(value: Any) -> bytes:
    """JSON as Stripe prints it: two spaces, so that webhook signatures are tried on the very bytes."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def error_body(error: StripeError, request_id: str, account: str | None, livemode: bool) -> Obj:
    """The JSON body of an error, with the links Stripe adds."""
    mode = "" if livemode else "test/"
    owner = f"{account}/" if account else ""
    body: Obj = {}
    if error.code:
        body |= {"code": error.code, "doc_url": "https://docs.stripe.com/error-codes/" + error.code.replace("_", "-")}
    body["message"] = error.message
    if error.param:
        body["param"] = error.param
    body["request_log_url"] = f"https://dashboard.stripe.com/{owner}{mode}workbench/logs?object={request_id}"
    body["type"] = error.type
    return {"error": body | error.extra}


def decode(raw: str) -> Obj:
    """`items[0][price]=a&expand[]=b` -> `{"items": [{"price": "a"}], "expand": ["b"]}`; values stay text."""
    root: Obj = {}
    for key, value in parse_qsl(raw, keep_blank_values=True):
        match = _KEY.fullmatch(key)
        parts = [match.group(1), *_PART.findall(match.group(2))] if match else [key]
        if len(parts) > _DEEPEST:
            parts = [key]
        node = root
        for part in parts[:-1]:
            name = part or str(len(node))
            child = node.get(name)
            if not isinstance(child, dict):
                child = node[name] = {}
            node = child
        node[parts[-1] or str(len(node))] = value
    return {key: _listed(value) for key, value in root.items()}


def _listed(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isascii() and key.isdigit() for key in node):
        return [_listed(node[key]) for key in sorted(node, key=int)]
    return {key: _listed(value) for key, value in node.items()}


def key_of(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """The API key of a request and how it came, `bearer` or `basic`."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and rest.strip():
        return rest.strip(), "bearer"
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[0], "basic"
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None
