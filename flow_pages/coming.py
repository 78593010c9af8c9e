"""What a schedule has in store for a subscription: another plan, or an item less, from the day on which its next phase begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from connect_app import money
from connect_app.money import Money
from connect_app.stripe_gateway.objects import Phase, Price, Schedule, Subscription
from flow_pages import spoken
from webhooks import mirror


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """From `at` on it is for `plan`, with its price before discounts and tax where that can be said."""

    at: datetime
    plan: str


def of(session: Session, connection_id: str | None, subscriptions: Sequence[Subscription], locale: str) -> dict[str, Coming]:
    """By the subscription's id, where the mirror knows of a change; no query where no schedule leads any of them."""
    led = [one for one in subscriptions if one.schedule is not None and not one.is_ended and not one.is_scheduled_to_cancel]
    if connection_id is None or not led:
        return {}
    found: dict[str, Coming] = {}
    for one in led:
        schedule = mirror.schedule(session, connection_id, str(one.schedule))
        phase = next_change(schedule, one) if schedule is not None else None
        if phase is not None:
            prices = {id: price for id, _ in phase.prices if (price := mirror.price(session, connection_id, id)) is not None}
            names = mirror.product_names(session, connection_id, [price.product for price in prices.values() if price.product])
            found[one.id] = Coming(at=phase.starts_at, plan=_told(phase, prices, names, locale))
    return found


def next_change(schedule: Schedule, subscription: Subscription) -> Phase | None:
    """The first phase that sells something else than what there is now."""
    if not schedule.is_attached:
        return None
    now = {(item.price.id, item.quantity) for item in subscription.items}
    return next((phase for phase in schedule.coming if set(phase.prices) != now), None)


def _told(phase: Phase, prices: Mapping[str, Price], names: Mapping[str, str], locale: str) -> str:
    """`Pro + 3 × Extra seat, €53.00 per month`."""
    lines = [(prices.get(id), quantity) for id, quantity in phase.prices]
    named = [(names.get(price.product or "") or price.nickname, quantity) for price, quantity in lines if price is not None]
    plan = " + ".join(f"{quantity} × {name}" if quantity not in (None, 1) else name for name, quantity in named if name) or "Another plan"
    amounts = [price.amount(1 if quantity is None else quantity) if price is not None else None for price, quantity in lines]
    known = [amount for amount in amounts if amount is not None]
    every = spoken.every(price for price, _ in lines if price is not None)
    if not every or len(known) < len(lines) or len({amount.currency for amount in known}) != 1:
        return plan
    return f"{plan}, {money.format(sum(known, Money(0, known[0].currency)), locale)} {every}"
