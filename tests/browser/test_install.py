"""The install by OAuth of an account that nobody has connected yet, as its owner walks through it."""

import re

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import House
from tests.browser.test_flow import no_problems


def to_stripe(page: Page, house: House) -> None:
    page.goto(f"{house.demo['base_url']}/install")
    no_problems(page)
    page.get_by_role("link", name="Connect in test mode").click()
    expect(page).to_have_url(re.compile(f"^{re.escape(house.demo['stripe_url'])}"))


def test_an_owner_connects_an_account_and_lands_in_the_dashboard(context: BrowserContext, house: House) -> None:
    page = context.new_page()
    to_stripe(page, house)
    page.locator("select[name=account]").select_option(house.demo["unconnected_account"])
    page.get_by_role("button", name="Authorize").click()
    expect(page.get_by_role("heading", name=re.compile("is connected$"))).to_be_visible()
    assert "code=" not in page.url
    expect(page.get_by_text(house.demo["unconnected_account"])).to_be_visible()
    no_problems(page)

    page.get_by_label("Your email address").fill("founder@quillworks.example")
    page.get_by_role("button", name="Send me the link").click()
    expect(page.get_by_text("founder@quillworks.example")).to_be_visible()
    no_problems(page)
    link = house.running.letters.wait_for(rf"To: founder@quillworks\.example[\s\S]*?({re.escape(house.demo['base_url'])}/sign-in/\S+)")
    page.goto(link)
    no_problems(page)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile("/admin/quillworks"))
    expect(page.get_by_text("Quillworks").first).to_be_visible()

    # The link is used up, and the new workspace's owner is nobody in the other one.
    page.goto(link)
    expect(page.get_by_text("has been used")).to_be_visible()
    page.goto(house.admin())
    assert page.get_by_text("Fernhill").count() == 0


def test_an_owner_who_says_no_at_stripe_comes_back_to_a_page_that_says_what_to_do(page: Page, house: House) -> None:
    to_stripe(page, house)
    page.get_by_role("button", name="Cancel").click()
    expect(page).to_have_url(re.compile(f"^{re.escape(house.demo['base_url'])}"))
    expect(page.get_by_text("Nothing was changed in Holdfast.")).to_be_visible()
    expect(page.get_by_role("link", name="Start again")).to_be_visible()
    no_problems(page)


def test_an_account_controlled_by_another_platform_is_refused_with_a_reason(page: Page, house: House) -> None:
    to_stripe(page, house)
    page.locator("select[name=account]").select_option(house.running.seeded["foreign_account"])
    page.get_by_role("button", name="Authorize").click()
    expect(page.get_by_text("Nothing was changed in Holdfast.")).to_be_visible()
    expect(page.get_by_text(re.compile("another platform")).first).to_be_visible()
