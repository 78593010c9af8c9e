"""What a page tells of the next charge is what Stripe charges on that day, after whatever was decided before."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connect_app import money
from connect_app.models import Action
from connect_app.money import Money
from sandbox.stripe import shapes
from tests.service.ledgers import Stage
from tests.service.test_bills import day, price_at, told
from tests.service.test_bills import stage as stage  # the fixture


@dataclass(slots=True)
class Customer:
    """Somebody with a subscription of a shape, who decides one thing after the other, each of which is done."""

    stage: Stage
    customer: str
    subscription: str
    last: Action | None = None

    def decides(self, verb: str, **intent: Any) -> Action:
        asked = self.stage.ask("monthly", verb, {"offer_id": "off_1", **intent}, customer=self.customer, subscription=self.subscription)
        self.last = self.stage.run(asked)
        assert self.last.state == "verified", self.last.message
        return self.last

    def discount(self, coupon: str) -> Action:
        return self.decides("discount", coupon=coupon)

    def plan(self, amount: int, when: str = "now", proration: str = "none", interval: str = "month") -> Action:
        return self.decides("plan_change", price=price_at(self.stage, amount, interval), when=when, proration=proration)

    def leaves_out(self, when: str, **options: bool) -> Action:
        item = self.stage.stripe_says(self.subscription)["items"]["data"][1]["id"]
        return self.decides("item_cancel", item=item, name="Seats", when=when, **{"invoice_now": False, "prorate": False, **options})

    def pauses(self, verb: str, days: int) -> Action:
        return self.decides(verb, resumes_at=self._in(days))

    def tries_longer(self, days: int) -> Action:
        return self.decides("trial_extension", trial_end=self._in(days))

    def cancels(self, **options: Any) -> Action:
        return self.decides("cancel", **{"when": "period_end", "open_invoices": "keep", **options})

    def waits(self, **span: float) -> None:
        self.stage.control("POST", "clock", {"advance": int(timedelta(**span).total_seconds())})
        self.stage.later(**span)

    def charged(self) -> list[tuple[Money, str]]:
        """(what was asked for, its day) of each bill from now on, within two months."""
        since = self.stage.local.clock.now()
        self.waits(days=62)
        world = self.stage.local.world(self.stage.account, False)
        mine = [bill for bill in world.all("invoice") if bill["parent"]["subscription_details"]["subscription"] == self.subscription]
        new = sorted((bill["created"], bill["amount_due"], bill["currency"]) for bill in mine if bill["created"] > since)
        return [(Money(amount, currency), day(datetime.fromtimestamp(at, UTC))) for at, amount, currency in new]

    def _in(self, days: int) -> str:
        return (self.stage.rt.now() + timedelta(days=days)).replace(microsecond=0).isoformat()


def _kept(one: Customer) -> None:
    left = one.leaves_out("period_end")
    one.decides("undo_cancel", item=left.intent["item"], name="Seats", by=left.id)


STORIES: dict[str, tuple[str, list[Callable[[Customer], object]]]] = {
    "a discount on one bill": ("monthly", [lambda one: one.discount("HALFOFF")]),
    "two discounts": ("monthly", [lambda one: one.discount("HALFOFF"), lambda one: one.discount("LOYAL15")]),
    "a discount beside those that were there": ("discounted", [lambda one: one.discount("STAY20")]),
    "a smaller plan, billed at once": ("monthly", [lambda one: one.plan(900, proration="always_invoice")]),
    "a larger plan, counted in with the next bill": (
        "monthly",
        [lambda one: one.waits(days=9), lambda one: one.plan(5900, proration="create_prorations")],
    ),
    "a smaller plan with a discount from the next period on": (
        "discounted",
        [lambda one: one.discount("LOYAL15"), lambda one: one.plan(900, "period_end")],
    ),
    "by the year instead, at once": ("monthly", [lambda one: one.plan(29000, proration="always_invoice", interval="year")]),
    "in yen": ("jpy", [lambda one: one.discount("STAY20")]),
    "in dinars": ("kwd", [lambda one: one.discount("HALFOFF")]),
    "a longer trial at a discount": ("trialing", [lambda one: one.tries_longer(30), lambda one: one.discount("HALFOFF")]),
    "an item less with the period, at a discount": (
        "multi_item",
        [lambda one: one.discount("STAY20"), lambda one: one.leaves_out("period_end")],
    ),
    "an item less at once, credited": ("multi_item", [lambda one: one.waits(days=9), lambda one: one.leaves_out("now", prorate=True)]),
    "an item less at once, credited by a bill": ("multi_item", [lambda one: one.leaves_out("now", prorate=True, invoice_now=True)]),
    "an item that was kept": ("multi_item", [_kept]),
    "a cancel that was taken back": ("yearly", [lambda one: one.cancels(), lambda one: one.decides("undo_cancel")]),
    "a pause that was ended": ("monthly", [lambda one: one.pauses("pause", 70), lambda one: one.decides("resume")]),
    "free time that was ended at a discount": (
        "monthly",
        [lambda one: one.discount("HALFOFF"), lambda one: one.pauses("extension", 40), lambda one: one.decides("resume")],
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_the_next_charge_that_is_told_is_the_next_that_is_made(stage: Stage, story: str) -> None:
    shape, decisions = STORIES[story]
    made = shapes.make(stage.local, {"account": stage.account, "shape": shape, "quantity": 3})
    one = Customer(stage, made["customer"], made["subscription"])
    for decide in decisions:
        decide(one)
    assert one.last is not None
    promised = re.fullmatch("(.+) on (.+)", told(stage, one.last)[1]["Next charge"])
    assert promised is not None
    if "by the year" in story or shape == "yearly":
        one.waits(days=330)
    amount, on = one.charged()[0]
    assert (money.format(amount, "en"), on) == promised.groups()


@pytest.mark.parametrize("shape", ["monthly", "discounted", "yearly", "multi_item", "trialing", "kwd"])
@pytest.mark.parametrize("when", ["period_end", "now"])
def test_who_is_told_that_nothing_is_charged_is_charged_nothing(stage: Stage, shape: str, when: str) -> None:
    made = shapes.make(stage.local, {"account": stage.account, "shape": shape})
    one = Customer(stage, made["customer"], made["subscription"])
    facts = told(stage, one.cancels(when=when, invoice_now=True, prorate=True))[1]
    assert facts.get("Next charge", "None") in ("None", "No renewal")
    if shape == "yearly":
        one.waits(days=330)
    assert [bill for bill in one.charged() if bill[0].amount] == []
