"""Discounts: whether a coupon can be added to a subscription, by which calls, and what proves that it was."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from connect_app.money import Money
from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.calls import Call
from connect_app.stripe_gateway.objects import Coupon, Discount, Phase, Schedule, Subscription
from jobs.plans import months, standing
from jobs.plans.verdicts import Plan, Refused, Verdict
from jobs.plans.wish import Situation, Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Mint:
    """A coupon that is made for this customer alone, as the intent's `mint` has it.

    `{id, family, name, percent_off | amounts: {currency: minor units}, duration, duration_in_months, redeem_by}`. `family` is how the ids
    of all coupons begin that the same offer makes; '' where that is not known.
    """

    id: str
    family: str
    name: str
    percent_off: Decimal | None
    amounts: Mapping[str, int]
    duration: str
    duration_in_months: int | None
    redeem_by: datetime

    def amount_off(self, currency: str) -> Money | None:
        """What it takes off a bill in this currency; None for a percentage, and where the owner has named no amount."""
        amount = self.amounts.get(currency)
        return None if self.percent_off is not None or amount is None else Money(amount, currency)


def coupon_of(intent: Mapping[str, object]) -> str:
    """The coupon that was offered, or the one that is to be made."""
    made = mint_of(intent)
    return made.id if made else str(intent["coupon"])


def mint_of(intent: Mapping[str, object]) -> Mint | None:
    """The coupon to make; None where the offer is one that the account has."""
    told = intent.get("mint")
    if not isinstance(told, Mapping):
        return None
    percent, months_ = told.get("percent_off"), told.get("duration_in_months")
    return Mint(
        id=str(told["id"]),
        family=str(told.get("family") or ""),
        name=str(told["name"]),
        percent_off=None if percent is None else Decimal(str(percent)),
        amounts={str(currency): int(amount) for currency, amount in (told.get("amounts") or {}).items()},
        duration=str(told["duration"]),
        duration_in_months=None if months_ is None else int(months_),
        redeem_by=datetime.fromisoformat(str(told["redeem_by"])),
    )


def plan(wish: Wish, situation: Situation, now: datetime) -> Verdict:
    """Add the coupon, keep the discounts that are there, and take back a scheduled cancellation."""
    subscription, coupon, name = situation.subscription, situation.coupon, coupon_of(wish.intent)
    theirs = situation.customers_discount
    off = theirs.terms.amount_off if theirs is not None and theirs.terms is not None else None
    if off is not None and off.currency != subscription.currency:
        # It takes nothing off here.
        situation = replace(situation, customers_discount=None)
    counting = subscription.discounts or ((situation.customers_discount,) if situation.customers_discount else ())
    made = mint_of(wish.intent)
    refusal = (
        standing.ended(subscription, "a discount would not bring it back")
        or standing.renewed(wish, subscription)
        or standing.unpaid(subscription, past_due_too=False)
        or (_unfit(subscription, coupon, name, now) if made is None or coupon is not None else _unfit_to_make(subscription, made, now))
        or _other_terms(subscription, coupon, made)
        or standing.waiting_for_payment(subscription)
    )
    if refusal:
        return refusal
    if any(discount.coupon == name or _is_akin(discount, made) for discount in counting):
        return Refused(
            code="coupon_already_applied",
            message=f"The subscription already carries {'a coupon of this offer' if made else f'the coupon {name}'}.",
            remedy="Decide whether the customer is owed more than that.",
        )
    minted = made is not None and coupon is None
    lasts = (made.duration, made.duration_in_months) if made else (coupon.duration, coupon.duration_in_months) if coupon else ("once", None)
    if _is_of_nothing(situation, *lasts, now=now):
        return standing.nothing_to_pay("a discount")
    is_discounted = subscription.discounts or situation.customers_discount or any(item.discounts for item in subscription.items)
    if wish.flag("not_if_discounted") and is_discounted:
        return Refused(
            code="discounted_already",
            message="The offer is for customers without a discount, and this one has been given one since.",
            remedy="Decide whether they are owed another.",
        )
    minting = (_minting(wish, made, subscription),) if made is not None and minted else ()
    try:
        adding = _adding(wish, situation, name, *lasts, now=now)
    except calls.CannotPlan as problem:
        return Refused(code="discounts_unreadable", message=f"The discounts that are there could not be kept: {problem}.")
    return adding if isinstance(adding, Refused) else Plan(calls=(*minting, *adding))


def shows(wish: Wish, situation: Situation, kept: frozenset[str]) -> bool:
    """Whether the coupon is at work, or will be with a later phase, beside every discount in `kept`, on a subscription that goes on."""
    subscription, name = situation.subscription, coupon_of(wish.intent)
    if _other_terms(subscription, situation.coupon, mint_of(wish.intent)):
        return False
    ids = {discount.id for discount in subscription.discounts}
    is_added = any(discount.coupon == name and discount.id not in kept for discount in subscription.discounts)
    is_coming = situation.schedule is not None and any(name in phase.coupons for phase in situation.schedule.coming)
    # The customer's own, the only one that is brought along then, may bear another id on the subscription.
    is_kept = kept <= ids or (len(kept) == 1 and any(discount.coupon != name for discount in subscription.discounts))
    return (is_added or is_coming) and is_kept and not subscription.is_ended and not subscription.is_scheduled_to_cancel


def _is_of_nothing(situation: Situation, duration: str, months_: int | None, *, now: datetime) -> bool:
    """Whether every bill that it is for is over nothing without it."""
    until = standing.free_until(situation)
    if until is None:
        return False
    if duration == "forever":
        return until == standing.FOREVER
    bill = standing.bill(situation.subscription)
    for_it = [bill] if duration == "once" else months.bills(situation.subscription, bill, months.later(now, months_ or 1))
    return all(day < until for day in for_it)


def _other_terms(subscription: Subscription, coupon: Coupon | None, made: Mint | None) -> Refused | None:
    """A coupon under the id that was promised, with other terms: not we have made it. One that is gone says nothing."""
    if coupon is None or coupon.is_deleted or made is None:
        return None
    amount = made.amount_off(subscription.currency)
    is_same = (coupon.duration, coupon.duration_in_months, coupon.percent_off) == (made.duration, made.duration_in_months, made.percent_off)
    is_in_theirs = coupon.amount_off is not None and coupon.amount_off.currency == subscription.currency
    if is_same and (amount is None) == (coupon.amount_off is None) and (not is_in_theirs or coupon.amount_off == amount):
        return None
    return Refused(
        code="coupon_not_as_offered",
        message=f"The coupon {made.id} on your Stripe account has other terms than the customer was promised ({made.name}).",
        remedy="Give them what they were promised, then press Mark done.",
    )


def _is_akin(discount: Discount, made: Mint | None) -> bool:
    """Whether it is from a coupon that the same offer made before."""
    return made is not None and bool(made.family) and (discount.coupon or "").startswith(made.family)


def _adding(
    wish: Wish, situation: Situation, coupon: str, duration: str, months_: int | None, *, now: datetime
) -> tuple[Call, ...] | Refused:
    """Directly, or through the phases that a schedule has in store: each phase brings its own discounts."""
    subscription, schedule = situation.subscription, situation.schedule
    before = standing.going_on(wish, situation)
    if isinstance(before, Refused):
        return before
    if refusal := standing.led(situation):
        if schedule is None:
            return refusal
        phases = _phases(schedule, standing.bill(subscription), duration, months_, now)
        if phases is None:
            return refusal
        theirs = situation.customers_discount
        return (calls.schedules.add_discount(schedule, phases, coupon=coupon, beside=theirs, action_id=wish.action_id),)
    theirs = situation.customers_discount
    call = calls.add_discount(subscription, coupon=coupon, beside=theirs, action_id=wish.action_id, clear_cancellation=not before)
    return (*before, call)


def _phases(schedule: Schedule, bill: datetime, duration: str, months_: int | None, now: datetime) -> tuple[Phase, ...] | None:
    """The phases in which the coupon is at work once, and as long as it should be; None where it would begin anew with a later one."""
    remaining = schedule.remaining
    if duration == "forever":
        return remaining
    ends = bill if duration == "once" else months.later(now, months_ or 1)
    of_the_bill = [phase for phase in remaining if phase.starts_at <= bill < phase.ends_at]
    if not of_the_bill:
        return None
    return (of_the_bill[0],) if ends <= of_the_bill[0].ends_at else None


def _minting(wish: Wish, made: Mint, subscription: Subscription) -> Call:
    return calls.coupons.mint(
        made.id,
        name=made.name,
        percent_off=made.percent_off,
        amount_off=made.amount_off(subscription.currency),
        duration=made.duration,
        duration_in_months=made.duration_in_months,
        redeem_by=made.redeem_by,
        action_id=wish.action_id,
    )


def _unfit_to_make(subscription: Subscription, made: Mint, now: datetime) -> Refused | None:
    if made.redeem_by <= now:
        return Refused(
            code="offer_over", message=f"The customer's own coupon was to be redeemed until {made.redeem_by:%Y-%m-%d %H:%M} UTC."
        )
    if made.percent_off is None and made.amount_off(subscription.currency) is None:
        return Refused(
            code="coupon_currency", message=f"The offer names no amount in {subscription.currency.upper()}, the subscription's currency."
        )
    return _too_short(subscription, "The customer's own coupon", made.duration, made.duration_in_months, now)


def _unfit(subscription: Subscription, coupon: Coupon | None, name: str, now: datetime) -> Refused | None:
    if coupon is None or coupon.is_deleted:
        return Refused(code="coupon_gone", message=f"The coupon {name} no longer exists on your Stripe account.")
    if coupon.redeem_by is not None and coupon.redeem_by <= now:
        return Refused(code="coupon_expired", message=f"The coupon {name} could be redeemed until {coupon.redeem_by:%Y-%m-%d %H:%M} UTC.")
    if not coupon.valid:
        return Refused(
            code="coupon_not_valid", message=f"Stripe no longer accepts the coupon {name}: it has been redeemed as often as it may."
        )
    if coupon.amount_off is not None and coupon.amount_off.currency != subscription.currency:
        theirs, ours = subscription.currency.upper(), coupon.amount_off.currency.upper()
        return Refused(
            code="coupon_currency",
            message=f"The coupon {name} takes off {ours}, and the subscription is in {theirs}.",
        )
    products = {item.price.product for item in subscription.items}
    if coupon.products is not None and not products.intersection(coupon.products):
        return Refused(
            code="coupon_not_applicable", message=f"The coupon {name} is limited to products that this subscription has none of."
        )
    return _too_short(subscription, f"The coupon {name}", coupon.duration, coupon.duration_in_months, now)


def _too_short(subscription: Subscription, what: str, duration: str, lasts: int | None, now: datetime) -> Refused | None:
    bill = standing.bill(subscription)
    if duration == "repeating" and months.later(now, lasts or 1) <= bill:
        return Refused(
            code="coupon_without_effect",
            message=f"{what} would be over before the next bill on {bill:%Y-%m-%d}. Use one that lasts longer, or for one bill.",
        )
    return None
