"""What the business's own system was asked to do is done once Stripe shows it, and never by what was there before."""

import json
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest
from freezegun import freeze_time
from sqlalchemy import event, select

from connect_app import config
from connect_app.models import Action, Connection, Receipt
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from jobs import actions
from jobs.outbound import messages
from sandbox.stripe import coupons, dashboard
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.wire import Request
from tests import customers, make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service import test_outbound as outbound
from tests.stories.diary import BEGIN, Diary
from webhooks import projections

PAUSED_UNTIL = BEGIN + timedelta(days=75)
UNIX = int(PAUSED_UNTIL.timestamp())
ISO = PAUSED_UNTIL.isoformat()
MINT: dict[str, Any] = {
    "id": "hf_ses_1", "name": "20% off, one bill", "percent_off": "20", "amounts": {}, "duration": "once", "duration_in_months": None,
    "redeem_by": (BEGIN + timedelta(days=7)).isoformat(),
}  # fmt: skip


@pytest.fixture
def diary(rt: Runtime, local: LocalStripe) -> Iterator[Diary]:
    with freeze_time(BEGIN, tick=True) as clock:
        stage = make.workspace(rt, local)
        make.read_in(rt)
        told = len(list(local.world(stage.account, False).all("event")))
        yield Diary(rt=rt, local=local, clock=clock, stage=stage, app=customers.app(rt), begun=told, told=told)


def asked(
    diary: Diary, verb: str, intent: dict[str, Any], shape: str = "monthly", state: str = "requested", code: str | None = "yours"
) -> Action:
    """What a choice asks of the business's own system."""
    customer, subscription = diary.stage.shapes[shape]
    with diary.rt.transaction(diary.stage.workspace_id) as session:
        return actions.ask(
            session,
            workspace_id=diary.stage.workspace_id,
            mode="test",
            connection_id=diary.stage.connection_id,
            customer=customer,
            subscription=subscription,
            verb=verb,
            intent=intent,
            now=diary.rt.now(),
            state=state,
            code=code,
        )


def every(diary: Diary, model: Any) -> list[Any]:
    with diary.rt.transaction(diary.stage.workspace_id) as session:
        return list(session.execute(select(model)).scalars())


def states(diary: Diary) -> dict[str, str]:
    return {action.id: action.state for action in every(diary, Action)}


def reads(diary: Diary, shape: str = "monthly") -> int:
    return sum(row["path"] == f"/v1/subscriptions/{diary.stage.shapes[shape][1]}" for row in diary.local.requests)


def changed(diary: Diary, shape: str = "monthly", **change: Any) -> None:
    diary.changes(diary.stage.shapes[shape][1], **change)


def test_what_their_system_does_is_verified_by_the_news_of_it_whatever_was_asked(diary: Diary) -> None:
    world = diary.local.world(diary.stage.account, False)
    other = next(one["id"] for one in world.all("price") if one["recurring"]["interval"] == "month" and one["unit_amount"] == 1200)
    plan = diary.stripe("subscription", diary.stage.shapes["two_subscriptions"][1])["items"]["data"][0]["id"]
    trial_ends = int((BEGIN + timedelta(days=40)).timestamp())
    coupons.create(diary.by_hand(), {"id": MINT["id"], "percent_off": 20.0, "duration": "once"})
    wanted: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "monthly": ("discount", {"coupon": "STAY20"}, {"discounts": [{"coupon": "STAY20"}]}),
        "past_due": ("discount", {"mint": MINT}, {"discounts": [{"coupon": MINT["id"]}]}),
        "yearly": ("pause", {"resumes_at": ISO}, {"pause_collection": {"behavior": "void", "resumes_at": UNIX - 12 * 3600}}),
        "multi_item": ("extension", {"resumes_at": ISO}, {"pause_collection": {"behavior": "mark_uncollectible", "resumes_at": UNIX}}),
        "trialing": ("trial_extension", {"trial_end": (BEGIN + timedelta(days=40)).isoformat()}, {"trial_end": trial_ends}),
        "two_subscriptions": ("plan_change", {"price": other, "when": "now"}, {"items": [{"id": plan, "price": other}]}),
        "scheduled": ("cancel", {"when": "now"}, {"status": "canceled"}),
        "paused": ("resume", {}, {"pause_collection": None}),
    }
    asked_for = {shape: asked(diary, verb, intent, shape) for shape, (verb, intent, _) in wanted.items()}
    before = {shape: reads(diary, shape) for shape in wanted}
    diary.work()
    assert {shape: reads(diary, shape) for shape in wanted} == before, "without news nobody asks Stripe"
    for shape in wanted:
        changed(diary, shape, metadata={"seats": "4"})
    assert set(states(diary).values()) == {"requested"}, "other news is no confirmation"
    for shape, (_, _, change) in wanted.items():
        changed(diary, shape, **change)
        assert states(diary)[asked_for[shape].id] == "verified", shape
    receipts = {receipt.action_id: receipt for receipt in every(diary, Receipt)}
    for action in every(diary, Action):
        assert (action.code, action.message) == (None, None)
        assert receipts[action.id].before != receipts[action.id].after, action.verb
        assert receipts[action.id].read_back_at == action.verified_at
    assert not [one for one in diary.local.effects if one["source"] == "api"], "we wrote nothing"
    diary.tell_again(random.Random(7))
    assert len(every(diary, Receipt)) == len(wanted)


def test_what_was_there_before_it_was_asked_for_confirms_nothing(diary: Diary) -> None:
    changed(diary, "monthly", discounts=[{"coupon": "STAY20"}])
    changed(diary, "yearly", pause_collection={"behavior": "void", "resumes_at": UNIX})
    diary.passes(timedelta(seconds=5))
    discount = asked(diary, "discount", {"coupon": "STAY20"})
    # The end of a pause may be hours off, as whoever is told a day reads it; an older one is no answer for that.
    pause = asked(diary, "pause", {"resumes_at": (PAUSED_UNTIL + timedelta(hours=9)).isoformat()}, "yearly")
    changed(diary, "monthly", metadata={"seats": "4"})
    changed(diary, "yearly", metadata={"seats": "4"})
    assert states(diary) == {discount.id: "requested", pause.id: "requested"}
    # Another coupon of the account's is not what was asked for, either; the same one anew is.
    [kept] = diary.stripe("subscription", diary.subscription)["discounts"]
    held = kept if isinstance(kept, str) else kept["id"]
    changed(diary, "monthly", discounts=[{"discount": held}, {"coupon": "LOYAL15"}])
    assert states(diary)[discount.id] == "requested"
    changed(diary, "monthly", discounts=[{"coupon": "STAY20"}])
    assert states(diary) == {discount.id: "verified", pause.id: "requested"}


def test_a_discount_that_the_mirror_had_not_heard_of_yet_confirms_nothing(diary: Diary) -> None:
    diary.is_deaf = True
    changed(diary, discounts=[{"coupon": "STAY20"}])
    diary.is_deaf = False
    diary.minutes(2)
    action = asked(diary, "discount", {"coupon": "STAY20"})
    changed(diary, metadata={"seats": "4"})
    assert states(diary) == {action.id: "requested"}


def test_one_piece_of_news_confirms_all_that_it_shows_in_the_order_in_which_it_was_asked_for(diary: Diary) -> None:
    first = asked(diary, "discount", {"coupon": "STAY20"})
    diary.passes(timedelta(seconds=5))
    second = asked(diary, "pause", {"resumes_at": ISO})
    changed(diary, discounts=[{"coupon": "STAY20"}], pause_collection={"behavior": "void", "resumes_at": UNIX})
    assert states(diary) == {first.id: "verified", second.id: "verified"}


def test_a_stripe_that_does_not_answer_is_asked_again(diary: Diary) -> None:
    action = asked(diary, "cancel", {"when": "period_end"})
    fault = {"method": "GET", "path": "/v1/subscriptions/*", "kind": "500", "times": 3}
    diary.local.answer(Request(method="POST", path="/_sandbox/faults", query="", headers={}, body=json.dumps(fault).encode()))
    changed(diary, cancel_at_period_end=True)
    diary.minutes(1)
    assert states(diary) == {action.id: "verified"}


def test_an_account_that_has_cut_us_off_leaves_it_waiting_and_the_reconnect_finds_it(diary: Diary) -> None:
    action = asked(diary, "cancel", {"when": "period_end"})
    diary.leaves()
    changed(diary, cancel_at_period_end=True)
    assert [one.state for one in every(diary, Connection)] == ["disconnected"]
    assert states(diary) == {action.id: "requested"}
    diary.comes_back()
    assert states(diary) == {action.id: "verified"}


def test_news_asks_about_what_waits_in_the_query_it_asks_anyway(diary: Diary) -> None:
    asked(diary, "cancel", {"when": "period_end"}, code="plain")
    asked(diary, "cancel", {"when": "period_end"}, "yearly", code="not_connected")
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.append(statement)

    event.listen(diary.rt.engine, "before_cursor_execute", note)
    diary.passes(timedelta(seconds=5))
    try:
        for shape in ("monthly", "yearly", "trialing"):
            dashboard.change(diary.local, diary.stage.shapes[shape][1], {"metadata": {"seats": "4"}})
        diary.passes(timedelta(seconds=5))
        diary.work()
    finally:
        event.remove(diary.rt.engine, "before_cursor_execute", note)
    assert sum("from actions" in one.lower() for one in said) == 1, "three pieces of news, one batch, one query"
    assert not [one for one in said if "for update" in one.lower() and "actions" in one], "nothing of it waits for their system"


def test_the_team_may_let_holdfast_do_it_after_all(diary: Diary) -> None:
    action = asked(diary, "discount", {"coupon": "STAY20"})
    with diary.rt.transaction(diary.stage.workspace_id) as session:
        assert actions.retry(session, diary.stage.workspace_id, action.id, diary.rt.now(), "usr_1")
    diary.work()
    assert states(diary) == {action.id: "verified"}
    assert [one["kind"] for one in diary.local.effects if one["source"] == "api"] == ["discount"]


# What their system is told.

CANCEL = {"when": "now", "invoice_now": True, "prorate": False, "open_invoices": "void", "feedback": "unused", "comment": "No time."}
AMOUNTS = {**MINT, "percent_off": None, "amounts": {"eur": 450, "usd": 500}, "duration": "repeating", "duration_in_months": 3}


ASKED: list[tuple[str, dict[str, Any], str, dict[str, str]]] = [
    ("discount", {"coupon": "STAY20", "offer_id": "off_1"}, "add the coupon STAY20", {"coupon": "STAY20", "offer_id": "off_1"}),
    ("discount", {"mint": MINT}, "make the coupon hf_ses_1 (20% off, one bill)", {"coupon": "hf_ses_1", "discount_percent": "20"}),
    (
        "discount",
        {"mint": AMOUNTS},
        "make the coupon hf_ses_1",
        {"discount_amount": "500", "discount_currency": "usd", "discount_duration": "repeating", "discount_months": "3"},
    ),
    ("pause", {"resumes_at": ISO}, "pause the subscription until 2026-05-16 12:00 UTC, its bills void", {"resumes_at": "2026-05-16"}),
    ("extension", {"resumes_at": ISO}, "its bills marked as uncollectible", {"verb": "extension", "resumes_at": "2026-05-16"}),
    ("trial_extension", {"trial_end": ISO}, "let the trial run until 2026-05-16", {"trial_end": "2026-05-16"}),
    (
        "plan_change",
        {"price": "price_2", "when": "period_end", "proration": "none"},
        "change the plan to the price price_2 with the next period",
        {"price": "price_2", "when": "period_end", "proration": "none"},
    ),
    (
        "cancel",
        CANCEL,
        "cancel the subscription now, bill what is outstanding, void its open invoices",
        {"when": "now", "invoice_now": "true", "prorate": "false", "open_invoices": "void"},
    ),
]


def test_their_system_gets_all_it_needs_by_webhook_and_by_pass_through_url(servers: Servers, local: LocalStripe) -> None:
    environ = {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url, "HOLDFAST_EGRESS_ALLOW": "127.0.0.0/8"}
    with ledgers.stage(config.load({**make.environ(local), **environ}), local) as stage, outbound.listening() as sink:
        names = sorted({name for _, _, _, variables in ASKED for name in variables})
        query = "&".join(f"{name}={{{{ {name} }}}}" for name in ("subscription_id", *names))
        told = outbound.add(stage, sink.url, "action.requested")
        called = outbound.add(stage, f"{sink.url}?{query}", "cancel", "accept", kind="call")
        customer, subscription = stage.shapes["already_canceling"]
        held = objects.read_subscription(stage.stripe_says(subscription))
        with stage.rt.transaction(stage.workspace_id) as session:
            projections.apply_reads(session, stage.workspace_id, stage.connection_id, [held], stage.rt.now())
        for verb, intent, words, variables in ASKED:
            session_id = stage.visit(customer, subscription)
            choice = stage.choice(session_id, "cancel" if verb == "cancel" else "accept")
            whole = {"session_id": session_id, "choice_id": choice, "state": "requested", "code": "yours"}
            action = stage.ask("already_canceling", verb, intent, **whole)
            sink.heard.clear()
            outbound.deliver(stage, told)
            outbound.deliver(stage, called)
            message, call = sink.heard
            said = outbound.verified(message, told.secret)
            jsonschema.validate(said, messages.schema("action.requested"))
            data = said["data"]
            assert (data["action"], data["customer"], data["subscription"]) == (action.id, customer, subscription)
            assert (data["verb"], data["code"], data["intent"]) == (verb, "yours", intent)
            got = {name: value for name, [value] in parse_qs(urlsplit(call.path).query).items()}
            assert got["subscription_id"] == subscription
            assert variables.items() <= got.items(), got
            # What the team reads beside it.
            assert words in (data["message"] or "")
            assert "has been asked since" in data["message"]
            assert ("cancellation is to be taken back" in data["message"]) == (verb != "cancel")
