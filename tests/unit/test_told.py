"""How bills, plans to come and a canceled item are told: in words that are so, and only where there is something to tell."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connect_app.money import Money
from connect_app.stripe_gateway.objects import Schedule, read_schedule
from flow_pages import coming
from jobs import receipts
from jobs.receipts import Bill, Bills
from tests.unit.test_item_cancels import BOTH, LED, schedule
from tests.unit.test_plan_table import END, NOW, subscription


def bill(status: str | None, total: int, due: int | None = None, remaining: int = 0) -> Bills:
    amounts = {"total": total, "due": total if due is None else due, "remaining": remaining}
    return Bills(made=(Bill(status=status, **{name: Money(amount, "usd") for name, amount in amounts.items()}),))


@pytest.mark.parametrize(
    ("bills", "said"),
    [
        (bill("paid", 1200), "An invoice of $12.00 was paid."),
        (bill("paid", 1200, due=0), "An invoice of $12.00 was paid from your credit."),
        (bill("paid", 1200, due=500), "An invoice of $12.00 was paid: $5.00 of it by you, the rest from your credit."),
        (bill("open", 1200, remaining=700), "An invoice of $7.00 is open."),
        (bill("draft", 1200), "An invoice of $12.00 is on its way."),
        (bill("void", 1200), "An invoice of $12.00 was voided: you do not owe it."),
        (bill("uncollectible", 1200), "An invoice of $12.00 is not collected."),
        (bill(None, 1200), "An invoice of $12.00 was made."),
        (bill("paid", -750), "$7.50 was credited to your account."),
        (bill("paid", 0), ""),
        (Bills(made=()), ""),
        (Bills(), ""),
    ],
)
def test_a_bill_is_told_by_what_became_of_it(bills: Bills, said: str) -> None:
    assert receipts.billed(bills, "en") == said


def test_an_item_ends_with_the_period_also_where_all_of_it_does_and_else_at_once() -> None:
    read_at, ends = NOW, datetime.fromtimestamp(END, UTC)
    canceling = subscription(*BOTH, cancel_at_period_end=True, cancel_at=END)
    assert receipts.effective_at("item_cancel", canceling, read_at, "period_end") == ends
    assert receipts.effective_at("item_cancel", subscription(*BOTH, **LED), read_at, "period_end") == ends
    assert receipts.effective_at("item_cancel", subscription(*BOTH), read_at, "now") == read_at


def led_by(*phases: list[tuple[str, int]]) -> Schedule:
    raw: dict[str, Any] = dict(schedule(*([("price_1",)] * len(phases))).raw)
    told = [
        {**dict(phase), "items": [{"price": price, "quantity": quantity} for price, quantity in lines]}
        for phase, lines in zip(raw["phases"], phases, strict=True)
    ]
    return read_schedule({**raw, "phases": told})


def test_only_a_phase_that_sells_something_else_is_a_change_to_come() -> None:
    here = subscription(*BOTH, **LED)
    same, less = [("price_1", 1), ("price_9", 3)], [("price_1", 1)]
    assert coming.next_change(led_by(same, same), here) is None
    found = coming.next_change(led_by(same, same, less), here)
    assert found is not None
    assert found.starts_at == datetime.fromtimestamp(END, UTC) + timedelta(days=30)
    assert coming.next_change(replace(led_by(same, less), status="released"), here) is None, "what has let go brings nothing"
    fewer = coming.next_change(led_by(same, [("price_1", 1), ("price_9", 2)]), here)
    assert fewer is not None
