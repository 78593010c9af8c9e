"""Every shape of subscription walks the flow once: the page is true for it, and so is the end."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SETTLED, House
from tests.browser.test_flow import CONFIRM, press


def arrive(page: Page, house: House, shape: str, number: int = 0) -> dict[str, str]:
    row: dict[str, str] = [row for row in house.demo["customers"] if row["shape"] == shape][number]
    page.goto(house.hand_off(row))
    return row


def cancel(page: Page) -> None:
    press(page, "Cancel now")
    press(page, CONFIRM)
    expect(page.get_by_role("heading", name="Your subscription is canceled")).to_be_visible(timeout=SETTLED)


def undo(page: Page) -> None:
    press(page, "Undo the cancellation")
    expect(page.get_by_text(re.compile("continues$"))).to_be_visible(timeout=SETTLED)


def state(house: House, row: dict[str, str]) -> bool:
    """Whether Stripe says that this subscription will end."""
    found = house.stripe("GET", f"subscriptions/{row['subscription']}")
    return bool(found["cancel_at_period_end"] or found["cancel_at"])


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ("monthly", "Cancel Pro?"),
        ("yearly", "Cancel Pro?"),
        ("trialing", "Your trial runs until"),
        ("past_due", "Your last payment did not go through"),
        ("paused", "Your subscription is paused"),
        ("multi_item", "Cancels all of"),
        ("two_subscriptions", "Which of your subscriptions?"),
    ],
)
def test_a_subscription_that_can_be_canceled_is_and_can_be_taken_back(page: Page, untouched_house: House, shape: str, told: str) -> None:
    house = untouched_house
    row = arrive(page, house, shape)
    press(page, "Cancel now")
    expect(page.get_by_text(told).first).to_be_visible()
    press(page, CONFIRM)
    expect(page.get_by_role("heading", name="Your subscription is canceled")).to_be_visible(timeout=SETTLED)
    assert state(house, row)
    assert [effect["kind"] for effect in house.effects(row["subscription"])] == ["cancel_at_period_end"]
    undo(page)
    assert not state(house, row)


def test_return_beside_a_choice_cancels_nothing(page: Page, untouched_house: House) -> None:
    house = untouched_house
    row = arrive(page, house, "two_subscriptions")
    press(page, "Cancel now")
    posted: list[str] = []
    page.on("request", lambda asked: posted.append(asked.url) if asked.method == "POST" else None)
    scope = page.get_by_role("radio", name="of my subscriptions")
    scope.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("radio", name="Only")).to_be_checked()
    press(page, "Never mind, keep my subscription")
    expect(page.get_by_role("heading", name="stays as it is")).to_be_visible()
    assert not [url for url in posted if url.endswith("/confirm")]
    assert not state(house, row)


def test_one_of_two_subscriptions_leaves_the_other_alone(page: Page, untouched_house: House) -> None:
    house = untouched_house
    other = house.subscription("two_subscriptions")
    row = arrive(page, house, "two_subscriptions", 1)
    before = len(house.effects(other["subscription"]))
    cancel(page)
    assert state(house, row)
    assert len(house.effects(other["subscription"])) == before


def test_a_canceling_subscription_is_told_so_and_can_be_taken_back(page: Page, untouched_house: House) -> None:
    house = untouched_house
    row = arrive(page, house, "already_canceling")
    expect(page.get_by_role("heading", name=re.compile("is set to end on"))).to_be_visible()
    expect(page.get_by_text("Ends on")).to_be_visible()
    assert state(house, row)
    undo(page)
    assert not state(house, row)
    assert [effect["kind"] for effect in house.effects(row["subscription"])] == ["undo_cancel"]


def test_a_trial_is_promised_and_given_an_end_without_a_charge(page: Page, untouched_house: House) -> None:
    house = untouched_house
    arrive(page, house, "trialing")
    cancel(page)
    expect(page.get_by_text("Your trial ends without a charge.")).to_be_visible()


def test_a_subscription_under_a_schedule_ends_with_its_period(page: Page, untouched_house: House) -> None:
    house = untouched_house
    row = arrive(page, house, "scheduled")
    press(page, "Cancel now")
    press(page, CONFIRM)
    expect(page.get_by_role("heading", name="Your subscription is canceled")).to_be_visible(timeout=SETTLED)
    assert state(house, row)
    assert house.stripe("GET", f"subscriptions/{row['subscription']}")["schedule"] is None


def test_a_past_due_customer_gives_a_new_card_and_the_subscription_follows(page: Page, untouched_house: House) -> None:
    house = untouched_house
    row = house.subscription("past_due")
    before = house.stripe("GET", f"subscriptions/{row['subscription']}")
    page.goto(house.portal(row["customer"]))
    press(page, "Update card")
    page.get_by_role("link", name="Continue to Stripe").click()
    expect(page).to_have_url(re.compile(f"^{re.escape(house.demo['stripe_url'])}"))
    page.get_by_role("button", name="Save card").click()
    expect(page).to_have_url(re.compile(f"^{re.escape(house.demo['base_url'])}"))

    def method(found: dict[str, object]) -> object:
        return found["default_payment_method"]

    customer = house.stripe("GET", f"customers/{row['customer']}")["invoice_settings"]
    for _ in range(SETTLED // 250):
        after = house.stripe("GET", f"subscriptions/{row['subscription']}")
        if method(after) in (None, method(customer)):
            break
        page.wait_for_timeout(250)
    assert method(after) in (None, method(customer))
    assert method(customer) != method(before)


def test_a_canceled_subscription_is_told_so(page: Page, untouched_house: House) -> None:
    house = untouched_house
    row = house.newcomer()
    house.stripe("POST", f"subscriptions/{row['subscription']}", **{"metadata[seen]": "yes"})
    house.running.control("POST", f"objects/{row['subscription']}", {"status": "canceled"})
    house.mirrored(row["subscription"], "canceled")
    page.goto(house.hand_off(row))
    expect(page.get_by_role("heading", name=re.compile("is already canceled$"))).to_be_visible()
    expect(page.get_by_text("There is nothing left to cancel")).to_be_visible()


def test_an_unknown_subscription_walks_the_plain_flow_and_is_left_to_the_team(page: Page, untouched_house: House) -> None:
    house = untouched_house
    row = {"customer": house.subscription("monthly")["customer"], "subscription": "sub_nobodyknowsthisone"}
    page.goto(house.hand_off(row))
    press(page, CONFIRM)
    expect(page.get_by_role("heading", name="We have received your request")).to_be_visible(timeout=SETTLED)
