"""Installing by Connect OAuth: the round trip, and each way in which it may not change anything."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from connect_app import connections, preferences
from connect_app.runtime import Runtime
from jobs import actions, work
from sandbox.stripe import accounts
from sandbox.stripe.local import LocalStripe
from tests.http.front_door import House, odd_token_host, open_house, text_of


@pytest.fixture
def house(rt: Runtime, local: LocalStripe) -> Iterator[House]:
    with open_house(rt, local) as house:
        yield house


@pytest.fixture
def acme(local: LocalStripe) -> str:
    """An account that nobody has connected."""
    return str(accounts.make(local, "Acme Notes", "ann@acme.example")["id"])


@pytest.fixture
def other(local: LocalStripe) -> str:
    """And one more."""
    return str(accounts.make(local, "Beta Tools", "bob@beta.example")["id"])


def test_the_round_trip_opens_a_workspace_and_shows_the_account(house: House, acme: str) -> None:
    browser = house.browser()

    back = browser.connect(acme)

    assert (back.status_code, back.location) == (303, "/install/connected")
    assert back.headers["Referrer-Policy"] == "no-referrer"
    page = text_of(browser.get("/install/connected"))
    assert "Acme Notes is connected" in page
    assert acme in page
    assert "Test" in page
    assert "no active subscriptions" in page
    [(slug, mode, account, state)] = house.rows(
        "select w.slug, c.mode, c.account, c.state from connections c join workspaces w on w.id = c.workspace_id"
    )
    assert (slug, mode, account, state) == ("acme-notes", "test", acme, "connected")
    assert {kind for (kind,) in house.rows("select kind from work")} >= {"read_in", "check_connection"}
    assert house.token_calls() == 1


def test_the_install_page_says_what_is_read_and_written_and_offers_the_modes_there_are_keys_for(house: House) -> None:
    page = house.browser().get("/install")

    assert page.status_code == 200
    assert "What we read" in text_of(page)
    assert "What we change" in text_of(page)
    assert 'href="/oauth/start?mode=test"' in page.text
    assert 'href="/oauth/start?mode=live"' in page.text
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]


def test_the_way_out_goes_to_the_authorize_page_of_the_mode_that_was_chosen(house: House) -> None:
    browser = house.browser()

    test, live = browser.depart("test"), browser.depart("live")

    assert f"client_id={house.local.client_ids[False]}" in test
    assert f"client_id={house.local.client_ids[True]}" in live
    assert "scope=read_write" in test
    assert "redirect_uri=http%3A%2F%2F127.0.0.1%3A8000%2Foauth%2Fcallback" in test


def test_a_mode_without_keys_is_refused(house: House) -> None:
    assert house.browser().get("/oauth/start?mode=staging").status_code == 400
    assert house.browser().get("/oauth/start").status_code == 400


def test_the_state_is_kept_as_a_hash_only(house: House) -> None:
    url = house.browser().depart()
    state = url.split("state=")[1].split("&")[0]

    with house.rt.transaction() as session:
        [row] = session.execute(text("select t::text from oauth_states t")).scalars().all()

    assert len(state) == 43
    assert state not in row


# Each of these is a way back from Stripe that must not change anything; the count is of codes that may be offered to Stripe.


def test_a_state_from_another_browser_changes_nothing_and_stays_good_where_it_belongs(house: House, acme: str) -> None:
    mallory, ann = house.browser(), house.browser()
    ann.depart()
    back = mallory.authorize(mallory.depart(), acme)
    before = house.contents()

    for victim in (ann, house.browser()):
        answer = victim.get(back)
        assert answer.status_code == 400
        assert "another browser" in text_of(answer)

    assert house.contents() == before
    assert house.token_calls() == 0
    assert mallory.get(back).location == "/install/connected"


def test_the_same_way_back_works_once(house: House, acme: str) -> None:
    browser = house.browser()
    back = browser.authorize(browser.depart(), acme)
    assert browser.get(back).status_code == 303
    before = house.contents()

    again = browser.get(back)

    assert again.status_code == 400
    assert "used already" in text_of(again)
    assert house.contents() == before
    assert house.token_calls() == 1
    assert (acme, False) in house.local.connections, "a code offered twice makes Stripe revoke the connection"


def test_an_old_cookie_brings_no_state_back(house: House, acme: str) -> None:
    browser = house.browser()
    back = browser.authorize(browser.depart(), acme)
    cookie = browser.client.get_cookie("holdfast")
    assert cookie is not None
    assert browser.get(back).status_code == 303

    browser.client.set_cookie("holdfast", cookie.value)

    assert browser.get(back).status_code == 400
    assert house.token_calls() == 1


def test_two_copies_of_one_way_back_at_once_exchange_the_code_once(house: House, acme: str) -> None:
    browser = house.browser()
    back = browser.authorize(browser.depart(), acme)
    cookie = browser.client.get_cookie("holdfast")
    assert cookie is not None

    def copy(_: int) -> int:
        client = house.app.test_client()
        client.set_cookie("holdfast", cookie.value)
        return client.get(back).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(copy, range(8)))

    assert answers == [303] + [400] * 7
    assert house.token_calls() == 1


def test_a_state_older_than_ten_minutes_is_refused(house: House, acme: str) -> None:
    browser = house.browser()
    back = browser.authorize(browser.depart(), acme)
    with house.rt.transaction() as session:
        session.execute(text("update oauth_states set expires_at = expires_at - interval '10 minutes 1 second'"))
    before = house.contents()

    answer = browser.get(back)

    assert answer.status_code == 400
    assert "ten minutes" in text_of(answer)
    assert house.contents() == before
    assert house.token_calls() == 0


def test_turning_the_request_down_changes_nothing(house: House, acme: str) -> None:
    browser = house.browser()
    before = house.contents()

    answer = browser.get(browser.authorize(browser.depart(), acme, decision="cancel"))

    assert answer.status_code == 400
    assert "turned down" in text_of(answer)
    assert house.contents() == before
    assert house.token_calls() == 0


def test_an_account_that_another_platform_controls_is_explained(house: House) -> None:
    shop = str(accounts.make(house.local, "Shop Account", "shop@example.com", controlled=True)["id"])
    browser = house.browser()
    before = house.contents()

    answer = browser.connect(shop)

    assert answer.status_code == 400
    assert "another platform controls this account" in text_of(answer).lower()
    assert house.contents() == before
    assert house.token_calls() == 0


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?error=access_denied",
        "?error=x&error_description=%3Cscript%3Ealert(1)%3C/script%3E",
        "?code=ac_123",
        "?code=ac_123&state=",
        "?code=ac_123&state=" + "A" * 43,
        "?code=ac_123&state=" + "A" * 5000,
        "?code=ac_123&state=%00%ff%E2%82%AC",
        "?state[]=x&code[]=y",
    ],
)
def test_a_way_back_that_nobody_began_is_refused(house: House, query: str) -> None:
    before = house.contents()

    answer = house.browser().get(f"/oauth/callback{query}")

    assert answer.status_code == 400
    assert "<script>alert" not in answer.text
    assert house.contents() == before
    assert house.token_calls() == 0


def test_what_stripe_is_said_to_have_said_is_never_markup(house: House) -> None:
    browser = house.browser()
    state = browser.depart().split("state=")[1].split("&")[0]

    answer = browser.get(f"/oauth/callback?state={state}&error=%3Cb%3E&error_description=%3Cscript%3Ealert(1)%3C/script%3E")

    assert answer.status_code == 400
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize("code", ["", "ac_never_issued", "x" * 513, "\x00"])
def test_a_code_that_stripe_does_not_know_changes_nothing(house: House, code: str) -> None:
    browser = house.browser()
    state = browser.depart().split("state=")[1].split("&")[0]
    before = house.contents()

    answer = browser.client.get("/oauth/callback", query_string={"state": state, "code": code})

    assert answer.status_code == 400
    assert house.contents() == before


def test_a_code_of_the_other_mode_is_refused(house: House, acme: str) -> None:
    browser = house.browser()
    code = browser.authorize(browser.depart("live"), acme).split("code=")[1].split("&")[0]
    state = browser.depart("test").split("state=")[1].split("&")[0]
    before = house.contents()

    answer = browser.get(f"/oauth/callback?state={state}&code={code}")

    assert answer.status_code == 400
    assert "other mode" in text_of(answer)
    assert house.contents() == before


TOKEN = {
    "access_token": "sk_test_x",
    "livemode": False,
    "refresh_token": "rt_x",
    "scope": "read_write",
    "stripe_user_id": "acct_1",
    "token_type": "bearer",
}


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ((200, json.dumps({**TOKEN, "livemode": True})), 400),
        ((200, json.dumps({**TOKEN, "livemode": "false"})), 400),
        ((200, json.dumps({**TOKEN, "scope": "read_only"})), 400),
        ((200, json.dumps({**TOKEN, "stripe_user_id": "acct_1/../acct_2"})), 400),
        ((200, json.dumps({**TOKEN, "stripe_user_id": None})), 400),
        ((200, json.dumps({})), 400),
        ((200, "<html>maintenance</html>"), 503),
        ((200, "null"), 503),
        ((500, "{}"), 503),
        ((502, "<html>bad gateway</html>"), 503),
        ((429, '{"error": "rate_limit"}'), 503),
        ((429, "slow down"), 503),
        ((400, '{"error": "invalid_grant"}'), 400),
        ((400, '{"error": ["invalid_grant"], "error_description": {"a": 1}}'), 400),
        ((0, ""), 503),
    ],
)
def test_whatever_the_token_host_answers_nothing_is_half_connected(
    rt: Runtime, local: LocalStripe, acme: str, answer: tuple[int, str], status: int
) -> None:
    accounts.connect(local, acme, False, "read_write")  # so that nothing but the answer itself stands in the way
    with open_house(rt, local, odd_token_host(answer[0], answer[1].replace("acct_1", acme))) as house:
        browser = house.browser()
        back = browser.authorize(browser.depart(), acme)
        before = house.contents()

        page = browser.get(back)

        assert page.status_code == status
        assert "What to do" in text_of(page)
        assert house.contents() == before


def test_an_account_that_cannot_be_read_is_not_connected(house: House, acme: str) -> None:
    house.local.faults.add({"method": "GET", "path": "/v1/account*", "kind": "500", "times": 5})
    browser = house.browser()
    before = house.contents()

    answer = browser.connect(acme)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "60"
    assert house.contents() == before
    assert (acme, False) not in house.local.connections, "what was granted for nothing is given back"


def test_a_grant_that_could_not_be_given_back_is_given_back_later(house: House, acme: str) -> None:
    house.local.faults.add({"method": "GET", "path": "/v1/account*", "kind": "500", "times": 1})
    house.local.faults.add({"method": "POST", "path": "/oauth/deauthorize", "kind": "500", "times": 1})

    assert house.browser().connect(acme).status_code == 503

    assert (acme, False) in house.local.connections
    work.drain(house.rt, "upkeep")
    assert (acme, False) not in house.local.connections


def test_a_grant_that_is_used_by_now_is_not_given_back_late(house: House, acme: str) -> None:
    house.local.faults.add({"method": "GET", "path": "/v1/account*", "kind": "500", "times": 1})
    house.local.faults.add({"method": "POST", "path": "/oauth/deauthorize", "kind": "500", "times": 1})
    browser = house.browser()
    assert browser.connect(acme).status_code == 503

    assert browser.connect(acme).location == "/install/connected"

    work.drain(house.rt, "upkeep")
    assert (acme, False) in house.local.connections


def test_a_connection_that_stands_is_not_given_back_when_its_account_cannot_be_read(house: House, acme: str) -> None:
    browser = house.browser()
    browser.install(acme)
    house.local.faults.add({"method": "GET", "path": "/v1/account*", "kind": "500", "times": 1})

    assert browser.connect(acme).status_code == 503

    work.drain(house.rt, "upkeep")
    assert (acme, False) in house.local.connections


def test_a_busy_address_may_begin_many_round_trips(house: House) -> None:
    browser = house.browser()

    answers = [browser.get("/oauth/start?mode=test").status_code for _ in range(61)]

    assert answers == [303] * 60 + [429]


def test_subscribers_that_cannot_be_counted_do_not_stop_the_install(house: House, acme: str) -> None:
    house.local.faults.add({"method": "GET", "path": "/v1/subscriptions*", "kind": "500", "times": 5})
    browser = house.browser()

    assert browser.connect(acme).location == "/install/connected"

    assert "Could not be counted" in text_of(browser.get("/install/connected"))


# The workspace's own accounts.


def test_an_account_of_another_workspace_is_refused_without_naming_it(house: House, acme: str, other: str) -> None:
    ann, bob = house.browser(), house.browser()
    ann.install(acme, "ann@acme.example", mode="live")
    slug = bob.install(other, "bob@beta.example", mode="test")
    before = house.contents()

    answer = bob.connect(acme, "live", workspace=slug)

    assert answer.status_code == 409
    assert "acme" not in answer.text.lower()
    assert house.contents() == before
    assert (acme, True) in house.local.connections


def test_both_modes_stand_side_by_side(house: House, acme: str) -> None:
    browser = house.browser()
    slug = browser.install(acme)

    back = browser.connect(acme, "live", workspace=slug)

    assert back.location == "/install/connected"
    assert "Go to the dashboard" in text_of(browser.get("/install/connected"))
    assert sorted(house.rows("select mode, state from connections")) == [("live", "connected"), ("test", "connected")]
    assert len(house.rows("select 1 from embed_secrets where mode = 'live'")) == 1


def test_only_an_owner_who_signed_in_lately_connects(house: House, acme: str) -> None:
    owner, stranger = house.browser(), house.browser()
    slug = owner.install(acme)

    assert stranger.get(f"/oauth/start?mode=live&workspace={slug}").location == "/sign-in"
    house.rows("update memberships set role = 'editor' returning 1")
    assert owner.get(f"/oauth/start?mode=live&workspace={slug}").status_code == 403
    house.rows("update memberships set role = 'owner' returning 1")
    assert owner.get("/oauth/start?mode=live&workspace=somebody-elses").status_code == 404
    with house.later(minutes=11):
        assert owner.get(f"/oauth/start?mode=live&workspace={slug}").location == "/sign-in?again=1"
    with house.rt.transaction() as session:
        assert session.execute(text("select count(*) from oauth_states")).scalar_one() == 0


def test_an_owner_who_lost_the_role_on_the_way_connects_nothing(house: House, acme: str) -> None:
    browser = house.browser()
    slug = browser.install(acme)
    back = browser.authorize(browser.depart("live", slug), acme)
    house.rows("update memberships set role = 'editor' returning 1")
    calls, before = house.token_calls(), house.contents()

    assert browser.get(back).status_code == 403

    assert house.token_calls() == calls
    assert house.contents() == before


def test_reconnecting_the_same_account_brings_the_connection_back(house: House, acme: str) -> None:
    browser = house.browser()
    slug = browser.install(acme)
    assert browser.post("/oauth/disconnect", form_on="/sign-in", workspace=slug, mode="test").status_code == 303
    assert house.rows("select state, disconnect_reason from connections") == [("disconnected", "disconnected_here")]

    back = browser.connect(acme, workspace=slug)

    assert back.location == f"/admin/{slug}/settings/stripe?mode=test"
    assert house.rows("select state, disconnect_reason from connections") == [("connected", None)]
    assert house.rows("select count(*) from connections") == [(1,)]
    verbs = [verb for (verb,) in house.rows("select verb from audit_log order by at, id")]
    assert verbs[-2:] == ["connection.lost", "connection.again"]


@pytest.mark.parametrize("ended_by", ["us", "stripe"])
def test_the_plain_round_trip_of_a_lost_account_brings_its_workspace_back(house: House, acme: str, ended_by: str) -> None:
    owner, browser = house.browser(), house.browser()
    slug = owner.install(acme)
    [(workspace_id, connection_id)] = house.rows("select workspace_id, id from connections")
    if ended_by == "us":
        owner.post("/oauth/disconnect", form_on="/sign-in", workspace=slug, mode="test")
    else:
        with house.rt.transaction(str(workspace_id)) as session:
            now = house.rt.now()
            connections.lost(session, str(workspace_id), str(connection_id), at=now, reason="deauthorized", actor=f"stripe:{acme}")

    back = browser.connect(acme)

    assert back.location == f"/admin/{slug}/"
    assert browser.get(f"/admin/{slug}/").text.split("|")[2] == f"stripe:{acme}"
    assert house.rows("select id, state from connections") == [(connection_id, "connected")]
    verbs = [verb for (verb,) in house.rows("select verb from audit_log order by at, id")]
    assert sorted(verbs[-2:]) == ["connection.again", "signed_in"]
    work.drain(house.rt, "upkeep")
    assert (acme, False) in house.local.connections
    assert owner.connect(acme, workspace=slug).location == f"/admin/{slug}/settings/stripe?mode=test"


def test_a_lost_account_does_not_let_in_where_signing_in_with_stripe_is_off(house: House, acme: str) -> None:
    browser = house.browser()
    slug = browser.install(acme)
    browser.post("/oauth/disconnect", form_on="/sign-in", workspace=slug, mode="test")
    [(found,)] = house.rows("select workspace_id from connections")
    workspace_id = str(found)
    with house.rt.transaction(workspace_id) as session:
        preferences.save(session, workspace_id, "stripe_sign_in", False, house.rt.now())

    answer = house.browser().connect(acme)

    assert answer.status_code == 403
    assert house.rows("select state from connections") == [("disconnected",)]
    assert (acme, False) not in house.local.connections, "a grant that nobody here uses is given back"


def test_a_lost_account_may_be_connected_by_the_owner_of_another_workspace(house: House, acme: str, other: str) -> None:
    ann, bob = house.browser(), house.browser()
    old = ann.install(acme, "ann@acme.example")
    new = bob.install(other, "bob@beta.example", mode="live")
    ann.post("/oauth/disconnect", form_on="/sign-in", workspace=old, mode="test")

    assert bob.connect(acme, workspace=new).location == "/install/connected"

    assert ann.connect(acme, workspace=old).status_code == 409
    with house.rt.transaction() as session:
        assert session.execute(text("select count(*) from account_lookups where mode = 'test'")).scalar_one() == 1


def test_what_waited_for_the_connection_is_tried_again_when_it_is_back(house: House, acme: str) -> None:
    browser = house.browser()
    slug = browser.install(acme)
    browser.post("/oauth/disconnect", form_on="/sign-in", workspace=slug, mode="test")
    [(workspace_id, connection_id)] = house.rows("select workspace_id, id from connections")
    with house.rt.transaction(str(workspace_id)) as session:
        actions.ask(
            session,
            workspace_id=str(workspace_id),
            mode="test",
            connection_id=str(connection_id),
            customer="cus_1",
            subscription="sub_1",
            verb="cancel",
            intent={"feedback": None, "comment": None, "when": "period_end"},
            now=house.rt.now(),
            state="requested",
            code="not_connected",
        )

    browser.connect(acme, workspace=slug)

    assert house.rows("select state from actions") == [("queued",)]
    assert ("action",) in house.rows("select kind from work")


def test_another_account_in_the_same_mode_is_refused_and_given_back(house: House, acme: str, other: str) -> None:
    browser = house.browser()
    slug = browser.install(acme)
    before = house.contents()

    answer = browser.connect(other, workspace=slug)

    assert answer.status_code == 409
    assert house.contents() == before
    assert (other, False) not in house.local.connections
    assert (acme, False) in house.local.connections


def test_disconnecting_is_told_to_stripe_and_a_second_time_counts_as_done(house: House, acme: str) -> None:
    browser = house.browser()
    slug = browser.install(acme)
    browser.post("/oauth/disconnect", form_on="/sign-in", workspace=slug, mode="test")
    assert ("deauthorize",) in house.rows("select kind from work")
    house.local.connections.pop((acme, False))  # the owner was quicker at Stripe

    work.drain(house.rt, "upkeep")

    assert ("deauthorize",) not in house.rows("select kind from work")
    assert browser.post("/oauth/disconnect", form_on="/sign-in", workspace=slug, mode="test").status_code == 409


def test_disconnecting_ends_the_access_at_stripe(house: House, acme: str) -> None:
    browser = house.browser()
    slug = browser.install(acme)
    browser.post("/oauth/disconnect", form_on="/sign-in", workspace=slug, mode="test")

    work.drain(house.rt, "upkeep")

    assert (acme, False) not in house.local.connections


def test_only_an_owner_who_signed_in_lately_disconnects(house: House, acme: str) -> None:
    owner = house.browser()
    slug = owner.install(acme)
    with house.later(minutes=11):
        token = owner.csrf("/sign-in?again=1")
        answer = owner.client.post("/oauth/disconnect", data={"csrf_token": token, "workspace": slug, "mode": "test"})
        assert answer.location == "/sign-in?again=1"
    house.rows("update memberships set role = 'admin' returning 1")
    assert owner.post("/oauth/disconnect", form_on="/sign-in", workspace=slug, mode="test").status_code == 403
    assert owner.client.post("/oauth/disconnect", data={"workspace": slug, "mode": "test"}).status_code == 400, "no CSRF token"
    assert house.rows("select state from connections") == [("connected",)]


# Undo, and whose workspace it is.


def test_undo_lets_the_account_go_and_frees_the_name(house: House, acme: str) -> None:
    browser = house.browser()
    browser.connect(acme)

    assert browser.post("/install/undo", form_on="/install/connected").location == "/install"
    work.drain(house.rt, "upkeep")

    assert (acme, False) not in house.local.connections
    assert browser.get("/install/connected").status_code == 404
    assert browser.connect(acme).location == "/install/connected"
    assert ("acme-notes",) in house.rows(
        "select w.slug from connections c join workspaces w on w.id = c.workspace_id where c.state = 'connected'"
    )


def test_an_undo_that_stripe_hears_of_late_does_not_end_the_next_install(house: House, acme: str) -> None:
    browser = house.browser()
    browser.connect(acme)
    browser.post("/install/undo", form_on="/install/connected")
    browser.connect(acme)

    work.drain(house.rt, "upkeep")

    assert (acme, False) in house.local.connections


def test_an_account_that_makes_room_is_given_back(house: House, acme: str, other: str) -> None:
    browser = house.browser()
    slug = browser.install(acme)
    browser.connect(other, "live", workspace=slug)
    browser.post("/install/undo", form_on="/install/connected")

    browser.connect(acme, "live", workspace=slug)
    work.drain(house.rt, "upkeep")

    assert (other, True) not in house.local.connections
    assert (acme, True) in house.local.connections


def test_after_an_undo_in_a_second_mode_the_right_account_can_be_connected(house: House, acme: str, other: str) -> None:
    browser = house.browser()
    slug = browser.install(acme)
    browser.connect(other, "live", workspace=slug)
    assert browser.post("/install/undo", form_on="/install/connected").location == f"/admin/{slug}/settings/stripe"
    work.drain(house.rt, "upkeep")

    assert browser.connect(acme, "live", workspace=slug).location == "/install/connected"

    assert house.rows("select account, state from connections where mode = 'live'") == [(acme, "connected")]


def test_a_stranger_can_neither_see_nor_undo_an_install(house: House, acme: str) -> None:
    house.browser().connect(acme)
    stranger = house.browser()
    token = stranger.csrf("/sign-in")

    assert stranger.get("/install/connected").status_code == 404
    assert stranger.client.post("/install/undo", data={"csrf_token": token}).status_code == 404
    assert stranger.client.post("/install/email", data={"csrf_token": token, "email": "eve@example.com"}).status_code == 404
    assert house.rows("select state from connections") == [("connected",)]


def test_an_install_can_be_undone_for_an_hour(house: House, acme: str) -> None:
    browser = house.browser()
    browser.connect(acme)
    with house.later(minutes=61):
        assert browser.get("/install/connected").status_code == 404


def test_the_first_owner_confirms_an_address(house: House, acme: str) -> None:
    browser = house.browser()

    slug = browser.install(acme, "Ann@Acme.example")

    assert slug == "acme-notes"
    inside = browser.get(f"/admin/{slug}/").text.split("|")
    assert inside[0] == "Acme Notes"
    assert inside[1] == "owner"
    assert inside[3] == "Ann@Acme.example"
    [(payload,)] = house.rows("select payload from deliveries")
    assert isinstance(payload, dict)
    assert payload["to"] == "Ann@Acme.example"
    assert "{link}" in payload["text"]


def test_before_an_address_is_confirmed_nobody_is_inside(house: House, acme: str) -> None:
    browser = house.browser()
    browser.connect(acme)

    assert browser.get("/admin/acme-notes/").location == "/sign-in"
    assert browser.connect(acme).location == "/install/connected", "the same round trip again takes the install up where it stopped"


def test_a_corrected_address_ends_the_letter_to_the_mistyped_one(house: House, acme: str) -> None:
    browser = house.browser()
    browser.connect(acme)
    browser.post("/install/email", form_on="/install/connected", email="anne@acme.example")
    slip = browser.house_link("confirm_owner")
    browser.post("/install/email", form_on="/install/connected", email="ann@acme.example")

    assert house.browser().get(slip).status_code == 410


@pytest.mark.parametrize(
    "email", ["", "ann", "ann@", "@b.c", "a b@c.d", "ann@localhost", "a@b.c\r\nBcc: x@y.z", "ann@b..c", "x" * 300 + "@b.c", "ann,bob@c.d"]
)
def test_what_is_no_address_is_sent_no_letter(house: House, acme: str, email: str) -> None:
    browser = house.browser()
    browser.connect(acme)

    answer = browser.post("/install/email", form_on="/install/connected", email=email)

    assert answer.status_code == 400
    assert "Enter an email address" in text_of(answer)
    assert house.rows("select 1 from deliveries") == []


def test_a_member_who_installs_a_second_business_owns_it_at_once(house: House, acme: str, other: str) -> None:
    browser = house.browser()
    browser.install(acme)

    assert browser.connect(other).location == "/install/connected"

    assert browser.get("/admin/beta-tools/").text.startswith("Beta Tools|owner|usr_")
    assert browser.get("/admin/acme-notes/").text.startswith("Acme Notes|owner|usr_")


def test_two_businesses_of_one_name_get_two_slugs(house: House, acme: str) -> None:
    twin = str(accounts.make(house.local, "Acme  NOTES!", "x@y.example")["id"])
    house.browser().connect(acme)
    house.browser().connect(twin)

    with house.rt.transaction() as session:
        assert set(session.execute(text("select slug from workspaces")).scalars()) == {"acme-notes", "acme-notes-2"}


def test_events_that_came_before_the_account_did_are_taken_up(house: House, acme: str) -> None:
    with house.rt.transaction() as session:
        session.execute(
            text(
                "insert into webhook_events (id, account, livemode, type, api_version, created_at, received_at, raw, state)"
                " values ('evt_early', :account, false, 'customer.created', '', now(), now(), '', 'waiting_for_account')"
            ),
            {"account": acme},
        )

    house.browser().connect(acme)

    with house.rt.transaction() as session:
        assert session.execute(text("select state from webhook_events")).scalars().all() == ["pending"]


# What must never be written down.


def test_no_token_and_no_code_is_kept_or_logged(
    rt: Runtime, local: LocalStripe, acme: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    accounts.connect(local, acme, False, "read_write")
    canaries = {"access_token": "sk_test_canary1", "refresh_token": "rt_canary2", "stripe_publishable_key": "pk_test_canary3"}
    answer = json.dumps({**TOKEN, **canaries, "stripe_user_id": acme})
    caplog.set_level(logging.DEBUG)
    with open_house(rt, local, odd_token_host(200, answer)) as house:
        browser = house.browser()
        state = browser.depart().split("state=")[1].split("&")[0]
        back = f"/oauth/callback?state={state}&code=ac_canary4"
        assert browser.get(back).location == "/install/connected"
        assert browser.get(back).status_code == 400
        browser.get("/install/connected")

        written = json.dumps(house.contents()) + caplog.text + capfd.readouterr().out

    assert acme in written
    assert "oauth.come_back" in written, "the logs are what was looked at"
    cookie = browser.client.get_cookie("holdfast")
    assert cookie is not None
    for secret in ("canary", state, local.keys[False]):
        assert secret not in written
        assert secret not in cookie.decoded_value


def test_no_answer_says_where_stripe_sent_the_browser(house: House, acme: str) -> None:
    browser = house.browser()
    back = browser.connect(acme)

    assert "?" not in back.location
    assert back.headers["Referrer-Policy"] == "no-referrer"
