"""A card given on Stripe's page is charged for every running subscription of its customer, and for nobody else's."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select, text

from connect_app import config
from connect_app.models import Action, PortalLink
from jobs import queues, work
from sandbox.stripe import accounts, customers, payment_methods
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import Stage


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local) as opened:
        opened.client.before.append(ledgers.held_open(opened))
        yield opened


def card(stage: Stage, customer: str) -> str:
    """A new card on the customer's file."""
    ctx = Context(local=stage.local, world=stage.local.world(stage.account, False), source="portal")
    made = payment_methods.make_card(ctx, payment_methods.GOOD, name="A", email="a@mail.example")
    return str(payment_methods.attach(ctx, made["id"], {"customer": customer})["id"])


def give_card(stage: Stage, customer: str) -> str:
    """The customer gives a card on Stripe's page, and it becomes their default."""
    new = card(stage, customer)
    ctx = Context(local=stage.local, world=stage.local.world(stage.account, False), source="portal")
    customers.update(ctx, customer, {"invoice_settings": {"default_payment_method": new}})
    return new


def follow(stage: Stage, customer: str) -> work.End | None:
    link = stage.all(select(PortalLink).where(PortalLink.customer == customer))
    link_id = link[0].id if link else stage.portal_link(customer)
    with stage.rt.transaction(stage.workspace_id) as session:
        queues.enqueue(session, "follow_card", link_id, stage.workspace_id, due_at=stage.rt.now())
    return stage.work(link_id, "follow_card")


def tried_for_hours(stage: Stage) -> None:
    """As if the work had failed as often as it may but once."""
    with stage.rt.transaction() as session:
        session.execute(
            text("update work set attempts = :most where kind = 'follow_card'"), {"most": queues.KINDS["follow_card"].attempts - 1}
        )


def test_a_subscription_with_a_card_of_its_own_follows_the_new_one(stage: Stage) -> None:
    customer, sub = stage.shapes["monthly"]
    old = card(stage, customer)
    stage.change(sub, default_payment_method=old)
    new = give_card(stage, customer)
    assert isinstance(follow(stage, customer), work.Done)
    [action] = stage.all(select(Action))
    assert (action.verb, action.intent) == ("payment_method", {"payment_method": new})
    assert stage.run(action).state == "verified"
    assert stage.stripe_says(sub)["default_payment_method"] == new
    assert stage.effects(sub) == ["payment_method"]
    # Asked again, there is nothing left to do.
    follow(stage, customer)
    assert len(stage.all(select(Action))) == 1


def test_a_subscription_without_one_is_left_alone(stage: Stage) -> None:
    customer, sub = stage.shapes["monthly"]
    assert stage.stripe_says(sub)["default_payment_method"] is None
    give_card(stage, customer)
    follow(stage, customer)
    assert stage.all(select(Action)) == []


def test_every_running_subscription_of_the_customer_follows_and_ended_ones_do_not(stage: Stage) -> None:
    customer, _ = stage.shapes["two_subscriptions"]
    subs = [sub["id"] for sub in stage.local.world(stage.account, False).all("subscription", customer=customer)]
    old = card(stage, customer)
    for sub in subs:
        stage.change(sub, default_payment_method=old)
    stage.change(subs[0], status="canceled")
    give_card(stage, customer)
    follow(stage, customer)
    assert [action.subscription for action in stage.all(select(Action))] == subs[1:]


def test_it_waits_for_another_action_of_the_subscription(stage: Stage) -> None:
    customer, sub = stage.shapes["monthly"]
    stage.change(sub, default_payment_method=card(stage, customer))
    cancel = stage.ask("monthly", "cancel")
    new = give_card(stage, customer)
    assert isinstance(follow(stage, customer), work.Again)
    stage.run(cancel)
    follow(stage, customer)
    [action] = stage.all(select(Action).where(Action.verb == "payment_method"))
    assert stage.run(action).state == "verified"
    assert stage.stripe_says(sub)["default_payment_method"] == new


def test_stripes_bad_day_is_waited_for_and_a_lost_account_is_not(stage: Stage) -> None:
    customer, _ = stage.shapes["monthly"]
    give_card(stage, customer)
    stage.fault("500", "/v1/customers/*", times=1)
    assert isinstance(follow(stage, customer), work.Again)
    stage.owner()
    accounts.disconnect(stage.local, stage.account, False)
    assert isinstance(follow(stage, customer), work.GiveUp)
    [told] = [one.payload for one in stage.letters()]
    assert "new card is not used" in told["subject"]
    assert f"/customers/{customer}" in told["text"]


def test_a_card_waits_for_another_action_as_long_as_that_may_take(stage: Stage) -> None:
    customer, sub = stage.shapes["monthly"]
    stage.change(sub, default_payment_method=card(stage, customer))
    cancel = stage.ask("monthly", "cancel")
    give_card(stage, customer)
    assert isinstance(follow(stage, customer), work.Again)
    [waits] = stage.work_rows("follow_card")
    tried_for_hours(stage)
    assert isinstance(stage.work(waits.row_id, "follow_card"), work.Again)
    stage.run(cancel)
    assert isinstance(stage.work(waits.row_id, "follow_card"), work.Done)
    [action] = stage.all(select(Action).where(Action.verb == "payment_method"))
    assert stage.run(action).state == "verified"


def test_a_card_that_could_not_be_followed_for_hours_is_told_to_the_owners(stage: Stage) -> None:
    customer, _ = stage.shapes["monthly"]
    stage.owner()
    give_card(stage, customer)
    stage.fault("500", "/v1/customers/*")
    assert isinstance(follow(stage, customer), work.Again)
    [waits] = stage.work_rows("follow_card")
    tried_for_hours(stage)
    assert isinstance(stage.work(waits.row_id, "follow_card"), work.GiveUp)
    assert len(stage.letters()) == 1
