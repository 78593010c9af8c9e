"""Settings -> Outbound: what may be typed, who may, what is shown once, and what the log tells."""

import hashlib
import hmac
import html
import re
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import select, update

from connect_app import preferences, runtime
from connect_app.models import AuditEntry, Delivery, DeliveryAttempt, Endpoint, Work
from connect_app.runtime import Runtime
from jobs import work
from jobs.outbound import endpoints, messages
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.sdk import LocalClient
from tests import customers, make
from tests.http import dashboard
from tests.http.dashboard import Member, said

HERE = "/settings/outbound"
HOOKS = "http://127.0.0.1:9/hooks"


@pytest.fixture
def rt(rt: Runtime, local: LocalStripe) -> Iterator[Runtime]:
    """A server whose operator lets webhooks into one network."""
    opened = runtime.open_runtime(rt.settings.model_copy(update={"holdfast_egress_allow": "127.0.0.1/32"}), http_client=LocalClient(local))
    runtime.use(opened)
    yield opened
    opened.close()


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    return make.workspace(rt, local)


@pytest.fixture
def admin(app: Flask, rt: Runtime, stage: make.Stage) -> Member:
    return dashboard.member(app, rt, stage, "admin")


def added(admin: Member, rt: Runtime, stage: make.Stage, url: str = HOOKS, kind: str = "webhook", **fields: object) -> tuple[str, str]:
    """(id, secret) of an endpoint that the page has added."""
    answer = admin.post(f"{HERE}/new?kind={kind}", url=url, **fields)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 200, said(page)
    secret = re.search(r"whsec_[A-Za-z0-9+/=]+", page)
    with rt.transaction(stage.workspace_id) as session:
        newest = session.execute(select(Endpoint.id).order_by(Endpoint.id.desc()).limit(1)).scalar_one()
    assert secret
    return newest, secret[0]


def rows(rt: Runtime, stage: make.Stage, table: type) -> list[object]:
    with rt.transaction(stage.workspace_id) as session:
        return list(session.execute(select(table)).scalars())


def deliver(rt: Runtime, endpoint_id: str) -> None:
    with rt.transaction() as session:
        work_id = session.execute(select(Work.id).where(Work.row_id == endpoint_id)).scalar_one()
    work.perform(rt, work_id)


def test_a_new_webhook_shows_its_secret_once_and_is_listed_with_what_it_hears(admin: Member, rt: Runtime, stage: make.Stage) -> None:
    assert "Nobody is told" in said(admin.get(HERE))
    endpoint_id, secret = added(admin, rt, stage, topics=["save.lost", "action.manual"])
    for path in (HERE, f"{HERE}/{endpoint_id}", f"{HERE}/{endpoint_id}/edit"):
        assert secret not in admin.get(path)
    assert "2 types" in said(admin.get(HERE))
    with rt.transaction(stage.workspace_id) as session:
        row = endpoints.one(session, stage.workspace_id, endpoint_id)
        assert endpoints.secrets(rt.ring, row, rt.now()) == [secret]
        [entry] = session.execute(select(AuditEntry).where(AuditEntry.verb == "endpoint.added")).scalars()
        assert secret not in str(entry.details)


INSIDE = [
    ("", "Write an address"),
    ("http://127.0.0.2:80/", "private network"),
    ("https://169.254.169.254/latest", "private network"),
    ("https://[::1]/", "private network"),
    ("https://a:b@93.184.216.34/", "no user name"),
    ("ftp://93.184.216.34/", "complete address"),
    ("https://93.184.216.34:22/", "The port must be 443 or 8443"),
    ("http://93.184.216.34/", "must begin with https"),
    ("https://93.184.216.34/" + "x" * 2048, "At most 2048 characters"),
]


def test_an_address_that_leads_inside_is_refused_when_it_is_typed(admin: Member, rt: Runtime, stage: make.Stage) -> None:
    for url, told in INSIDE:
        answer = admin.post(f"{HERE}/new", url=url)
        assert (answer.status_code, told in said(answer.get_data(as_text=True))) == (422, True), url
    assert rows(rt, stage, Endpoint) == []


def test_topics_that_there_are_not_are_refused(admin: Member, rt: Runtime, stage: make.Stage) -> None:
    for topic in ("everything", "pause.begun", "endpoint.test"):
        assert admin.post(f"{HERE}/new", url=HOOKS, topics=[topic]).status_code == 422
    assert admin.post(f"{HERE}/new?kind=call", url=HOOKS).status_code == 422
    assert admin.post(f"{HERE}/new?kind=carrier_pigeon", url=HOOKS).status_code == 404
    assert rows(rt, stage, Endpoint) == []


HARMFUL = [
    ("http://{{ customer_id }}/x", "path and the query only"),
    ("http://127.0.0.1:{{ verb }}/", "path and the query only"),
    ("{{ email }}", "path and the query only"),
    ("http://127.0.0.1:9/{{ password }}", "no variable called password"),
    ("http://127.0.0.1:9/{{ email | upcase }}", "without filters"),
    ("http://127.0.0.1:9/{% if email %}", "without filters"),
    ("http://127.0.0.1:9/../{{ verb }}", "dots only"),
    ("http://127.0.0.1:9/x#{{ verb }}", "fragment"),
    ("http://127.0.0.1:9/x?holdfast_action=1", "added by Holdfast"),
    ("http://127.0.0.2:9/{{ verb }}", "private network"),
]


def test_a_pass_through_url_has_its_variables_where_they_can_do_no_harm(admin: Member) -> None:
    for url, told in HARMFUL:
        answer = admin.post(f"{HERE}/new?kind=call", url=url, topics=["cancel"])
        assert (answer.status_code, told in said(answer.get_data(as_text=True))) == (422, True), url


def test_a_redirect_goes_to_an_allowed_origin_only(admin: Member, rt: Runtime, stage: make.Stage) -> None:
    url = "https://app.fernhill.example/done/{{ subscription_id }}?plan={{ plan_name }}"
    answer = admin.post(f"{HERE}/new?kind=redirect", url=url, topics=["cancel"])
    assert "not among your allowed origins" in said(answer.get_data(as_text=True))
    with rt.transaction(stage.workspace_id) as session:
        preferences.save(session, stage.workspace_id, "allowed_origins", ["https://app.fernhill.example"], rt.now())
    added(admin, rt, stage, url, "redirect", topics=["cancel", "accept"])
    assert "Opened in the customer’s browser" in said(admin.get(HERE))


def test_ten_are_enough(admin: Member, rt: Runtime, stage: make.Stage) -> None:
    for _ in range(endpoints.LIMIT):
        added(admin, rt, stage)
    assert admin.post(f"{HERE}/new", url=HOOKS).status_code == 303
    assert "There are 10 already" in said(admin.get(HERE))
    added(admin, rt, stage, kind="call", topics=["cancel"])


def test_a_test_is_sent_and_the_log_tells_request_and_answer(admin: Member, rt: Runtime, stage: make.Stage) -> None:
    endpoint_id, _ = added(admin, rt, stage)
    assert "Nothing was sent yet" in said(admin.get(f"{HERE}/{endpoint_id}"))
    admin.post(f"{HERE}/{endpoint_id}/test")
    deliver(rt, endpoint_id)
    page = admin.get(f"{HERE}/{endpoint_id}")
    assert "It could not be reached." in said(page)
    assert "It is failing" in said(page)
    link = re.search(rf"{HERE}/{endpoint_id}(/log/dlv_[a-z0-9]+)", page)
    assert link
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(DeliveryAttempt).values(response="<b>busy</b>"))
    shown = admin.get(f"{HERE}/{endpoint_id}{link[1]}")
    assert "This is a test. Nothing has happened." in said(shown)
    assert "<b>busy</b>" in said(shown)
    assert "<b>busy</b>" not in shown
    assert admin.post(f"{HERE}/{endpoint_id}{link[1]}/replay").status_code == 303


def test_rotating_shows_the_new_secret_once_and_a_double_click_changes_nothing(admin: Member, rt: Runtime, stage: make.Stage) -> None:
    endpoint_id, first = added(admin, rt, stage)
    page = admin.post(f"{HERE}/{endpoint_id}/rotate").get_data(as_text=True)
    second = re.search(r"whsec_[A-Za-z0-9+/=]+", page)
    assert second
    assert second[0] != first
    assert admin.post(f"{HERE}/{endpoint_id}/rotate").status_code == 303
    assert "still under way" in said(admin.get(f"{HERE}/{endpoint_id}"))
    with rt.transaction(stage.workspace_id) as session:
        row = endpoints.one(session, stage.workspace_id, endpoint_id)
        assert endpoints.secrets(rt.ring, row, rt.now()) == [second[0], first]


def test_switched_off_changed_on_again_replayed_and_removed(admin: Member, rt: Runtime, stage: make.Stage) -> None:
    endpoint_id, _ = added(admin, rt, stage)
    admin.post(f"{HERE}/{endpoint_id}/test")
    admin.post(f"{HERE}/{endpoint_id}/close")
    page = said(admin.get(f"{HERE}/{endpoint_id}"))
    assert "Your team has switched it off." in page
    assert "The endpoint is switched off." in page
    admin.post(f"{HERE}/{endpoint_id}/test")
    assert "Switch it on first" in said(admin.get(f"{HERE}/{endpoint_id}"))
    assert admin.post(f"{HERE}/{endpoint_id}/edit", url=f"{HOOKS}/2", topics=["save.lost"]).status_code == 303
    admin.post(f"{HERE}/{endpoint_id}/open")
    admin.post(f"{HERE}/{endpoint_id}/replay")
    page = said(admin.get(f"{HERE}/{endpoint_id}"))
    assert "1 delivery is being sent again." in page
    assert f"{HOOKS}/2" in page
    admin.post(f"{HERE}/{endpoint_id}/remove")
    admin.get(f"{HERE}/{endpoint_id}", 404)
    assert rows(rt, stage, Endpoint) == rows(rt, stage, Delivery) == []


def test_another_workspaces_endpoint_is_not_there(admin: Member, app: Flask, rt: Runtime, stage: make.Stage, local: LocalStripe) -> None:
    endpoint_id, _ = added(admin, rt, stage)
    elsewhere = dashboard.member(app, rt, make.workspace(rt, local))
    for rest in ("", "/edit", "/log/dlv_x"):
        elsewhere.get(f"{HERE}/{endpoint_id}{rest}", 404)
    for verb in ("edit", "test", "rotate", "close", "open", "replay", "remove", "log/dlv_x/replay"):
        assert elsewhere.post(f"{HERE}/{endpoint_id}/{verb}", url=HOOKS).status_code == 404, verb
    assert len(rows(rt, stage, Endpoint)) == 1


def test_a_form_without_its_token_is_refused(admin: Member, rt: Runtime, stage: make.Stage) -> None:
    assert admin.client.post(f"/admin/{stage.slug}{HERE}/new", data={"url": HOOKS}).status_code == 400
    assert rows(rt, stage, Endpoint) == []


def test_the_handbook_has_every_type_with_its_schema(app: Flask) -> None:
    page = app.test_client().get("/docs/outbound").get_data(as_text=True)
    for kind in messages.TYPES:
        assert f"/docs/outbound/{kind}.json" in page
        answer = app.test_client().get(f"/docs/outbound/{kind}.json")
        assert answer.get_json() == messages.schema(kind)
    assert app.test_client().get("/docs/outbound/nothing.json").status_code == 404


def test_a_customer_who_is_done_leaves_by_the_pass_through_url(app: Flask, rt: Runtime, local: LocalStripe) -> None:
    stage = make.workspace(rt, local, origins=(customers.ORIGIN,))
    make.read_in(rt)
    with rt.transaction(stage.workspace_id) as session:
        url = f"{customers.ORIGIN}/bye/{{{{ subscription_id }}}}?why={{{{ reason }}}}"
        for topics, address in ((["accept"], f"{customers.ORIGIN}/thanks"), (["cancel"], url)):
            minted = endpoints.add(
                session, stage.workspace_id, "test", kind="redirect", url=address, topics=topics, ring=rt.ring, now=rt.now(), by="usr_1"
            )
    browser = customers.handed_over(app, stage, "monthly").look().press("answer", reason="unused").press("skip").press("confirm")
    customers.drain(rt)
    page = html.unescape(browser.look().page)
    found = re.search(rf'href="({customers.ORIGIN}/bye/{stage.shapes["monthly"][1]}\?why=unused&holdfast_action=act_[^"]+)"', page)
    assert found, page
    signed, _, mark = found[1].partition("&holdfast_signature=")
    assert mark == hmac.new(minted.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    with rt.transaction(stage.workspace_id) as session:
        preferences.save(session, stage.workspace_id, "allowed_origins", [], rt.now())
    assert "holdfast_signature" not in browser.look().page
