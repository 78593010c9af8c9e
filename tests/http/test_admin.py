"""The dashboard's pages: what they say is true, nobody's input becomes markup, and what a person is asked to do can be done there."""

import dataclasses
import html
import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import delete, select, update

from connect_app import connections, facts
from connect_app.admin import embedding
from connect_app.models import Action, Attempt, Connection, Customer, FlowSession, SessionFact
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from connect_app.workspaces import accounts
from jobs import actions
from jobs.backfill import lanes, progress
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.http import dashboard
from tests.http.dashboard import Member, said

NASTY = "<img src=x onerror=alert(1)>{{ 7*7 }}"


@pytest.fixture
def owner(app: Flask, rt: Runtime, stage: make.Stage) -> Member:
    return dashboard.member(app, rt, stage)


@pytest.fixture
def analyst(app: Flask, rt: Runtime, stage: make.Stage) -> Member:
    return dashboard.member(app, rt, stage, "analyst")


def cancels(app: Flask, rt: Runtime, stage: make.Stage, shape: str = "monthly", comment: str = "", gone: LocalStripe | None = None) -> None:
    """A customer goes through with it, and the workers have done what they can: nothing, where `gone` has lost the subscription."""
    browser = customers.handed_over(app, stage, shape).look()
    browser.press("answer", reason="unused", comment=comment)
    browser.press("confirm")
    if gone is not None:
        del gone.world(stage.account, False).tables["subscription"][stage.shapes[shape][1]]
    customers.drain(rt)


def only_session(rt: Runtime, stage: make.Stage) -> FlowSession:
    with rt.transaction(stage.workspace_id) as session:
        return session.execute(select(FlowSession)).scalar_one()


# Home


def test_the_checklist_is_red_until_it_is_proven(app: Flask, rt: Runtime, stage: make.Stage, owner: Member) -> None:
    page = owner.get()
    assert page.count('<li class="is-blocked">') == 2
    assert "Route your Cancel button : needs your attention" in said(page)
    customers.handed_over(app, stage, "monthly")
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(Connection).values(portal_cancel_open=False))
    page = owner.get()
    assert "Route your Cancel button : done" in said(page)
    assert "Close Stripe’s portal : done" in said(page)
    assert "is-blocked" not in page
    assert "Set your allowed origins : done" in said(page)
    assert "Make an offer : to do" in said(page)


def test_an_unknown_state_of_stripes_portal_is_no_tick(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(Connection).values(portal_cancel_open=None))
    assert "Close Stripe’s portal : needs your attention We could not tell yet" in said(owner.get())


def test_the_read_in_shows_how_far_it_is_and_reloads_the_page_at_its_end(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    def stands_at(**told: object) -> str:
        with rt.transaction(stage.workspace_id) as session:
            connections.save_read_in(session, stage.connection_id, told)
        return analyst.get("/read-in")

    at = rt.now()
    counts = {"products": 3, "customers": 1200}
    lane = lanes.Lane(cursor="cus_x", at=1_750_000_000, top=1_760_000_000, read=1200)
    early = progress.begun(as_of=at, far=1_749_000_000, now=at - timedelta(seconds=60))
    reading = dataclasses.replace(early, stage="customers", counts=counts, lanes=(lane,), read_at=at)
    page = stands_at(**reading.to_json())
    # A tenth of the time that customers go back to is left, at twenty a second: said of this list, because nobody knows the next.
    assert "1,203 objects so far, 20 a second, about a minute left for customers" in said(page)
    assert f'value="{3 + 1200 / 1320}"' in page
    lone = dataclasses.replace(reading, lanes=(lane, lanes.Lane(high=1_749_500_000, guess=None)))
    assert "left" not in said(stands_at(**lone.to_json())), "a stretch that nobody has looked into may hold anything"
    assert "data-poll-done" not in page
    assert "data-poll-url" in analyst.get()
    assert 'data-poll-done="reload"' in stands_at(state="done", counts={"products": 3})
    assert "data-poll-url" not in analyst.get()


def test_a_lost_connection_is_said_on_every_page(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    with rt.transaction(stage.workspace_id) as session:
        connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="deauthorized", actor="holdfast")
    for path in ("", "/sessions", "/flows", "/settings/stripe"):
        assert "Stripe is disconnected." in said(analyst.get(path)), path


def test_nothing_is_claimed_of_an_account_that_is_disconnected(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    with rt.transaction(stage.workspace_id) as session:
        known = {"can_read": True, "can_write": True, "portal_cancel_open": False, "last_event_at": rt.now(), "last_event_lag_ms": 5}
        session.execute(update(Connection).values(**known))
    assert "Read Allowed Write Allowed Last webhook Arriving" in said(analyst.get("/settings/stripe"))
    with rt.transaction(stage.workspace_id) as session:
        connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="deauthorized", actor="holdfast")
    page = said(analyst.get("/settings/stripe"))
    assert "Read None while disconnected Write None while disconnected Last webhook None while disconnected" in page
    assert "Cancel in Stripe’s portal Unknown while disconnected" in page
    home = said(analyst.get())
    assert "Reading None while disconnected Writing None while disconnected" in home
    assert "Close Stripe’s portal : needs your attention We could not tell yet" in home
    for claim in ("Allowed", "Arriving", "Webhook lag"):
        assert claim not in page + home


# Flows and the embed page


def test_the_flows_are_there_from_the_start_and_keep_their_versions(analyst: Member) -> None:
    page = analyst.get("/flows")
    assert "Default flow Version 1" in said(page)
    assert "Plain cancel Version 1" in said(page)
    flow_id = page.split("/flows/flo_")[1].split('"')[0]
    assert "too_expensive" in analyst.get(f"/flows/flo_{flow_id}")


def test_a_hand_off_is_seen_as_it_arrives(app: Flask, stage: make.Stage, analyst: Member) -> None:
    assert "No signed hand-off yet" in said(analyst.get("/flows/embed"))
    assert "data-poll-done" not in analyst.get("/flows/embed/seen")
    customers.handed_over(app, stage, "monthly")
    assert "A signed hand-off has arrived" in said(analyst.get("/flows/embed/seen"))
    assert "data-poll-done" in analyst.page


def test_test_it_opens_the_real_flow_and_is_no_hand_off(app: Flask, rt: Runtime, stage: make.Stage, owner: Member) -> None:
    _, subscription = stage.shapes["monthly"]
    assert subscription in owner.get("/flows/embed")
    answer = owner.post("/flows/embed/test", subscription=subscription)
    assert answer.status_code == 303
    assert app.test_client().get(answer.location).status_code == 200
    visit = only_session(rt, stage)
    assert (visit.origin, visit.mode, visit.subscription) == ("test", "test", subscription)
    assert "No signed hand-off yet" in said(owner.get("/flows/embed"))


@pytest.mark.parametrize("subscription", ["", "sub_nobody", "sub_' or 1=1"])
def test_only_mirrored_subscriptions_can_be_tried(owner: Member, subscription: str) -> None:
    assert owner.post("/flows/embed/test", subscription=subscription).status_code == 404


def test_how_it_opens_is_kept_and_only_of_two_kinds(owner: Member) -> None:
    owner.post("/flows/embed/display", display="modal")
    assert 'value="modal" checked' in owner.get("/flows/embed")
    owner.post("/flows/embed/display", display="pigeon")
    assert 'value="modal" checked' in owner.get("/flows/embed")


# Analytics, sessions, timeline


def test_each_session_is_a_row_and_counted_once(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, analyst: Member) -> None:
    cancels(app, rt, stage, "monthly", comment="Moving house")
    customers.handed_over(app, stage, "yearly").look().press("keep")
    cancels(app, rt, stage, "scheduled", gone=local)
    customers.handed_over(app, stage, "paused")
    page = said(analyst.get("/flows/analytics"))
    assert "Cases 3 Customers who opened the flow Canceled 1" in page
    assert "Saved 0" in page
    assert "2 still open, 0 unknown" in page
    assert "Never mind (1)" in page
    assert "With your team (1)" in page
    assert "1–3 of 3" in page
    assert "I don’t use it enough “Moving house”" in page
    assert stage.shapes["monthly"][1] in analyst.page
    assert "1–4 of 4" in said(analyst.get("/sessions"))
    only = said(analyst.get("/flows/analytics?outcome=canceled"))
    assert "1–1 of 1" in only
    assert stage.shapes["scheduled"][1] not in analyst.page
    assert "1–1 of 1" in said(analyst.get(f"/sessions?q={stage.shapes['paused'][0]}"))


def test_test_and_live_are_never_mixed(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, analyst: Member) -> None:
    cancels(app, rt, stage)
    account = objects.read_account(local.accounts[stage.account])
    with rt.transaction(stage.workspace_id) as session:
        accounts.link(
            session, stage.workspace_id, account=account, mode=Mode.LIVE, scope="read_write", now=rt.now(), ring=rt.ring, by="operator"
        )
    # With both there, what earns money is shown first.
    assert "No customer has opened the flow" in said(analyst.get("/flows/analytics"))
    assert "Test mode:" not in said(analyst.page)
    assert "Cases 0" in said(analyst.get())
    analyst.get("/mode/test", status=303)
    assert "1–1 of 1" in said(analyst.get("/flows/analytics"))
    assert "Test mode:" in said(analyst.page)


def test_a_mode_that_is_not_connected_cannot_be_looked_at(analyst: Member) -> None:
    analyst.get("/mode/live", status=404)
    analyst.get("/mode/sideways", status=404)


def test_a_timeline_tells_the_story_with_stripes_request_ids(app: Flask, rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    cancels(app, rt, stage, comment="Too little time")
    page = analyst.get(f"/sessions/{only_session(rt, stage).id}")
    told = said(page)
    order = [
        "Your server handed the customer over, with a valid signature",
        "Answered the survey",
        "Confirmed the cancellation",
        "Asked Stripe for the change",
        "Read back from Stripe as planned: cancel at period end",
    ]
    assert [told.index(line) for line in order] == sorted(told.index(line) for line in order)
    assert "Too little time" in told
    with rt.transaction(stage.workspace_id) as session:
        action = session.execute(select(Action)).scalar_one()
        asked = session.execute(select(Attempt.stripe_request_id)).scalars().all()
    assert action.stripe_request_id in asked
    assert len(asked) == 4  # the looks before and after, the change, and what is charged next
    assert [f"Stripe request {request_id}" in told for request_id in asked] == [True] * 4
    assert f"https://dashboard.stripe.com/test/subscriptions/{stage.shapes['monthly'][1]}" in page
    assert "first_name Maya Computed, first_name As of" in told
    assert "customer_id " + stage.shapes["monthly"][0] + " The hand-off itself" in told


def test_what_stripe_dates_by_the_second_stands_after_what_we_did_in_it(
    app: Flask, rt: Runtime, stage: make.Stage, analyst: Member
) -> None:
    cancels(app, rt, stage)
    visit = only_session(rt, stage)
    with rt.transaction(stage.workspace_id) as session:
        chosen = session.execute(select(SessionFact.at).where(SessionFact.kind == "choice.made")).scalar_one()
        told = {"status": "active", "is_canceling": True}
        facts.record(session, stage.workspace_id, visit.id, "stripe.changed", chosen.replace(microsecond=0), told)
    page = said(analyst.get(f"/sessions/{visit.id}"))
    assert page.index("Confirmed the cancellation") < page.index("Stripe: the subscription is set to end")


def test_a_timeline_calls_each_step_by_its_name_and_names_the_key_even_where_no_write_was_answered(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, owner: Member
) -> None:
    key = "hf:{}:{}:1"
    coupon = next(iter(local.world(stage.account, False).all("coupon")))["id"]
    customers.handed_over(app, stage, "monthly").look()
    visit = only_session(rt, stage)
    with rt.transaction(stage.workspace_id) as session:
        action = actions.ask(
            session, workspace_id=stage.workspace_id, mode="test", connection_id=stage.connection_id, customer=visit.customer,
            subscription=visit.subscription, verb="discount", intent={"offer_id": "off_1", "coupon": coupon, "headline": "Less"},
            now=rt.now(), session_id=visit.id,
        )  # fmt: skip
    customers.drain(rt)
    told = said(owner.get(f"/sessions/{visit.id}"))
    order = [
        "Read the subscription before changing it",
        "Read the coupon before changing anything",
        f"Frozen: the call and its key were written down before the first try {key.format(stage.workspace_id, action.id)}",
        "Asked Stripe for the change",
    ]
    told = told.replace("Idempotency key: ", "")
    assert [told.index(line) for line in order] == sorted(told.index(line) for line in order)
    assert told.count("Read the subscription before changing it") == 1
    # As it is when the worker was killed while it wrote: its conversation died with it.
    with rt.transaction(stage.workspace_id) as session:
        session.execute(delete(Attempt).where(Attempt.step == "write"))
    told = said(owner.get(f"/sessions/{visit.id}"))
    assert "Asked Stripe for the change" not in told
    assert key.format(stage.workspace_id, action.id) in told


def test_names_and_words_of_customers_stay_text(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, owner: Member) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(Customer).where(Customer.id == stage.shapes["scheduled"][0]).values(name=NASTY))
    cancels(app, rt, stage, "scheduled", comment=NASTY, gone=local)
    for path in ("", "/sessions", "/flows/analytics", "/queue", f"/sessions/{only_session(rt, stage).id}", "/flows/embed"):
        page = owner.get(path)
        assert "<img src=x" not in page, path
        assert NASTY in said(page), path


def test_a_search_is_shown_as_it_was_typed(analyst: Member) -> None:
    page = analyst.get("/sessions?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E%00")
    assert "<script>alert" not in page
    assert "Nothing found" in said(page)


@pytest.mark.parametrize("path", ["/sessions?page=0", "/sessions?page=-5", "/sessions?page=99999999999999999999", "/sessions?page=x"])
def test_an_odd_page_number_is_some_page(analyst: Member, path: str) -> None:
    analyst.get(path)


def test_a_list_asks_no_more_of_the_database_when_it_is_longer(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, analyst: Member
) -> None:
    pages = ("/flows/analytics", "/sessions", "/queue", "")
    cancels(app, rt, stage, "scheduled", gone=local)
    counts = []
    for shapes in ((), ("monthly", "yearly", "trialing", "past_due", "multi_item")):
        for shape in shapes:
            cancels(app, rt, stage, shape)
        with dashboard.counted(rt) as ran:
            for path in pages:
                analyst.get(path)
        counts.append(len(ran))
    assert counts[0] == counts[1]


def test_every_link_leads_somewhere_and_every_form_is_taken(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, owner: Member
) -> None:
    cancels(app, rt, stage, "scheduled", gone=local)
    customers.handed_over(app, stage, "monthly").look()
    ways, seen = app.url_map.bind("127.0.0.1:8000"), set()
    waiting_to_be_seen = [""]
    while waiting_to_be_seen:
        path = waiting_to_be_seen.pop()
        if path in seen:
            continue
        seen.add(path)
        page = owner.get(path)
        for method, target in re.findall(r'<form[^>]* method="(\w+)" action="([^"]+)"', page):
            assert ways.match(html.unescape(target).partition("?")[0], method=method.upper()), (path, target)
        for target in map(html.unescape, re.findall(r'<a [^>]*href="(/[^"#]*)', page)):
            if target.startswith(f"/admin/{stage.slug}") and "/mode/" not in target:
                waiting_to_be_seen.append(target.removeprefix(f"/admin/{stage.slug}"))
            else:
                assert ways.match(target.partition("?")[0], method="GET"), (path, target)
    assert {"/sessions", "/queue", "/flows", "/flows/analytics", "/settings/audit", "/settings/secrets"} <= seen
    assert {f"/flows/embed?tab={tab}&language={name}" for tab in embedding.KINDS for name in embedding.LANGUAGES} <= seen


# Manual queue


def waiting(rt: Runtime, stage: make.Stage) -> Action:
    with rt.transaction(stage.workspace_id) as session:
        return session.execute(select(Action)).scalar_one()


def test_what_needs_a_person_is_counted_and_listed_with_its_reason(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, owner: Member, analyst: Member
) -> None:
    assert "Nothing waits for you" in said(owner.get("/queue"))
    cancels(app, rt, stage, "scheduled", gone=local)
    assert "Manual queue 1 waiting" in said(owner.get())
    page = owner.get("/queue")
    assert "Cancel at period end for Lena Vogel" in said(page)
    assert "has no subscription" in said(page)
    assert f"https://dashboard.stripe.com/test/subscriptions/{stage.shapes['scheduled'][1]}" in page
    assert "Mark done" in said(page)
    assert ">Mark done" not in analyst.get("/queue")


def test_done_is_believed_only_when_stripe_shows_it(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, owner: Member) -> None:
    cancels(app, rt, stage, "scheduled", gone=local)
    action = waiting(rt, stage)
    owner.post(f"/queue/{action.id}/done")
    assert "Stripe does not show this change yet" in said(owner.get("/queue"))
    assert waiting(rt, stage).state == "manual"
    _cancel_in_stripe(local, stage)
    owner.post(f"/queue/{action.id}/done")
    assert "Done: Stripe shows it." in said(owner.get("/queue"))
    assert waiting(rt, stage).state == "verified"


def test_retry_tries_again_and_a_second_click_says_so(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, owner: Member
) -> None:
    cancels(app, rt, stage, "scheduled", gone=local)
    action = waiting(rt, stage)
    owner.post(f"/queue/{action.id}/retry")
    assert waiting(rt, stage).state == "queued"
    owner.post(f"/queue/{action.id}/retry")
    assert "This no longer waits" in said(owner.get("/queue"))
    customers.drain(rt)
    assert waiting(rt, stage).state == "manual"


def test_what_stripe_will_never_show_can_be_closed_and_stays_closed(
    app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, owner: Member, analyst: Member
) -> None:
    cancels(app, rt, stage, "scheduled", gone=local)
    action = waiting(rt, stage)
    page = owner.get("/queue")
    assert "Close this request?" in said(page)
    assert f'action="/admin/{stage.slug}/queue/{action.id}/close"' in page
    assert "/close" not in analyst.get("/queue")
    assert analyst.post(f"/queue/{action.id}/close").status_code == 403
    owner.post(f"/queue/{action.id}/close")
    assert "Closed. The customer is told" in said(owner.get("/queue"))
    assert (waiting(rt, stage).state, waiting(rt, stage).code) == ("failed", "closed_by_team")
    owner.post(f"/queue/{action.id}/close")
    assert "This no longer waits" in said(owner.get("/queue"))
    assert "Nothing waits for you" in said(owner.page)
    assert "Your team closed this request" in said(owner.get(f"/sessions/{only_session(rt, stage).id}"))
    assert "Action: closed" in said(owner.get("/settings/audit"))


# Tenants


def test_ids_of_another_workspace_are_not_found(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, owner: Member) -> None:
    cancels(app, rt, stage, "scheduled", gone=local)
    session_id, action_id = only_session(rt, stage).id, waiting(rt, stage).id
    flow_id = owner.get("/flows").split("/flows/flo_")[1].split('"')[0]
    other = dashboard.member(app, rt, make.workspace(rt, local))
    for path in (f"/sessions/{session_id}", f"/flows/flo_{flow_id}"):
        owner.get(path)
        other.get(path, status=404)
    for path in (f"/queue/{action_id}/retry", f"/queue/{action_id}/done", f"/queue/{action_id}/close"):
        assert other.post(path).status_code == 404
    assert waiting(rt, stage).state == "manual"
    assert stage.shapes["scheduled"][0] not in other.get("/sessions")
    assert "Nothing found" in said(other.get(f"/sessions?q={session_id}"))


def _cancel_in_stripe(local: LocalStripe, stage: make.Stage) -> None:
    """The subscription is there again, and the business's own people have canceled it in Stripe's dashboard."""
    world = local.world(stage.account, False)
    raw = {**world.tables["subscription"][stage.shapes["monthly"][1]], "id": stage.shapes["scheduled"][1]}
    raw |= {"customer": stage.shapes["scheduled"][0], "cancel_at_period_end": True}
    world.tables["subscription"][raw["id"]] = raw


def test_a_visit_that_was_left_long_ago_is_no_decision(app: Flask, rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    customers.handed_over(app, stage, "monthly").look().press("answer", reason="unused")
    with rt.transaction(stage.workspace_id) as session:
        past = rt.now() - timedelta(days=2)
        session.execute(update(FlowSession).values(minted_at=past, shown_at=past, expires_at=past + timedelta(days=1)))
    assert "No decision (1)" in said(analyst.get("/flows/analytics"))
    assert "Expired" in said(analyst.page)
