"""Lists: newest first, filtered, cut into pages by cursor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox.stripe.wire import Obj, invalid, missing


def within(value: int | None, wanted: Any) -> bool:
    """Is this time the wanted one, or inside the wanted range?"""
    if not isinstance(wanted, dict):
        return bool(value == wanted)
    return value is not None and bool(
        value > wanted.get("gt", value - 1)
        and value >= wanted.get("gte", value)
        and value < wanted.get("lt", value + 1)
        and value <= wanted.get("lte", value)
    )


def page(url: str, objects: Iterable[Obj], p: Obj) -> Obj:
    """One page of these objects, which come oldest first. Raises 400 on a bad limit, two cursors or a cursor that is not in the list."""
    limit = p.get("limit", 10)
    if not 1 <= limit <= 100:
        raise invalid(
            f"Invalid integer: {limit}; must be {'at least 1' if limit < 1 else 'at most 100'}", "limit", "parameter_invalid_integer"
        )
    if "starting_after" in p and "ending_before" in p:
        raise invalid("You may only specify one of these parameters: ending_before, starting_after.", "starting_after")
    ordered = list(objects)[::-1]
    if cursor := p.get("starting_after"):
        rest = ordered[_place(ordered, cursor, "starting_after") + 1 :]
        data, more = rest[:limit], len(rest) > limit
    elif cursor := p.get("ending_before"):
        rest = ordered[: _place(ordered, cursor, "ending_before")]
        data, more = rest[-limit:], len(rest) > limit
    else:
        data, more = ordered[:limit], len(ordered) > limit
    return {"object": "list", "data": data, "has_more": more, "url": url}


def _place(ordered: list[Obj], id: str, param: str) -> int:
    for index, obj in enumerate(ordered):
        if obj["id"] == id:
            return index
    kind = ordered[0]["object"] if ordered else "object"
    error = missing(kind, id, param)
    error.status = 400
    raise error
