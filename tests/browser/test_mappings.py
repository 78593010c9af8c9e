"""Field mappings with the keyboard alone: found, picked, previewed on real subscribers, saved, and taken away again."""

from playwright.sync_api import Page, expect

from tests.browser.conftest import House
from tests.browser.test_flow import no_problems

FOCUSED = """() => {
  const one = document.activeElement;
  return (one.getAttribute("aria-label") || (one.labels && one.labels.length ? one.labels[0].textContent : one.textContent) || "").trim();
}"""


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the control of this name has the focus."""
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED) == name:
            return
    raise AssertionError(f"no Tab leads to {name}")


def enter(page: Page) -> None:
    """Press Enter and wait for the page it leads to."""
    with page.expect_navigation():
        page.keyboard.press("Enter")


def fill(page: Page, name: str, text: str) -> None:
    tab_to(page, name)
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(text)


def test_a_field_is_set_up_and_taken_away_with_the_keyboard_alone(owner: Page, house: House) -> None:
    owner.goto(house.admin("settings/fields"))
    no_problems(owner)
    tab_to(owner, "Add field")
    enter(owner)
    expect(owner.get_by_role("heading", name="New field")).to_be_visible()
    fill(owner, "Name", "Monthly Worth")
    fill(owner, "Search", "recurring revenue")
    tab_to(owner, "Search")
    enter(owner)
    # Nothing typed is lost while one looks, and what was found has the focus.
    expect(owner.get_by_role("button", name="Use mrr", exact=True)).to_be_focused()
    enter(owner)
    expect(owner.get_by_label("Source", exact=True)).to_be_focused()
    expect(owner.get_by_label("Name", exact=True)).to_have_value("Monthly Worth")
    expect(owner.get_by_label("Source", exact=True)).to_have_value("mrr")
    expect(owner.get_by_label("Data type")).to_have_value("money")
    expect(owner.locator("#preview")).to_contain_text("$29.00")
    no_problems(owner)

    tab_to(owner, "Save")
    enter(owner)
    expect(owner.get_by_text("Write small letters, digits and underscores").first).to_be_visible()
    no_problems(owner)
    fill(owner, "Name", "monthly_worth")
    fill(owner, "Fallback (optional)", "not known")
    tab_to(owner, "Preview")
    enter(owner)
    expect(owner.locator("#preview")).to_contain_text("As of")
    expect(owner.get_by_role("group", name="What it comes to")).to_be_focused()
    tab_to(owner, "Save")
    enter(owner)
    expect(owner.get_by_text("Copy can now say {{ monthly_worth }}.")).to_be_visible()
    expect(owner.get_by_role("rowheader", name="monthly_worth")).to_be_visible()

    tab_to(owner, "Change monthly_worth")
    enter(owner)
    expect(owner.get_by_label("Fallback")).to_have_value("not known")
    tab_to(owner, "Back")
    enter(owner)
    tab_to(owner, "Delete monthly_worth")
    enter(owner)
    expect(owner.get_by_text("Nothing names it.")).to_be_visible()
    no_problems(owner)
    tab_to(owner, "Delete field")
    enter(owner)
    expect(owner.get_by_text("monthly_worth is deleted.")).to_be_visible()
