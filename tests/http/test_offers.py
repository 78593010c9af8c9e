"""An offer of each kind, from the page that makes it to what Stripe shows afterwards: what was picked, at the terms that were read."""

import hashlib
import hmac
import html
import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from freezegun import freeze_time
from sqlalchemy import select

from connect_app import preferences
from connect_app.admin import flows
from connect_app.models import Action, Choice, Delivery, Endpoint, FlowSession, Membership, PortalLink, SessionFact, User
from connect_app.runtime import Runtime
from flow_pages import document
from flow_pages.offers import charges
from jobs.outbound import endpoints
from sandbox.stripe import catalogue, context, coupons, previews, seed, shapes, subscriptions
from sandbox.stripe import customers as stripe_customers
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.customers import ORIGIN, Browser

Json = dict[str, Any]
COPY = {"id": "the_offer", "headline": "Stay a while", "accept": "Yes please", "decline": "No thanks"}


@dataclass
class House:
    """A workspace whose default flow makes one offer, before anything else; `shapes` grows by what a test has made."""

    rt: Runtime
    local: LocalStripe
    app: Flask
    stage: make.Stage

    @property
    def stripe(self) -> context.Context:
        """The account's owner at Stripe's dashboard."""
        world = self.local.world(self.stage.account, False)
        return context.Context(local=self.local, world=world, source="dashboard", request_id="req_dashboard")

    def read_in(self) -> None:
        customers.drain(self.rt)
        make.read_in(self.rt)

    def has(self, shape: str) -> tuple[str, str]:
        """A new customer of that shape -> (customer, subscription)."""
        made = shapes.make(self.local, {"account": self.stage.account, "shape": shape})
        return made["customer"], made["subscription"]

    def offers(self, kind: str, **more: Any) -> None:
        offer = {**COPY, "kind": kind, **more}
        flow = {**document.default_flow().as_json(), "survey": None, "offers": [offer], "opening": [offer["id"]]}
        with self.rt.transaction(self.stage.workspace_id) as session:
            flow_id = flows.listing(session, self.stage.workspace_id, "test")[0].id
            flows.publish(session, self.stage.workspace_id, flow_id, document.parse(flow), self.rt.now(), "operator")

    def opened(self, whose: tuple[str, str], **more: Any) -> Browser:
        answer = self.app.test_client().post("/api/embed/cancel", json=customers.bundle(self.stage, *whose, **more))
        assert answer.status_code == 200, answer.json
        path = answer.json["url"].removeprefix("http://127.0.0.1:8000")
        return Browser(client=self.app.test_client(use_cookies=False), path=path).look()

    def take(self, browser: Browser, way: str | None = None) -> Browser:
        """Accept, and see what became of it."""
        browser.press("accept", offer=browser.offer, **({} if way is None else {"way": way}))
        customers.drain(self.rt)
        return browser.look()

    def subscription(self, whose: tuple[str, str]) -> Json:
        return self.stripe.world.get("subscription", whose[1])

    def effects(self, whose: tuple[str, str]) -> list[str]:
        return [effect["kind"] for effect in self.local.effects if effect["subscription"] == whose[1] and effect["source"] == "api"]

    def rows(self, model: Any) -> list[Any]:
        with self.rt.transaction(self.stage.workspace_id) as session:
            return list(session.execute(select(model).order_by(model.id)).scalars())

    def owned(self) -> None:
        with self.rt.transaction(self.stage.workspace_id) as session:
            session.add(User(id="usr_1", email="owner@fernhill.example", created_at=self.rt.now()))
            session.flush()
            session.add(Membership(workspace_id=self.stage.workspace_id, user_id="usr_1", role="owner", created_at=self.rt.now()))

    def told_at(self, url: str, kind: str, topic: str) -> None:
        with self.rt.transaction(self.stage.workspace_id) as session:
            place = session, self.stage.workspace_id, "test"
            endpoints.add(*place, kind=kind, url=url, topics=(topic,), ring=self.rt.ring, now=self.rt.now(), by="usr_1")

    def price(self, amount: int, *, name: str = "Basic", currency: str = "usd", interval: str = "month") -> str:
        product = catalogue.create_product(self.stripe, {"name": name})["id"]
        sold = {"product": product, "currency": currency, "unit_amount": amount, "recurring": {"interval": interval}}
        return str(catalogue.create_price(self.stripe, sold)["id"])


@pytest.fixture
def house(rt: Runtime, local: LocalStripe) -> House:
    seed.plant(local)
    return House(rt=rt, local=local, app=customers.app(rt), stage=make.workspace(rt, local, origins=(ORIGIN,)))


def terms(page: str) -> dict[str, str]:
    """Labels and values of a page's lists."""
    found = re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", page)
    return {html.unescape(label): html.unescape(value) for label, value in found}


def title(browser: Browser) -> str:
    found = re.search(r'<h1 id="title"[^>]*>([^<]+)</h1>', browser.page)
    assert found, browser.page
    return html.unescape(found[1])


def ways(page: str) -> list[tuple[str, bool]]:
    """The values of the ways on the page, and which is chosen."""
    return [(value, bool(checked)) for value, checked in re.findall(r'name="way" value="([^"]+)" form="take"( checked)?', page)]


def day(at: int | datetime) -> str:
    moment = datetime.fromtimestamp(at, UTC) if isinstance(at, int) else at
    return f"{moment:%B} {moment.day}, {moment.year}"


# Pauses and free time.


def test_a_pause_is_made_in_the_length_that_was_picked_and_ended_by_undo(house: House) -> None:
    house.read_in()
    whose = house.stage.shapes["monthly"]
    house.offers("pause", interval="month", count=2, least=1, most=3)
    browser = house.opened(whose)
    assert [value for value, _ in ways(browser.page)] == ["1", "2", "3"]
    assert ("2", True) in ways(browser.page), "the owner's own length is the one that is chosen"
    house.take(browser, way="3")
    paused = house.subscription(whose)["pause_collection"]
    assert paused["behavior"] == "void"
    assert day(paused["resumes_at"]) in browser.page
    assert "is paused until" in browser.page
    assert terms(browser.page)["Next charge"], "the first bill after the pause"
    assert "undo" in browser.buttons
    browser.press("undo")
    assert "goes on" not in browser.page, "nothing is said before Stripe has shown it"
    customers.drain(house.rt)
    browser.look()
    assert "goes on" in browser.page
    assert "undo" not in browser.buttons
    assert house.subscription(whose)["pause_collection"] is None
    assert house.effects(whose) == ["pause", "resume"]


def test_a_pause_that_is_over_is_told_so_and_can_no_longer_be_ended(house: House) -> None:
    house.read_in()
    house.offers("pause", interval="week", count=5)
    browser = house.take(house.opened(house.stage.shapes["monthly"]))
    assert "undo" in browser.buttons
    with house.rt.transaction(house.stage.workspace_id) as session:
        for row in session.execute(select(FlowSession)).scalars():
            row.expires_at = house.rt.now() + timedelta(days=90)
    with freeze_time(timedelta(days=36) + house.rt.now(), tick=True):
        browser.look()
        assert "was paused until" in browser.page
        assert "undo" not in browser.buttons
    assert house.effects(house.stage.shapes["monthly"]) == ["pause"]


def test_an_extension_is_free_time_that_goes_on_being_used(house: House) -> None:
    house.read_in()
    whose = house.stage.shapes["monthly"]
    house.offers("extension", interval="month", count=1)
    browser = house.opened(whose)
    said = terms(browser.page)
    assert said["Bills you do not pay"] == "1"
    house.take(browser)
    assert house.subscription(whose)["pause_collection"]["behavior"] == "mark_uncollectible"
    assert f"is free until {said['Next charge']}" in browser.page, (
        "what is paid for already is not free, and the bill left out is for a month"
    )
    assert "You can go on using it" in browser.page
    assert "undo" in browser.buttons


def test_a_yearly_pause_is_offered_only_where_a_bill_falls_into_it(house: House) -> None:
    whose = house.has("yearly")
    house.read_in()
    house.offers("pause", interval="month", count=2)
    assert "confirm" in house.opened(whose).buttons, "two months would change nothing about a plan that renews in a year"
    house.offers("pause", interval="month", count=13)
    browser = house.opened(whose, at=int(time.time()) - 20)
    assert terms(browser.page)["Bills that are left out"] == "1"
    house.take(browser)
    resumes_at = house.subscription(whose)["pause_collection"]["resumes_at"]
    assert resumes_at > house.subscription(whose)["items"]["data"][0]["current_period_end"]
    assert day(resumes_at) in browser.page
    [link] = house.rows(PortalLink)
    assert link.expires_at.timestamp() >= resumes_at, "the letter's link is good for as long as there is something to undo"


def test_a_longer_trial_moves_the_first_charge(house: House) -> None:
    house.read_in()
    whose = house.stage.shapes["trialing"]
    before = house.subscription(whose)["trial_end"]
    house.offers("trial_extension", days=10)
    browser = house.opened(whose)
    until = before + 10 * 86400
    assert terms(browser.page) == {"Your trial then runs until": day(until), "Next charge": terms(browser.page)["Next charge"]}
    assert day(until) in terms(browser.page)["Next charge"]
    house.take(browser)
    assert house.subscription(whose)["trial_end"] == until
    assert "Your trial is longer" in browser.page
    assert terms(browser.page)["Next charge"] == f"$29.00 on {day(until)}"


# Plans.


def test_a_plan_change_applies_the_plan_that_the_customer_picked_with_the_quantity_they_had(house: House) -> None:
    whose = house.has("monthly")
    item = house.subscription(whose)["items"]["data"][0]["id"]
    subscriptions.update(house.stripe, whose[1], {"items": [{"id": item, "quantity": 4}], "proration_behavior": "none"})
    basic, smallest = house.price(900, name="Basic"), house.price(400, name="Smallest")
    house.read_in()
    house.offers("plan_change", prices={"test": [basic, smallest]}, when="now", proration="none")
    browser = house.opened(whose)
    assert ways(browser.page) == [(basic, True), (smallest, False)]
    assert "Next charge: $36.00 on" in browser.page
    assert "Next charge: $16.00 on" in browser.page
    house.take(browser, way=smallest)
    [line] = house.subscription(whose)["items"]["data"]
    assert (line["price"]["id"], line["quantity"]) == (smallest, 4)
    assert "You are on Smallest now" in browser.page
    assert house.effects(whose) == ["plan_change"]
    [choice] = house.rows(Choice)
    assert (choice.offer["picked"], choice.offer["price"]) == (smallest, smallest)


def test_a_change_to_a_smaller_plan_that_is_billed_at_once_is_told_as_the_credit_that_it_is(house: House) -> None:
    whose, smaller = house.has("monthly"), house.price(900)
    house.read_in()
    house.offers("plan_change", prices={"test": [smaller]}, when="now", proration="always_invoice")
    browser = house.opened(whose)
    told = re.fullmatch(r"None today: \$([0-9.]+) is credited to you", terms(browser.page)["Next charge"])
    assert told is not None
    house.take(browser)
    assert f"${told[1]} was credited to your account." in browser.page


def test_a_plan_change_of_the_next_period_is_told_as_coming(house: House) -> None:
    whose = house.has("monthly")
    old = house.subscription(whose)["items"]["data"][0]["price"]["id"]
    basic = house.price(900)
    house.read_in()
    house.offers("plan_change", prices={"test": [basic]}, when="period_end")
    browser = house.opened(whose)
    renews = house.subscription(whose)["items"]["data"][0]["current_period_end"]
    assert terms(browser.page)["Next charge"] == f"$9.00 on {day(renews)}"
    house.take(browser)
    assert title(browser) == "Thank you for staying"
    assert f"You change to Basic on {day(renews)}" in browser.page
    assert house.subscription(whose)["items"]["data"][0]["price"]["id"] == old, "until then they have what they had"
    schedule = house.stripe.world.get("subscription_schedule", house.subscription(whose)["schedule"])
    assert [phase["items"][0]["price"] for phase in schedule["phases"]] == [old, basic]


# Discounts.


def test_a_discount_keeps_the_discounts_that_were_there_and_its_price_is_told_exactly(house: House) -> None:
    whose = house.has("discounted")
    had = set(house.subscription(whose)["discounts"])
    house.read_in()
    house.offers("discount", coupons={"test": "LOYAL15"})
    browser = house.opened(whose)
    told = terms(browser.page)["Next charge"]
    house.take(browser)
    assert "Your discount on" in browser.page
    now = set(house.subscription(whose)["discounts"])
    assert had < now
    assert len(now) == len(had) + 1
    assert re.fullmatch(r"\$[0-9.]+ on .+", told)
    charged = previews.create(house.stripe, {"subscription": whose[1]})["amount_due"]
    assert told.startswith(f"${charged / 100:.2f} "), "what the page told is what the next bill comes to"


def test_a_discount_on_one_bill_is_said_once_before_and_after(house: House) -> None:
    house.read_in()
    house.offers("discount", coupons={"test": "HALFOFF"})
    browser = house.opened(house.stage.shapes["monthly"])
    before = terms(browser.page)
    house.take(browser)
    assert "You pay about" not in before
    assert "You pay about" not in browser.page
    assert before["Next charge"] in browser.page


def test_a_coupon_of_one_repeating_month_lowers_the_next_bill_alone(house: House) -> None:
    coupons.create(house.stripe, {"id": "MONTH", "percent_off": 50, "duration": "repeating", "duration_in_months": 1})
    house.read_in()
    whose = house.stage.shapes["monthly"]
    house.offers("discount", coupons={"test": "MONTH"})
    browser = house.opened(whose)
    assert terms(browser.page)["For"] == "1 month"
    house.take(browser)
    assert "Your discount on" in browser.page
    [discount] = house.subscription(whose)["discounts"]
    kept = house.stripe.world.get("discount", discount)
    assert kept["end"] > house.subscription(whose)["items"]["data"][0]["current_period_end"]


@pytest.mark.parametrize(
    ("shape", "off", "less", "pays"),
    [("jpy", 500, "¥500", "About ¥2,400"), ("kwd", 1500, "KWD\N{NO-BREAK SPACE}1.500", "About KWD\N{NO-BREAK SPACE}7.500")],
)
def test_a_discount_of_the_customer_s_own_is_made_in_a_currency_of_no_or_of_three_decimals(
    house: House, shape: str, off: int, less: str, pays: str
) -> None:
    whose = house.has(shape)
    house.read_in()
    house.offers("discount", mint={"amounts": {shape: off}, "duration": "once"})
    browser = house.opened(whose)
    assert terms(browser.page)["You save"] == less
    assert terms(browser.page)["Next charge"].startswith(pays), "a coupon that is yet to be made cannot be asked for"
    house.take(browser)
    assert "Your discount on" in browser.page
    [discount] = house.subscription(whose)["discounts"]
    coupon = house.stripe.world.get("coupon", house.stripe.world.get("discount", discount)["source"]["coupon"])
    assert (coupon["amount_off"], coupon["currency"], coupon["max_redemptions"]) == (off, shape, 1)


@pytest.mark.parametrize(("shape", "exact"), [("jpy", "¥1,450 on"), ("kwd", "KWD\N{NO-BREAK SPACE}4.500 on")])
def test_the_exact_next_charge_is_told_in_a_currency_of_no_or_of_three_decimals(house: House, shape: str, exact: str) -> None:
    whose = house.has(shape)
    house.read_in()
    house.offers("discount", coupons={"test": "HALFOFF"})
    assert terms(house.opened(whose).page)["Next charge"].startswith(exact)


# The next charge, and a Stripe that does not answer.


def test_the_next_charge_counts_in_what_only_stripe_knows(house: House) -> None:
    whose = house.has("monthly")
    stripe_customers.update(house.stripe, whose[0], {"balance": -500})
    house.read_in()
    house.offers("discount", coupons={"test": "HALFOFF"})
    assert terms(house.opened(whose).page)["Next charge"].startswith("$9.50 on"), "half of 29.00, and 5.00 of credit"
    assert {"invoices/create_preview"} <= {request["path"].removeprefix("/v1/") for request in house.local.requests}


def test_a_past_due_customer_reads_what_is_asked_for_before_the_renewal(house: House) -> None:
    whose = house.has("past_due")
    house.read_in()
    house.offers("discount", coupons={"test": "HALFOFF"})
    browser = house.opened(whose)
    assert terms(browser.page)["Still open"] == "$29.00", "the discount does not make it less"
    assert terms(browser.page)["Next charge"].startswith("$14.50 on")
    house.take(browser)
    assert (terms(browser.page)["Still open"], terms(browser.page)["Next charge"][:6]) == ("$29.00", "$14.50")
    on_time = house.has("monthly")
    house.read_in()
    assert "Still open" not in terms(house.opened(on_time).page)


@pytest.mark.parametrize("kind", ["500", "reset", "429", "slow"])
def test_a_page_is_drawn_with_about_what_it_costs_where_stripe_does_not_say_in_time(house: House, kind: str) -> None:
    whose = house.has("monthly")
    house.read_in()
    house.offers("discount", coupons={"test": "HALFOFF"})
    browser = house.opened(whose)
    assert terms(browser.page)["Next charge"].startswith("$14.50 on")
    house.local.faults.add({"path": "*create_preview", "kind": kind, **({"seconds": 1.4} if kind == "slow" else {})})
    began = time.monotonic()
    browser.look()
    took = time.monotonic() - began
    assert terms(browser.page)["Next charge"].startswith("About $14.50 on")
    assert {"accept", "decline"} <= browser.buttons
    assert took < charges.BUDGET_SECONDS + 2, "on a busy machine; Stripe itself was waited for no longer than the budget"


def test_a_glance_of_a_scanner_asks_stripe_nothing(house: House) -> None:
    house.read_in()
    house.offers("discount", coupons={"test": "HALFOFF"})
    browser = house.opened(house.stage.shapes["monthly"])
    asked = len(house.local.requests)
    browser.look(**{"Sec-Purpose": "prefetch"})
    house.app.test_client().head(browser.path)
    assert len(house.local.requests) == asked
    assert terms(browser.page)["Next charge"].startswith("About ")


# What the business keeps itself.


def test_a_link_is_counted_and_leads_out_signed_and_the_session_stays_open(house: House) -> None:
    house.read_in()
    whose = house.stage.shapes["monthly"]
    house.offers("link", url="https://help.example/talk?plan={{ plan_name }}&who={{ customer_id }}#now", is_signed=True)
    browser = house.opened(whose)
    browser.press("accept", offer=browser.offer)
    assert browser.response is not None
    assert browser.response.request.path == f"{browser.path}/link/the_offer"
    found = re.search(r'href="(https://help[^"]+)" rel="noreferrer" target="_top"', browser.page)
    assert found, browser.page
    url = html.unescape(found[1])
    assert url.endswith("#now")
    signed, _, signature = url.removesuffix("#now").rpartition("&holdfast_signature=")
    assert signature == hmac.new(house.stage.embed_secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    query = parse_qs(urlsplit(signed).query)
    assert (query["who"], query["holdfast_customer"], query["holdfast_subscription"]) == ([whose[0]], [whose[0]], [whose[1]])
    assert abs(int(query["holdfast_timestamp"][0]) - time.time()) < 60
    [row] = house.rows(FlowSession)
    assert (row.state, query["holdfast_session"]) == ("open", [row.id])
    assert [fact.data for fact in house.rows(SessionFact) if fact.kind == "offer.taken"] == [{"offer": "the_offer", "mode": "test"}]
    assert house.rows(Choice) == []
    browser.look().press("decline", offer="the_offer")
    assert "confirm" in browser.buttons, "and the flow goes on"
    astray = house.app.test_client().get(f"{browser.path}/link/another")
    assert (astray.status_code, astray.headers["Location"]) == (303, f"{browser.path}?gone")


def test_a_link_may_be_a_letter_and_nothing_but_these_two(house: House) -> None:
    house.read_in()
    house.offers("link", url="mailto:help@shop.example?subject=About%20{{ plan_name }}", is_signed=True)
    browser = house.opened(house.stage.shapes["monthly"])
    browser.press("accept", offer=browser.offer)
    found = re.search(r'href="(mailto:[^"]+)"', browser.page)
    assert found, browser.page
    assert re.fullmatch(r"mailto:help@shop\.example\?subject=About%20[A-Za-z0-9%._-]+", found[1])


def test_a_way_out_whose_secret_cannot_be_opened_any_more_leaves_the_page_as_it_is(house: House) -> None:
    house.read_in()
    whose = house.stage.shapes["monthly"]
    house.offers("custom")
    house.told_at(f"{ORIGIN}/thanks", "redirect", "accept")
    browser = house.opened(whose)
    browser.press("accept", offer=browser.offer)
    assert f'href="{ORIGIN}/thanks?' in browser.look().page
    with house.rt.transaction(house.stage.workspace_id) as session:
        # As after its key was taken out of HOLDFAST_SECRET_KEYS, or by who writes into the table.
        [endpoint] = session.execute(select(Endpoint)).scalars()
        endpoint.sealed = endpoint.sealed[:-1] + bytes([endpoint.sealed[-1] ^ 1])
    assert title(browser.look()) == "We have passed this on"
    assert "/thanks?" not in browser.page


def test_a_custom_offer_is_a_choice_that_the_business_is_told_of_and_stripe_is_not(house: House) -> None:
    house.read_in()
    whose = house.stage.shapes["monthly"]
    house.offers("custom", payload={"seats": "two more", "until": "summer"})
    house.owned()
    house.told_at("https://hooks.shop.example/in", "webhook", "offer.accepted")
    house.told_at("https://hooks.shop.example/of/{{ offer_id }}?who={{ customer_id }}", "call", "accept")
    browser = house.opened(whose)
    browser.press("accept", offer=browser.offer)
    assert title(browser) == "We have passed this on"
    assert "Stay a while" in browser.page
    assert "has been told" in browser.page
    assert browser.buttons == set()
    assert house.rows(Action) == []
    assert house.effects(whose) == []
    told = {row.kind: row.payload for row in house.rows(Delivery)}
    letters = {row.topic.rpartition("/")[2]: row.payload for row in house.rows(Delivery) if row.kind == "email"}
    [choice] = house.rows(Choice)
    assert told["call"]["url"] == f"https://hooks.shop.example/of/the_offer?who={whose[0]}&holdfast_action={choice.id}"
    assert json.loads(told["webhook"]["body"])["data"]["payload"] == {"seats": "two more", "until": "summer"}
    to_customer, [to_owner] = letters.pop("received"), letters.values()
    assert to_owner["to"] == "owner@fernhill.example"
    assert whose[0] in to_owner["text"]
    assert "You have accepted: Stay a while" in to_customer["text"]
    assert "has not been changed" in to_customer["text"]


# What became of it, where it is not done.


@pytest.mark.parametrize("how", ["offer", "workspace"])
def test_what_the_business_s_own_system_does_is_asked_for_and_never_said_to_be_done(house: House, how: str) -> None:
    house.read_in()
    whose = house.stage.shapes["monthly"]
    house.offers("pause", interval="month", count=2, **({"by": "business"} if how == "offer" else {}))
    if how == "workspace":
        with house.rt.transaction(house.stage.workspace_id) as session:
            preferences.save(session, house.stage.workspace_id, "manage_offers", False, house.rt.now())
    house.told_at("https://hooks.shop.example/in", "webhook", "offer.accepted")
    browser = house.take(house.opened(whose))
    assert "has been asked to do this. Nothing has been changed yet." in html.unescape(browser.page)
    assert "is paused" not in browser.page
    assert "undo" not in browser.buttons
    assert house.effects(whose) == []
    [action] = house.rows(Action)
    assert (action.state, action.code) == ("requested", "yours")
    [told] = [json.loads(row.payload["body"])["data"] for row in house.rows(Delivery) if row.kind == "webhook"]
    assert told["duration"] == {"count": 2, "interval": "month"}
    assert datetime.fromtimestamp(told["resumes_at"], UTC) == datetime.fromisoformat(action.intent["resumes_at"])


def test_an_offer_that_stripe_will_not_have_is_with_the_team_and_one_for_what_has_ended_failed(house: House) -> None:
    whose, ended = house.has("monthly"), house.has("monthly")
    house.read_in()
    house.offers("discount", coupons={"test": "HALFOFF"})
    browser, other = house.opened(whose), house.opened(ended)
    browser.press("accept", offer=browser.offer)
    other.press("accept", offer=other.offer)
    assert "We are on it" in browser.page
    assert "refresh" in browser.page.lower()
    coupons.delete(house.stripe, "HALFOFF", {})
    subscriptions.cancel(house.stripe, ended[1], {})
    customers.drain(house.rt)
    browser.look()
    assert "with the team" in browser.page
    assert "is active" not in browser.page
    other.look()
    assert title(other) == "This could not be done"
    assert "is active" not in other.page


def test_a_way_that_nobody_offered_is_no_longer_available(house: House) -> None:
    house.read_in()
    house.offers("pause", interval="month", count=2, least=1, most=3)
    browser = house.opened(house.stage.shapes["monthly"])
    for way in ("9", "", "month"):
        browser.press("accept", offer=browser.offer, way=way)
        assert "no longer available" in browser.page
    assert house.rows(Choice) == []


# Around it.


def test_a_paused_customer_may_resume_instead_of_canceling(house: House) -> None:
    paused, at_stripe = house.has("paused_void"), house.has("paused")
    house.read_in()
    house.offers("discount", coupons={"test": "HALFOFF"})
    for whose in (paused, at_stripe):
        browser = house.opened(whose)
        assert {"undo", "confirm"} <= browser.buttons
        assert "Resume my subscription" in browser.page
        browser.press("undo")
        customers.drain(house.rt)
        browser.look(f"{browser.path}?at=undo")
        assert "goes on" in browser.page
        found = house.subscription(whose)
        assert (found["status"], found["pause_collection"]) == ("active", None)
        browser.look()
        assert "accept" in browser.buttons, "and the flow is open as before"
        assert "Resume my subscription" not in browser.page


def test_an_image_is_shown_from_its_own_origin_and_from_no_other(house: House) -> None:
    house.read_in()
    house.offers("link", url="https://help.example/", image="https://pictures.example/a/b.png", image_alt="Two people at a table")
    browser = house.opened(house.stage.shapes["monthly"])
    assert browser.response is not None
    assert '<img src="https://pictures.example/a/b.png" alt="Two people at a table">' in browser.page
    assert "img-src 'self' data: https://pictures.example;" in browser.response.headers["Content-Security-Policy"]
    browser.press("skip")
    assert "img-src 'self' data:;" in browser.response.headers["Content-Security-Policy"]


def test_the_letter_tells_what_when_and_what_is_next_and_leads_to_where_it_can_be_taken_back(house: House) -> None:
    house.read_in()
    house.owned()
    house.offers("pause", interval="month", count=2)
    house.take(house.opened(house.stage.shapes["monthly"]))
    [letter] = [row.payload for row in house.rows(Delivery) if row.kind == "email"]
    resumes_at = house.subscription(house.stage.shapes["monthly"])["pause_collection"]["resumes_at"]
    assert f"is paused until {day(resumes_at)}" in letter["subject"]
    assert "The next charge is on" in letter["text"]
    assert "{link}" in letter["text"]
    assert "{portal}" not in letter["text"]
    [link] = house.rows(PortalLink)
    assert (letter["link"]["row_id"], letter["link"]["path"]) == (link.id, "/portal/{token}")
