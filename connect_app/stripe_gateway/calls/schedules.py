"""Changes of the schedule that leads a subscription through its phases."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from connect_app.stripe_gateway.calls.call import Call, CannotPlan, mark
from connect_app.stripe_gateway.calls.subscriptions import kept_discounts
from connect_app.stripe_gateway.objects import Item, Phase, Price, Schedule, Subscription

# What of a phase we know how to send again. A phase with anything else would lose it.
_OF_A_PHASE = frozenset(
    (
        "billing_cycle_anchor", "collection_method", "currency", "default_payment_method", "description", "discounts", "end_date", "items",
        "metadata", "on_behalf_of", "proration_behavior", "start_date", "trial_end",
    )
)  # fmt: skip
_OF_AN_ITEM = frozenset(("discounts", "metadata", "price", "quantity", "tax_rates"))
# Stripe fills these in beside the ones they repeat.
_REPEATED = frozenset(("plan", "coupon"))


def release(schedule: Schedule) -> Call:
    """Let go of the subscription as it is now; what the schedule had still planned for it is given up, its end included."""
    return Call(method="subscription_schedules.release", target=schedule.id, params={"preserve_cancel_date": False})


def go_on(schedule: Schedule, *, action_id: str) -> Call:
    """Let the subscription go on after the last phase, instead of ending it."""
    return Call(method="subscription_schedules.update", target=schedule.id, params={"end_behavior": "release", **mark(action_id)})


def cancel_now(schedule: Schedule, *, invoice_now: bool, prorate: bool) -> Call:
    """End schedule and subscription at once."""
    return Call(method="subscription_schedules.cancel", target=schedule.id, params={"invoice_now": invoice_now, "prorate": prorate})


def take_charge(subscription: Subscription) -> Call:
    """Make a schedule of the subscription as it is; the next call of the plan says what comes after this period."""
    return Call(method="subscription_schedules.create", target="", params={"from_subscription": subscription.id})


def change_price_next(
    subscription: Subscription, item: Item, price: Price, *, schedule: str, began: datetime | None, action_id: str
) -> Call:
    """From the next period on, this item at another price, as many as before; then the schedule lets go.

    `schedule` is its id, or `$n`; `began` is when its present phase did, None for one that is only being made. Raises CannotPlan for a
    discount without an id, and for a price that is paid once.
    """
    if price.interval is None:
        raise CannotPlan("a price that is paid once cannot follow")
    kept = {"discounts": kept_discounts(subscription)} if subscription.discounts else {}
    start, end = int((began or subscription.current_period_start).timestamp()), int(subscription.current_period_end.timestamp())
    now = {"items": [_line(each) for each in subscription.items], "start_date": start, "end_date": end, **kept}
    later = {
        "items": [_line(each, price.id if each.id == item.id else None) for each in subscription.items],
        "start_date": end,
        "duration": {"interval": price.interval, "interval_count": price.interval_count or 1},
        "proration_behavior": "none",
        "metadata": dict(mark(action_id)["metadata"]),  # type: ignore[call-overload]
        **kept,
    }
    params = {"phases": [now, later], "end_behavior": "release", **mark(action_id)}
    return Call(method="subscription_schedules.update", target=schedule, params=params)


def add_discount(schedule: Schedule, phases: Sequence[Phase], *, coupon: str, action_id: str) -> Call:
    """Put the coupon on these phases, beside what they have; all others stay as they are, and the subscription goes on afterwards.

    Raises CannotPlan where a phase holds something that could not be sent again.
    """
    sent: list[dict[str, object]] = []
    for phase in schedule.remaining:
        again = _again(phase.raw)
        if phase in phases:
            again["discounts"] = [*_listed(again.get("discounts")), {"coupon": coupon}]
        sent.append(again)
    params = {"phases": sent, "end_behavior": "release", "proration_behavior": "none", **mark(action_id)}
    return Call(method="subscription_schedules.update", target=schedule.id, params=params)


def _line(item: Item, price: str | None = None) -> dict[str, object]:
    """An item as a phase wants it."""
    line: dict[str, object] = {"price": price or item.price.id}
    if item.quantity is not None:
        line["quantity"] = item.quantity
    if item.discounts:
        if any(discount.id is None for discount in item.discounts):
            raise CannotPlan("an item's discount without an id cannot be kept")
        line["discounts"] = [{"discount": discount.id} for discount in item.discounts]
    return line


def _again(phase: Mapping[str, object]) -> dict[str, object]:
    """A phase as it was read, as it is sent."""
    sent: dict[str, object] = {}
    for name, value in _told(phase, _OF_A_PHASE, "phase").items():
        if name == "items":
            lines = value if isinstance(value, list | tuple) else ()
            sent["items"] = [_item_again(line) for line in lines]
        elif name == "discounts":
            sent["discounts"] = _discounts_again(value)
        else:
            sent[name] = value
    return sent


def _item_again(line: Mapping[str, object]) -> dict[str, object]:
    sent: dict[str, object] = {}
    for name, value in _told(line, _OF_AN_ITEM, "item").items():
        if name == "price":
            sent["price"] = value["id"] if isinstance(value, Mapping) else value
        elif name == "discounts":
            sent["discounts"] = _discounts_again(value)
        elif name == "tax_rates":
            sent["tax_rates"] = [rate["id"] if isinstance(rate, Mapping) else rate for rate in _listed(value)]
        else:
            sent[name] = value
    return sent


def _told(part: Mapping[str, object], known: frozenset[str], what: str) -> dict[str, object]:
    """What the part says at all. Raises CannotPlan where that is more than we can repeat."""
    told = {name: value for name, value in part.items() if value not in (None, [], {}, ()) and name not in _REPEATED}
    harmless = {"automatic_tax": lambda value: isinstance(value, Mapping) and not value.get("enabled")}
    told = {name: value for name, value in told.items() if not (name in harmless and harmless[name](value))}
    if strange := sorted(set(told) - known):
        raise CannotPlan(f"a {what} of the schedule has settings that would be lost: {', '.join(strange)}")
    return told


def _discounts_again(value: object) -> list[dict[str, object]]:
    """Each by the discount that is in use, else by the coupon or code that is to make one."""
    sent: list[dict[str, object]] = []
    for each in _listed(value):
        found = each if isinstance(each, Mapping) else {"discount": each}
        for name in ("discount", "coupon", "promotion_code"):
            if reference := found.get(name):
                sent.append({name: reference["id"] if isinstance(reference, Mapping) else reference})
                break
        else:
            raise CannotPlan("a discount of the schedule could not be read")
    return sent


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
