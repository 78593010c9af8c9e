"""Data types: whether a value can be what a variable is declared to be, and as what."""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

from connect_app import money
from connect_app.money import Money
from webhooks.catalogue import Type, Value

TYPES: tuple[Type, ...] = ("text", "date", "decimal", "email", "url", "integer", "boolean", "money")

LONGEST = 500
_LAST_SECOND = 253_402_300_799
_BIGGEST = 2**63 - 1
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,12})?", re.ASCII)
_EMAIL = re.compile(r"[^\s@<>\"(),:;\\]{1,64}@[^\s@<>\"(),:;\\]{1,188}\.[^\s@.<>\"(),:;\\]{2,63}")
_AMOUNT = re.compile(r"(?:([A-Za-z]{3}) ?)?([+-]?\d{1,15}(?:\.\d{1,3})?)(?: ?([A-Za-z]{3}))?", re.ASCII)
_TRUE, _FALSE = frozenset(("true", "yes", "1", "on")), frozenset(("false", "no", "0", "off"))


def type_named(name: str | None) -> Type:
    """The data type of this name; text for one that is none."""
    return next((one for one in TYPES if one == name), "text")


class Unfit(ValueError):
    """A value that is not of the declared type; the message says so in words for the owner."""


def fit(type: Type, value: Value, *, currency: str | None, is_minor: bool = False) -> Value:
    """The value as this type. Raises Unfit.

    Text is read leniently: `2030-03-05`, Unix seconds, `yes`. A bare number becomes money of `currency`: whole minor units when
    `is_minor` (Stripe's own integers), else the unit people speak of (`29.90`).
    """
    if isinstance(value, str):
        value = _clean(value)
        if not value:
            raise Unfit("it is empty")
    match type:
        case "text":
            return _text(value)[:LONGEST]
        case "integer":
            return _integer(value)
        case "decimal":
            return _decimal(value)
        case "boolean":
            return _boolean(value)
        case "date":
            return _date(value)
        case "money":
            return _money(value, currency, is_minor=is_minor)
        case "email":
            if isinstance(value, str) and _EMAIL.fullmatch(value):
                return value
            raise _unfit(value, "an email address")
        case "url":
            if isinstance(value, str) and _is_address(value):
                return value
            raise _unfit(value, "a web address (http or https)")


def _clean(text: str) -> str:
    """Without what no database can keep, and no page show: NUL, and half a surrogate pair."""
    return re.sub("[\0\ud800-\udfff]", "", text).strip()


def _text(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.strftime("%Y-%m-%d")
        case Money():
            return f"{value.decimal} {value.currency.upper()}"
        case Decimal():
            return f"{value:f}"
        case int():
            return str(value) if abs(value) <= _BIGGEST else f"{Decimal(value):.6e}"
        case _:
            return value


def _integer(value: Value) -> int:
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, Decimal) and value == value.to_integral_value():
        number = int(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value) and "." not in value:
        number = int(value)
    if number is None or abs(number) > _BIGGEST:
        raise _unfit(value, "a whole number")
    return number


def _decimal(value: Value) -> Decimal:
    number: Decimal | None = None
    match value:
        case bool() | datetime():
            pass
        case int():
            number = Decimal(value)
        case Decimal():
            number = value
        case Money():
            number = value.decimal
        case str() if _NUMBER.fullmatch(value):
            number = Decimal(value)
    if number is None or (number and abs(number.adjusted()) > 30):
        raise _unfit(value, "a number")
    return number


def _boolean(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    said = str(value).lower() if isinstance(value, str | int) else ""
    if said in _TRUE or said in _FALSE:
        return said in _TRUE
    raise _unfit(value, "yes or no")


def _date(value: Value) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    seconds = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str) and re.fullmatch(r"\d{9,10}", value, re.ASCII):
        seconds = int(value)
    if seconds is not None and 0 < seconds <= _LAST_SECOND:
        return datetime.fromtimestamp(seconds, UTC)
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        try:
            at = datetime.fromisoformat(value)
            return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            pass
    raise _unfit(value, "a date (2030-03-05, or Unix seconds)")


def _money(value: Value, currency: str | None, *, is_minor: bool) -> Money:
    if isinstance(value, Money):
        return value
    number, code = (value, currency) if isinstance(value, int | Decimal) and not isinstance(value, bool) else (None, currency)
    if isinstance(value, str) and (found := _AMOUNT.fullmatch(value)) and not (found[1] and found[3]):
        number, code = Decimal(found[2]), (found[1] or found[3] or currency or "").lower() or None
    if number is None:
        raise _unfit(value, "an amount of money")
    if code is None:
        raise Unfit(f"{_quoted(value)} is an amount without a currency")
    try:
        minor = Decimal(number) if is_minor else Decimal(number).scaleb(money.exponent(code))
        amount = money.rounded(minor, code)
    except InvalidOperation as problem:
        raise _unfit(value, "an amount of money") from problem
    if abs(amount.amount) > _BIGGEST:
        raise _unfit(value, "an amount of money")
    return amount


def _is_address(text: str) -> bool:
    if len(text) > LONGEST or re.search(r"[\s\x00-\x20\x7f<>\"'`{}|\\^]", text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None and (parts.port or 1) > 0
    except ValueError:
        return False


def _unfit(value: Value, wanted: str) -> Unfit:
    return Unfit(f"{_quoted(value)} is not {wanted}")


def _quoted(value: Value) -> str:
    text = _text(value)
    return f"“{text if len(text) <= 40 else text[:39] + '…'}”"
