"""A look at Stripe before a plan and after a write: the subscription, and whatever else the wish depends on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from connect_app.stripe_gateway.account import AccountGateway
from connect_app.stripe_gateway.errors import Missing
from connect_app.stripe_gateway.gateway import Read
from connect_app.stripe_gateway.objects import Subscription
from jobs import plans

T = TypeVar("T")


class Ask(Protocol):
    """How a question is put: `step` is what it is asked for."""

    def __call__(self, step: str, question: Callable[[], Read[T]], /) -> Read[T]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen; `read` is the subscription with Stripe's time."""

    read: Read[Subscription]
    situation: plans.Situation


def take(stripe: AccountGateway, wish: plans.Wish, step: str, ask: Ask, *, to_prove: bool = False) -> Look:
    """One read of the subscription, as `step`, and one of each other thing the wish needs to be planned, or only to be proven.

    Raises what the gateway raises.
    """
    read = ask(step, lambda: stripe.subscription(wish.subscription))
    if plans.foreign(wish, read.value):
        return Look(read=read, situation=plans.Situation(subscription=read.value))
    needs = plans.needs(wish, read.value, to_prove=to_prove)
    invoices = ask("invoices", lambda: stripe.invoices(customer=wish.customer, status="open")) if needs.open_invoices else None
    customer = _found(ask, "customer", stripe.customer_with_coupon, wish.customer if needs.customer else None)
    situation = plans.Situation(
        subscription=read.value,
        customers_discount=customer.discount_at(read.as_of) if customer is not None else None,
        coupon=_found(ask, "coupon", stripe.coupon, needs.coupon),
        price=_found(ask, "price", stripe.price, needs.price),
        schedule=_found(ask, "schedule", stripe.schedule, needs.schedule),
        open_invoices=invoices.value.items if invoices else (),
    )
    return Look(read=read, situation=situation)


def plainly(_step: str, question: Callable[[], Read[T]], /) -> Read[T]:
    """Ask, and keep no record of it."""
    return question()


def _found(ask: Ask, step: str, verb: Callable[[str], Read[T]], id: str | None) -> T | None:
    """What Stripe has under this id; None where it has nothing, or nothing was asked for."""
    if id is None:
        return None
    try:
        return ask(step, lambda: verb(id)).value
    except Missing:
        return None
