"""What one account holds in one mode, and ids in Stripe's form."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.stripe.wire import Obj, missing

_ALNUM = string.ascii_letters + string.digits
_chance = random.SystemRandom()

PREFIXES = {
    "customer": "cus_",
    "product": "prod_",
    "price": "price_1",
    "coupon": "",
    "discount": "di_1",
    "subscription": "sub_1",
    "subscription_item": "si_",
    "subscription_schedule": "sub_sched_1",
    "invoice": "in_1",
    "line_item": "il_1",
    "invoiceitem": "ii_1",
    "promotion_code": "promo_1",
    "setup_intent": "seti_1",
    "payment_method": "pm_1",
    "payment_intent": "pi_3",
    "invoice_payment": "inpay_1",
    "charge": "ch_3",
    "refund": "re_3",
    "dispute": "du_1",
    "event": "evt_1",
    "webhook_endpoint": "we_1",
    "billing_portal.configuration": "bpc_1",
    "billing_portal.session": "bps_1",
    "account": "acct_1",
    "request": "req_",
}
_LENGTHS = {"customer": 14, "product": 14, "subscription_item": 14, "coupon": 8, "account": 16, "request": 14}


def word(length: int) -> str:
    """So many random letters and digits."""
    return "".join(_chance.choices(_ALNUM, k=length))


def new_id(kind: str) -> str:
    """A fresh id as Stripe would make one for this kind of object."""
    return PREFIXES[kind] + word(_LENGTHS.get(kind, 23))


def clone(value: Any) -> Any:
    """A deep copy of JSON."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


@dataclass(slots=True, kw_only=True)
class World:
    """All objects of one account in one mode, by kind and id, oldest first, as they look unexpanded."""

    account: str
    livemode: bool
    twin: World | None = field(default=None, repr=False)
    """The same account in the other mode, for a hint when a key of the wrong mode was used."""
    tables: dict[str, dict[str, Obj]] = field(default_factory=dict)
    rehearsed: list[Obj] | None = None
    """The invoices drafted so far, where this world is the copy that a change is tried in."""
    previewed: dict[str, Obj] = field(default_factory=dict)
    """The discounts of the last preview, which are nobody's; shown on expansion only."""
    held: dict[str, Obj] = field(default_factory=dict)
    """Changes of subscriptions that wait for their invoice to be paid, by subscription."""
    trials_told: set[str] = field(default_factory=set)
    """Subscriptions whose coming end of trial was told."""
    coupon_products: dict[str, list[str]] = field(default_factory=dict)
    """The products a coupon is limited to; shown on expansion only."""
    coupon_currencies: dict[str, Obj] = field(default_factory=dict)
    """The amounts of a coupon in other currencies than its own; shown on expansion only."""
    tiers: dict[str, list[Obj]] = field(default_factory=dict)
    """The tiers of prices that have some; shown on expansion only."""
    pages: dict[str, str] = field(default_factory=dict)
    """Checkout sessions by the secret in the URL of their page."""
    sessions: dict[str, Obj] = field(default_factory=dict)
    """Billing portal pages by the secret in their URL."""

    def table(self, kind: str) -> dict[str, Obj]:
        """The objects of one kind by id."""
        return self.tables.setdefault(kind, {})

    def put(self, obj: Obj) -> Obj:
        """Keep this object, new or changed."""
        self.table(obj["object"])[obj["id"]] = obj
        return obj

    def find(self, kind: str, id: str) -> Obj | None:
        """The object, or None."""
        return self.table(kind).get(id)

    def remembered(self, kind: str, id: str) -> Obj | None:
        """The object even if it was deleted since: old discounts still name their coupon."""
        return self.table(kind).get(id) or self.table("deleted " + kind).get(id) or (self.previewed.get(id) if kind == "discount" else None)

    def forget(self, obj: Obj) -> Obj:
        """Delete; what remains is Stripe's stub."""
        self.table("deleted " + obj["object"])[obj["id"]] = self.table(obj["object"]).pop(obj["id"])
        return {"id": obj["id"], "object": obj["object"], "deleted": True}

    def get(self, kind: str, id: str, param: str = "id") -> Obj:
        """The object; raises 404 `resource_missing`."""
        found = self.table(kind).get(id)
        if found is None:
            this, other = ("live", "test") if self.livemode else ("test", "live")
            hint = f"; a similar object exists in {other} mode, but a {this} mode key was used to make this request."
            raise missing(kind, id, param, hint if self.twin and self.twin.find(kind, id) else "")
        return found

    def all(self, kind: str, **having: Any) -> Iterator[Obj]:
        """The objects of one kind whose fields have these values, oldest first."""
        for obj in list(self.table(kind).values()):
            if all(obj.get(key) == value for key, value in having.items()):
                yield obj
