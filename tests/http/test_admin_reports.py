"""Analytics divided and cut: the address holds the question, the page and the files answer it, and too much is said to be too much."""

import csv
import html
import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import select

from connect_app.models import AuditEntry, FlowVersion
from connect_app.runtime import Runtime
from tests import make
from tests.http import dashboard
from tests.http.dashboard import Member, said
from tests.service.test_counting import Town

PAGE = "/flows/analytics"
FELL = {"type": "text", "source": "plan", "fallback": "Pro", "reason": "Stripe has none"}


@pytest.fixture
def town(rt: Runtime) -> Town:
    """Five customers: two of plan Pro, one of a nasty name, one whose plan fell back, one without."""
    stage = make.workspace(rt)
    with rt.transaction(stage.workspace_id) as session:
        version = session.execute(select(FlowVersion.id)).scalars().first()
    assert version is not None
    made = Town(rt=rt, stage=stage, version=version)
    for number, plan in enumerate(("Pro", "Pro", "=1+1<b>", None, "")):
        id = made.open(str(number), f"sub_{number}", "test", 0, True)
        kept = {"type": "text", "source": "plan", "value": plan, "raw": plan} if plan else FELL
        variables = {} if plan == "" else {"plan_name": kept}
        made.run(
            "update sessions set minted_at = now() - interval '1 hour', shown_at = now() - interval '1 hour',"
            " variables = cast(:kept as jsonb) where id = :id",
            id=id, kept=json.dumps(variables),
        )  # fmt: skip
        made.decide(number, "saved" if number else "canceled", "kept" if number else None, {"saved": {"currency": "usd", "amount": 2900}})
    return made


@pytest.fixture
def analyst(rt: Runtime, town: Town) -> Member:
    app: Flask = dashboard.app(rt)
    return dashboard.member(app, rt, town.stage, "analyst")


def rows(member: Member, path: str) -> list[dict[str, str]]:
    answer = member.client.get(f"/admin/{member.slug}{path}")
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))


def test_a_breakdown_tells_each_group_and_what_fell_back_and_had_no_value_by_themselves(analyst: Member) -> None:
    page = said(analyst.get(f"{PAGE}?by=plan_name"))
    assert "Cases by plan_name" in page
    for group in ("Pro 2", "=1+1<b> 1", "Fell back No value that fits: the fallback was read 1", "No value"):
        assert group in page
    assert "<b>" not in analyst.page
    assert "Download table" not in said(analyst.get(PAGE))
    assert "Cases by" not in said(analyst.get(f"{PAGE}?by=nonsense'"))


def test_a_filter_is_in_the_address_and_page_and_files_follow_it(analyst: Member, town: Town) -> None:
    query = "?by=plan_name&where=plan_name&is=is:Pro&is=fell&period=7"
    page = said(analyst.get(PAGE + query))
    assert "Only customers whose plan_name is Pro or Fell back" in page
    assert "1–3 of 3" in page
    told = "where=plan_name&is=is%3APro&is=fell"
    for file in ("/breakdown.csv?period=7&by=plan_name", ".csv?period=7"):
        assert f"{PAGE}{file}&{told}" in html.unescape(analyst.page)
    assert [row["customer"] for row in rows(analyst, f"{PAGE}.csv{query}")] == ["cus_3", "cus_1", "cus_0"]
    assert [row["customer"] for row in rows(analyst, f"{PAGE}.csv{query}&outcome=canceled")] == ["cus_0"]
    with town.rt.transaction(town.stage.workspace_id) as session:
        entry = session.execute(select(AuditEntry).where(AuditEntry.verb == "sessions.exported")).scalars().first()
    assert entry is not None
    assert (entry.details["where"], entry.details["is"]) == ("plan_name", "is:Pro, fell")


def test_the_table_comes_as_csv_in_which_nothing_runs(analyst: Member) -> None:
    found = {row["group"]: (row["cases"], row["canceled"], row["saved"], row["saved_a_month"]) for row in rows(
        analyst, f"{PAGE}/breakdown.csv?by=plan_name"
    )}  # fmt: skip
    assert found == {
        "Pro": ("2", "1", "1", "$29.00"), "'=1+1<b>": ("1", "0", "1", "$29.00"), "Fell back": ("1", "0", "1", "$29.00"),
        "No value": ("1", "0", "1", "$29.00"),
    }  # fmt: skip
    assert [row["group"] for row in rows(analyst, f"{PAGE}/breakdown.csv?by=plan_name&where=plan_name&is=none")] == ["No value"]


def test_what_is_too_much_to_look_at_is_said_by_page_and_file(analyst: Member, town: Town) -> None:
    town.count()
    one, another = (dashboard.member(analyst.client.application, town.rt, town.stage) for _ in range(2))
    query = "?by=plan_name&where=plan_name&is=is:Pro"
    # As if there were more than can be looked at while somebody waits.
    town.run("create policy slow on case_sessions as restrictive using (pg_sleep(8) is not null)")
    try:
        with ThreadPoolExecutor() as pool:
            page = pool.submit(one.client.get, f"/admin/{one.slug}{PAGE}{query}")
            sheet = pool.submit(another.client.get, f"/admin/{one.slug}{PAGE}/breakdown.csv{query}").result()
    finally:
        town.run("drop policy slow on case_sessions")
    assert page.result().status_code == 200
    assert "Too much to look at" in said(page.result().get_data(as_text=True))
    assert (sheet.status_code, sheet.headers["Retry-After"]) == (503, "60")
    assert sheet.get_data(as_text=True).startswith("There are too many sessions in this period")
