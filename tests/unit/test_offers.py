"""Offers: what is made is what the job carries out and the page says no more; limits at their edges; the walk with chains of them."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connect_app.money import Money
from connect_app.stripe_gateway.objects import Subscription
from flow_pages import document, offers, steps
from flow_pages.document import Limits
from flow_pages.offers import limits
from flow_pages.offers.terms import is_plain
from jobs import plans
from jobs.plans import pauses
from tests.unit import test_plan_table as table

NOW, DAY = table.NOW, timedelta(days=1)
WORDS: dict[str, Any] = {"id": "off_1", "headline": "h", "accept": "y", "decline": "n"}


def discount(**changes: Any) -> document.DiscountOffer:
    return document.DiscountOffer(**{**WORDS, "coupons": document.Coupons(test="SAVE"), **changes})


def minted(**changes: Any) -> document.DiscountOffer:
    return discount(mint=document.Minted(**{"percent_off": Decimal(20), "duration": "once", **changes}))


def plan(when: Any) -> document.PlanOffer:
    return document.PlanOffer(**WORDS, prices=document.Prices(test=("price_2", "price_3")), when=when)


OFFERS: dict[str, document.Offer] = {
    "coupon": discount(),
    "mint": minted(),
    "amounts": minted(percent_off=None, amounts={"eur": 500}),
    "pause": document.PauseOffer(**WORDS, interval="month", count=2),
    "bounds": document.PauseOffer(**WORDS, interval="week", count=2, least=1, most=10),
    "extension": document.ExtensionOffer(**WORDS, interval="day", count=60),
    "trial": document.TrialOffer(**WORDS, days=14),
    "plan now": plan("now"),
    "plan later": plan("period_end"),
}
KNOWN = offers.Known(coupons={"SAVE": table.coupon()}, prices={"price_2": table.BIGGER}, names={"prod_1": "Smaller"})


def made(offer: document.Offer, subscription: Subscription | None, known: offers.Known = KNOWN, now: datetime = NOW) -> list[offers.Option]:
    return offers.options(offer, subscription, known, mode="test", session_id="ses_1", now=now)


def job(option: offers.Option, situation: plans.Situation) -> plans.Verdict:
    """What the job makes of it, with all that it reads of Stripe and the mirror does not have."""
    assert option.verb is not None
    wish = plans.Wish(
        action_id="act_1", verb=option.verb, intent=option.intent, customer="cus_1", subscription="sub_1", mode="test"
    )  # fmt: skip
    price = KNOWN.prices.get(str(option.intent.get("price")))
    coupon = situation.coupon if "coupon" in option.intent else None
    return plans.plan(wish, replace(situation, price=price, coupon=coupon), NOW)


# What is made.


@pytest.mark.parametrize("shape", table.SHAPES)
@pytest.mark.parametrize("kind", OFFERS)
def test_what_is_offered_is_what_the_job_carries_out(kind: str, shape: str) -> None:
    offer, situation = OFFERS[kind], table.SHAPES[shape]
    subscription = situation.subscription
    offered = made(offer, subscription)
    keys = {option.key for option in offered}
    for option in offers.conceivable(offer, subscription, mode="test", session_id="ses_1", now=NOW):
        verdict = job(option, situation)
        if option.key in keys:
            assert isinstance(verdict, plans.Plan), verdict
        elif subscription.schedule is None and not subscription.is_paused:
            # Of a schedule the mirror knows only that there is one, and a bill that is not going to come is not made cheaper. All else
            # that the job would do is offered.
            assert not isinstance(verdict, plans.Plan)


def test_each_kind_is_offered_on_as_many_shapes_as_before() -> None:
    offered = {kind: sum(bool(made(offer, each.subscription)) for each in table.SHAPES.values()) for kind, offer in OFFERS.items()}
    assert offered == {
        "coupon": 19, "mint": 19, "amounts": 1, "pause": 24, "bounds": 24, "extension": 24, "trial": 1, "plan now": 15, "plan later": 14,
    }  # fmt: skip


@pytest.mark.parametrize("kind", OFFERS)
def test_a_page_says_no_more_than_the_calls_do(kind: str) -> None:
    offer = OFFERS[kind]
    for situation in table.SHAPES.values():
        subscription = situation.subscription
        for option in made(offer, subscription):
            verdict = job(option, situation)
            assert isinstance(verdict, plans.Plan)
            said = dict(offers.terms(offer, option, subscription, KNOWN, "en", NOW))
            *_, call = verdict.calls
            match offer:
                case document.PauseOffer() | document.ExtensionOffer():
                    _is_said(said, call.params, subscription)
                case document.TrialOffer():
                    assert said["First charge"] == day(call.params["trial_end"])
                case document.PlanOffer():
                    is_discounted = bool(subscription.discounts) or any(item.discounts for item in subscription.items)
                    price = said.get("Before discounts" if is_discounted else "You pay", "$57.00 per month")
                    assert price == "$57.00 per month"
                    is_other_interval = subscription.items[0].price.interval == "year" and offer.when == "now"
                    assert said.get("Paid time that is left") == ("Not credited" if is_other_interval else None)
                    assert "'price_2', 'quantity': 3" in str(verdict.calls) or "'quantity': 3, 'price': 'price_2'" in str(verdict.calls)
                    assert (said["From"] == "now on") == (offer.when == "now")
                case _:
                    assert said["You save"] == ("€5.00" if kind == "amounts" else "20%")
                    assert said["For"] == "your next bill"
                    # Beside another discount, or usage, nobody can say what is left of the price.
                    is_simple = is_plain(subscription, KNOWN)
                    assert ("You pay about" in said) == (subscription.amount is not None and is_simple)
                    assert not (is_simple and any(item.price.usage_type == "metered" for item in subscription.items))


def _is_said(said: dict[str, str], params: Any, subscription: Subscription) -> None:
    """A pause leaves out so many bills, never none, and the next one comes when Stripe collects again."""
    stopped = params["pause_collection"]
    assert said.get("Paused until") == day(stopped["resumes_at"]) or said["Free until"] == said["Next charge"]
    left_out = said.get("Bills that are left out") or said["Bills you do not pay"]
    until = datetime.fromtimestamp(stopped["resumes_at"], UTC)
    assert int(left_out) == len(pauses.affected(subscription, until, NOW)) >= 1
    assert datetime.strptime(said["Next charge"], "%B %d, %Y").replace(tzinfo=UTC).date() >= until.date()


def day(at: Any) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%B %-d, %Y}"


@given(st.sampled_from(["day", "week", "month"]), st.integers(1, 365), st.integers(0, 30 * 86400), st.sampled_from(["monthly", "yearly"]))
def test_a_pause_that_would_leave_out_no_bill_is_not_made(interval: Any, count: int, later: int, shape: str) -> None:
    offer = document.PauseOffer(**WORDS, interval=interval, count=count)
    now, subscription = NOW + timedelta(seconds=later), table.SHAPES[shape].subscription
    bill = subscription.current_period_end
    [way] = offers.conceivable(offer, subscription, mode="test", session_id="ses_1", now=now)
    resumes_at = datetime.fromisoformat(str(way.intent["resumes_at"]))
    assert bool(made(offer, subscription, now=now)) == (now <= bill < resumes_at)


def test_a_discount_of_another_currency_a_coupon_that_is_none_and_a_price_nobody_knows_are_not_made() -> None:
    monthly = table.SHAPES["monthly"].subscription
    assert made(OFFERS["amounts"], monthly) == []
    assert made(discount(), monthly, offers.Known()) == []
    assert made(discount(coupons=document.Coupons(live="SAVE")), monthly) == [], "the coupon is the other mode's"
    [way] = made(plan("now"), monthly)
    assert way.key == "price_2", "the other price is not in the mirror"
    for changes in ({"valid": False}, {"redeem_by": table.NOON - 1}, {"applies_to": {"products": ["prod_9"]}}):
        assert made(discount(), monthly, offers.Known(coupons={"SAVE": table.coupon(**changes)})) == [], changes


def test_without_a_subscription_only_what_changes_nothing_on_stripe_is_made() -> None:
    assert [kind for kind, offer in OFFERS.items() if made(offer, None)] == []
    for offer in (document.LinkOffer(**WORDS, url="https://shop.example/help"), document.CustomOffer(**WORDS)):
        [way] = made(offer, None)
        assert way.verb is None
        assert made(offer, table.SHAPES["ended"].subscription) == [way]


def test_a_minted_coupon_is_the_session_s_own_and_soon_over() -> None:
    [way] = made(minted(duration="repeating", months=3), table.SHAPES["monthly"].subscription)
    made_of = way.intent["mint"]
    assert made_of == {
        "id": "hf_off_1_ses_1", "family": "hf_off_1_", "name": "20% off, 3 months",
        "percent_off": "20", "amounts": {}, "duration": "repeating", "duration_in_months": 3,
        "redeem_by": (NOW + 7 * DAY).isoformat(),
    }  # fmt: skip


# Limits.

NOTHING = limits.Ledger(spent={})


def held(
    ledger: limits.Ledger = NOTHING, cost: Money | None = None, now: datetime = NOW, shape: str = "monthly", **changes: Any
) -> str | None:
    offer = discount(**changes)
    return limits.in_the_way(offer, table.SHAPES[shape].subscription, None, ledger, cost, now)


def accepted(*ages: timedelta, offer: str = "off_1", kind: str = "discount") -> limits.Ledger:
    return limits.Ledger(accepted=tuple(limits.Accepted(offer=offer, kind=kind, at=NOW - age) for age in ages), spent={})


def test_an_offer_is_made_from_its_first_day_to_the_end_of_its_last() -> None:
    days: dict[str, Any] = {"starts_on": date(2026, 11, 10), "ends_on": date(2026, 11, 12)}
    midnight = datetime(2026, 11, 10, tzinfo=UTC)
    second = timedelta(seconds=1)
    told = [held(now=at, **days) for at in (midnight - second, midnight, midnight + 3 * DAY - second, midnight + 3 * DAY)]
    assert told == ["dates", None, None, "dates"]
    assert held(now=midnight - 100 * DAY, ends_on=days["ends_on"]) is None
    assert held(now=midnight + 100 * DAY, starts_on=days["starts_on"]) is None


def test_who_has_a_discount_gets_none_where_that_is_the_limit() -> None:
    once = Limits(not_if_discounted=True)
    assert [held(shape=shape, limits=once) for shape in ("monthly", "discounted")] == [None, "discounted"]
    assert held(shape="discounted") is None
    item = {**table.item(), "discounts": ["di_9"]}
    assert limits.in_the_way(discount(limits=once), table.subscription(item), None, NOTHING, None, NOW) == "discounted"
    assert limits.in_the_way(discount(limits=once), None, None, NOTHING, None, NOW) is None


def test_a_discount_that_came_meanwhile_is_seen_when_the_offer_is_applied() -> None:
    monthly, since = table.SHAPES["monthly"], table.SHAPES["discounted"]
    [way] = made(discount(limits=Limits(not_if_discounted=True)), monthly.subscription)
    assert isinstance(job(way, monthly), plans.Plan)
    refused = job(way, since)
    assert isinstance(refused, plans.Refused)
    assert (refused.code, refused.is_final) == ("discounted_already", False)
    [way] = made(discount(), monthly.subscription)
    assert isinstance(job(way, since), plans.Plan), "without that limit it joins those that are there"


def test_a_cooldown_is_over_on_its_last_second_and_counts_offers_of_the_same_kind() -> None:
    month = Limits(cooldown_days=30)
    ages = (timedelta(0), 30 * DAY - timedelta(seconds=1), 30 * DAY, 31 * DAY)
    assert [held(accepted(age), limits=month) for age in ages] == ["cooldown", "cooldown", None, None]
    assert held(accepted(DAY, offer="off_2"), limits=month) == "cooldown", "another discount is a discount"
    assert held(accepted(DAY, kind="pause"), limits=month) is None
    link = document.LinkOffer(**WORDS, url="https://shop.example/help", limits=month)
    told = [accepted(DAY, offer=offer, kind="link") for offer in (link.id, "off_2")]
    said = [limits.in_the_way(link, None, None, ledger, None, NOW) for ledger in told]
    assert said == ["cooldown", None], "one link says nothing of another"


def test_a_lifetime_counts_this_offer_alone_however_long_ago() -> None:
    twice = Limits(lifetime=2)
    assert [held(accepted(*[3000 * DAY] * times), limits=twice) for times in (0, 1, 2, 3)] == [None, None, "lifetime", "lifetime"]
    assert held(accepted(DAY, DAY, DAY, offer="off_2"), limits=twice) is None


def test_a_budget_lets_through_what_fits_exactly_and_only_in_its_currency() -> None:
    month = Limits(monthly_budget={"usd": 1000})
    spent = limits.Ledger(spent={("off_1", "usd"): 600, ("off_2", "usd"): 10**6, ("off_1", "eur"): 10**6})
    assert [held(spent, Money(cost, "usd"), limits=month) for cost in (400, 401)] == [None, "budget"]
    assert held(NOTHING, Money(1001, "usd"), limits=month) == "budget"
    assert held(spent, Money(10**9, "eur"), limits=month) is None, "no amount in euros, no budget"
    assert held(spent, None, limits=month) is None, "what cannot be said counts as nothing"


def test_the_month_of_a_budget_is_the_calendar_s_in_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert limits.month(datetime(2026, 12, 1, 3, tzinfo=tokyo)) == datetime(2026, 11, 1, tzinfo=UTC)
    assert limits.month(datetime(2026, 11, 30, 23, 59, 59, 999999, tzinfo=UTC)) == datetime(2026, 11, 1, tzinfo=UTC)
    assert limits.month(datetime(2026, 12, 1, tzinfo=UTC)) == datetime(2026, 12, 1, tzinfo=UTC)


# Documents.


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        ("discount", {"headline": ""}, "headline"),
        ("discount", {"headline": "x" * 201}, "headline"),
        ("discount", {"accept": None}, "accept"),
        ("discount", {"decline": ""}, "decline"),
        ("discount", {"body": "x" * 4001}, "body"),
        ("discount", {"body": "{{ a.b }}"}, "body"),
        ("discount", {"id": "Off 1"}, "id"),
        ("discount", {"image": "http://shop.example/a.png"}, "image"),
        ("discount", {"image": "https://shop.example/a b.png"}, "image"),
        ("discount", {"image": "javascript:alert(1)"}, "image"),
        ("discount", {"starts_on": "2026-02-30"}, "starts_on"),
        ("discount", {"starts_on": "2026-02-02", "ends_on": "2026-02-01"}, "the last day is before"),
        ("discount", {"by": "nobody"}, "by"),
        ("discount", {"limits": {"cooldown_days": 0}}, "cooldown_days"),
        ("discount", {"limits": {"cooldown_days": 3651}}, "cooldown_days"),
        ("discount", {"limits": {"lifetime": 0}}, "lifetime"),
        ("discount", {"limits": {"lifetime": "1"}}, "lifetime"),
        ("discount", {"limits": {"monthly_budget": {"usd": 0}}}, "monthly_budget"),
        ("discount", {"limits": {"monthly_budget": {"USD": 1}}}, "monthly_budget"),
        ("discount", {"limits": {"often": True}}, "often"),
        ("discount", {"coupons": {"test": "a b"}}, "coupons.test"),
        ("discount", {"coupons": {"prod": "a"}}, "coupons.prod"),
        ("discount", {"mint": {"duration": "once"}}, "a percentage or amounts"),
        ("discount", {"mint": {"duration": "once", "percent_off": "10", "amounts": {"usd": 5}}}, "not both"),
        ("discount", {"mint": {"duration": "once", "percent_off": "101"}}, "percent_off"),
        ("discount", {"mint": {"duration": "once", "percent_off": "0"}}, "percent_off"),
        ("discount", {"mint": {"duration": "once", "percent_off": "1.005"}}, "percent_off"),
        ("discount", {"mint": {"duration": "once", "amounts": {"usd": -5}}}, "amounts.usd"),
        ("discount", {"mint": {"duration": "repeating", "percent_off": "10"}}, "a number of months"),
        ("discount", {"mint": {"duration": "once", "months": 2, "percent_off": "10"}}, "a number of months"),
        ("discount", {"mint": {"duration": "weekly", "percent_off": "10"}}, "duration"),
        ("pause", {"interval": "year"}, "interval"),
        ("pause", {"count": 0}, "count"),
        ("pause", {"least": 1}, "both bounds"),
        ("pause", {"least": 3, "most": 4}, "outside its bounds"),
        ("pause", {"least": 1, "most": 13}, "twelve lengths"),
        ("extension", {"count": 366}, "count"),
        ("trial_extension", {"days": 0}, "days"),
        ("plan_change", {"prices": {"test": ["a b"]}}, "prices.test"),
        ("plan_change", {"prices": {"test": ["p"] * 7}}, "prices.test"),
        ("plan_change", {"when": "never"}, "when"),
        ("plan_change", {"proration": "half"}, "proration"),
        ("link", {"url": "http://shop.example"}, "url"),
        ("link", {"url": "javascript:alert(1)"}, "url"),
        ("link", {"url": "mailto:"}, "url"),
        ("custom", {"payload": {"A key": "x"}}, "payload"),
        ("custom", {"payload": {f"k{n}": "x" for n in range(21)}}, "payload"),
        ("gift", {}, "kind"),
    ],
)  # fmt: skip
def test_a_bad_offer_is_refused_with_the_name_of_what_is_wrong(kind: str, changes: dict[str, Any], field: str) -> None:
    own: dict[str, dict[str, Any]] = {
        "pause": {"interval": "month", "count": 2}, "extension": {"interval": "month", "count": 2}, "trial_extension": {"days": 3},
        "link": {"url": "https://shop.example"},
    }  # fmt: skip
    whole = {"kind": kind, **WORDS, **own.get(kind, {})}
    base = document.control_flow().as_json()
    if kind != "gift":
        document.parse({**base, "offers": [whole]})
    with pytest.raises(ValidationError) as refusal:
        document.parse({**base, "offers": [{**whole, **changes}]})
    told = [(".".join(str(part) for part in problem["loc"]), problem["msg"]) for problem in refusal.value.errors()]
    assert any(field in where or field in what for where, what in told), told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"offers": ["a", "a"]}, "two offers have the same id"),
        ({"opening": ["b"]}, "opening names an offer that is not here: b"),
        ({"closing": ["a", "a"]}, "closing names an offer twice"),
        ({"reasons": ["b"]}, "the reason why names an offer that is not here: b"),
        ({"reasons": ["a", "a"]}, "the reason why names an offer twice"),
        ({"cancels_by": "us"}, "cancels_by"),
        ({"cancel": {"when": "later"}}, "cancel.when"),
    ],
)
def test_a_bad_chain_is_refused_with_its_name(changes: dict[str, Any], told: str) -> None:
    whole = {
        **document.control_flow().as_json(),
        **{name: value for name, value in changes.items() if name not in ("offers", "reasons")},
        "offers": [{"kind": "custom", **WORDS, "id": name} for name in changes.get("offers", ["a"])],
        "survey": {"title": "t", "reasons": [{"id": "why", "label": "l", "feedback": "other", "offers": changes.get("reasons", [])}]},
    }
    with pytest.raises(ValidationError) as refusal:
        document.parse(whole)
    assert told in str(refusal.value)


# Chains.

NAMES = ("a", "b", "c", "d", "e")
chains = st.lists(st.sampled_from(NAMES), unique=True, max_size=4).map(tuple)


@st.composite
def flows(draw: st.DrawFn) -> document.Flow:
    survey = document.Survey(
        title="Why?",
        reasons=tuple(document.Reason(id=f"r{n}", label="l", feedback="other", offers=draw(chains)) for n in range(2)),
    )
    return document.Flow(
        survey=draw(st.sampled_from([survey, None])),
        offers=tuple(document.CustomOffer(**{**WORDS, "id": name}) for name in NAMES),
        opening=draw(chains),
        closing=draw(chains),
        confirm=document.Confirm(title="t", button="b"),
        done=document.Done(canceled="c", saved="s"),
    )


@given(flows(), st.sets(st.sampled_from(NAMES)), st.sampled_from([None, "r0", "r1"]))
def test_who_declines_everything_sees_two_offers_at_most_each_once_and_ends_at_the_confirmation(
    flow: document.Flow, fitting: set[str], reason: str | None
) -> None:
    answers: dict[str, dict[str, object]] = {}
    shown: list[str] = []
    while not isinstance(step := steps.next_step(flow, answers, fitting), steps.ConfirmStep):
        number, of = steps.progress(flow, answers, fitting)
        assert 1 <= number <= of
        if isinstance(step, steps.OfferStep):
            # Before the survey is answered only what opens the flow is shown.
            assert step.offer.id in flow.opening or steps.SURVEY in answers or flow.survey is None
            shown.append(step.offer.id)
            answers[steps.offer_key(step.offer.id)] = {"declined": True}
        else:
            answers[steps.SURVEY] = {"reason": reason}
    named = flow.reason(reason)
    wanted = dict.fromkeys((*flow.opening, *(named.offers if named else ()), *flow.closing))
    assert shown == [name for name in wanted if name in fitting][: document.MOST_SHOWN]


@given(flows(), st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)))
def test_what_was_declined_is_not_made_again_whatever_fits_since_and_never_a_third(
    flow: document.Flow, fitting: set[str], declined: set[str], since: set[str]
) -> None:
    answers: dict[str, dict[str, object]] = {steps.SURVEY: {"reason": "r0"}}
    seen: list[str] = []
    for _ in declined:
        step = steps.next_step(flow, answers, fitting)
        if isinstance(step, steps.OfferStep):
            seen.append(step.offer.id)
            answers[steps.offer_key(step.offer.id)] = {"declined": True}
    for fits in (since, fitting | since):
        step = steps.next_step(flow, answers, fits)
        if isinstance(step, steps.OfferStep):
            assert step.offer.id not in seen
            assert len(seen) < document.MOST_SHOWN
        walked = steps.path(flow, answers, fits)
        assert sum(isinstance(one, steps.OfferStep) for one in walked) <= document.MOST_SHOWN
        assert len({one.name for one in walked}) == len(walked)
        assert isinstance(steps.next_step(flow, {**answers, steps.SKIP: {}}, fits), steps.ConfirmStep)
