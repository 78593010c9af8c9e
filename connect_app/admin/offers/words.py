"""Offers in words: what each kind is for, what one comes to, and where in the flow it is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from connect_app import money
from connect_app.admin.offers import pickers
from connect_app.admin.offers.shelf import Placement
from connect_app.money import Money
from flow_pages.document import (
    CustomOffer,
    DiscountOffer,
    ExtensionOffer,
    LinkOffer,
    Minted,
    Offer,
    PauseOffer,
    PlanOffer,
    Reason,
    TrialOffer,
)
from flow_pages.offers.terms import length

_LOCALE = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of offer as the owner picks one: its name, what it does, its icon, and what a new one begins with."""

    key: str
    title: str
    text: str
    icon: str
    headline: str
    accept: str
    decline: str = "No thanks, continue to cancel"


KINDS = {
    one.key: one
    for one in (
        Kind(
            key="discount",
            title="Discount",
            text="A coupon of your Stripe account, or one made for each customer. Discounts they already have are kept.",
            icon="tag",
            headline="Would a lower price help?",
            accept="Take the discount",
        ),
        Kind(
            key="pause",
            title="Pause",
            text="No service and no bills for a while. The bills that fall into it are void, and it ends by itself.",
            icon="pause",
            headline="Would a break help?",
            accept="Pause my subscription",
        ),
        Kind(
            key="extension",
            title="Extension",
            text="Service for free for a while. The bills that fall into it are marked as uncollectible.",
            icon="calendar",
            headline="Take some more time, on us",
            accept="Use it for free",
        ),
        Kind(
            key="trial_extension",
            title="Longer trial",
            text="More days for those on trial. Nothing is charged before its new end.",
            icon="clock",
            headline="Not sure yet? Take more time",
            accept="Extend my trial",
        ),
        Kind(
            key="plan_change",
            title="Another plan",
            text="Up to six prices to choose from, for as many seats as they have, now or from the next period on.",
            icon="refresh",
            headline="Would a smaller plan fit better?",
            accept="Change my plan",
        ),
        Kind(
            key="link",
            title="Link",
            text="A page or a mail of yours: talk to somebody, book a call, read a guide. Nothing changes on Stripe.",
            icon="external",
            headline="Can we help?",
            accept="Talk to us",
        ),
        Kind(
            key="custom",
            title="Something of yours",
            text="Whatever only you can give. Your webhook and pass-through URL are told; nothing changes on Stripe.",
            icon="bolt",
            headline="We have something for you",
            accept="Yes, please",
        ),
    )
}


def said(offer: Offer, mode: str, picks: Mapping[str, str]) -> str:
    """What an offer comes to in this mode; `picks` are the labels of coupons and prices by their ids."""
    match offer:
        case DiscountOffer(mint=None):
            coupon = offer.coupons.of(mode)
            return f"No coupon in {mode} mode: it is not made" if coupon is None else picks.get(coupon, f"{coupon}, which is gone")
        case DiscountOffer():
            assert offer.mint is not None  # noqa: S101  # the case before
            return f"{minted(offer.mint)}, a coupon for each customer"
        case PauseOffer():
            if offer.least is not None and offer.most is not None:
                return f"{offer.least} to {length(offer.interval, offer.most)} without bills"
            return f"{length(offer.interval, offer.count)} without bills"
        case ExtensionOffer():
            return f"{length(offer.interval, offer.count)} for free"
        case TrialOffer():
            return f"{length('day', offer.days)} more of trial"
        case PlanOffer():
            prices = offer.prices.of(mode)
            if not prices:
                return f"No price in {mode} mode: it is not made"
            named = "; ".join(picks.get(one, f"{one}, which is gone") for one in prices)
            return f"{named}, {'at once' if offer.when == 'now' else 'from the next period on'}"
        case LinkOffer():
            return offer.url
        case CustomOffer():
            return ", ".join(f"{name}: {value}" for name, value in offer.payload.items()) or "Your webhook is told"
        case _:
            assert_never(offer)


def minted(mint: Minted) -> str:
    """What a coupon that is made for each customer takes off, and for how long."""
    amounts = [money.format(Money(amount, currency), _LOCALE) for currency, amount in sorted(mint.amounts.items())]
    off = f"{mint.percent_off.normalize():f}%" if mint.percent_off is not None else " or ".join(amounts)
    return f"{off} off {pickers.lasting(mint.duration, mint.months)}"


def placed(placement: Placement, reasons: Mapping[str, Reason]) -> str:
    """Where the flow makes it; `reasons` are those that its survey has, by id."""
    match placement.where:
        case "opening":
            return "Before the survey"
        case "closing":
            return "After any reason"
        case _:
            labels = [reasons[one].label for one in placement.reasons if one in reasons]
            return f"After “{'”, “'.join(labels)}”" if labels else "Nowhere: the survey has none of its reasons"
