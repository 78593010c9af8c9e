"""What a change did to the money is read back from Stripe and told: the bill it made, what comes next, what is open; and never guessed."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from connect_app import config, money
from connect_app.models import Action, Choice
from connect_app.money import Money
from flow_pages import outcome
from jobs import budget, letters, receipts, work
from jobs.actions import bills, look
from sandbox.stripe import catalogue, invoice_items, shapes
from sandbox.stripe import customers as stripe_customers
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.worlds import clone
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import Stage

NOW = {"when": "now", "invoice_now": True, "prorate": True, "open_invoices": "keep"}
AT_THE_END = {"when": "period_end", "open_invoices": "keep"}
OLD_WORDS = "What had not been billed yet, if there is anything, comes on a last invoice."


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local) as opened:
        opened.client.before.append(ledgers.held_open(opened))
        yield opened


def at_stripe(stage: Stage) -> Context:
    return Context(local=stage.local, world=stage.local.world(stage.account, False), source="dashboard", request_id="req_shop")


def done(stage: Stage, shape: str, verb: str, intent: dict[str, Any], *, owing: int = 0) -> Action:
    """A customer with a subscription of this shape, to whose next invoice so much is added, asks, and it is done."""
    whose = shapes.make(stage.local, {"account": stage.account, "shape": shape})
    if owing:
        invoice_items.create(at_stripe(stage), {"customer": whose["customer"], "subscription": whose["subscription"], "amount": owing})
    action = stage.run(stage.ask("monthly", verb, intent, customer=whose["customer"], subscription=whose["subscription"]))
    assert action.state == "verified", action.message
    return action


def known(stage: Stage, action: Action) -> receipts.Bills:
    return receipts.of_receipt(stage.receipt(action))


def told(stage: Stage, action: Action) -> tuple[str, dict[str, str]]:
    """The sentence and the facts of the done page."""
    with stage.rt.transaction(stage.workspace_id) as session:
        found = [one for one in outcome.of_session(session, action.session_id or "") if one.action.id == action.id]
        offer = session.execute(select(Choice.offer).where(Choice.id == action.choice_id)).scalar_one_or_none()
    [line] = outcome.lines(found, offer=offer, business="Fernhill", locale="en", now=stage.rt.now(), resumes_at=None, owing=())
    return line.text, dict(line.facts)


def letter(stage: Stage, action: Action) -> str:
    return next(str(one.payload["text"]) for one in stage.letters() if one.topic == f"action/{action.id}/settled")


def renewal(stage: Stage, action: Action) -> datetime:
    return datetime.fromtimestamp(stage.stripe_says(action.subscription)["items"]["data"][0]["current_period_end"], UTC)


def day(at: datetime) -> str:
    return f"{at:%B} {at.day}, {at.year}"


def steps(stage: Stage, action: Action) -> list[str]:
    found = [attempt.step for attempt in stage.attempts(action)]
    return found[found.index("read_back") + 1 :]


# The bill that a change made.


def test_a_last_invoice_that_was_paid_is_told_with_its_amount(stage: Stage) -> None:
    action = done(stage, "monthly", "cancel", {**NOW, "prorate": False}, owing=1200)
    text, facts = told(stage, action)
    assert text.endswith("A last invoice of $12.00 was paid.")
    assert facts == {}
    assert "A last invoice of $12.00 was paid." in letter(stage, action)
    assert steps(stage, action) == ["last_invoice"], "nothing comes after an end: that is not asked"


def test_a_last_invoice_that_could_not_be_charged_is_told_to_be_open(stage: Stage) -> None:
    action = done(stage, "past_due", "cancel", {**NOW, "prorate": False}, owing=1200)
    text, facts = told(stage, action)
    assert "A last invoice of $12.00 is open." in text
    assert facts == {"Still open": "$29.00"}, "without the last one, which is told of by itself"
    for said in ("A last invoice of $12.00 is open.", "$29.00 is still open."):
        assert said in letter(stage, action)


def test_beside_usage_only_the_day_of_the_next_charge_is_told(stage: Stage) -> None:
    action = done(stage, "licensed_and_metered", "discount", {"offer_id": "off_1", "coupon": "HALFOFF"})
    assert told(stage, action)[1]["Next charge"] == f"On {day(renewal(stage, action))}, by your usage until then"


def test_a_bill_from_before_the_change_is_not_told_as_its_own(stage: Stage) -> None:
    account, late = stage.rt.stripe("test").account(stage.account), stage.rt.now() + timedelta(hours=1)
    after = account.subscription(shapes.make(stage.local, {"account": stage.account, "shape": "monthly"})["subscription"]).value
    before = dataclasses.replace(after, latest_invoice="in_older")
    changes = [bills.Change(before=before, after=after, since=since, may_owe=False) for since in (after.created, late)]
    assert [bills.read(account, look.plainly, change).made is None for change in changes] == [False, True]


def test_of_more_open_bills_than_one_page_holds_no_sum_is_told(stage: Stage) -> None:
    whose, world = shapes.make(stage.local, {"account": stage.account, "shape": "past_due"}), at_stripe(stage).world
    account = stage.rt.stripe("test").account(stage.account)
    after = account.subscription(whose["subscription"]).value
    change = bills.Change(before=after, after=after, since=None, may_owe=True)
    assert bills.read(account, look.plainly, change).open == (Money(2900, "usd"),)
    for number in range(100):
        world.put({**clone(world.get("invoice", after.latest_invoice or "")), "id": f"in_more_{number}"})
    assert bills.read(account, look.plainly, change).open is None


def test_a_credit_is_told_to_be_credited_and_nothing_to_be_nothing(stage: Stage) -> None:
    credited = done(stage, "monthly", "cancel", NOW, owing=-700)
    [bill] = known(stage, credited).made or ()
    assert bill.total.amount < -700, "the time that was left, and the seven dollars"
    amount = money.format(-bill.total, "en")
    assert f"{amount} was credited to your account." in told(stage, credited)[0]
    assert f"{amount} was credited to your account." in letter(stage, credited)
    nothing = done(stage, "monthly", "cancel", {**NOW, "prorate": False})
    assert known(stage, nothing).made == ()
    assert told(stage, nothing)[0].endswith("Nothing was left to bill.")
    assert steps(stage, nothing) == []


def test_what_the_customers_credit_paid_is_told_apart_from_what_they_paid(stage: Stage) -> None:
    whose = shapes.make(stage.local, {"account": stage.account, "shape": "monthly"})
    ctx = at_stripe(stage)
    stripe_customers.update(ctx, whose["customer"], {"balance": -500})
    invoice_items.create(ctx, {"customer": whose["customer"], "subscription": whose["subscription"], "amount": 1200})
    wanted = {**NOW, "prorate": False}
    action = stage.run(stage.ask("monthly", "cancel", wanted, customer=whose["customer"], subscription=whose["subscription"]))
    assert "A last invoice of $12.00 was paid: $7.00 of it by you, the rest from your credit." in told(stage, action)[0]


# What comes next.


@pytest.mark.parametrize(("shape", "amount"), [("monthly", "$7.50"), ("jpy", "¥750"), ("kwd", "KWD\N{NO-BREAK SPACE}0.750")])
def test_an_end_of_the_period_with_something_pending_has_a_last_charge(stage: Stage, shape: str, amount: str) -> None:
    action = done(stage, shape, "cancel", AT_THE_END, owing=750)
    _, facts = told(stage, action)
    assert facts["Last charge"] == f"{amount} on {day(renewal(stage, action))}"
    assert "Next charge" not in facts
    assert f"A last charge comes: {amount} on {day(renewal(stage, action))}." in letter(stage, action)


def test_no_charge_comes_only_where_stripe_said_so(stage: Stage) -> None:
    action = done(stage, "monthly", "cancel", AT_THE_END)
    assert known(stage, action) == receipts.Bills(made=(), coming=())
    assert told(stage, action)[1]["Next charge"] == "None"
    assert [attempt.problem for attempt in stage.attempts(action)] == [None] * 4, "that nothing comes is an answer, no failure"
    stage.fault("500", "*create_preview")
    unknown = done(stage, "monthly", "cancel", AT_THE_END)
    assert told(stage, unknown)[1]["Next charge"] == "No renewal"


def test_a_preview_that_is_refused_for_another_reason_does_not_mean_that_nothing_comes(stage: Stage) -> None:
    whose = shapes.make(stage.local, {"account": stage.account, "shape": "monthly"})
    table, hidden = stage.local.world(stage.account, False).table("subscription"), []

    def hide(_method: str, url: str) -> None:
        if url.endswith("/create_preview"):
            hidden.append(table.pop(whose["subscription"]))

    def show(_method: str, url: str) -> None:
        if url.endswith("/create_preview"):
            table[whose["subscription"]] = hidden[0]

    stage.client.before.append(hide)
    stage.client.after.append(show)
    action = stage.run(stage.ask("monthly", "cancel", AT_THE_END, customer=whose["customer"], subscription=whose["subscription"]))
    assert hidden
    assert action.state == "verified"
    assert known(stage, action) == receipts.Bills(made=())


def test_usage_until_then_is_never_told_to_cost_nothing(stage: Stage) -> None:
    action = done(stage, "metered", "cancel", AT_THE_END)
    assert "None" not in told(stage, action)[1].values()


def test_a_discount_is_told_with_the_exact_next_charge(stage: Stage) -> None:
    action = done(stage, "monthly", "discount", {"offer_id": "off_1", "coupon": "STAY20", "headline": "20% off"})
    assert told(stage, action)[1]["Next charge"] == f"$23.20 on {day(renewal(stage, action))}"
    assert f"The next charge is $23.20 on {day(renewal(stage, action))}." in letter(stage, action)


def test_a_pause_is_not_asked_what_comes_next(stage: Stage) -> None:
    action = stage.run(
        stage.ask("monthly", "pause", {"offer_id": "off_1", "resumes_at": f"{stage.rt.now().year + 1}-12-01T00:00:00+00:00"})
    )
    assert action.state == "verified"
    assert steps(stage, action) == []


# Another plan.


def price_at(stage: Stage, amount: int, interval: str = "month") -> str:
    price = catalogue.create_price(
        at_stripe(stage),
        {
            "unit_amount": amount,
            "currency": "usd",
            "recurring": {"interval": interval},
            "product": stage.stripe_says(stage.shapes["monthly"][1])["items"]["data"][0]["price"]["product"],
        },
    )
    return str(price["id"])


def plan_change(stage: Stage, proration: str, amount: int, when: str = "now", interval: str = "month") -> Action:
    intent = {"offer_id": "off_1", "price": price_at(stage, amount, interval), "when": when, "proration": proration}
    return done(stage, "monthly", "plan_change", intent)


def test_who_cannot_be_charged_for_another_plan_is_told_that_and_what_helps(stage: Stage) -> None:
    whose = shapes.make(stage.local, {"account": stage.account, "shape": "monthly"})
    stage.control("POST", "misfortunes", {"subscription": whose["subscription"], "kind": "card_declines"})
    intent = {"offer_id": "off_1", "price": price_at(stage, 5900), "when": "now", "proration": "always_invoice"}
    waiting = stage.run(stage.ask("monthly", "plan_change", intent, customer=whose["customer"], subscription=whose["subscription"]))
    assert (waiting.state, waiting.code) == ("manual", "payment_declined")
    assert "card_declined" in (waiting.message or "")
    assert "did not go through, so it has not been done. With another card you can ask for it again." in told(stage, waiting)[0]
    assert "your payment for it did not go through" in letters.received(waiting, "Fernhill").text


@pytest.mark.parametrize(
    ("proration", "amount", "says"),
    [
        ("none", 900, "Nothing was charged for the change."),
        (
            "create_prorations",
            900,
            "Nothing was charged for it now; what the change comes to, if anything, is counted in with your next charge.",
        ),
        ("always_invoice", 900, "was credited to your account."),
        ("always_invoice", 5900, "was paid."),
    ],
)
def test_another_plan_says_what_it_cost_and_exactly_what_comes_next(stage: Stage, proration: str, amount: int, says: str) -> None:
    action = plan_change(stage, proration, amount)
    bills = known(stage, action)
    text, facts = told(stage, action)
    assert text.endswith(says)
    assert len(bills.made or ()) == (proration == "always_invoice")
    if bills.made:
        [last] = [
            one for one in at_stripe(stage).world.all("invoice") if one["id"] == stage.stripe_says(action.subscription)["latest_invoice"]
        ]
        assert bills.made[0].total == Money(last["total"], "usd")
        assert says in letter(stage, action)
    assert bills.coming is not None
    [charge] = bills.coming
    assert charge.amount is not None
    assert facts["Next charge"] == f"{money.format(charge.amount, 'en')} on {day(renewal(stage, action))}"
    whole = Money(amount, "usd")
    assert (charge.amount == whole) == (proration == "none" or amount == 5900), "what is left of the month is counted in"


def test_a_plan_of_the_next_period_is_told_with_its_first_charge(stage: Stage) -> None:
    action = plan_change(stage, "none", 900, when="period_end")
    # Stripe is asked for the schedule's next bill: the subscription's own would be at the present price.
    [asked] = [request["form"] for request in stage.local.requests if request["path"].endswith("/create_preview")]
    assert "schedule=" in str(asked)
    assert stage.stripe_says(action.subscription)["schedule"] is not None
    assert told(stage, action)[1]["Next charge"] == f"$9.00 on {day(renewal(stage, action))}"


# What is open.


def test_a_past_due_customer_is_told_what_is_open_whatever_they_asked_for(stage: Stage) -> None:
    canceled = done(stage, "past_due", "cancel", AT_THE_END)
    _, facts = told(stage, canceled)
    assert (facts["Still open"], facts["Charges after that"]) == ("$29.00", "None")
    assert "$29.00 is still open." in letter(stage, canceled)
    voided = done(stage, "past_due", "cancel", {**NOW, "open_invoices": "void"})
    assert known(stage, voided).open == ()
    assert "you no longer owe it" in told(stage, voided)[0]
    discounted = done(stage, "past_due", "discount", {"offer_id": "off_1", "coupon": "STAY20", "headline": "20% off"})
    _, facts = told(stage, discounted)
    assert (facts["Still open"], facts["Next charge"]) == ("$29.00", f"$23.20 on {day(renewal(stage, discounted))}")


# A Stripe that does not say.


@pytest.mark.parametrize("kind", ["500", "reset", "429", "lock_timeout"])
def test_what_stripe_does_not_tell_holds_nothing_up_and_is_told_as_before(stage: Stage, kind: str) -> None:
    stage.fault(kind, "/v1/invoices/*")
    action = done(stage, "monthly", "cancel", {**NOW, "prorate": False}, owing=1200)
    assert known(stage, action) == receipts.UNKNOWN
    assert OLD_WORDS in told(stage, action)[0]
    assert OLD_WORDS in letter(stage, action)
    assert len(steps(stage, action)) == 1
    assert stage.outcome(action) == ("canceled", None)


@pytest.mark.parametrize("kind", ["500", "reset", "429"])
def test_another_plan_whose_price_stripe_does_not_tell_is_told_as_before(stage: Stage, kind: str) -> None:
    stage.fault(kind, "/v1/invoices/*")
    action = plan_change(stage, "always_invoice", 5900)
    text, facts = told(stage, action)
    assert text.endswith("If something was charged for the change, your invoices show it.")
    assert facts["Next charge"] == day(renewal(stage, action))


def test_an_account_that_is_told_to_slow_down_meanwhile_has_its_change_verified_at_once(stage: Stage) -> None:
    def refused(_method: str, url: str) -> None:
        if url.endswith("/create_preview"):
            budget.hold(stage.rt, stage.account, stage.mode, is_first=False)

    stage.client.before.append(refused)
    stage.fault("429", "/v1/invoices/*")
    action = stage.ask("monthly", "cancel", AT_THE_END)
    assert isinstance(stage.work(action.id), work.Done)
    assert (stage.now(action).state, steps(stage, action)) == ("verified", ["next_invoice"])


def test_a_turn_whose_lease_is_nearly_over_asks_nothing_more(stage: Stage) -> None:
    slow = stage.rt.settings.model_copy(update={"holdfast_stripe_read_timeout": 58.0})
    stage.rt = dataclasses.replace(stage.rt, settings=slow)
    action = stage.ask("monthly", "cancel", AT_THE_END)
    while not isinstance(stage.work(action.id), work.Done):
        pass
    assert known(stage, stage.now(action)) == receipts.UNKNOWN
    assert steps(stage, action) == []


def test_no_change_asks_more_than_twice(stage: Stage) -> None:
    action = done(stage, "past_due", "cancel", NOW, owing=1200)
    assert steps(stage, action) == ["last_invoice", "open_invoices"]
    assert steps(stage, done(stage, "send_invoice", "cancel", AT_THE_END)) == ["next_invoice", "open_invoices"]
    assert steps(stage, plan_change(stage, "always_invoice", 5900)) == ["last_invoice", "next_invoice"]


def test_a_renewal_between_the_change_and_its_proof_is_not_told_as_the_changes_bill(stage: Stage) -> None:
    whose = shapes.make(stage.local, {"account": stage.account, "shape": "monthly"})
    wanted = {"offer_id": "off_1", "coupon": "STAY20", "headline": "20% off"}
    action = stage.ask("monthly", "discount", wanted, customer=whose["customer"], subscription=whose["subscription"])
    first = stage.stripe_says(action.subscription)["latest_invoice"]

    def renewed(method: str, url: str) -> None:
        if method == "post" and url.endswith(action.subscription):
            stage.client.after.clear()
            stage.control("POST", "clock", {"advance": 32 * 86400})

    stage.client.after.append(renewed)
    assert stage.run(action).state == "verified"
    assert stage.stripe_says(action.subscription)["latest_invoice"] != first
    assert known(stage, action).made is None
    assert "was paid" not in letter(stage, action)
