"""Who is led by a subscription schedule: the mirror knows its phases, and offers are made that fit them."""

import pytest
from flask import Flask
from sqlalchemy import text

from connect_app.admin import flows
from connect_app.models import Action
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from sandbox.stripe import schedules
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.customers import handed_over
from tests.http.test_flow import rows
from tests.service.test_events import dashboard, keep, news, settle
from webhooks import mirror


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    staged = make.workspace(rt, local)
    make.read_in(rt)
    with rt.transaction(staged.workspace_id) as session:
        flows.set_offer(session, staged.workspace_id, mode="test", coupon="HALFOFF", now=rt.now(), by="operator")
    return staged


@pytest.fixture
def app(rt: Runtime) -> Flask:
    return customers.app(rt)


def at_stripe(local: LocalStripe, stage: make.Stage) -> objects.Schedule:
    world = local.world(stage.account, False)
    return objects.read_schedule(world.get("subscription_schedule", world.get("subscription", stage.shapes["scheduled"][1])["schedule"]))


def mirrored(rt: Runtime, stage: make.Stage, id: str) -> objects.Schedule | None:
    with rt.transaction(stage.workspace_id) as session:
        return mirror.schedule(session, stage.connection_id, id)


def test_a_discount_is_offered_and_goes_into_the_phase_of_the_next_bill(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    before = at_stripe(local, stage)
    browser = handed_over(app, stage, "scheduled").look().press("answer", reason="too_expensive")
    assert "accept" in browser.buttons
    browser.press("accept", offer=browser.offer)
    customers.drain(rt)
    [action] = rows(rt, stage, Action)
    assert (action.state, action.code) == ("verified", None)
    after = at_stripe(local, stage)
    assert [phase.prices for phase in after.phases] == [phase.prices for phase in before.phases]
    assert [phase.coupons for phase in after.coming] == [("HALFOFF",)]


def test_of_a_schedule_that_nobody_has_read_nothing_is_offered(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("delete from subscription_schedules"))
    browser = handed_over(app, stage, "scheduled").look().press("answer", reason="too_expensive")
    assert "confirm" in browser.buttons


def test_the_news_of_a_schedule_keep_the_mirror_and_its_subscription_up_to_date(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    known = at_stripe(local, stage)
    assert mirrored(rt, stage, known.id) == known
    assert known.subscription == stage.shapes["scheduled"][1]
    begin = len(news(local, stage))
    schedules.release(dashboard(local, stage), known.id, {})
    keep(rt, [one for one in news(local, stage, begin) if one["type"].startswith("subscription_schedule.")])
    settle(rt)
    kept = mirrored(rt, stage, known.id)
    assert kept is not None
    assert (kept.status, kept.is_attached) == ("released", False)
    with rt.transaction(stage.workspace_id) as session:
        led = mirror.subscription(session, stage.connection_id, stage.shapes["scheduled"][1])
    assert led is not None
    assert led.schedule is None


def test_news_of_a_schedule_in_an_older_shape_or_too_early_is_read_from_stripe(rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    known = at_stripe(local, stage)
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("delete from subscription_schedules"))
    begin = len(news(local, stage))
    schedules.update(dashboard(local, stage), known.id, {"metadata": {"a": "b"}})
    keep(rt, [{**one, "api_version": "2019-05-16"} for one in news(local, stage, begin) if one["type"] == "subscription_schedule.updated"])
    settle(rt)
    assert mirrored(rt, stage, known.id) == at_stripe(local, stage)
