"""A subscription schedule: the phases that Stripe has been told to lead a subscription through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from connect_app.stripe_gateway.objects.shape import Shape

_STATUSES = frozenset(("not_started", "active", "completed", "released", "canceled"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase; `raw` is what Stripe told of it."""

    starts_at: datetime
    ends_at: datetime
    prices: tuple[tuple[str, int | None], ...]
    coupons: tuple[str, ...]
    raw: Mapping[str, object] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule. `phases` are those that are over, too; `current` is the one the subscription is in, None before and after."""

    id: str
    status: str
    subscription: str | None
    end_behavior: str
    phases: tuple[Phase, ...]
    current: Phase | None
    metadata: Mapping[str, str]
    raw: Mapping[str, object] = field(repr=False, compare=False)

    @property
    def is_attached(self) -> bool:
        """Whether it still leads its subscription."""
        return self.status in ("not_started", "active")

    @property
    def remaining(self) -> tuple[Phase, ...]:
        """The phase the subscription is in, and those that have not begun."""
        return (*((self.current,) if self.current else ()), *self.coming)

    @property
    def coming(self) -> tuple[Phase, ...]:
        """The phases that have not begun."""
        start = self.current.starts_at if self.current else None
        return tuple(phase for phase in self.phases if start is None or phase.starts_at > start)


def read_schedule(raw: Mapping[str, object]) -> Schedule:
    """A `subscription_schedule`. Raises Malformed."""
    shape = Shape(raw)
    phases = tuple(_phase(part) for part in shape.parts("phases"))
    current = shape.maybe_part("current_phase")
    began = current.instant("start_date") if current else None
    return Schedule(
        id=shape.name(),
        status=shape.choice("status", _STATUSES),
        subscription=shape.maybe_reference("subscription"),
        end_behavior=shape.maybe_text("end_behavior") or "release",
        phases=phases,
        current=next((phase for phase in phases if phase.starts_at == began), None),
        metadata=shape.metadata(),
        raw=shape.raw,
    )


def _phase(part: Shape) -> Phase:
    return Phase(
        starts_at=part.instant("start_date"),
        ends_at=part.instant("end_date"),
        prices=tuple((item.reference("price"), item.maybe_whole("quantity")) for item in part.parts("items")),
        coupons=tuple(coupon for each in part.parts("discounts") if (coupon := each.maybe_reference("coupon")) is not None),
        raw=part.raw,
    )
