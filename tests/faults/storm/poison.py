"""Events that are signed and cannot be understood: true ones, broken in every way we could think of."""

import random
from collections.abc import Callable
from typing import Any

from sandbox.stripe.wire import to_json
from sandbox.stripe.worlds import clone, new_id

Obj = dict[str, Any]

_DEEP, _BOTTOMLESS = 300, 100_000
_MARK = "\uf8ff here \uf8ff"


def _gone(*path: str) -> Callable[[Obj], None]:
    def edit(event: Obj) -> None:
        part: Obj = event
        for key in path[:-1]:
            part = part[key]
        del part[path[-1]]

    return edit


def _becomes(value: Any, *path: str) -> Callable[[Obj], None]:
    def edit(event: Obj) -> None:
        part: Obj = event
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = value

    return edit


# Of a `customer.subscription.updated`: each of them would change a subscription that is there, if it were believed.
EDITS: dict[str, Callable[[Obj], None]] = {
    "no object": _gone("data", "object"),
    "no data": _gone("data"),
    "an object that is a word": _becomes("subscription", "data", "object"),
    "an object that is a list": _becomes([{}], "data", "object"),
    "another kind of object": _becomes("customer", "data", "object", "object"),
    "no id": _gone("data", "object", "id"),
    "an id that is a number": _becomes(12345, "data", "object", "id"),
    "an id longer than any": _becomes("sub_" + "x" * 5000, "data", "object", "id"),
    "no status": _gone("data", "object", "status"),
    "a status nobody has": _becomes("asleep", "data", "object", "status"),
    "a status with a NUL": _becomes("act\x00ive", "data", "object", "status"),
    "no customer": _gone("data", "object", "customer"),
    "a customer that is a list": _becomes(["cus_1"], "data", "object", "customer"),
    "items that are a word": _becomes("many", "data", "object", "items"),
    "items that are numbers": _becomes([1, 2], "data", "object", "items", "data"),
    "created is a word": _becomes("yesterday", "data", "object", "created"),
    "created beyond all calendars": _becomes(10**18, "data", "object", "created"),
    "a flag that is a number": _becomes(7, "data", "object", "cancel_at_period_end"),
}

# What no honest JSON writer writes: put into the bytes where the mark stands, in an object that is otherwise whole.
BYTES: dict[str, bytes] = {
    "not a number": b"NaN",
    "infinity": b"-Infinity",
    "a number beyond all numbers": b"1e400",
    "no depth's end": b"[" * _BOTTOMLESS + b"]" * _BOTTOMLESS,
    "a bracket too few": b"[1, 2",
    "no UTF-8": b'"\xff\xfe"',
}


def forms() -> list[str]:
    """The names of all ways to be broken."""
    return [*EDITS, *BYTES, "deep and no status"]


def broken(event: Obj, form: str, chance: random.Random, created: int) -> tuple[str, bytes]:
    """A copy of a subscription's event under a new id, broken in this way: (event id, bytes)."""
    copy = clone(event)
    copy |= {"id": new_id("event"), "type": "customer.subscription.updated", "created": created}
    copy["data"]["object"]["metadata"] = {"poison": form}
    if form in EDITS:
        EDITS[form](copy)
    elif form in BYTES:
        copy["data"]["object"]["ended_at"] = _MARK
    else:
        del copy["data"]["object"]["status"]
        copy["data"]["object"]["metadata"]["deep"] = _nested(chance.randint(_DEEP // 2, _DEEP))
    raw = to_json(copy)
    if form in BYTES:
        raw = raw.replace(f'"{_MARK}"'.encode(), BYTES[form])
    return copy["id"], raw


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value
