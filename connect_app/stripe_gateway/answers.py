"""What came back: a value with Stripe's own time and request id, alone or a page at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from connect_app.stripe_gateway import objects, wire

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Generic[T]):
    """What Stripe said, when by its own clock (whole seconds, UTC), and under which request id."""

    value: T
    as_of: datetime
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list. Ask on with `after=page.last_id` while `has_more`; `last_at` is when the last one listed was created (Unix).

    `items` may be fewer than are listed, or what those name. `unreadable` says of each object that was no object of ours which it was and
    why: one bad apple does not stop a read-in.
    """

    items: tuple[T, ...]
    has_more: bool
    last_id: str | None
    last_at: int | None = None
    unreadable: tuple[str, ...] = ()


def read(answer: wire.Answer, reader: Callable[[Mapping[str, object]], T]) -> Read[T]:
    """The answer's object. Raises Transient for one that is no such object: the request may have been applied."""
    try:
        value = reader(answer.body)
    except objects.Malformed as problem:
        raise wire.unreadable(str(problem), 200, answer.request_id) from problem
    return Read(value=value, as_of=answer.as_of, request_id=answer.request_id)


def list_page(
    account_wire: wire.Wire,
    account: str | None,
    folder: str,
    reader: Callable[[Mapping[str, object]], T | None],
    params: Mapping[str, object],
) -> Read[Page[T]]:
    """One page of `/v1/<folder>`; parameters that are None are left out, and so is what the reader makes None of."""
    given = {name: value for name, value in params.items() if value is not None}
    answer = account_wire.ask("get", wire.path(*folder.split("/")), given, account=account)
    return read(answer, lambda raw: _page_of(objects.Shape(raw), reader))


def _page_of(shape: objects.Shape, reader: Callable[[Mapping[str, object]], T | None]) -> Page[T]:
    items, unreadable, last_id, last_at = [], [], None, None
    for part in shape.parts("data"):
        last_id, created = part.name(), part.raw.get("created")
        last_at = created if isinstance(created, int) else last_at
        try:
            one = reader(part.raw)
        except objects.Malformed as problem:
            unreadable.append(f"{last_id}: {problem}")
            continue
        if one is not None:
            items.append(one)
    has_more = shape.flag("has_more")
    return Page(items=tuple(items), has_more=has_more, last_id=last_id, last_at=last_at, unreadable=tuple(unreadable))
