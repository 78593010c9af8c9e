"""Field mappings: set up, previewed on real subscribers, named in copy, and what is wrong with one is told beside it."""

import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, insert, select

from connect_app import ids
from connect_app.models import AuditEntry, FieldMapping, FlowSession, Work
from connect_app.runtime import Runtime
from flow_pages import versions
from sandbox.stripe import customers as seeded
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.customers import bundle
from tests.http import dashboard
from tests.http.dashboard import Member, said


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    staged = make.workspace(rt, local)
    hand = Context(local=local, world=local.world(staged.account, False), source="dashboard")
    seeded.update(hand, staged.shapes["monthly"][0], {"metadata": {"seats": "12", "signed up": "2024-02-29", "v1.plan[x]": "gold"}})
    make.read_in(rt)
    return staged


@pytest.fixture
def owner(app: Flask, rt: Runtime, stage: make.Stage) -> Member:
    return dashboard.member(app, rt, stage)


LINK = {
    "name": "Talk", "headline": "Talk?", "accept": "Yes", "decline": "No", "where": "closing", "by": "holdfast", "audience": "",
    "url": "https://a.example/",
}  # fmt: skip
FIELD = {"name": "seats", "type": "integer", "source": "customer.metadata.seats", "fallback": "a few"}


def kept(rt: Runtime, stage: make.Stage) -> list[FieldMapping]:
    with rt.transaction(stage.workspace_id) as session:
        return list(session.execute(select(FieldMapping).order_by(FieldMapping.name)).scalars())


def test_what_is_there_from_the_start_is_listed_and_the_two_ids_are_fixed(owner: Member) -> None:
    page = said(owner.get("/settings/fields"))
    for name in ("subscription_id", "customer_id", "first_name", "plan_name", "renewal_date", "amount", "customer_name", "email"):
        assert name in page
    assert page.count("Fixed") == 2


def test_a_field_is_previewed_on_real_subscribers_before_it_is_saved(app: Flask, rt: Runtime, stage: make.Stage, owner: Member) -> None:
    app.test_client().post("/api/embed/cancel", json=bundle(stage, *stage.shapes["monthly"]))
    answer = owner.post("/settings/fields/new", **FIELD, do="preview")
    page = said(answer.get_data(as_text=True))
    assert answer.status_code == 200
    assert re.search(r"Maya Okafor 12 As of", page)
    assert "a few Fallback: Stripe has none for this customer" in page
    assert kept(rt, stage) == []


def test_the_source_list_shows_samples_of_the_owner_s_own_data_in_three_groups(app: Flask, stage: make.Stage, owner: Member) -> None:
    app.test_client().post("/api/embed/cancel", json=bundle(stage, *stage.shapes["monthly"]))
    page = said(owner.get("/settings/fields/new")).split("Where it may come from")[1]
    assert page.index("Stripe") < page.index("Your hand-off") < page.index("Computed by Holdfast")
    found = said(owner.post("/settings/fields/new", q="metadata seats", do="search").get_data(as_text=True))
    assert "customer.metadata.seats" in found
    assert "12" in found
    assert "subscription.plan.interval_count" not in found.split("Where it may come from")[1]


def test_properties_of_the_hand_off_are_sources_once_one_has_carried_them(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    with rt.transaction(stage.workspace_id) as session:
        handed = _session(session, stage, {"team": {"size": 40, "tags": ["a"]}})
        session.add(handed)
    page = said(owner.post("/settings/fields/new", q="custom.", do="search").get_data(as_text=True))
    assert "custom.team.size" in page
    assert "custom.team.tags" not in page, "arrays are no values"
    preview = said(
        owner.post("/settings/fields/new", name="size", type="integer", source="custom.team.size", do="preview").get_data(as_text=True)
    )
    assert "Maya Okafor 40" in preview


def test_picking_a_source_keeps_what_was_typed_and_takes_the_source_s_type(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    answer = owner.post("/settings/fields/new", name="worth", type="text", source="", fallback="much", pick="mrr")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert re.search(r'name="source"[^>]*value="mrr"|value="mrr"[^>]*name="source"', page)
    assert re.search(r'<option selected value="money">', page)
    assert 'value="worth"' in page
    assert 'value="much"' in page
    assert "$29.00" in page
    assert kept(rt, stage) == []


def test_a_saved_field_can_be_named_in_copy_and_is_written_down(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    assert owner.post("/settings/fields/new", **FIELD, do="save").status_code == 303
    [row] = kept(rt, stage)
    assert (row.name, row.type, row.source, row.fallback) == ("seats", "integer", "customer.metadata.seats", "a few")
    with rt.transaction(stage.workspace_id) as session:
        verbs = list(session.execute(select(AuditEntry.verb).where(AuditEntry.target == row.id)).scalars())
    assert verbs == ["field.added"]
    offer = owner.get("/offers/new?kind=link")
    assert "<code>seats</code>" in offer


WRONG = [
    ({"name": ""}, "Write small letters"),
    ({"name": "Plan Name"}, "Write small letters"),
    ({"name": "x" * 65}, "Write small letters"),
    ({"name": "true"}, "a word of Liquid"),
    ({"name": "customer_id"}, "is there already"),
    ({"type": "colour"}, "Not a valid choice"),
    ({"source": ""}, "Say where it comes from"),
    ({"fallback": "x" * 501}, "At most 500 characters"),
]


def test_a_field_that_cannot_be_is_told_beside_it(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    for wrong, told in WRONG:
        answer = owner.post("/settings/fields/new", **{**FIELD, **wrong}, do="save")
        assert answer.status_code == 422, wrong
        assert told in said(answer.get_data(as_text=True))
    assert kept(rt, stage) == []


@pytest.mark.parametrize("path", ["settings/fields", "sessions", "settings/audit", "customers"])
def test_no_page_number_and_no_search_is_too_strange_for_a_list(owner: Member, path: str) -> None:
    for query in ("page=99999999999999999999", "page=-3", "page=x", "q=%00", "q=%ED%A0%80", "q=%00&page=2147483648"):
        assert f"{path}".split("/")[-1] in owner.get(f"/{path}?{query}"), query


def test_hand_offs_of_unknown_subscriptions_leave_the_preview_its_subscribers(app: Flask, stage: make.Stage, owner: Member) -> None:
    app.test_client().post("/api/embed/cancel", json=bundle(stage, *stage.shapes["monthly"]))
    for number in range(12):
        made = app.test_client().post("/api/embed/cancel", json=bundle(stage, stage.shapes["monthly"][0], f"sub_1Nobody{number}"))
        assert made.status_code == 200
    wanted = {"name": "which", "type": "text", "source": "subscription.id", "fallback": "unknown", "do": "preview"}
    page = said(owner.post("/settings/fields/new", **wanted).get_data(as_text=True))
    assert f"Maya Okafor {stage.shapes['monthly'][1]} As of" in page
    assert "unknown Fallback" not in page


def test_a_source_that_nothing_has_is_saved_with_a_warning_and_is_not_called_computed(app: Flask, stage: make.Stage, owner: Member) -> None:
    warning = "Nothing that we have seen so far has {}: until something does, the fallback is read."
    for name, source in (("typo", "nonsense"), ("deeper", "customer.metadata.nowhere"), ("right", "customer.metadata.seats")):
        owner.post("/settings/fields/new", name=name, type="text", source=source, fallback="else", do="save")
        assert (warning.format(source) in said(owner.get("/settings/fields"))) == (name != "right")
    assert warning.format("nonsense") in said(
        owner.post("/settings/fields/new", **{**FIELD, "source": "nonsense"}, do="preview").get_data(as_text=True)
    )
    made = app.test_client().post("/api/embed/cancel", json=bundle(stage, *stage.shapes["monthly"])).get_json()["url"]
    app.test_client().get("/cancel/" + made.rsplit("/", 1)[1])
    page = said(owner.get("/sessions/" + made.rsplit("/", 1)[1].split(".")[0]))
    assert "No such source, nonsense" in page
    assert "Stripe, customer.metadata.nowhere" in page


def test_two_fields_cannot_have_one_name(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    owner.post("/settings/fields/new", **FIELD, do="save")
    answer = owner.post("/settings/fields/new", **{**FIELD, "source": "mrr"}, do="save")
    assert answer.status_code == 422
    assert "There is a field called seats already" in said(answer.get_data(as_text=True))
    assert [row.source for row in kept(rt, stage)] == ["customer.metadata.seats"]


def test_a_field_is_changed_but_for_its_name(app: Flask, rt: Runtime, stage: make.Stage, owner: Member) -> None:
    app.test_client().post("/api/embed/cancel", json=bundle(stage, *stage.shapes["monthly"]))
    owner.post("/settings/fields/new", **FIELD, do="save")
    [row] = kept(rt, stage)
    page = said(owner.get(f"/settings/fields/{row.id}"))
    assert re.search(r"Maya Okafor 12", page)
    assert owner.post(f"/settings/fields/{row.id}", **{**FIELD, "name": "other", "type": "text"}, do="save").status_code == 303
    [row] = kept(rt, stage)
    assert (row.name, row.type) == ("seats", "text")


def test_a_default_gives_way_to_the_owner_s_own_field_of_that_name(owner: Member) -> None:
    assert 'value="first_name"' in owner.get("/settings/fields/new?name=first_name")
    own = {"name": "first_name", "type": "text", "source": "custom.nick", "fallback": "friend"}
    assert owner.post("/settings/fields/new", **own, do="save").status_code == 303
    page = owner.get("/settings/fields")
    assert page.count("<code>first_name</code>") == 1
    assert "custom.nick" in page


def test_deleting_says_what_still_names_it(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    owner.post("/settings/fields/new", **FIELD, do="save")
    [row] = kept(rt, stage)
    assert "Nothing names it" in said(owner.get(f"/settings/fields/{row.id}/delete"))
    assert owner.post("/offers/new?kind=link", **{**LINK, "headline": "Keep your {{ seats }} seats?"}).status_code == 303
    assert "Named in the copy of Default flow" in said(owner.get(f"/settings/fields/{row.id}/delete"))
    assert owner.post(f"/settings/fields/{row.id}/delete").status_code == 303
    assert kept(rt, stage) == []


def test_copy_that_names_what_is_not_there_is_told_which_and_what_may_be_meant(owner: Member) -> None:
    answer = owner.post("/offers/new?kind=link", **{**LINK, "headline": "Hi {{ frist_name }}"})
    assert answer.status_code == 422
    assert "There is no variable called frist_name; did you mean first_name?" in said(answer.get_data(as_text=True))


def test_ten_thousand_fields_do_not_break_the_page(rt: Runtime, stage: make.Stage, owner: Member) -> None:
    now = rt.now()
    many = [
        {
            "id": f"map_{n:05}",
            "workspace_id": stage.workspace_id,
            "name": f"field_{n:05}",
            "type": "text",
            "source": "mrr",
            "fallback": None,
        }
        for n in range(10_000)
    ]
    with rt.transaction(stage.workspace_id) as session:
        session.execute(insert(FieldMapping), [{**one, "created_at": now, "changed_at": now} for one in many])
    page = owner.get("/settings/fields")
    assert page.count("<tr>") <= 62
    assert len(page) < 60_000
    assert "field_00050" in owner.get("/settings/fields?page=2")
    assert "field_07777" in owner.get("/settings/fields?q=07777")


@pytest.mark.usefixtures("stage")
def test_before_anything_is_mirrored_the_page_says_so(app: Flask, rt: Runtime, local: LocalStripe) -> None:
    bare = make.workspace(rt, local)
    member = dashboard.member(app, rt, bare)
    page = said(member.get("/settings/fields/new"))
    assert "No subscriptions yet" in page
    assert "None seen" in page


def test_another_workspace_s_field_is_not_there(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage, owner: Member) -> None:
    owner.post("/settings/fields/new", **FIELD, do="save")
    [row] = kept(rt, stage)
    other = dashboard.member(app, rt, make.workspace(rt, local))
    other.get(f"/settings/fields/{row.id}", status=404)
    assert other.post(f"/settings/fields/{row.id}/delete").status_code == 404
    assert len(kept(rt, stage)) == 1


def test_a_field_of_the_first_purchase_has_stripe_asked(rt: Runtime, owner: Member) -> None:
    def asked() -> int:
        with rt.transaction() as session:
            return len(session.execute(select(Work.id).where(Work.kind == "first_purchases")).all())

    owner.post("/settings/fields/new", **FIELD, do="save")
    before = asked()
    owner.post("/settings/fields/new", name="since", type="date", source="first_purchase_date", fallback="", do="save")
    assert asked() == before + 1


def _session(session: Any, stage: make.Stage, custom: dict[str, Any]) -> FlowSession:
    version = versions.published(session, stage.workspace_id, "default")
    assert version is not None
    now = session.execute(select(func.now())).scalar_one()
    customer, subscription = stage.shapes["monthly"]
    return FlowSession(
        id=ids.new("ses"),
        workspace_id=stage.workspace_id,
        mode="test",
        connection_id=stage.connection_id,
        flow_version_id=version.id,
        origin="embed",
        is_control=False,
        customer=customer,
        subscription=subscription,
        bundle="x",
        minted_at=now,
        expires_at=now,
        last_activity_at=now,
        custom=custom,
        variables={},
    )
