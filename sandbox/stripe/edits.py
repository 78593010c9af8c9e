"""Edits: fields of a simple object replaced by others, and ids that somebody chose."""

from __future__ import annotations

from sandbox.stripe import events, params
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, refused
from sandbox.stripe.worlds import clone, new_id


def changed(ctx: Context, obj: Obj, p: Obj) -> Obj:
    """The object with these fields, and the news told."""
    before = clone(obj)
    for key, value in p.items():
        if key == "metadata":
            obj["metadata"] = params.merged(obj["metadata"], value)
        elif key != "expand":
            obj[key] = value
    if obj["object"] == "product" and obj != before:
        obj["updated"] = ctx.now
    events.tell(ctx, "updated", obj, before)
    return obj


def unused(ctx: Context, kind: str, id: str | None) -> str:
    """The wanted id, or a fresh one. Raises 400 where somebody has it."""
    if id is not None and ctx.world.find(kind, id):
        raise refused(f"{kind.capitalize()} already exists.", "id", "resource_already_exists")
    return id or new_id(kind)
