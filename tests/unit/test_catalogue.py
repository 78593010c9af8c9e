"""The catalogue: every field of a subscriber by its path, in both of Stripe's shapes, whatever keys an owner chose."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_app.money import Money
from connect_app.stripe_gateway import objects
from webhooks import catalogue
from webhooks.catalogue import Subject, paths, values

NOW = datetime(2000, 6, 1, tzinfo=UTC)
THEN = 946684800

# Brightback's example payload, its blanks filled in with our reading of them.
EXAMPLE = {
    "subscription.customer.email": "ada@example.com",
    "subscription.plan.interval": "year",
    "subscription.plan.id": "premium_snack_pack",
    "subscription.id": "sub_abcdefghijk",
    "subscription.current_period_end": THEN,
    "subscription.plan.billing_scheme": "per_unit",
    "subscription.customer.created": THEN,
    "subscription.trial_start_date": THEN,
    "subscription.plan.amount_decimal": 99000,
    "subscription.trial_end_date": THEN,
    "subscription.plan.product.name": "Premium Snack Pack",
    "subscription.start_date": THEN,
    "subscription.customer.id": "cus_abcdefghijk",
    "subscription.plan.interval_count": 1,
    "subscription.plan.product.id": "prod_abcdefghijk",
    "subscription.created": THEN,
    "subscription.current_period_start": THEN,
}

CUSTOMER = {"id": "cus_abcdefghijk", "object": "customer", "email": "ada@example.com", "created": THEN, "livemode": False}
PRODUCT = {"id": "prod_abcdefghijk", "object": "product", "name": "Premium Snack Pack", "active": True, "created": THEN}
_BOTH = {
    "id": "sub_abcdefghijk",
    "object": "subscription",
    "customer": "cus_abcdefghijk",
    "status": "active",
    "livemode": False,
    "created": THEN,
    "start_date": THEN,
    "trial_start": THEN,
    "trial_end": THEN,
    "cancel_at_period_end": False,
    "metadata": {},
}
_PLAN = {
    "id": "premium_snack_pack",
    "object": "plan",
    "active": True,
    "amount": 99000,
    "amount_decimal": "99000",
    "billing_scheme": "per_unit",
    "currency": "usd",
    "interval": "year",
    "interval_count": 1,
    "product": "prod_abcdefghijk",
    "usage_type": "licensed",
}
_PRICE = {
    "id": "premium_snack_pack",
    "object": "price",
    "active": True,
    "unit_amount": 99000,
    "unit_amount_decimal": "99000",
    "billing_scheme": "per_unit",
    "currency": "usd",
    "recurring": {"interval": "year", "interval_count": 1, "usage_type": "licensed"},
    "product": "prod_abcdefghijk",
    "type": "recurring",
}
OLD: dict[str, Any] = {
    **_BOTH,
    "current_period_start": THEN,
    "current_period_end": THEN,
    "plan": _PLAN,
    "quantity": 1,
    "discount": {"id": "di_1", "object": "discount", "coupon": {"id": "tenth", "percent_off": 10, "duration": "forever", "valid": True}},
    "items": {"object": "list", "has_more": False, "data": [{"id": "si_1", "plan": _PLAN, "quantity": 1}]},
}
NEW: dict[str, Any] = {
    **_BOTH,
    "currency": "usd",
    "discounts": [
        {
            "id": "di_1",
            "object": "discount",
            "source": {"type": "coupon", "coupon": {"id": "tenth", "percent_off": 10, "duration": "forever", "valid": True}},
        }
    ],
    "items": {
        "object": "list",
        "has_more": False,
        "data": [{"id": "si_1", "price": _PRICE, "quantity": 1, "current_period_start": THEN, "current_period_end": THEN}],
    },
}


def subject(subscription: dict[str, Any] | None = None, customer: dict[str, Any] | None = None, **more: Any) -> Subject:
    held = {"products": {"prod_abcdefghijk": {"raw": PRODUCT, "as_of": THEN}}}
    return catalogue.subject(
        customer_id="cus_abcdefghijk",
        subscription_id="sub_abcdefghijk",
        subscription=subscription,
        customer=customer,
        beside={**held, **more.pop("beside", {})},
        as_of={"subscription": NOW, "customer": NOW},
        **more,
    )


@pytest.mark.parametrize("shape", [OLD, NEW], ids=["2020", "today"])
def test_the_seed_s_example_payload_comes_out_field_by_field(shape: dict[str, Any]) -> None:
    found = catalogue.fields(subject(shape, CUSTOMER), NOW)
    assert {path: catalogue.wire(found[path]) for path in EXAMPLE} == EXAMPLE


def test_both_shapes_have_the_same_fields_of_our_own_naming() -> None:
    old, new = (catalogue.fields(subject(shape, CUSTOMER), NOW) for shape in (OLD, NEW))
    named = {path for path in catalogue.FIELDS if path in old or path in new}
    assert {path: old.get(path) for path in named} == {path: new.get(path) for path in named}
    assert len(named) > 35


def test_computed_fields() -> None:
    monthly = {**NEW, "items": json.loads(json.dumps(NEW["items"]))}
    line = monthly["items"]["data"][0]
    line["price"]["recurring"] = {"interval": "month", "interval_count": 3}
    line["current_period_end"] = int((NOW + timedelta(days=9)).timestamp())
    paid = [[(NOW - timedelta(days=n)).timestamp(), 500 + n, "usd"] for n in (1, 400, 800)]
    known = subject(
        monthly, CUSTOMER, beside={"paid": [*paid, [NOW.timestamp(), 9, "eur"]], "oldest": paid[-1][0], "first": {"paid_at": THEN - 10**8}}
    )
    found = catalogue.fields(known, NOW)
    assert found["billing_frequency"] == "quarterly"
    assert found["mrr"] == Money(29700, "usd")
    assert found["paid_24m"] == Money(1401, "usd"), "within 730 days, and no euros among dollars"
    assert found["first_purchase_date"] == datetime.fromtimestamp(THEN - 10**8, UTC)
    assert found["tenure_days"] == (NOW - datetime.fromtimestamp(THEN, UTC)).days
    assert found["discount_active"] is True
    assert found["next_invoice_date"] == NOW + timedelta(days=9)
    assert found["plan_name"] == "Premium Snack Pack"


def test_a_first_purchase_that_is_not_sure_is_not_told() -> None:
    oldest = {"oldest": THEN, "paid": [[THEN, 500, "usd"]]}
    assert "first_purchase_date" not in catalogue.fields(subject(NEW, CUSTOMER, beside=oldest), NOW)
    read_in = {
        "state": "done",
        "counts": {"invoices": 3},
        "started_at": (datetime.fromtimestamp(THEN, UTC) + timedelta(days=700)).isoformat(),
    }
    young = catalogue.fields(subject(NEW, CUSTOMER, beside={**oldest, "read_in": read_in}), NOW)
    assert young["first_purchase_date"] == datetime.fromtimestamp(THEN, UTC), "the mirror has had all of theirs"
    early = {**read_in, "started_at": (datetime.fromtimestamp(THEN, UTC) + timedelta(days=800)).isoformat()}
    assert "first_purchase_date" not in catalogue.fields(subject(NEW, CUSTOMER, beside={**oldest, "read_in": early}), NOW)
    for lacking in ({"state": "running"}, {"counts": {"subscriptions": 3}}):
        found = catalogue.fields(subject(NEW, CUSTOMER, beside={**oldest, "read_in": {**read_in, **lacking}}), NOW)
        assert "first_purchase_date" not in found


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"tax": {"location": {"country": "DE", "state": None, "source": "ip_address"}}}, ("DE", None, "ip_address")),
        ({"shipping": {"address": {"country": "FR"}}, "address": {"country": "US", "state": "MN"}}, ("FR", None, "shipping_destination")),
        ({"address": {"country": "US", "state": "MN"}}, ("US", "MN", "billing_address")),
        ({}, (None, None, None)),
    ],
)
def test_the_place_for_taxes_is_stripe_s_finding_else_the_address_it_would_go_by(
    more: dict[str, Any], place: tuple[str | None, str | None, str | None]
) -> None:
    found = catalogue.fields(subject(NEW, {**CUSTOMER, **more}), NOW)
    assert tuple(found.get(f"tax_location.{part}") for part in ("country", "state", "source")) == place


def test_amounts_times_and_fractions_are_read_as_what_they_are() -> None:
    price = {**_PRICE, "currency_options": {"jpy": {"unit_amount": 900}}, "tiers": [{"flat_amount": 5, "up_to": None}], "created": THEN}
    found = dict(values.of_stripe(price, "price"))
    assert found["price.unit_amount"] == Money(99000, "usd")
    assert found["price.currency_options.jpy.unit_amount"] == Money(900, "jpy")
    assert found["price.tiers.0.flat_amount"] == Money(5, "usd")
    assert found["price.unit_amount_decimal"] == Decimal(99000)
    assert found["price.created"] == datetime.fromtimestamp(THEN, UTC)
    assert found["price.recurring.interval_count"] == 1


KEYS = ["a.b", "a\\.b", "[0]", "", ".", "\\", "ключ", "x" * 500, "a b", "{{ x }}", "\n", "0", "__proto__"]


def test_every_key_an_owner_may_choose_has_a_path_of_its_own() -> None:
    customer = {**CUSTOMER, "metadata": {key: f"value {place}" for place, key in enumerate(KEYS)}}
    known = subject(NEW, customer)
    found = catalogue.fields(known, NOW)
    for place, key in enumerate(KEYS):
        path = paths.join(["customer", "metadata", key])
        assert found[path] == f"value {place}"
        assert catalogue.value(known, path, NOW) == f"value {place}"
    assert paths.join(["metadata", "a.b"]) == r"metadata.a\.b"


def test_a_hand_off_is_followed_into_objects_and_not_into_arrays_and_never_shadows_stripe() -> None:
    deep: dict[str, Any] = {
        "seats": 5,
        "team": {"name": "Blue", "tags": ["a", "b"], "lead": {"ok": True}},
        "created": THEN,
        "amount": 7,
        "currency": "eur",
    }
    found = catalogue.fields(subject(NEW, CUSTOMER, custom=deep), NOW)
    own = {path: value for path, value in found.items() if path.startswith("custom.")}
    assert own == {
        "custom.seats": 5,
        "custom.team.name": "Blue",
        "custom.team.lead.ok": True,
        "custom.created": THEN,
        "custom.amount": 7,
        "custom.currency": "eur",
    }


def test_a_hand_off_nested_a_thousand_deep_is_read_all_the_same() -> None:
    nested: Any = "down here"
    for _ in range(1300):
        nested = {"a": nested}
    [(path, value)] = values.of_hand_off(nested, "custom")
    assert value == "down here"
    assert values.at(nested, paths.split(path)[1:], is_stripe=False) == "down here"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
KEY = st.text(max_size=6) | st.sampled_from(
    ["created", "amount", "currency", "total", "unit_amount_decimal", "paid_at", "currency_options", "eur"]
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4), max_leaves=25)


def leaves(found: object, at: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
    """Every scalar of a JSON value and where it is, by the plainest reading there is."""
    if isinstance(found, dict):
        return [leaf for key, part in found.items() for leaf in leaves(part, (*at, key))]
    if isinstance(found, list):
        return [leaf for place, part in enumerate(found) for leaf in leaves(part, (*at, str(place)))]
    return [] if found is None else [(at, found)]


@given(JSON)
def test_every_scalar_of_any_object_is_reachable_and_nothing_else(found: object) -> None:
    walked = list(values.of_stripe(found, "root"))
    expected = {paths.join(["root", *at]): value for at, value in leaves(found)}
    assert [path for path, _ in walked] == list(expected), "each once, in the object's own order"
    for path, value in walked:
        wired = catalogue.wire(value)
        raw = expected[path]
        assert wired == raw or (isinstance(value, Decimal) and value == Decimal(str(raw))), path
        assert values.at(found, paths.split(path)[1:], is_stripe=True) == value


@given(JSON)
def test_any_hand_off_is_read_without_failing(custom: object) -> None:
    for path, value in values.of_hand_off(custom, "custom"):
        assert values.at(custom, paths.split(path)[1:], is_stripe=False) == value


@given(st.dictionaries(KEY, JSON, max_size=4), st.text(max_size=20))
def test_flattening_never_raises_whatever_a_subscription_s_json_holds_besides(extra: dict[str, Any], path: str) -> None:
    known = subject({**extra, **NEW, "extra": extra}, {**extra, **CUSTOMER}, custom=extra)
    found = catalogue.fields(known, NOW)
    for each, value in found.items():
        assert catalogue.value(known, each, NOW) == value
    catalogue.value(known, path, NOW)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=5))
def test_a_path_leads_back_to_its_keys(keys: list[str]) -> None:
    assert paths.split(paths.join(keys)) == keys


def test_another_customer_s_subscription_and_what_is_no_subscription_are_as_if_there_were_none() -> None:
    price = {"price": {"raw": _PRICE, "as_of": THEN}}
    foreign = subject({**NEW, "customer": "cus_other"}, CUSTOMER, beside=price)
    assert (foreign.subscription, foreign.price, foreign.product) == (None, None, None)
    assert subject({"id": 3}, CUSTOMER).subscription is None
    empty = catalogue.fields(subject(), NOW)
    assert empty == {"subscription.customer.id": "cus_abcdefghijk"}
    assert objects.read_subscription(NEW).discounts
