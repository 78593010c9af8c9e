"""From the shop's Cancel button to Stripe and back, in a browser; without script, by keyboard, and on a small phone too."""

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import SETTLED, House

EXPENSIVE = "It is too expensive"
ACCEPT = "Take the discount"
DECLINE = "No thanks, continue to cancel"
CONFIRM = "Cancel my subscription"
NEVER_MIND = "Never mind, keep my subscription"


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def answer(page: Page, reason: str) -> None:
    page.get_by_label(reason).check()
    press(page, "Continue")


def session_of(house: House, page: Page) -> str:
    """The session's id, once the page is a cancel link of Holdfast's."""
    link = re.compile(rf"^{re.escape(house.demo['base_url'])}/cancel/(ses_[0-9a-z]+)")
    expect(page).to_have_url(link)
    found = link.match(page.url)
    assert found
    return found[1]


def play(page: Page, house: House, shape: str) -> None:
    """Be this customer in the shop."""
    page.goto(f"{house.demo['shop_url']}/account")
    row = next(number for number, row in enumerate(house.demo["customers"]) if row["shape"] == shape)
    page.get_by_label("Signed in as").select_option(str(row))
    press(page, "Switch")
    expect(page.get_by_text(house.demo["customers"][row]["subscription"])).to_be_visible()


def no_problems(page: Page) -> None:
    """axe finds nothing, and nothing scrolls sideways."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), f"{page.url} scrolls sideways"


def test_a_customer_takes_the_offer_and_it_is_on_stripe_once(page: Page, house: House, owner: Page) -> None:
    row = house.subscription("monthly")
    play(page, house, "monthly")
    press(page, "Cancel")
    session = session_of(house, page)
    answer(page, EXPENSIVE)
    press(page, ACCEPT)
    expect(page.get_by_role("heading", name="Thank you for staying")).to_be_visible(timeout=SETTLED)

    effects = house.effects(row["subscription"])
    assert [effect["kind"] for effect in effects] == ["discount"]
    subscription = house.stripe("GET", f"subscriptions/{row['subscription']}")
    assert len(subscription["discounts"]) == 1
    assert subscription["cancel_at_period_end"] is False

    owner.goto(house.admin(f"sessions/{session}"))
    expect(owner.get_by_text("Read back from Stripe as planned: discount").first).to_be_visible()
    assert "req_" in owner.content()
    page.get_by_role("link", name=re.compile("^Back to")).click()
    expect(page).to_have_url(re.compile(f"^{re.escape(house.demo['shop_url'])}"))


def test_a_customer_cancels_and_it_is_on_stripe_once(page: Page, house: House, owner: Page) -> None:
    row = house.subscription("yearly")
    play(page, house, "yearly")
    press(page, "Cancel")
    session = session_of(house, page)
    page.get_by_label("Anything you would like to add?").fill("Too many <b>buttons</b> & bells")
    answer(page, EXPENSIVE)
    press(page, DECLINE)
    press(page, CONFIRM)
    expect(page.get_by_role("heading", name="Your subscription is canceled")).to_be_visible(timeout=SETTLED)
    expect(page.get_by_text("Ends on")).to_be_visible()

    assert [effect["kind"] for effect in house.effects(row["subscription"])] == ["cancel_at_period_end"]
    subscription = house.stripe("GET", f"subscriptions/{row['subscription']}")
    assert subscription["cancel_at_period_end"] is True
    assert subscription["cancellation_details"]["feedback"] == "too_expensive"
    assert subscription["cancellation_details"]["comment"] == "Too many <b>buttons</b> & bells"

    owner.goto(house.admin(f"sessions/{session}"))
    expect(owner.get_by_text("Read back from Stripe as planned: cancel at period end").first).to_be_visible()
    expect(owner.get_by_text("Too many <b>buttons</b> & bells").first).to_be_visible()
    owner.goto(house.admin("flows/analytics"))
    expect(owner.locator(f"a[href*='{session}']").first).to_be_visible()


def test_never_mind_changes_nothing_and_leads_back_to_the_shop(page: Page, house: House) -> None:
    row = house.newcomer()
    page.goto(house.hand_off(row, return_url=f"{house.demo['shop_url']}/account?stayed=1"))
    answer(page, EXPENSIVE)
    press(page, NEVER_MIND)
    expect(page.get_by_role("heading", name="Your subscription stays as it is")).to_be_visible()
    page.get_by_role("link", name=re.compile("^Back to")).click()
    expect(page.get_by_text("Good to have you still with us.")).to_be_visible()
    assert house.effects(row["subscription"]) == [effect for effect in house.effects(row["subscription"]) if effect["kind"] == "other"]


def test_the_same_link_shows_the_outcome_and_undo_takes_it_back(page: Page, house: House) -> None:
    row = house.newcomer()
    url = house.hand_off(row)
    page.goto(url)
    press(page, "Cancel now")
    press(page, CONFIRM)
    expect(page.get_by_role("heading", name="Your subscription is canceled")).to_be_visible(timeout=SETTLED)
    page.goto(url)
    expect(page.get_by_role("heading", name="Your subscription is canceled")).to_be_visible()
    press(page, "Undo the cancellation")
    expect(page.get_by_text(re.compile("continues$"))).to_be_visible(timeout=SETTLED)
    assert house.stripe("GET", f"subscriptions/{row['subscription']}")["cancel_at_period_end"] is False
    kinds = [effect["kind"] for effect in house.effects(row["subscription"])]
    assert kinds.count("cancel_at_period_end") == 1
    assert kinds.count("undo_cancel") == 1


def test_the_whole_flow_works_without_script(browser: Browser, house: House) -> None:
    row = house.newcomer()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(house.hand_off(row))
    answer(page, EXPENSIVE)
    press(page, ACCEPT)
    # The waiting page leaves by itself: a Refresh header needs no script.
    expect(page.get_by_role("heading", name="Thank you for staying")).to_be_visible(timeout=SETTLED)
    assert [effect["kind"] for effect in house.effects(row["subscription"])].count("discount") == 1
    assert context.cookies(house.demo["base_url"]) == []
    context.close()


def test_the_whole_flow_works_by_keyboard(page: Page, house: House) -> None:
    row = house.newcomer()
    page.goto(house.hand_off(row))
    tab_to(page, "radio")
    page.keyboard.press("Space")
    tab_to(page, "Continue")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=ACCEPT)).to_be_visible()
    tab_to(page, DECLINE)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=CONFIRM)).to_be_visible()
    tab_to(page, CONFIRM)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your subscription is canceled")).to_be_visible(timeout=SETTLED)


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until the focus is on the button of this text, or on a radio button; and see that the focus is seen."""
    for _ in range(40):
        page.keyboard.press("Tab")
        focus: dict[str, Any] = page.evaluate(
            "() => { const e = document.activeElement, s = getComputedStyle(e), l = e.closest('label');"
            " const seen = [e, l].filter(Boolean).some(x => { const c = getComputedStyle(x);"
            " return c.outlineStyle !== 'none' || c.boxShadow !== 'none'; });"
            " return {text: e.innerText || '', type: e.type || '', seen}; }"
        )
        if wanted == focus["type"] or wanted == focus["text"].strip():
            assert focus["seen"], f"the focus on {wanted} is invisible"
            return
    raise AssertionError(f"Tab never reaches {wanted}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_screen_is_accessible_and_fits_a_small_phone(browser: Browser, house: House, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page = context.new_page()
    row = house.newcomer("Maximiliana Featherstonehaugh-Oberammergau")
    url = house.hand_off(row, return_url=f"{house.demo['shop_url']}/account")
    page.goto(url)
    no_problems(page)
    answer(page, EXPENSIVE)
    no_problems(page)
    press(page, DECLINE)
    no_problems(page)
    press(page, NEVER_MIND)
    no_problems(page)
    page.goto(url)
    if page.get_by_role("button", name=CONFIRM).count() == 0:
        press(page, "Cancel now")
    press(page, CONFIRM)
    expect(page.get_by_role("heading", name="Your subscription is canceled")).to_be_visible(timeout=SETTLED)
    no_problems(page)
    page.goto(house.portal(row["customer"]))
    no_problems(page)
    page.goto(f"{house.demo['base_url']}/cancel/nonsense")
    no_problems(page)
    context.close()


def test_a_dead_holdfast_leaves_the_shop_with_a_way_out(page: Page, house: House) -> None:
    play(page, house, "trialing")
    house.running.supervisor.stop("web")
    try:
        press(page, "Cancel")
        expect(page.get_by_role("heading", name="We will take care of it")).to_be_visible()
    finally:
        house.running.start_web()
