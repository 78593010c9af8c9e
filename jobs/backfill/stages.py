"""The lists that are read in, in their order, and how far back each of them goes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from connect_app.stripe_gateway.account import AccountGateway, Created
from connect_app.stripe_gateway.answers import Page, Read
from webhooks import projections

# 24 months, and the day that a leap year has more.
HISTORY = timedelta(days=731)

Ask = Callable[[AccountGateway, str | None, Created], "Read[Page[projections.Mirrored]]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One list; `is_history` where only what was created within HISTORY is read. `kind` is what it brings: what it lists, or names."""

    name: str
    kind: str
    page: Ask
    is_history: bool = False


# What the others refer to comes first. Subscriptions are those of all statuses, however old, so that the cancellations of 24 months are
# among them, with reason and feedback; Stripe has no other list of cancellations that reaches back further than 30 days.
STAGES = (
    Stage(
        name="products",
        kind="product",
        page=lambda account, after, created: account.products(after=after, created=created),  # type: ignore[arg-type,return-value]
    ),
    Stage(
        name="prices",
        kind="price",
        page=lambda account, after, created: account.prices(after=after, created=created),  # type: ignore[arg-type,return-value]
    ),
    Stage(
        name="coupons",
        kind="coupon",
        page=lambda account, after, created: account.coupons(after=after, created=created),  # type: ignore[arg-type,return-value]
    ),
    Stage(
        name="customers",
        kind="customer",
        page=lambda account, after, created: account.customers(after=after, created=created),  # type: ignore[arg-type,return-value]
    ),
    Stage(
        name="subscriptions",
        kind="subscription",
        page=lambda account, after, created: account.subscriptions(after=after, created=created),  # type: ignore[arg-type,return-value]
    ),
    Stage(
        name="subscription_schedules",
        kind="subscription_schedule",
        page=lambda account, after, created: account.schedules(after=after, created=created),  # type: ignore[arg-type,return-value]
    ),
    Stage(
        name="invoices",
        kind="invoice",
        page=lambda account, after, created: account.invoices(after=after, created=created),  # type: ignore[arg-type,return-value]
        is_history=True,
    ),
    # Of charges only those that were given back or disputed decide anything. All charges would be as many as invoices and more; these are
    # what the two short lists name.
    Stage(
        name="refunds",
        kind="charge",
        page=lambda account, after, created: account.refunded_charges(after=after, created=created),  # type: ignore[arg-type,return-value]
        is_history=True,
    ),
    Stage(
        name="disputes",
        kind="charge",
        page=lambda account, after, created: account.disputed_charges(after=after, created=created),  # type: ignore[arg-type,return-value]
        is_history=True,
    ),
)
# Those that list what they bring: they can be compared with what we hold, one by one.
PLAIN = tuple(stage for stage in STAGES if stage.name == f"{stage.kind}s")
NAMES = tuple(stage.name for stage in STAGES)


def named(name: str) -> Stage:
    """The stage of this name."""
    return STAGES[NAMES.index(name)]


def after(name: str) -> Stage | None:
    """The stage that follows; None after the last."""
    place = NAMES.index(name) + 1
    return STAGES[place] if place < len(STAGES) else None


def history_begins(as_of: datetime) -> datetime:
    """The oldest time that a read-in begun at `as_of` goes back to for invoices, refunds and disputes, and counts cancellations from."""
    return as_of - HISTORY
