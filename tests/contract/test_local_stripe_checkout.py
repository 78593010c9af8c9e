"""Checkout in setup mode: a page that takes a card, the session and intent it settles, and the door that tells what Stripe would refuse."""

import json
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import stripe

from sandbox.stripe.wire import Reply, Request
from tests.contract import checks
from tests.contract.conftest import Shop
from tests.contract.test_local_stripe_pauses import befall, days
from tests.contract.test_local_stripe_schedules import state

BACK = "https://shop.example/billing?session={CHECKOUT_SESSION_ID}"


def opened(shop: Shop, shape: str = "past_due", **more: Any) -> stripe.checkout.Session:
    form: Any = {"mode": "setup", "currency": "usd", "customer": shop.row(shape)["customer"], "success_url": BACK}
    form["setup_intent_data"] = {"metadata": {"subscription_id": shop.subscription(shape)}}
    return shop.client.v1.checkout.sessions.create(form | more, shop.here)


def page(shop: Shop, session: stripe.checkout.Session, number: str | None = None) -> Reply:
    path = urlsplit(str(session.url)).path
    if number is None:
        return shop.local.answer(Request(method="GET", path=path))
    return shop.local.answer(Request(method="POST", path=path + "/card", body=urlencode({"number": number}).encode()))


def test_a_card_left_on_the_page_is_attached_and_becomes_the_default_by_a_second_call(shop: Shop) -> None:
    session = opened(shop)
    assert b"Save a card" in page(shop, session).body
    reply = page(shop, session, "4242 4242 4242 4242")
    assert reply.headers["Location"] == BACK.replace("{CHECKOUT_SESSION_ID}", session.id)
    done = shop.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent"]}, shop.here)
    assert (done.status, done.url) == ("complete", None)
    assert isinstance(done.setup_intent, stripe.SetupIntent)
    assert (done.setup_intent.status, done.setup_intent.to_dict()["metadata"]) == (
        "succeeded",
        {"subscription_id": shop.subscription("past_due")},
    )
    card = str(done.setup_intent.payment_method)
    customer = shop.client.v1.customers.retrieve(shop.row("past_due")["customer"], None, shop.here)
    assert customer.invoice_settings is not None
    assert customer.invoice_settings.default_payment_method != card
    assert shop.news()[-3:] == ["payment_method.attached", "setup_intent.succeeded", "checkout.session.completed"]
    shop.client.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": card}}, shop.here)
    shop.client.v1.subscriptions.update(shop.subscription("past_due"), {"default_payment_method": card}, shop.here)
    assert shop.effects("past_due") == ["payment_method"]
    days(shop, 4)
    assert state(shop, "past_due").status == "active"
    assert page(shop, session).status in (404, 410)


def test_a_refused_card_is_told_and_another_may_be_given(shop: Shop) -> None:
    session = opened(shop)
    assert page(shop, session, "4000 0000 0000 0002").status == 400
    assert page(shop, session, "42").status == 400
    assert "setup_intent.setup_failed" in shop.news()
    assert page(shop, session, "4242424242424242").status == 303


def test_a_session_is_over_after_a_day_or_when_it_is_expired(shop: Shop) -> None:
    first, second = opened(shop), opened(shop)
    shop.client.v1.checkout.sessions.expire(first.id, {}, shop.here)
    assert page(shop, first).status == 410
    days(shop, 1.1)
    assert shop.client.v1.checkout.sessions.retrieve(second.id, None, shop.here).status == "expired"
    assert shop.client.v1.setup_intents.retrieve(str(second.setup_intent), None, shop.here).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError):
        shop.client.v1.checkout.sessions.expire(second.id, {}, shop.here)


def test_a_session_needs_a_currency_or_the_kinds_of_cards(shop: Shop) -> None:
    form: Any = {"mode": "setup", "customer": shop.row("monthly")["customer"], "success_url": BACK}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.client.v1.checkout.sessions.create(form, shop.here)
    assert caught.value.param == "currency"
    shop.client.v1.checkout.sessions.create(form | {"allowed_payment_method_types": ["card"]}, shop.here)
    with pytest.raises(stripe.InvalidRequestError) as removed:
        shop.client.v1.checkout.sessions.create(form | {"payment_method_types": ["card"]}, shop.here)
    assert removed.value.param == "payment_method_types"


def test_the_control_door_tells_which_requests_the_sdks_types_would_not_let_pass(shop: Shop) -> None:
    def broken(since: int = 0) -> Any:
        return json.loads(shop.local.answer(Request(method="GET", path="/_sandbox/contract", query=f"since={since}")).body)

    shop.client.v1.subscriptions.retrieve(shop.subscription("monthly"), None, shop.here)
    befall(shop, "monthly", "card_works")
    assert broken() == []
    shop.ask("POST", f"/v1/subscriptions/{shop.subscription('monthly')}", {"coupon": "STAY20"})
    shop.ask("POST", f"/v1/subscriptions/{shop.subscription('monthly')}", {"pause_collection[behavior]": "voided"})
    shop.ask("GET", "/v1/nowhere")
    told = broken()
    assert [row["method"] for row in told] == ["POST", "POST", "GET"]
    assert "coupon" in told[0]["problem"]
    assert broken(len(shop.local.requests)) == []
    checks.check_form("POST", f"/v1/subscriptions/{shop.subscription('monthly')}/pause", "type=subscription")
