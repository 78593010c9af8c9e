"""Installing by Connect OAuth: the round trip, and each way in which it may not change anything."""

from collections.abc import Iterator

import pytest

from connect_app.runtime import Runtime
from sandbox.stripe import accounts
from sandbox.stripe.local import LocalStripe
from tests.http.front_door import House, open_house, text_of


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
