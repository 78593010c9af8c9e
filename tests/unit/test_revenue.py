"""MRR is one number by one definition: exact, discounts as Stripe takes them off, and never a guess."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_app.money import Money
from connect_app.stripe_gateway import objects
from webhooks import revenue

NOW = datetime(2026, 6, 1, tzinfo=UTC)
START = int(NOW.timestamp()) - 86400
Raw = dict[str, Any]


def item(cents: int | None = 2000, quantity: int | None = 1, interval: str = "month", count: int = 1, **of_price: Any) -> Raw:
    usage = of_price.pop("usage_type", "licensed")
    discounts = of_price.pop("discounts", [])
    price = {
        "id": "price_1",
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "currency": "usd",
        "product": "prod_1",
        "recurring": {"interval": interval, "interval_count": count, "usage_type": usage},
        "unit_amount": cents,
        "unit_amount_decimal": None if cents is None else str(cents),
        **of_price,
    }
    return {
        "id": "si_1",
        "object": "subscription_item",
        "current_period_start": START,
        "current_period_end": START + 30 * 86400,
        "price": price,
        "quantity": quantity,
        "discounts": discounts,
    }


def off(percent: float | None = None, amount: int | None = None, *, id: str = "di_1", ends: datetime | None = None, **terms: Any) -> Raw:
    coupon = {
        "id": f"coupon_of_{id}",
        "object": "coupon",
        "percent_off": percent,
        "amount_off": amount,
        "currency": None if amount is None else "usd",
        "duration": "forever",
        "valid": True,
        **terms,
    }
    end = None if ends is None else int(ends.timestamp())
    return {"id": id, "object": "discount", "end": end, "start": START, "source": {"type": "coupon", "coupon": coupon}}


def subscription(*items: Raw, discounts: list[Raw | str] | None = None, **more: Any) -> objects.Subscription:
    return objects.read_subscription(
        {
            "id": "sub_1",
            "object": "subscription",
            "customer": "cus_1",
            "status": "active",
            "livemode": False,
            "created": START,
            "currency": "usd",
            "items": {"object": "list", "data": list(items), "has_more": more.pop("has_more", False)},
            "discounts": discounts or [],
            **more,
        }
    )


def mrr(*items: Raw, discounts: list[Raw | str] | None = None, known: tuple[Raw, ...] = ()) -> int | None:
    found = revenue.mrr(subscription(*items, discounts=discounts), [objects.read_discount(one) for one in known], NOW)
    assert found is None or found.currency == "usd"
    return None if found is None else found.amount


@pytest.mark.parametrize(
    ("interval", "count", "cents", "expected"),
    [
        ("month", 1, 2000, 2000),
        ("month", 3, 3000, 1000),
        ("year", 1, 12000, 1000),
        ("year", 1, 10000, 833),  # 833.33…
        ("year", 2, 12000, 500),
        ("week", 1, 1200, 5200),  # 52/12
        ("week", 2, 1200, 2600),
        ("day", 1, 120, 3650),  # 365/12
        ("day", 30, 3600, 3650),
    ],
)
def test_an_interval_is_turned_into_months(interval: str, count: int, cents: int, expected: int) -> None:
    assert mrr(item(cents, interval=interval, count=count)) == expected


def test_quantities_and_items_add_up() -> None:
    assert mrr(item(2000, 3), item(12000, 2, "year")) == 8000


def test_metered_items_are_left_out_and_a_subscription_of_only_those_is_worth_nothing_by_its_terms() -> None:
    assert mrr(item(2000), item(50, None, usage_type="metered")) == 2000
    assert mrr(item(50, None, usage_type="metered")) == 0


def test_fractions_of_a_cent_and_packages_are_counted_as_stripe_does() -> None:
    assert mrr(item(None, 1000, unit_amount_decimal="0.55")) == 550
    assert mrr(item(500, 7, transform_quantity={"divide_by": 3, "round": "up"})) == 1500


TIERS = [
    {"up_to": 10, "unit_amount": 100, "flat_amount": None},
    {"up_to": 20, "unit_amount": 80, "flat_amount": 500},
    {"up_to": None, "unit_amount_decimal": "50.5", "flat_amount": None},
]


@pytest.mark.parametrize(
    ("mode", "quantity", "expected"),
    [
        ("graduated", 5, 500),
        ("graduated", 10, 1000),
        ("graduated", 12, 1000 + 500 + 160),
        ("graduated", 24, 1000 + 500 + 800 + 202),
        ("volume", 5, 500),
        ("volume", 12, 500 + 960),
        ("volume", 24, 1212),
    ],
)
def test_tiers_are_computed_where_they_are_there(mode: str, quantity: int, expected: int) -> None:
    assert mrr(item(None, quantity, billing_scheme="tiered", tiers_mode=mode, tiers=TIERS)) == expected


def test_what_cannot_be_said_is_not_guessed() -> None:
    assert mrr(item(None, 5, billing_scheme="tiered", tiers_mode="volume")) is None
    assert mrr(item(2000, currency="eur")) is None
    assert mrr(item(2000), discounts=["di_nobody_told"]) is None
    assert mrr(item(2000), discounts=[off(amount=300, currency="eur")]) is None
    assert mrr(item(2000), item(12000, interval="year"), discounts=[off(amount=300)]) is None
    assert revenue.mrr(subscription(item(2000), has_more=True), [], NOW) is None


def test_a_percentage_and_an_amount_are_taken_off_in_the_subscription_s_order() -> None:
    tenth, three = off(10), off(amount=300, id="di_2")
    assert mrr(item(2000), discounts=[tenth]) == 1800
    assert mrr(item(2000), discounts=[three]) == 1700
    assert mrr(item(2000), discounts=[tenth, three]) == 1500
    assert mrr(item(2000), discounts=[three, tenth]) == 1530


def test_an_item_s_own_discount_comes_first() -> None:
    assert mrr(item(2000, discounts=[off(amount=500, id="di_2")]), item(1000), discounts=[off(10)]) == (1500 + 1000) * 9 // 10


def test_an_amount_off_an_invoice_is_spread_over_the_months_it_bills() -> None:
    assert mrr(item(12000, interval="year"), discounts=[off(amount=2400)]) == 800


def test_more_off_than_there_is_leaves_nothing() -> None:
    assert mrr(item(2000), discounts=[off(amount=9900)]) == 0


def test_a_coupon_limited_to_products_takes_off_those_alone() -> None:
    limited = off(50, applies_to={"products": ["prod_2"]})
    assert mrr(item(2000), item(1000, product="prod_2"), discounts=[limited]) == 2500


def test_one_of_a_coupon_s_currencies_is_its_amount_there() -> None:
    assert mrr(item(2000), discounts=[off(amount=300, currency="eur", currency_options={"usd": {"amount_off": 400}})]) == 1600


def test_a_discount_that_has_ended_or_is_for_one_invoice_takes_nothing_off() -> None:
    assert mrr(item(2000), discounts=[off(10, ends=NOW)]) == 2000
    assert mrr(item(2000), discounts=[off(10, ends=NOW + timedelta(seconds=1))]) == 1800
    assert mrr(item(2000), discounts=[off(10, duration="once")]) == 2000


def test_terms_may_come_from_elsewhere_by_the_discount_s_id() -> None:
    assert mrr(item(2000), discounts=["di_1"], known=(off(25),)) == 1500
    assert mrr(item(2000, discounts=["di_2"]), discounts=["di_1"], known=(off(25), off(amount=400, id="di_2"))) == 1200
    # Known, and not at work: the subscription no longer names it.
    assert mrr(item(2000), known=(off(25),)) == 2000


def test_a_customer_s_own_discount_counts_where_the_subscription_has_none() -> None:
    own = {**off(50), "customer": "cus_1"}
    assert mrr(item(2000), known=(own,)) == 1000
    assert mrr(item(2000), discounts=[off(10, id="di_2")], known=(own,)) == 1800
    assert mrr(item(2000), known=({**own, "customer": "cus_2"},)) == 2000


@given(
    cents=st.integers(0, 10**7),
    quantity=st.integers(0, 500),
    interval=st.sampled_from(("day", "week", "month", "year")),
    percent=st.decimals("0.01", 100, places=2),
)
def test_a_discount_never_adds_and_never_makes_it_negative(cents: int, quantity: int, interval: str, percent: float) -> None:
    whole = mrr(item(cents, quantity, interval))
    less = mrr(item(cents, quantity, interval), discounts=[off(float(percent))])
    assert whole is not None
    assert less is not None
    assert 0 <= less <= whole


def test_the_amount_is_money_of_the_subscription() -> None:
    assert revenue.mrr(subscription(item(2000)), [], NOW) == Money(2000, "usd")
