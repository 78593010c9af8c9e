"""What is asked of a subscription while another change of it waits or is under way: neither is lost, and what is told of them is true."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from connect_app import config
from connect_app.models import Action
from jobs import actions, queues, work
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import Stage
from webhooks import projections


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local) as opened:
        yield opened


def follower(stage: Stage) -> Action:
    """A cancel of a subscription that has another change under way."""
    customer, subscription = stage.shapes["monthly"]
    session_id = stage.visit(customer, subscription)
    choice_id = stage.choice(session_id)
    with stage.rt.transaction(stage.workspace_id) as session:
        return actions.ask_after(
            session,
            workspace_id=stage.workspace_id,
            mode=stage.mode,
            connection_id=stage.connection_id,
            customer=customer,
            subscription=subscription,
            verb="cancel",
            intent={"when": "period_end"},
            now=stage.rt.now(),
            session_id=session_id,
            choice_id=choice_id,
        )


def tried(stage: Stage, row_id: str, times: int) -> None:
    """As if this work had been tried so often."""
    with stage.rt.transaction() as session:
        session.execute(text("update work set attempts = :times where row_id = :row and kind = 'follow'"), {"times": times, "row": row_id})


def letters(stage: Stage, action: Action) -> list[str]:
    return [one.payload["text"] for one in stage.letters() if one.kind == "email" and action.id in one.topic]


def test_what_follows_another_change_waits_for_its_end_however_long_that_takes(stage: Stage) -> None:
    first = stage.ask("monthly", "discount")
    second = follower(stage)
    tried(stage, second.id, queues.KINDS["follow"].attempts)
    for _ in range(3):
        stage.later(hours=3)
        end = stage.work(second.id, "follow")
        assert isinstance(end, work.Again), end
        assert timedelta(0) < (end.after or timedelta(0)) <= timedelta(seconds=30)
    assert stage.run(first).state == "verified"
    stage.work(second.id, "follow")
    assert stage.run(second).state == "verified"


def test_what_could_never_be_begun_reaches_a_person_and_its_customer(stage: Stage) -> None:
    second = follower(stage)
    tried(stage, second.id, queues.KINDS["follow"].attempts)
    stage.sql("alter table actions add constraint planted check (state <> 'queued') not valid")  # an error of our own
    try:
        assert isinstance(stage.work(second.id, "follow"), work.GiveUp)
    finally:
        stage.sql("alter table actions drop constraint planted")
    now = stage.now(second)
    assert (now.state, now.code) == ("manual", "internal_error")
    [told] = letters(stage, second)
    assert "the team at Fernhill Software has been told" in told


def pause(stage: Stage) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pause as it is asked for, and as their system makes it."""
    until = (stage.rt.now() + timedelta(days=90)).replace(microsecond=0)
    return {"resumes_at": until.isoformat()}, {"pause_collection": {"behavior": "void", "resumes_at": int(until.timestamp())}}


@pytest.mark.parametrize("verb", ["discount", "pause", "plan_change"])
@pytest.mark.parametrize("when", ["period_end", "now"])
def test_what_their_system_has_done_before_the_customer_canceled_is_said_to_be_done(stage: Stage, verb: str, when: str) -> None:
    subscription = stage.shapes["monthly"][1]
    yearly = stage.stripe_says(stage.shapes["yearly"][1])["items"]["data"][0]["price"]["id"]
    item = stage.stripe_says(subscription)["items"]["data"][0]["id"]
    wanted: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
        "discount": (None, {"discounts": [{"coupon": "STAY20"}]}),
        "pause": pause(stage),
        "plan_change": ({"price": yearly, "when": "now"}, {"items": [{"id": item, "price": yearly}]}),
    }
    intent, change = wanted[verb]
    mirrored(stage)
    theirs = stage.ask("monthly", verb, intent, state="requested", code="yours")
    stage.change(subscription, **change)  # Stripe's news of it is still on its way
    assert stage.run(stage.ask("monthly", "cancel", {"when": when})).state == "verified"
    assert stage.now(theirs).state == "verified"
    [told] = letters(stage, theirs)
    assert "was carried out" in told
    assert "decided anew" in told
    assert "continues" not in told


def test_a_discount_of_theirs_is_seen_though_nobody_knows_how_it_was_before(stage: Stage) -> None:
    theirs = stage.ask("monthly", "discount", state="requested", code="yours")
    stage.change(theirs.subscription, discounts=[{"coupon": "STAY20"}])
    assert stage.run(stage.ask("monthly", "cancel")).state == "verified"
    assert stage.now(theirs).state == "verified"


@pytest.mark.parametrize("verb", ["discount", "pause"])
def test_what_their_system_has_not_done_gives_way_to_the_later_decision(stage: Stage, verb: str) -> None:
    subscription = stage.shapes["monthly"][1]
    intent, _ = pause(stage)
    stage.change(subscription, discounts=[{"coupon": "STAY20"}])  # long before, for another reason
    mirrored(stage)
    theirs = stage.ask("monthly", verb, None if verb == "discount" else intent, state="requested", code="yours")
    assert stage.run(stage.ask("monthly", "cancel")).state == "verified"
    now = stage.now(theirs)
    assert (now.state, now.code) == ("failed", "superseded")
    [told] = letters(stage, theirs)
    assert "Nothing was changed by it." in told


def test_a_coupon_of_the_customers_own_that_is_over_is_told_as_that(stage: Stage) -> None:
    ends = (stage.rt.now() + timedelta(days=7)).replace(microsecond=0).isoformat()
    mint = {"id": "hf_x", "name": "15% off", "percent_off": "15", "duration": "once", "duration_in_months": None, "redeem_by": ends}
    action = stage.ask("monthly", "discount", {"offer_id": "off_1", "mint": mint})
    stage.fault("reset", f"/v1/subscriptions/{action.subscription}", "POST")
    assert isinstance(stage.work(action.id), work.Again), "the coupon is made, the discount is not"
    stage.calm()
    stage.later(days=8)
    stage.control("POST", "clock", {"advance": 8 * 86400})
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", "coupon_expired")


def mirrored(stage: Stage) -> None:
    """The mirror holds the subscription as it is now."""
    reader = stage.rt.stripe(stage.connection().mode).account(stage.account)
    read = reader.subscription(stage.shapes["monthly"][1])
    with stage.rt.transaction(stage.workspace_id) as session:
        projections.apply_read(session, stage.workspace_id, stage.connection_id, read.value, read.as_of)


@pytest.mark.parametrize(("verb", "intent"), [("undo_cancel", {}), ("discount", {"offer_id": "off_1", "coupon": "LOYAL15"})])
def test_who_canceled_and_had_their_debts_voided_stays_only_if_the_team_says_so(stage: Stage, verb: str, intent: dict[str, Any]) -> None:
    made = stage.control("POST", "shapes", {"account": stage.account, "shape": "past_due"})
    whose = {"customer": made["customer"], "subscription": made["subscription"]}
    assert stage.run(stage.ask("monthly", "cancel", {"when": "period_end", "open_invoices": "void"}, **whose)).state == "verified"
    back = stage.ask("monthly", verb, intent, **whose)
    assert (back.state, back.code) == ("requested", "bills_voided")
    again = stage.ask("monthly", verb, intent, **whose)
    assert (again.id == back.id) is (verb == "undo_cancel"), "to ask the team twice to take it back is to ask once"
    assert stage.stripe_says(made["subscription"])["cancel_at_period_end"] is True
    with stage.rt.transaction(stage.workspace_id) as session:
        assert actions.retry(session, stage.workspace_id, back.id, stage.rt.now(), "usr_1")
    assert stage.run(back).state == "verified"
    # Whom the team has let stay is a customer like any other.
    assert stage.ask("monthly", "cancel", {"when": "period_end"}, **whose).state == "queued"
