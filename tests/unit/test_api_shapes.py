"""One object as Stripe's versions from 2020-03-02 to today render it: the mirror's columns stay the same, and a glance never disagrees."""

import copy
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connect_app.stripe_gateway import objects
from webhooks import projections
from webhooks.projections import glance

# Each from a documented change on: discounts with ids; a list of them beside the one; periods on items and an invoice's parent; the
# discount's source; today.
VERSIONS = ("2020-03-02", "2020-08-27", "2022-11-15", "2024-06-20", "2025-03-31.basil", "2025-09-30.clover", "2026-10-28.endive")
NOW = datetime(2026, 11, 22, tzinfo=UTC)
START = 1_750_000_000
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
Raw = dict[str, Any]

AMOUNTS = st.integers(0, 10**9)
MOMENTS = st.integers(START, START + 10**8)
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@st.composite
def truths(draw: st.DrawFn) -> Raw:
    """What is true of a subscription, whoever tells it."""
    period = draw(MOMENTS)
    return {
        "status": draw(st.sampled_from(["active", "trialing", "past_due", "canceled", "unpaid", "paused"])),
        "currency": draw(st.sampled_from(["usd", "jpy", "eur", "kwd"])),
        "period": (period, period + 2_592_000),
        "lines": draw(st.lists(st.tuples(AMOUNTS, st.integers(0, 50)), min_size=1, max_size=3)),
        "interval": draw(st.sampled_from([("month", 1), ("year", 1), ("week", 2)])),
        "coupon": draw(st.sampled_from([None, "HALF", "FOREVER 10"])),
        "pause": draw(
            st.sampled_from([None, {"behavior": "void", "resumes_at": None}, {"behavior": "keep_as_draft", "resumes_at": START}])
        ),
        "cancel_at": draw(st.none() | MOMENTS),
        "schedule": draw(st.sampled_from([None, "sub_sched_1"])),
        "card": draw(st.sampled_from([None, "pm_1"])),
        "metadata": draw(st.dictionaries(WORDS, WORDS, max_size=3)),
    }


def coupon(id: str) -> Raw:
    return {"id": id, "object": "coupon", "percent_off": 50, "amount_off": None, "duration": "forever", "valid": True, "created": START}


def plan_of(truth: Raw, place: int) -> Raw:
    amount, _ = truth["lines"][place]
    interval, count = truth["interval"]
    return {
        "id": f"price_{place}",
        "object": "plan",
        "active": True,
        "amount": amount,
        "amount_decimal": str(amount),
        "billing_scheme": "per_unit",
        "currency": truth["currency"],
        "interval": interval,
        "interval_count": count,
        "metadata": {},
        "nickname": None,
        "product": "prod_1",
        "transform_usage": None,
        "usage_type": "licensed",
    }


def price_of(truth: Raw, place: int) -> Raw:
    amount, _ = truth["lines"][place]
    interval, count = truth["interval"]
    return {
        "id": f"price_{place}",
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "currency": truth["currency"],
        "metadata": {},
        "nickname": None,
        "product": "prod_1",
        "recurring": {"interval": interval, "interval_count": count, "usage_type": "licensed", "trial_period_days": None},
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }


def discount(id: str, version: str) -> Raw:
    held = {"source": {"type": "coupon", "coupon": id}} if version >= "2025-09-30" else {"coupon": coupon(id)}
    named = {"id": "di_1"} if version >= "2020-08-27" else {}
    return {**named, "object": "discount", "customer": "cus_1", "subscription": "sub_1", "start": START, "end": None, **held}


def subscription(truth: Raw, version: str) -> Raw:
    """As this version renders it."""
    begin, end = truth["period"]
    is_split = version >= "2025-03-31"
    lines = []
    for place, (_, quantity) in enumerate(truth["lines"]):
        line: Raw = {
            "id": f"si_{place}",
            "object": "subscription_item",
            "quantity": quantity,
            "metadata": {},
            "plan": plan_of(truth, place),
        }
        # Recorded before prices came, which was between two versions.
        if version > "2020-03-02":
            line["price"] = price_of(truth, place)
        if is_split:
            line |= {"current_period_start": begin, "current_period_end": end, "discounts": []}
        lines.append(line)
    raw: Raw = {
        "id": "sub_1",
        "object": "subscription",
        "cancel_at": truth["cancel_at"],
        "cancel_at_period_end": False,
        "canceled_at": None,
        "collection_method": "charge_automatically",
        "created": START,
        "customer": "cus_1",
        "default_payment_method": truth["card"],
        "ended_at": None,
        "items": {"object": "list", "data": lines, "has_more": False, "total_count": len(lines), "url": "/v1/subscription_items"},
        "latest_invoice": "in_1",
        "livemode": False,
        "metadata": truth["metadata"],
        "pause_collection": truth["pause"],
        "schedule": truth["schedule"],
        "start_date": START,
        "status": truth["status"],
        "trial_end": None,
        "trial_start": None,
    }
    if version >= "2022-11-15":
        raw |= {"currency": truth["currency"], "cancellation_details": {"comment": None, "feedback": None, "reason": None}}
    found = truth["coupon"]
    if not is_split:
        raw |= {"current_period_start": begin, "current_period_end": end, "discount": discount(found, version) if found else None}
        raw |= {"plan": lines[0]["plan"] if len(lines) == 1 else None, "quantity": lines[0]["quantity"] if len(lines) == 1 else None}
    if version >= "2024-06-20":
        raw |= {"discounts": ["di_1"] if found else []}
    if version >= "2026":
        raw |= {"billing_mode": {"type": "flexible"}, "pending_update": None, "status_details": {}}
        for line in lines:
            del line["plan"]
    return raw


def invoice(truth: Raw, version: str) -> Raw:
    """The invoice of the truth's first line."""
    amount, _ = truth["lines"][0]
    raw: Raw = {
        "id": "in_1",
        "object": "invoice",
        "amount_paid": amount,
        "billing_reason": "subscription_cycle",
        "created": START,
        "currency": truth["currency"],
        "customer": "cus_1",
        "hosted_invoice_url": None,
        "lines": {"object": "list", "data": [{"id": "il_1", "object": "line_item"}] * 10, "has_more": True},
        "period_end": truth["period"][1],
        "period_start": truth["period"][0],
        "status": "paid",
        "status_transitions": {"finalized_at": START, "paid_at": START + 5},
        "total": amount,
    }
    if version >= "2025-03-31":
        return raw | {"parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1", "metadata": {}}}}
    return raw | {
        "subscription": "sub_1",
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "paid": True,
        "subscription_details": {"metadata": {}},
    }


def customer(truth: Raw, version: str) -> Raw:
    raw: Raw = {
        "id": "cus_1",
        "object": "customer",
        "created": START,
        "currency": truth["currency"],
        "email": "ada@customer.example",
        "invoice_settings": {"default_payment_method": truth["card"], "footer": None},
        "metadata": truth["metadata"],
        "name": "Ada",
        "preferred_locales": [],
        "discount": discount(truth["coupon"], version) if truth["coupon"] else None,
    }
    if version < "2020-08-27":
        raw |= {"sources": {"object": "list", "data": []}, "subscriptions": {"object": "list", "data": [subscription(truth, version)]}}
    return raw


def charge(truth: Raw, version: str) -> Raw:
    amount, _ = truth["lines"][0]
    raw: Raw = {
        "id": "ch_1",
        "object": "charge",
        "amount": amount,
        "amount_refunded": amount // 2,
        "created": START,
        "currency": truth["currency"],
        "customer": "cus_1",
        "disputed": False,
        "payment_intent": "pi_1",
    }
    return raw | ({"dispute": None, "refunds": {"object": "list", "data": []}} if version < "2022-11-15" else {})


KINDS: dict[str, Callable[[Raw, str], Raw]] = {
    "subscription": subscription,
    "invoice": invoice,
    "customer": customer,
    "charge": charge,
}
# What an id may be instead, where somebody asked for more: the object itself, or what is left of it.
EXPANDED = ("customer", "latest_invoice", "default_payment_method", "schedule", "subscription", "payment_intent")


def dressed(data: st.DataObject, raw: Raw) -> Raw:
    """The same object as others may send it: keys nobody knows, absent instead of null, references expanded, customers deleted."""
    worn = copy.deepcopy(raw)
    for key, value in raw.items():
        if value is None and data.draw(st.booleans()):
            del worn[key]
        if key in EXPANDED and isinstance(value, str) and data.draw(st.booleans()):
            worn[key] = {"id": value, "object": key} | data.draw(st.sampled_from([{}, {"deleted": True}, {"metadata": {}, "x": [1, None]}]))
    worn |= data.draw(st.dictionaries(st.sampled_from(["x_new", "y_new"]), st.sampled_from([None, 1.5, "x", {"a": [{}]}]), max_size=2))
    return worn


@pytest.mark.parametrize("kind", KINDS)
@PATIENT
@given(st.data())
def test_every_version_s_rendering_of_one_object_leaves_the_same_columns(kind: str, data: st.DataObject) -> None:
    truth = data.draw(truths())
    renderings = {version: dressed(data, KINDS[kind](truth, version)) for version in VERSIONS}
    columns = {version: projections.row(kind, raw, NOW).columns for version, raw in renderings.items()}
    expected = columns[VERSIONS[-1]]
    for version in VERSIONS:
        # An invoice is no longer named by its charge since 2025; nothing else is lost.
        assert columns[version] == expected, version
        shown = glance.row(kind, renderings[version], NOW)
        assert shown is None or shown == projections.row(kind, renderings[version], NOW), version


@PATIENT
@given(truths())
def test_the_coupon_at_work_is_found_in_every_version(truth: Raw) -> None:
    for version in VERSIONS:
        [*found] = objects.read_subscription(subscription(truth, version)).discounts
        if truth["coupon"] is None:
            assert found == [], version
        elif version < "2025-03-31":
            assert [one.coupon for one in found] == [truth["coupon"]], version
        else:  # since then only its id is told, and the discount is the mirror's own row
            assert [one.id for one in found] == ["di_1"], version
    whole = objects.read_discount(discount("HALF", "2024-06-20"))
    assert objects.read_discount(discount("HALF", "2026-10-28")).coupon == whole.coupon == "HALF"


@PATIENT
@given(truths())
def test_what_our_own_version_tells_takes_no_more_than_a_glance(truth: Raw) -> None:
    for kind, rendered in KINDS.items():
        raw = rendered({**truth, "coupon": None}, VERSIONS[-1])
        shown = glance.row(kind, raw, NOW)
        assert kind == "charge" or shown == projections.row(kind, raw, NOW)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value inside a JSON document, but not of the whole."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, entry in entries for place in ((*path, key), *places(entry, (*path, key)))]


SCALARS = [None, True, 0, -1, 7, 2**63, 1.0, 1.5, "", "x", "usd", "USD", "x" * 300, "a\nb", "2000", "NaN", "metered", "tiered", "canceled"]
PARTS: list[object] = [[], ["x"], [1], [{}], {}, {"id": "y", "object": "z"}, {"object": "z"}, {"id": "y"}, {"a": "b"}, {"a": 1}]
# Fresh each time: what one example changes must not be there in the next.
STRANGE = st.sampled_from([*SCALARS, *PARTS]).map(copy.deepcopy)
NEW_KEYS = st.sampled_from(
    ["interval", "discount", "plan", "price", "items", "deleted", "product", "default_source", "discounts", "transform_quantity"]
)


@settings(PATIENT, max_examples=1500)
@given(st.data())
def test_whatever_a_glance_accepts_the_thorough_reading_accepts_and_reads_the_same(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["subscription", "invoice", "customer"]))
    truth = {**data.draw(truths()), "coupon": None}
    raw = KINDS[kind](truth, data.draw(st.sampled_from(VERSIONS[-2:])))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(places(raw)))
        holder: Any = raw
        for key in path[:-1]:
            holder = holder[key]
        match data.draw(st.sampled_from(["change", "add", "remove"])):
            case "add" if isinstance(holder, dict):
                holder[data.draw(NEW_KEYS)] = data.draw(STRANGE)
            case "remove" if isinstance(holder, dict):
                del holder[path[-1]]
            case _:
                holder[path[-1]] = data.draw(STRANGE)
    raw = json.loads(json.dumps(raw))
    shown = glance.row(kind, raw, NOW)
    if shown is not None:
        thorough = projections.row(kind, raw, NOW)
        assert shown == thorough
        assert _reads(kind)(shown.raw) == _reads(kind)(thorough.raw)


def _reads(kind: str) -> Callable[[Mapping[str, object]], object]:
    return {"subscription": objects.read_subscription, "invoice": objects.read_invoice, "customer": objects.read_customer}[kind]


def test_a_list_that_was_cut_at_ten_is_read_and_its_amount_is_not_told() -> None:
    truth = {"status": "active", "currency": "jpy", "period": (START, START + 1), "lines": [(500, 1)] * 10, "interval": ("month", 1)}
    truth |= {"coupon": None, "pause": None, "cancel_at": None, "schedule": None, "card": None, "metadata": {}}
    raw = subscription(truth, VERSIONS[-1])
    assert projections.row("subscription", raw, NOW).columns["amount"] == 5000
    raw["items"] |= {"has_more": True, "total_count": 12}
    assert projections.row("subscription", raw, NOW).columns["amount"] is None
    assert glance.row("subscription", raw, NOW) == projections.row("subscription", raw, NOW)


def test_what_is_left_of_a_deleted_customer_is_a_row_of_its_own() -> None:
    stub: Raw = {"id": "cus_1", "object": "customer", "deleted": True}
    assert glance.row("customer", stub, NOW) is None
    assert projections.row("customer", stub, NOW, is_deleted=True).columns == dict.fromkeys(
        ("email", "name", "created_at", "default_payment_method")
    )
