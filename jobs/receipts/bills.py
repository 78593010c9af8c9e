"""Bills: what a change did to the money, as it was read back from Stripe; what could not be read is not known, which is not nothing."""

from dataclasses import dataclass
from datetime import datetime

from connect_app.models import Receipt
from connect_app.models.base import Json
from connect_app.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """An invoice that the change made. `total` may be negative: a credit; `due` is what was asked for once the customer's balance is
    counted in, `remaining` what is still to be paid of that. `status` is Stripe's.
    """

    status: str | None
    total: Money
    due: Money
    remaining: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What is charged next, and when, as Stripe previews it; `amount` is None where it depends on the usage until then."""

    amount: Money | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Bills:
    """What was read after the change: the invoice it made, what is charged next, and what is open besides, one sum for each currency.

    Each is None where it is not known, and empty where there is none.
    """

    made: tuple[Bill, ...] | None = None
    coming: tuple[Charge, ...] | None = None
    open: tuple[Money, ...] | None = None


UNKNOWN = Bills()


def to_json(bills: Bills) -> Json:
    """As a receipt keeps them: minor units, times in ISO 8601; what is not known is left out."""
    kept: Json = {}
    if bills.made is not None:
        kept["made"] = [
            {
                "status": bill.status,
                "total": bill.total.amount,
                "due": bill.due.amount,
                "remaining": bill.remaining.amount,
                "currency": bill.total.currency,
            }
            for bill in bills.made
        ]
    if bills.coming is not None:
        kept["coming"] = [
            {"amount": _amount(charge.amount), "currency": _currency(charge.amount), "at": charge.at.isoformat()} for charge in bills.coming
        ]
    if bills.open is not None:
        kept["open"] = [{"amount": amount.amount, "currency": amount.currency} for amount in bills.open]
    return kept


def of_receipt(receipt: Receipt) -> Bills:
    """What was kept; receipts of before this was read know nothing."""
    kept: Json = receipt.after.get("bills") or {}
    return Bills(
        made=tuple(_bill(each) for each in kept["made"]) if "made" in kept else None,
        coming=tuple(_charge(each) for each in kept["coming"]) if "coming" in kept else None,
        open=tuple(Money(each["amount"], each["currency"]) for each in kept["open"]) if "open" in kept else None,
    )


def _bill(kept: Json) -> Bill:
    total, due, remaining = (Money(kept[name], kept["currency"]) for name in ("total", "due", "remaining"))
    return Bill(status=kept["status"], total=total, due=due, remaining=remaining)


def _charge(kept: Json) -> Charge:
    amount = Money(kept["amount"], kept["currency"]) if kept["currency"] is not None else None
    return Charge(amount=amount, at=datetime.fromisoformat(kept["at"]))


def _amount(money: Money | None) -> int | None:
    return money.amount if money is not None else None


def _currency(money: Money | None) -> str | None:
    return money.currency if money is not None else None
