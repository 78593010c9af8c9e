"""Webhooks of the local Stripe: who hears what, signed how, again until it is taken."""

import json
from typing import Any

import pytest
import stripe

from sandbox.stripe.wire import Request
from tests.contract import checks
from tests.contract.conftest import Shop, client_of

URL = "https://holdfast.example/webhooks/stripe"


class Inbox:
    """A webhook receiver that can be told to refuse."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.raw: list[tuple[bytes, str]] = []
        self.status = 200

    def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        assert url.startswith(URL)
        self.raw.append((body, headers["Stripe-Signature"]))
        if self.status == 200:
            self.taken.append(json.loads(body))
        return self.status

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.taken]


def register(shop: Shop, events: Any = None, *, live: bool = False, connect: bool = True, at: str = URL) -> str:
    client = client_of(shop.local, shop.local.keys[live])
    made = client.v1.webhook_endpoints.create(
        {"url": at, "enabled_events": events or ["*"], "connect": connect, "api_version": "2026-10-28.endive"}
    )
    assert made.secret is not None
    assert "secret" not in client.v1.webhook_endpoints.retrieve(made.id)
    return made.secret


def change(shop: Shop, value: str = "b") -> None:
    shop.client.v1.subscriptions.update(shop.subscription("monthly"), {"metadata": {"a": value}}, shop.here)


def test_the_sdk_accepts_the_signature_and_no_other_secret(shop: Shop) -> None:
    secret, inbox = register(shop), Inbox()
    change(shop)
    shop.local.deliver(inbox)
    body, header = inbox.raw[-1]
    event = shop.client.construct_event(body, header, secret)
    assert event.account == shop.account
    assert stripe.WebhookSignature.verify_header(body.decode(), header, secret, 300)
    with pytest.raises(stripe.SignatureVerificationError):
        shop.client.construct_event(body, header, "whsec_other")
    checks.check_response(inbox.taken[-1])


def test_an_update_tells_what_was_before(shop: Shop) -> None:
    register(shop)
    inbox = Inbox()
    change(shop)
    shop.local.deliver(inbox)
    data = inbox.taken[-1]["data"]
    assert data["previous_attributes"] == {"metadata": {"a": None}}
    assert data["object"]["metadata"] == {"plan": "pro", "a": "b"}
    assert inbox.taken[-1]["request"]["id"].startswith("req_")
    change(shop)
    assert shop.local.deliver(inbox) == 0  # nothing changed, so there is no news


def test_only_the_wanted_types_of_connected_accounts_are_sent(shop: Shop) -> None:
    register(shop, ["customer.discount.created"])
    inbox = Inbox()
    shop.client.v1.subscriptions.update(shop.subscription("monthly"), {"discounts": [{"coupon": "STAY20"}]}, shop.here)
    shop.client.v1.products.create({"name": "The platform's own"})
    shop.local.deliver(inbox)
    assert inbox.types == ["customer.discount.created"]


def test_the_platforms_own_news_goes_to_its_own_endpoint(shop: Shop) -> None:
    register(shop, connect=False)
    inbox = Inbox()
    change(shop)
    shop.client.v1.products.create({"name": "The platform's own"})
    shop.local.deliver(inbox)
    assert inbox.types == ["product.created"]
    assert "account" not in inbox.taken[0]


@pytest.mark.parametrize(
    ("connected", "heard_on"),
    [((False,), ["test"]), ((True,), ["live"]), ((False, True), ["live", "test"])],
)
def test_test_news_reaches_the_endpoints_of_the_modes_that_connected(shop: Shop, connected: tuple[bool, ...], heard_on: list[str]) -> None:
    register(shop, at=f"{URL}?test")
    register(shop, live=True, at=f"{URL}?live")
    shop.local.connections.clear()
    for mode in connected:
        shop.local.connections[(shop.account, mode)] = "read_write"
    heard = []
    reply = shop.local.answer(_dashboard(shop.subscription("monthly"), {"metadata": {"a": "b"}}))
    assert reply.status == 200
    shop.local.deliver(lambda url, _body, _headers: heard.append(url.partition("?")[2]) or 200)  # type: ignore[func-returns-value]
    assert sorted(heard) == heard_on


def _dashboard(id: str, change: dict[str, Any]) -> Any:
    return Request(method="POST", path=f"/_sandbox/objects/{id}", body=json.dumps(change).encode())


def test_a_refused_delivery_is_made_again_with_the_same_event(shop: Shop) -> None:
    register(shop)
    inbox = Inbox()
    inbox.status = 503
    change(shop)
    assert shop.local.deliver(inbox) == 1
    assert shop.client.v1.events.list({"delivery_success": False}, shop.here).data
    inbox.status = 200
    assert shop.local.deliver(inbox) == 1
    assert shop.local.deliver(inbox) == 0
    assert len({json.loads(body)["id"] for body, _ in inbox.raw}) == 1
    assert not shop.client.v1.events.list({"delivery_success": False}, shop.here).data


def test_deliveries_are_lost_doubled_and_mixed_on_demand(shop: Shop) -> None:
    register(shop)
    shop.local.deliveries.disturb({"drop": 1})
    change(shop, "lost")
    shop.local.deliveries.disturb({"drop": 0, "duplicate": 1})
    change(shop, "twice")
    shop.local.deliveries.disturb({"duplicate": 0, "shuffle": 1, "seed": 7})
    for number in range(12):
        change(shop, f"n{number:02}")
    inbox = Inbox()
    shop.local.deliver(inbox)
    values = [event["data"]["object"]["metadata"]["a"] for event in inbox.taken]
    assert "lost" not in values
    assert values.count("twice") == 2
    numbered = [value for value in values if value.startswith("n")]
    assert sorted(numbered) == [f"n{number:02}" for number in range(12)]
    assert numbered != sorted(numbered)
    shop.local.deliveries.calm()
    change(shop, "calm")
    assert shop.local.deliver(inbox) == 1


def test_a_deleted_or_disabled_endpoint_hears_nothing(shop: Shop) -> None:
    register(shop)
    endpoint = shop.client.v1.webhook_endpoints.list().data[0].id
    shop.client.v1.webhook_endpoints.update(endpoint, {"disabled": True})
    change(shop, "1")
    shop.client.v1.webhook_endpoints.update(endpoint, {"disabled": False})
    change(shop, "2")
    shop.client.v1.webhook_endpoints.delete(endpoint)
    change(shop, "3")
    inbox = Inbox()
    shop.local.deliver(inbox)
    assert inbox.types == []


def test_an_endpoint_of_another_version_is_refused(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="API version"):
        shop.client.v1.webhook_endpoints.create({"url": URL, "enabled_events": ["*"], "api_version": "2020-08-27"})
