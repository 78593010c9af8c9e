"""Stripe's own portal on the local Stripe: its settings, and the pages a customer sees."""

import time
from urllib.parse import urlencode, urlsplit

import freezegun
import pytest
import stripe

from sandbox.stripe.wire import Reply, Request
from tests.contract.conftest import Shop

BACK = "https://shop.example/account"


def open_page(shop: Shop, shape: str, *, flow: bool = True) -> str:
    params: stripe.params.billing_portal.SessionCreateParams = {"customer": shop.row(shape)["customer"], "return_url": BACK}
    if flow:
        done: stripe.params.billing_portal.SessionCreateParamsFlowDataAfterCompletion = {
            "type": "redirect",
            "redirect": {"return_url": BACK + "?done"},
        }
        params["flow_data"] = {"type": "payment_method_update", "after_completion": done}
    return urlsplit(shop.client.v1.billing_portal.sessions.create(params, shop.here).url).path


def get(shop: Shop, path: str) -> Reply:
    return shop.local.answer(Request(method="GET", path=path))


def post(shop: Shop, path: str, **form: str) -> Reply:
    return shop.local.answer(Request(method="POST", path=path, body=urlencode(form).encode()))


def default_card(shop: Shop, shape: str) -> str:
    customer = shop.client.v1.customers.retrieve(shop.row(shape)["customer"], None, shop.here)
    assert customer.invoice_settings is not None
    return str(customer.invoice_settings.default_payment_method)


def test_a_new_card_becomes_the_customers_default_and_leads_back(shop: Shop) -> None:
    path, before = open_page(shop, "past_due"), default_card(shop, "past_due")
    shown = get(shop, path).body.decode()
    assert "Update payment method" in shown
    assert "ending 0341" in shown
    reply = post(shop, f"{path}/card", number="4242 4242 4242 4242")
    assert (reply.status, reply.headers["Location"]) == (303, BACK + "?done")
    assert default_card(shop, "past_due") != before
    assert {"payment_method.attached", "customer.updated"} <= set(shop.news())
    assert not shop.effects("past_due")  # a card of the subscription's own would still win
    shop.local.clock.advance(4 * 86400)
    assert shop.client.v1.subscriptions.retrieve(shop.subscription("past_due"), None, shop.here).status == "active"


def test_a_refused_card_is_said_and_changes_nothing(shop: Shop) -> None:
    path, before = open_page(shop, "monthly"), default_card(shop, "monthly")
    for number, words in (("4000000000000002", "was declined"), ("42", "incomplete")):
        reply = post(shop, f"{path}/card", number=number)
        assert reply.status == 400
        assert words in reply.body.decode()
    assert default_card(shop, "monthly") == before


def test_the_portal_cancels_only_while_its_settings_allow_it(shop: Shop) -> None:
    path = open_page(shop, "monthly", flow=False)
    assert "Cancel plan" in get(shop, path).body.decode()
    configurations = shop.client.v1.billing_portal.configurations
    configuration = configurations.list({"active": True, "is_default": True}, shop.here).data[0]
    assert configuration.features.subscription_cancel.enabled
    assert post(shop, f"{path}/cancel", subscription=shop.subscription("monthly")).status == 303
    ending = shop.client.v1.subscriptions.retrieve(shop.subscription("monthly"), None, shop.here)
    assert ending.cancel_at is not None
    assert not ending.cancel_at_period_end  # flexible billing: the portal sets the date only
    assert shop.local.effects[-1]["source"] == "portal"
    assert post(shop, f"{path}/cancel", subscription=shop.subscription("yearly")).status == 403
    closed = configurations.update(configuration.id, {"features": {"subscription_cancel": {"enabled": False}}}, shop.here)
    assert closed.features.invoice_history.enabled
    assert "billing_portal.configuration.updated" in shop.news()
    assert "Cancel plan" not in get(shop, open_page(shop, "yearly", flow=False)).body.decode()
    assert post(shop, f"{open_page(shop, 'yearly', flow=False)}/cancel", subscription=shop.subscription("yearly")).status == 403


def test_a_page_is_good_for_five_minutes_unopened_and_an_hour_from_each_use(shop: Shop) -> None:
    with freezegun.freeze_time() as frozen:
        late = open_page(shop, "monthly")
        frozen.tick(301)
        assert get(shop, late).status == 410
        used = open_page(shop, "monthly")
        for _ in range(2):
            assert get(shop, used).status == 200
            frozen.tick(3500)
        frozen.tick(300)
        assert get(shop, used).status == 410
    assert get(shop, "/p/session/test_nothing").status == 404
    assert time.time() > 0


def test_sessions_need_a_configuration_and_a_switched_on_feature(shop: Shop) -> None:
    configurations = shop.client.v1.billing_portal.configurations
    default = configurations.list({"is_default": True}, shop.here).data[0].id
    configurations.update(default, {"features": {"payment_method_update": {"enabled": False}}}, shop.here)
    with pytest.raises(stripe.InvalidRequestError, match="disabled"):
        open_page(shop, "monthly")
    shop.local.world(shop.account, False).table("billing_portal.configuration").clear()
    with pytest.raises(stripe.InvalidRequestError, match="portal settings in test mode"):
        open_page(shop, "monthly", flow=False)
