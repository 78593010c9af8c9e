"""The sample business: accounts, a catalogue, and one subscription of every shape, with a plausible past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.stripe import (
    accounts,
    catalogue,
    coupons,
    customers,
    discounts,
    payment_methods,
    periods,
    portal,
    schedules,
    signups,
    subscriptions,
)
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe

_DAY = 86400
_PAST = 330 * _DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A customer to be, and what they will have bought: prices with quantities, one list per subscription."""

    name: str
    shape: str | None
    buys: tuple[tuple[tuple[str, int], ...], ...]
    months: int
    days: int
    country: str = "US"
    locale: str = "en"
    trial_days: int | None = None


PEOPLE = (
    Person(name="Maya Okafor", shape="monthly", buys=((("pro_month", 1),),), months=5, days=12),
    Person(name="Jonas Lindqvist", shape="yearly", buys=((("pro_year", 1),),), months=4, days=3, country="SE", locale="sv"),
    Person(name="Priya Raman", shape="trialing", buys=((("pro_month", 1),),), months=0, days=5, trial_days=14),
    Person(name="Tomás Herrera", shape="past_due", buys=((("starter_month", 1),),), months=3, days=2, country="ES", locale="es"),
    Person(name="Claire Fontaine", shape="already_canceling", buys=((("pro_month", 1),),), months=6, days=20, country="FR", locale="fr"),
    Person(name="Ben Whitaker", shape="paused", buys=((("starter_month", 1),),), months=4, days=9),
    Person(
        name="Aiko Tanaka", shape="multi_item", buys=((("pro_month", 1), ("seat_month", 3)),), months=7, days=6, country="JP", locale="ja"
    ),
    Person(name="Lena Vogel", shape="scheduled", buys=((("starter_month", 1),),), months=2, days=16, country="DE", locale="de"),
    Person(
        name="Samuel Adeyemi",
        shape="two_subscriptions",
        buys=((("pro_month", 1),), (("archive_month", 1),)),
        months=3,
        days=18,
        country="GB",
    ),
    Person(name="Hannah Brooks", shape=None, buys=((("pro_month", 1),),), months=8, days=1),
    Person(name="Mateusz Nowak", shape=None, buys=((("pro_year", 2),),), months=9, days=11, country="PL", locale="pl"),
    Person(name="Zoe Marchetti", shape=None, buys=((("starter_month", 1),),), months=1, days=22, country="IT", locale="it"),
)
FEW = (
    Person(name="Oliver Grant", shape=None, buys=((("starter_month", 1),),), months=2, days=7),
    Person(name="Ingrid Solheim", shape=None, buys=((("pro_month", 1),),), months=3, days=14, country="NO", locale="nb"),
    Person(name="Dev Malhotra", shape=None, buys=((("pro_year", 1),),), months=5, days=25),
)

_PRODUCTS = {"starter": "Starter", "pro": "Pro", "seat": "Extra seat", "archive": "Archive storage"}
_PRICES = {
    "starter_month": ("starter", 1200, "month"),
    "pro_month": ("pro", 2900, "month"),
    "pro_year": ("pro", 29000, "year"),
    "seat_month": ("seat", 800, "month"),
    "archive_month": ("archive", 500, "month"),
}


def plant(local: LocalStripe) -> Obj:
    """Make the sample business and two more accounts; says what `told` says."""
    demo = accounts.make(local, "Fernhill Software", "billing@fernhill.example")
    other = accounts.make(local, "Quillworks", "accounts@quillworks.example")
    foreign = accounts.make(local, "Saltmarsh Studio", "hello@saltmarsh.example", controlled=True)
    rows = _populate(local, demo["id"], False, PEOPLE)
    for account, livemode in ((demo["id"], True), (other["id"], False), (other["id"], True)):
        _populate(local, account, livemode, FEW)
    present = Context(local=local, world=local.world(demo["id"], False))
    named = ("id", "name", "percent_off", "amount_off", "currency", "duration", "duration_in_months", "valid")
    local.seeded = {
        "account": demo["id"],
        "unconnected_account": other["id"],
        "foreign_account": foreign["id"],
        "customers": [row for row in rows if row["shape"]],
        "coupons": [
            {key: coupon[key] for key in named} for coupon in (discounts.refresh(present, each) for each in present.world.all("coupon"))
        ],
    }
    return told(local)


def told(local: LocalStripe) -> Obj:
    """What was planted, and the platform's keys and client ids per mode."""
    modes = {
        "live" if livemode else "test": {"secret_key": local.keys[livemode], "client_id": local.client_ids[livemode]}
        for livemode in (False, True)
    }
    return {"platform": {"account": local.platform, **modes}, **local.seeded}


def _populate(local: LocalStripe, account: str, livemode: bool, people: tuple[Person, ...]) -> list[Obj]:
    """Live through the past year in silence, from the first customer's day to now."""
    ctx = Context(local=local, world=local.world(account, livemode), source="dashboard")
    present = local.clock.offset
    now = local.clock.now()
    rows: list[Obj] = []
    local.is_quiet = True
    try:
        local.clock.offset = present - _PAST
        prices = _stock(ctx, now)
        plan = sorted((periods.later(now - person.days * _DAY, "month", -person.months), index) for index, person in enumerate(people))
        made: dict[int, list[Obj]] = {}
        for at, index in plan:
            local.clock.advance(max(0, at - local.clock.now()))
            made[index] = _arrive(ctx, people[index], prices)
        local.clock.advance(max(0, now - 4 * _DAY - local.clock.now()))
        for index, person in enumerate(people):
            if person.shape == "past_due":
                _spoil_card(ctx, made[index][0])
        local.clock.advance(present - local.clock.offset)
        for index, person in enumerate(people):
            for subscription in made[index]:
                _shape(ctx, person, ctx.world.get("subscription", subscription["id"]), prices)
                rows.append({"customer": subscription["customer"], "subscription": subscription["id"], "shape": person.shape})
    finally:
        local.clock.offset = present
        local.is_quiet = False
    return rows


def _stock(ctx: Context, now: int) -> dict[str, Obj]:
    products = {key: catalogue.create_product(ctx, {"name": name}) for key, name in _PRODUCTS.items()}
    prices = {}
    for key, (product, amount, interval) in _PRICES.items():
        prices[key] = catalogue.create_price(
            ctx,
            {
                "product": products[product]["id"],
                "currency": "usd",
                "unit_amount": amount,
                "recurring": {"interval": interval},
                "nickname": f"{_PRODUCTS[product]} {interval}ly",
            },
        )
    for coupon in (
        {"id": "STAY20", "name": "20% off for 3 months", "percent_off": 20.0, "duration": "repeating", "duration_in_months": 3},
        {"id": "HALFOFF", "name": "Half off the next invoice", "percent_off": 50.0, "duration": "once"},
        {"id": "TENBACK", "name": "$10 off the next invoice", "amount_off": 1000, "currency": "usd", "duration": "once"},
        {"id": "LOYAL15", "name": "15% off for good", "percent_off": 15.0, "duration": "forever"},
        {"id": "EURO5", "name": "5 € off the next invoice", "amount_off": 500, "currency": "eur", "duration": "once"},
        {
            "id": "ARCHIVE30",
            "name": "30% off Archive storage",
            "percent_off": 30.0,
            "duration": "forever",
            "applies_to": {"products": [products["archive"]["id"]]},
        },
        {"id": "SPRING", "name": "Spring sale", "percent_off": 25.0, "duration": "once", "redeem_by": now - 60 * _DAY},
    ):
        coupons.create(ctx, coupon)
    portal.create(
        ctx,
        {
            "business_profile": {"headline": "Manage your plan"},
            "features": {
                "invoice_history": {"enabled": True},
                "payment_method_update": {"enabled": True},
                "customer_update": {"enabled": True, "allowed_updates": ["email", "address"]},
                "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
            },
        },
    )
    return prices


def _arrive(ctx: Context, person: Person, prices: dict[str, Obj]) -> list[Obj]:
    given, _, family = person.name.partition(" ")
    email = f"{given}.{family}@mail.example".lower().replace("á", "a").replace(" ", "")
    customer = customers.create(
        ctx,
        {
            "name": person.name,
            "email": email,
            "address": {"country": person.country},
            "preferred_locales": [person.locale],
            "metadata": {"user_id": str(1000 + sum(map(ord, person.name)))},
        },
    )
    _give_card(ctx, customer, payment_methods.GOOD)
    result = []
    for bought in person.buys:
        wanted: Obj = {
            "customer": customer["id"],
            "items": [{"price": prices[key]["id"], "quantity": quantity} for key, quantity in bought],
            "metadata": {"plan": bought[0][0].partition("_")[0]},
        }
        if person.trial_days is not None:
            wanted["trial_period_days"] = person.trial_days
        result.append(signups.create(ctx, wanted))
    return result


def _give_card(ctx: Context, customer: Obj, last4: str) -> None:
    card = payment_methods.make_card(ctx, last4, name=customer["name"], email=customer["email"])
    payment_methods.attach(ctx, card["id"], {"customer": customer["id"]})
    customers.update(ctx, customer["id"], {"invoice_settings": {"default_payment_method": card["id"]}})


def _spoil_card(ctx: Context, subscription: Obj) -> None:
    _give_card(ctx, ctx.world.get("customer", subscription["customer"]), payment_methods.DECLINES_LATER)


def _shape(ctx: Context, person: Person, subscription: Obj, prices: dict[str, Obj]) -> None:
    match person.shape:
        case "already_canceling":
            details = {"feedback": "too_expensive", "comment": "I only need it for one project."}
            subscriptions.update(ctx, subscription["id"], {"cancel_at_period_end": True, "cancellation_details": details})
        case "paused":
            pause = {"behavior": "void", "resumes_at": ctx.now + 45 * _DAY}
            subscriptions.update(ctx, subscription["id"], {"pause_collection": pause})
        case "scheduled":
            _schedule(ctx, subscription, prices["pro_month"]["id"])


def _schedule(ctx: Context, subscription: Obj, price: str) -> None:
    """As it is for this period, for a month at another price, and then let go."""
    schedule = schedules.create(ctx, {"from_subscription": subscription["id"]})
    now = schedule["phases"][0]
    kept = [{"price": item["price"], "quantity": item["quantity"]} for item in now["items"]]
    ends_at = periods.later(now["end_date"], "month", 1)
    phases = [
        {"items": kept, "start_date": now["start_date"], "end_date": now["end_date"], "proration_behavior": "none"},
        {"items": [{"price": price, "quantity": 1}], "end_date": ends_at, "proration_behavior": "none"},
    ]
    schedules.update(ctx, schedule["id"], {"phases": phases})
