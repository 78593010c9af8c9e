"""What subscriptions are called, so that a customer knows which is which."""

from flow_pages import spoken
from tests.unit.test_plan_table import DAY, START, item, subscription

PLANS = {"prod_1": "Team", "prod_9": "Archive"}


def test_two_of_one_name_are_told_apart_by_price_and_beginning_and_others_keep_their_name() -> None:
    first = subscription(item(quantity=1), id="sub_1", start_date=START - 400 * DAY)
    second = subscription(item(quantity=1), id="sub_2")
    other = subscription(item(id="price_9", product="prod_9"), id="sub_3")
    called = spoken.told_apart([first, second, other], PLANS, "en")
    assert called == {
        "sub_1": "Team ($29.00 per month, since October 8, 2025)",
        "sub_2": "Team ($29.00 per month, since November 12, 2026)",
        "sub_3": "Archive",
    }
