"""The audience editor in a real browser: built with the keyboard alone, without JavaScript, on a small phone."""

import re

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import House
from tests.browser.test_flow import no_problems


def on(page: Page) -> str:
    """The name of the field that has the focus."""
    return str(page.evaluate("document.activeElement.name || document.activeElement.tagName"))


def tab_to(page: Page, name: str, value: str = "") -> None:
    """Press Tab until this field, or the button of this value, has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if on(page) == name and page.evaluate("document.activeElement.value") == (value or page.evaluate("document.activeElement.value")):
            return
    raise AssertionError(f"Tab never came to {name} {value}, but last to {on(page)}")


def choose(page: Page, text: str) -> None:
    """Go down the list that has the focus to the entry that begins so: a browser forgets half a word that is typed too slowly."""
    for _ in range(80):
        if page.evaluate("start => document.activeElement.selectedOptions[0].label.trim().startsWith(start)", text):
            return
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"the list has no {text}")


def test_an_audience_is_built_counted_and_kept_with_the_keyboard_and_without_script(browser: Browser, house: House) -> None:
    context = browser.new_context(java_script_enabled=True, viewport={"width": 360, "height": 800})
    # The page's own script is what is left out; the test needs the engine to ask where the focus is.
    context.route("**/static/holdfast.js", lambda route: route.abort())
    page = context.new_page()
    house.sign_in(page)
    page.goto(house.admin("audiences/new"))
    expect(page.locator("[name='name']")).to_be_focused()
    page.keyboard.type("Past due on Starter")
    tab_to(page, "r:new")
    choose(page, "plan_name")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("[name='r.0:verb']")).to_be_focused()
    choose(page, "is one of")
    expect(page.locator("[name='r.0:text']")).to_be_hidden()
    page.keyboard.press("Tab")
    assert on(page) == "r.0:lines"
    page.keyboard.type("Pro\nSTARTER")
    tab_to(page, "do", "group:r")
    page.keyboard.press("Enter")
    expect(page.locator("[name='r.1:match']")).to_be_focused()
    choose(page, "none")
    tab_to(page, "r.1:new")
    choose(page, "amount")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("[name='r.1.0:verb']")).to_be_focused()
    choose(page, "is more than")
    page.keyboard.press("Tab")
    assert on(page) == "r.1.0:text"
    page.keyboard.type("20")
    # Return in a field shows who is meant; it neither saves nor removes anything.
    page.keyboard.press("Enter")
    expect(page.locator("#matches .big-number")).to_have_text(re.compile(r"^[1-9]\d*$"))
    no_problems(page)
    tab_to(page, "do", "save")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_text("plan_name is one of Pro, STARTER and none of (amount is more than $20.00)")).to_be_visible()
    page.get_by_role("link", name="List the customers of the saved rule").click()
    expect(page.get_by_role("link", name="Tomás Herrera")).to_be_visible()
    page.goto(house.admin("audiences"))
    no_problems(page)
    page.get_by_role("link", name="Past due on Starter").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete audience").click()
    expect(page.get_by_text("“Past due on Starter” is deleted.")).to_be_visible()
    context.close()
