"""A customer pauses and resumes in the portal: by keyboard alone, and without script on the narrowest screen."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import SETTLED, House


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
