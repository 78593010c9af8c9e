"""Offers in a real browser: picked and taken by keyboard on a page of their own, and in the modal on another site."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import FrameLocator, Page, expect
from sqlalchemy import select

from connect_app.admin import flows
from connect_app.models import Workspace
from flow_pages import document
from tests.browser.conftest import SETTLED, House
from tests.browser.test_flow import no_problems

COPY = {"id": "the_offer", "headline": "Would this help?", "accept": "Yes please", "decline": "No thanks"}
NARROW = {"width": 320, "height": 700}


Offers = Callable[..., None]


@pytest.fixture
def offers(house: House) -> Iterator[Offers]:
    """`offers(kind, …)`: the house's default flow opens with this one offer, until the test is over."""
    rt = house.running.runtime()
    with rt.transaction() as session:
        workspace = session.execute(select(Workspace.id).where(Workspace.slug == house.demo["workspace"])).scalar_one()

    def publish(flow: document.Flow) -> None:
        with rt.transaction(workspace) as session:
            flow_id = flows.listing(session, workspace, "test")[0].id
            flows.publish(session, workspace, flow_id, flow, rt.now(), "operator")

    with rt.transaction(workspace) as session:
        before = flows.default_document(session, workspace)

    def make(kind: str, **more: Any) -> None:
        changed = {"survey": None, "offers": [{**COPY, "kind": kind, **more}], "opening": [COPY["id"]], "closing": []}
        publish(document.parse({**before.as_json(), **changed}))

    try:
        yield make
    finally:
        publish(before)
        rt.close()


def tab_to(page: Page, name: str, role: Any = "button") -> None:
    """By the keyboard alone."""
    for _ in range(25):
        page.keyboard.press("Tab")
        if page.get_by_role(role, name=name).first.evaluate("at => at === document.activeElement"):
            return
    pytest.fail(f"{name} cannot be reached by keyboard", pytrace=False)


def test_a_pause_is_picked_taken_and_ended_by_keyboard(page: Page, house: House, offers: Offers) -> None:
    offers("pause", interval="month", count=2, least=2, most=4)
    row = house.newcomer()
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    page.goto(house.hand_off(row))
    no_problems(page)
    tab_to(page, "2 months", "radio")
    # To pick is not to take: Return beside the lengths presses nothing.
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="3 months")).to_be_checked()
    accept, decline = (page.get_by_role("button", name=COPY[name]).bounding_box() for name in ("accept", "decline"))
    assert accept is not None
    assert decline is not None
    assert (accept["width"], accept["height"]) == (decline["width"], decline["height"]), "neither answer weighs more"
    tab_to(page, COPY["accept"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="is paused until")).to_be_visible(timeout=SETTLED)
    no_problems(page)
    tab_to(page, "End the pause now")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="goes on")).to_be_visible(timeout=SETTLED)
    assert [effect["kind"] for effect in house.effects(row["subscription"])][-2:] == ["pause", "resume"]


def framed(page: Page, house: House, url: str) -> FrameLocator:
    """The flow in a frame on the business's own page, which is another site: no cookies, and no way out but by a link to the top."""
    page.goto(house.demo["shop_url"])
    page.evaluate(
        """url => {
            const frame = document.createElement("iframe");
            Object.assign(frame, {src: url, width: 420, height: 760, id: "flow"});
            document.body.replaceChildren(frame);
        }""",
        url,
    )
    return page.frame_locator("#flow")


def test_a_plan_is_picked_and_taken_in_a_frame_on_another_site(page: Page, house: House, offers: Offers) -> None:
    row = house.newcomer()
    [has] = house.stripe("GET", f"subscriptions/{row['subscription']}")["items"]["data"]
    plans = [
        price["id"] for price in house.stripe("GET", "prices", limit=100)["data"] if _is_plan(price) and price["id"] != has["price"]["id"]
    ]
    offers("plan_change", prices={"test": plans[:2]}, when="now")
    frame = framed(page, house, house.hand_off(row))
    expect(frame.get_by_role("radio")).to_have_count(2)
    frame.get_by_role("radio").last.check()
    frame.get_by_role("button", name=COPY["accept"]).click()
    expect(frame.get_by_role("heading", name="Thank you for staying")).to_be_visible(timeout=SETTLED)
    [now] = house.stripe("GET", f"subscriptions/{row['subscription']}")["items"]["data"]
    assert (now["price"]["id"], now["quantity"]) == (plans[1], has["quantity"])


def test_a_link_offer_leaves_the_frame_at_the_top(page: Page, house: House, offers: Offers) -> None:
    offers("link", url="https://help.example/talk?plan={{ plan_name }}", is_signed=True)
    frame = framed(page, house, house.hand_off(house.newcomer()))
    page.route("https://help.example/**", lambda route: route.fulfill(body="Let us talk"))
    frame.get_by_role("button", name=COPY["accept"]).click()
    frame.get_by_role("link", name=COPY["accept"]).click()
    expect(page.get_by_text("Let us talk")).to_be_visible()
    assert page.url.startswith("https://help.example/talk?plan=")
    assert "&holdfast_signature=" in page.url


def _is_plan(price: dict[str, Any]) -> bool:
    recurring = price["recurring"] or {}
    is_licensed = recurring.get("usage_type") == "licensed" and price["billing_scheme"] == "per_unit"
    return bool(price["active"] and price["currency"] == "usd" and recurring.get("interval") == "month" and is_licensed)
