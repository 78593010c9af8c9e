"""The shapes of parameters: what Stripe accepts under a name, and its words for what it does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sandbox.stripe.wire import Obj, StripeError, invalid

Shape = Callable[[Any, str], Any]

_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")


class Required:
    """Marks a parameter that must be there."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


def unknown(path: str) -> StripeError:
    """The parameter is none of this endpoint's."""
    return invalid(f"Received unknown parameter: {path}", path, "parameter_unknown")


def text(value: Any, path: str) -> str:
    """A string that is not empty."""
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {value}", path)
    if value == "":
        raise invalid(
            f"You passed an empty string for '{path}'. We assume empty values are an attempt to unset a parameter; however '{path}' "
            f"cannot be unset. You should remove '{path}' from your request or supply a non-empty value.",
            path,
            "parameter_invalid_empty",
        )
    return value


def integer(value: Any, path: str) -> int:
    """A whole number, times (Unix seconds) included."""
    if not isinstance(value, str) or not _INTEGER.fullmatch(value):
        raise invalid(f"Invalid integer: {value}", path, "parameter_invalid_integer")
    return int(value)


def number(value: Any, path: str) -> float:
    """A decimal number."""
    try:
        return float(text(value, path))
    except ValueError:
        raise invalid(f"Invalid decimal: {value}", path) from None


def decimal(value: Any, path: str) -> str:
    """A decimal number as text, with at most twelve decimal places."""
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise invalid(f"Invalid decimal: {value}", path)
    return value


def boolean(value: Any, path: str) -> bool:
    """`true` or `false`."""
    if value not in ("true", "false"):
        raise invalid(f"Invalid boolean: {value}", path)
    return bool(value == "true")


def one_of(*names: str) -> Shape:
    """One of these words."""

    def read(value: Any, path: str) -> str:
        if value not in names:
            choices = ", ".join(names[:-1]) + f", or {names[-1]}" if len(names) > 1 else names[0]
            raise invalid(f"Invalid {path}: must be one of {choices}", path)
        return str(value)

    return read


def either(word: str, shape: Shape) -> Shape:
    """This word, or else that shape."""
    return lambda value, path: word if value == word else shape(value, path)


def clearable(shape: Shape) -> Shape:
    """The shape, or the empty string, which clears and is read as None."""
    return lambda value, path: None if value == "" else shape(value, path)


def at_most(length: int) -> Shape:
    """A text of so many characters."""

    def read(value: Any, path: str) -> str:
        read_value = text(value, path)
        if len(read_value) > length:
            raise invalid(f"Invalid string: {value[:20]}...; must be at most {length} characters", path, "parameter_invalid_string")
        return read_value

    return read


def many(shape: Shape, *, at_most: int | None = None) -> Shape:
    """A list."""

    def read(value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise invalid("Invalid array", path)
        if at_most is not None and len(value) > at_most:
            raise invalid(f"Array {path} exceeded maximum {at_most} allowed elements.", path)
        return [shape(item, f"{path}[{index}]") for index, item in enumerate(value)]

    return read


def record(**fields: Shape | Required) -> Shape:
    """A hash with these keys and no others."""

    def read(value: Any, path: str) -> Obj:
        if not isinstance(value, dict):
            raise invalid("Invalid object", path)
        return _read(fields, value, path)

    return read


def by_key(shape: Shape) -> Shape:
    """A hash of any keys, each with a value of this shape."""

    def read(value: Any, path: str) -> Obj:
        if not isinstance(value, dict):
            raise invalid("Invalid object", path)
        return {key: shape(item, f"{path}[{key}]") for key, item in value.items()}

    return read


def metadata(value: Any, path: str) -> dict[str, str] | None:
    """Keys and texts; None clears all, an empty text clears its key."""
    if value == "":
        return None
    if isinstance(value, list):  # all keys were digits
        value = {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise invalid("Invalid hash", path)
    for key, item in value.items():
        if len(key) > 40:
            raise invalid(f"Metadata key '{key[:20]}...' is longer than 40 characters.", path)
        if len(item) > 500:
            raise invalid(f"Metadata value for '{key}' is longer than 500 characters.", f"{path}[{key}]")
    return dict(value)


def merged(current: Obj | None, change: dict[str, str] | None) -> Obj:
    """Metadata after a change."""
    if change is None:
        return {}
    return {key: value for key, value in {**(current or {}), **change}.items() if value != ""}


RANGE = record(gt=integer, gte=integer, lt=integer, lte=integer)


def created(value: Any, path: str) -> Any:
    """A time, or a range of times."""
    return RANGE(value, path) if isinstance(value, dict) else integer(value, path)


PAGE: dict[str, Shape | Required] = {"limit": integer, "starting_after": text, "ending_before": text}


def _read(fields: dict[str, Shape | Required], raw: Obj, path: str) -> Obj:
    def name(key: str) -> str:
        return f"{path}[{key}]" if path else key

    for key in raw:
        if key not in fields:
            raise unknown(name(key))
    result: Obj = {}
    for key, shape in fields.items():
        if isinstance(shape, Required):
            if key not in raw:
                raise invalid(f"Missing required param: {name(key)}.", name(key), "parameter_missing")
            shape = shape.shape
        if key in raw:
            result[key] = shape(raw[key], name(key))
    return result


def read(fields: dict[str, Shape | Required], raw: Obj) -> Obj:
    """The parameters of one request, typed; `expand` is everybody's. Raises `StripeError` with the parameter's name."""
    return _read({**fields, "expand": many(text, at_most=20)}, raw, "")
