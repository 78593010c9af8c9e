"""What the owner is told of saves: cases and not sessions, revenue by currency, raw rows, and never a save before it is one."""

import csv
import io
from dataclasses import replace

import pytest
from flask import Flask

from connect_app.admin import cases, revenue
from connect_app.models import Connection
from tests.http import dashboard
from tests.http.dashboard import Member, said
from tests.stories.conftest import diary as diary  # the same ground as the stories
from tests.stories.diary import Diary


@pytest.fixture
def whole(diary: Diary) -> Flask:
    """The whole application; the flow of the story is in it, too."""
    diary.app = dashboard.app(diary.rt)
    return diary.app


def owner(diary: Diary, app: Flask) -> Member:
    return dashboard.member(app, diary.rt, diary.stage)


def headline(diary: Diary) -> cases.Headline:
    with diary.rt.transaction(diary.stage.workspace_id) as session:
        return cases.headline(session, diary.stage.workspace_id, "test", since=None)


def test_sessions_of_one_customer_within_the_interval_are_one_case_and_its_last_decided_one_counts(diary: Diary) -> None:
    diary.shape = "yearly"
    diary.says_never_mind()
    diary.day(12)
    diary.cancels()
    diary.day(14)
    # They come once more, leave again, and are as canceled as before.
    diary.opens_the_flow()
    diary.minutes(31)
    diary.day(20)
    found = headline(diary)
    assert (found.cases, dict(found.by_state)) == (1, {"canceled": 1})


def test_after_the_interval_it_is_another_case(diary: Diary) -> None:
    diary.says_never_mind()
    diary.day(29)
    diary.says_never_mind()
    diary.day(58)
    diary.walks_away()
    assert headline(diary).cases == 1
    diary.day(89)
    diary.walks_away()
    diary.day(90)
    found = headline(diary)
    assert (found.cases, dict(found.by_state)) == (2, {"saved": 1, "watch": 1})


def test_revenue_is_summed_by_currency_and_only_of_what_was_decided(diary: Diary) -> None:
    diary.says_never_mind()
    found = headline(diary)
    assert (found.of("watch"), found.save_rate) == (1, None)
    assert [(sums.currency, sums.saved, sums.watched) for sums in found.sums] == [("usd", None, "$29.00")]
    diary.shape = "yearly"
    diary.cancels()
    diary.shape = "monthly"
    diary.day(31)
    found = headline(diary)
    assert (dict(found.by_state), found.save_rate) == ({"saved": 1, "canceled": 1}, 50)
    told = {sums.currency: (sums.saved, sums.lost, sums.paid) for sums in found.sums}
    currency = diary.stripe("subscription", diary.stage.shapes["yearly"][1])["currency"]
    assert told["usd"][0] == "$29.00"
    assert told["usd"][2] == "$29.00"
    assert told[currency][1] is not None


def test_an_owner_is_told_saved_only_once_it_is_and_when_it_will_be_decided(diary: Diary, whole: Flask) -> None:
    visit = diary.says_never_mind()
    page = said(owner(diary, whole).get("/flows/analytics"))
    assert "Saved 0 Still paying after the save interval" in page
    assert "On watch 1 Not decided yet" in page
    assert "Save rate None yet" in page
    assert "Never mind $29.00 1 Apr 2026" in page
    story = said(owner(diary, whole).get(f"/sessions/{visit}"))
    assert "On watch: never mind" in story
    assert "At stake $29.00" in story
    assert "Saved" not in story
    diary.day(31)
    member = owner(diary, whole)
    page = said(member.get("/flows/analytics?period=90"))
    assert "Saved 1 Still paying after the save interval" in page
    assert "Save rate 100 %" in page
    assert "Nobody is on watch" in page
    story = said(member.get(f"/sessions/{visit}"))
    assert "Outcome: saved" in story
    assert "An invoice was paid: $29.00" in story
    assert "At the end of the save interval $29.00" in story
    assert "Saved 0" in said(member.get())  # Home looks at the last 30 days
    diary.changes(status="canceled")
    story = said(member.get(f"/sessions/{visit}"))
    assert "Stripe: the subscription is over" in story
    assert "n Stripe’s portal, in its dashboard or by the API: Stripe does not say which" in story


def test_what_is_lost_in_two_sessions_is_said_to_be_counted_in_one(diary: Diary, whole: Flask) -> None:
    first = diary.says_never_mind()
    diary.day(3)
    second = diary.cancels()
    member = owner(diary, whole)
    assert f"Lost $29.00 a month, counted in {second}" in said(member.get(f"/sessions/{first}"))
    assert "counted in" not in said(member.get(f"/sessions/{second}"))
    sheet = member.client.get(f"/admin/{member.slug}/flows/analytics.csv?period=all").get_data(as_text=True)
    found = {row["session"]: (row["mrr_lost"], row["counted_in"]) for row in csv.DictReader(io.StringIO(sheet))}
    assert found == {first: ("29.00", second), second: ("29.00", "")}


def test_raw_rows_come_as_csv_in_which_nothing_runs(diary: Diary, whole: Flask) -> None:
    browser = diary.opens_the_flow().press("answer", reason="unused", comment='=HYPERLINK("http://evil.example")')
    browser.press("confirm")
    diary.work()
    member = owner(diary, whole)
    answer = member.client.get(f"/admin/{member.slug}/flows/analytics.csv?period=all")
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8")
    [row] = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    assert row["comment"].startswith("'=HYPERLINK")
    assert (row["outcome"], row["currency"], row["mrr_at_stake"], row["mrr_lost"]) == ("canceled", "usd", "29.00", "29.00")
    assert row["customer"] == diary.customer
    none = member.client.get(f"/admin/{member.slug}/flows/analytics.csv?outcome=saved").get_data(as_text=True)
    assert len(none.splitlines()) == 1


def test_the_data_card_says_how_good_the_data_is(diary: Diary, whole: Flask) -> None:
    diary.says_never_mind()
    with diary.rt.transaction(diary.stage.workspace_id) as session:
        connection = session.get(Connection, diary.stage.connection_id)
        card = revenue.data_card(session, diary.stage.workspace_id, "test", connection)
    assert card is not None
    assert (card.matched, card.unmatched) == (1, 0)
    # Once more, with a subscription that the account does not know: they are matched, and one customer.
    diary.stage = replace(diary.stage, shapes={**diary.stage.shapes, diary.shape: (diary.customer, "sub_1NobodyKnowsThisOne")})
    diary.says_never_mind()
    with diary.rt.transaction(diary.stage.workspace_id) as session:
        card = revenue.data_card(session, diary.stage.workspace_id, "test", connection)
    assert card is not None
    assert (card.matched, card.unmatched) == (1, 0)
    assert card.synced_at is not None
    assert "Accounts matched 1" in said(owner(diary, whole).get("/settings"))


def test_attribution_and_the_save_interval_are_set_in_setup(diary: Diary, whole: Flask) -> None:
    member = owner(diary, whole)
    assert member.post("/settings", attribution="y", enrichment="y", stripe_sign_in="y", save_interval_days="0").status_code == 422
    assert member.post("/settings", enrichment="y", stripe_sign_in="y", save_interval_days="14").status_code == 303
    visit = diary.says_never_mind()
    page = said(member.get("/settings"))
    assert "Accounts matched" not in page
    page = said(member.get("/flows/analytics"))
    assert "Save rate" not in page
    assert "Not validated: attribution is off" in page
    diary.day(15)
    assert diary.outcome(visit) == ("watch", "kept", None)
    member = owner(diary, whole)
    assert member.post("/settings", attribution="y", enrichment="y", stripe_sign_in="y", save_interval_days="14").status_code == 303
    diary.work()
    assert diary.outcome(visit) == ("saved", "kept", None)
