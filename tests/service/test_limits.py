"""Limits hold under parallel sessions: who came at the same instant gets what is left of an offer, and the others read that it is gone."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from freezegun import freeze_time
from sqlalchemy import select, text

from connect_app.admin import flows, offers
from connect_app.admin.offers import rehearsal
from connect_app.models import Action, Choice
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from flow_pages import document
from flow_pages.document import Limits
from flow_pages.offers import limits
from jobs import queues, work
from sandbox.stripe import dashboard, signups
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.customers import Browser
from webhooks import projections

MANY = 50


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    staged = make.workspace(rt, local)
    make.read_in(rt)
    return staged


@pytest.fixture
def app(rt: Runtime) -> Flask:
    return customers.app(rt)


def offered(rt: Runtime, stage: make.Stage, held: Limits, *names: str) -> list[str]:
    """Publish a flow that opens with these discounts, each with the limits; gives their ids."""
    return opening(
        rt,
        stage,
        *(
            document.DiscountOffer(
                id="new",
                headline=f"Stay for less, {name}",
                accept="Take it",
                decline="No thanks",
                mint=document.Minted(percent_off=Decimal(20), duration="once"),
                limits=held,
            )
            for name in names
        ),
    )


def opening(rt: Runtime, stage: make.Stage, *wanted: document.Offer) -> list[str]:
    """Publish a flow that opens with these offers and makes no other; gives their ids."""
    with rt.transaction(stage.workspace_id) as session:
        for kept in offers.listing(session, stage.workspace_id):
            offers.switch(session, stage.workspace_id, kept.id, is_on=False, now=rt.now(), by="operator")
        made = [
            offers.add(
                session,
                stage.workspace_id,
                name=one.headline,
                offer=one,
                placement=offers.Placement(where="opening"),
                now=rt.now(),
                by="operator",
            )
            for one in wanted
        ]
        flows.publish_offers(session, stage.workspace_id, rt.now(), "operator")
    return made


def subscribed(rt: Runtime, local: LocalStripe, stage: make.Stage, shape: str, number: int) -> list[tuple[str, str]]:
    """So many subscriptions like this shape's, each in the mirror; of its customer."""
    customer, like = stage.shapes[shape]
    hand = Context(local=local, world=local.world(stage.account, False), source="dashboard")
    price = hand.world.get("subscription", like)["items"]["data"][0]["price"]["id"]
    made = [signups.create(hand, {"customer": customer, "items": [{"price": price}]})["id"] for _ in range(number)]
    return mirrored(rt, stage, [hand.world.get("subscription", id) for id in made])


def mirrored(rt: Runtime, stage: make.Stage, found: Sequence[Any]) -> list[tuple[str, str]]:
    with rt.transaction(stage.workspace_id) as session:
        place = stage.workspace_id, stage.connection_id
        projections.apply_reads(session, *place, [objects.read_subscription(one) for one in found], rt.now().replace(microsecond=0))
    return [(str(one["customer"]), str(one["id"])) for one in found]


def visitors(rt: Runtime, local: LocalStripe, stage: make.Stage, number: int) -> list[tuple[str, str]]:
    """So many customers with a subscription like the monthly one: in our mirror alone, which is all that a choice looks at."""
    like = local.world(stage.account, False).get("subscription", stage.shapes["monthly"][1])
    raw = json.loads(json.dumps(like))
    found = []
    for n in range(number):
        one = json.loads(json.dumps(raw)) | {"id": f"sub_visitor{n}", "customer": f"cus_visitor{n}"}
        for line in one["items"]["data"]:
            line["id"], line["subscription"] = f"si_visitor{n}", one["id"]
        found.append(one)
    return mirrored(rt, stage, found)


def arrived(app: Flask, stage: make.Stage, who: Sequence[tuple[str, str]]) -> list[Browser]:
    """Each of them before the offer; who comes twice about one subscription has been handed over twice."""
    browsers, now = [], int(datetime.now(UTC).timestamp())
    for place, (customer, subscription) in enumerate(who):
        body = customers.bundle(stage, customer, subscription, at=now - place // len(set(who)))
        answer = app.test_client().post("/api/embed/cancel", json=body)
        assert answer.status_code == 200, answer.json
        path = answer.get_json()["url"].removeprefix("http://127.0.0.1:8000")
        browsers.append(Browser(client=app.test_client(use_cookies=False), path=path).look())
    assert len({browser.path for browser in browsers}) == len(who)
    return browsers


def at_once(browsers: Sequence[Browser], press: Callable[[Browser], Any]) -> list[str]:
    """All of them press at the same instant, as many at a time as there are connections; where each is led."""
    led: list[str] = []

    def run(browser: Browser, gate: threading.Barrier) -> None:
        gate.wait(30)
        answer = press(browser)
        assert answer.status_code == 303, answer.get_data(as_text=True)
        led.append(answer.headers["Location"].removeprefix(browser.path))

    for begin in range(0, len(browsers), 10):
        wave = browsers[begin : begin + 10]
        gate = threading.Barrier(len(wave))
        threads = [threading.Thread(target=run, args=(browser, gate)) for browser in wave]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return led


def takes(browser: Browser, offer: str = "") -> Any:
    return browser.client.post(f"{browser.path}/accept", data={"token": browser.token, "offer": offer or browser.offer})


def rows(rt: Runtime, stage: make.Stage, model: Any) -> list[Any]:
    with rt.transaction(stage.workspace_id) as session:
        return list(session.execute(select(model)).scalars())


def test_of_fifty_sessions_of_one_customer_one_gets_the_offer_and_the_others_read_that_it_is_gone(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    offered(rt, stage, Limits(lifetime=1), "one")
    who = [stage.shapes["monthly"], *subscribed(rt, local, stage, "monthly", 9)]
    browsers = arrived(app, stage, who * 5)
    assert Counter(at_once(browsers, takes)) == {"": 1, "?gone": MANY - 1}
    [choice] = rows(rt, stage, Choice)
    assert [action.choice_id for action in rows(rt, stage, Action)] == [choice.id]
    # The one who got it was in the first wave.
    told = [browser.look(f"{browser.path}?gone") for browser in browsers[:10]]
    assert sum("no longer available" in browser.page for browser in told) == 9
    assert sum("accept" in browser.buttons for browser in told) == 0
    # The loser is free to go on, and to cancel.
    loser = next(browser for browser in told if "no longer available" in browser.page)
    assert {"answer", "skip", "keep"} & loser.buttons


def test_a_month_s_budget_for_seven_admits_seven_of_fifty(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    who = visitors(rt, local, stage, MANY)
    price = local.world(stage.account, False).get("subscription", stage.shapes["monthly"][1])["items"]["data"][0]["price"]["unit_amount"]
    off = price * 20 // 100
    [offer] = offered(rt, stage, Limits(monthly_budget={"usd": 7 * off + off - 1}), "one")
    browsers = arrived(app, stage, who)
    assert Counter(at_once(browsers, takes)) == {"": 7, "?gone": MANY - 7}
    kept = [choice.offer for choice in rows(rt, stage, Choice)]
    assert [(one["id"], one["cost"]) for one in kept] == [(offer, {"amount": off, "currency": "usd"})] * 7
    assert "accept" not in arrived(app, stage, visitors(rt, local, stage, MANY + 1)[-1:])[0].buttons, "it is not even shown any more"
    with rt.transaction(stage.workspace_id) as session:
        made = [offers.get(session, stage.workspace_id, offer).offer]
        spent = {mode: limits.spent(session, stage.workspace_id, mode, made, rt.now()) for mode in ("test", "live")}
    assert spent == {"test": {(offer, "usd"): 7 * off}, "live": {}}, "what was only tried has no part in it"


def test_two_limited_offers_of_one_kind_share_a_cooldown_even_at_the_same_instant(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    first, second = offered(rt, stage, Limits(cooldown_days=30), "one", "two")
    browsers = arrived(app, stage, [stage.shapes["monthly"], *subscribed(rt, local, stage, "monthly", 9)])
    # Half of them have gone on to the second offer.
    for browser in browsers[::2]:
        browser.press("decline", offer=browser.offer)
    assert Counter(browser.offer for browser in browsers) == {first: 5, second: 5}
    assert Counter(at_once(browsers, takes)) == {"": 1, "?gone": 9}


def test_a_link_is_followed_once_for_a_session_and_counts_in_those_that_come_after(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    kept = document.LinkOffer(id="new", headline="Talk to us", accept="Write", decline="No thanks", url="mailto:help@shop.example")
    [once] = opening(rt, stage, kept.model_copy(update={"limits": Limits(lifetime=1)}))
    *browsers, late = arrived(app, stage, [stage.shapes["monthly"], *subscribed(rt, local, stage, "monthly", 5)])
    assert Counter(at_once(browsers, takes)) == {f"/link/{once}": 1, "?gone": 4}
    assert at_once([late], takes) == ["?gone"]
    [winner] = [one for one in browsers if "accept" in one.look().buttons]
    # Whoever has followed it may go by it again, and twice is once.
    assert at_once([winner], takes) == [f"/link/{once}"]
    assert "mailto:help@shop.example" in winner.look(f"{winner.path}/link/{once}").page
    with rt.transaction(stage.workspace_id) as session:
        assert (
            offers.tallies(session, stage.workspace_id, "test", offers.listing(session, stage.workspace_id), rt.now())[once].accepted == 1
        )
    # Another link is another matter, whatever its cooldown.
    [resting] = opening(rt, stage, kept.model_copy(update={"limits": Limits(cooldown_days=30)}))
    [again] = arrived(app, stage, subscribed(rt, local, stage, "monthly", 1))
    assert at_once([again], takes) == [f"/link/{resting}"]
    assert "accept" not in arrived(app, stage, subscribed(rt, local, stage, "monthly", 1))[0].buttons


def test_who_has_a_discount_of_their_own_gets_none_where_that_is_the_limit(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    offered(rt, stage, Limits(not_if_discounted=True), "one")
    customer, subscription = stage.shapes["monthly"]
    now = int(rt.now().timestamp())
    buttons, reach = [], []
    for ends in (None, now + 3600, now - 3600):
        with rt.transaction(stage.workspace_id) as session:
            theirs = {"id": "di_own", "object": "discount", "customer": customer, "source": {"coupon": "STAY20"}, "start": 5, "end": ends}
            session.execute(
                text("update customers set raw = jsonb_set(raw::jsonb, '{discount}', cast(:theirs as jsonb))::json where id = :id"),
                {"theirs": json.dumps(theirs), "id": customer},
            )
            [offer] = [one.offer for one in offers.listing(session, stage.workspace_id) if one.is_on]
            tried = rehearsal.tried(session, stage.workspace_id, stage.connection_id, offer, "test", subscription, rt.now())
        assert tried is not None
        reach.append(tried.made is not None)
        buttons.append("accept" in arrived(app, stage, [(customer, subscription)])[0].buttons)
    assert buttons == reach == [False, False, True]


@pytest.mark.parametrize("on", ["customers", "subscriptions"])
@pytest.mark.parametrize("percent", [100, 20])
def test_who_pays_nothing_by_a_coupon_that_only_the_catalogue_tells_of_is_offered_no_discount(
    app: Flask, rt: Runtime, stage: make.Stage, on: str, percent: int
) -> None:
    offered(rt, stage, Limits(), "one")
    customer, subscription = stage.shapes["monthly"]
    theirs = {"id": "di_own", "object": "discount", "customer": customer, "source": {"coupon": "STAY20"}, "start": 5, "end": None}
    with rt.transaction(stage.workspace_id) as session:
        terms = "update coupons set raw = raw::jsonb || jsonb_build_object('percent_off', cast(:percent as int), 'duration', 'forever')"
        session.execute(text(f"{terms} where id = 'STAY20'"), {"percent": percent})
        if on == "customers":
            given = "update customers set raw = jsonb_set(raw::jsonb, '{discount}', cast(:theirs as jsonb)) where id = :id"
            session.execute(text(given), {"theirs": json.dumps(theirs), "id": customer})
        else:
            given = (
                "update subscriptions set raw = jsonb_set(raw::jsonb, '{items,data,0,discounts}', cast(:theirs as jsonb)) where id = :id"
            )
            session.execute(text(given), {"theirs": json.dumps([theirs]), "id": subscription})
        [offer] = [one.offer for one in offers.listing(session, stage.workspace_id) if one.is_on]
        place = session, stage.workspace_id, stage.connection_id
        tried = rehearsal.tried(*place, offer, "test", subscription, rt.now())
        reach = offers.look(*place, offer, "test", rt.now())
    assert tried is not None
    for_nothing = sum(part.subscriptions for part in reach.refused if part.title == "Nothing to pay")
    is_offered = "accept" in arrived(app, stage, [(customer, subscription)])[0].buttons
    assert (is_offered, tried.made is not None, for_nothing) == ((False, False, 1) if percent == 100 else (True, True, 0))


def test_what_came_to_nothing_gives_its_place_back(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    offered(rt, stage, Limits(lifetime=1), "one")
    customer, subscription = stage.shapes["monthly"]
    [again] = subscribed(rt, local, stage, "monthly", 1)
    first, second = arrived(app, stage, [(customer, subscription), again])
    assert at_once([first], takes) == [""]
    assert at_once([second], takes) == ["?gone"]
    # It ended before the job came to it: failed for good.
    dashboard.change(local, subscription, {"status": "canceled"})
    work.drain(rt, queues.ACTIONS)
    assert [action.state for action in rows(rt, stage, Action)] == ["failed"]
    assert "accept" in second.look().buttons
    assert at_once([second], takes) == [""]


def test_other_customers_never_wait_for_one_another_without_a_budget(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    [offer] = offered(rt, stage, Limits(lifetime=1), "one")
    held, free = arrived(app, stage, visitors(rt, local, stage, 2))
    with rt.transaction(stage.workspace_id) as session:
        limits.hold(session, stage.workspace_id, "test", "cus_visitor0", offers.get(session, stage.workspace_id, offer).offer)
        assert at_once([free], takes) == [""]
    assert at_once([held], takes) == [""]


def test_who_comes_back_each_month_gets_one_discount_a_year_though_the_owner_has_limited_nothing(rt: Runtime, local: LocalStripe) -> None:
    usual = document.USUAL_LIMITS["discount"]
    assert [offer.limits for offer in document.default_flow().offers] == [usual]
    with freeze_time(datetime(2026, 3, 31, 23, 30, tzinfo=UTC), tick=True) as clock:
        stage = make.workspace(rt, local)
        make.read_in(rt)
        app = customers.app(rt)
        once, other = offered(rt, stage, usual, "once")[0], ""
        shown = []
        for month in range(14):
            if month == 6:
                # Another one of the kind, in its place.
                with rt.transaction(stage.workspace_id) as session:
                    offers.switch(session, stage.workspace_id, once, is_on=False, now=rt.now(), by="operator")
                [other] = offered(rt, stage, usual, "other")
            [browser] = arrived(app, stage, [stage.shapes["monthly"]])
            shown.append(browser.offer)
            if browser.offer:
                assert at_once([browser], takes) == [""]
            else:
                browser.press("keep")
            work.drain(rt, queues.ACTIONS)
            clock.move_to(clock() + timedelta(days=30))
    assert shown == [once, *[""] * 12, other]
    assert sorted(choice.offer["id"] for choice in rows(rt, stage, Choice)) == sorted((once, other))


def test_a_budget_begins_anew_with_the_month_in_utc(rt: Runtime, local: LocalStripe) -> None:
    with freeze_time(datetime(2026, 3, 31, 23, 59, tzinfo=UTC), tick=True) as clock:
        stage = make.workspace(rt, local)
        make.read_in(rt)
        app = customers.app(rt)
        first, second, third = visitors(rt, local, stage, 3)
        offered(rt, stage, Limits(monthly_budget={"usd": 600}), "one")
        [one, two] = arrived(app, stage, [first, second])
        assert at_once([one], takes) == [""]
        assert at_once([two], takes) == ["?gone"]
        clock.move_to(datetime(2026, 4, 1, 0, 0, 1, tzinfo=UTC))
        assert at_once([two], takes) == [""]
        assert "accept" not in arrived(app, stage, [third])[0].buttons


def test_while_a_discount_of_an_offer_lasts_the_same_offer_gives_no_other(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    offered(rt, stage, Limits(), "again and again")
    customer, subscription = stage.shapes["monthly"]
    world = local.world(stage.account, False)
    for visit in range(3):
        body = customers.bundle(stage, customer, subscription, at=int(datetime.now(UTC).timestamp()) - 80 * visit)
        path = app.test_client().post("/api/embed/cancel", json=body).get_json()["url"].removeprefix("http://127.0.0.1:8000")
        browser = Browser(client=app.test_client(use_cookies=False), path=path).look()
        assert bool(browser.offer) is (visit == 0)
        if browser.offer:
            at_once([browser], takes)
            work.drain(rt, queues.ACTIONS)
            customers.drain(rt)
    assert len(world.get("subscription", subscription)["discounts"]) == 1
    assert [row.state for row in rows(rt, stage, Action)].count("verified") == 1
