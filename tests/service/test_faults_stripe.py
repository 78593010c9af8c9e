"""Stripe on its bad days, row by row of the fault matrix: busy, wrong, down for hours, changed meanwhile by other hands."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from connect_app import config, ids, runtime
from connect_app.models import Action, Connection, Workspace
from jobs import actions, budget, work
from sandbox.stripe import accounts, pauses, subscriptions
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers, severing, test_told
from tests.service.ledgers import Stage

# What each wish does to Stripe, by the ledger of effects; the schedule of a plan change shows as `other`.
EFFECTS = {
    "cancel": ["cancel_at_period_end"],
    "discount": ["discount"],
    "mint": ["discount"],
    "pause": ["pause"],
    "extension": ["extension"],
    "plan_change": ["undo_cancel"],
}
_CALLS = {
    "mint": ["/v1/coupons", "/v1/subscriptions/*"],
    "plan_change": ["/v1/subscriptions/*", "/v1/subscription_schedules", "/v1/subscription_schedules/*"],
}


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local) as opened:
        opened.client.before.append(ledgers.held_open(opened))
        yield opened


def shape_of(wish: str) -> str:
    return "already_canceling" if wish == "plan_change" else "monthly"


def other_price(stage: Stage) -> str:
    """A monthly price of the account that the customer does not have."""
    subscription = stage.stripe_says(stage.shapes["already_canceling"][1])
    has = {item["price"]["id"] for item in subscription["items"]["data"]}
    found: str = next(
        price["id"]
        for price in stage.local.world(stage.account, False).all("price", active=True)
        if price["id"] not in has and price["currency"] == "usd" and (price["recurring"] or {}).get("usage_type") == "licensed"
    )
    return found


def ask(stage: Stage, wish: str, **whose: Any) -> Action:
    soon = (stage.rt.now() + timedelta(days=7)).replace(microsecond=0).isoformat()
    later = (stage.rt.now() + timedelta(days=70)).replace(microsecond=0).isoformat()
    made: dict[str, Any] = {"id": "hf_made", "name": "15% off", "percent_off": "15", "duration": "once"}
    intents: dict[str, tuple[str, dict[str, Any] | None]] = {
        "cancel": ("cancel", None),
        "discount": ("discount", None),
        "mint": ("discount", {"offer_id": "off_1", "mint": {**made, "redeem_by": soon}}),
        "pause": ("pause", {"offer_id": "off_1", "resumes_at": later}),
        "extension": ("extension", {"offer_id": "off_1", "resumes_at": later}),
        "plan_change": ("plan_change", {"offer_id": "off_1", "when": "period_end", "proration": "none", "price": other_price(stage)}),
    }
    verb, intent = intents[wish]
    return stage.ask(shape_of(wish), verb, intent, **whose)


def once(when: Callable[[str, str], bool], do: Callable[[], object]) -> Callable[[str, str], None]:
    """A look at each request that does something before the first that fits."""
    left = [do]

    def look(method: str, url: str) -> None:
        if left and when(method, url):
            left.pop()()

    return look


def seen(stage: Stage, action: Action) -> list[str]:
    return [kind for kind in stage.effects(action.subscription) if kind != "other"]


def schedules(stage: Stage, action: Action) -> list[Any]:
    return list(stage.local.world(stage.account, False).all("subscription_schedule", subscription=action.subscription))


# F19, F20: between the calls of a plan with several, too.


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("kind", ["500", "500_after", "timeout_after"])
@pytest.mark.parametrize(("wish", "path"), [(wish, path) for wish, paths in _CALLS.items() for path in paths])
def test_a_fault_at_any_call_of_several_leaves_each_of_them_done_once(stage: Stage, kind: str, wish: str, path: str, times: int) -> None:
    stage.fault(kind, path, "POST", times=times)
    action = ask(stage, wish)
    assert stage.run(action).state == "verified"
    assert seen(stage, action) == EFFECTS[wish]
    if wish == "plan_change":
        [schedule] = schedules(stage, action)
        assert [phase["items"][0]["price"] for phase in schedule["phases"]][-1] == other_price(stage)
    else:
        assert stage.stripe_says("hf_made")["times_redeemed"] == 1


# F20: the answer begins and does not end, on a real line and with the SDK's own way of reading it.


@pytest.fixture
def line(stage: Stage) -> Iterator[severing.Line]:
    """The stage's way to Stripe over a socket that can be cut."""
    with severing.line(stage.local) as line:
        settings = stage.rt.settings.model_copy(update={"stripe_api_base": line.url})
        networked = runtime.open_runtime(settings)
        in_process, stage.rt = stage.rt, dataclasses.replace(stage.rt, gateways=networked.gateways)
        yield line
        stage.rt = in_process
        networked.close()


@pytest.mark.parametrize("wish", ["cancel", "mint", "plan_change"])
@pytest.mark.parametrize("at", severing.PLACES)
def test_an_answer_that_breaks_off_at_any_byte_leaves_each_call_done_once(stage: Stage, line: severing.Line, wish: str, at: str) -> None:
    line.cuts_each_once(at)
    action = ask(stage, wish)
    done = stage.run(action)
    assert (done.state, done.code, done.message) == ("verified", None, None)
    # The looks before and after were cut as well, each of them once.
    assert line.cut == {"cancel": 2, "mint": 5, "plan_change": 6}[wish]
    assert seen(stage, action) == EFFECTS[wish]
    assert len({row["idempotency_key"] for row in stage.writes()}) == len({row["path"] for row in stage.writes()})
    if wish == "plan_change":
        assert len(schedules(stage, action)) == 1
    if wish == "mint":
        assert stage.stripe_says("hf_made")["times_redeemed"] == 1


# F17: an account that Stripe holds up, beside one that it does not.


def another_business(stage: Stage) -> tuple[str, str]:
    """A workspace with an account of its own, and an action of one of its customers: the ids of both."""
    account = accounts.make(stage.local, "Birch & Co.", "owner@birch.example")["id"]
    accounts.connect(stage.local, account, False, "read_write")
    made = stage.control("POST", "shapes", {"account": account, "shape": "monthly"})
    workspace_id, connection_id, now = ids.new("ws"), ids.new("con"), stage.rt.now()
    with stage.rt.transaction(workspace_id) as session:
        session.add(Workspace(id=workspace_id, slug="birch", name="Birch & Co.", created_at=now))
        session.flush()
        session.add(
            Connection(
                id=connection_id, workspace_id=workspace_id, mode="test", account=account, account_name="Birch & Co.",
                scope="read_write", state="connected", connected_at=now, read_in={},
            )
        )  # fmt: skip
        session.flush()
        action = actions.ask(
            session, workspace_id=workspace_id, mode="test", connection_id=connection_id, customer=made["customer"],
            subscription=made["subscription"], verb="cancel", intent={"when": "period_end"}, now=now,
        )  # fmt: skip
    return workspace_id, action.id


def test_an_account_that_is_told_to_slow_down_does_so_as_one_and_keeps_no_other_account_waiting(stage: Stage) -> None:
    held = [stage.ask(shape, "cancel") for shape in ("monthly", "yearly", "trialing", "past_due", "paused", "multi_item")]
    workspace_id, other = another_business(stage)
    for action in held:
        stage.fault("429", f"/v1/subscriptions/{action.subscription}")
    tries = turns = 0
    began = time.monotonic()
    while tries < 6:
        for action in held:
            end = stage.work(action.id)
            assert isinstance(end, work.Again)
            assert end.after is not None
            turns += 1
        tries = len([row for row in stage.local.requests if row["path"].startswith("/v1/subscriptions/")])
    # Six actions, and yet from the second refusal on they try as one, each time after twice as long.
    assert time.monotonic() - began >= 0.99 * sum(0.1 * 2**number for number in range(tries - 2))
    assert turns > tries
    assert isinstance(stage.work(other), work.Done)
    with stage.rt.transaction(workspace_id) as session:
        assert session.get_one(Action, other).state == "verified"
    # Of those who only waited, nothing was tried.
    assert sum(row.attempts for row in stage.work_rows()) == tries
    stage.calm()
    while any(stage.now(action).state != "verified" for action in held):
        for action in held:
            if stage.now(action).state != "verified":
                stage.work(action.id)
        assert time.monotonic() - began < 60
    assert [stage.effects(action.subscription) for action in held] == [["cancel_at_period_end"]] * len(held)


def test_an_account_that_goes_on_refusing_is_asked_every_half_minute_and_one_that_answers_again_at_once(stage: Stage) -> None:
    def hold(*, is_first: bool = True) -> float:
        pause = budget.hold(stage.rt, "acct_1", "test", is_first=is_first)
        assert pause is not None
        return pause.total_seconds()

    # One refusal alone holds nobody up.
    assert budget.hold(stage.rt, "acct_1", "test", is_first=False) is None
    assert budget.enter(stage.rt, "acct_1", "test") == budget.Entry(is_first=True)
    pauses = [hold() for _ in range(11)]
    assert all(0.1 * 2**number <= pause <= 0.12 * 2**number for number, pause in enumerate(pauses[:9]))
    assert all(30 <= pause <= 36 for pause in pauses[9:])
    # Who asked before it began and is refused as well, tells nothing new.
    assert hold(is_first=False) <= 36
    assert budget.enter(stage.rt, "acct_1", "test").later is not None
    assert budget.enter(stage.rt, "acct_2", "test") == budget.enter(stage.rt, "acct_1", "live") == budget.Entry()
    budget.release(stage.rt, "acct_1", "test")
    assert budget.enter(stage.rt, "acct_1", "test") == budget.Entry()
    assert budget.hold(stage.rt, "acct_1", "test", is_first=False) is None


def test_who_finds_a_subscription_in_other_hands_asks_less_and_less_often_and_keeps_nobody_else_waiting(stage: Stage) -> None:
    held, other = ask(stage, "discount"), stage.ask("yearly", "cancel")
    stage.fault("lock_timeout", f"/v1/subscriptions/{held.subscription}")

    def pauses() -> list[timedelta]:
        ends = [stage.work(held.id) for _ in range(14)]
        return [end.after for end in ends if isinstance(end, work.Again) and end.after is not None]

    assert max(pauses()) <= timedelta(seconds=4)
    stage.later(minutes=20)
    later = pauses()
    assert timedelta(seconds=4) < max(later) <= timedelta(seconds=60)
    # One request a try: a refusal is not hammered at.
    assert len([row for row in stage.local.requests if row["path"] == f"/v1/subscriptions/{held.subscription}"]) == 28
    assert stage.run(other).state == "verified"
    stage.calm()
    assert stage.run(held).state == "verified"
    assert seen(stage, held) == ["discount"]


# F21: two have the same key in hand.


def test_a_key_that_is_in_use_elsewhere_is_waited_for(stage: Stage) -> None:
    action = ask(stage, "discount")
    stage.fault("slow", "/v1/subscriptions/*", "POST", times=1, seconds=1.5)
    is_writing = threading.Event()
    stage.client.before.append(lambda method, _url: is_writing.set() if method == "post" else None)
    first = threading.Thread(target=lambda: stage.work(action.id))
    stage.client.before.pop(0)  # two at once: what one of them holds is no mistake of the other
    first.start()
    assert is_writing.wait(10)
    stage.end_leases()
    end = stage.work(action.id)
    first.join(10)
    assert isinstance(end, work.Again)
    assert "idempotent key" in end.problem.lower()
    assert stage.run(action).state == "verified"
    assert seen(stage, action) == ["discount"]
    assert len({row["idempotency_key"] for row in stage.writes()}) == 1


# F24: down for hours, and everybody's choices wait.


def test_after_six_hours_without_stripe_all_that_waited_is_done_once(stage: Stage) -> None:
    waiting = [ask(stage, "discount"), stage.ask("yearly", "cancel"), ask(stage, "plan_change")]
    stage.fault("500", "/v1/*")
    for _ in range(12):
        for action in waiting:
            assert isinstance(stage.work(action.id), work.Again)
        stage.later(minutes=30)
    assert {stage.now(action).state for action in waiting} == {"queued"}
    assert "Stripe has not confirmed it yet. We keep at it." in test_told.line(stage, waiting[0]).text
    stage.calm()
    assert {stage.run(action).state for action in waiting} == {"verified"}
    assert [seen(stage, action) for action in waiting] == [["discount"], ["cancel_at_period_end"], ["undo_cancel"]]


def test_at_its_own_pace_an_action_is_tried_for_longer_than_six_hours_and_then_a_person_hears_of_it(stage: Stage) -> None:
    action = ask(stage, "discount")
    began = stage.rt.now()
    stage.fault("500", "/v1/*")
    while isinstance(end := stage.work(action.id), work.Again):
        stage.later(seconds=(end.after or timedelta(0)).total_seconds())
    assert timedelta(hours=6, minutes=20) < stage.rt.now() - began < timedelta(hours=10)
    assert isinstance(end, work.GiveUp)
    done = stage.now(action)
    assert (done.state, done.code) == ("manual", "stripe_unavailable")


# F25: the business takes our access away between the choice and the change.


@pytest.mark.parametrize("wish", list(EFFECTS))
def test_who_is_cut_off_before_the_change_tells_the_team_changes_nothing_and_goes_on_after_a_reconnect(stage: Stage, wish: str) -> None:
    action = ask(stage, wish)
    accounts.disconnect(stage.local, stage.account, False)
    done = stage.run(action, at_most=2)
    assert (done.state, done.code) == ("manual", "not_connected")
    assert seen(stage, action) == []
    stage.reconnect()
    assert stage.run(action).state == "verified"
    assert seen(stage, action) == EFFECTS[wish]


# F26: other hands were quicker.


@pytest.mark.parametrize("wish", ["discount", "mint", "pause", "extension", "plan_change"])
@pytest.mark.parametrize("moment", ["before the look", "before the write"])
def test_no_offer_revives_what_was_canceled_at_stripe_meanwhile(stage: Stage, wish: str, moment: str) -> None:
    action = ask(stage, wish)
    if moment == "before the look":
        stage.change(action.subscription, status="canceled")
    else:
        stage.client.before.append(once(lambda method, _: method == "post", lambda: stage.change(action.subscription, status="canceled")))
    done = stage.run(action)
    assert (done.state, done.code) == ("failed", "subscription_ended")
    assert stage.stripe_says(action.subscription)["status"] == "canceled"


def test_a_cancel_of_what_was_canceled_at_stripe_meanwhile_is_done(stage: Stage) -> None:
    action = ask(stage, "cancel")
    stage.change(action.subscription, status="canceled")
    assert stage.run(action).state == "verified"
    assert stage.writes() == []


# What else other hands do, and which wishes no longer fit what is there then.
MEANWHILE: dict[str, dict[str, str]] = {
    "past_due": {"plan_change": "past_due"},
    "unpaid": dict.fromkeys(("discount", "mint", "pause", "extension", "plan_change"), "unpaid"),
    "paused": dict.fromkeys(("pause", "extension", "plan_change"), "paused_by_stripe"),
    "paused_elsewhere": dict.fromkeys(("pause", "extension", "plan_change"), "paused_already"),
    "other_plan": {},
    "more_of_it": {},
    "canceling": {},
}


def meanwhile(stage: Stage, id: str, what: str) -> None:
    world = stage.local.world(stage.account, False)
    by_hand, item = (
        Context(local=stage.local, world=world, source="dashboard", request_id="req_1"),
        stage.stripe_says(id)["items"]["data"][0],
    )
    match what:
        case "past_due" | "unpaid":
            stage.change(id, status=what)
        case "paused":
            pauses.pause(by_hand, id, {})
        case "paused_elsewhere":
            subscriptions.update(by_hand, id, {"pause_collection": {"behavior": "keep_as_draft"}})
        case "other_plan":
            other = world.put({**stage.stripe_says(item["price"]["id"]), "id": f"price_other{id}"})
            subscriptions.update(by_hand, id, {"items": [{"id": item["id"], "price": other["id"]}], "proration_behavior": "none"})
        case "more_of_it":
            subscriptions.update(by_hand, id, {"items": [{"id": item["id"], "quantity": 7}], "proration_behavior": "none"})
        case "canceling":
            subscriptions.update(by_hand, id, {"cancel_at_period_end": True})


def standing(subscription: dict[str, Any], wish: str) -> dict[str, Any]:
    """What this wish is not about."""
    about = {"pause": "pause_collection", "extension": "pause_collection"}.get(wish)
    bought = [(item["price"]["id"], item["quantity"]) for item in subscription["items"]["data"]]
    return {"items": bought, **{name: subscription[name] for name in ("status", "pause_collection", "trial_end") if name != about}}


@pytest.mark.parametrize("what", list(MEANWHILE))
def test_an_offer_on_what_became_another_fits_it_or_changes_nothing_and_a_cancel_is_done(stage: Stage, what: str) -> None:
    for wish, effects in EFFECTS.items():
        made = stage.control("POST", "shapes", {"account": stage.account, "shape": "canceling" if wish == "plan_change" else "monthly"})
        action = ask(stage, wish, customer=made["customer"], subscription=made["subscription"])
        meanwhile(stage, action.subscription, what)
        before = stage.stripe_says(action.subscription)
        done, after = stage.run(action), stage.stripe_says(action.subscription)
        code = MEANWHILE[what].get(wish)
        assert (wish, done.state, done.code) == (wish, "verified" if code is None else "manual", code)
        assert (wish, standing(after, wish)) == (wish, standing(before, wish))
        assert (wish, seen(stage, action)) == (wish, [] if code or (what, wish) == ("canceling", "cancel") else effects)
        if code is not None:
            assert (wish, after) == (wish, before)
        elif wish == "plan_change":
            [now, later] = schedules(stage, action)[0]["phases"]
            assert [(line["price"], line["quantity"]) for line in now["items"]] == standing(before, wish)["items"]
            assert [(line["price"], line["quantity"]) for line in later["items"]] == [
                (action.intent["price"], before["items"]["data"][0]["quantity"])
            ]


@pytest.mark.parametrize("what", ["past_due", "unpaid", "paused", "other_plan", "more_of_it", "canceling"])
def test_what_becomes_another_between_the_look_and_the_write_is_not_taken_back_by_it(stage: Stage, what: str) -> None:
    for wish in ("cancel", "discount", "mint", "pause", "extension"):
        made = stage.control("POST", "shapes", {"account": stage.account, "shape": "monthly"})
        action, before = ask(stage, wish, customer=made["customer"], subscription=made["subscription"]), {}

        def change(action: Action = action, before: dict[str, Any] = before) -> None:
            meanwhile(stage, action.subscription, what)
            before |= stage.stripe_says(action.subscription)

        stage.client.before.append(once(lambda method, _: method == "post", change))
        done, after = stage.run(action), stage.stripe_says(action.subscription)
        assert (wish, standing(after, wish)) == (wish, standing(before, wish))
        if what == "canceling":
            # Whoever decided that later is not overruled, and a person is told.
            assert after["cancel_at_period_end"]
            assert (wish, done.code) == (wish, None if wish == "cancel" else "not_as_planned")
        else:
            assert (wish, done.state, seen(stage, action)) == (wish, "verified", EFFECTS[wish])


# F27: what was offered is gone.


@pytest.mark.parametrize("wrong", ["expired", "used up"])
def test_a_coupon_that_is_used_up_or_expired_before_the_change_discounts_nobody_and_the_team_is_told(stage: Stage, wrong: str) -> None:
    action = ask(stage, "discount")
    passed = int(stage.rt.now().timestamp()) - 60
    stage.change("STAY20", **({"redeem_by": passed} if wrong == "expired" else {"max_redemptions": 5, "times_redeemed": 5}))
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", "coupon_expired" if wrong == "expired" else "coupon_not_valid")
    assert stage.writes() == []


def test_a_price_that_is_archived_before_the_change_moves_nobody_and_the_team_is_told(stage: Stage) -> None:
    action = ask(stage, "plan_change")
    stage.change(action.intent["price"], active=False)
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", "price_archived")
    assert seen(stage, action) == []
    assert schedules(stage, action) == []


def test_a_price_that_is_archived_between_the_calls_leaves_the_customer_where_they_were_and_says_what_was_done(stage: Stage) -> None:
    action = ask(stage, "plan_change")
    stage.client.before.append(
        once(
            lambda method, url: method == "post" and "subscription_schedules/" in url,
            lambda: stage.change(action.intent["price"], active=False),
        )
    )
    done = stage.run(action)
    assert (done.state, done.code) == ("manual", "price_archived")
    assert len(schedules(stage, action)) <= 1
