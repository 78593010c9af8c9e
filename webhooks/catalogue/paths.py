"""Dotted paths: how a place inside a JSON object is written as one line of text, and read again without loss.

The keys on the way are joined by dots. A dot or a backslash that belongs to a key is written with a backslash before it, so a metadata key
`v1.plan` is `customer.metadata.v1\\.plan`; brackets, spaces and every other character stand for themselves. Elements of a list are counted
from 0.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeGuard

Scalar = str | int | float | bool


def join(keys: Iterable[str]) -> str:
    """The path of these keys; different keys have different paths."""
    return ".".join(re.sub(r"[\\.]", r"\\\g<0>", key) for key in keys)


def split(path: str) -> list[str]:
    """The keys of a path. Any text is a path: a backslash before another character stands for itself."""
    return [re.sub(r"\\([\\.])", r"\1", key) for key in re.findall(r"(?:^|\.)((?:\\.|[^.\\]|\\$)*)", path, re.DOTALL)]


def is_scalar(value: object) -> TypeGuard[Scalar]:
    """Whether this is a value by itself: neither nothing, nor an object, nor a list."""
    return isinstance(value, str | int | float | bool)


def children(value: object, *, is_listing: bool) -> Iterator[tuple[str, object]]:
    """What an object holds by key, or a list by place; lists are closed to a caller that is not `is_listing`."""
    if isinstance(value, Mapping):
        yield from ((key, part) for key, part in value.items() if isinstance(key, str))
    elif is_listing and isinstance(value, list | tuple):
        yield from ((str(place), part) for place, part in enumerate(value))


def child(value: object, key: str, *, is_listing: bool) -> object:
    """What `children` would give under this key; None where there is nothing."""
    if isinstance(value, Mapping):
        return value.get(key)
    if is_listing and isinstance(value, list | tuple) and re.fullmatch(r"0|[1-9]\d{0,8}", key, re.ASCII) and int(key) < len(value):
        found: object = value[int(key)]
        return found
    return None
