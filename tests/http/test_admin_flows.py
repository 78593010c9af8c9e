"""What a flow has of its own: what its cancels do and who changes Stripe for it, chosen on its page and obeyed by the next customer."""

import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from connect_app import preferences
from connect_app.admin import flows, offers
from connect_app.models import Action, AuditEntry
from connect_app.runtime import Runtime
from flow_pages import document
from flow_pages.document import CancelOptions, Flow
from tests import customers, make
from tests.http import dashboard
from tests.http.dashboard import Member, said

SETUP = {"cancels": "setup", "offers_by": "setup", "cancels_by": "setup"}
OWN = {**SETUP, "cancels": "own", "cancel_when": "now", "cancel_scope": "all", "cancel_open_invoices": "void", "cancel_prorate": "y"}


@pytest.fixture
def editor(app: Flask, rt: Runtime, stage: make.Stage) -> Member:
    return dashboard.member(app, rt, stage, "editor")


def page_of(rt: Runtime, stage: make.Stage, kind: str = "default") -> str:
    with rt.transaction(stage.workspace_id) as session:
        return next(f"/flows/{one.id}" for one in flows.listing(session, stage.workspace_id, "test") if one.kind == kind)


def published(rt: Runtime, stage: make.Stage, kind: str = "default") -> tuple[int, Flow]:
    with rt.transaction(stage.workspace_id) as session:
        found = next(one.version for one in flows.listing(session, stage.workspace_id, "test") if one.kind == kind)
    return found.number, found.document


def chosen(page: str) -> dict[str, list[str]]:
    """What the form on the flow's page has chosen."""
    form = page[page.index('id="own"') :].split("</form>")[0]
    found: dict[str, list[str]] = {}
    for tag in re.findall(r"<input [^>]*>", form):
        name, value = re.search(r' name="([^"]*)"', tag), re.search(r' value="([^"]*)"', tag)
        if name and name[1] != "csrf_token" and (" checked" in tag or 'type="hidden"' in tag):
            found.setdefault(name[1], []).append(value[1] if value else "")
    return found


def test_a_flow_s_own_options_are_what_its_next_customer_is_told_and_gets(
    app: Flask, rt: Runtime, stage: make.Stage, editor: Member
) -> None:
    path, early = page_of(rt, stage), customers.handed_over(app, stage, "yearly").look()
    first = said(editor.get(path))
    assert "Which says: At the end of the period. This subscription. Past due and open invoices: keep collecting." in first
    assert "Which says: Holdfast." in first
    answer = editor.post(path, **{**OWN, "cancels_by": "business"})
    assert (answer.status_code, answer.location) == (303, f"/admin/{stage.slug}{path}")
    assert "Saved. Version 2 is published." in said(editor.get(path))
    assert chosen(editor.page) == {
        "cancels": ["own"], "cancel_when": ["now"], "cancel_scope": ["all"], "cancel_open_invoices": ["void"], "cancel_prorate": ["y"],
        "offers_by": ["setup"], "cancels_by": ["business"],
    }  # fmt: skip
    wanted = CancelOptions(when="now", scope="all", open_invoices="void", prorate=True)
    number, flow = published(rt, stage)
    assert (number, flow.cancel, flow.offers_by, flow.cancels_by) == (2, wanted, None, "business")
    for browser in (early, customers.handed_over(app, stage, "monthly").look()):
        browser.press("skip").press("confirm", scope="this")
    with rt.transaction(stage.workspace_id) as session:
        made = {row.subscription: row for row in session.execute(select(Action)).scalars()}
        entries = session.execute(select(AuditEntry).where(AuditEntry.verb.startswith("flow."), AuditEntry.actor.startswith("usr_")))
        done = {row.verb: row.details for row in entries.scalars()}
    before, after = (made[stage.shapes[shape][1]] for shape in ("yearly", "monthly"))
    assert (before.intent["when"], before.state) == ("period_end", "queued"), "who had begun keeps what they began on"
    assert (after.intent["when"], after.intent["prorate"], after.intent["open_invoices"]) == ("now", True, "void")
    assert (after.state, after.code) == ("requested", "yours")
    assert done == {
        "flow.options": {"cancel": wanted.model_dump(), "offers_by": None, "cancels_by": "business"},
        "flow.published": {"flow": "default", "version": 2},
    }


def test_setup_names_the_flows_that_go_their_own_way_and_what_they_do_stays_when_setup_changes(
    app: Flask, rt: Runtime, stage: make.Stage, editor: Member
) -> None:
    path = page_of(rt, stage)
    assert "“Default flow”" not in said(editor.get("/settings"))
    editor.post(path, **{**OWN, "offers_by": "holdfast"})
    setup = said(editor.get("/settings"))
    assert (
        "“Default flow” has its own options Now. All active subscriptions of the customer. Past due and open invoices: void. Prorated."
        in setup
    )
    assert "“Default flow” says for itself who changes Stripe Offers: Holdfast. Change it there" in setup
    assert editor.page.count(f'href="/admin/{stage.slug}{path}#own"') == 2
    with rt.transaction(stage.workspace_id) as session:
        preferences.save(session, stage.workspace_id, "cancel_when", "period_end", rt.now())
        preferences.save(session, stage.workspace_id, "manage_cancels", False, rt.now())
    customers.handed_over(app, stage, "monthly").look().press("skip").press("confirm", scope="this")
    with rt.transaction(stage.workspace_id) as session:
        [action] = session.execute(select(Action)).scalars()
    assert (action.intent["when"], action.code) == ("now", "yours"), "its own options, and for the rest the workspace's"
    for typed, told in ((OWN, "has its own options"), ({**SETUP, "cancels_by": "holdfast"}, "who changes Stripe Cancels: Holdfast.")):
        editor.post(path, **typed)
        assert said(editor.get("/settings")).count("“Default flow”") == 1
        assert told in said(editor.page)
    editor.post(path, **SETUP)
    assert published(rt, stage)[1].cancel is None
    assert "“Default flow”" not in said(editor.get("/settings"))


def test_what_is_saved_unchanged_publishes_nothing_and_an_offer_s_change_keeps_the_flow_s_own(
    rt: Runtime, stage: make.Stage, editor: Member
) -> None:
    for kind in ("default", "control"):
        path = page_of(rt, stage, kind)
        editor.post(path, **chosen(editor.get(path)))
        assert "nothing was published" in said(editor.get(path))
        editor.post(path, **OWN)
        editor.post(path, **chosen(editor.get(path)))
        number, flow = published(rt, stage, kind)
        assert number == 2
        assert flow.cancel is not None
    pause = document.PauseOffer(id="new", headline="A break", accept="Yes", decline="No", interval="month", count=1)
    with rt.transaction(stage.workspace_id) as session:
        place = offers.Placement(where="closing")
        offers.add(session, stage.workspace_id, name="Break", offer=pause, placement=place, now=rt.now(), by="operator")
        assert flows.publish_offers(session, stage.workspace_id, rt.now(), "operator") == 3
    flow = published(rt, stage)[1]
    assert flow.cancel is not None
    assert flow.cancel.when == "now"
    page = said(editor.get(page_of(rt, stage)))
    assert "3. Offer A break In test mode 1 month without bills" in page, "offers of every kind are told of"
    old = said(editor.get(f"{page_of(rt, stage)}?version=1"))
    assert "Cancels As in Settings → Setup" in old
    assert "Save and publish" not in old


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"cancel_when": "period_end"}, "cancel_prorate", "This is for what ends now."),
    ({"cancel_when": "period_end", "cancel_invoice_now": "y"}, "cancel_invoice_now", "This is for what ends now."),
    ({"cancel_when": "tomorrow"}, "cancel_when", "Not a valid choice"),
    ({"cancels": "theirs"}, "cancels", "Not a valid choice"),
    ({"offers_by": "nobody"}, "offers_by", "Not a valid choice"),
]


def test_what_does_not_go_together_is_said_beside_its_field(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    path = page_of(rt, stage)
    for typed, field, told in WRONG:
        answer = editor.post(path, **{**OWN, **typed})
        beside = re.search(rf'id="{field}-error">(.*?)</p>', answer.get_data(as_text=True), re.S)
        assert (answer.status_code, bool(beside and told in said(beside[1]))) == (422, True), (typed, field)
        if "cancel_when" in typed and told.startswith("This"):
            assert chosen(answer.get_data(as_text=True))["cancel_when"] == ["period_end"], "nothing that was chosen is lost"
    # What is not this flow's own has nothing to be wrong.
    assert editor.post(path, **{**OWN, "cancels": "setup", "cancel_when": "period_end"}).status_code == 303
    assert published(rt, stage)[0] == 1
    assert editor.post("/settings", **{**OWN, "cancel_when": "period_end"}).status_code == 403
    assert editor.post("/flows/flo_elsewhere", **OWN).status_code == 404


def test_analysts_read_it_and_change_nothing(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    analyst, path = dashboard.member(app, rt, stage, "analyst"), page_of(rt, stage)
    page = analyst.get(path)
    assert "Save and publish" not in page
    assert '<fieldset class="form own" disabled>' in page
    assert analyst.post(path, **OWN).status_code == 403
    assert published(rt, stage)[0] == 1
