"""Signing in: links that work once, answers that tell a stranger nothing, owners through Stripe, and the end of a visit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from connect_app import preferences, tokens, workspaces
from connect_app.runtime import Runtime
from connect_app.workspaces import members
from sandbox.stripe import accounts
from sandbox.stripe.local import LocalStripe
from tests.http.front_door import Browser, House, open_house, text_of


@pytest.fixture
def house(rt: Runtime, local: LocalStripe) -> Iterator[House]:
    with open_house(rt, local) as house:
        yield house


@pytest.fixture
def acme(local: LocalStripe) -> str:
    return str(accounts.make(local, "Acme Notes", "ann@acme.example")["id"])


@pytest.fixture
def owner(house: House, acme: str) -> Browser:
    """Ann, who owns acme-notes and is signed in."""
    browser = house.browser()
    assert browser.install(acme, "ann@acme.example") == "acme-notes"
    return browser


def asks(house: House, email: str) -> Browser:
    browser = house.browser()
    answer = browser.post("/sign-in", form_on="/sign-in", email=email)
    assert (answer.status_code, answer.location) == (303, "/sign-in/sent")
    return browser


def letters(house: House) -> int:
    return len(house.rows("select 1 from deliveries where topic like 'login:%'"))


def is_inside(browser: Browser) -> bool:
    return browser.get("/admin/acme-notes/").status_code == 200


@pytest.mark.usefixtures("owner")
def test_a_member_is_sent_a_link_that_signs_them_in_once(house: House) -> None:
    browser = asks(house, "ANN@acme.example ")
    link = browser.house_link("sign_in")

    answer = browser.post(link, form_on=link)

    assert answer.location == "/admin/acme-notes/"
    assert browser.get(answer.location).text.split("|")[1:] == ["owner", answer_actor(house), "ann@acme.example"]
    again = house.browser()
    assert again.get(link).status_code == 410
    assert again.client.post(link, data={"csrf_token": again.csrf("/sign-in")}).status_code == 410
    assert not is_inside(again)


def answer_actor(house: House) -> str:
    with house.rt.transaction() as session:
        return str(session.execute(text("select id from users")).scalar_one())


@pytest.mark.usefixtures("owner")
def test_a_mail_scanner_uses_nothing_up(house: House) -> None:
    link = asks(house, "ann@acme.example").house_link("sign_in")

    for _ in range(3):
        scanner = house.browser()
        assert scanner.client.head(link).status_code == 200
        assert scanner.get(link).status_code == 200
        assert not is_inside(scanner)

    person = house.browser()
    assert person.post(link, form_on=link).status_code == 303
    assert is_inside(person)


@pytest.mark.usefixtures("owner")
def test_a_dozen_clicks_at_once_let_one_in(house: House) -> None:
    link = asks(house, "ann@acme.example").house_link("sign_in")
    browsers = [house.browser() for _ in range(12)]
    forms = [browser.csrf("/sign-in") for browser in browsers]

    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda pair: pair[0].client.post(link, data={"csrf_token": pair[1]}).status_code, zip(browsers, forms, strict=True))
        )

    assert sorted(answers) == [303] + [410] * 11
    assert sum(is_inside(browser) for browser in browsers) == 1


@pytest.mark.usefixtures("owner")
def test_a_link_older_than_twenty_minutes_is_gone(house: House) -> None:
    browser = asks(house, "ann@acme.example")
    link = browser.house_link("sign_in")
    form = browser.csrf("/sign-in")

    with house.later(minutes=21):
        assert browser.get(link).status_code == 410
        assert browser.client.post(link, data={"csrf_token": form}).status_code == 410


@pytest.mark.usefixtures("owner")
def test_a_link_that_was_touched_is_refused(house: House) -> None:
    link = asks(house, "ann@acme.example").house_link("sign_in")
    row_id, kid, mac = link.removeprefix("/sign-in/").split(".")
    forged = [
        f"{row_id}.{kid}.{'A' * 43}",
        f"{row_id}.other.{mac}",
        tokens.make(house.rt.ring, "portal", row_id, 1),
        tokens.make(house.rt.ring, "login", row_id, 2),
        f"{row_id}.{kid}.{mac}x",
        "x" * 3000,
        "%00",
        f"{row_id}.{kid}.{mac}%0A",
    ]

    for token in forged:
        assert house.browser().get(f"/sign-in/{token}").status_code == 410, token

    assert house.browser().get(link).status_code == 200


def test_the_answer_does_not_tell_who_is_a_member(house: House, owner: Browser) -> None:
    before = letters(house)
    known, unknown = house.browser(), house.browser()

    answers = [
        browser.post("/sign-in", form_on="/sign-in", email=email)
        for browser, email in ((known, "ann@acme.example"), (unknown, "eve@acme.example"))
    ]

    assert answers[0].status_code == answers[1].status_code == 303
    assert answers[0].data == answers[1].data
    assert {name: value for name, value in answers[0].headers if name not in ("Request-Id", "Set-Cookie")} == {
        name: value for name, value in answers[1].headers if name not in ("Request-Id", "Set-Cookie")
    }
    assert known.get("/sign-in/sent").data == unknown.get("/sign-in/sent").data
    assert letters(house) == before + 1
    assert is_inside(owner), "asking for a link signs nobody out"


def test_one_address_cannot_be_flooded_and_a_wrong_one_is_answered_alike(house: House, owner: Browser) -> None:
    del owner
    seen = {}
    for email in ("ann@acme.example", "eve@acme.example"):
        house.rt.redis.flushdb()
        browser = house.browser()
        form = browser.csrf("/sign-in")
        seen[email] = [
            browser.client.post(
                "/sign-in", data={"csrf_token": form, "email": email}, environ_base={"REMOTE_ADDR": f"10.0.0.{number}"}
            ).status_code
            for number in range(12)
        ]
    assert seen["ann@acme.example"] == seen["eve@acme.example"] == [303] * 10 + [429] * 2
    assert house.rows("select count(*) from logins where purpose = 'sign_in'")[0] == (3,), "the newest three links stay good"


def test_one_guesser_is_stopped_whatever_they_send_as_their_address(house: House) -> None:
    browser = house.browser()
    form = browser.csrf("/sign-in")

    answers = [
        browser.client.post(
            "/sign-in",
            data={"csrf_token": form, "email": f"guess{number}@acme.example"},
            headers={"X-Forwarded-For": f"10.0.0.{number}"},
        )
        for number in range(15)
    ]

    assert [answer.status_code for answer in answers] == [303] * 10 + [429] * 5
    assert int(answers[-1].headers["Retry-After"]) > 0


@pytest.mark.parametrize("email", ["", "ann", "a@b", "a@b.c\nx", "é" * 300])
def test_what_is_no_address_is_said_so(house: House, email: str) -> None:
    answer = house.browser().post("/sign-in", form_on="/sign-in", email=email)

    assert answer.status_code == 400
    assert "Enter an email address" in text_of(answer)


def test_a_form_without_its_token_is_refused(house: House, owner: Browser) -> None:
    assert house.browser().client.post("/sign-in", data={"email": "ann@acme.example"}).status_code == 400
    assert owner.client.post("/sign-out").status_code == 400
    assert is_inside(owner)


# Through Stripe.


def test_the_owner_of_the_account_comes_in_through_stripe(house: House, owner: Browser, acme: str) -> None:
    del owner
    browser = house.browser()

    back = browser.connect(acme)

    assert back.location == "/admin/acme-notes/"
    assert browser.get(back.location).text == f"Acme Notes|owner|stripe:{acme}|Owner via Stripe {acme}"
    assert house.rows("select actor, details from audit_log where verb = 'signed_in'") == [(f"stripe:{acme}", {"by": "stripe"})]
    assert house.rows("select count(*) from connections") == [(1,)]


def test_owners_may_switch_the_way_through_stripe_off(house: House, owner: Browser, acme: str) -> None:
    through_stripe = house.browser()
    through_stripe.connect(acme)
    assert is_inside(through_stripe)
    switch_off(house)

    answer = house.browser().connect(acme)

    assert answer.status_code == 403
    assert "switched off" in text_of(answer)
    assert not is_inside(through_stripe), "those who came that way before are out, too"
    assert is_inside(owner)


def switch_off(house: House) -> None:
    with house.rt.transaction() as session:
        place = workspaces.by_slug(session, "acme-notes")
    assert place is not None
    with house.rt.transaction(place.id) as session:
        preferences.save(session, place.id, "stripe_sign_in", False, house.rt.now())


def test_it_stays_open_while_there_is_no_other_owner(house: House, owner: Browser, acme: str) -> None:
    browser = house.browser()
    browser.connect(acme)
    switch_off(house)
    house.rows("delete from memberships returning 1")

    assert is_inside(browser)
    assert not is_inside(owner)


def test_losing_the_account_ends_the_visits_that_came_through_it(house: House, owner: Browser, acme: str) -> None:
    browser = house.browser()
    browser.connect(acme)

    owner.post("/oauth/disconnect", form_on="/sign-in", workspace="acme-notes", mode="test")

    assert browser.get("/admin/acme-notes/").location == "/sign-in"
    assert is_inside(owner)


# The operator.


def test_the_operators_link_lets_in_once(house: House, owner: Browser) -> None:
    del owner
    path = workspaces.admin_link(house.rt).removeprefix(house.rt.settings.base_url)
    browser = house.browser()

    assert browser.client.head(path).status_code == 200
    answer = browser.get(path)

    assert answer.location == "/admin/acme-notes/"
    assert browser.get(answer.location).text == "Acme Notes|owner|operator|Operator"
    assert house.browser().get(path).status_code == 410
    verbs = [verb for (verb,) in house.rows("select verb from audit_log where actor = 'operator' order by id")]
    assert verbs == ["operator_link.made", "signed_in"]


def test_the_operator_is_told_which_workspaces_there_are(house: House, owner: Browser) -> None:
    beta = str(accounts.make(house.local, "Beta Tools", "bob@beta.example")["id"])
    slip = house.browser()
    slip.connect(beta)
    slip.post("/install/undo", form_on="/install/connected")
    assert workspaces.admin_link(house.rt), "an install that was undone does not count"
    house.browser().connect(beta)
    del owner

    with pytest.raises(LookupError, match="acme-notes, beta-tools"):
        workspaces.admin_link(house.rt)
    with pytest.raises(LookupError, match="no workspace 'gamma'"):
        workspaces.admin_link(house.rt, "gamma")
    assert workspaces.admin_link(house.rt, "beta-tools").startswith("http://127.0.0.1:8000/sign-in/lgn_")


# A visit and its end.


def test_somebody_elses_workspace_answers_as_one_that_does_not_exist(house: House, owner: Browser) -> None:
    beta = str(accounts.make(house.local, "Beta Tools", "bob@beta.example")["id"])
    bob = house.browser()
    bob.install(beta, "bob@beta.example")
    through_stripe = house.browser()
    through_stripe.connect(beta)

    for browser in (bob, through_stripe):
        theirs, nobodys = browser.get("/admin/acme-notes/"), browser.get("/admin/no-such-place/")
        assert theirs.status_code == nobodys.status_code == 404
        assert "Acme" not in theirs.text
    assert is_inside(owner)
    assert house.browser().get("/admin/no-such-place/").location == "/sign-in"


def test_roles_are_a_ladder(house: House, owner: Browser) -> None:
    for role in members.ROLES:
        house.rows("update memberships set role = :role returning 1", role=role)
        assert owner.get("/admin/acme-notes/").text.split("|")[1] == role
        assert owner.get("/admin/acme-notes/owners").status_code == (200 if role == "owner" else 403)


def test_a_visit_ends_after_twelve_hours_however_busy(house: House, owner: Browser) -> None:
    for hours in (4, 8, 11.9):
        with house.later(hours=hours):
            assert is_inside(owner)
    with house.later(hours=12.1):
        assert not is_inside(owner)


@pytest.mark.parametrize("way", ["email", "stripe", "operator"])
def test_a_copy_of_the_cookie_opens_nothing_after_signing_out(house: House, owner: Browser, acme: str, way: str) -> None:
    browser = owner
    if way == "stripe":
        browser = house.browser()
        browser.connect(acme)
    elif way == "operator":
        browser = house.browser()
        browser.get(workspaces.admin_link(house.rt).removeprefix(house.rt.settings.base_url))
    assert is_inside(browser)
    cookie = browser.client.get_cookie("holdfast")
    assert cookie is not None

    assert browser.post("/sign-out", form_on="/sign-in").location == "/sign-in"

    assert not is_inside(browser)
    thief = house.browser()
    thief.client.set_cookie("holdfast", cookie.value)
    assert not is_inside(thief)


def test_signing_in_forgets_what_the_browser_held_before(house: House, owner: Browser) -> None:
    del owner
    browser = asks(house, "ann@acme.example")
    browser.depart()
    with browser.client.session_transaction() as before:
        planted = before["browser"]
        before["anything"] = "planted"
    link = browser.house_link("sign_in")
    browser.post(link, form_on=link)

    with browser.client.session_transaction() as after:
        assert "anything" not in after
        assert after.get("browser") != planted


def test_no_next_address_is_ever_followed(house: House, owner: Browser) -> None:
    del owner
    browser = asks(house, "ann@acme.example")
    link = browser.house_link("sign_in")

    answer = browser.client.post(f"{link}?next=//evil.example", data={"csrf_token": browser.csrf(link), "next": "https://evil.example"})

    assert answer.location == "/admin/acme-notes/"


def test_whoever_is_signed_in_is_shown_where_to_go(house: House, owner: Browser, acme: str) -> None:
    page = owner.get("/sign-in")
    assert "You are signed in" in text_of(page)
    assert 'href="/admin/acme-notes/"' in page.text
    through_stripe = house.browser()
    through_stripe.connect(acme)
    assert f"Owner via Stripe {acme}" in text_of(through_stripe.get("/sign-in"))
