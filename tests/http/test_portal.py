"""The portal: one lasting link, everything of one customer behind it, and nothing of anybody else's."""

import html
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from freezegun import freeze_time
from sqlalchemy import select, text, update

from connect_app import connections, ids, preferences
from connect_app.admin import flows
from connect_app.admin import offers as shelf
from connect_app.models import Action, Choice, FlowSession, Membership, PortalLink, User
from connect_app.runtime import Runtime
from flow_pages import portals
from flow_pages.document import Limits, PauseOffer
from jobs import actions as jobs_actions
from jobs import queues, work
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.customers import ORIGIN, Browser, bundle


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    staged = make.workspace(rt, local, origins=(ORIGIN,))
    make.read_in(rt)
    return staged


@pytest.fixture
def app(rt: Runtime) -> Flask:
    return customers.app(rt)


def link(app: Flask, stage: make.Stage, customer: str) -> str:
    answer = app.test_client().post("/api/embed/portal", json=bundle(stage, customer, None))
    assert answer.status_code == 200, answer.json
    assert set(answer.json) == {"url"}
    return str(answer.json["url"]).removeprefix("http://127.0.0.1:8000")


def guest(app: Flask, stage: make.Stage, shape: str) -> Browser:
    return Browser(client=app.test_client(use_cookies=False), path=link(app, stage, stage.shapes[shape][0]))


def actions(rt: Runtime, stage: make.Stage) -> list[tuple[str, str, str]]:
    with rt.transaction(stage.workspace_id) as session:
        found = session.execute(select(Action).order_by(Action.id)).scalars()
        return [(action.verb, action.subscription, action.state) for action in found]


def effects(local: LocalStripe, subscription: str) -> list[str]:
    return [effect["kind"] for effect in local.effects if effect["subscription"] == subscription]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("monthly", ["Active", "Next charge", "per month"]),
        ("yearly", ["Active", "Next charge", "per year"]),
        ("trialing", ["Trial", "Next charge"]),
        ("past_due", ["Payment failed"]),
        ("already_canceling", ["Cancels soon", "Ends on"]),
        ("paused", ["Paused until", "Next charge"]),
        ("multi_item", ["Contains"]),
        ("scheduled", ["Active"]),
    ],
)
def test_each_subscription_is_shown_as_it_is(app: Flask, stage: make.Stage, shape: str, said: list[str]) -> None:
    page = guest(app, stage, shape).look().page
    for words in said:
        assert words in page


def test_one_that_ends_later_than_its_next_bill_names_that_bill(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(
            text(
                'update subscriptions set raw = raw::jsonb || \'{"cancel_at_period_end": false, "cancel_at": 4000000000}\' where id = :id'
            ),
            {"id": stage.shapes["monthly"][1]},
        )
    page = guest(app, stage, "monthly").look().page
    assert "Cancels soon" in page
    assert re.search("<dt>Next charge</dt><dd>[A-Z][a-z]+ [0-9]+, 20", page)


def test_a_canceled_one_with_an_open_invoice_says_that_it_may_be_collected(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(
            text("update subscriptions set raw = raw::jsonb || '{\"cancel_at_period_end\": true}' where id = :id"),
            {"id": stage.shapes["past_due"][1]},
        )
    assert "Only an open invoice" in guest(app, stage, "past_due").look().page


def test_every_subscription_of_the_customer_is_listed_and_those_of_one_name_are_told_apart(
    app: Flask, rt: Runtime, stage: make.Stage
) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("update products set name = 'Pro'"))
    page = guest(app, stage, "two_subscriptions").look().page
    assert page.count('<section class="sub">') == 2
    assert len(set(re.findall(r"<h2[^>]*>([^<]+)", page))) == 2


def test_cancel_leads_through_the_flow_and_never_mind_comes_back(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    portal = guest(app, stage, "monthly").look()
    subscription = stage.shapes["monthly"][1]
    portal.press("cancel", subscription=subscription)
    assert portal.response is not None
    flow = Browser(client=portal.client, path=portal.response.request.path, page=portal.page)
    assert "answer" in flow.buttons, "the save flow"
    flow.press("keep")
    assert "Your subscriptions" in flow.page
    assert actions(rt, stage) == []
    flow.look().press("skip").press("confirm")
    customers.drain(rt)
    assert "is canceled" in flow.look().page
    assert f'href="{portal.path}"' in flow.page, "the way back leads to the portal"
    portal.look()
    assert "Cancels soon" in portal.page
    portal.press("undo", subscription=subscription)
    assert "Changing" in portal.page
    assert "undo" not in portal.buttons
    assert not app.test_client().get(f"{portal.path}/status").json["settled"]
    customers.drain(rt)
    assert "Active" in portal.look().page
    assert app.test_client().get(f"{portal.path}/status").json["settled"]
    assert effects(local, subscription) == ["cancel_at_period_end", "undo_cancel"]


def test_a_page_that_is_behind_what_was_read_back_says_so_until_its_news_are_in(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    subscription = stage.shapes["monthly"][1]
    flow = customers.handed_over(app, stage, "monthly").look().press("skip").press("confirm")
    customers.drain(rt)
    flow.look().press("undo")
    customers.drain(rt)
    with rt.transaction(stage.workspace_id) as session:
        raw = "jsonb_set(raw::jsonb, '{cancel_at_period_end}', 'true')"
        session.execute(text(f"update subscriptions set raw = {raw} where id = :id"), {"id": subscription})  # noqa: S608
    portal = guest(app, stage, "monthly").look()
    assert "Changing" in portal.page
    assert "undo" not in portal.buttons
    assert not app.test_client().get(f"{portal.path}/status").json["settled"]
    with freeze_time(rt.now() + timedelta(seconds=31), tick=True):
        assert "Cancels soon" in portal.look().page


def test_undo_takes_back_what_was_canceled_elsewhere(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    subscription = stage.shapes["already_canceling"][1]
    guest(app, stage, "already_canceling").look().press("undo", subscription=subscription)
    customers.drain(rt)
    assert effects(local, subscription) == ["undo_cancel"]


def test_who_asks_the_team_to_take_a_cancel_back_asks_once_however_often_they_press(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    with rt.transaction(stage.workspace_id) as session:
        preferences.save(session, stage.workspace_id, "cancel_open_invoices", "void", rt.now())
    subscription = stage.shapes["past_due"][1]
    customers.handed_over(app, stage, "past_due").look().press("skip").press("confirm")
    customers.drain(rt)
    portal = guest(app, stage, "past_due").look()
    assert "Ask to undo the cancellation" in portal.page
    assert "decides whether it can be undone" in portal.page
    pressed = {"token": portal.token, "subscription": subscription}
    with ThreadPoolExecutor(max_workers=5) as pool:
        list(pool.map(lambda _: app.test_client().post(f"{portal.path}/undo", data=pressed), range(5)))
    customers.drain(rt)
    assert actions(rt, stage) == [("cancel", subscription, "verified"), ("undo_cancel", subscription, "requested")]
    assert effects(local, subscription)[-1] == "cancel_at_period_end"
    assert "Your last request is with the team" in portal.look().page
    assert "undo" not in portal.buttons


def test_what_takes_something_off_its_bills_is_named_while_it_does(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    customer, subscription = stage.shapes["monthly"]
    assert "Discount" not in guest(app, stage, "monthly").look().page
    soon, over = (int((rt.now() + timedelta(days=days)).timestamp()) for days in (40, -1))

    def discount(id: str, end: int | None, **terms: Any) -> dict[str, Any]:
        coupon = {"id": f"C_{id}", "object": "coupon", "valid": True, "duration": "forever", **terms}
        return {
            "id": id,
            "object": "discount",
            "customer": customer,
            "start": 5,
            "end": end,
            "source": {"type": "coupon", "coupon": coupon},
        }

    given = [
        discount("di_1", soon, percent_off=50.0, duration="repeating", duration_in_months=2),
        discount("di_2", None, amount_off=500, currency="usd", duration="once"),
        discount("di_3", over, percent_off=75.0, duration="repeating", duration_in_months=1),
    ]
    with rt.transaction(stage.workspace_id) as session:
        session.execute(
            text("update subscriptions set raw = jsonb_set(raw::jsonb, '{discounts}', cast(:given as jsonb)) where id = :id"),
            {"given": json.dumps(given), "id": subscription},
        )
    page = html.unescape(guest(app, stage, "monthly").look().page)
    until = rt.now() + timedelta(days=40)
    assert f"50% off until {until:%B} {until.day}, {until.year}" in page
    assert "$5.00 off your next bill" in page
    assert "75%" not in page


def test_a_first_payment_that_was_never_made_is_told(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(
            text('update subscriptions set raw = raw::jsonb || \'{"status": "incomplete"}\' where id = :id'),
            {"id": stage.shapes["monthly"][1]},
        )
    page = guest(app, stage, "monthly").look().page
    assert "First payment open" in page
    assert "Active" not in page


def test_a_new_card_is_given_at_stripe_and_the_subscriptions_are_to_follow(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    portal = guest(app, stage, "monthly").look()
    sent = app.test_client().post(f"{portal.path}/card", data={"token": portal.token})
    assert (sent.status_code, sent.headers["Location"].split("=")[0]) == (303, f"{portal.path}/card?to")
    portal.look(sent.headers["Location"])
    assert portal.status == 200
    assert "Test mode" in portal.page
    assert f'href="{portal.path}"' in portal.page, "not now"
    assert 'target="_top">' in portal.page
    assert "Continue to Stripe" in portal.page
    with rt.transaction(stage.workspace_id) as session:
        assert session.execute(select(PortalLink.card_update_at)).scalar_one() is not None


def test_the_way_to_the_card_page_leads_nowhere_else(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    portal = guest(app, stage, "monthly").look()
    other = guest(app, stage, "yearly").look()
    sent = app.test_client().post(f"{portal.path}/card", data={"token": portal.token}).headers["Location"]
    to = sent.split("=", 1)[1]
    for forged in ("", "x", "https://evil.test", "//evil.test", to[:-4] + "AAAA", to[4:], "é", "a" * 5000):
        answer = app.test_client().get(f"{portal.path}/card", query_string={"to": forged})
        assert (answer.status_code, answer.headers.get("Location")) == (303, portal.path), forged
    stolen = app.test_client().get(f"{other.path}/card?to={to}")
    assert (stolen.status_code, stolen.headers["Location"]) == (303, other.path)
    with freeze_time(timedelta(minutes=10) + rt.now(), tick=True):
        late = app.test_client().get(sent)
    assert (late.status_code, late.headers["Location"]) == (303, portal.path)


def test_who_comes_back_from_the_card_page_is_told_what_is_known(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    portal = guest(app, stage, "monthly").look()
    app.test_client().post(f"{portal.path}/card", data={"token": portal.token})
    assert "takes a moment to show" in portal.look(f"{portal.path}?card").page
    assert "takes a moment" not in portal.look().page
    with rt.transaction(stage.workspace_id) as session:
        asked = jobs_actions.ask(
            session,
            workspace_id=stage.workspace_id,
            mode="test",
            connection_id=stage.connection_id,
            customer=stage.shapes["monthly"][0],
            subscription=stage.shapes["monthly"][1],
            verb="payment_method",
            intent={"payment_method": "pm_1"},
            now=rt.now(),
        )
        session.execute(update(Action).where(Action.id == asked.id).values(state="verified"))
    assert "Your new card is in use" in portal.look(f"{portal.path}?card").page


def test_a_failed_payment_is_told_without_a_promise_that_a_card_settles_it(app: Flask, stage: make.Stage) -> None:
    page = guest(app, stage, "past_due").look().page
    assert "Your last payment did not go through. With a new card it can be tried again." in page


@pytest.mark.parametrize("kind", ["slow", "500", "reset"])
def test_a_card_page_that_cannot_be_had_is_said_so(app: Flask, local: LocalStripe, stage: make.Stage, kind: str) -> None:
    portal = guest(app, stage, "monthly").look()
    local.faults.add({"kind": kind, "rate": 1.0, "seconds": 4})
    portal.press("card")
    assert portal.status == 503
    assert "try again in a moment" in portal.page


# RELIABILITY D.


def test_the_same_customer_gets_the_same_link_and_nothing_stored_opens_it(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    first, second = (link(app, stage, "cus_A") for _ in range(2))
    assert first == second
    proof = first.rsplit(".", 1)[1]
    with rt.engine.connect() as connection:
        for table in ("portal_links", "link_lookups", "sessions"):
            assert not connection.execute(text(f"select 1 from {table} t where t::text like :proof"), {"proof": f"%{proof}%"}).first()  # noqa: S608


def test_a_revoked_link_is_dead_at_once_and_for_good(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    old = link(app, stage, "cus_A")
    with rt.transaction(stage.workspace_id) as session:
        row = session.execute(select(PortalLink)).scalar_one()
        assert portals.revoke(session, row.id, rt.now())
        assert not portals.revoke(session, row.id, rt.now())
        preferences.save(session, stage.workspace_id, "return_url", "https://shop.example/account", rt.now())
    dead = app.test_client().get(old)
    assert dead.status_code == 410
    assert 'href="https://shop.example/account"' in dead.get_data(as_text=True)
    new = link(app, stage, "cus_A")
    assert new != old
    assert app.test_client().get(new).status_code == 200
    assert app.test_client().get(old).status_code == 410


def test_a_link_lasts_ninety_days_from_its_first_minting(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    old = link(app, stage, "cus_A")
    with freeze_time(timedelta(days=89) + rt.now(), tick=True):
        assert app.test_client().get(old).status_code == 200
        assert link(app, stage, "cus_A") == old
    with freeze_time(timedelta(days=91) + rt.now(), tick=True):
        assert app.test_client().get(old).status_code == 410
        new = link(app, stage, "cus_A")
        assert new != old
        assert app.test_client().get(new).status_code == 200
        assert app.test_client().get(old).status_code == 410


def test_every_answer_keeps_its_address_to_itself(app: Flask, stage: make.Stage) -> None:
    portal = guest(app, stage, "monthly").look()
    path, token = portal.path, portal.token
    subscription = stage.shapes["monthly"][1]
    answers: list[Any] = [app.test_client().get(at) for at in (path, f"{path}/status", "/portal/x")]
    answers += [
        app.test_client().post(f"{path}/{verb}", data={"token": token, "subscription": subscription}) for verb in ("cancel", "undo", "card")
    ]
    answers += [app.test_client().post(f"{path}/{verb}") for verb in ("cancel", "undo", "card")]
    for answer in answers:
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Robots-Tag"] == "noindex"
        assert "Set-Cookie" not in answer.headers
    assert f"frame-ancestors {ORIGIN}" in answers[0].headers["Content-Security-Policy"]


def test_looking_changes_nothing(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    portal = guest(app, stage, "monthly")
    for _ in range(3):
        for path in ("", "/status", "/cancel", "/undo", "/card", "/pause", "/resume", "/invoices", "/code", "/code/again"):
            answer = app.test_client().get(f"{portal.path}{path}", query_string={"subscription": stage.shapes["monthly"][1]})
            assert answer.status_code in {200, 303, 405}
    assert actions(rt, stage) == []
    assert local.effects == []
    with rt.transaction(stage.workspace_id) as session:
        assert session.execute(select(FlowSession)).first() is None


@pytest.mark.parametrize("verb", ["cancel", "undo", "pause", "resume", "code", "code/again"])
def test_a_subscription_of_somebody_else_is_not_there(app: Flask, rt: Runtime, stage: make.Stage, verb: str) -> None:
    portal = guest(app, stage, "monthly").look()
    for foreign in (stage.shapes["already_canceling"][1], "sub_unknown", "", "\0", "a" * 5000):
        answer = app.test_client().post(f"{portal.path}/{verb}", data={"token": portal.token, "subscription": foreign})
        assert answer.status_code == 404, foreign
    assert actions(rt, stage) == []


@pytest.mark.parametrize("verb", ["cancel", "undo", "card", "pause", "resume", "code", "code/again"])
def test_a_form_that_is_not_ours_changes_nothing(app: Flask, rt: Runtime, stage: make.Stage, verb: str) -> None:
    portal = guest(app, stage, "already_canceling").look()
    other = guest(app, stage, "monthly").look()
    subscription = stage.shapes["already_canceling"][1]
    for token in ("", "x", other.token, portal.path.removeprefix("/portal/")):
        assert app.test_client().post(f"{portal.path}/{verb}", data={"token": token, "subscription": subscription}).status_code == 403
    assert actions(rt, stage) == []


def test_a_customer_stripe_has_deleted_has_no_portal(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    portal = guest(app, stage, "monthly")
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("update customers set is_deleted = true where id = :id"), {"id": stage.shapes["monthly"][0]})
    assert portal.look().status == 410


def test_one_workspaces_link_shows_nothing_of_another(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    other = make.workspace(rt, local)
    page = app.test_client().get(link(app, other, stage.shapes["monthly"][0])).text
    assert '<section class="sub">' not in page


def test_a_customer_the_mirror_lacks_is_looked_up(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("delete from subscriptions"))
    assert "Active" in guest(app, stage, "monthly").look().page
    with rt.transaction(stage.workspace_id) as session:
        assert session.execute(text("select count(*) from subscriptions")).scalar_one() == 1


def disconnect(rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="disconnected_here", actor="operator")


def test_a_disconnected_account_still_lists_what_there_is_and_takes_a_cancel_as_a_request(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    portal = guest(app, stage, "monthly")
    subscription = stage.shapes["monthly"][1]
    disconnect(rt, stage)
    portal.look()
    assert "Active" in portal.page
    assert "goes to the team at" in portal.page
    assert portal.buttons == {"cancel"}
    portal.press("cancel", subscription=subscription)
    assert portal.response is not None
    flow = Browser(client=portal.client, path=portal.response.request.path, page=portal.page)
    assert "Your request goes to the team" in flow.page
    flow.press("confirm")
    assert "We have received your request" in flow.page
    assert actions(rt, stage) == [("cancel", subscription, "requested")]
    assert "Your last request is with the team" in portal.look().page
    assert effects(local, subscription) == []


def test_a_disconnected_account_without_a_copy_is_said_so(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("delete from subscriptions"))
    portal = guest(app, stage, "monthly")
    disconnect(rt, stage)
    assert "cannot reach the payment provider" in portal.look().page
    assert portal.buttons == set()


def test_many_undos_at_once_are_one_and_all_see_it(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    portal = guest(app, stage, "already_canceling").look()
    token, subscription = portal.token, stage.shapes["already_canceling"][1]

    def press(_number: int) -> tuple[int, str | None]:
        answer = app.test_client().post(f"{portal.path}/undo", data={"token": token, "subscription": subscription})
        return answer.status_code, answer.headers.get("Location")

    with ThreadPoolExecutor(max_workers=10) as pool:
        assert set(pool.map(press, range(10))) == {(303, portal.path)}
    customers.drain(rt)
    assert effects(local, subscription) == ["undo_cancel"]


def test_a_request_that_waits_for_the_team_is_told_until_it_is_settled(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    portal = guest(app, stage, "scheduled").look()
    subscription = stage.shapes["scheduled"][1]
    with rt.transaction(stage.workspace_id) as session:
        customer, connection = stage.shapes["scheduled"][0], stage.connection_id
        for verb, intent, state in (
            ("cancel", {"when": "period_end"}, "manual"),
            ("payment_method", {"payment_method": "pm_1"}, "verified"),
        ):
            asked = jobs_actions.ask(
                session,
                workspace_id=stage.workspace_id,
                mode="test",
                connection_id=connection,
                customer=customer,
                subscription=subscription,
                verb=verb,
                intent=intent,
                now=rt.now(),
            )
            session.execute(update(Action).where(Action.id == asked.id).values(state=state))
    assert "Your last request is with the team" in portal.look().page
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(Action).where(Action.verb == "cancel").values(state="failed"))
    assert "Your last request is with the team" not in portal.look().page


def test_what_went_wrong_has_a_way_back(app: Flask, local: LocalStripe, stage: make.Stage) -> None:
    portal = guest(app, stage, "monthly").look()
    way_back = f'href="{portal.path}"'
    foreign = app.test_client().post(f"{portal.path}/cancel", data={"token": portal.token, "subscription": "sub_x"})
    assert (foreign.status_code, way_back in foreign.text) == (404, True)
    stale = app.test_client().post(f"{portal.path}/undo", data={})
    assert (stale.status_code, way_back in stale.text) == (403, True)
    forged = f"{portal.path[:-3]}AAA"
    assert 'href="/portal' not in app.test_client().post(f"{forged}/undo", data={}).text
    local.faults.add({"kind": "500", "rate": 1.0})
    away = app.test_client().post(f"{portal.path}/card", data={"token": portal.token})
    assert (away.status_code, way_back in away.text) == (503, True)


@pytest.mark.parametrize("kind", ["slow", "500", "reset"])
def test_a_customer_nobody_could_look_up_is_not_told_they_have_nothing(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, kind: str
) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("delete from subscriptions"))
    portal = guest(app, stage, "monthly")
    local.faults.add({"kind": kind, "rate": 1.0, "seconds": 9})
    portal.look()
    assert portal.status == 200
    assert "cannot reach the payment provider" in portal.page
    assert "You have no subscriptions" not in portal.page


def test_a_customer_without_subscriptions_is_told_so(app: Flask, stage: make.Stage) -> None:
    assert "You have no subscriptions" in app.test_client().get(link(app, stage, "cus_Nobody")).text


# Pause and resume.


def pausable(rt: Runtime, stage: make.Stage, **more: Any) -> str:
    """A pause of two months, one to three if they like, in the default flow; gives the offer's id."""
    offer = PauseOffer(
        id="x", interval="month", count=2, least=1, most=3, headline="Take a break", accept="Pause", decline="No", **more
    )  # fmt: skip
    with rt.transaction(stage.workspace_id) as session:
        made = shelf.add(
            session, stage.workspace_id, name="Break", offer=offer, placement=shelf.Placement(where="closing"), now=rt.now(), by="operator"
        )
        flows.publish_offers(session, stage.workspace_id, rt.now(), "operator")
    return made


def choices(rt: Runtime, stage: make.Stage) -> list[Choice]:
    with rt.transaction(stage.workspace_id) as session:
        return list(session.execute(select(Choice).order_by(Choice.id)).scalars())


def paused(app: Flask, stage: make.Stage, shape: str = "monthly", way: str = "2") -> Browser:
    """A customer who has pressed Pause on the page for it, and is back at the list."""
    portal = guest(app, stage, shape).look()
    subscription = stage.shapes[shape][1]
    page = portal.look(f"{portal.path}/pause?subscription={subscription}")
    found = re.search(r'name="offer" value="([^"]+)"', page.page)
    assert found, page.page
    return page.press("pause", subscription=subscription, offer=found[1], way=way)


def test_a_pause_is_taken_in_the_length_that_was_picked_and_resumed_before_its_day(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    offer = pausable(rt, stage)
    portal, subscription = guest(app, stage, "monthly").look(), stage.shapes["monthly"][1]
    assert f"/pause?subscription={subscription}" in portal.page
    page = app.test_client().get(f"{portal.path}/pause?subscription={subscription}").text
    assert [re.search(f'value="{count}"( checked)?', page)[0].endswith("checked") for count in "123"] == [False, True, False]  # type: ignore[index]
    assert actions(rt, stage) == []
    portal = paused(app, stage, way="3")
    assert "Changing" in portal.page
    assert portal.buttons == set(), "nothing else meanwhile"
    customers.drain(rt)
    assert "Paused until" in portal.look().page
    assert "is paused until" in portal.page, "what was read back"
    assert f"/pause?subscription={subscription}" not in portal.page
    [choice] = choices(rt, stage)
    assert (choice.offer or {})["id"] == offer
    assert (choice.offer or {})["duration"] == {"count": 3, "interval": "month"}
    portal.press("resume", subscription=subscription)
    customers.drain(rt)
    assert "Active" in portal.look().page
    assert "goes on" in portal.page
    assert effects(local, subscription) == ["pause", "resume"]


def test_a_pause_without_a_flow_is_no_save_and_counts_for_the_limits(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    pausable(rt, stage, limits=Limits(lifetime=1))
    portal, subscription = paused(app, stage), stage.shapes["monthly"][1]
    customers.drain(rt)
    with rt.transaction(stage.workspace_id) as session:
        [visit] = session.execute(select(FlowSession)).scalars().all()
        assert (visit.origin, visit.state, visit.shown_at) == ("portal", "chosen", None)
        assert session.execute(text("select count(*) from outcomes")).scalar_one() == 0
    portal.look().press("resume", subscription=subscription)
    customers.drain(rt)
    portal.look()
    assert "/pause?" not in portal.page, "once in a lifetime"
    again = app.test_client().post(
        f"{portal.path}/pause",
        data={"token": portal.token, "subscription": subscription, "offer": choices(rt, stage)[0].offer["id"], "way": "2"},  # type: ignore[index]
    )
    assert again.headers["Location"] == f"{portal.path}?gone"
    assert "not available any more" in portal.look(again.headers["Location"]).page


@pytest.mark.parametrize("way", ["4", "0", "", "x", "-1", "1000000"])
def test_a_length_outside_the_bounds_is_none(app: Flask, rt: Runtime, stage: make.Stage, way: str) -> None:
    pausable(rt, stage)
    assert "not available any more" in paused(app, stage, way=way).page
    assert actions(rt, stage) == []


@pytest.mark.parametrize("shape", ["paused", "trialing", "already_canceling", "yearly", "past_due"])
def test_pause_is_there_only_where_it_is_what_the_customer_needs(app: Flask, rt: Runtime, stage: make.Stage, shape: str) -> None:
    """Paused already; free anyway; leaving; no bill falls into it; and an open bill, which no pause would stop."""
    pausable(rt, stage)
    portal = guest(app, stage, shape).look()
    assert "/pause?" not in portal.page
    assert app.test_client().get(f"{portal.path}/pause?subscription={stage.shapes[shape][1]}").status_code == 303


def test_ten_pauses_at_once_are_one(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    offer = pausable(rt, stage, limits=Limits(lifetime=1))
    portal, subscription = guest(app, stage, "monthly").look(), stage.shapes["monthly"][1]
    data = {"token": portal.token, "subscription": subscription, "offer": offer, "way": "2"}
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: app.test_client().post(f"{portal.path}/pause", data=data).status_code, range(10)))
    assert answers == [303] * 10
    customers.drain(rt)
    assert effects(local, subscription) == ["pause"]
    assert len(choices(rt, stage)) == 1


def test_where_the_business_changes_stripe_itself_the_pause_is_its_to_make(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage
) -> None:
    pausable(rt, stage, by="business")
    portal = paused(app, stage)
    assert "Nothing has been changed yet." in portal.page
    assert [state for *_, state in actions(rt, stage)] == ["requested"]
    assert effects(local, stage.shapes["monthly"][1]) == []


def test_a_workspace_without_a_pause_offer_has_no_pause(app: Flask, stage: make.Stage) -> None:
    portal = guest(app, stage, "monthly").look()
    assert "Pause" not in portal.page
    answer = app.test_client().post(
        f"{portal.path}/pause", data={"token": portal.token, "subscription": stage.shapes["monthly"][1], "offer": "off_x", "way": "2"}
    )
    assert answer.headers["Location"] == f"{portal.path}?gone"


# The code.


def old(app: Flask, rt: Runtime, stage: make.Stage, shape: str = "monthly", owner: str | None = "owner@fernhill.example") -> Browser:
    """A customer with a link that is two days old."""
    portal = guest(app, stage, shape)
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(PortalLink).values(minted_at=rt.now() - timedelta(days=2)))
        if owner:
            user = ids.new("usr")
            session.add(User(id=user, email=owner, created_at=rt.now()))
            session.flush()
            session.add(Membership(workspace_id=stage.workspace_id, user_id=user, role="owner", created_at=rt.now()))
    return portal.look()


def letter(rt: Runtime, capsys: pytest.CaptureFixture[str]) -> str:
    """The digits in the newest letter that was sent."""
    capsys.readouterr()
    work.drain(rt, queues.DELIVERIES)
    found = re.findall(r"^([0-9]{6})$", capsys.readouterr().out, re.MULTILINE)
    assert found, "no letter with a code"
    return str(found[-1])


def test_an_old_link_cancels_only_with_the_code_that_was_emailed(
    app: Flask, rt: Runtime, stage: make.Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    portal, subscription = old(app, rt, stage), stage.shapes["monthly"][1]
    portal.press("cancel", subscription=subscription)
    assert "Is it you?" in portal.page
    assert "o…@fernhill.example" in portal.page
    with rt.transaction(stage.workspace_id) as session:
        assert session.execute(select(FlowSession)).first() is None
    digits = letter(rt, capsys)
    with rt.transaction(stage.workspace_id) as session:
        for table in ("deliveries", "portal_links", "work"):
            assert not session.execute(text(f"select 1 from {table} t where t::text ~ :digits"), {"digits": rf"\m{digits}\M"}).first()  # noqa: S608
    wrong = f"{(int(digits) + 1) % 10**6:06}"
    portal.press("code", subscription=subscription, goal="cancel", code=wrong)
    assert "That is not the code" in portal.page
    portal.press("code", subscription=subscription, goal="cancel", code=f" {digits[:3]} {digits[3:]} ")
    assert "Before you go" in portal.page, "into the flow"
    # For half an hour the link is proven; then it is not.
    portal.look().press("cancel", subscription=subscription)
    assert "Before you go" in portal.page
    with freeze_time(timedelta(minutes=31) + rt.now(), tick=True):
        assert "Is it you?" in portal.look().press("cancel", subscription=subscription).page


def test_a_pause_asks_for_it_too_and_remembers_its_length(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    offer, subscription = pausable(rt, stage), stage.shapes["monthly"][1]
    portal = old(app, rt, stage)
    portal.press("pause", subscription=subscription, offer=offer, way="3")
    assert "Is it you?" in portal.page
    assert 'name="way" value="3"' in portal.page
    assert actions(rt, stage) == []
    portal.press("code", subscription=subscription, goal="pause", way="3", code=letter(rt, capsys))
    assert "Thank you, the code was right" in portal.page
    assert re.search(r'value="3" checked', portal.page)
    portal.press("pause", subscription=subscription, offer=offer, way="3")
    customers.drain(rt)
    assert effects(local, subscription) == ["pause"]


def test_a_code_is_good_once_for_ten_minutes_and_five_tries(
    app: Flask, rt: Runtime, stage: make.Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    portal, subscription = old(app, rt, stage), stage.shapes["monthly"][1]
    form = {"subscription": subscription, "goal": "cancel"}
    portal.press("cancel", subscription=subscription)
    digits = letter(rt, capsys)
    wrong = f"{(int(digits) + 1) % 10**6:06}"
    for _ in range(5):
        assert "That is not the code" in portal.press("code", **form, code=wrong).page
    assert "no longer good" in portal.press("code", **form, code=digits).page, "after five tries not even the right one"
    assert "A code was sent a moment ago" in portal.press("code/again", **form).page
    with freeze_time(timedelta(minutes=2) + rt.now(), tick=True):
        assert "Another code is on its way" in portal.press("code/again", **form).page
        second = letter(rt, capsys)
    with freeze_time(timedelta(minutes=13) + rt.now(), tick=True):
        assert "no longer good" in portal.press("code", **form, code=second).page
        portal.press("code/again", **form)
        third = letter(rt, capsys)
        assert "Before you go" in portal.press("code", **form, code=third).page
        portal.look(f"{portal.path}/code?goal=cancel&subscription={subscription}")
        assert "no longer good" in portal.press("code", **form, code=third).page


def test_codes_are_not_sent_without_end(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    portal, subscription = old(app, rt, stage), stage.shapes["monthly"][1]
    for turn in range(12):
        with freeze_time(timedelta(minutes=2 * turn) + rt.now(), tick=True):
            portal.look().press("cancel", subscription=subscription)
    assert "No more codes can be sent today" in portal.page
    with rt.transaction(stage.workspace_id) as session:
        assert session.execute(text("select count(*) from deliveries where topic like 'portal/%/code/%'")).scalar_one() == 10
    with freeze_time(timedelta(days=1, hours=1) + rt.now(), tick=True):
        assert "No more codes" not in portal.look().press("cancel", subscription=subscription).page


def test_parallel_tries_are_counted_each(app: Flask, rt: Runtime, stage: make.Stage, capsys: pytest.CaptureFixture[str]) -> None:
    portal, subscription = old(app, rt, stage), stage.shapes["monthly"][1]
    portal.press("cancel", subscription=subscription)
    digits = letter(rt, capsys)
    form = {"token": portal.token, "subscription": subscription, "goal": "cancel"}

    def attempt(number: int) -> str:
        guess = f"{(int(digits) + number + 1) % 10**6:06}"
        return str(app.test_client().post(f"{portal.path}/code", data={**form, "code": guess}).headers["Location"].rsplit("said=", 1)[1])

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(attempt, range(16)))
    assert (said.count("wrong"), said.count("over")) == (5, 11)


def test_what_keeps_a_subscription_asks_for_no_code(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    old(app, rt, stage, "already_canceling").press("undo", subscription=stage.shapes["already_canceling"][1])
    guest(app, stage, "paused").look().press("resume", subscription=stage.shapes["paused"][1])
    customers.drain(rt)
    assert effects(local, stage.shapes["already_canceling"][1]) == ["undo_cancel"]
    assert effects(local, stage.shapes["paused"][1]) == ["resume"]


def test_a_young_link_a_switched_off_setting_and_a_customer_nobody_can_write_to_ask_for_none(
    app: Flask, rt: Runtime, stage: make.Stage
) -> None:
    subscription = stage.shapes["monthly"][1]
    assert "Before you go" in old(app, rt, stage, owner=None).press("cancel", subscription=subscription).page
    portal = old(app, rt, stage)
    with rt.transaction(stage.workspace_id) as session:
        preferences.save(session, stage.workspace_id, "portal_code", False, rt.now())
    assert "Before you go" in portal.press("cancel", subscription=subscription).page


def test_in_live_mode_the_code_goes_to_the_customer(
    app: Flask, rt: Runtime, local: LocalStripe, capsys: pytest.CaptureFixture[str]
) -> None:
    live = make.workspace(rt, local, mode="live", origins=(ORIGIN,))
    make.read_in(rt)
    held = next(iter(local.world(live.account, True).all("subscription")))
    portal = Browser(client=app.test_client(use_cookies=False), path=link(app, live, held["customer"]))
    with rt.transaction(live.workspace_id) as session:
        session.execute(update(PortalLink).values(minted_at=rt.now() - timedelta(days=2)))
        email = session.execute(text("select email from customers where id = :id"), {"id": held["customer"]}).scalar_one()
    portal.look().press("cancel", subscription=held["id"])
    with rt.transaction(live.workspace_id) as session:
        [sent] = session.execute(text("select payload from deliveries where topic like 'portal/%'")).scalars()
    assert sent["to"] == email
    assert "Before you go" in portal.press("code", subscription=held["id"], goal="cancel", code=letter(rt, capsys)).page


# Invoices.


def test_the_last_invoices_are_listed_with_stripes_own_pages_of_them(app: Flask, local: LocalStripe, stage: make.Stage) -> None:
    portal = guest(app, stage, "monthly").look()
    assert f'href="{portal.path}/invoices"' in portal.page
    portal.look(f"{portal.path}/invoices")
    theirs = [one for one in local.world(stage.account, False).all("invoice") if one["customer"] == stage.shapes["monthly"][0]]
    newest = sorted(theirs, key=lambda one: -one["created"])[:12]
    assert [html.unescape(url) for url in re.findall(r'href="(https://invoice[^"]+)"', portal.page)] == [
        one["hosted_invoice_url"] for one in newest
    ]
    assert "Paid" in portal.page
    assert all(request["path"] != "/v1/billing_portal/sessions" for request in local.requests)


def test_an_address_that_is_none_of_the_webs_is_no_link(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text('update invoices set raw = raw::jsonb || \'{"hosted_invoice_url": "javascript:alert(1)"}\''))
    page = guest(app, stage, "monthly")
    assert "javascript:" not in page.look(f"{page.path}/invoices").page


def test_a_customer_without_invoices_reads_so(app: Flask, stage: make.Stage) -> None:
    path = link(app, stage, "cus_Nobody")
    assert "/invoices" not in app.test_client().get(path).text
    assert "no invoices yet" in app.test_client().get(f"{path}/invoices").text
