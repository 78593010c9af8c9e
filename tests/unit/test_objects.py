"""Stripe's raw objects, of today and of 2020, read into ours; and absurd ones refused by name, never by a stray exception."""

import copy
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connect_app.money import Money
from connect_app.stripe_gateway import objects

START, END, LATER = 1_790_000_000, 1_792_592_000, 1_799_000_000
Raw = dict[str, Any]


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def price(**changes: object) -> Raw:
    return {
        "id": "price_1",
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "currency": "usd",
        "metadata": {},
        "nickname": None,
        "product": {"id": "prod_1", "object": "product", "name": "Snack box"},
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed", "meter": None},
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": 2000,
        "unit_amount_decimal": "2000",
        **changes,
    }


def item(item_id: str = "si_1", start: int = START, end: int = END, quantity: int | None = 1, **of_price: object) -> Raw:
    return {
        "id": item_id,
        "object": "subscription_item",
        "current_period_start": start,
        "current_period_end": end,
        "price": price(**of_price),
        "quantity": quantity,
    }


def coupon(**changes: object) -> Raw:
    return {
        "id": "SAVE20",
        "object": "coupon",
        "name": "A fifth off",
        "percent_off": 12.5,
        "amount_off": None,
        "currency": None,
        "duration": "repeating",
        "duration_in_months": 3,
        "valid": True,
        "redeem_by": None,
        "max_redemptions": None,
        "times_redeemed": 4,
        "created": START,
        "livemode": False,
        "metadata": {},
        **changes,
    }


def subscription(*lines: Raw, **changes: object) -> Raw:
    """In the shape of 2026-10-28.endive."""
    return {
        "id": "sub_1",
        "object": "subscription",
        "billing_mode": {"type": "flexible"},
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": START,
        "currency": "usd",
        "customer": "cus_1",
        "default_payment_method": None,
        "discounts": [],
        "ended_at": None,
        "items": {"object": "list", "data": list(lines or (item(),)), "has_more": False},
        "latest_invoice": "in_1",
        "livemode": False,
        "metadata": {"team": "blue"},
        "pause_collection": None,
        "pending_update": None,
        "schedule": None,
        "start_date": START,
        "status": "active",
        "trial_end": None,
        "trial_start": None,
        **changes,
    }


def subscription_of_2020(**changes: object) -> Raw:
    """In the shape of 2020-03-02: periods and the discount at the top, plans where prices are now, no currency."""
    plan = {
        "id": "gold",
        "object": "plan",
        "active": True,
        "amount": 2000,
        "billing_scheme": "per_unit",
        "currency": "usd",
        "interval": "month",
        "interval_count": 3,
        "metadata": {},
        "nickname": "Gold",
        "product": "prod_1",
        "usage_type": "licensed",
    }
    return {
        "id": "sub_1",
        "object": "subscription",
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "created": START,
        "current_period_end": END,
        "current_period_start": START,
        "customer": "cus_1",
        "discount": {"object": "discount", "coupon": coupon(), "end": LATER, "start": START},
        "items": {
            "object": "list",
            "data": [{"id": "si_1", "object": "subscription_item", "plan": plan, "quantity": 2}],
            "has_more": False,
        },
        "livemode": True,
        "metadata": {},
        "plan": plan,
        "quantity": 2,
        "status": "active",
        **changes,
    }


def test_todays_subscription_is_read_whole() -> None:
    read = objects.read_subscription(subscription())
    assert (read.id, read.customer, read.status, read.currency, read.billing_mode) == ("sub_1", "cus_1", "active", "usd", "flexible")
    assert (read.created, read.current_period_start, read.current_period_end) == (at(START), at(START), at(END))
    assert read.items[0].price.product_name == "Snack box"
    assert read.items[0].price.product == "prod_1"
    assert read.metadata == {"team": "blue"}
    assert read.latest_invoice == "in_1"
    assert read.amount == Money(2000, "usd")


def test_the_subscription_of_2020_is_read_whole() -> None:
    read = objects.read_subscription(subscription_of_2020())
    assert (read.current_period_start, read.current_period_end) == (at(START), at(END))
    assert read.currency == "usd"
    assert read.billing_mode == "classic"
    assert read.amount == Money(4000, "usd")
    line = read.items[0].price
    assert (line.id, line.product, line.interval, line.interval_count, line.nickname) == ("gold", "prod_1", "month", 3, "Gold")
    (discount,) = read.discounts
    assert (discount.id, discount.coupon, discount.ends_at) == (None, "SAVE20", at(LATER))
    assert discount.terms is not None
    assert discount.terms.percent_off == Decimal("12.5")


def test_the_period_is_the_part_that_all_items_share() -> None:
    read = objects.read_subscription(subscription(item("si_1", START, LATER), item("si_2", START + 60, END)))
    assert (read.current_period_start, read.current_period_end) == (at(START + 60), at(END))


def test_the_periods_of_the_items_win_over_an_old_one_at_the_top() -> None:
    assert objects.read_subscription(subscription(current_period_end=LATER)).current_period_end == at(END)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("di_1", ("di_1", None)),
        ({"id": "di_1", "object": "discount", "source": {"type": "coupon", "coupon": "SAVE20"}}, ("di_1", "SAVE20")),
        ({"id": "di_1", "object": "discount", "source": {"type": "coupon", "coupon": coupon()}}, ("di_1", "SAVE20")),
        ({"id": "di_1", "object": "discount", "coupon": coupon()}, ("di_1", "SAVE20")),
    ],
)
def test_a_discount_is_found_in_every_shape(entry: object, expected: tuple[str, str | None]) -> None:
    (discount,) = objects.read_subscription(subscription(discounts=[entry])).discounts
    assert (discount.id, discount.coupon) == expected


def test_the_old_single_discount_fills_in_the_id_that_the_list_left_bare() -> None:
    single = {"id": "di_1", "object": "discount", "coupon": coupon()}
    read = objects.read_subscription(subscription(discounts=["di_1", "di_2"], discount=single))
    assert [(discount.id, discount.coupon) for discount in read.discounts] == [("di_1", "SAVE20"), ("di_2", None)]


def test_expanded_references_are_read_as_their_ids() -> None:
    expanded = {
        "customer": {"id": "cus_2", "object": "customer"},
        "schedule": {"id": "sub_sched_1", "object": "subscription_schedule"},
        "latest_invoice": {"id": "in_2", "object": "invoice"},
        "default_payment_method": {"id": "pm_1", "object": "payment_method"},
    }
    read = objects.read_subscription(subscription(**expanded))
    assert (read.customer, read.schedule, read.latest_invoice, read.default_payment_method) == ("cus_2", "sub_sched_1", "in_2", "pm_1")


@pytest.mark.parametrize(
    ("changes", "is_scheduled", "ends_at", "next_charge"),
    [
        ({}, False, None, END),
        ({"cancel_at_period_end": True}, True, END, None),
        ({"cancel_at_period_end": True, "cancel_at": END}, True, END, None),
        ({"cancel_at": END}, True, END, None),
        ({"cancel_at": END - 10}, True, END - 10, None),
        ({"cancel_at": LATER}, True, LATER, END),
        ({"status": "canceled", "cancel_at_period_end": True, "ended_at": END}, False, None, None),
        ({"status": "trialing", "trial_end": END}, False, None, END),
        ({"status": "past_due"}, False, None, END),
        ({"status": "unpaid"}, False, None, None),
        ({"status": "incomplete"}, False, None, None),
        ({"status": "paused"}, False, None, None),
        ({"pause_collection": {"behavior": "void", "resumes_at": LATER}}, False, None, None),
    ],
)
def test_what_is_scheduled_and_what_is_charged_next_follows_from_the_state(
    changes: Raw, is_scheduled: bool, ends_at: int | None, next_charge: int | None
) -> None:
    read = objects.read_subscription(subscription(**changes))
    assert read.is_scheduled_to_cancel is is_scheduled
    assert read.ends_at == (None if ends_at is None else at(ends_at))
    assert read.next_charge == (None if next_charge is None else at(next_charge))


def test_both_of_stripes_pauses_count_as_paused() -> None:
    collection = objects.read_subscription(subscription(pause_collection={"behavior": "void", "resumes_at": LATER}))
    assert collection.is_paused
    assert collection.pause == objects.Pause(behavior="void", resumes_at=at(LATER))
    assert objects.read_subscription(subscription(status="paused")).is_paused
    assert not objects.read_subscription(subscription()).is_paused


METERED = {"interval": "month", "interval_count": 1, "usage_type": "metered"}


@pytest.mark.parametrize(
    ("lines", "amount"),
    [
        ([item(quantity=3)], 6000),
        ([item(quantity=1), item("si_2", quantity=2, unit_amount=500, unit_amount_decimal="500")], 3000),
        ([item(quantity=1), item("si_2", quantity=None, recurring=METERED)], 2000),
        ([item(quantity=None, recurring=METERED)], None),
        ([item(quantity=1), item("si_2", recurring={**METERED, "interval": "year"})], 2000),
        ([item(quantity=1), item("si_2", recurring={"interval": "year", "interval_count": 1})], None),
        ([item(billing_scheme="tiered", unit_amount=None, unit_amount_decimal=None)], None),
        ([item(quantity=1), item("si_2", billing_scheme="tiered", unit_amount=None, unit_amount_decimal=None)], None),
        ([item(quantity=3, unit_amount=None, unit_amount_decimal="0.5")], 2),
        ([item(quantity=11, transform_quantity={"divide_by": 5, "round": "up"})], 6000),
        ([item(quantity=11, transform_quantity={"divide_by": 5, "round": "down"})], 4000),
        ([item(quantity=1, currency="eur")], None),
        ([item(quantity=0)], 0),
    ],
)
def test_the_amount_is_the_licensed_items_or_not_known(lines: list[Raw], amount: int | None) -> None:
    assert objects.read_subscription(subscription(*lines)).amount == (None if amount is None else Money(amount, "usd"))


def test_the_amount_is_not_told_when_stripe_did_not_send_every_item() -> None:
    raw = subscription()
    raw["items"]["has_more"] = True
    read = objects.read_subscription(raw)
    assert read.has_more_items
    assert read.amount is None


def test_the_raw_object_is_kept_beside_and_does_not_count_in_comparisons() -> None:
    one, other = subscription(), subscription(test_clock="clock_1")
    assert objects.read_subscription(one).raw is one
    assert objects.read_subscription(one) == objects.read_subscription(other)
    assert "clock_1" not in repr(objects.read_subscription(other))


INVOICE = {
    "id": "in_1",
    "object": "invoice",
    "customer": "cus_1",
    "status": "paid",
    "total": 2000,
    "amount_paid": 1500,
    "currency": "usd",
    "created": START,
    "status_transitions": {"paid_at": START + 5},
    "period_start": START,
    "period_end": END,
    "billing_reason": "subscription_cycle",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}}},
        {"parent": {"type": "subscription_details", "subscription_details": {"subscription": {"id": "sub_1"}}}},
        {"subscription": "sub_1"},
        {"subscription": {"id": "sub_1", "object": "subscription"}},
    ],
)
def test_an_invoice_names_its_subscription_in_both_shapes(changes: Raw) -> None:
    read = objects.read_invoice({**INVOICE, **changes})
    assert read.subscription == "sub_1"
    assert (read.total, read.amount_paid, read.paid_at) == (Money(2000, "usd"), Money(1500, "usd"), at(START + 5))


def test_an_invoice_made_by_hand_has_no_subscription() -> None:
    assert objects.read_invoice({**INVOICE, "parent": {"type": "quote_details", "subscription_details": None}}).subscription is None


def test_a_coupon_takes_off_a_percentage_or_an_amount() -> None:
    assert objects.read_coupon(coupon()).percent_off == Decimal("12.5")
    amount = objects.read_coupon(coupon(percent_off=None, amount_off=500, currency="eur", applies_to={"products": ["prod_1"]}))
    assert (amount.amount_off, amount.percent_off, amount.products) == (Money(500, "eur"), None, ("prod_1",))


@pytest.mark.parametrize(
    "changes",
    [
        {"percent_off": None},
        {"amount_off": 5, "currency": "usd"},
        {"percent_off": 0},
        {"percent_off": 100.5},
        {"percent_off": float("nan")},
    ],
)
def test_a_coupon_that_takes_off_nothing_or_too_much_is_refused(changes: Raw) -> None:
    with pytest.raises(objects.Malformed, match="percent_off"):
        objects.read_coupon(coupon(**changes))


@pytest.mark.parametrize("read", [objects.read_customer, objects.read_product, objects.read_coupon])
def test_what_is_left_of_a_deleted_object_is_read(read: Callable[[Mapping[str, object]], Any]) -> None:
    left = read({"id": "x_1", "deleted": True})
    assert (left.id, left.is_deleted) == ("x_1", True)


def test_a_customer_pays_with_the_default_of_their_invoice_settings() -> None:
    raw: Raw = {
        "id": "cus_1",
        "created": START,
        "invoice_settings": {"default_payment_method": {"id": "pm_1"}},
        "preferred_locales": ["fr"],
    }
    read = objects.read_customer(raw)
    assert (read.default_payment_method, read.preferred_locales, read.created) == ("pm_1", ("fr",), at(START))


def test_an_account_is_called_what_its_customers_call_it_else_what_its_dashboard_does() -> None:
    shown = {"dashboard": {"display_name": "ACME Inc.", "timezone": "Europe/Berlin"}}
    public = objects.read_account({"id": "acct_1", "business_profile": {"name": "Acme Snacks"}, "settings": shown})
    assert (public.name, public.timezone) == ("Acme Snacks", "Europe/Berlin")
    assert objects.read_account({"id": "acct_1", "business_profile": {"name": None}, "settings": shown}).name == "ACME Inc."
    assert objects.read_account({"id": "acct_1"}).name is None


def test_a_portal_configuration_tells_its_ways_around_the_flow() -> None:
    features = {"subscription_cancel": {"enabled": True}, "subscription_update": {"enabled": False}}
    raw: Raw = {"id": "bpc_1", "is_default": True, "active": True, "features": features, "login_page": {"enabled": True}}
    read = objects.read_portal_configuration(raw)
    assert (read.cancel_enabled, read.pause_enabled, read.login_page_enabled) == (True, False, True)


EVENT = {
    "id": "evt_1",
    "object": "event",
    "account": "acct_1",
    "api_version": "2026-10-28.endive",
    "created": START,
    "data": {"object": {"id": "sub_1", "object": "subscription"}},
    "livemode": False,
    "type": "customer.subscription.updated",
}


def test_an_event_names_what_changed_where_and_when() -> None:
    read = objects.read_event(EVENT)
    assert (read.id, read.type, read.account, read.livemode) == ("evt_1", "customer.subscription.updated", "acct_1", False)
    assert (read.object_type, read.object_id, read.created) == ("subscription", "sub_1", at(START))


def test_an_event_of_the_platform_has_no_account_and_an_object_need_not_have_an_id() -> None:
    read = objects.read_event({**EVENT, "account": None, "data": {"object": {"object": "balance"}}})
    assert (read.account, read.object_id) == (None, None)


WHOLE: list[tuple[Callable[[Mapping[str, object]], Any], Raw]] = [
    (objects.read_subscription, subscription(discounts=[{"id": "di_1", "source": {"coupon": coupon()}}])),
    (objects.read_subscription, subscription_of_2020()),
    (objects.read_invoice, {**INVOICE, "parent": {"subscription_details": {"subscription": "sub_1"}}}),
    (objects.read_price, price(transform_quantity={"divide_by": 5, "round": "up"})),
    (objects.read_coupon, coupon()),
    (objects.read_event, EVENT),
    (
        objects.read_customer,
        {"id": "cus_1", "created": START, "invoice_settings": {"default_payment_method": "pm_1"}, "metadata": {"a": "b"}},
    ),
    (objects.read_product, {"id": "prod_1", "name": "Snack box", "active": True, "created": START, "metadata": {}}),
    (objects.read_account, {"id": "acct_1", "settings": {"dashboard": {"display_name": "x"}}, "default_currency": "usd"}),
    (
        objects.read_payment_method,
        {"id": "pm_1", "type": "card", "card": {"brand": "visa", "last4": "4242", "exp_month": 1, "exp_year": 2030}},
    ),
    (objects.read_webhook_endpoint, {"id": "we_1", "url": "https://x.test", "status": "enabled", "enabled_events": ["*"]}),
    (
        objects.read_portal_configuration,
        {"id": "bpc_1", "is_default": True, "active": True, "features": {}, "login_page": {"enabled": False}},
    ),
]


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value inside a JSON document."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, entry in entries for place in places(entry, (*path, key)))]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["1e999999", "NaN", "usd", "void", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=500)
@given(st.data())
def test_any_value_in_any_place_is_read_or_refused_by_name(data: st.DataObject) -> None:
    read, whole = data.draw(st.sampled_from(WHOLE))
    raw: Any = copy.deepcopy(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(raw)))
        strange = data.draw(JSON)
        if not path:
            raw = strange
            break
        holder = raw
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = strange
    try:
        found = read(raw)
    except objects.Malformed:
        return
    assert isinstance(found, objects.Event | objects.WebhookEndpoint) or found.raw is raw
    if isinstance(found, objects.Subscription):
        assert found.amount is None or found.amount.currency == found.currency
        assert found.next_charge is None or found.next_charge.tzinfo is not None


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (None, "object"),
        ([], "object"),
        ({}, "currency"),
        (subscription(id=7), "id"),
        (subscription(id=""), "id"),
        (subscription(status="banana"), "status"),
        (subscription(created=True), "created"),
        (subscription(created=-1), "created"),
        (subscription(created=10**20), "created"),
        (subscription(customer={"object": "customer"}), "customer.id"),
        (subscription(items={"data": {}}), "items.data"),
        (subscription(items=[]), "items"),
        (subscription({**item(), "price": None}), "items.data.0.price"),
        (subscription(item(), item(currency="US dollars")), "items.data.1.price.currency"),
        (subscription(item(unit_amount_decimal="NaN")), "items.data.0.price.unit_amount_decimal"),
        (subscription(discounts=["di_1", 5]), "discounts.1"),
        (subscription(pause_collection={"behavior": "voided"}), "pause_collection.behavior"),
        (subscription(metadata={"a": 1}), "metadata.a"),
    ],
)
def test_a_malformed_subscription_is_refused_with_the_path_to_the_fault(raw: Any, path: str) -> None:
    with pytest.raises(objects.Malformed) as caught:
        objects.read_subscription(raw)
    assert str(caught.value).startswith(f"{path}:")


def test_objects_errors_and_calls_stand_without_the_sdk() -> None:
    program = "import sys; from connect_app.stripe_gateway import objects, errors, calls; sys.exit('stripe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
