"""Shapes a subscription can have: a new customer with one of any of them, made the way a business would have come by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.stripe import (
    accounts,
    catalogue,
    customers,
    knobs,
    pauses,
    payment_methods,
    periods,
    schedules,
    signups,
    subscriptions,
)
from sandbox.stripe.context import Context
from sandbox.stripe.wire import Obj, invalid
from sandbox.stripe.worlds import clone, new_id, word

if TYPE_CHECKING:
    from sandbox.stripe.local import LocalStripe

_DAY = 86400
_PLAIN: Obj = {"unit_amount": 2900, "currency": "usd", "recurring": {"interval": "month"}}
_SEATS: Obj = {"unit_amount": 800, "currency": "usd", "recurring": {"interval": "month"}}
_TIERS = [{"up_to": 2, "unit_amount": 1000, "flat_amount": 500}, {"up_to": "inf", "unit_amount": 600}]
_METERED: Obj = {**_SEATS, "recurring": {"interval": "month", "usage_type": "metered", "meter": "mtr_sandbox"}}
PRICES: dict[str, list[Obj]] = {
    "yearly": [{**_PLAIN, "unit_amount": 29000, "recurring": {"interval": "year"}}],
    "multi_item": [_PLAIN, _SEATS],
    "metered": [_METERED],
    "licensed_and_metered": [_PLAIN, _METERED],
    "tiered": [
        {"currency": "usd", "recurring": {"interval": "month"}, "billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": _TIERS}
    ],
    "eur": [{**_PLAIN, "currency": "eur"}],
    "jpy": [{**_PLAIN, "currency": "jpy"}],
    "kwd": [{**_PLAIN, "currency": "kwd", "unit_amount": 9000}],
    "free": [{**_PLAIN, "unit_amount": 0}],
}
SIGNUPS: dict[str, Obj] = {
    "trialing": {"trial_period_days": 14},
    "classic": {"billing_mode": {"type": "classic"}},
    "send_invoice": {"collection_method": "send_invoice", "days_until_due": 30},
}
SHAPES = (
    *("monthly", *PRICES, *SIGNUPS, "discounted", "legacy_price", "past_due", "unpaid", "incomplete", "pending_update"),
    *("canceling", "cancel_at", "paused_void", "paused_uncollectible", "paused_draft", "paused", "scheduled", "last_phase"),
    *("two_subscriptions", "canceled"),
)
"""`paused_…` have their collection paused, `paused` is Stripe's own pause; `scheduled` has a phase to come, `last_phase` has none."""


def make(local: LocalStripe, wanted: Any) -> Obj:
    """`{account, shape, livemode?, quantity?}`: a new customer of the account with one such subscription, of so many things (1);
    gives `{customer, subscription, shape}`, for `two_subscriptions` an `other` too.
    """
    asked = knobs.record(wanted, ("account", "shape", "livemode", "quantity"), "shape")
    shape, account = asked.get("shape"), knobs.text(asked.get("account"), "account")
    if shape not in SHAPES:
        raise invalid(f"`shape` is one of {', '.join(SHAPES)}.", "shape")
    quantity = knobs.whole(asked.get("quantity", 1), "quantity", 1, 1000)
    if account not in local.accounts:
        raise accounts.no_access(local.keys[False], account)
    ctx = Context(local=local, world=local.world(account, bool(asked.get("livemode"))), source="dashboard", request_id=new_id("request"))
    customer = customers.create(ctx, {"name": f"Robin {shape}", "email": f"{word(10).lower()}@mail.example"})["id"]
    _give_card(ctx, customer, payment_methods.DECLINES_LATER if shape == "incomplete" else payment_methods.GOOD)
    product = catalogue.create_product(ctx, {"name": f"Sold {shape}"})["id"]
    prices = [catalogue.create_price(ctx, {**each, "product": product}) for each in PRICES.get(shape, [_PLAIN])]
    items = [
        {"price": price["id"], "quantity": place * 2 + quantity} if _licensed(price) else {"price": price["id"]}
        for place, price in enumerate(prices)
    ]
    made = signups.create(ctx, {"customer": customer, "items": items, **SIGNUPS.get(shape, {})})
    _become(ctx, shape, made, product)
    told = {"customer": customer, "subscription": made["id"], "shape": shape}
    if shape == "two_subscriptions":
        told["other"] = signups.create(ctx, {"customer": customer, "items": items})["id"]
    return told


def _licensed(price: Obj) -> bool:
    return bool(price["recurring"]["usage_type"] == "licensed")


def _give_card(ctx: Context, customer: str, last4: str) -> None:
    card = payment_methods.make_card(ctx, last4)
    payment_methods.attach(ctx, card["id"], {"customer": customer})
    customers.update(ctx, customer, {"invoice_settings": {"default_payment_method": card["id"]}})


def _become(ctx: Context, shape: str, made: Obj, product: str) -> None:
    id, item = made["id"], made["items"]["data"][0]
    behaviors = {"paused_void": "void", "paused_uncollectible": "mark_uncollectible", "paused_draft": "keep_as_draft"}
    match shape:
        case "discounted":
            subscriptions.update(ctx, id, {"discounts": [{"coupon": _coupon(ctx, each)} for each in ("forever", "once")]})
        case "legacy_price":
            catalogue.update_price(ctx, item["price"]["id"], {"active": False})
        case "past_due" | "unpaid":
            _give_card(ctx, made["customer"], payment_methods.DECLINES_LATER)
            owing = subscriptions.update(ctx, id, {"billing_cycle_anchor": {"type": "now"}, "proration_behavior": "none"})
            if shape == "unpaid":
                subscriptions.commit(ctx, owing, {**clone(owing), "status": "unpaid"})
        case "pending_update":
            _give_card(ctx, made["customer"], payment_methods.DECLINES_LATER)
            asked = {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}
            subscriptions.update(ctx, id, {"items": [{"id": item["id"], "quantity": 4}], **asked})
        case "canceling":
            subscriptions.update(ctx, id, {"cancel_at_period_end": True})
        case "cancel_at":
            subscriptions.update(ctx, id, {"cancel_at": "min_period_end"})
        case "canceled":
            subscriptions.cancel(ctx, id, {})
        case "paused":
            pauses.pause(ctx, id, {})
        case "scheduled" | "last_phase":
            _schedule(ctx, id, product, has_more=shape == "scheduled")
        case _ if shape in behaviors:
            subscriptions.update(ctx, id, {"pause_collection": {"behavior": behaviors[shape], "resumes_at": ctx.now + 45 * _DAY}})


def _coupon(ctx: Context, duration: str) -> str:
    return str(catalogue.create_coupon(ctx, {"percent_off": 10.0, "duration": duration})["id"])


def _schedule(ctx: Context, id: str, product: str, *, has_more: bool) -> None:
    made = schedules.create(ctx, {"from_subscription": id})
    if has_more:
        now = made["phases"][0]
        kept = {"items": [{"price": each["price"], "quantity": each["quantity"]} for each in now["items"]]}
        later = catalogue.create_price(ctx, {**_PLAIN, "unit_amount": 3900, "product": product})
        ends_at = periods.later(now["end_date"], "month", 2)
        coming = {"items": [{"price": later["id"], "quantity": 1}], "end_date": ends_at, "proration_behavior": "none"}
        phases = [kept | {"start_date": now["start_date"], "end_date": now["end_date"]}, coming]
        schedules.update(ctx, made["id"], {"phases": phases})
