"""The audiences pages: a rule is built without JavaScript, counted over the mirror, kept, renamed and deleted."""

import html
import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text, update

from connect_app.models import Audience, Customer, Subscription
from connect_app.runtime import Runtime
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.http import dashboard
from tests.http.dashboard import Member, said
from tests.http.test_admin_customers import enrol, mapped, subscribe
from webhooks import audiences

NASTY = "<img src=x onerror=alert(1)>{{ 7*7 }}"
TRIALS = {"match": "all", "rules": [{"field": "status", "type": "text", "verb": "is", "value": "trialing"}]}


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    staged = make.workspace(rt, local, origins=(customers.ORIGIN,))
    make.read_in(rt)
    mapped(rt, staged, status=("text", "subscription.status", None), worth=("money", "mrr", None), team=("text", "custom.team", None))
    return staged


@pytest.fixture
def editor(app: Flask, rt: Runtime, stage: make.Stage) -> Member:
    return dashboard.member(app, rt, stage, "editor")


def fields(page: str) -> dict[str, str]:
    """The editor's form as a browser without script would send it, but for the button."""
    form = page[page.index('<form class="stack"') :].split("</form>")[0]
    found: dict[str, str] = {}
    for tag in re.findall(r"<input [^>]*>", form):
        name, value = re.search(r' name="([^"]*)"', tag), re.search(r' value="([^"]*)"', tag)
        if name:
            found[name[1]] = html.unescape(value[1]) if value else ""
    for name_, inner in re.findall(r'<select[^>]* name="([^"]*)"[^>]*>(.*?)</select>', form, re.S):
        chosen = re.search(r'<option value="([^"]*)" selected', inner) or re.search(r'<option value="([^"]*)"', inner)
        found[name_] = html.unescape(chosen[1]) if chosen else ""
    for name_, inner in re.findall(r'<textarea[^>]* name="([^"]*)"[^>]*>\n(.*?)</textarea>', form, re.S):
        found[name_] = html.unescape(inner)
    return found


class Builder:
    """A browser without script that builds a rule, button by button; `r__new` types into `r:new`."""

    def __init__(self, member: Member, path: str = "/audiences/new") -> None:
        self.member, self.path = member, path
        self.page = member.get(path)
        self.status, self.location = 200, ""

    def press(self, do: str, **typed: str) -> "Builder":
        given = {**fields(self.page), **{name.replace("__", ":"): value for name, value in typed.items()}, "do": do}
        answer = self.member.client.post(f"/admin/{self.member.slug}{self.path}", data=given)
        self.status, self.location, self.page = answer.status_code, answer.location or "", answer.get_data(as_text=True)
        return self


def rules(rt: Runtime, stage: make.Stage) -> dict[str, Any]:
    with rt.transaction(stage.workspace_id) as session:
        return {row.name: row.rule for row in session.execute(select(Audience)).scalars()}


def keep(rt: Runtime, stage: make.Stage, id: str, name: str, rule: dict[str, Any]) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.add(Audience(id=id, workspace_id=stage.workspace_id, name=name, rule=rule, created_at=rt.now(), changed_at=rt.now()))


# Building


def test_a_rule_is_built_button_by_button_and_kept(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    page = Builder(editor)
    page.press("add:r", name="Trials in dollars", r__new="status").press("group:r")
    page.press("add:r.1", **{"r.1:new": "worth"}).press("add:r.1", **{"r.1:new": "renewal_date"}).press("add:r", r__new="plan_name")
    typed = {
        "r.0:verb": "is_one_of",
        "r.0:lines": " trialing \n\nactive\n",
        "r.1:match": "none",
        "r.1.0:verb": "is_less_than",
        "r.1.0:text": "10.50",
        "r.1.0:currency": "USD",
        "r.1.1:verb": "in_next",
        "r.1.1:days": "3",
        "r.2:verb": "is_known",
    }
    page.press("save", **typed)
    assert page.status == 303
    assert rules(rt, stage) == {
        "Trials in dollars": {
            "match": "all",
            "rules": [
                {"field": "status", "type": "text", "verb": "is_one_of", "value": ["trialing", "active"]},
                {
                    "match": "none",
                    "rules": [
                        {"field": "worth", "type": "money", "verb": "is_less_than", "value": {"amount": 1050, "currency": "usd"}},
                        {"field": "renewal_date", "type": "date", "verb": "in_next", "value": 3},
                    ],
                },
                {"field": "plan_name", "type": "text", "verb": "is_known"},
            ],
        }
    }
    again = Builder(editor, page.location.removeprefix(f"/admin/{stage.slug}"))
    before = rules(rt, stage)
    assert again.press("save").status == 303
    assert rules(rt, stage) == before, "what is shown for changing is what was kept"


def test_a_removed_condition_is_gone_and_what_was_typed_elsewhere_stays(editor: Member) -> None:
    page = Builder(editor).press("add:r", name=NASTY, r__new="status").press("add:r", r__new="worth")
    page.press("remove:r.0", **{"r.0:text": "trialing", "r.1:text": 'ab"c'})
    assert NASTY not in page.page
    found = fields(page.page)
    assert found["name"] == NASTY
    assert (found["r.0:field"], found["r.0:text"]) == ("worth", 'ab"c')
    assert "r.1:field" not in found
    assert 'id="r:new" name="r:new" aria-label="Variable for a new condition" autofocus' in page.page


def test_the_next_field_to_fill_in_has_the_focus(editor: Member) -> None:
    page = Builder(editor).press("add:r", r__new="status")
    assert re.search(r'id="r\.0:verb"[^>]* autofocus', page.page)
    assert page.page.count(" autofocus") == 1
    page.press("group:r")
    assert re.search(r'id="r\.1:match"[^>]* autofocus', page.page)


def test_what_is_wrong_is_said_beside_the_condition_and_nothing_is_kept(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    page = Builder(editor).press("add:r", name="x", r__new="worth").press("group:r")
    page.press("save", **{"r.0:text": "ten", "r.0:currency": "usd"})
    assert page.status == 422
    assert "worth: Write an amount, such as 12.50, and a currency in three letters, such as usd." in said(page.page)
    assert "A group needs at least one condition." in said(page.page)
    assert fields(page.page)["r.0:text"] == "ten"
    page.press("add:r", r__new="")
    assert "Choose a variable first." in said(page.page)
    assert rules(rt, stage) == {}


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "Taken"])
def test_a_name_is_needed_and_is_nobody_elses(rt: Runtime, stage: make.Stage, editor: Member, name: str) -> None:
    keep(rt, stage, "aud_1", "Taken", TRIALS)
    page = Builder(editor).press("add:r", r__new="status").press("save", name=name, **{"r.0:text": "active"})
    assert page.status == 422
    assert "name-error" in page.page
    assert list(rules(rt, stage)) == ["Taken"]


def test_a_form_that_no_editor_made_is_no_error(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    odd: list[dict[str, str]] = [
        {"do": "remove:r"},
        {"do": "remove:r.5"},
        {"do": "remove:"},
        {"do": "add:r.0.1.2", "r.0:field": "x"},
        {"do": "add:x"},
        {"do": "save", "r:match": "some", "r.0:field": "x", "r.0:type": "odd", "r.0:verb": "odd"},
        {"do": "show", **{f"r.{'0.' * n}0:match": "all" for n in range(20)}},
        {"do": "save", "name": "y", **{f"r.{n}:field": "status" for n in range(200)}},
        {"do": "show", "r.0:field": "a", "r.0:type": "money", "r.0:verb": "is", "r.0:text": "9" * 15, "r.0:currency": "ÄÖ€"},
        {"do": "show", "r.0:field": "a", "r.0:type": "date", "r.0:verb": "is_before", "r.0:day": "２０２６-01-01"},
    ]
    for given in odd:
        answer = editor.post("/audiences/new", **given)
        assert answer.status_code in (200, 422), (given, answer.status_code)
    assert rules(rt, stage) == {}


def test_an_audience_is_renamed_and_deleted_and_each_is_written_down(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    keep(rt, stage, "aud_1", "Trials", TRIALS)
    assert Builder(editor, "/audiences/aud_1").press("save", name="  On   trial ").status == 303
    assert rules(rt, stage) == {"On trial": TRIALS}
    assert editor.post("/audiences/aud_1/delete").status_code == 303
    assert rules(rt, stage) == {}
    editor.get("/audiences/aud_1", 404)
    with rt.transaction(stage.workspace_id) as session:
        verbs = session.execute(text("select verb from audit_log where verb like 'audience.%' order by id")).scalars().all()
    assert verbs == ["audience.changed", "audience.deleted"]


def test_an_analyst_reads_and_changes_nothing(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    keep(rt, stage, "aud_1", "Trials", TRIALS)
    analyst = dashboard.member(app, rt, stage, "analyst")
    page = analyst.get("/audiences/aud_1")
    assert '<fieldset class="stack" disabled>' in page
    assert 'value="save"' not in page
    assert analyst.post("/audiences/aud_1", do="save", name="x").status_code == 403


# Whom it means


def test_the_page_says_who_matches_and_links_to_them(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    keep(rt, stage, "aud_1", "Trials", TRIALS)
    customer, subscription = stage.shapes["trialing"]
    page = editor.get("/audiences/aud_1")
    with rt.transaction(stage.workspace_id) as session:
        running = session.execute(
            select(func.count(Subscription.customer.distinct())).where(Subscription.status.not_in(("canceled", "incomplete_expired")))
        ).scalar_one()
    assert f"1 of {running} with a running subscription" in said(page)
    assert f"/customers/{customer}?subscription={subscription}" in page
    listing = said(editor.get("/audiences"))
    assert f"Trials status is trialing 1 of {running} with a running subscription No offer yet" in listing


def test_a_customer_with_two_subscriptions_counts_once_and_an_ended_one_never(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    keep(rt, stage, "aud_1", "Everybody", {"match": "none", "rules": [{"field": "status", "type": "text", "verb": "is", "value": "no"}]})
    before = editor.get("/audiences/aud_1")
    enrol(rt, stage, [{"id": "cus_two", "name": "Two", "email": None}, {"id": "cus_over", "name": "Over", "email": None}])
    subscribe(rt, stage, "monthly", [("cus_two", "sub_a"), ("cus_two", "sub_b")])
    subscribe(rt, stage, "monthly", [("cus_over", "sub_c")], status="canceled")
    [was] = re.findall(r'class="big-number">([0-9]+)<', before)
    [now] = re.findall(r'class="big-number">([0-9]+)<', editor.get("/audiences/aud_1"))
    assert int(now) == int(was) + 1


def test_what_only_a_hand_off_sends_is_said_to_be_missing(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    rule = {"match": "any", "rules": [{"field": "team", "type": "text", "verb": "is", "value": "Blue"}]}
    keep(rt, stage, "aud_1", "Blue", rule)
    assert "Known only in a session team: your hand-off sends it" in said(editor.get("/audiences/aud_1"))


def test_a_variable_that_has_changed_its_type_is_told(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    keep(rt, stage, "aud_1", "Old", {"match": "all", "rules": [{"field": "status", "type": "integer", "verb": "is", "value": 1}]})
    keep(rt, stage, "aud_2", "Gone", {"match": "all", "rules": [{"field": "nothing", "type": "integer", "verb": "is", "value": 1}]})
    assert "This variable is of another type now (text)" in said(editor.get("/audiences/aud_1"))
    assert "There is no such variable any more" in said(editor.get("/audiences/aud_2"))


def test_a_rule_that_can_no_longer_be_read_is_shown_for_building_anew(rt: Runtime, stage: make.Stage, editor: Member) -> None:
    keep(rt, stage, "aud_1", "Odd", {"match": "most"})
    assert "This rule can no longer be read" in said(editor.get("/audiences"))
    editor.get("/audiences/aud_1")


def test_counting_takes_as_many_queries_for_a_batch_of_any_size_and_for_any_number_of_audiences(
    rt: Runtime, stage: make.Stage, editor: Member
) -> None:
    def ran() -> int:
        editor.get("/audiences")
        with dashboard.counted(rt) as statements:
            editor.get("/audiences")
        return len(statements)

    keep(rt, stage, "aud_1", "A", TRIALS)
    few = ran()
    enrol(rt, stage, [{"id": f"cus_q{n:03}", "email": None, "name": "Q"} for n in range(150)])
    subscribe(rt, stage, "monthly", [(f"cus_q{n:03}", f"sub_q{n:03}") for n in range(150)])
    for n in range(5):
        keep(rt, stage, f"aud_m{n}", f"More {n}", TRIALS)
    assert ran() == few


def test_a_count_that_runs_out_of_time_is_an_estimate_from_a_fair_share(rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(Subscription).values(is_deleted=True))
        session.execute(update(Customer).values(is_deleted=True))
    people = [f"cus_e{n:04}" for n in range(2000)]
    enrol(rt, stage, [{"id": id, "email": None, "name": "E"} for id in people])
    # A quarter of them, and those are the first by id: to look at the first would tell nothing.
    subscribe(rt, stage, "trialing", [(id, f"sub{id}") for id in people[:500]], is_deleted=False)
    subscribe(rt, stage, "monthly", [(id, f"sub{id}") for id in people[500:]], is_deleted=False)
    rule = audiences.parse(TRIALS)
    with rt.transaction(stage.workspace_id) as session:
        count = audiences.count(session, stage.workspace_id, stage.connection_id, {"a": rule}, rt.now(), seconds=0)["a"]
        whole = audiences.count(session, stage.workspace_id, stage.connection_id, {"a": rule}, rt.now(), seconds=60)["a"]
    assert not count.is_exact
    assert count.looked_at < 400
    assert count.total == 2000
    assert 300 < count.estimate < 700
    assert whole.is_exact
    assert (whole.matching, whole.total, len(whole.sample)) == (500, 2000, 10)
    assert set(whole.sample) <= {(id, f"sub{id}") for id in people[:500]}


def test_of_a_large_account_a_share_is_drawn_and_everything_is_said_to_be_about(rt: Runtime, stage: make.Stage) -> None:
    people = [f"cus_e{n:04}" for n in range(4000)]
    enrol(rt, stage, [{"id": id, "email": None, "name": "E" * 200} for id in people])
    subscribe(rt, stage, "trialing", [(id, f"sub{id}") for id in people[::4]])
    subscribe(rt, stage, "monthly", [(id, f"sub{id}") for id in people[1::4]])
    with rt.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("analyze customers"))
    with rt.transaction(stage.workspace_id) as session:
        given = {"seconds": 60.0, "all_of": 1000, "drawn": 1000}
        rule = audiences.parse(TRIALS)
        count = audiences.count(session, stage.workspace_id, stage.connection_id, {"a": rule}, rt.now(), **given)["a"]
    assert count.is_large
    assert not count.is_exact
    assert 500 < count.looked_at < 1500
    assert 3000 < count.total < 5500
    assert 600 < count.estimate < 1500


def test_another_workspaces_customers_and_audiences_are_not_counted(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    keep(rt, stage, "aud_1", "Trials", TRIALS)
    other = make.workspace(rt, local)
    make.read_in(rt)
    member = dashboard.member(app, rt, other)
    member.get("/audiences/aud_1", 404)
    assert member.post("/audiences/aud_1", do="save", name="x").status_code == 404
    assert member.post("/audiences/aud_1/delete").status_code == 404
    assert list(rules(rt, stage)) == ["Trials"]
    with rt.transaction(other.workspace_id) as session:
        count = audiences.count(session, other.workspace_id, stage.connection_id, {"a": audiences.parse(TRIALS)}, rt.now())["a"]
    assert (count.matching, count.total) == (0, 0)
