"""What somebody writes now has to be able to work; what was published before stays readable for good."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connect_app import money
from connect_app.admin import offers
from connect_app.admin.offer_forms import entries
from flow_pages import document

WORDS: dict[str, Any] = {"id": "off_1", "headline": "h", "accept": "y", "decline": "n"}
MINT = {"kind": "discount", "mint": {"duration": "once"}}


@pytest.mark.parametrize(
    ("offer", "where"),
    [
        ({"kind": "pause", "interval": "month", "count": 13}, "pause.count"),
        ({"kind": "pause", "interval": "week", "count": 53}, "pause.count"),
        ({"kind": "pause", "interval": "month", "count": 12, "least": 11, "most": 13}, "pause.most"),
        ({"kind": "extension", "interval": "month", "count": 24}, "extension.count"),
        ({"kind": "discount", "mint": {"duration": "once", "amounts": {"xyz": 100}}}, "discount.mint.amounts.xyz.[key]"),
        ({"kind": "discount", "mint": {"duration": "once", "amounts": {"kwd": 1255}}}, "discount.mint.amounts"),
        ({"kind": "discount", "mint": {"duration": "once", "amounts": {"ugx": 150}}}, "discount.mint.amounts"),
        ({"kind": "discount", "limits": {"monthly_budget": {"dem": 100}}}, "discount.limits.monthly_budget.dem.[key]"),
        ({"kind": "discount", "image_alt": "{% for"}, "discount.image_alt"),
        ({"kind": "link", "url": "https://a.example/{{ name | upcase }}"}, "link.url"),
        ({"kind": "link", "url": "mailto:a@a.example?subject={{ name"}, "link.url"),
        ({"kind": "custom", "payload": {"who": "{{ customer_id }}"}}, "custom.payload"),
    ],
)
def test_what_could_never_work_is_refused_where_it_is_new_and_read_where_it_was_published(offer: dict[str, Any], where: str) -> None:
    whole = {**document.control_flow().as_json(), "offers": [{**WORDS, **offer}]}
    with pytest.raises(ValidationError) as refusal:
        document.parse(whole, is_new=True)
    assert [".".join(str(part) for part in problem["loc"]) for problem in refusal.value.errors()] == [f"offers.0.{where}"]
    [kept] = document.parse(whole).offers
    assert offers.read(kept.model_dump(mode="json")) == kept


@pytest.mark.parametrize(
    "offer",
    [
        {"kind": "pause", "interval": "month", "count": 12},
        {"kind": "pause", "interval": "day", "count": 365},
        {"kind": "extension", "interval": "week", "count": 52},
        {"kind": "discount", "mint": {"duration": "once", "amounts": {"kwd": 1250, "isk": 500, "jpy": 7, "std": 100}}},
        {"kind": "link", "url": "https://a.example/{{ name }}?who={{customer_id}}"},
        {"kind": "custom", "payload": {"who": "a {brace}"}},
    ],
)
def test_what_can_work_is_taken(offer: dict[str, Any]) -> None:
    assert offers.read({**WORDS, **offer}, is_new=True).kind == offer["kind"]


def test_the_flows_that_a_workspace_begins_with_can_work() -> None:
    for flow in (document.default_flow(), document.control_flow()):
        assert document.parse(flow.as_json(), is_new=True) == flow


@given(st.sampled_from(["usd", "jpy", "kwd", "isk"]), st.integers(1, 10**9 - 1))
def test_an_amount_that_is_shown_for_changing_reads_as_it_was(currency: str, amount: int) -> None:
    [(code, typed)] = entries.amounts({currency: amount})
    assert (code.lower(), entries.minor(typed, currency)) == (currency, amount)


def test_money_of_yesterday_and_of_nobody_is_in_use_no_more() -> None:
    assert all(money.is_in_use(code) for code in ("usd", "eur", "jpy", "kwd", "isk", "xof", "zmw", *money.UNUSUAL))
    assert not any(money.is_in_use(code) for code in ("dem", "hrk", "xyz", "xxx", "xau", "btc", "USD", ""))
