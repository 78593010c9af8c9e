"""A subscription as the flow, the mirror and the jobs decide on it, read from both of Stripe's API shapes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from connect_app.money import Money
from connect_app.stripe_gateway.objects import catalogue, discounts
from connect_app.stripe_gateway.objects.catalogue import Price
from connect_app.stripe_gateway.objects.discounts import Discount
from connect_app.stripe_gateway.objects.shape import Malformed, Shape


class Status(StrEnum):
    """Stripe's states of a subscription. `active` alone is not paying: look at `pause` too."""

    INCOMPLETE = "incomplete"
    INCOMPLETE_EXPIRED = "incomplete_expired"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    PAUSED = "paused"
    CANCELED = "canceled"


_STATUSES = frozenset(Status)
_ENDED = frozenset((Status.CANCELED, Status.INCOMPLETE_EXPIRED))
_CHARGING = frozenset((Status.ACTIVE, Status.TRIALING, Status.PAST_DUE))
_BEHAVIORS = frozenset(("void", "mark_uncollectible", "keep_as_draft"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """`pause_collection`: invoices are made and not collected, until `resumes_at` or until somebody resumes."""

    behavior: str
    resumes_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of a subscription. `quantity` is None when the price is metered; `discounts` take something off this line alone."""

    id: str
    price: Price
    quantity: int | None
    discounts: tuple[Discount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """`cancellation_details`: what the customer said, and why Stripe says it ended."""

    feedback: str | None
    comment: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription. The current period is the part that all items share: it starts with the latest, ends with the earliest."""

    id: str
    customer: str
    status: Status
    livemode: bool
    created: datetime
    start_date: datetime
    currency: str
    items: tuple[Item, ...]
    has_more_items: bool
    current_period_start: datetime
    current_period_end: datetime
    cancel_at_period_end: bool
    cancel_at: datetime | None
    canceled_at: datetime | None
    ended_at: datetime | None
    cancellation: Cancellation
    trial_start: datetime | None
    trial_end: datetime | None
    pause: Pause | None
    schedule: str | None
    has_pending_update: bool
    collection_method: str
    billing_mode: str
    discounts: tuple[Discount, ...]
    default_payment_method: str | None
    latest_invoice: str | None
    metadata: Mapping[str, str]
    raw: Mapping[str, object] = field(repr=False, compare=False)

    def told(self, known: Iterable[Discount]) -> "Subscription":
        """The same with each discount, its own and its items', in whose place one of `known` has the same id, as that one tells it."""
        by_id = {one.id: one for one in known if one.id is not None}
        items = (replace(item, discounts=_of(by_id, item.discounts)) if item.discounts else item for item in self.items)
        return replace(self, discounts=_of(by_id, self.discounts), items=tuple(items))

    @property
    def is_ended(self) -> bool:
        """Over for good: nothing but its metadata and cancellation details can change."""
        return self.status in _ENDED

    @property
    def is_paused(self) -> bool:
        """Either of Stripe's two pauses: the status, or `pause_collection`, which leaves the status as it is."""
        return self.pause is not None or self.status is Status.PAUSED

    @property
    def is_scheduled_to_cancel(self) -> bool:
        """It runs, and will end. In flexible billing mode only `cancel_at` says so (Stripe's portal), in classic mode the boolean."""
        return not self.is_ended and (self.cancel_at_period_end or self.cancel_at is not None)

    @property
    def ends_at(self) -> datetime | None:
        """When a scheduled cancellation takes effect; None when none is scheduled."""
        if not self.is_scheduled_to_cancel:
            return None
        return self.cancel_at or self.current_period_end

    @property
    def next_charge(self) -> datetime | None:
        """When the customer pays next by schedule; None when ended, paused or unpaid, or when it ends before that day."""
        if self.status not in _CHARGING or self.is_paused:
            return None
        if self.ends_at is not None and self.ends_at <= self.current_period_end:
            return None
        return self.current_period_end

    @property
    def amount(self) -> Money | None:
        """What the items cost per interval before discounts and tax, metered items left out.

        None when that cannot be said: all metered, a tiered price, a price in another currency, items of different intervals, or items
        that were not sent.
        """
        licensed = [item for item in self.items if item.price.usage_type != "metered"]
        amounts = [item.price.amount(1 if item.quantity is None else item.quantity) for item in licensed]
        known = [amount for amount in amounts if amount is not None and amount.currency == self.currency]
        intervals = {(item.price.interval, item.price.interval_count) for item in licensed}
        if len(intervals) != 1 or len(known) < len(licensed) or self.has_more_items:
            return None
        return sum(known, Money(0, self.currency))


def _of(known: Mapping[str, Discount], given: tuple[Discount, ...]) -> tuple[Discount, ...]:
    return tuple(known.get(one.id or "", one) for one in given)


def read_subscription(raw: Mapping[str, object]) -> Subscription:
    """A `subscription` of any API version from 2020-03-02 on. Raises Malformed."""
    shape = Shape(raw)
    listed = shape.maybe_part("items")
    lines = list(listed.parts("data")) if listed else []
    items = tuple(_item(line) for line in lines)
    details = shape.maybe_part("cancellation_details")
    pause = shape.maybe_part("pause_collection")
    mode = shape.maybe_part("billing_mode")
    currency = shape.maybe_currency() or (items[0].price.currency if items else None)
    if currency is None:
        raise Malformed("currency", "missing, and no item tells it")
    starts = [line.instant("current_period_start") for line in lines if line.raw.get("current_period_start") is not None]
    ends = [line.instant("current_period_end") for line in lines if line.raw.get("current_period_end") is not None]
    return Subscription(
        id=shape.name(),
        customer=shape.reference("customer"),
        status=Status(shape.choice("status", _STATUSES)),
        livemode=shape.flag("livemode"),
        created=shape.instant("created"),
        start_date=shape.maybe_instant("start_date") or shape.instant("created"),
        currency=currency,
        items=items,
        has_more_items=listed.flag("has_more", default=False) if listed else True,
        current_period_start=max(starts) if starts else shape.instant("current_period_start"),
        current_period_end=min(ends) if ends else shape.instant("current_period_end"),
        cancel_at_period_end=shape.flag("cancel_at_period_end", default=False),
        cancel_at=shape.maybe_instant("cancel_at"),
        canceled_at=shape.maybe_instant("canceled_at"),
        ended_at=shape.maybe_instant("ended_at"),
        cancellation=Cancellation(
            feedback=details.maybe_text("feedback") if details else None,
            comment=details.maybe_text("comment") if details else None,
            reason=details.maybe_text("reason") if details else None,
        ),
        trial_start=shape.maybe_instant("trial_start"),
        trial_end=shape.maybe_instant("trial_end"),
        pause=Pause(behavior=pause.choice("behavior", _BEHAVIORS), resumes_at=pause.maybe_instant("resumes_at")) if pause else None,
        schedule=shape.maybe_reference("schedule"),
        has_pending_update=shape.maybe_part("pending_update") is not None,
        collection_method=shape.maybe_text("collection_method") or "charge_automatically",
        billing_mode=(mode.maybe_text("type") if mode else None) or "classic",
        discounts=discounts.discounts_of(shape),
        default_payment_method=shape.maybe_reference("default_payment_method"),
        latest_invoice=shape.maybe_reference("latest_invoice"),
        metadata=shape.metadata(),
        raw=shape.raw,
    )


def _item(line: Shape) -> Item:
    # Items carried only a `plan` until prices came in 2020, and carry both since.
    price = line.maybe_part("price") or line.maybe_part("plan")
    if price is None:
        raise line.wrong("price", "missing")
    return Item(
        id=line.name(), price=catalogue.price_of(price), quantity=line.maybe_whole("quantity"), discounts=discounts.discounts_of(line)
    )
