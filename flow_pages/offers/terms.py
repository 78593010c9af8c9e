"""What an offer comes to, as labels and values: from Stripe's objects and absolute times, so that the copy cannot promise otherwise."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_never

from babel.core import UnknownLocaleError
from babel.numbers import format_percent

from connect_app import money
from connect_app.models.base import Json
from connect_app.money import Money
from connect_app.stripe_gateway.objects import Coupon, Price, Status, Subscription
from flow_pages import spoken
from flow_pages.document import CustomOffer, DiscountOffer, ExtensionOffer, LinkOffer, Offer, PauseOffer, PlanOffer, TrialOffer
from flow_pages.offers.options import Known, Option
from jobs.plans import months, standing

# Labels that pages look for.
NEW_PLAN, PAYS_ABOUT, FIRST_CHARGE, ONE_BILL = "New plan", "You pay about", "First charge", "your next bill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """What a discount takes off, whether it is a coupon of the account's or one that will be made."""

    percent_off: Decimal | None
    amount_off: Money | None
    duration: str
    months: int | None
    is_for_all: bool

    def off(self, price: Money) -> Money | None:
        """What it takes off a bill of this price; None where that cannot be said."""
        if not self.is_for_all:
            return None
        if self.percent_off is not None:
            return price - (price - price * (self.percent_off / 100))
        if self.amount_off is not None and self.amount_off.currency == price.currency:
            return min(self.amount_off, price, key=lambda one: one.amount)
        return None


def of_coupon(coupon: Coupon) -> Discount:
    """The discount that a coupon of the account's gives."""
    return Discount(
        percent_off=coupon.percent_off,
        amount_off=coupon.amount_off,
        duration=coupon.duration,
        months=coupon.duration_in_months,
        is_for_all=coupon.products is None,
    )


def terms(
    offer: Offer, option: Option, subscription: Subscription | None, known: Known, locale: str, now: datetime
) -> list[tuple[str, str]]:
    """What the customer gets if they take the offer in this way, and what they pay then."""
    if subscription is None:
        return []
    match offer:
        case DiscountOffer():
            found = discount_of(offer, option, subscription, known)
            return [] if found is None else _discounted(found, subscription, known, locale)
        case PauseOffer() | ExtensionOffer():
            return _stopped(offer, option, subscription, locale, now)
        case TrialOffer():
            ends = datetime.fromisoformat(str(option.intent["trial_end"]))
            return [("Your trial then runs until", spoken.day(ends, locale)), (FIRST_CHARGE, spoken.day(ends, locale))]
        case PlanOffer():
            return _changed(offer, option, subscription, known, locale)
        case LinkOffer() | CustomOffer():
            return []
        case _:
            assert_never(offer)


def named_way(offer: Offer, option: Option, known: Known) -> str:
    """What tells this way to take the offer from the others: `2 months`, or the plan's name; '' where there is nothing to choose."""
    match offer:
        case PauseOffer():
            return length(offer.interval, int(option.key))
        case PlanOffer():
            price = known.prices.get(option.key)
            return plan_name(price, known) if price is not None else option.key
        case _:
            return ""


def particulars(offer: Offer, option: Option) -> Json:
    """What the business's own system needs to carry it out, beside the coupon: JSON as a choice keeps it."""
    told: Json = {name: option.intent[name] for name in ("price", "resumes_at", "trial_end") if name in option.intent}
    match offer:
        case PauseOffer() | ExtensionOffer():
            count = int(option.key) if option.key else offer.count
            told["duration"] = {"count": count, "interval": offer.interval}
        case TrialOffer():
            told["duration"] = {"count": offer.days, "interval": "day"}
        case CustomOffer():
            told["payload"] = dict(offer.payload)
        case _:
            pass
    return told


def cost(offer: Offer, option: Option, subscription: Subscription | None, known: Known) -> Money | None:
    """What accepting takes off the next bill before tax; None where that cannot be said, or where it takes nothing off."""
    price = subscription.amount if subscription is not None else None
    if price is None or subscription is None:
        return None
    match offer:
        case DiscountOffer():
            found = discount_of(offer, option, subscription, known)
            return found.off(price) if found is not None else None
        case PauseOffer() | ExtensionOffer() | TrialOffer():
            return price
        case PlanOffer():
            other = price_of(option, known, subscription)
            lower = other is not None and other.currency == price.currency and other.amount < price.amount
            return price - other if lower and other is not None else None
        case _:
            return None


def discount_of(offer: DiscountOffer, option: Option, subscription: Subscription, known: Known) -> Discount | None:
    """The discount behind an offer for this subscription; None where the account does not have its coupon."""
    if offer.mint is None:
        coupon = known.coupons.get(str(option.intent.get("coupon")))
        return of_coupon(coupon) if coupon is not None else None
    amount = offer.mint.amounts.get(subscription.currency)
    return Discount(
        percent_off=offer.mint.percent_off,
        amount_off=None if amount is None else Money(amount, subscription.currency),
        duration=offer.mint.duration,
        months=offer.mint.months,
        is_for_all=True,
    )


def is_plain(subscription: Subscription, known: Known) -> bool:
    """Whether its next bill is its price as far as the mirror can say: no discounts, no usage, and no schedule that changes it before."""
    is_by_usage = any(item.price.usage_type == "metered" for item in subscription.items)
    is_discounted = bool(subscription.discounts or known.customers_discount) or any(item.discounts for item in subscription.items)
    return not is_by_usage and not is_discounted and subscription.schedule is None


def saving(discount: Discount, locale: str) -> str:
    """`25%` or `€5.00`, as a reader of `locale` writes it."""
    if discount.amount_off is not None:
        return money.format(discount.amount_off, locale)
    share = (discount.percent_off or 0) / 100
    try:
        return format_percent(share, format="#,##0.##%", locale=locale.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return format_percent(share, format="#,##0.##%", locale="en")


def duration(discount: Discount) -> str:
    """How long the discount lasts, in words."""
    match discount.duration:
        case "forever":
            return "as long as you stay"
        case "repeating":
            return "1 month" if (discount.months or 1) == 1 else f"{discount.months} months"
        case _:
            return ONE_BILL


def length(interval: str, count: int) -> str:
    """`2 months`, `1 week`."""
    return f"{count} {interval}{'' if count == 1 else 's'}"


def _discounted(discount: Discount, subscription: Subscription, known: Known, locale: str) -> list[tuple[str, str]]:
    lines = [("You save", saving(discount, locale)), ("For", duration(discount))]
    price = subscription.amount
    off = discount.off(price) if price is not None and is_plain(subscription, known) else None
    if price is not None and off is not None:
        lines.append(("Instead of", money.format(price, locale)))
        lines.append((PAYS_ABOUT, f"{money.format(price - off, locale)} {_paid_for(discount, subscription)}".strip()))
    return lines


def _paid_for(discount: Discount, subscription: Subscription) -> str:
    """Which bills the lower price is for."""
    match discount.duration:
        case "forever":
            return spoken.interval(subscription)
        case "repeating":
            return f"{spoken.interval(subscription)} for {duration(discount)}".strip()
        case _:
            return "for your next bill"


def _stopped(
    offer: PauseOffer | ExtensionOffer, option: Option, subscription: Subscription, locale: str, now: datetime
) -> list[tuple[str, str]]:
    """A pause or free time: until when, which bills fall into it, and when the next one comes.

    What is free is free until that one: the last bill that is left out was for the time up to it.
    """
    resumes = datetime.fromisoformat(str(option.intent["resumes_at"]))
    first = standing.bill(subscription)
    skipped = months.bills(subscription, first, resumes) if first >= now else []
    upcoming = next(iter(months.bills(subscription, first, resumes + timedelta(days=800))[len(skipped) :]), None)
    is_free = isinstance(offer, ExtensionOffer)
    lines = [("Free until", spoken.day(upcoming or resumes, locale)) if is_free else ("Paused until", spoken.day(resumes, locale))]
    lines.append(("Bills you do not pay" if is_free else "Bills that are left out", str(len(skipped))))
    if upcoming is not None:
        lines.append(("Next charge", spoken.day(upcoming, locale)))
    return lines


def _changed(offer: PlanOffer, option: Option, subscription: Subscription, known: Known, locale: str) -> list[tuple[str, str]]:
    price = known.prices.get(option.key)
    if price is None:
        return []
    pays = price_of(option, known, subscription)
    lines = [(NEW_PLAN, plan_name(price, known))]
    if pays is not None:
        is_all = not (subscription.discounts or known.customers_discount or any(item.discounts for item in subscription.items))
        lines.append(("You pay" if is_all else "Before discounts", f"{money.format(pays, locale)} {spoken.every([price])}".strip()))
    if subscription.amount is not None:
        lines.append(("Instead of", spoken.price(subscription, locale)))
    lines += _given_up(offer, price, subscription)
    lines.append(("From", "now on" if offer.when == "now" else spoken.day(standing.bill(subscription), locale)))
    return lines


def _given_up(offer: PlanOffer, price: Price, subscription: Subscription) -> list[tuple[str, str]]:
    """Another interval begins a period at once; without proration what was paid for the present one is gone."""
    intervals = {(item.price.interval, item.price.interval_count or 1) for item in subscription.items}
    is_new_period = (price.interval, price.interval_count or 1) not in intervals
    if offer.when != "now" or offer.proration != "none" or not is_new_period or subscription.status is not Status.ACTIVE:
        return []
    return [("Paid time that is left", "Not credited")]


def plan_name(price: Price, known: Known) -> str:
    """What a price is called."""
    return known.names.get(price.product or "") or price.product_name or price.nickname or "Another plan"


def price_of(option: Option, known: Known, subscription: Subscription) -> Money | None:
    """What as many as they have would cost per interval at the price of this option."""
    price = known.prices.get(option.key)
    licensed = [item for item in subscription.items if item.price.usage_type != "metered"]
    if price is None or len(licensed) != 1:
        return None
    return price.amount(1 if licensed[0].quantity is None else licensed[0].quantity)
