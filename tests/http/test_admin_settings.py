"""Settings: what may be typed, what of it counts, who may know a secret and how often, and that all of it is written down."""

import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from connect_app import connections, embed_secrets, preferences
from connect_app.preferences import Preferences
from connect_app.runtime import Runtime
from jobs import alerts, queues, work
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.http import dashboard
from tests.http.dashboard import Member, said


@pytest.fixture
def owner(app: Flask, rt: Runtime, stage: make.Stage) -> Member:
    return dashboard.member(app, rt, stage)


def decided(rt: Runtime, stage: make.Stage) -> Preferences:
    with rt.transaction(stage.workspace_id) as session:
        return preferences.read(session, stage.workspace_id)


# The site


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://app.example.com/", "https://app.example.com"),
        ("HTTPS://App.Example.com:443", "https://app.example.com"),
        ("http://localhost:8002", "http://localhost:8002"),
        ("http://[::1]:8002", "http://[::1]:8002"),
    ],
)
def test_an_origin_is_kept_in_its_one_spelling(rt: Runtime, stage: make.Stage, owner: Member, line: str, kept: str) -> None:
    assert owner.post("/settings/site", allowed_origins=line).status_code == 303
    assert decided(rt, stage).allowed_origins == (kept,)


@pytest.mark.parametrize(
    "line",
    [
        "*", "https://*.example.com", "app.example.com", "https://", "javascript:alert(1)", "https://a@b.example", "https://a.example/path",
        "https://a.example?x", "https://a.example#x", "https://a.example\\b", "https://a.example:99999", "null", "https://ex\u0430mple.com",
        "data:text/html,x", "https://a.example:", "//a.example",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused_whole(rt: Runtime, stage: make.Stage, owner: Member, line: str) -> None:
    answer = owner.post("/settings/site", allowed_origins=f"https://good.example\n{line}")
    assert answer.status_code == 422
    assert "Not an origin" in said(answer.get_data(as_text=True))
    assert decided(rt, stage).allowed_origins == (customers.ORIGIN,)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x",
        "https://shop.example.evil.example/",
        "https://shop.example@evil.example/",
        "javascript:alert(1)",
        "/account",
    ],
)
def test_customers_are_sent_back_to_listed_origins_only(rt: Runtime, stage: make.Stage, owner: Member, url: str) -> None:
    for field in ("return_url", "cancel_url"):
        answer = owner.post("/settings/site", allowed_origins=customers.ORIGIN, **{field: url})
        assert answer.status_code == 422
    assert decided(rt, stage).return_url is decided(rt, stage).cancel_url is None
    assert owner.post("/settings/site", allowed_origins=customers.ORIGIN, return_url=f"{customers.ORIGIN}/account?a=b").status_code == 303
    assert decided(rt, stage).return_url == f"{customers.ORIGIN}/account?a=b"


# Setup and what a form may not carry


def test_plain_cancel_only_takes_the_survey_away(app: Flask, stage: make.Stage, owner: Member) -> None:
    assert "answer" in customers.handed_over(app, stage, "monthly").look().buttons
    owner.post("/settings", plain_cancel_only="y", stripe_sign_in="y")
    assert (
        "checked"
        in re.findall(r'<input[^>]*name="plain_cancel_only"[^>]*>|<input[^>]*id="plain_cancel_only"[^>]*>', owner.get("/settings"))[0]
    )
    assert "answer" not in customers.handed_over(app, stage, "yearly").look().buttons


def test_a_form_sets_its_own_fields_and_no_others(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    more: dict[str, Any] = {
        "workspace_id": "ws_other", "allowed_origins": "https://evil.example", "display": "modal", "visits_end_before": "2020-01-01",
        "role": "owner", "name": "x", "slug": "y", "manage_offers": "y", "manage_cancels": "y",
        "portal_code": "y",
    }  # fmt: skip
    before = decided(rt, stage)
    owner.post("/settings", enrichment="y", attribution="y", save_interval_days="30", stripe_sign_in="y", **more)
    assert decided(rt, stage) == before
    owner.post("/settings/site", **{**more, "allowed_origins": customers.ORIGIN, "plain_cancel_only": "y"})
    assert decided(rt, stage) == before


def test_who_may_enter_through_stripe_is_the_owners_to_decide(app: Flask, rt: Runtime, stage: make.Stage, owner: Member) -> None:
    dashboard.member(app, rt, stage, "admin").post("/settings", plain_cancel_only="y")
    assert decided(rt, stage).stripe_sign_in
    assert decided(rt, stage).plain_cancel_only
    owner.post("/settings")
    assert not decided(rt, stage).stripe_sign_in


# Secrets


def test_a_secret_is_shown_once(stage: make.Stage, owner: Member) -> None:
    assert stage.embed_secret not in owner.get("/settings/secrets")
    path = re.search(r'action="/admin/[^/]+(/settings/secrets/[^"]+/show)"', owner.page)
    assert path, owner.page
    first, second = owner.post(path[1]), owner.post(path[1])
    assert stage.embed_secret in first.get_data(as_text=True)
    assert first.headers["Cache-Control"] == "no-store"
    assert stage.embed_secret not in second.get_data(as_text=True)
    assert "shown only once" in said(owner.get("/settings/secrets"))
    assert stage.embed_secret not in owner.get("/settings/audit")


def test_while_a_secret_is_rotated_both_work_and_a_double_click_ends_neither(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    answer = owner.post("/settings/secrets/rotate", mode="test")
    found = re.search(r"hf_embed_test_[0-9a-f]{64}", answer.get_data(as_text=True))
    assert found
    assert owner.post("/settings/secrets/rotate", mode="test").status_code == 303
    assert "still under way" in said(owner.get("/settings/secrets"))
    assert found[0] not in owner.page
    with rt.transaction(stage.workspace_id) as session:
        working = [secret for _, secret in embed_secrets.verifying(session, stage.workspace_id, rt.now(), rt.ring)]
    assert sorted(working) == sorted([found[0], stage.embed_secret])


def test_a_revoked_secret_signs_nothing(app: Flask, stage: make.Stage, owner: Member) -> None:
    path = re.search(r'action="/admin/[^/]+(/settings/secrets/[^"]+/revoke)"', owner.get("/settings/secrets"))
    assert path
    assert owner.post(path[1]).status_code == 303
    customer, subscription = stage.shapes["monthly"]
    answer = app.test_client().post("/api/embed/cancel", json=customers.bundle(stage, customer, subscription))
    assert answer.status_code == 401
    assert owner.post("/settings/secrets/make", mode="test").status_code == 303
    assert owner.get("/settings/secrets").count("/show") == 1


@pytest.mark.parametrize("path", ["/settings/secrets/rotate", "/settings/secrets/make"])
def test_there_are_two_modes(owner: Member, path: str) -> None:
    for mode in ("", "both", "LIVE"):
        assert owner.post(path, mode=mode).status_code == 404


def test_a_secret_of_another_workspace_is_not_found(app: Flask, rt: Runtime, local: LocalStripe, owner: Member) -> None:
    path = re.search(r"/settings/secrets/(sec_[a-z0-9]+)/show", owner.get("/settings/secrets"))
    assert path
    other = dashboard.member(app, rt, make.workspace(rt, local))
    for verb in ("show", "revoke"):
        assert other.post(f"/settings/secrets/{path[1]}/{verb}").status_code == 404
    assert path[1] in owner.get("/settings/secrets")


# Stripe


def fail(rt: Runtime, event_id: str, account: str, *, livemode: bool = False) -> None:
    """An event of this account that was put aside."""
    with rt.transaction() as session:
        session.execute(
            text(
                "insert into webhook_events"
                " (id, account, livemode, type, api_version, created_at, received_at, settled_at, raw, state, attempts, error)"
                " values"
                " (:id, :account, :livemode, 'customer.updated', '2026-10-28.endive', now(), now(), now(), '{}', 'failed', 8, :error)"
            ),
            {"id": event_id, "account": account, "livemode": livemode, "error": "no <b>object</b> in it"},
        )


def state_of(rt: Runtime, event_id: str) -> str:
    with rt.transaction() as session:
        return str(session.execute(text("select state from webhook_events where id = :id"), {"id": event_id}).scalar_one())


def test_failed_events_are_shown_and_replayed_one_by_one_or_all(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    assert "Every event that Stripe sent was understood." in said(owner.get("/settings/stripe"))
    for event_id in ("evt_1", "evt_2", "evt_3"):
        fail(rt, event_id, stage.account)
    page = owner.get("/settings/stripe")
    assert "no <b>object</b> in it" in said(page)
    owner.post("/settings/stripe/events/evt_1/replay")
    assert [state_of(rt, event_id) for event_id in ("evt_1", "evt_2")] == ["pending", "failed"]
    owner.post("/settings/stripe/events/replay")
    assert state_of(rt, "evt_2") == state_of(rt, "evt_3") == "pending"


def test_events_of_other_accounts_are_neither_seen_nor_replayed(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    fail(rt, "evt_theirs", "acct_somebody_else")
    fail(rt, "evt_live", stage.account, livemode=True)
    page = owner.get("/settings/stripe")
    assert "evt_theirs" not in page
    assert "evt_live" not in page
    for event_id in ("evt_theirs", "evt_live", "evt_none"):
        assert owner.post(f"/settings/stripe/events/{event_id}/replay").status_code == 404
    owner.post("/settings/stripe/events/replay")
    assert state_of(rt, "evt_theirs") == state_of(rt, "evt_live") == "failed"


def test_the_health_of_the_connection_is_told(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    page = said(owner.get("/settings/stripe"))
    assert f"Account {stage.account}" in page
    assert "Read Allowed" in page
    assert "Last webhook None yet" in page
    with rt.transaction(stage.workspace_id) as session:
        session.execute(
            text("update connections set last_event_at = :now, last_event_lag_ms = 1840, last_api_version = '2026-10-28.endive'"),
            {"now": rt.now()},
        )
    page = said(owner.get("/settings/stripe"))
    assert "Last webhook Arriving" in page
    assert "Webhook lag 1.8 s" in page
    assert "2026-10-28.endive" in page


def test_alerts_are_shown_with_what_to_do_where_owners_look(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    with rt.transaction(stage.workspace_id) as session:
        connection = connections.by_id(session, stage.connection_id)
        assert connection is not None
        alerts.open(rt, session, connection, "silent", {"missed": 3, "due": 4, "since": None})
    for path in ("", "/settings/stripe"):
        page = said(owner.get(path))
        assert "Webhooks are not arriving Stripe lists 3 of 4 recent events that no webhook brought." in page, path
        assert "its address must answer 200" in page
    with rt.transaction(stage.workspace_id) as session:
        alerts.close(rt, session, connection, "silent")
    assert "not arriving" not in said(owner.get())


def test_an_admin_may_have_the_account_read_again_and_others_are_not_offered_it(
    app: Flask, rt: Runtime, stage: make.Stage, owner: Member
) -> None:
    page = said(owner.get("/settings/stripe"))
    assert "Events known up to Up to date" in page
    assert "of the last 24 months among them" in page
    assert "Compared with Stripe Not yet" in page
    assert "Read everything again" not in dashboard.member(app, rt, stage, "editor").get("/settings/stripe")
    assert dashboard.member(app, rt, stage, "editor").post("/settings/stripe/read-in").status_code == 403
    assert owner.post("/settings/stripe/read-in").status_code == 303
    assert "Your account is being read." in said(owner.get("/settings/stripe"))
    owner.post("/settings/stripe/read-in")
    assert "being read already" in said(owner.get("/settings/stripe"))
    work.drain(rt, queues.UPKEEP)
    with rt.transaction(stage.workspace_id) as session:
        queues.enqueue(session, "compare", stage.connection_id, stage.workspace_id, due_at=rt.now())
    work.drain(rt, queues.UPKEEP)
    page = said(owner.get("/settings/stripe"))
    assert "Compared with Stripe No difference" in page
    assert re.search(r"Customers \d+ 0 All of them", page)


def test_only_owners_are_offered_connecting_and_disconnecting(app: Flask, rt: Runtime, stage: make.Stage, owner: Member) -> None:
    assert "/oauth/disconnect" in owner.get("/settings/stripe")
    assert "/oauth/disconnect" not in dashboard.member(app, rt, stage, "admin").get("/settings/stripe")
    # A mode the server has keys for can be connected beside the other.
    assert f"/oauth/start?mode=live&amp;workspace={stage.slug}" in owner.get("/settings/stripe?connect=live")


# The audit log


def test_what_is_changed_is_written_down_with_who_did_it(owner: Member) -> None:
    owner.post("/settings/site", allowed_origins="https://new.example")
    owner.post(
        "/offers/new?kind=link",
        name="Talk",
        headline="Talk?",
        accept="Yes",
        decline="No",
        where="closing",
        by="holdfast",
        audience="",
        url="https://a.example/",
    )
    page = said(owner.get("/settings/audit"))
    assert "Settings: site" in page
    assert "https://new.example" in page
    assert "Flow: published" in page
    assert "@fernhill.example" in page
