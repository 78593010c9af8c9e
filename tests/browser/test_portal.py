"""A customer pauses and resumes in the portal: by keyboard alone, and without script on the narrowest screen."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from connect_app import connections
from connect_app.admin import flows, offers
from connect_app.modes import Mode
from flow_pages.document import PauseOffer
from tests.browser.conftest import SETTLED, House


@pytest.fixture
def house(house: House) -> Iterator[House]:
    """The demo, with a pause in its flow for as long as the test lasts: other tests walk the same flow."""
    rt = house.running.runtime()
    try:
        with rt.transaction() as session:
            home = connections.locate(session, house.demo["account"], Mode.TEST)
        assert home is not None
        break_ = PauseOffer(id="x", interval="month", count=2, least=1, most=3, headline="A break?", accept="Pause", decline="No")
        with rt.transaction(home.workspace_id) as session:
            place = offers.Placement(where="closing")
            made = offers.add(session, home.workspace_id, name="Break", offer=break_, placement=place, now=rt.now(), by="operator")
            flows.publish_offers(session, home.workspace_id, rt.now(), "operator")
        yield house
        with rt.transaction(home.workspace_id) as session:
            offers.remove(session, home.workspace_id, made, rt.now(), "operator")
            flows.publish_offers(session, home.workspace_id, rt.now(), "operator")
    finally:
        rt.close()


def press_by_key(page: Page, name: str) -> None:
    """Tab until that control has the focus, and press Enter."""
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent.trim()") == name:
            return page.keyboard.press("Enter")
    pytest.fail(f"the keyboard never came to {name}")


def test_a_pause_is_taken_and_ended_by_keyboard(page: Page, house: House) -> None:
    row = house.newcomer()
    page.goto(house.portal(row["customer"]))
    plan = page.locator(".sub h2").inner_text()
    press_by_key(page, f"Pause {plan}")
    expect(page.get_by_role("radio", checked=True)).to_have_value("2")
    while page.evaluate("document.activeElement.type") != "radio":
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    press_by_key(page, "Pause my subscription")
    expect(page.get_by_text("Paused until", exact=True)).to_be_visible(timeout=SETTLED)
    press_by_key(page, f"Resume now: {plan}")
    expect(page.get_by_text("Active", exact=True)).to_be_visible(timeout=SETTLED)
    assert [effect["kind"] for effect in house.effects(row["subscription"])][-2:] == ["pause", "resume"]


def test_without_script_on_a_narrow_screen_nothing_is_missing(browser: Browser, house: House) -> None:
    row = house.newcomer()
    context = browser.new_context(java_script_enabled=False, viewport={"width": 320, "height": 700})
    page = context.new_page()
    page.goto(house.portal(row["customer"]))
    page.get_by_role("link", name="Pause").click()
    page.get_by_role("button", name="Pause my subscription").click()
    expect(page.get_by_text("Paused until", exact=True)).to_be_visible(timeout=SETTLED)
    page.get_by_role("link", name="Invoices").click()
    expect(page.get_by_role("link", name="View the invoice").first).to_be_visible()
    page.get_by_role("link", name="Back to your subscriptions").click()
    page.get_by_role("button", name="Resume now").click()
    expect(page.get_by_text("Active", exact=True)).to_be_visible(timeout=SETTLED)
    context.close()
