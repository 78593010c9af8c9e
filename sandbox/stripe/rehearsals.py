"""Rehearsals: a copy of one customer's affairs in which a change is tried, and time moved, without anybody hearing of it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from sandbox.stripe.context import Context
from sandbox.stripe.worlds import World, clone

if TYPE_CHECKING:
    from sandbox.stripe.clock import Clock
    from sandbox.stripe.wire import Obj

_SHARED = ("product", "price", "deleted coupon", "deleted customer")
_WHOLE = ("coupon", "promotion_code")
_OF_CUSTOMER = ("subscription", "discount", "invoice", "invoiceitem", "payment_method", "subscription_schedule")


class _Still:
    """A clock that stands until it is set, and wakes nobody."""

    def __init__(self, moment: int) -> None:
        self.moment = moment

    def now(self) -> int:
        return self.moment

    def watch(self, *_: Any) -> None:
        return


def of(ctx: Context, customer: str) -> Context:
    """A context that has this customer, their subscriptions and all these need, as copies; its clock stands at this moment."""
    there, here = ctx.world, World(account=ctx.world.account, livemode=ctx.livemode, rehearsed=[])
    for kind in _SHARED:
        here.tables[kind] = there.table(kind)
    for kind in _WHOLE:
        here.tables[kind] = clone(there.table(kind))
    for kind in _OF_CUSTOMER:
        here.tables[kind] = {obj["id"]: clone(obj) for obj in there.all(kind, customer=customer)}
    here.tables["customer"] = {customer: clone(there.get("customer", customer, "customer"))}
    here.trials_told = set(there.trials_told)
    here.coupon_products, here.coupon_currencies = there.coupon_products, there.coupon_currencies
    here.tiers = there.tiers
    here.held = clone(there.held)
    local = copy.copy(ctx.local)
    local.is_quiet = True
    local.effects = []
    local.clock = cast("Clock", _Still(ctx.now))
    return Context(local=local, world=here, source=ctx.source)


def move_to(ctx: Context, moment: int) -> None:
    """Let it be this moment, or stay where it is if that is later."""
    clock = cast("_Still", ctx.local.clock)
    clock.moment = max(clock.moment, moment)


def drafted(ctx: Context) -> list[Obj]:
    """The invoices that were made since the rehearsal began, each as it was before anybody tried to collect it."""
    return ctx.world.rehearsed or []
