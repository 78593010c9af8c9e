"""What the local Stripe charges: prorations, discounts, credit, and the preview of the next invoice, which is what is billed then."""

from typing import Any

import pytest
import stripe

from tests.contract.conftest import Shop

DAY = 86400
ZERO_AND_THREE = [("jpy", 2900), ("kwd", 29000)]


def preview(shop: Shop, shape: str, **more: Any) -> stripe.Invoice:
    return shop.client.v1.invoices.create_preview({"subscription": shop.subscription(shape), **more}, shop.here)  # type: ignore[arg-type]


def newest(shop: Shop, shape: str) -> stripe.Invoice:
    return shop.client.v1.invoices.list({"subscription": shop.subscription(shape), "limit": 1}, shop.here).data[0]


def item_of(shop: Shop, shape: str) -> str:
    return str(shop.local.world(shop.account, False).get("subscription", shop.subscription(shape))["items"]["data"][0]["id"])


def price(shop: Shop, nickname: str) -> str:
    return next(str(each["id"]) for each in shop.local.world(shop.account, False).all("price") if each["nickname"] == nickname)


def update(shop: Shop, shape: str, **change: Any) -> stripe.Subscription:
    return shop.client.v1.subscriptions.update(shop.subscription(shape), change, shop.here)  # type: ignore[arg-type]


def lines(invoice: stripe.Invoice) -> list[tuple[str | None, int]]:
    return [(line.description, line.amount) for line in invoice.lines.data]


def told(invoice: stripe.Invoice) -> tuple[int, int, list[tuple[str | None, int]]]:
    return invoice.total, invoice.amount_due, lines(invoice)


def change_plan(shop: Shop) -> dict[str, Any]:
    return {"items": [{"id": item_of(shop, "monthly"), "price": price(shop, "Starter monthly")}]}


CHANGES: dict[str, Any] = {
    "nothing": lambda _: {},
    "a plan change": change_plan,
    "a plan change without proration": lambda shop: {**change_plan(shop), "proration_behavior": "none"},
    "a longer trial": lambda shop: {"trial_end": shop.local.clock.now() + 40 * DAY, "proration_behavior": "none"},
    "two of them": lambda shop: {"items": [{"id": item_of(shop, "monthly"), "quantity": 2}]},
    "a second item": lambda shop: {"items": [{"price": price(shop, "Extra seat monthly"), "quantity": 4}]},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("coupon", [None, "STAY20", "HALFOFF", "TENBACK", "ARCHIVE30"])
def test_the_preview_is_what_is_billed_when_the_time_comes(shop: Shop, change: str, coupon: str | None) -> None:
    if coupon:
        update(shop, "monthly", discounts=[{"coupon": coupon}])
    if CHANGES[change](shop):
        update(shop, "monthly", **CHANGES[change](shop))
    said = preview(shop, "monthly")
    shop.local.clock.advance(62 * DAY if "trial" in change else 31 * DAY)
    billed = shop.client.v1.invoices.list({"subscription": shop.subscription("monthly"), "limit": 100}, shop.here).data
    assert told(said) in [told(each) for each in billed]
    assert said.id.startswith("upcoming_in_")


def test_a_preview_changes_nothing_and_tells_nobody(shop: Shop) -> None:
    everything: Any = {"url": "https://holdfast.example/hook", "enabled_events": ["*"], "connect": True}
    shop.client.v1.webhook_endpoints.create(everything)
    world = shop.local.world(shop.account, False)
    before = {kind: {id: str(obj) for id, obj in table.items()} for kind, table in world.tables.items()}
    preview(
        shop,
        "monthly",
        subscription_details={**change_plan(shop), "proration_behavior": "always_invoice"},
        discounts=[{"coupon": "STAY20"}],
    )
    preview(shop, "scheduled")
    preview(shop, "past_due", subscription_details={"cancel_now": True})
    assert {kind: {id: str(obj) for id, obj in table.items()} for kind, table in world.tables.items() if table} == {
        kind: table for kind, table in before.items() if table
    }
    assert shop.local.deliveries.waiting == 0
    assert shop.local.effects == []
    assert shop.news() == ["account.application.authorized"]


def test_nothing_is_previewed_where_nothing_will_be_billed(shop: Shop) -> None:
    for wanted in (
        {"subscription": shop.subscription("already_canceling")},
        {"subscription": shop.subscription("monthly"), "subscription_details": {"cancel_at_period_end": True}},
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            shop.client.v1.invoices.create_preview(wanted, shop.here)  # type: ignore[arg-type]
        assert (caught.value.http_status, caught.value.code) == (404, "invoice_upcoming_none")


def test_a_downgrade_gives_back_what_was_charged_and_asks_for_the_rest(shop: Shop) -> None:
    update(shop, "monthly", **change_plan(shop))
    waiting = shop.client.v1.invoice_items.list({"customer": shop.row("monthly")["customer"], "pending": True}, shop.here).data
    assert [each.proration for each in waiting] == [True, True]
    debit, credit = (each.amount for each in waiting)
    assert -2900 < credit < 0 < debit < 1200
    assert abs(credit / debit + 2900 / 1200) < 0.01
    shop.local.clock.advance(31 * DAY)
    assert newest(shop, "monthly").total == 1200 + credit + debit


def test_a_credit_goes_by_what_was_really_paid(shop: Shop) -> None:
    update(shop, "monthly", discounts=[{"coupon": "HALFOFF"}])
    shop.local.clock.advance(31 * DAY)
    assert newest(shop, "monthly").total == 1450
    item = shop.client.v1.subscriptions.retrieve(shop.subscription("monthly"), None, shop.here)["items"].data[0]
    said = preview(shop, "monthly", subscription_details={"cancel_now": True, "proration_date": item.current_period_start})
    assert -1450 <= said.total < 0


def test_credit_that_is_left_pays_the_next_invoices(shop: Shop) -> None:
    update(shop, "yearly", items=[{"id": item_of(shop, "yearly"), "price": price(shop, "Pro monthly")}])
    first = newest(shop, "yearly")
    assert first.total < 0
    assert first.amount_due == 0
    balance = shop.client.v1.customers.retrieve(shop.row("yearly")["customer"], None, shop.here).balance
    assert balance == first.total
    assert preview(shop, "yearly").amount_due == 0
    shop.local.clock.advance(31 * DAY)
    second = newest(shop, "yearly")
    assert (second.status, second.starting_balance, second.ending_balance, second.amount_paid) == ("paid", balance, balance + 2900, 0)


def test_an_upgrade_that_is_invoiced_at_once_is_paid_at_once(shop: Shop) -> None:
    update(shop, "monthly", items=[{"id": item_of(shop, "monthly"), "quantity": 3}], proration_behavior="always_invoice")
    made = newest(shop, "monthly")
    assert made.billing_reason == "subscription_update"
    assert (made.status, len(made.lines.data)) == ("paid", 2)
    assert preview(shop, "monthly").total == 8700


def test_a_new_anchor_bills_a_whole_period_from_now(shop: Shop) -> None:
    changed = update(shop, "monthly", billing_cycle_anchor={"type": "now"})
    assert changed.billing_cycle_anchor == changed["items"].data[0].current_period_start
    made = newest(shop, "monthly")
    assert [amount for _, amount in lines(made)][-1] == 2900
    assert 0 < made.total < 2900


def test_what_a_cancel_gives_back_is_invoiced_only_if_asked(shop: Shop) -> None:
    subscriptions, customer = shop.client.v1.subscriptions, shop.row("monthly")["customer"]
    count = len(shop.client.v1.invoices.list({"customer": customer, "limit": 100}, shop.here).data)
    update(shop, "monthly", items=[{"id": item_of(shop, "monthly"), "quantity": 2}])
    subscriptions.cancel(shop.subscription("monthly"), {}, shop.here)
    assert shop.client.v1.invoice_items.list({"customer": customer, "pending": True}, shop.here).data == []
    assert len(shop.client.v1.invoices.list({"customer": customer, "limit": 100}, shop.here).data) == count
    assert shop.client.v1.customers.retrieve(customer, None, shop.here).balance == 0
    subscriptions.cancel(shop.subscription("yearly"), {"invoice_now": True, "prorate": True}, shop.here)
    assert newest(shop, "yearly").total < 0


@pytest.mark.parametrize(("currency", "amount"), ZERO_AND_THREE)
def test_a_minted_coupon_has_its_amount_in_each_currency(shop: Shop, currency: str, amount: int) -> None:
    v1, here = shop.client.v1, shop.here
    product = next(shop.local.world(shop.account, False).all("product"))["id"]
    made = v1.prices.create({"product": product, "currency": currency, "unit_amount": amount, "recurring": {"interval": "month"}}, here)
    customer = v1.customers.create({}, here)
    bought = v1.subscriptions.create({"customer": customer.id, "items": [{"price": made.id}], "trial_period_days": 3}, here)
    coupon = v1.coupons.create(
        {
            "amount_off": 500,
            "currency": "usd",
            "currency_options": {currency: {"amount_off": 700}},
            "duration": "once",
            "max_redemptions": 1,
            "redeem_by": shop.local.clock.now() + 3600,
        },
        here,
    )
    v1.subscriptions.update(bought.id, {"discounts": [{"coupon": coupon.id}]}, here)
    assert v1.invoices.create_preview({"subscription": bought.id}, here).total == amount - 700
    shown = v1.coupons.retrieve(coupon.id, {"expand": ["currency_options"]}, here)
    assert shown.currency_options is not None
    assert not shown.valid
    with pytest.raises(stripe.InvalidRequestError) as caught:
        update(shop, "monthly", discounts=[{"coupon": coupon.id}])
    assert caught.value.code == "coupon_expired"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"amount_off": 1255, "currency": "kwd"}, "amount_off"),
        ({"amount_off": 150, "currency": "ISK"}, "amount_off"),
        ({"amount_off": 0, "currency": "usd"}, "amount_off"),
        ({"amount_off": 100, "currency": "usd", "currency_options": {"bhd": {"amount_off": 5}}}, "currency_options[bhd][amount_off]"),
    ],
)
def test_an_amount_that_no_bill_can_have_makes_no_coupon(shop: Shop, params: Any, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.client.v1.coupons.create({**params, "duration": "once"}, shop.here)  # type: ignore[arg-type]
    assert (caught.value.http_status, caught.value.param) == (400, param)


def test_a_coupon_is_not_redeemed_after_its_day(shop: Shop) -> None:
    coupon = shop.client.v1.coupons.create(
        {"percent_off": 10, "duration": "repeating", "duration_in_months": 1, "redeem_by": shop.local.clock.now() + DAY}, shop.here
    )
    update(shop, "monthly", discounts=[{"coupon": coupon.id}])
    shop.local.clock.advance(2 * DAY)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        update(shop, "multi_item", discounts=[{"coupon": coupon.id}])
    assert (caught.value.code, caught.value.param) == ("coupon_expired", "discounts[0][coupon]")
    shop.local.clock.advance(27 * DAY)
    assert newest(shop, "monthly").total == 2610
    assert len(shop.client.v1.subscriptions.retrieve(shop.subscription("monthly"), None, shop.here).discounts) == 1
    shop.local.clock.advance(3 * DAY)  # a month is over, in the middle of a period: the discount ends on its day
    assert shop.client.v1.subscriptions.retrieve(shop.subscription("monthly"), None, shop.here).discounts == []


def test_an_item_has_its_own_discounts_before_the_subscriptions(shop: Shop) -> None:
    seat = next(
        each["id"]
        for each in shop.local.world(shop.account, False).get("subscription", shop.subscription("multi_item"))["items"]["data"]
        if each["quantity"] == 3
    )
    update(shop, "multi_item", items=[{"id": seat, "discounts": [{"coupon": "LOYAL15"}]}], discounts=[{"coupon": "TENBACK"}])
    assert preview(shop, "multi_item").total == 2900 + 2400 - 360 - 1000


def test_a_promotion_code_is_redeemed_by_its_rules(shop: Shop) -> None:
    codes = shop.client.v1.promotion_codes
    for once in ({"max_redemptions": 1}, {"customer": shop.row("monthly")["customer"]}, {"expires_at": shop.local.clock.now() + DAY}):
        code = codes.create({"promotion": {"type": "coupon", "coupon": "LOYAL15"}, **once}, shop.here)  # type: ignore[typeddict-item]
        got = update(shop, "monthly", discounts=[{"promotion_code": code.id}], expand=["discounts"]).discounts[0]
        assert isinstance(got, stripe.Discount)
        assert got.promotion_code == code.id
        if "expires_at" in once:
            shop.local.clock.advance(2 * DAY)
        with pytest.raises(stripe.InvalidRequestError):
            update(shop, "yearly", discounts=[{"promotion_code": code.id}])


def test_tiers_cost_what_the_quantity_reaches(shop: Shop) -> None:
    v1, here = shop.client.v1, shop.here
    product = next(shop.local.world(shop.account, False).all("product"))["id"]
    tiers: Any = [{"up_to": 2, "unit_amount": 1000, "flat_amount": 500}, {"up_to": "inf", "unit_amount": 600}]
    totals = {}
    for mode in ("graduated", "volume"):
        made = v1.prices.create(
            {
                "product": product,
                "currency": "usd",
                "billing_scheme": "tiered",
                "tiers_mode": mode,
                "tiers": tiers,
                "recurring": {"interval": "month"},
                "expand": ["tiers"],
            },
            here,
        )
        assert made.tiers is not None
        assert (made.unit_amount, made.tiers[-1].up_to) == (None, None)
        change: Any = {"items": [{"id": item_of(shop, "monthly"), "price": made.id, "quantity": 5}], "proration_behavior": "none"}
        totals[mode] = preview(shop, "monthly", subscription_details=change).total
    assert totals == {"graduated": 500 + 2 * 1000 + 3 * 600, "volume": 5 * 600}


def test_a_classic_subscription_has_one_interval(shop: Shop) -> None:
    v1 = shop.client.v1
    customer = shop.row("monthly")["customer"]
    items: Any = [{"price": price(shop, "Pro monthly")}]
    made = v1.subscriptions.create({"customer": customer, "items": items, "billing_mode": {"type": "classic"}}, shop.here)
    with pytest.raises(stripe.InvalidRequestError, match="Found mismatch in interval field"):
        v1.subscriptions.update(made.id, {"items": [{"price": price(shop, "Pro yearly")}]}, shop.here)
    v1.subscriptions.update(made.id, {"discounts": [{"coupon": "LOYAL15"}]}, shop.here)
    said = v1.invoices.create_preview({"subscription": made.id, "subscription_details": {"cancel_now": True}}, shop.here)
    assert -2470 < said.total < -2400  # by today's discount; flexible mode would give back the 29 that were paid


def test_a_preview_tells_what_a_return_from_a_pause_costs_and_shows_discounts_that_are_nobodys(shop: Shop) -> None:
    shop.client.v1.subscriptions.pause(shop.subscription("monthly"), {"bill_for": {"unused_time_from": {"type": "none"}}}, shop.here)
    with pytest.raises(stripe.InvalidRequestError, match="No upcoming invoices"):
        preview(shop, "monthly")
    assert preview(shop, "monthly", subscription_details={"resume_at": "now"}).total == 2900
    assert preview(shop, "yearly", subscription_details={"pause": {"invoicing_behavior": "invoice"}}).total < 0
    shown = preview(shop, "yearly", discounts=[{"coupon": "LOYAL15"}], expand=["discounts.source.coupon"]).discounts[0]
    assert isinstance(shown, stripe.Discount)
    assert isinstance(shown.source.coupon, stripe.Coupon)
    assert shown.source.coupon.id == "LOYAL15"
    assert shop.client.v1.coupons.retrieve("LOYAL15", None, shop.here).times_redeemed == 0
