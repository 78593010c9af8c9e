"""The next charge if an offer is taken: exactly, as Stripe tells it within a second, else about, as far as the mirror can say."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from connect_app import money
from connect_app.models.base import Json
from connect_app.money import Money
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import errors, objects
from connect_app.stripe_gateway.objects import Item, Subscription, Upcoming
from flow_pages import spoken
from flow_pages.document import DiscountOffer, PlanOffer, TrialOffer
from flow_pages.offers.making import Made
from flow_pages.offers.options import Option, looked_at
from flow_pages.offers.terms import discount_of, is_plain, price_of
from flow_pages.visits import Visit
from jobs import plans
from jobs.plans import plan_changes, previews, standing

log = structlog.get_logger()

BUDGET_SECONDS = 1.0
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="preview")


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What is charged next, and when; `amount` is None where only the day can be said, `is_exact` where Stripe itself told it.

    `credit` is what that bill gives back instead of charging anything.
    """

    amount: Money | None
    at: datetime
    is_exact: bool
    credit: Money | None = None


def next_ones(rt: Runtime, visit: Visit, made: Made, *, is_asked: bool) -> dict[str, Charge]:
    """The next charge of each way to take the offer, by its key; a way is missing where nothing is charged or nothing can be said.

    Asks Stripe unless `is_asked` is False, all ways at once and within BUDGET_SECONDS together: call it with no transaction open.
    """
    subscription = visit.subscription
    if subscription is None:
        return {}
    now = rt.now()
    told = _told(rt, visit, made, subscription, now) if is_asked else {}
    found: dict[str, Charge] = {}
    for option in made.options:
        charge = told.get(option.key) or about(made, option, subscription, now)
        if charge is not None:
            found[option.key] = charge
    return found


def about(made: Made, option: Option, subscription: Subscription, now: datetime) -> Charge | None:
    """The next charge as the mirror has it: before tax, balance and whatever else Stripe would count in."""
    plain = subscription.amount if is_plain(subscription, made.known) else None
    match made.offer:
        case DiscountOffer() as offer:
            found = discount_of(offer, option, subscription, made.known)
            off = found.off(plain) if found is not None and plain is not None else None
            amount = plain - off if plain is not None and off is not None else None
            return _on(standing.bill(subscription), amount, now)
        case TrialOffer():
            return _on(datetime.fromisoformat(str(option.intent["trial_end"])), plain, now)
        case PlanOffer() as offer:
            price = made.known.prices.get(option.key)
            item = plan_changes.changed(subscription)
            is_as_often = price is not None and isinstance(item, Item) and previews.rhythm(price) == previews.rhythm(item.price)
            if offer.when == "now" and (offer.proration != "none" or not is_as_often):
                return None
            pays = price_of(option, made.known, subscription) if is_plain(subscription, made.known) else None
            return _on(standing.bill(subscription), pays, now)
        case _:
            return None


def text(charge: Charge, locale: str, now: datetime) -> str:
    """`€21.75 on December 22, 2026`, with *About* before it where Stripe has not told it."""
    day = "today" if charge.at.date() == now.date() else f"on {spoken.day(charge.at, locale)}"
    if charge.amount is None:
        return spoken.day(charge.at, locale)
    if charge.credit is not None:
        return f"None {day}: {money.format(charge.credit, locale)} is credited to you"
    amount = money.format(charge.amount, locale)
    return f"{amount} {day}" if charge.is_exact else f"About {amount} {day}"


def _on(at: datetime, amount: Money | None, now: datetime) -> Charge | None:
    return Charge(amount=amount, at=at, is_exact=False) if at >= now else None


def _told(rt: Runtime, visit: Visit, made: Made, subscription: Subscription, now: datetime) -> dict[str, Charge]:
    """What Stripe tells in time, by the way's key."""
    connection = visit.connection
    if connection is None or not visit.is_connected:
        return {}
    wanted = {option.key: asked for option in made.options if (asked := _asked(made, option, subscription, visit.row.mode, now))}
    if not wanted:
        return {}
    account = rt.quick_stripe(visit.row.mode).account(connection.account)
    futures: dict[str, Future[Upcoming]] = {}
    for key, asked in wanted.items():
        futures[key] = _threads.submit(lambda asked=asked: account.upcoming(asked).value)  # type: ignore[misc]
    wait(futures.values(), timeout=BUDGET_SECONDS)
    told = {key: charge for key, future in futures.items() if (charge := _charge(future, made, now)) is not None}
    if any(item.price.usage_type == "metered" for item in subscription.items):
        # What is used until then comes on top.
        return {key: replace(charge, amount=None, is_exact=False, credit=None) for key, charge in told.items()}
    return told


def _charge(future: Future[Upcoming], made: Made, now: datetime) -> Charge | None:
    # What has not begun by now is not wanted any more: it would keep the next customer's from beginning.
    if future.cancel() or not future.done():
        return None
    try:
        upcoming = future.result()
    except (errors.StripeFailure, objects.Malformed) as failure:
        log.info("offer.not_previewed", offer=made.offer.id, problem=str(failure)[:200])
        return None
    if isinstance(made.offer, TrialOffer) and upcoming.due.amount == 0:
        # The bill over nothing that a trial begins with, where Stripe names that one first.
        return None
    credit = Money(-upcoming.total.amount, upcoming.total.currency) if upcoming.total.amount < 0 else None
    return Charge(amount=upcoming.due, at=max(upcoming.at, now), is_exact=True, credit=credit)


def _asked(made: Made, option: Option, subscription: Subscription, mode: str, now: datetime) -> Json | None:
    if option.verb is None:
        return None
    wish, situation = looked_at(option, option.verb, subscription, made.known, mode=mode)
    planned = plans.plan(wish, situation, now)
    return previews.asking(wish, situation, planned) if isinstance(planned, plans.Plan) else None
