"""Canceling one of several items: what the owner allows, what the customer reads, and what becomes of the subscription."""

import re
from datetime import timedelta

import pytest
from flask import Flask
from freezegun import freeze_time
from sqlalchemy import select, text

from connect_app.models import Action, Delivery
from connect_app.runtime import Runtime
from jobs import actions
from sandbox.stripe import dashboard as stripes_own
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.customers import Browser
from tests.http.test_cancels import app as app  # the fixtures
from tests.http.test_cancels import asked, at_confirm, shown, told, wants
from tests.http.test_cancels import stage as stage
from tests.http.test_portal import guest


def items(local: LocalStripe, stage: make.Stage) -> list[tuple[str, str, int]]:
    """(id, price, quantity) of what the subscription with several items is for."""
    found = shown(local, stage, stage.shapes["multi_item"][1])
    return [(item["id"], item["price"]["id"], item["quantity"]) for item in found["items"]["data"]]


def canceled(app: Flask, stage: make.Stage, item: str) -> Browser:
    browser = at_confirm(app, stage, "multi_item")
    return browser.press("confirm", scope=item, told=told(browser.page))


def letters(rt: Runtime, stage: make.Stage) -> list[str]:
    with rt.transaction(stage.workspace_id) as session:
        found = select(Delivery).where(Delivery.topic.like("action/%/settled")).order_by(Delivery.id)
        return [str(letter.payload["subject"]).removeprefix("[Test] ") for letter in session.execute(found).scalars()]


def test_where_the_owner_does_not_allow_it_all_of_it_is_what_can_be_canceled(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    [_, (seats, _, _)] = items(local, stage)
    browser = at_confirm(app, stage, "multi_item")
    assert 'name="scope"' not in browser.page
    # A form that names an item all the same does not cancel the rest.
    browser.press("confirm", scope=seats, told=told(browser.page))
    assert "Something has changed" in browser.page
    assert asked(rt, stage) == {}


def test_an_item_that_cannot_end_alone_is_not_offered_to(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    wants(rt, stage, single=True)
    [(plan, _, _), (seats, _, _)] = items(local, stage)
    with rt.transaction(stage.workspace_id) as session:
        session.execute(
            text(
                "update subscriptions set raw = jsonb_set(raw::jsonb, '{items,data,1,price,recurring,usage_type}', '\"metered\"')"
                " where id = :id"
            ),
            {"id": stage.shapes["multi_item"][1]},
        )
    page = at_confirm(app, stage, "multi_item").page
    assert f'value="{plan}"' in page
    assert f'value="{seats}"' not in page, "billed by usage, which may not be billed yet"


def test_one_item_ends_with_the_period_the_rest_goes_on_and_it_can_be_taken_back(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    wants(rt, stage, single=True)
    before = [(plan, plan_price, one), (seats, seat_price, three)] = items(local, stage)
    browser = at_confirm(app, stage, "multi_item")
    assert re.search(r"Only 3 × [^<]+<small>It ends on [^<]+; the rest goes on\.", browser.page)
    assert re.search(r'value="this" checked', browser.page)
    browser.press("confirm", scope=seats, told=told(browser.page))
    customers.drain(rt)
    browser.look()
    assert "A part of your subscription is canceled" in browser.page
    assert "The rest of your subscription goes on" in browser.page
    subscription = shown(local, stage, stage.shapes["multi_item"][1])
    # Until then they have what they paid for.
    assert items(local, stage) == before
    assert subscription["cancel_at_period_end"] is False
    schedule = local.world(stage.account, False).find("subscription_schedule", subscription["schedule"])
    assert [[(line["price"], line["quantity"]) for line in phase["items"]] for phase in schedule["phases"]] == [
        [(plan_price, one), (seat_price, three)],
        [(plan_price, one)],
    ]
    assert len(letters(rt, stage)) == 1
    assert re.fullmatch(r"3 × .+ ends on .+", letters(rt, stage)[0])
    browser.press("undo")
    customers.drain(rt)
    assert "3 × " in browser.look().page
    assert "Its cancellation was taken back" in browser.page
    subscription = shown(local, stage, stage.shapes["multi_item"][1])
    assert (subscription["schedule"], items(local, stage)) == (None, before)
    assert {action.state for action in asked(rt, stage).values()} == {"verified"}
    assert [plan, seats] == [id for id, _, _ in items(local, stage)]


def test_the_portal_tells_of_the_item_that_ends_and_keeps_it(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    wants(rt, stage, single=True)
    before = [_, (seats, _, _)] = items(local, stage)
    canceled(app, stage, seats)
    customers.drain(rt)
    page = portal(app, stage)
    assert "Keep 3 × " in page.page
    page.press("undo", subscription=stage.shapes["multi_item"][1])
    customers.drain(rt)
    assert "Keep 3 × " not in page.look().page
    assert "undo" not in page.buttons
    found = shown(local, stage, stage.shapes["multi_item"][1])
    assert (found["schedule"], items(local, stage)) == (None, before)
    with rt.transaction(stage.workspace_id) as session:
        led = "update subscriptions set raw = jsonb_set(raw::jsonb, '{schedule}', '\"sub_sched_of_theirs\"') where id = :id"
        session.execute(text(led), {"id": stage.shapes["multi_item"][1]})
    assert "Keep 3 × " not in page.look().page, "what leads it now is for something else"


def portal(app: Flask, stage: make.Stage) -> Browser:
    return guest(app, stage, "multi_item").look()


def test_when_its_period_is_over_the_item_is_gone_and_the_rest_is_billed(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    wants(rt, stage, single=True)
    [kept, (seats, _, _)] = items(local, stage)
    canceled(app, stage, seats)
    customers.drain(rt)
    local.clock.advance(32 * 86400)
    assert items(local, stage) == [kept]
    assert shown(local, stage, stage.shapes["multi_item"][1])["status"] == "active"
    with freeze_time(rt.now() + timedelta(days=32), tick=True):
        assert '/undo"' not in portal(app, stage).page


@pytest.mark.parametrize(
    ("options", "proration"),
    [({}, "none"), ({"prorate": True}, "create_prorations"), ({"prorate": True, "invoice_now": True}, "always_invoice")],
)
def test_where_it_ends_now_unused_time_is_credited_as_the_owner_has_it(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, options: dict[str, bool], proration: str
) -> None:
    wants(rt, stage, single=True, when="now", **options)
    [kept, (seats, _, _)] = items(local, stage)
    browser = canceled(app, stage, seats)
    customers.drain(rt)
    [action] = asked(rt, stage).values()
    assert action.state == "verified"
    assert action.call is not None
    [call] = action.call["requests"]
    assert call["params"]["items"] == [{"id": seats, "deleted": True}]
    assert call["params"]["proration_behavior"] == proration
    assert items(local, stage) == [kept]
    assert [effect["kind"] for effect in local.effects if effect["subscription"] == action.subscription] == ["plan_change"]
    page = browser.look().page
    assert "has ended" in page
    assert '/undo"' not in page


def test_an_item_that_was_taken_away_at_stripe_meanwhile_counts_as_done(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    wants(rt, stage, single=True)
    [kept, (seats, _, _)] = items(local, stage)
    browser = at_confirm(app, stage, "multi_item")
    word = told(browser.page)
    stripes_own.change(local, stage.shapes["multi_item"][1], {"items": [{"id": seats, "deleted": True}]})
    before = len(local.effects)
    browser.press("confirm", scope=seats, told=word)
    customers.drain(rt)
    assert "has ended" in browser.look().page
    assert [action.state for action in asked(rt, stage).values()] == ["verified"]
    assert (items(local, stage), len(local.effects)) == ([kept], before)


def test_what_was_given_since_is_not_taken_away_with_an_undo(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    wants(rt, stage, single=True)
    [_, (seats, _, _)] = items(local, stage)
    canceled(app, stage, seats)
    customers.drain(rt)
    subscription = stage.shapes["multi_item"][1]
    led_by = shown(local, stage, subscription)["schedule"]
    with rt.transaction(stage.workspace_id) as session:
        given = {"coupon": "LOYAL15", "offer_id": "off_1", "headline": "15% off"}
        place = {"workspace_id": stage.workspace_id, "mode": "test", "connection_id": stage.connection_id}
        whose = {"customer": stage.shapes["multi_item"][0], "subscription": subscription}
        actions.ask(session, **place, **whose, verb="discount", intent=given, now=rt.now())
    customers.drain(rt)
    portal(app, stage).press("undo", subscription=subscription)
    customers.drain(rt)
    assert shown(local, stage, subscription)["schedule"] == led_by
    undone = next(action for action in every(rt, stage) if action.verb == "undo_cancel")
    assert (undone.state, undone.code) == ("manual", "schedule_has_phases")


@pytest.mark.parametrize("when", ["period_end", "now"])
def test_a_subscription_that_is_to_end_whole_later_keeps_its_end(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, when: str
) -> None:
    wants(rt, stage, single=True, when=when)
    [_, (seats, _, _)] = items(local, stage)
    browser = at_confirm(app, stage, "multi_item")
    word, subscription = told(browser.page), stage.shapes["multi_item"][1]
    ends = local.clock.now() + 200 * 86400
    stripes_own.change(local, subscription, {"cancel_at": ends})
    browser.press("confirm", scope=seats, told=word)
    customers.drain(rt)
    [action] = asked(rt, stage).values()
    assert (action.state, action.code) == ("manual", "canceling")
    assert shown(local, stage, subscription)["cancel_at"] == ends


def test_where_all_of_it_ends_with_the_period_nothing_else_is_said_and_no_undo_is_offered(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    wants(rt, stage, single=True)
    [_, (seats, _, _)] = items(local, stage)
    browser = at_confirm(app, stage, "multi_item")
    word = told(browser.page)
    stripes_own.change(local, stage.shapes["multi_item"][1], {"cancel_at_period_end": True})
    browser.press("confirm", scope=seats, told=word)
    customers.drain(rt)
    page = browser.look().page
    assert "The whole subscription ends on" in page
    assert "goes on" not in page
    assert "undo" not in browser.buttons
    with rt.transaction(stage.workspace_id) as session:
        [letter] = session.execute(select(Delivery).where(Delivery.topic.like("action/%/settled"))).scalars()
    assert "The whole subscription ends, too." in letter.payload["text"]
    assert "goes on" not in letter.payload["text"]


def every(rt: Runtime, stage: make.Stage) -> list[Action]:
    with rt.transaction(stage.workspace_id) as session:
        return list(session.execute(select(Action).order_by(Action.id)).scalars())
