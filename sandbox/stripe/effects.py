"""The ledger of effects: one row for each change of state of a subscription, and what kind of change it was."""

from __future__ import annotations

from typing import Any

from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj
from sandbox.stripe.worlds import clone


def difference(before: Obj, after: Obj) -> Obj:
    """The values that were different before; hashes by key, arrays whole, as in `previous_attributes`."""
    changed: Obj = {}
    for key in before | after:
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and old.get("object") != "list":
            changed[key] = difference(old, new)
        else:
            changed[key] = clone(old)
    return changed


def _items(subscription: Obj) -> list[Any]:
    return [(item["price"]["id"], item["quantity"]) for item in subscription["items"]["data"]]


def kind(before: Obj, after: Obj) -> str:
    """The name of the change, the weightiest first."""
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    if "status" in changed and after["status"] == "canceled":
        return "cancel"
    if "discounts" in changed:
        return "discount"
    if _items(before) != _items(after):
        return "plan_change"
    if "pause_collection" in changed:
        if after["pause_collection"] is None:
            return "resume"
        return "extension" if after["pause_collection"]["behavior"] == "mark_uncollectible" else "pause"
    if "status" in changed and after["status"] == "paused":
        return "pause"
    if "status" in changed and before["status"] == "paused":
        return "resume"
    if changed & {"cancel_at", "cancel_at_period_end"}:
        ending = after["cancel_at_period_end"] or after["cancel_at"] is not None
        return "cancel_at_period_end" if ending else "undo_cancel"
    if "trial_end" in changed:
        return "trial_end"
    return "payment_method" if "default_payment_method" in changed else "other"


def note(ctx: Context, before: Obj, after: Obj) -> None:
    """Write a row, unless nothing changed or history is being made."""
    changed = difference(before, after)
    if not changed or ctx.local.is_quiet:
        return
    named = kind(before, after)
    if ctx.source == "clock" and named not in ("cancel", "pause", "resume"):
        named = "other"  # a renewal, whatever lapsed with it
    ctx.local.effects.append(
        {
            "n": len(ctx.local.effects) + 1,
            "account": ctx.world.account,
            "subscription": after["id"],
            "kind": named,
            "before": changed,
            "after": {key: clone(after.get(key)) for key in changed},
            "idempotency_key": ctx.idempotency_key,
            "source": ctx.source,
        }
    )
