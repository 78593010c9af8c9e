"""The owner's pages: accessible, whole on a small phone, in both colour schemes; and what they set is what customers get."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import House
from tests.browser.test_flow import no_problems

PAGES = (
    "",
    "flows",
    "flows/embed",
    "flows/analytics",
    "offers",
    "offers/new",
    "offers/new?kind=discount",
    "offers/new?kind=pause",
    "offers/new?kind=plan_change",
    "offers/new?kind=custom",
    "audiences",
    "audiences/new",
    "sessions",
    "customers",
    "queue",
    "settings",
    "settings/fields",
    "settings/fields/new?name=amount",
    "settings/site",
    "settings/stripe",
    "settings/secrets",
    "settings/api-keys",
    "settings/outbound",
    "settings/outbound/new?kind=webhook",
    "settings/audit",
)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (320, "dark")])
def test_every_page_of_the_dashboard_is_accessible_and_fits(browser: Browser, house: House, width: int, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    house.sign_in(page)
    for path in PAGES:
        answer = page.goto(house.admin(path))
        assert answer is not None
        assert answer.status == 200, path
        no_problems(page)
    context.close()


def test_a_page_loads_nothing_from_elsewhere_and_its_policy_lets_all_of_it_run(owner: Page, house: House) -> None:
    complaints: list[str] = []
    asked: list[str] = []
    owner.on("console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None)
    owner.on("request", lambda request: asked.append(request.url))
    for path in PAGES:
        owner.goto(house.admin(path))
    assert complaints == []
    assert [url for url in asked if not url.startswith((house.demo["base_url"], "data:"))] == []


def test_the_demo_tells_the_operator_what_to_click_once(page: Page, house: House) -> None:
    page.goto(house.demo["admin_url"])
    expect(page).to_have_url(house.admin())
    page.goto(house.demo["admin_url"])
    expect(page.get_by_text("has been used")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 900, 700, 360])
def test_tiles_fill_their_frame_and_no_tab_is_cut_off(browser: Browser, house: House, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    house.sign_in(page)
    for path in ("", "flows/analytics"):
        page.goto(house.admin(path))
        bare = page.locator(".stats").evaluate(
            "frame => { const inside = frame.getBoundingClientRect();"
            " const tiles = [...frame.children].map((tile) => tile.getBoundingClientRect());"
            " const rows = Map.groupBy(tiles, (tile) => tile.top);"
            " return [...rows.values()].map((row) => inside.right - Math.max(...row.map((tile) => tile.right))).filter((gap) => gap > 2) }"
        )
        assert bare == [], (path, "a row of tiles ends before the frame does")
    page.goto(house.admin("settings"))
    tabs = page.get_by_role("navigation", name="Settings").get_by_role("link").all()
    boxes = [tab.bounding_box() for tab in tabs]
    assert len(boxes) == 8
    assert [box for box in boxes if box is None or box["x"] + box["width"] > width] == []
    context.close()
