"""An action goes from a wish to its proof on Stripe, whole and once; or says truthfully why it did not."""

import dataclasses
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from connect_app import config
from connect_app.models import Action, AuditEntry, Connection
from connect_app.stripe_gateway.calls import Call
from jobs import actions, queues, work
from sandbox.stripe.idempotency import Keys
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.sdk import CallerKilled
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import TOO_LATE, Stage


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local) as opened:
        opened.client.before.append(ledgers.held_open(opened))
        yield opened


def subscription(stage: Stage, shape: str = "monthly") -> str:
    return stage.shapes[shape][1]


# From queued to verified.


def test_a_cancel_is_written_once_read_back_and_proven(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel")
    done = stage.run(action)
    sub = stage.stripe_says(subscription(stage))
    assert (done.state, done.code, done.generation) == ("verified", None, 1)
    assert stage.effects(sub["id"]) == ["cancel_at_period_end"]
    assert sub["cancel_at_period_end"] is True
    assert sub["metadata"]["holdfast_action"] == action.id
    assert sub["cancellation_details"]["feedback"] == "too_expensive"
    assert sub["cancellation_details"]["comment"] == "Too dear for me."
    receipt = stage.receipt(action)
    ends_at = datetime.fromtimestamp(sub["items"]["data"][0]["current_period_end"], UTC)
    assert (receipt.effective_at, receipt.next_charge_at) == (ends_at, None)
    assert (receipt.before["cancel_at_period_end"], receipt.after["cancel_at_period_end"]) == (False, True)
    assert stage.outcome(action) == ("canceled", None)
    assert [(attempt.step, attempt.problem) for attempt in stage.attempts(action)] == [
        ("precheck", None), ("write", None), ("read_back", None), ("next_invoice", None)
    ]  # fmt: skip
    assert all(attempt.stripe_request_id for attempt in stage.attempts(action))
    assert done.stripe_request_id == stage.attempts(action)[1].stripe_request_id
    assert stage.facts(action) == ["action.queued", "action.applied", "action.verified", "outcome.changed"]
    assert stage.work_rows() == []


def test_the_key_and_the_call_are_committed_before_the_first_write(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")
    seen: list[tuple[str, str, object]] = []

    def look(method: str, url: str) -> None:
        if method == "post" and not url.endswith("/create_preview"):
            kept = stage.now(action)
            assert kept.call is not None
            seen.append((kept.state, kept.call["key"], kept.call["requests"][0]["params"]["discounts"]))

    stage.client.before.append(look)
    stage.run(action)
    assert seen == [("prechecked", f"hf:{stage.workspace_id}:{action.id}:1", [{"coupon": "STAY20"}])]
    assert stage.writes()[0]["idempotency_key"] == seen[0][1]


def test_a_discount_joins_those_that_are_there(stage: Stage) -> None:
    before = stage.change(subscription(stage), discounts=[{"coupon": "LOYAL15"}])["discounts"]
    action = stage.ask("monthly", "discount")
    assert stage.run(action).state == "verified"
    after = stage.stripe_says(subscription(stage))["discounts"]
    assert after[:1] == before
    assert len(after) == 2
    assert stage.effects(subscription(stage)) == ["discount"]
    assert [discount["coupon"] for discount in stage.receipt(action).after["discounts"]] == ["LOYAL15", "STAY20"]
    assert stage.outcome(action) == ("watch", "offer")


def test_accepting_an_offer_takes_back_a_scheduled_cancellation_in_the_same_call(stage: Stage) -> None:
    earlier = stage.ask("monthly", "cancel")
    stage.run(earlier)
    assert stage.outcome(earlier) == ("canceled", None)
    time.sleep(1.1)  # Stripe's times are whole seconds: the offer is taken in a later one than the cancel
    action = stage.ask("monthly", "discount")
    assert stage.run(action).state == "verified"
    sub = stage.stripe_says(subscription(stage))
    assert (sub["cancel_at_period_end"], sub["cancel_at"], len(sub["discounts"])) == (False, None, 1)
    assert len(stage.writes()) == 2
    assert (stage.outcome(earlier), stage.outcome(action)) == (("watch", "undone"), ("watch", "offer"))


@pytest.mark.parametrize("how", [{"cancel_at_period_end": True}, {"cancel_at": int(datetime.now(UTC).timestamp()) + 5 * 86400}])
def test_a_cancellation_is_undone_whichever_field_holds_it(stage: Stage, how: dict[str, object]) -> None:
    stage.change(subscription(stage), **how)
    action = stage.ask("monthly", "undo_cancel")
    assert stage.run(action).state == "verified"
    sub = stage.stripe_says(subscription(stage))
    assert (sub["cancel_at_period_end"], sub["cancel_at"]) == (False, None)
    assert stage.effects(sub["id"]) == ["undo_cancel"]
    assert stage.outcome(action) == ("watch", "undone")


def test_an_undo_from_elsewhere_puts_the_session_that_canceled_back_on_watch(stage: Stage) -> None:
    earlier = stage.ask("monthly", "cancel")
    stage.run(earlier)
    customer, sub = stage.shapes["monthly"]
    stage.later(minutes=1)
    with stage.rt.transaction(stage.workspace_id) as session:
        undo = actions.ask(
            session, workspace_id=stage.workspace_id, mode="test", connection_id=stage.connection_id, customer=customer,
            subscription=sub, verb="undo_cancel", intent={}, now=stage.rt.now(),
        )  # fmt: skip
    assert stage.run(undo).state == "verified"
    assert stage.outcome(earlier) == ("watch", "undone")


CANCELS = {
    "monthly": ["cancel_at_period_end"],
    "yearly": ["cancel_at_period_end"],
    "trialing": ["cancel_at_period_end"],
    "past_due": ["cancel_at_period_end"],
    "already_canceling": [],
    "paused": ["cancel_at_period_end"],
    "multi_item": ["cancel_at_period_end"],
    "two_subscriptions": ["cancel_at_period_end"],
}


@pytest.mark.parametrize("shape", CANCELS)
def test_every_shape_that_a_direct_call_serves_is_canceled_once(stage: Stage, shape: str) -> None:
    action = stage.ask(shape, "cancel")
    assert stage.run(action).state == "verified"
    assert stage.effects(subscription(stage, shape)) == CANCELS[shape]
    assert stage.outcome(action) == ("canceled", None)


@pytest.mark.parametrize("shape", ["monthly", "yearly", "trialing", "past_due", "already_canceling", "paused", "multi_item", "scheduled"])
def test_every_shape_that_a_direct_call_serves_is_discounted_once(stage: Stage, shape: str) -> None:
    action = stage.ask(shape, "discount", {"offer_id": "off_1", "coupon": "LOYAL15", "headline": "15% off for good"})
    assert stage.run(action).state == "verified"
    assert stage.effects(subscription(stage, shape)) == ["discount"]
    sub = stage.stripe_says(subscription(stage, shape))
    assert (sub["cancel_at_period_end"], sub["cancel_at"]) == (False, None)


def test_a_subscription_that_is_already_canceled_counts_as_done(stage: Stage) -> None:
    stage.change(subscription(stage), status="canceled")
    action = stage.ask("monthly", "cancel")
    assert stage.run(action).state == "verified"
    assert stage.writes() == []
    assert stage.receipt(action).after["status"] == "canceled"


# What a direct call cannot serve.


def test_a_schedule_that_changes_the_plan_first_leaves_it_to_a_person_and_nothing_is_written(stage: Stage) -> None:
    action = stage.ask("scheduled", "plan_change", {"price": "price_basic_monthly", "when": "now", "proration": "none"})
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", "schedule_has_phases")
    assert done.message is not None
    assert "sub_sched_" in done.message
    assert done.due_on is not None
    assert stage.writes() == []
    assert stage.outcome(action) is None
    assert stage.facts(action) == ["action.queued", "action.manual"]


def test_a_cancel_lets_go_of_the_schedule_first_and_says_what_that_gives_up(stage: Stage) -> None:
    action = stage.ask("scheduled", "cancel")
    done = stage.run(action)
    assert done.state == "verified"
    assert [write["path"].split("/")[-1] for write in stage.writes()] == ["release", action.subscription]
    assert done.call is not None
    assert "are given up" in done.call["loses"]
    found = stage.stripe_says(action.subscription)
    assert (found["schedule"], found["cancel_at_period_end"]) == (None, True)


def test_a_cancel_whose_schedule_is_gone_already_is_taken_up_where_it_stopped(stage: Stage) -> None:
    action = stage.ask("scheduled", "cancel")

    def strike(method: str, url: str) -> None:
        if method == "post" and url.endswith("/release"):
            stage.client.after.clear()
            raise KeyboardInterrupt

    stage.client.after.append(strike)
    with pytest.raises(KeyboardInterrupt):
        stage.work(action.id)
    assert stage.stripe_says(action.subscription)["schedule"] is None
    stage.end_leases()
    assert stage.run(action).state == "verified"
    assert stage.stripe_says(action.subscription)["cancel_at_period_end"] is True


def test_a_discount_never_revives_a_subscription_that_has_ended(stage: Stage) -> None:
    stage.change(subscription(stage), status="canceled")
    action = stage.ask("monthly", "discount")
    done = stage.run(action)
    assert (done.state, done.code) == ("failed", "subscription_ended")
    assert stage.writes() == []


def test_a_subscription_canceled_between_plan_and_write_is_not_revived(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")

    def strike(method: str, _url: str) -> None:
        if method == "post":
            stage.change(subscription(stage), status="canceled")

    stage.client.before.append(strike)
    done = stage.run(action)
    assert (done.state, done.code) == ("failed", "subscription_ended")
    assert stage.stripe_says(subscription(stage))["status"] == "canceled"


@pytest.mark.parametrize(
    ("coupon", "code"),
    [
        ("GONE", "coupon_gone"),
        ("SPRING", "coupon_expired"),
        ("EURO5", "coupon_currency"),
        ("ARCHIVE30", "coupon_not_applicable"),
    ],
)
def test_a_coupon_that_does_not_fit_is_left_to_a_person(stage: Stage, coupon: str, code: str) -> None:
    action = stage.ask("monthly", "discount", {"offer_id": "off_1", "coupon": coupon, "headline": "Less"})
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", code)
    assert stage.writes() == []


def test_a_coupon_that_would_be_over_before_the_next_bill_is_left_to_a_person(stage: Stage) -> None:
    done = stage.run(stage.ask("yearly", "discount"))
    assert (done.state, done.code) == ("manual", "coupon_without_effect")
    assert stage.writes() == []


def test_a_coupon_redeemed_as_often_as_it_may_is_left_to_a_person(stage: Stage) -> None:
    stage.change("LOYAL15", max_redemptions=1, times_redeemed=1)
    done = stage.run(stage.ask("monthly", "discount", {"offer_id": "off_1", "coupon": "LOYAL15", "headline": "Less"}))
    assert (done.state, done.code) == ("manual", "coupon_not_valid")


def test_a_coupon_deleted_between_plan_and_write_is_left_to_a_person(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")
    gone: list[bool] = []

    def strike(method: str, _url: str) -> None:
        if method == "post" and not gone:
            gone.append(True)
            stage.change("STAY20", deleted=True)

    stage.client.before.append(strike)
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", "coupon_gone")
    assert stage.effects(subscription(stage)) == []


def test_a_coupon_that_is_already_there_is_not_given_twice(stage: Stage) -> None:
    stage.change(subscription(stage), discounts=[{"coupon": "STAY20"}])
    done = stage.run(stage.ask("monthly", "discount"))
    assert (done.state, done.code) == ("manual", "coupon_already_applied")
    assert stage.writes() == []


def test_another_customers_subscription_is_never_touched(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel", customer=stage.shapes["yearly"][0])
    done = stage.run(action)
    assert (done.state, done.code) == ("failed", "wrong_customer")
    assert stage.writes() == []


def test_an_unknown_subscription_is_left_to_a_person(stage: Stage) -> None:
    done = stage.run(stage.ask("monthly", "cancel", subscription="my-plan-7"))
    assert (done.state, done.code) == ("manual", "unknown_subscription")


def test_a_requested_action_is_listed_and_not_tried(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel", state="requested", code="plain")
    assert stage.work_rows() == []
    with stage.rt.transaction(stage.workspace_id) as session:
        assert [waiting.id for waiting in actions.waiting(session, stage.workspace_id, "test")] == [action.id]
        assert actions.waiting(session, stage.workspace_id, "live") == []
        assert actions.waiting_counts(session, stage.workspace_id) == {stage.mode: 1}
    assert stage.local.requests == []


# Connections that are not there.


def test_without_a_connection_a_person_is_told(stage: Stage) -> None:
    done = stage.run(stage.ask("monthly", "cancel", connection_id=None))
    assert (done.state, done.code) == ("manual", "not_connected")


def test_access_lost_on_the_way_ends_the_connection_and_reconnecting_tries_again(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel")
    stage.control("POST", "deauthorize", {"account": stage.account})
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", "not_connected")
    connection = stage.connection()
    assert (connection.state, connection.disconnect_reason) == ("disconnected", "access_lost")
    stage.reconnect()
    assert stage.run(action).state == "verified"
    assert stage.effects(subscription(stage)) == ["cancel_at_period_end"]


def test_reconnecting_leaves_alone_what_waits_for_another_reason(stage: Stage) -> None:
    scheduled = stage.ask("scheduled", "cancel", TOO_LATE)
    stage.run(scheduled)
    plain = stage.ask("monthly", "cancel", state="requested", code="plain")
    stage.reconnect()
    assert (stage.now(scheduled).state, stage.now(plain).state) == ("manual", "requested")


def test_access_lost_after_the_write_is_settled_by_reading_once_it_is_back(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")

    def strike(method: str, _url: str) -> None:
        if method == "post":
            stage.client.after.clear()
            stage.control("POST", "deauthorize", {"account": stage.account})

    stage.client.after.append(strike)
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", "not_connected")
    stage.reconnect()
    assert stage.run(action).state == "verified"
    assert len(stage.writes()) == 1
    assert stage.effects(subscription(stage)) == ["discount"]


def test_our_own_refused_key_costs_no_account_its_connection(stage: Stage) -> None:
    action = stage.ask("monthly", "cancel")
    stage.local.keys[False] = "sk_test_rolled"
    assert isinstance(stage.work(action.id), work.Again)
    assert stage.connection().state == "connected"
    assert stage.now(action).state == "queued"


# Faults: once, whatever happens on the way.


@pytest.mark.parametrize("kind", ["500", "500_after", "429", "lock_timeout", "timeout_after", "reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_fault_on_the_way_leaves_one_effect(stage: Stage, kind: str, method: str) -> None:
    stage.fault(kind, "/v1/subscriptions/*", method, times=2)
    action = stage.ask("monthly", "discount")
    assert stage.run(action).state == "verified"
    assert stage.effects(subscription(stage)) == ["discount"]
    assert len(stage.stripe_says(subscription(stage))["discounts"]) == 1
    assert sum(attempt.problem is not None for attempt in stage.attempts(action)) >= 1


def test_a_timeout_after_it_was_applied_repeats_the_same_bytes_under_the_same_key(stage: Stage) -> None:
    stage.fault("timeout_after", "/v1/subscriptions/*", "POST", times=1)
    action = stage.ask("monthly", "discount")
    assert stage.run(action).state == "verified"
    first, second = stage.writes()
    assert (first["idempotency_key"], first["form"]) == (second["idempotency_key"], second["form"])
    assert stage.now(action).generation == 1
    assert stage.effects(subscription(stage)) == ["discount"]


def test_a_saved_500_without_effect_is_looked_through_and_a_new_key_used(stage: Stage) -> None:
    stage.fault("500", "/v1/subscriptions/*", "POST", times=1)
    action = stage.ask("monthly", "discount")
    assert stage.run(action).state == "verified"
    assert stage.now(action).generation == 2
    assert [row["idempotency_key"][-2:] for row in stage.writes()] == [":1", ":1", ":2"]
    assert stage.effects(subscription(stage)) == ["discount"]


def test_a_saved_500_with_effect_is_recognised_and_nothing_is_written_again(stage: Stage) -> None:
    stage.fault("500_after", "/v1/subscriptions/*", "POST", times=1)
    action = stage.ask("monthly", "discount")
    assert stage.run(action).state == "verified"
    assert stage.now(action).generation == 1
    assert stage.effects(subscription(stage)) == ["discount"]


@pytest.mark.parametrize("was_applied", [True, False])
def test_a_key_older_than_23_hours_is_not_trusted(stage: Stage, was_applied: bool) -> None:
    stage.fault("timeout_after" if was_applied else "reset", "/v1/subscriptions/*", "POST", times=1)
    action = stage.ask("monthly", "discount")
    assert isinstance(stage.work(action.id), work.Again)
    stage.calm()
    stage.later(hours=25)
    # Stripe has forgotten the key by then.
    stage.local.idempotency = Keys(stage.local.clock.now)
    assert stage.run(action).state == "verified"
    assert stage.effects(subscription(stage)) == ["discount"]
    assert stage.now(action).generation == (1 if was_applied else 2)
    assert len(stage.writes()) == (1 if was_applied else 2)


def test_an_old_call_that_was_applied_and_then_undone_by_somebody_is_not_repeated(stage: Stage) -> None:
    stage.fault("timeout_after", "/v1/subscriptions/*", "POST", times=1)
    action = stage.ask("monthly", "discount")
    stage.work(action.id)
    stage.change(subscription(stage), discounts="")
    stage.later(hours=25)
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", "not_as_planned")
    assert len(stage.writes()) == 1


def test_other_parameters_under_our_key_are_settled_by_reading(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")
    sub = subscription(stage)
    somebody_elses = Call(method="subscriptions.update", target=sub, params={"metadata": {"somebody": "else"}})
    stripe = stage.rt.stripe("test").account(stage.account)
    stripe.write(somebody_elses, idempotency_key=f"hf:{stage.workspace_id}:{action.id}:1")
    assert stage.run(action).state == "verified"
    assert stage.now(action).generation == 2
    assert stage.effects(sub) == ["other", "discount"]


def test_a_renewal_that_uses_up_the_coupon_before_the_read_back_does_not_give_it_again(stage: Stage) -> None:
    action = stage.ask("monthly", "discount", {"offer_id": "off_1", "coupon": "HALFOFF", "headline": "Half off"})

    def strike(method: str, _url: str) -> None:
        if method == "post":
            stage.client.after.clear()
            stage.control("POST", "clock", {"advance": 40 * 86400})

    stage.client.after.append(strike)
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", "not_as_planned")
    assert len(stage.writes()) == 1
    with stage.rt.transaction(stage.workspace_id) as session:
        assert actions.retry(session, stage.workspace_id, action.id, stage.rt.now(), "usr_1")
    assert stage.run(action).state == "manual"
    assert len(stage.writes()) == 1


@pytest.mark.parametrize("kind", ["kill_before", "kill_after"])
def test_a_worker_that_dies_in_the_write_is_followed_by_one_that_finishes(stage: Stage, kind: str) -> None:
    stage.fault(kind, "/v1/subscriptions/*", "POST", times=1)
    action = stage.ask("monthly", "discount")
    with pytest.raises(CallerKilled):
        stage.work(action.id)
    stage.end_leases()
    assert stage.run(action).state == "verified"
    assert stage.effects(subscription(stage)) == ["discount"]


def test_a_worker_frozen_past_its_lease_changes_nothing_when_it_wakes(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")
    stage.client.before.clear()
    taken: list[str] = []

    def freeze(method: str, _url: str) -> None:
        if method == "post" and not taken:
            taken.append("over")
            stage.end_leases()
            assert isinstance(stage.work(action.id), work.Done)
            assert stage.now(action).state == "verified"
            taken.append(stage.now(action).changed_at.isoformat())
            stage.client.before.clear()

    stage.client.before.append(freeze)
    assert stage.work(action.id) is None
    done = stage.now(action)
    assert (done.state, done.changed_at.isoformat()) == ("verified", taken[1])
    assert stage.effects(subscription(stage)) == ["discount"]
    # Its own conversation is not on record either: it came too late.
    assert [attempt.step for attempt in stage.attempts(action)] == ["precheck", "customer", "coupon", "write", "read_back", "next_invoice"]
    assert len(stage.letters()) == 1


def test_a_turn_ends_between_two_steps_rather_than_outlive_its_lease(stage: Stage) -> None:
    slow = stage.rt.settings.model_copy(update={"holdfast_stripe_read_timeout": 58.0})
    stage.rt = dataclasses.replace(stage.rt, settings=slow)
    action = stage.ask("monthly", "discount")
    states = []
    while not isinstance(stage.work(action.id), work.Done):
        states.append(stage.now(action).state)
    assert [*states, stage.now(action).state] == ["prechecked", "applied", "verified"]
    assert stage.effects(subscription(stage)) == ["discount"]


def test_stripe_down_for_good_ends_with_a_person_and_retry_takes_it_up(stage: Stage) -> None:
    stage.fault("500", "/v1/*")
    action = stage.ask("monthly", "cancel")
    end = stage.work(action.id)
    assert isinstance(end, work.Again)
    assert end.after is not None
    assert end.after < timedelta(seconds=4)
    stage.sql("update work set attempts = 899")
    assert isinstance(stage.work(action.id), work.GiveUp)
    done = stage.now(action)
    assert (done.state, done.code) == ("manual", "stripe_unavailable")
    assert stage.work_rows()[0].gave_up_at is not None
    stage.calm()
    with stage.rt.transaction(stage.workspace_id) as session:
        assert actions.retry(session, stage.workspace_id, action.id, stage.rt.now(), "usr_1")
    assert stage.run(action).state == "verified"
    assert stage.effects(subscription(stage)) == ["cancel_at_period_end"]
    assert stage.work_rows() == []


def test_a_mistake_of_our_own_is_told_to_a_person_and_not_blamed_on_stripe(stage: Stage) -> None:
    action = stage.ask("monthly", "discount", {"offer_id": "off_1"})  # no coupon: the flow's mistake
    for _ in range(9):
        assert isinstance(stage.work(action.id), work.Again)
    stage.work(action.id)
    done = stage.now(action)
    assert (done.state, done.code) == ("manual", "internal_error")


# A person's part.


def test_mark_done_believes_stripe_only(stage: Stage) -> None:
    action = stage.ask("scheduled", "cancel", TOO_LATE)
    stage.run(action)
    assert actions.mark_done(stage.rt, stage.workspace_id, action.id, "usr_1") is False
    assert stage.now(action).state == "manual"
    stage.change(subscription(stage, "scheduled"), status="canceled")
    assert actions.mark_done(stage.rt, stage.workspace_id, action.id, "usr_1") is True
    assert stage.now(action).state == "verified"
    assert stage.outcome(action) == ("canceled", None)
    assert stage.receipt(action).after["status"] == "canceled"


def test_mark_done_on_another_customers_subscription_is_refused(stage: Stage) -> None:
    stage.change(subscription(stage), status="canceled")
    action = stage.ask("monthly", "cancel", customer=stage.shapes["yearly"][0], state="requested", code="plain")
    assert actions.mark_done(stage.rt, stage.workspace_id, action.id, "usr_1") is False


def test_a_later_decision_takes_the_place_of_one_that_waits_for_a_person(stage: Stage) -> None:
    older = stage.ask("monthly", "discount", {"offer_id": "off_1", "coupon": "GONE", "headline": "Less"})
    assert stage.run(older).state == "manual"
    same = stage.ask("monthly", "cancel", state="requested", code="plain")
    stage.later(minutes=1)
    assert stage.run(stage.ask("monthly", "cancel")).state == "verified"
    assert (stage.now(older).state, stage.now(older).code) == ("failed", "superseded")
    assert stage.now(same).state == "verified"
    assert stage.effects(subscription(stage)) == ["cancel_at_period_end"]


def test_a_later_decision_that_needs_a_person_too_is_the_only_one_in_the_queue(stage: Stage) -> None:
    older = stage.ask("scheduled", "cancel", TOO_LATE)
    assert stage.run(older).state == "manual"
    stage.later(minutes=1)
    newer = stage.ask("scheduled", "discount", {"offer_id": "off_1", "coupon": "GONE", "headline": "Less"})
    assert stage.run(newer).code == "coupon_gone"
    assert (stage.now(older).state, stage.now(older).code) == ("failed", "superseded")
    with stage.rt.transaction(stage.workspace_id) as session:
        assert [action.id for action in actions.waiting(session, stage.workspace_id, "test")] == [newer.id]
    assert stage.writes() == []


def test_a_decision_about_somebody_elses_subscription_takes_no_ones_place(stage: Stage) -> None:
    older = stage.ask("scheduled", "cancel", TOO_LATE)
    stage.run(older)
    stage.later(minutes=1)
    newer = stage.ask("scheduled", "cancel", customer=stage.shapes["yearly"][0])
    assert stage.run(newer).code == "wrong_customer"
    assert stage.now(older).state == "manual"


def test_a_request_that_stripe_will_never_show_can_be_closed_by_the_team(stage: Stage) -> None:
    stage.owner()
    action = stage.ask("monthly", "cancel", subscription="sub_nobody_knows", state="requested", code="unknown_subscription")
    assert actions.mark_done(stage.rt, stage.workspace_id, action.id, "usr_1") is False
    for expected in (True, False):
        with stage.rt.transaction(stage.workspace_id) as session:
            assert actions.close(session, stage.workspace_id, action.id, stage.rt.now(), "usr_1") is expected
    assert (stage.now(action).state, stage.now(action).code) == ("failed", "closed_by_team")
    assert stage.facts(action) == ["action.requested", "action.failed"]
    assert [(entry.actor, entry.verb, entry.target) for entry in stage.all(select(AuditEntry))] == [("usr_1", "action.closed", action.id)]
    [letter] = stage.letters()
    text = letter.payload["text"]
    assert "The team at Fernhill Software has closed your request to cancel your subscription." in text
    assert "If that is not what you expected, please contact Fernhill Software." in text
    assert "Nothing was changed" not in text, "the team may have changed it by hand"


def test_what_is_under_way_or_another_tenants_cannot_be_closed(stage: Stage) -> None:
    action = stage.ask("scheduled", "cancel", TOO_LATE)
    with stage.rt.transaction(stage.workspace_id) as session:
        assert actions.close(session, stage.workspace_id, action.id, stage.rt.now(), "usr_1") is False
    stage.run(action)
    with stage.rt.transaction("ws_other") as session:
        assert actions.close(session, "ws_other", action.id, stage.rt.now(), "usr_x") is False
    assert stage.now(action).state == "manual"


@pytest.mark.parametrize(("coupon", "code"), [("GONE", "coupon_gone"), ("STAY20", "coupon_not_valid")])
def test_a_coupon_that_turned_out_to_be_over_is_read_again_for_the_next_customer(stage: Stage, coupon: str, code: str) -> None:
    if coupon != "GONE":
        stage.change(coupon, valid=False, max_redemptions=1, times_redeemed=1)
    done = stage.run(stage.ask("monthly", "discount", {"offer_id": "off_1", "coupon": coupon, "headline": "Less"}))
    assert done.code == code
    assert [row.row_id for row in stage.work_rows("refetch")] == [f"{stage.connection_id}/coupon/{coupon}"]


def test_the_look_at_the_coupon_is_called_by_its_name(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")
    stage.run(action)
    assert [attempt.step for attempt in stage.attempts(action)] == ["precheck", "customer", "coupon", "write", "read_back", "next_invoice"]


def test_what_waits_since_access_was_lost_is_due_at_the_renewal_the_mirror_knows(stage: Stage) -> None:
    kept = stage.ask("monthly", "cancel")
    stage.run(kept)
    renewal = datetime.fromtimestamp(stage.stripe_says(kept.subscription)["items"]["data"][0]["current_period_end"], UTC)
    with stage.rt.transaction(stage.workspace_id) as session:
        session.execute(update(Connection).values(state="disconnected"))
    waiting = stage.run(stage.ask("monthly", "undo_cancel"))
    assert (waiting.state, waiting.code, waiting.due_on) == ("manual", "not_connected", renewal)


def test_what_may_have_been_written_is_not_said_to_have_changed_nothing(stage: Stage) -> None:
    stage.fault("timeout_after", "/v1/subscriptions/*", "POST", times=1)
    older = stage.ask("monthly", "discount")
    stage.work(older.id)
    stage.sql("update work set attempts = 899")
    stage.fault("500", "/v1/*")
    stage.work(older.id)
    assert stage.now(older).code == "stripe_unavailable"
    stage.calm()
    stage.change(subscription(stage), discounts="", metadata={"holdfast_action": "act_of_another"})
    stage.later(minutes=1)
    assert stage.run(stage.ask("monthly", "cancel")).state == "verified"
    assert stage.now(older).state == "manual"
    with stage.rt.transaction(stage.workspace_id) as session:
        actions.retry(session, stage.workspace_id, older.id, stage.rt.now(), "usr_1")
    done = stage.run(older)
    assert (done.state, done.code) == ("manual", "superseded")
    assert stage.stripe_says(subscription(stage))["cancel_at_period_end"] is True


def test_an_older_decision_under_way_again_does_not_undo_a_later_one(stage: Stage) -> None:
    older = stage.ask("monthly", "discount", state="requested", code="plain")
    stage.later(minutes=1)
    stage.ask("monthly", "cancel")
    # As it would be had the older one been retried in the moment before the later one was verified.
    stage.run(stage.all(select(Action).where(Action.verb == "cancel"))[0])
    assert (stage.now(older).state, stage.now(older).code) == ("failed", "superseded")
    back_in_the_queue = update(Action).where(Action.id == older.id).values(state="queued", code=None)
    with stage.rt.transaction(stage.workspace_id) as session:
        session.execute(back_in_the_queue)
        queues.enqueue(session, "action", older.id, stage.workspace_id, due_at=stage.rt.now())
    done = stage.run(older)
    assert (done.state, done.code) == ("failed", "superseded")
    assert stage.stripe_says(subscription(stage))["cancel_at_period_end"] is True


def test_nothing_of_a_worker_counts_once_another_has_taken_over_even_if_that_one_has_done_nothing_yet(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")

    def take_over(method: str, _url: str) -> None:
        if method == "post":
            stage.sql("update work set lease_token = lease_token + 1, lease_until = clock_timestamp() + interval '1 minute'")

    stage.client.after.append(take_over)
    assert stage.work(action.id) is None
    assert stage.now(action).state == "prechecked"
    assert [attempt.step for attempt in stage.attempts(action)] == ["precheck", "customer", "coupon"]
    assert stage.work_rows()[0].lease_token == 2
    stage.client.after.clear()
    stage.end_leases()
    assert stage.run(action).state == "verified"
    assert stage.effects(subscription(stage)) == ["discount"]


def test_the_intent_is_kept_as_it_was_asked(stage: Stage) -> None:
    action = stage.ask("monthly", "discount")
    stage.run(action)
    assert json.dumps(stage.now(action).intent, sort_keys=True) == json.dumps(action.intent, sort_keys=True)
