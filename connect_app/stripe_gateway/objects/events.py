"""Stripe's news: which object changed, on whose account, in which mode, when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connect_app.stripe_gateway.objects.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event. `account` is None for the platform's own; `object_id` is None for objects without an id.

    `object` is the raw object as the event's `api_version` renders it: a trigger and a candidate, not the present state.
    """

    id: str
    type: str
    created: datetime
    account: str | None
    livemode: bool
    api_version: str | None
    object_id: str | None
    object_type: str | None
    object: Mapping[str, object] = field(repr=False, compare=False)


def read_event(raw: Mapping[str, object]) -> Event:
    """An `event` with a snapshot of its object. Raises Malformed."""
    shape = Shape(raw)
    data = shape.maybe_part("data")
    changed = data.maybe_part("object") if data else None
    if changed is None:
        raise shape.wrong("data.object", "missing")
    return Event(
        id=shape.name(),
        type=shape.name("type"),
        created=shape.instant("created"),
        account=shape.maybe_text("account"),
        livemode=shape.flag("livemode"),
        api_version=shape.maybe_text("api_version"),
        object_id=changed.maybe_text("id"),
        object_type=changed.maybe_text("object"),
        object=changed.raw,
    )
