"""Every request the gateway can send is one that Stripe's own SDK would accept, and every answer of the local Stripe reads as ours."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connect_app.stripe_gateway import account, calls, errors, gateway
from connect_app.stripe_gateway.calls import Call
from connect_app.stripe_gateway.objects import Status, Subscription
from jobs import plans
from jobs.plans import previews
from sandbox.stripe import LocalStripe, seed
from sandbox.stripe.sdk import LocalClient
from tests.contract import checks

RETURN_URL = "https://shop.example/billing"
WEBHOOK_URL = "https://holdfast.example/webhooks/stripe"


@pytest.fixture
def local() -> LocalStripe:
    planted = LocalStripe()
    seed.plant(planted)
    planted.connections[planted.seeded["account"], False] = "read_write"
    return planted


@pytest.fixture
def platform(local: LocalStripe) -> gateway.Gateway:
    return gateway.Gateway(
        mode="test",
        secret_key=local.keys[False],
        client_id=local.client_ids[False],
        api_base=None,
        connect_base=None,
        connect_timeout=1,
        read_timeout=1,
        http_client=LocalClient(local),
    )


@pytest.fixture
def shop(local: LocalStripe, platform: gateway.Gateway) -> account.AccountGateway:
    return platform.account(local.seeded["account"])


def of_shape(local: LocalStripe, shop: account.AccountGateway, shape: str) -> Subscription:
    name = next(row["subscription"] for row in local.seeded["customers"] if row["shape"] == shape)
    return shop.subscription(name).value


def check_all(local: LocalStripe) -> set[str]:
    """Check every request so far; says which methods and folders they were."""
    for request in local.requests:
        checks.check_form(request["method"], request["path"], request["form"])
    return {request["method"] + " " + request["path"].removeprefix("/v1/").split("/")[0] for request in local.requests}


def test_every_read_is_one_that_stripe_knows(local: LocalStripe, platform: gateway.Gateway, shop: account.AccountGateway) -> None:
    monthly = of_shape(local, shop, "monthly")
    customer = shop.customer(monthly.customer).value
    assert customer.default_payment_method
    assert monthly.items[0].price.product
    assert monthly.latest_invoice
    shop.account()
    shop.payment_method(customer.default_payment_method)
    shop.price(monthly.items[0].price.id)
    shop.product(monthly.items[0].price.product)
    shop.coupon("ARCHIVE30")
    shop.invoice(monthly.latest_invoice)
    pages: list[Callable[..., Any]] = [
        shop.products,
        shop.prices,
        shop.coupons,
        shop.customers,
        shop.subscriptions,
        shop.schedules,
        shop.invoices,
    ]
    for verb in (*pages, shop.portal_configurations):
        first = verb(limit=1).value
        assert first.unreadable == ()
        assert verb(after=first.last_id).value.unreadable == ()
    shop.subscriptions(status="active", customer=monthly.customer)
    shop.invoices(customer=monthly.customer, subscription=monthly.id, status="paid")
    shop.refunded_charges(created={"gte": 1_700_000_000})
    shop.disputed_charges(created={"gte": 1_700_000_000})
    since = datetime.now(UTC) - timedelta(days=1)
    names = gateway.REQUIRED_EVENTS
    for start in range(0, len(names), gateway.EVENT_TYPES_PER_CALL):
        shop.events(types=names[start : start + gateway.EVENT_TYPES_PER_CALL], created_gte=since)
    platform.webhook_endpoints()
    asked = check_all(local)
    assert {"GET account", "GET subscriptions", "GET billing_portal", "GET events", "GET webhook_endpoints"} <= asked


def planned(local: LocalStripe, shop: account.AccountGateway) -> list[Call]:
    """A call of every kind, on the shapes that make them differ."""
    monthly, canceling = of_shape(local, shop, "monthly"), of_shape(local, shop, "already_canceling")
    card = shop.customer(monthly.customer).value.default_payment_method
    assert card
    return [
        calls.add_discount(monthly, coupon="STAY20", action_id="act_1", clear_cancellation=True),
        calls.add_discount(canceling, coupon="TENBACK", action_id="act_2", clear_cancellation=True),
        calls.cancel_at_period_end(monthly, feedback="too_expensive", comment="Too much for us.", action_id="act_3"),
        calls.set_default_payment_method(monthly, payment_method=card, action_id="act_4"),
    ]


def test_every_change_is_one_that_stripe_knows(local: LocalStripe, platform: gateway.Gateway, shop: account.AccountGateway) -> None:
    for call in planned(local, shop):
        checks.check_request("POST", f"/v1/subscriptions/{call.target}", call.params)
        written = shop.write(Call.from_json(call.to_json()), idempotency_key=f"hf:{call.params['metadata']}")
        assert written.value == call.target
    shop.write(calls.undo_cancel(of_shape(local, shop, "monthly"), action_id="act_5"), idempotency_key="hf:undo")
    (configuration,) = shop.portal_configurations().value.items
    assert configuration.cancel_enabled
    assert not shop.close_portal_cancel(configuration.id).value.cancel_enabled
    shop.card_update_session(of_shape(local, shop, "monthly").customer, return_url=RETURN_URL)
    platform.register_webhook_endpoint(WEBHOOK_URL)
    kinds = [effect["kind"] for effect in local.effects]
    assert kinds == ["discount", "discount", "cancel_at_period_end", "payment_method", "undo_cancel"]
    assert {"POST subscriptions", "POST billing_portal", "POST webhook_endpoints"} <= check_all(local)


def test_every_question_about_the_next_bill_is_one_that_stripe_knows(local: LocalStripe, shop: account.AccountGateway) -> None:
    monthly, trialing = of_shape(local, shop, "monthly"), of_shape(local, shop, "trialing")
    [item] = monthly.items
    plain = shop.upcoming({"subscription": monthly.id}).value
    assert (plain.due, plain.at) == (monthly.amount, monthly.current_period_end)
    wishes = [
        (monthly, calls.add_discount(monthly, coupon="HALFOFF", action_id="", clear_cancellation=True)),
        (monthly, calls.change_price(monthly, item, price=item.price.id, proration="none", action_id="", clear_cancellation=True)),
        (
            trialing,
            calls.extend_trial(trialing, trial_end=trialing.current_period_end + timedelta(days=9), action_id="", clear_cancellation=True),
        ),
    ]
    told = []
    for subscription, call in wishes:
        verb = "trial_extension" if "trial_end" in call.params else "discount" if "discounts" in call.params else "plan_change"
        wish = plans.Wish(action_id="", verb=verb, intent={}, customer=subscription.customer, subscription=subscription.id, mode="test")
        asked = previews.asking(wish, plans.Situation(subscription=subscription), plans.Plan(calls=(call,)))
        assert asked is not None
        checks.check_request("POST", "/v1/invoices/create_preview", asked)
        told.append(shop.upcoming(asked).value)
    assert told[0].due < plain.due
    assert told[2].at == trialing.current_period_end + timedelta(days=9)
    assert local.effects == [], "a question changes nothing"


def test_a_second_discount_keeps_the_first(local: LocalStripe, shop: account.AccountGateway) -> None:
    for coupon in ("STAY20", "LOYAL15"):
        call = calls.add_discount(of_shape(local, shop, "monthly"), coupon=coupon, action_id=coupon, clear_cancellation=False)
        shop.write(call, idempotency_key=coupon)
    discounts = of_shape(local, shop, "monthly").discounts
    assert [discount.coupon for discount in discounts] == ["STAY20", "LOYAL15"]
    assert len({discount.id for discount in discounts}) == 2


def test_a_discount_and_the_end_of_the_cancellation_are_one_change(local: LocalStripe, shop: account.AccountGateway) -> None:
    canceling = of_shape(local, shop, "already_canceling")
    assert canceling.is_scheduled_to_cancel
    call = calls.add_discount(canceling, coupon="STAY20", action_id="act_1", clear_cancellation=True)
    shop.write(call, idempotency_key="k")
    found = shop.subscription(canceling.id).value
    assert not found.is_scheduled_to_cancel
    assert [discount.coupon for discount in found.discounts] == ["STAY20"]
    assert len(local.effects) == 1


def test_the_same_call_under_the_same_key_has_one_effect(local: LocalStripe, shop: account.AccountGateway) -> None:
    call = calls.add_discount(of_shape(local, shop, "monthly"), coupon="STAY20", action_id="act_1", clear_cancellation=False)
    first = shop.write(call, idempotency_key="k")
    assert shop.write(Call.from_json(call.to_json()), idempotency_key="k").value == first.value
    assert len(local.effects) == 1


def test_stripes_refusals_arrive_as_their_kinds(local: LocalStripe, platform: gateway.Gateway, shop: account.AccountGateway) -> None:
    scheduled, monthly = of_shape(local, shop, "scheduled"), of_shape(local, shop, "monthly")
    cancel = calls.cancel_at_period_end(scheduled, feedback=None, comment=None, action_id="act_1")
    with pytest.raises(errors.Refused, match="subscription schedule"):
        shop.write(cancel, idempotency_key="schedule")
    expired = calls.add_discount(monthly, coupon="SPRING", action_id="act_2", clear_cancellation=False)
    with pytest.raises(errors.Refused):
        shop.write(expired, idempotency_key="expired")
    shop.write(calls.cancel_at_period_end(monthly, feedback=None, comment=None, action_id="act_3"), idempotency_key="k")
    with pytest.raises(errors.Refused) as caught:
        shop.write(expired, idempotency_key="k")
    assert caught.value.code == "idempotency_error"
    with pytest.raises(errors.Missing):
        shop.subscription("sub_nobody")
    asked = len(local.requests)
    for nobody_s in ("a/../b", "sub_1/items", "sub_1\\x", "..", "sub_\x7f"):
        with pytest.raises(errors.Missing):
            shop.subscription(nobody_s)
    # What cannot be an id of Stripe's is not asked for.
    assert len(local.requests) == asked
    with pytest.raises(errors.AccessLost) as lost:
        platform.account(local.seeded["unconnected_account"]).account()
    assert lost.value.is_disconnected
    assert len(local.effects) == 1


def test_after_a_disconnect_every_call_says_so(platform: gateway.Gateway, shop: account.AccountGateway) -> None:
    assert platform.deauthorize(shop.account_id)
    assert not platform.deauthorize(shop.account_id)
    with pytest.raises(errors.AccessLost):
        shop.customers()


def test_every_seeded_shape_reads_as_what_it_is(local: LocalStripe, shop: account.AccountGateway) -> None:
    assert of_shape(local, shop, "trialing").status is Status.TRIALING
    assert of_shape(local, shop, "past_due").status is Status.PAST_DUE
    assert of_shape(local, shop, "already_canceling").next_charge is None
    assert of_shape(local, shop, "paused").is_paused
    assert of_shape(local, shop, "scheduled").schedule
    assert len(of_shape(local, shop, "multi_item").items) > 1
    assert of_shape(local, shop, "yearly").items[0].price.interval == "year"
