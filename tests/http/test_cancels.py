"""Cancels as the owner wants them and as the customer reads them: when, which subscriptions, and what becomes of what is owed."""

import dataclasses
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from flask import Flask
from freezegun import freeze_time
from sqlalchemy import select, update

from connect_app import preferences
from connect_app.admin import flows
from connect_app.models import Action, Delivery, Subscription
from connect_app.runtime import Runtime
from flow_pages.document import CancelOptions
from jobs import actions
from sandbox.stripe import dashboard as stripes_own
from sandbox.stripe import shapes
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.customers import ORIGIN, Browser, bundle, handed_over
from tests.http import dashboard

CONFIRMED = {"feedback": "unused", "comment": "I moved"}


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    staged = make.workspace(rt, local, origins=(ORIGIN,))
    make.read_in(rt)
    return staged


@pytest.fixture
def app(rt: Runtime) -> Flask:
    return customers.app(rt)


def wants(rt: Runtime, stage: make.Stage, **options: Any) -> None:
    """What the owner has set up."""
    with rt.transaction(stage.workspace_id) as session:
        for option, value in options.items():
            name = cast(preferences.Name, option if option == "manage_cancels" else f"cancel_{option}")
            preferences.save(session, stage.workspace_id, name, value, rt.now())


def asked(rt: Runtime, stage: make.Stage) -> dict[str, Action]:
    with rt.transaction(stage.workspace_id) as session:
        return {action.subscription: action for action in session.execute(select(Action).order_by(Action.id)).scalars()}


def both(local: LocalStripe, stage: make.Stage) -> tuple[str, str]:
    """The two subscriptions of the customer who has two: the one that is handed over, and the other."""
    customer, this = stage.shapes["two_subscriptions"]
    return this, next(one["id"] for one in stripe(local, stage).all("subscription") if one["customer"] == customer and one["id"] != this)


def stripe(local: LocalStripe, stage: make.Stage) -> Any:
    return local.world(stage.account, False)


def shown(local: LocalStripe, stage: make.Stage, subscription: str) -> Any:
    return stripe(local, stage).find("subscription", subscription)


def told(page: str) -> str:
    """The word for what a confirm page says, which its form sends along."""
    found = re.search(r'name="told" value="([^"]+)"', page)
    assert found, page
    return found[1]


def at_confirm(app: Flask, stage: make.Stage, shape: str) -> Browser:
    browser = handed_over(app, stage, shape).look().press("answer", reason="unused", comment="I moved")
    return browser if "confirm" in browser.buttons else browser.press("skip")


# One or all.


def test_all_of_a_customers_subscriptions_end_by_one_choice_with_a_line_and_an_undo_for_each(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    wants(rt, stage, scope="all")
    this, other = both(local, stage)
    browser = at_confirm(app, stage, "two_subscriptions")
    assert re.search(r'value="all" checked', browser.page)
    assert "Both of my subscriptions" in browser.page
    browser.press("confirm", scope="all", told=told(browser.page))
    assert "We are on it" in browser.page
    customers.drain(rt)
    browser.look()
    assert browser.page.count("is canceled</h2>") == 2
    assert browser.page.count('/undo"') == 2
    for subscription in (this, other):
        found = shown(local, stage, subscription)
        assert found["cancel_at_period_end"] is True
        assert {name: found["cancellation_details"][name] for name in CONFIRMED} == CONFIRMED
    with rt.transaction(stage.workspace_id) as session:
        letters = session.execute(select(Delivery).where(Delivery.topic.like("action/%/settled"))).scalars().all()
    assert len(letters) == 2
    # The second is kept after all; nobody else's can be named.
    stranger = stage.shapes["monthly"][1]
    browser.press("undo", subscription=stranger)
    browser.look().press("undo", subscription=other)
    customers.drain(rt)
    browser.look()
    assert "This is how it stands now" in browser.page
    assert shown(local, stage, this)["cancel_at_period_end"] is True
    assert shown(local, stage, other)["cancel_at_period_end"] is False
    assert stranger not in asked(rt, stage)


def test_the_customer_may_end_this_one_alone_whatever_the_owner_has_picked_beforehand(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    wants(rt, stage, scope="all")
    this, other = both(local, stage)
    browser = at_confirm(app, stage, "two_subscriptions")
    browser.press("confirm", scope="this", told=told(browser.page))
    customers.drain(rt)
    assert list(asked(rt, stage)) == [this]
    assert shown(local, stage, other)["cancel_at_period_end"] is False


def test_one_that_has_a_change_under_way_follows_it_and_has_a_line_that_says_so(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    customer, _ = stage.shapes["two_subscriptions"]
    this, other = both(local, stage)
    with rt.transaction(stage.workspace_id) as session:
        actions.ask(
            session, workspace_id=stage.workspace_id, mode="test", connection_id=stage.connection_id, customer=customer, subscription=other,
            verb="pause", intent={"resumes_at": (rt.now() + timedelta(days=60)).replace(microsecond=0).isoformat()}, now=rt.now(),
        )  # fmt: skip
    browser = at_confirm(app, stage, "two_subscriptions")
    browser.press("confirm", scope="all", told=told(browser.page))
    assert (asked(rt, stage)[other].state, asked(rt, stage)[other].code) == ("requested", "under_way")
    with freeze_time(rt.now() + timedelta(seconds=25), tick=True):
        assert "An earlier change of this subscription is still on its way. Yours follows it." in browser.look().page
    customers.drain(rt)
    with freeze_time(rt.now() + timedelta(seconds=3), tick=True):
        customers.drain(rt)
    assert {subscription: action.state for subscription, action in asked(rt, stage).items()} == {this: "verified", other: "verified"}
    assert asked(rt, stage)[other].verb == "cancel"
    assert shown(local, stage, other)["cancel_at_period_end"] is True
    assert shown(local, stage, other)["pause_collection"] is not None
    assert browser.look().page.count("is canceled</h2>") == 2


def test_of_two_of_which_one_is_gone_at_stripe_the_page_never_says_that_all_is_done(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    _, other = both(local, stage)
    browser = at_confirm(app, stage, "two_subscriptions")
    word = told(browser.page)
    stripe(local, stage).table("subscription").pop(other)
    browser.press("confirm", scope="all", told=word)
    customers.drain(rt)
    browser.look()
    assert "Not all of this is done" in browser.page
    assert browser.page.count("is canceled</h2>") == 1
    assert "Your request is with the team" in browser.page


# What the customer reads is what is done.


def test_now_with_invoice_proration_and_void_is_said_done_and_told(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    wants(rt, stage, when="now", invoice_now=True, prorate=True, open_invoices="void")
    subscription = stage.shapes["past_due"][1]
    browser = at_confirm(app, stage, "past_due")
    said = dashboard.said(browser.page)
    assert "It ends at once, when you confirm." in said
    assert "instead of renewing" not in said
    assert "you then no longer owe what is open" in said
    assert "Open invoices Voided: you no longer owe them" in said
    assert "Charges not billed yet Billed at once, on a last invoice" in said
    browser.press("confirm", told=told(browser.page))
    intent = asked(rt, stage)[subscription].intent
    assert {name: intent[name] for name in ("when", "invoice_now", "prorate", "open_invoices")} == {
        "when": "now", "invoice_now": True, "prorate": True, "open_invoices": "void",
    }  # fmt: skip
    customers.drain(rt)
    found = shown(local, stage, subscription)
    assert found["status"] == "canceled"
    assert {name: found["cancellation_details"][name] for name in CONFIRMED} == CONFIRMED
    open_ones = [
        one for one in stripe(local, stage).all("invoice") if one["parent"]["subscription_details"]["subscription"] == subscription
    ]
    assert "void" in {one["status"] for one in open_ones}
    assert "open" not in {one["status"] for one in open_ones}
    said = dashboard.said(browser.look().page)
    assert "What was open has been voided: you no longer owe it." in said
    assert "Nothing was left to bill." in said
    assert "undo" not in browser.buttons
    with rt.transaction(stage.workspace_id) as session:
        letter = session.execute(select(Delivery).where(Delivery.topic.like("action/%/settled"))).scalar_one()
    assert "you no longer owe it" in letter.payload["text"]


def test_now_without_invoice_or_proration_says_that_nothing_is_paid_back(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    wants(rt, stage, when="now")
    said = dashboard.said(at_confirm(app, stage, "monthly").page)
    assert "Ends At once, when you confirm" in said
    assert "Paid time that is left Not paid back" in said
    assert "Charges not billed yet Not billed" in said


def test_usage_is_billed_at_the_end_or_at_once_or_not_as_the_page_says(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    made = shapes.make(local, {"account": stage.account, "shape": "metered"})
    staged = dataclasses.replace(stage, shapes={"metered": (made["customer"], made["subscription"])})
    browser = at_confirm(app, staged, "metered")
    assert "Renewal None, only a last bill for your usage until then" in dashboard.said(browser.page)
    wants(rt, stage, when="now")
    assert "Usage and charges not billed yet Not billed" in dashboard.said(browser.look().page)
    wants(rt, stage, invoice_now=True)
    assert "Usage and charges not billed yet Billed at once, on a last invoice" in dashboard.said(browser.look().page)
    browser.press("confirm", told=told(browser.page))
    customers.drain(rt)
    [ending] = [one for one in local.requests if one["method"] == "DELETE"]
    assert "invoice_now=true" in ending["form"]
    assert "prorate=false" in ending["form"]
    assert "Nothing was left to bill." in browser.look().page


def test_what_has_changed_since_the_page_was_read_is_read_again_and_nothing_is_canceled(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    browser = at_confirm(app, stage, "monthly")
    word = told(browser.page)
    wants(rt, stage, when="now")
    browser.press("confirm", told=word)
    assert "Something has changed since you opened this page" in browser.page
    assert "At once, when you confirm" in browser.page
    assert asked(rt, stage) == {}
    browser.press("confirm", told=told(browser.page))
    assert asked(rt, stage)[stage.shapes["monthly"][1]].intent["when"] == "now"


def test_a_flows_own_options_take_the_place_of_the_workspaces(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    wants(rt, stage, when="now", open_invoices="void")
    with rt.transaction(stage.workspace_id) as session:
        present = flows.default_document(session, stage.workspace_id)
        own = present.model_copy(update={"cancel": CancelOptions(when="period_end", open_invoices="keep")})
        [default] = [one for one in flows.listing(session, stage.workspace_id, "test") if one.kind == "default"]
        flows.publish(session, stage.workspace_id, default.id, own, rt.now(), "operator")
    browser = at_confirm(app, stage, "past_due")
    assert "None, but what is open stays due" in browser.page
    browser.press("confirm", told=told(browser.page))
    intent = asked(rt, stage)[stage.shapes["past_due"][1]].intent
    assert (intent["when"], intent["open_invoices"]) == ("period_end", "keep")


def test_what_the_business_cancels_itself_is_requested_with_all_that_was_confirmed(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    wants(rt, stage, when="now", prorate=True, manage_cancels=False)
    browser = at_confirm(app, stage, "monthly")
    browser.press("confirm", told=told(browser.page))
    action = asked(rt, stage)[stage.shapes["monthly"][1]]
    assert (action.state, action.code) == ("requested", "yours")
    assert (action.intent["when"], action.intent["prorate"], action.intent["comment"]) == ("now", True, "I moved")
    assert "has been asked to do this" in browser.page


def test_a_subscription_that_was_canceled_elsewhere_meanwhile_counts_as_done(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    browser = at_confirm(app, stage, "monthly")
    subscription = stage.shapes["monthly"][1]
    stripes_own.change(local, subscription, {"cancel_at_period_end": True})
    before = len(local.effects)
    browser.press("confirm")
    customers.drain(rt)
    assert "is canceled" in browser.look().page
    assert asked(rt, stage)[subscription].state == "verified"
    assert len(local.effects) == before


def test_what_was_planned_for_later_is_said_to_be_given_up_and_not_to_come_back(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    browser = at_confirm(app, stage, "scheduled")
    browser.press("confirm")
    customers.drain(rt)
    assert "What was planned for later is given up with it." in browser.look().page
    browser.press("undo")
    customers.drain(rt)
    page = browser.look().page
    assert "does not come back" in page
    assert "Nothing else has changed" not in page
    with rt.transaction(stage.workspace_id) as session:
        found = session.execute(select(Delivery).where(Delivery.topic.like("action/%/settled")).order_by(Delivery.id)).scalars().all()
    assert ["given up with it" in letter.payload["text"] for letter in found] == [True, False]
    assert ["does not come back" in letter.payload["text"] for letter in found] == [False, True]
    # Who had nothing planned loses nothing.
    browser = at_confirm(app, stage, "monthly").press("confirm")
    customers.drain(rt)
    assert "given up" not in browser.look().page
    browser.press("undo")
    customers.drain(rt)
    assert "Nothing else has changed" in browser.look().page


def test_a_cancel_that_was_taken_back_at_stripe_is_not_told_as_if_it_held(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    browser = at_confirm(app, stage, "monthly").press("confirm")
    customers.drain(rt)
    assert "undo" in browser.look().buttons
    with rt.transaction(stage.workspace_id) as session:
        [mine] = session.execute(select(Subscription).where(Subscription.id == stage.shapes["monthly"][1])).scalars()
        mine.raw, mine.as_of = {**mine.raw, "cancel_at_period_end": False, "cancel_at": None}, rt.now() + timedelta(seconds=5)
    page = browser.look().page
    assert "that has been taken back since" in page
    assert "This is how it stands now" in page
    assert "undo" not in browser.buttons


def test_who_still_owes_for_what_has_ended_is_not_told_that_nothing_more_is_charged(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    for shape, is_owing in (("past_due", True), ("monthly", False)):
        with rt.transaction(stage.workspace_id) as session:
            [mine] = session.execute(select(Subscription).where(Subscription.id == stage.shapes[shape][1])).scalars()
            mine.raw = {**mine.raw, "status": "canceled", "ended_at": int(rt.now().timestamp())}
        page = handed_over(app, stage, shape).look().page
        assert "There is nothing left to cancel" in page
        assert ("an invoice that is open stays due" in page, "nothing more is charged" in page) == (is_owing, not is_owing)


# The dashboard's side.


def test_setup_keeps_what_the_owner_picks_and_closes(rt: Runtime, stage: make.Stage) -> None:
    owner = dashboard.member(dashboard.app(rt), rt, stage)
    picked = {"cancel_when": "now", "cancel_scope": "all", "cancel_open_invoices": "void", "cancel_prorate": "y", "enrichment": "y"}
    answer = owner.post("/settings", save_interval_days="30", close="1", **picked)
    assert answer.location == f"/admin/{stage.slug}/"
    with rt.transaction(stage.workspace_id) as session:
        kept = preferences.read(session, stage.workspace_id)
    assert (kept.cancel_when, kept.cancel_scope, kept.cancel_open_invoices) == ("now", "all", "void")
    assert (kept.cancel_prorate, kept.cancel_invoice_now, kept.manage_offers, kept.manage_cancels) == (True, False, False, False)
    page = owner.get("/settings")
    assert re.search(r'name="cancel_when" value="now" checked', page)
    assert owner.post("/settings", **{**picked, "cancel_when": "tomorrow"}).status_code == 422
    assert "Setup" in dashboard.said(owner.get("/settings/audit"))


def test_the_queue_says_what_was_confirmed_and_keeps_what_is_the_businesss_own_apart(
    rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    app = dashboard.app(rt)
    owner = dashboard.member(app, rt, stage)
    assert "Nothing is overdue" in owner.get("/queue?show=overdue")
    wants(rt, stage, when="now", prorate=True, open_invoices="void")
    at_confirm(app, stage, "monthly").press("confirm")
    stripe(local, stage).table("subscription").pop(stage.shapes["monthly"][1])
    customers.drain(rt)
    wants(rt, stage, manage_cancels=False)
    at_confirm(app, stage, "yearly").press("confirm")
    said = dashboard.said(owner.get("/queue"))
    assert "To do 1 Overdue 0 Your own system 1" in said
    assert "Cancel now for" in said
    assert "Unused time Prorate Open invoices Void Reason unused Comment I moved" in said
    assert stage.shapes["yearly"][1] not in said
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(Action).values(due_on=rt.now() - timedelta(hours=1)))
    assert "Overdue: the renewal has passed" in dashboard.said(owner.get("/queue?show=overdue"))
    said = dashboard.said(owner.get("/queue?show=yours"))
    assert stage.shapes["yearly"][1] in said
    assert stage.shapes["monthly"][1] not in said
    assert "Your own system does this" in said


# A7: the renewal was quicker.


def test_a_renewal_between_choice_and_write_is_left_to_the_team_with_its_invoice(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    subscription = stage.shapes["monthly"][1]
    browser = at_confirm(app, stage, "monthly")
    browser.press("confirm", told=told(browser.page))
    renews = shown(local, stage, subscription)["items"]["data"][0]["current_period_end"]
    assert asked(rt, stage)[subscription].intent["renews_at"] == datetime.fromtimestamp(renews, UTC).isoformat()
    local.clock.advance(renews - local.clock.now() + 7200)
    customers.drain(rt)
    action = asked(rt, stage)[subscription]
    assert (action.state, action.code) == ("manual", "renewed_meanwhile")
    assert action.message is not None
    assert shown(local, stage, subscription)["latest_invoice"] in action.message
    assert shown(local, stage, subscription)["cancel_at_period_end"] is False
    assert "Your request is with the team" in browser.look().page


# The customer asks again meanwhile (A8).


@pytest.fixture
def coupon(rt: Runtime, local: LocalStripe, stage: make.Stage) -> str:
    """The coupon of the offer to whoever finds it too expensive."""
    first = local.seeded["coupons"][0]
    id = str(first["id"] if isinstance(first, dict) else first)
    with rt.transaction(stage.workspace_id) as session:
        flows.set_offer(session, stage.workspace_id, mode="test", coupon=id, now=rt.now(), by="operator")
    return id


def test_a_cancel_takes_the_place_of_a_discount_that_waits(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, coupon: str
) -> None:
    browser = handed_over(app, stage, "monthly").look().press("answer", reason="too_expensive")
    browser.press("accept", offer=browser.offer)
    stripe(local, stage).table("coupon").pop(coupon)
    customers.drain(rt)
    assert states_of(rt, stage) == [("discount", "manual", "coupon_gone")]
    again = later(app, stage, "monthly").look().press("skip").press("confirm")
    customers.drain(rt)
    assert "is canceled" in again.look().page
    assert states_of(rt, stage) == [("discount", "failed", "superseded"), ("cancel", "verified", None)]


@pytest.mark.usefixtures("coupon")
def test_a_discount_takes_the_place_of_a_cancel_that_waits(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    subscription = stage.shapes["monthly"][1]
    handed_over(app, stage, "monthly").look().press("skip").press("confirm")
    gone = stripe(local, stage).table("subscription").pop(subscription)
    customers.drain(rt)
    assert states_of(rt, stage) == [("cancel", "manual", "unknown_subscription")]
    stripe(local, stage).table("subscription")[subscription] = gone
    again = later(app, stage, "monthly").look().press("answer", reason="too_expensive")
    again.press("accept", offer=again.offer)
    customers.drain(rt)
    assert states_of(rt, stage) == [("cancel", "failed", "superseded"), ("discount", "verified", None)]
    assert shown(local, stage, subscription)["cancel_at_period_end"] is False


def states_of(rt: Runtime, stage: make.Stage) -> list[tuple[str, str, str | None]]:
    with rt.transaction(stage.workspace_id) as session:
        return [(one.verb, one.state, one.code) for one in session.execute(select(Action).order_by(Action.id)).scalars()]


def later(app: Flask, stage: make.Stage, shape: str) -> Browser:
    """The same customer, handed over anew a while later."""
    customer, subscription = stage.shapes[shape]
    answer = app.test_client().post("/api/embed/cancel", json=bundle(stage, customer, subscription, at=int(time.time()) + 30))
    assert answer.json is not None
    return Browser(client=app.test_client(use_cookies=False), path=answer.json["url"].removeprefix("http://127.0.0.1:8000"))
