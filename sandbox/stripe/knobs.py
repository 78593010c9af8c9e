"""The control door's values in JSON: objects, rates, counts, seconds, texts and seeds, and its words for what is none."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sandbox.stripe.wire import Obj, invalid

LONGEST_SECONDS = 3600.0


def parsed(body: bytes) -> Any:
    """The body's JSON, an empty object where there is none. Raises 400; NaN and Infinity are no JSON."""
    if not body:
        return {}
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise invalid("The body is not JSON.", None) from None


def record(wanted: Any, names: Collection[str], param: str) -> Obj:
    """An object with these names and no others; `param` is the one to blame where it is none. What is null was not given."""
    if not isinstance(wanted, dict):
        raise invalid(f"The body is an object that may name {', '.join(names)}.", param)
    for name in wanted:
        if name not in names:
            raise invalid(f"Received unknown parameter: {name}", name, "parameter_unknown")
    return {name: value for name, value in wanted.items() if value is not None}


def rate(value: Any, name: str) -> float:
    """A probability, from 0 to 1."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise invalid(f"`{name}` is a number from 0 to 1.", name)
    return float(value)


def seconds(value: Any, name: str) -> float:
    """A length of time that a test can wait for: up to an hour."""
    if not _is_number(value) or not 0 <= value <= LONGEST_SECONDS:
        raise invalid(f"`{name}` is a number of seconds, from 0 to {LONGEST_SECONDS:.0f}.", name)
    return float(value)


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number within bounds, both included."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise invalid(f"`{name}` is a whole number from {low} to {high}.", name)
    return value


def text(value: Any, name: str) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise invalid(f"`{name}` is a text.", name)
    return value


def seed(value: Any, name: str) -> int | str:
    """What makes chance repeat itself."""
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise invalid(f"`{name}` is a whole number or a text.", name)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _no_number(name: str) -> Any:
    raise ValueError(name)
