"""What goes on at one account in one mode: people sign up, change, pause, pay and leave, by the local Stripe's own verbs."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sandbox.stripe import catalogue, customers, payment_methods, payments, signups, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.wire import StripeError
from sandbox.stripe.worlds import World

Obj = dict[str, Any]

# An account has these under the same ids in both modes, and they differ: whoever mixes up the modes mixes up these.
SHARED_PRODUCT, SHARED_COUPON = "prod_shared", "SHARED"


@dataclass(kw_only=True)
class Business:
    """One account in one mode. `told` counts the events already asked for."""

    local: LocalStripe
    account: str
    livemode: bool
    chance: random.Random
    told: int = field(default=0)

    @property
    def mode(self) -> str:
        return "live" if self.livemode else "test"

    @property
    def world(self) -> World:
        return self.local.world(self.account, self.livemode)

    def open(self) -> None:
        """A catalogue, and the first customer."""
        with self.local.lock:
            ctx = self._ctx()
            catalogue.create_product(ctx, {"id": SHARED_PRODUCT, "name": f"{self.mode} plan of {self.account}"})
            for amount, interval in ((1900, "month"), (4900, "month"), (19000, "year")):
                recurring = {"interval": interval}
                catalogue.create_price(
                    ctx, {"product": SHARED_PRODUCT, "currency": "usd", "unit_amount": amount + self.livemode, "recurring": recurring}
                )
            lasting = {"percent_off": 10.0, "duration": "repeating", "duration_in_months": 3}
            catalogue.create_coupon(ctx, {"id": SHARED_COUPON, "name": f"{self.mode} coupon", **lasting})
            self._sign_up(ctx)

    def change(self) -> None:
        """One thing happens, or, where Stripe would not have it, nothing; now and then two in the same second."""
        verbs: list[tuple[Callable[[Context], object], int]] = [
            (self._sign_up, 3),
            (self._subscribe, 1),
            (self._rename, 14),
            (self._note, 12),
            (self._cancel_or_not, 6),
            (self._pause_or_resume, 6),
            (self._other_plan, 3),
            (self._discount, 4),
            (self._end, 1),
            (self._leave, 1),
            (self._sell_anew, 5),
            (self._coupon, 3),
            (self._refund, 2),
            (self._dispute, 1),
        ]
        [verb] = self.chance.choices([verb for verb, _ in verbs], [weight for _, weight in verbs])
        with self.local.lock:
            for _ in range(2 if self.chance.random() < 0.15 else 1):
                try:
                    verb(self._ctx())
                except StripeError:
                    return

    def news(self) -> list[Obj]:
        """The events since the last call, oldest first: Stripe's own objects, not copies."""
        with self.local.lock:
            fresh = list(islice(self.world.table("event").values(), self.told, None))
        self.told += len(fresh)
        return fresh

    def _ctx(self) -> Context:
        return Context(local=self.local, world=self.world, source="dashboard")

    def _word(self) -> str:
        return "".join(self.chance.choices("abcdefghijklmnopqrstuvwxyzåéüß", k=8))

    def _any(self, kind: str, **having: Any) -> Obj:
        found = list(self.world.all(kind, **having))
        if not found:
            raise StripeError(404, f"no {kind}")
        return self.chance.choice(found)

    def _alive(self) -> Obj:
        found = [one for one in self.world.all("subscription") if one["status"] not in subscriptions.ENDED]
        if not found:
            raise StripeError(404, "no subscription")
        return self.chance.choice(found)

    def _sign_up(self, ctx: Context) -> None:
        customer = customers.create(ctx, {"name": self._word().title(), "email": f"{self._word()}@mail.example"})
        good, bad = payment_methods.GOOD, payment_methods.DECLINES_LATER
        card = payment_methods.make_card(ctx, self.chance.choice((good, good, bad)))
        payment_methods.attach(ctx, card["id"], {"customer": customer["id"]})
        customers.update(ctx, customer["id"], {"invoice_settings": {"default_payment_method": card["id"]}})
        self._subscribe(ctx, customer)

    def _subscribe(self, ctx: Context, customer: Obj | None = None) -> None:
        prices = list(self.world.all("price", active=True))
        if not prices:
            raise StripeError(404, "nothing for sale")
        bought = self.chance.sample(prices, k=min(len(prices), self.chance.choice((1, 1, 1, 2))))
        wanted: Obj = {
            "customer": (customer or self._any("customer"))["id"],
            "items": [{"price": price["id"], "quantity": self.chance.randint(1, 4)} for price in bought],
            "metadata": {"seat": self._word()},
        }
        if self.chance.random() < 0.3:
            wanted["trial_period_days"] = self.chance.randint(2, 30)
        if self.chance.random() < 0.3:
            wanted["discounts"] = [{"coupon": SHARED_COUPON}]
        signups.create(ctx, wanted)

    def _rename(self, ctx: Context) -> None:
        told = {"name": self._word(), "email": f"{self._word()}@mail.example", "metadata": {"tier": self._word()}}
        keys = self.chance.sample(sorted(told), k=self.chance.randint(1, 3))
        customers.update(ctx, self._any("customer")["id"], {key: told[key] for key in keys})

    def _note(self, ctx: Context) -> None:
        subscriptions.update(ctx, self._any("subscription")["id"], {"metadata": {"seat": self._word(), self._word()[:3]: "x"}})

    def _cancel_or_not(self, ctx: Context) -> None:
        subscription = self._alive()
        subscriptions.update(ctx, subscription["id"], {"cancel_at_period_end": not subscription["cancel_at_period_end"]})

    def _pause_or_resume(self, ctx: Context) -> None:
        subscription = self._alive()
        behavior = self.chance.choice(("void", "mark_uncollectible", "keep_as_draft"))
        pause = {"behavior": behavior, "resumes_at": ctx.now + self.chance.randint(1, 90) * 86400}
        subscriptions.update(ctx, subscription["id"], {"pause_collection": None if subscription["pause_collection"] else pause})

    def _other_plan(self, ctx: Context) -> None:
        subscription = self._alive()
        item = self.chance.choice(subscription["items"]["data"])
        change = {"id": item["id"], "quantity": self.chance.randint(1, 9)}
        if self.chance.random() < 0.5:
            change["price"] = self._any("price", active=True)["id"]
        proration = self.chance.choice(("none", "always_invoice", "create_prorations"))
        subscriptions.update(ctx, subscription["id"], {"items": [change], "proration_behavior": proration})

    def _discount(self, ctx: Context) -> None:
        subscription = self._alive()
        kept = [{"discount": id} for id in subscription["discounts"]]
        coupon = [{"coupon": self._any("coupon", valid=True)["id"]}]
        subscriptions.update(ctx, subscription["id"], {"discounts": self.chance.choice((coupon, kept + coupon, []))})

    def _end(self, ctx: Context) -> None:
        subscriptions.cancel(ctx, self._alive()["id"], {})

    def _leave(self, ctx: Context) -> None:
        customers.delete(ctx, self._any("customer")["id"], {})

    def _sell_anew(self, ctx: Context) -> None:
        match self.chance.randrange(4):
            case 0:
                product = catalogue.create_product(ctx, {"name": self._word()})
                price = {"product": product["id"], "currency": "usd", "unit_amount": self.chance.randint(100, 9900)}
                catalogue.create_price(ctx, {**price, "recurring": {"interval": "month"}})
            case 1:
                catalogue.update_price(ctx, self._any("price")["id"], {"nickname": self._word(), "active": self.chance.random() < 0.8})
            case _:
                catalogue.update_product(ctx, self._any("product")["id"], {"name": self._word()})

    def _coupon(self, ctx: Context) -> None:
        match self.chance.randrange(3):
            case 0:
                # Used up by its second redemption, which is news of the coupon.
                catalogue.create_coupon(ctx, {"name": self._word(), "percent_off": 20.0, "duration": "forever", "max_redemptions": 2})
            case 1:
                catalogue.update_coupon(ctx, self._any("coupon")["id"], {"name": self._word()})
            case _:
                doomed = [coupon for coupon in self.world.all("coupon") if coupon["id"] != SHARED_COUPON]
                if doomed:
                    catalogue.delete_coupon(ctx, self.chance.choice(doomed)["id"], {})

    def _refund(self, ctx: Context) -> None:
        charge = self._any("charge")
        left = charge["amount"] - charge["amount_refunded"]
        payments.refund(ctx, {"charge": charge["id"], "amount": self.chance.choice((left, max(1, left // 3)))})

    def _dispute(self, ctx: Context) -> None:
        opened = [one for one in self.world.all("dispute") if one["status"] == "needs_response"]
        if opened and self.chance.random() < 0.4:
            payments.close(ctx, self.chance.choice(opened)["id"], self.chance.choice(("won", "lost")))
        else:
            payments.dispute(ctx, self._any("charge")["id"])


def all_news(businesses: list[Business]) -> Iterator[tuple[Business, Obj]]:
    """What happened since it was last asked, business by business."""
    for business in businesses:
        for event in business.news():
            yield business, event
