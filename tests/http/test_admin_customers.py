"""The customers page: everybody the mirror knows, found quickly, shown whole, and taken along as CSV."""

import csv
import io
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert, text, update

from connect_app import ids
from connect_app.models import Action, Audience, Customer, FieldMapping, FlowSession, Subscription
from connect_app.runtime import Runtime
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.http import dashboard
from tests.http.dashboard import Member, said

NASTY = "<img src=x onerror=alert(1)>{{ 7*7 }}"


@pytest.fixture
def analyst(app: Flask, rt: Runtime, stage: make.Stage) -> Member:
    return dashboard.member(app, rt, stage, "analyst")


def enrol(rt: Runtime, stage: make.Stage, people: list[dict[str, Any]]) -> None:
    """Customers put straight into the mirror, without anything at Stripe."""
    now = rt.now()
    rows = [
        {"workspace_id": stage.workspace_id, "connection_id": stage.connection_id, "as_of": now, "raw": {}, "created_at": now, **person}
        for person in people
    ]
    with rt.transaction(stage.workspace_id) as session:
        session.execute(insert(Customer), rows)


def subscribe(rt: Runtime, stage: make.Stage, like: str, pairs: list[tuple[str, str]], **changes: object) -> None:
    """Subscriptions put straight into the mirror, each a copy of a seeded shape's."""
    with rt.transaction(stage.workspace_id) as session:
        model = session.get(Subscription, (stage.connection_id, stage.shapes[like][1]))
        assert model is not None
        columns = {column.name: getattr(model, column.name) for column in Subscription.__table__.columns}
        rows = [
            {**columns, "customer": customer, "id": id, "raw": {**model.raw, "customer": customer, "id": id, **changes}, **changes}
            for customer, id in pairs
        ]
        session.execute(insert(Subscription), rows)


def listed(page: str) -> list[str]:
    """The ids of the customers in the order of the list."""
    return re.findall(r'class="row-link" href="/admin/[^/]+/customers/([^"?]+)"', page)


def sheet(member: Member, query: str = "") -> list[dict[str, str]]:
    answer = member.client.get(f"/admin/{member.slug}/customers.csv{query}")
    assert answer.status_code == 200
    assert answer.content_type == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))


def mapped(rt: Runtime, stage: make.Stage, **fields: tuple[str, str, str | None]) -> None:
    """Field mappings `name=(type, source, fallback)`."""
    with rt.transaction(stage.workspace_id) as session:
        for name, (type, source, fallback) in fields.items():
            session.add(
                FieldMapping(
                    id=ids.new("map"),
                    workspace_id=stage.workspace_id,
                    name=name,
                    type=type,
                    source=source,
                    fallback=fallback,
                    created_at=rt.now(),
                    changed_at=rt.now(),
                )
            )


# The list


def test_everybody_is_listed_with_plan_status_and_mrr(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    page = analyst.get("/customers")
    assert set(listed(page)) >= {customer for customer, _ in stage.shapes.values()}
    for status in ("Active", "Trial", "Past due", "Paused", "Canceling"):
        assert status in said(page), status
    with rt.transaction(stage.workspace_id) as session:
        [amount] = session.execute(text("select amount from subscriptions where id = :id"), {"id": stage.shapes["monthly"][1]}).scalars()
    row = said(page[page.index(f"/customers/{stage.shapes['monthly'][0]}") :].split("</tr>")[0])
    assert f"{amount / 100:.2f}" in row


def test_a_search_finds_the_beginning_of_an_email_or_a_name_and_a_whole_id(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    enrol(
        rt,
        stage,
        [
            {"id": "cus_1", "email": "Qoe.Berg@x.example", "name": "Qoë Berg"},
            {"id": "cus_2", "email": None, "name": "Qoë Adams"},
            {"id": "cus_3", "email": "qoo@x.example", "name": "Ann"},
            {"id": "cus_4", "email": "qoo@gone.example", "name": "Qoe Gone", "is_deleted": True},
        ],
    )
    found = {
        "qoe.b": ["cus_1"],
        "QOE.": ["cus_1"],
        "qOË": ["cus_2", "cus_1"],
        "qo": ["cus_1", "cus_3", "cus_2"],
        "oe": [],
        "cus_3": ["cus_3"],
        "cus_4": ["cus_4"],
        "cus_": [],
        "%": [],
        "_oe": [],
        "qo\\": [],
    }
    for search, expected in found.items():
        answer = analyst.client.get(f"/admin/{stage.slug}/customers", query_string={"q": search})
        assert listed(answer.text) == expected, search


def test_a_subscriptions_id_finds_its_customer(stage: make.Stage, analyst: Member) -> None:
    customer, subscription = stage.shapes["yearly"]
    assert listed(analyst.get(f"/customers?q={subscription}")) == [customer]
    assert "Nobody found" in said(analyst.get("/customers?q=sub_nothing"))


def test_leafing_through_shows_everybody_once(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    enrol(rt, stage, [{"id": f"cus_p_{n:03}", "email": f"same{n % 3}@x.example", "name": f"Same {n % 2}"} for n in range(130)])
    for query, total in (("", None), ("?q=same", 130)):
        seen: list[str] = []
        page = analyst.get(f"/customers{query}")
        while True:
            seen += listed(page)
            following = re.search(r'rel="next" href="[^"]*/customers(\?[^"]+)"', page)
            if following is None:
                break
            page = analyst.get("/customers" + following[1].replace("&amp;", "&"))
        assert len(seen) == len(set(seen))
        assert total is None or len(seen) == total
        assert {id for id in seen if id.startswith("cus_p_")} == {f"cus_p_{n:03}" for n in range(130)}


def test_a_made_up_place_in_the_list_is_no_error(analyst: Member) -> None:
    for after in (
        "x",
        "!!",
        "é",
        "eyJhIjoxfQ",
        "WyJlbWFpbCIsImEiLCJiIl0",
        "WyJhbGwiLCIiLCJcdTAwMDAiXQ",
        "WyJhbGwiLCIiLCJcdWQ4MDAiXQ",
        "%00",
        "W10",
    ):
        analyst.get(f"/customers?after={after}")
        analyst.get(f"/customers?q=a&after={after}")


def test_an_audience_narrows_the_list_and_the_sheet(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    mapped(rt, stage, status=("text", "subscription.status", None))
    rule = {"match": "all", "rules": [{"field": "status", "type": "text", "verb": "is", "value": "trialing"}]}
    with rt.transaction(stage.workspace_id) as session:
        session.add(
            Audience(id="aud_1", workspace_id=stage.workspace_id, name="Trial", rule=rule, created_at=rt.now(), changed_at=rt.now())
        )
    enrol(rt, stage, [{"id": f"cus_p_{n:03}", "email": None, "name": "P"} for n in range(450)])
    subscribe(rt, stage, "trialing", [(f"cus_p_{n:03}", f"sub_p{n:03}") for n in range(0, 450, 7)])
    trials = {f"cus_p_{n:03}" for n in range(0, 450, 7)} | {stage.shapes["trialing"][0]}
    page = analyst.get("/customers?audience=aud_1")
    first = listed(page)
    assert len(first) == 50
    following = re.search(r'rel="next" href="[^"]*/customers(\?[^"]+)"', page)
    assert following
    second = listed(analyst.get("/customers" + following[1].replace("&amp;", "&")))
    assert len(first + second) == len(set(first + second))
    assert set(first + second) == trials
    assert {line["customer"] for line in sheet(analyst, "?audience=aud_1")} == trials
    assert len(listed(analyst.get("/customers?audience=aud_nobodys"))) == 50, "an audience that is not there narrows nothing"


def test_the_number_of_queries_does_not_grow_with_the_list(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    def ran(path: str) -> int:
        analyst.get(path)
        with dashboard.counted(rt) as statements:
            analyst.get(path)
        return len(statements)

    few = {path: ran(path) for path in ("/customers", "/customers?q=zz")}
    enrol(rt, stage, [{"id": f"cus_q{n:03}", "email": f"zz{n}@x.example", "name": "Q"} for n in range(300)])
    subscribe(rt, stage, "monthly", [(f"cus_q{n:03}", f"sub_q{n:03}") for n in range(300)])
    # Nobody was found at first, so nobody's subscriptions were looked for.
    assert {path: ran(path) for path in few} == {"/customers": few["/customers"], "/customers?q=zz": few["/customers"]}


def test_test_and_live_customers_are_apart(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    other = make.workspace(rt, local, "live")
    make.read_in(rt)
    member = dashboard.member(app, rt, other)
    theirs = stage.shapes["monthly"][0]
    assert theirs not in listed(member.get("/customers"))
    member.get(f"/customers/{theirs}", 404)
    assert listed(member.get(f"/customers?q={theirs}")) == []


def test_an_empty_mirror_says_so(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    with rt.transaction(stage.workspace_id) as session:
        for table in ("customers", "subscriptions", "invoices"):
            session.execute(text(f"delete from {table}"))  # noqa: S608
    member = dashboard.member(app, rt, stage)
    assert "No customers yet" in said(member.get("/customers"))
    assert sheet(member) == []


# One customer


def test_a_customers_page_shows_fields_with_where_they_come_from(app: Flask, rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    customer, subscription = stage.shapes["monthly"]
    mapped(
        rt,
        stage,
        seats=("integer", "subscription.plan.nickname", "1"),
        team=("text", "custom.team", "nobody"),
        worth=("money", "mrr", None),
        segment=("text", "customer.metadata.segment", "standard"),
    )
    customers.handed_over(app, stage, "monthly", custom={"team": "Blue"})
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(FlowSession).values(custom={"team": "Blue"}))
    page = said(analyst.get(f"/customers/{customer}"))
    assert f"subscription_id {subscription} The hand-off itself" in page
    assert "team Blue Your hand-off, custom.team, sent" in page
    assert "segment standard Fallback Stripe has none for this customer (customer.metadata.segment)" in page
    assert re.search(r"worth \$[0-9.]+ Computed, mrr, as of", page)
    assert re.search(r"first_name \w+ Computed, first_name, as of", page)


def test_a_customers_page_shows_subscriptions_sessions_actions_and_invoices(
    app: Flask, rt: Runtime, stage: make.Stage, analyst: Member
) -> None:
    customer, subscription = stage.shapes["monthly"]
    browser = customers.handed_over(app, stage, "monthly").look()
    browser.press("answer", reason="unused", comment=NASTY)
    browser.press("confirm")
    customers.drain(rt)
    page = analyst.get(f"/customers/{customer}")
    assert f"https://dashboard.stripe.com/test/subscriptions/{subscription}" in page
    assert "Canceling" in said(page)
    assert "Cancel at period end" in said(page)
    assert "Not used enough" in said(page) or "Canceled" in said(page)
    assert NASTY not in page
    assert "https://dashboard.stripe.com/test/invoices/in_" in page
    visit = re.search(r"/sessions/(ses_\w+)", page)
    assert visit
    assert f"/customers/{customer}" in analyst.get(f"/sessions/{visit[1]}")


def test_of_several_subscriptions_one_can_be_chosen(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    customer = stage.shapes["two_subscriptions"][0]
    with rt.transaction(stage.workspace_id) as session:
        own = session.execute(text("select id from subscriptions where customer = :customer"), {"customer": customer}).scalars().all()
    assert len(own) == 2
    for id in own:
        assert f"subscription_id {id} The hand-off" in said(analyst.get(f"/customers/{customer}?subscription={id}"))
    strangers = stage.shapes["monthly"][1]
    assert strangers not in analyst.get(f"/customers/{customer}?subscription={strangers}")


def test_a_deleted_customer_and_one_known_only_from_a_session_have_pages(
    app: Flask, rt: Runtime, stage: make.Stage, analyst: Member
) -> None:
    customer = stage.shapes["monthly"][0]
    with rt.transaction(stage.workspace_id) as session:
        session.execute(update(Customer).where(Customer.id == customer).values(is_deleted=True, name=None, email=None))
    assert "Deleted at Stripe" in said(analyst.get(f"/customers/{customer}"))
    assert customer not in listed(analyst.get("/customers"))
    assert listed(analyst.get(f"/customers?q={customer}")) == [customer]
    bundle = customers.bundle(stage, "cus_unheardOf", "sub_x")
    assert app.test_client().post("/api/embed/cancel", json=bundle).status_code == 200
    page = said(analyst.get("/customers/cus_unheardOf"))
    assert "Stripe has told nothing of this customer yet" in page
    assert "first_name there Fallback the customer is not known" in page
    assert listed(analyst.get("/customers?q=cus_unheardOf")) == ["cus_unheardOf"]
    analyst.get("/customers/cus_nobody", 404)


def test_a_customers_page_takes_as_many_queries_whatever_there_is(app: Flask, rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    def ran(customer: str) -> int:
        analyst.get(f"/customers/{customer}")
        with dashboard.counted(rt) as statements:
            analyst.get(f"/customers/{customer}")
        return len(statements)

    customer = stage.shapes["monthly"][0]
    customers.handed_over(app, stage, "monthly")
    few = ran(customer)
    subscribe(rt, stage, "yearly", [(customer, f"sub_more{n}") for n in range(15)])
    with rt.transaction(stage.workspace_id) as session:
        session.execute(
            insert(Action),
            [
                {
                    "id": ids.new("act"),
                    "workspace_id": stage.workspace_id,
                    "mode": "test",
                    "customer": customer,
                    "subscription": f"sub_more{n}",
                    "verb": "cancel",
                    "state": "manual",
                    "intent": {},
                    "asked_at": rt.now(),
                    "changed_at": rt.now(),
                }
                for n in range(30)
            ],
        )
    assert ran(customer) == few


# The sheet


def test_the_sheet_has_a_line_for_each_running_subscription_with_every_mapped_field(
    rt: Runtime, stage: make.Stage, analyst: Member
) -> None:
    mapped(rt, stage, worth=("money", "mrr", None), started=("date", "subscription.start_date", None))
    lines = sheet(analyst)
    by_subscription = {line["subscription"]: line for line in lines}
    customer, subscription = stage.shapes["monthly"]
    line = by_subscription[subscription]
    assert line["customer"] == customer
    assert line["status"] == "active"
    assert re.fullmatch(r"[0-9]+\.[0-9]{2}", line["worth"])
    assert line["worth_currency"] == "USD"
    assert datetime.fromisoformat(line["started"]) < datetime.now(UTC) + timedelta(days=1)
    assert {line["subscription"] for line in lines if line["customer"] == stage.shapes["two_subscriptions"][0]} == {
        id for (who, id) in _pairs(rt, stage) if who == stage.shapes["two_subscriptions"][0]
    }
    assert len(lines) == len({(line["customer"], line["subscription"]) for line in lines})


def _pairs(rt: Runtime, stage: make.Stage) -> list[tuple[str, str]]:
    with rt.transaction(stage.workspace_id) as session:
        return [tuple(row) for row in session.execute(text("select customer, id from subscriptions"))]


def test_the_sheet_runs_no_formula_of_a_customers(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    names = ["=1+1", "+1", "-1", "@x", "\tx", " =1", "＝1", 'a "b", c', "line\nbreak"]
    enrol(rt, stage, [{"id": f"cus_f{n}", "email": None, "name": name} for n, name in enumerate(names)])
    found = {line["customer"]: line["name"] for line in sheet(analyst) if line["customer"].startswith("cus_f")}
    assert [found[f"cus_f{n}"] for n in range(9)] == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "' =1", "'＝1", 'a "b", c', "line\nbreak"]


def test_the_sheet_goes_on_past_a_batch_and_obeys_the_search(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    enrol(rt, stage, [{"id": f"cus_s{n:03}", "email": f"sheet{n}@x.example", "name": None} for n in range(450)])
    everybody = [line["customer"] for line in sheet(analyst)]
    assert {f"cus_s{n:03}" for n in range(450)} <= set(everybody)
    found = [line["customer"] for line in sheet(analyst, "?q=SHEET1")]
    assert sorted(found) == sorted(f"cus_s{n:03}" for n in range(450) if str(n).startswith("1"))


def test_taking_customers_along_is_written_down(rt: Runtime, stage: make.Stage, analyst: Member) -> None:
    sheet(analyst, "?q=zz")
    with rt.transaction(stage.workspace_id) as session:
        found: list[Mapping[str, Any]] = list(
            session.execute(text("select details from audit_log where verb = 'customers.exported'")).scalars()
        )
    assert found == [{"mode": "test", "search": "zz", "audience": ""}]
