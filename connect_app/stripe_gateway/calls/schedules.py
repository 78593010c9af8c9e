"""Changes of the schedule that leads a subscription through its phases."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from connect_app.stripe_gateway.calls.call import Call, CannotPlan, mark
from connect_app.stripe_gateway.calls.subscriptions import kept_discounts
from connect_app.stripe_gateway.objects import Discount, Item, Phase, Price, Schedule, Status, Subscription

# What a phase sets for its subscription, by the names that both have for it: what is not said again is lost.
_SETTINGS = (
    "application_fee_percent", "automatic_tax", "collection_method", "default_payment_method", "default_tax_rates", "description",
    "invoice_settings", "on_behalf_of", "transfer_data",
)  # fmt: skip
# What of a phase we know how to send again. A phase with anything else would lose it.
_OF_A_PHASE = frozenset(
    (
        *_SETTINGS, "billing_cycle_anchor", "currency", "discounts", "end_date", "items", "metadata", "proration_behavior", "start_date",
        "trial_end",
    )
)  # fmt: skip
_OF_AN_ITEM = frozenset(("billing_thresholds", "discounts", "metadata", "price", "quantity", "tax_rates"))
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
    later = [_line(subscription, each, price.id if each.id == item.id else None) for each in subscription.items]
    return _next(subscription, later, price, schedule=schedule, began=began, action_id=action_id)


def drop_item_next(subscription: Subscription, item: Item, *, schedule: str, began: datetime | None, action_id: str) -> Call:
    """From the next period on, everything but this item; then the schedule lets go. Arguments and errors as of `change_price_next`."""
    rest = [each for each in subscription.items if each.id != item.id]
    later = [_line(subscription, each) for each in rest]
    return _next(subscription, later, rest[0].price, schedule=schedule, began=began, action_id=action_id)


def _next(
    subscription: Subscription,
    later: list[dict[str, object]],
    price: Price,
    *,
    schedule: str,
    began: datetime | None,
    action_id: str,
) -> Call:
    """What it has until its period ends, then these lines for one period of this price."""
    if price.interval is None:
        raise CannotPlan("a price that is paid once cannot follow")
    kept = {
        **_settings(subscription.raw, days_until_due=subscription.raw.get("days_until_due")),
        **({"discounts": kept_discounts(subscription)} if subscription.discounts else {}),
    }
    start, end = int((began or subscription.current_period_start).timestamp()), int(subscription.current_period_end.timestamp())
    # A phase that does not say that it is a trial would end the one that runs.
    trial = {"trial": True} if subscription.status is Status.TRIALING else {}
    now = {"items": [_line(subscription, each) for each in subscription.items], "start_date": start, "end_date": end, **trial, **kept}
    following = {
        "items": later,
        "start_date": end,
        "duration": {"interval": price.interval, "interval_count": price.interval_count or 1},
        "proration_behavior": "none",
        "metadata": dict(mark(action_id)["metadata"]),  # type: ignore[call-overload]
        **kept,
    }
    params = {"phases": [now, following], "end_behavior": "release", **mark(action_id)}
    return Call(method="subscription_schedules.update", target=schedule, params=params)


def add_discount(schedule: Schedule, phases: Sequence[Phase], *, coupon: str, beside: Discount | None = None, action_id: str) -> Call:
    """Put the coupon on these phases, beside what they have, or else beside the customer's own; all others stay as they are, and the
    subscription goes on afterwards.

    Raises CannotPlan where a phase holds something that could not be sent again.
    """
    sent: list[dict[str, object]] = []
    for phase in schedule.remaining:
        again = _again(phase.raw)
        if phase in phases:
            theirs = [{"discount": beside.id}] if beside is not None and beside.id is not None else []
            again["discounts"] = [*(_listed(again.get("discounts")) or theirs), {"coupon": coupon}]
        sent.append(again)
    params = {"phases": sent, "end_behavior": "release", "proration_behavior": "none", **mark(action_id)}
    return Call(method="subscription_schedules.update", target=schedule.id, params=params)


def _line(subscription: Subscription, item: Item, price: str | None = None) -> dict[str, object]:
    """An item as a phase wants it, with all that it has."""
    line: dict[str, object] = {"price": price or item.price.id}
    if item.quantity is not None:
        line["quantity"] = item.quantity
    if item.discounts:
        if any(discount.id is None for discount in item.discounts):
            raise CannotPlan("an item's discount without an id cannot be kept")
        line["discounts"] = [{"discount": discount.id} for discount in item.discounts]
    [raw] = [each for each in _listed(_part(subscription.raw.get("items")).get("data")) if _part(each).get("id") == item.id]
    told = {name: _part(raw)[name] for name in ("billing_thresholds", "metadata", "tax_rates") if _part(raw).get(name)}
    return line | ({**told, "tax_rates": _ids(told["tax_rates"])} if "tax_rates" in told else told)


def _settings(source: Mapping[str, object], *, days_until_due: object = None) -> dict[str, object]:
    """What a subscription or a phase sets beside its items, as a phase is told it; what it leaves open is left out."""
    sent: dict[str, object] = {}
    for name in _SETTINGS:
        value = source.get(name)
        match name:
            case "automatic_tax":
                if _part(value).get("enabled"):
                    sent[name] = {"enabled": True} | _whose(_part(value), "liability")
            case "default_tax_rates":
                sent |= {name: _ids(value)} if value else {}
            case "default_payment_method" | "on_behalf_of":
                sent |= {name: _id(value)} if value else {}
            case "transfer_data":
                if value:
                    share = _part(value).get("amount_percent")
                    sent[name] = {"destination": _id(_part(value)["destination"])} | ({} if share is None else {"amount_percent": share})
            case "invoice_settings":
                told = _of_invoices(_part(value), days_until_due)
                sent |= {name: told} if told else {}
            case _:
                sent |= {} if value is None else {name: value}
    return sent


def _of_invoices(value: Mapping[str, object], days_until_due: object) -> dict[str, object]:
    told = {name: value[name] for name in ("custom_fields", "description", "footer") if value.get(name)}
    if value.get("account_tax_ids"):
        told["account_tax_ids"] = _ids(value["account_tax_ids"])
    days = value.get("days_until_due") or days_until_due
    return told | ({} if days is None else {"days_until_due": days}) | _whose(value, "issuer")


def _whose(value: Mapping[str, object], name: str) -> dict[str, object]:
    """A connected account in the place of our own; nothing where it is our own."""
    told = _part(value.get(name))
    return {name: {"type": "account", "account": _id(told.get("account"))}} if told.get("type") == "account" else {}


def _again(phase: Mapping[str, object]) -> dict[str, object]:
    """A phase as it was read, as it is sent."""
    sent: dict[str, object] = {}
    for name, value in _told(phase, _OF_A_PHASE, "phase").items():
        if name == "items":
            sent["items"] = [_item_again(_part(line)) for line in _listed(value)]
        elif name == "discounts":
            sent["discounts"] = _discounts_again(value)
        elif name not in _SETTINGS:
            sent[name] = value
    return sent | _settings(phase)


def _item_again(line: Mapping[str, object]) -> dict[str, object]:
    sent: dict[str, object] = {}
    for name, value in _told(line, _OF_AN_ITEM, "item").items():
        if name == "price":
            sent["price"] = _id(value)
        elif name == "discounts":
            sent["discounts"] = _discounts_again(value)
        elif name == "tax_rates":
            sent["tax_rates"] = _ids(value)
        else:
            sent[name] = value
    return sent


def _told(part: Mapping[str, object], known: frozenset[str], what: str) -> dict[str, object]:
    """What the part says at all. Raises CannotPlan where that is more than we can repeat."""
    told = {name: value for name, value in part.items() if value not in (None, [], {}, ()) and name not in _REPEATED}
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
                sent.append({name: _id(reference)})
                break
        else:
            raise CannotPlan("a discount of the schedule could not be read")
    return sent


def _ids(value: object) -> list[object]:
    return [_id(each) for each in _listed(value)]


def _id(value: object) -> object:
    """An object's id, whether Stripe sent the object or only its id."""
    return value["id"] if isinstance(value, Mapping) else value


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _part(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
