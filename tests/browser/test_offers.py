"""The offers pages in a real browser: an offer is made, tried on, moved and deleted with the keyboard, with and without script."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import House
from tests.browser.test_audiences import tab_to
from tests.browser.test_flow import no_problems


@pytest.fixture(params=["with script", "without script"])
def page(request: pytest.FixtureRequest, browser: Browser, house: House) -> Iterator[Page]:
    """A signed-in phone; what was made in it is deleted, since the house is everybody's."""
    context = browser.new_context(viewport={"width": 360, "height": 800})
    if request.param == "without script":
        # The page's own script is what is left out; the test needs the engine to ask where the focus is.
        context.route("**/static/holdfast.js", lambda route: route.abort())
    page = context.new_page()
    house.sign_in(page)
    yield page
    page.goto(house.admin("offers"))
    # Read from the page before it is left: a locator looks again each time it is asked.
    made = [str(link.get_attribute("href")).rsplit("/", 1)[1] for link in page.get_by_role("link", name="A summer break").all()]
    for offer in made:
        page.goto(house.admin(f"offers/{offer}#delete"))
        page.get_by_role("button", name="Delete offer").dispatch_event("click")
        expect(page).to_have_url(re.compile("/offers$"))
    context.close()


def test_an_offer_is_made_tried_on_moved_and_deleted_with_the_keyboard(page: Page, house: House) -> None:
    page.goto(house.admin("offers/new?kind=pause"))
    tab_to(page, "name")
    page.keyboard.press("Control+A")
    page.keyboard.type("A summer break")
    tab_to(page, "most")
    page.keyboard.type("4")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Say both bounds, or none.")
    no_problems(page)
    tab_to(page, "least")
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile(r"Saved\. Version \d+ of the default flow is published\."))).to_be_visible()
    expect(page.get_by_text("1 to 4 months without bills")).to_be_visible()
    no_problems(page)
    rows = page.locator("a.row-link")
    expect(rows.last).to_have_text("A summer break")
    up = page.get_by_role("button", name="Move A summer break up")
    up.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Moved.")).to_be_visible()
    expect(rows.last).not_to_have_text("A summer break")
    page.get_by_role("link", name="A summer break").click()
    expect(page.get_by_role("heading", name="A summer break", level=1)).to_be_visible()
    if page.evaluate("document.documentElement.classList.contains('js')"):
        expect(page.locator("#reach .big-number")).to_have_text(re.compile(r"^\d+$"))
        no_problems(page)
    page.get_by_role("link", name="Preview").click()
    expect(page).to_have_url(re.compile("/preview$"))
    page.goto(f"{page.url}?subscription={house.subscription('monthly')['subscription']}")
    shown = page.frame_locator("iframe")
    expect(shown.get_by_role("heading", name="Would a break help?")).to_be_visible()
    expect(shown.get_by_text("2 months")).to_be_visible()
    # It is to be looked at: its buttons lead nowhere.
    shown.get_by_role("button", name="Pause my subscription").click()
    expect(shown.get_by_role("heading", name="Would a break help?")).to_be_visible()
    no_problems(page)
