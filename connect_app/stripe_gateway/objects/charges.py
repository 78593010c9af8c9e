"""A charge: what was paid, how much of it was given back, and whether it is disputed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connect_app.money import Money
from connect_app.stripe_gateway.objects.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A payment. `invoice` was told until 2025-03-31; `dispute_status` and `amount_disputed` only where the dispute is expanded."""

    id: str
    customer: str | None
    payment_intent: str | None
    invoice: str | None
    created: datetime
    currency: str
    amount: Money
    amount_refunded: Money
    is_disputed: bool
    dispute_status: str | None
    amount_disputed: Money
    raw: Mapping[str, object] = field(repr=False, compare=False)


def read_charge(raw: Mapping[str, object]) -> Charge:
    """A `charge` of any API version from 2020-03-02 on. Raises Malformed."""
    shape = Shape(raw)
    currency = shape.currency()
    dispute = shape.maybe_expanded("dispute")
    return Charge(
        id=shape.name(),
        customer=shape.maybe_reference("customer"),
        payment_intent=shape.maybe_reference("payment_intent"),
        invoice=shape.maybe_reference("invoice"),
        created=shape.instant("created"),
        currency=currency,
        amount=Money(shape.whole("amount"), currency),
        amount_refunded=Money(shape.maybe_whole("amount_refunded") or 0, currency),
        is_disputed=shape.flag("disputed", default=shape.raw.get("dispute") is not None),
        dispute_status=dispute.maybe_text("status") if dispute else None,
        amount_disputed=Money((dispute.maybe_whole("amount") if dispute else None) or 0, currency),
        raw=shape.raw,
    )


def read_refunded_charge(raw: Mapping[str, object]) -> Charge | None:
    """The charge expanded in a `refund`; None where it gave back something else, or where the charge is disputed too. Raises Malformed."""
    paid = Shape(raw).maybe_expanded("charge")
    charge = read_charge(paid.raw) if paid else None
    return None if charge is None or charge.is_disputed else charge


def read_disputed_charge(raw: Mapping[str, object]) -> Charge | None:
    """The charge expanded in a `dispute`, with that under `dispute` as a read of the charge has it. Raises Malformed."""
    paid = Shape(raw).maybe_expanded("charge")
    return read_charge({**paid.raw, "dispute": {**raw, "charge": paid.name()}}) if paid else None
