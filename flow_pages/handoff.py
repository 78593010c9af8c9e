"""Reading a hand-off: bytes to a JSON object that means one thing, fields of an exact grammar, and the string that was to be signed."""

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from connect_app.errors import InvalidRequest, NotAuthenticated
from connect_app.models.base import Json

BODY_LIMIT = 16 * 1024
CUSTOM_LIMIT = 8 * 1024
WINDOW_SECONDS = 300
_DEPTH = 32

# ASCII only, whole strings only: `\d`, `\w` and `$` would let other alphabets and line breaks in.
_WORKSPACE = re.compile(r"[a-z0-9-]{1,63}")
_CUSTOMER = re.compile(r"cus_[A-Za-z0-9]{1,250}")
_SUBSCRIPTION = re.compile(r"[\x20-\x7e]{0,255}")
_TIMESTAMP = re.compile(r"[0-9]{10}")
_MILLISECONDS = re.compile(r"[0-9]{13}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
_HEADER = re.compile(r"t=([0-9]{10}),v1=([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A hand-off of the right form, with nothing proven yet. `signed` is the string the caller should have signed.

    `is_whole` when the whole body is signed (the Holdfast-Signature header), so that its extras count.
    """

    workspace: str
    customer: str
    subscription: str | None
    timestamp: int
    signature: str
    signed: bytes
    is_whole: bool
    return_url: str | None
    cancel_url: str | None
    locale: str | None
    custom: Json


def read(raw: bytes, headers: list[str], *, has_subscription: bool) -> Bundle:
    """The bundle in a request's body (and its Holdfast-Signature headers). Raises InvalidRequest naming what is wrong."""
    fields = parse(raw)
    workspace = _text(fields, "workspace", _WORKSPACE, "the workspace's slug: small letters, digits and hyphens")
    customer = _text(fields, "customer", _CUSTOMER, "a Stripe customer id such as cus_NffrFeUfNV2Hib")
    subscription = None
    if has_subscription:
        subscription = _text(fields, "subscription", _SUBSCRIPTION, "a Stripe subscription id, or an empty string where it is not known")
    elif "subscription" in fields:
        _refuse("subscription", "must not be sent here: the portal is for all subscriptions of a customer")
    if headers:
        timestamp, signature = _header(headers)
        if "timestamp" in fields and _timestamp(fields["timestamp"]) != timestamp:
            _refuse("timestamp", "differs from t in Holdfast-Signature")
        signed = timestamp.encode() + b"." + raw
    else:
        timestamp = _timestamp(fields.get("timestamp"))
        signature = _text(fields, "signature", _SIGNATURE, "64 hexadecimal digits in small letters")
        signed = "\n".join(part for part in (customer, subscription, timestamp) if part is not None).encode()
    return Bundle(
        workspace=workspace,
        customer=customer,
        subscription=subscription,
        timestamp=int(timestamp),
        signature=signature,
        signed=signed,
        is_whole=bool(headers),
        return_url=_maybe_text(fields, "return_url") if has_subscription else None,
        cancel_url=_maybe_text(fields, "cancel_url") if has_subscription else None,
        locale=_locale(fields) if has_subscription else None,
        custom=_custom(fields) if has_subscription and headers else {},
    )


def check_window(bundle: Bundle, now: datetime) -> None:
    """Raises NotAuthenticated for a timestamp more than 300 seconds from our clock, either way."""
    off = bundle.timestamp - int(now.timestamp())
    if abs(off) > WINDOW_SECONDS:
        raise NotAuthenticated(
            code="timestamp_out_of_range",
            message=f"The timestamp {bundle.timestamp} is {abs(off)} seconds {'ahead of' if off > 0 else 'behind'} our clock, which says"
            f" {int(now.timestamp())}. Sign at the click, and keep the clock of your server right: {WINDOW_SECONDS} seconds are allowed.",
            param="timestamp",
        )


def is_signed(bundle: Bundle, secret: str) -> bool:
    """Whether this secret made the signature; as bytes, and in the same time whichever it is."""
    expected = hmac.new(secret.encode(), bundle.signed, "sha256").digest()
    return hmac.compare_digest(expected, bytes.fromhex(bundle.signature))


def mismatch(bundle: Bundle) -> NotAuthenticated:
    """The refusal of a signature: it says what was to be signed, never with what, and is the same for a workspace that does not exist."""
    if bundle.is_whole:
        what = f'"{bundle.timestamp}." followed by the {len(bundle.signed) - 11} bytes of the body exactly as they were sent'
    else:
        what = json.dumps(bundle.signed.decode())
    return NotAuthenticated(
        code="signature_mismatch",
        message="The signature does not match. Expected: lower-case hex HMAC-SHA256, keyed with an embed secret of this workspace,"
        f" over the string {what} (\\n is one line feed).",
        param="signature",
    )


def parse(raw: bytes) -> dict[str, Any]:
    """A JSON object that no two parsers read differently. Raises InvalidRequest."""
    if len(raw) > BODY_LIMIT:
        raise InvalidRequest(code="invalid_request", message=f"The body is larger than {BODY_LIMIT} bytes.", param="body")
    try:
        text = raw.decode("utf-8")
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte order mark")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        _sound(value, 0)
    except UnicodeDecodeError:
        _bad_body("it is not UTF-8")
    except RecursionError:
        _bad_body("it is nested too deeply")
    except json.JSONDecodeError as error:
        _bad_body(f"{error.msg} at line {error.lineno}, column {error.colno}")
    except ValueError as error:
        _bad_body(str(error)[:200])
    if not isinstance(value, dict):
        _bad_body("it is not an object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _finite(text: str) -> float:
    if (number := float(text)) in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number


def _sound(value: Any, depth: int) -> None:
    """Refuse what a database cannot keep, however deep it lies."""
    if depth > _DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(value, str):
        if "\0" in value or re.search("[\ud800-\udfff]", value):
            raise ValueError("a string holds characters that are not text")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _sound(key, depth + 1)
            _sound(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _sound(inner, depth + 1)


def _header(headers: list[str]) -> tuple[str, str]:
    found = _HEADER.fullmatch(headers[0]) if len(headers) == 1 and headers[0].isascii() else None
    if found is None:
        _refuse("Holdfast-Signature", "must be one header t=<ten digits>,v1=<64 hexadecimal digits in small letters>")
    return found[1], found[2]


def _timestamp(value: Any) -> str:
    text: Any = str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**16 else value
    if isinstance(text, str) and text.isascii():
        if _TIMESTAMP.fullmatch(text):
            return text
        if _MILLISECONDS.fullmatch(text):
            raise InvalidRequest(
                code="timestamp_in_milliseconds",
                message="timestamp has 13 digits: milliseconds. Send seconds, in JavaScript Math.floor(Date.now() / 1000).",
                param="timestamp",
            )
    return _refuse("timestamp", "must be Unix seconds, an integer of ten digits")


def _text(fields: Mapping[str, Any], name: str, grammar: re.Pattern[str], wanted: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not grammar.fullmatch(value):
        _refuse(name, f"must be {wanted}" if name in fields else f"is missing: {wanted}")
    return value


def _maybe_text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        _refuse(name, "must be a URL")
    return value


def _locale(fields: Mapping[str, Any]) -> str | None:
    """A wish, not a condition: what no language tag of ours is (`en_US.UTF-8`, as some browsers say) is left out, and keeps nobody."""
    value = fields.get("locale")
    if value is not None and not isinstance(value, str):
        _refuse("locale", "must be a language tag such as de or pt-BR")
    return value if value is not None and _LOCALE.fullmatch(value) else None


def _custom(fields: Mapping[str, Any]) -> Json:
    value = fields.get("custom")
    if value is None:
        return {}
    if not isinstance(value, dict) or len(json.dumps(value, ensure_ascii=False).encode()) > CUSTOM_LIMIT:
        _refuse("custom", f"must be an object of at most {CUSTOM_LIMIT} bytes")
    return value


def _bad_body(why: str) -> NoReturn:
    raise InvalidRequest(code="invalid_request", message=f"The body is not the JSON we expect: {why}.", param="body")


def _refuse(param: str, why: str) -> NoReturn:
    raise InvalidRequest(code="invalid_request", message=f"{param} {why}.", param=param)
