"""The gateway on a real socket: what leaves, what comes back, and every way in which it fails."""

import http.server
import json
import os
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args, get_type_hints

import pytest
from stripe import _request_options
from stripe.params import WebhookEndpointCreateParams

from connect_app.stripe_gateway import calls, errors, gateway, objects
from connect_app.stripe_gateway.calls import Call
from tests.unit import test_objects

DATE = "Sun, 22 Nov 2026 13:00:07 GMT"
SECRET_KEY = "sk_test_platform"


@dataclass(kw_only=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: str
    headers: dict[str, str]
    port: int


@dataclass(kw_only=True)
class Stripe:
    """A server that answers as it is told and remembers what it was asked."""

    url: str
    requests: list[Request] = field(default_factory=list)
    status: int = 200
    body: Any = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    before_answering: Callable[[socket.socket], None] = lambda _: None

    def answers(self, body: Any, status: int = 200, **headers: str) -> None:
        self.body, self.status = body, status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def stripe() -> Iterator[Stripe]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            asked = Request(
                method=self.command,
                path=url.path,
                query=dict(urllib.parse.parse_qsl(url.query)),
                body=self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(),
                headers={name.lower(): value for name, value in self.headers.items()},
                port=self.client_address[1],
            )
            stand_in.requests.append(asked)
            stand_in.before_answering(self.connection)
            body = stand_in.body if isinstance(stand_in.body, bytes) else json.dumps(stand_in.body).encode()
            self.send_response_only(stand_in.status)
            for name, value in {"Request-Id": "req_1", "Date": DATE, "Content-Length": str(len(body)), **stand_in.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """A connection that the test cut is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    stand_in = Stripe(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield stand_in
    server.shutdown()
    thread.join()
    server.server_close()


def opened(url: str, read_timeout: float = 5) -> gateway.Gateway:
    return gateway.Gateway(
        mode="test",
        secret_key=SECRET_KEY,
        client_id="ca_test",
        api_base=url,
        connect_base=url,
        connect_timeout=1,
        read_timeout=read_timeout,
    )


@pytest.fixture
def account(stripe: Stripe) -> gateway.AccountGateway:
    return opened(stripe.url).account("acct_1")


CALL = Call(method="subscriptions.update", target="sub_1", params={"cancel_at_period_end": True, "metadata": {"b": "2", "a": "1"}})


def test_a_read_names_the_account_and_the_version_and_tells_when_it_was_true(stripe: Stripe, account: gateway.AccountGateway) -> None:
    stripe.answers(test_objects.subscription())
    read = account.subscription("sub_1")
    (asked,) = stripe.requests
    assert (asked.method, asked.path) == ("GET", "/v1/subscriptions/sub_1")
    assert list(asked.query.values()) == ["discounts.source.coupon.applies_to", "items.data.price.product", "items.data.discounts"]
    assert asked.headers["stripe-account"] == "acct_1"
    assert asked.headers["stripe-version"] == "2026-10-28.endive"
    assert asked.headers["authorization"] == f"Bearer {SECRET_KEY}"
    assert "telemetry" not in asked.headers["x-stripe-client-user-agent"]
    assert read.value.id == "sub_1"
    assert read.as_of == datetime(2026, 11, 22, 13, 0, 7, tzinfo=UTC)
    assert read.request_id == "req_1"


def test_a_write_is_sent_under_its_key(stripe: Stripe, account: gateway.AccountGateway) -> None:
    stripe.answers(test_objects.subscription(cancel_at_period_end=True))
    written = account.write(CALL, idempotency_key="hf:ws_1:act_1:0")
    (asked,) = stripe.requests
    assert (asked.method, asked.path, asked.headers["idempotency-key"]) == ("POST", "/v1/subscriptions/sub_1", "hf:ws_1:act_1:0")
    assert asked.headers["stripe-account"] == "acct_1"
    assert urllib.parse.parse_qs(asked.body) == {"cancel_at_period_end": ["true"], "metadata[a]": ["1"], "metadata[b]": ["2"]}
    assert written.value == "sub_1"


def test_a_call_is_sent_byte_for_byte_the_same_whatever_order_the_database_keeps(stripe: Stripe, account: gateway.AccountGateway) -> None:
    stripe.answers(test_objects.subscription())
    subject = objects.read_subscription(test_objects.subscription(discounts=["di_2", "di_1"], cancel_at=test_objects.END))
    call = calls.add_discount(subject, coupon="SAVE20", action_id="act_1", clear_cancellation=True)
    kept = json.dumps(call.to_json(), sort_keys=True)
    for sent in (call, Call.from_json(json.loads(kept)), Call.from_json(json.loads(json.dumps(call.to_json())))):
        account.write(sent, idempotency_key="k")
    bodies = {asked.body for asked in stripe.requests}
    assert len(bodies) == 1
    form = urllib.parse.parse_qsl(bodies.pop(), keep_blank_values=True)
    assert ("discounts[0][discount]", "di_2") in form
    assert ("discounts[1][discount]", "di_1") in form
    assert ("discounts[2][coupon]", "SAVE20") in form
    assert ("cancel_at", "") in form


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_that_stripe_would_not_take_is_refused(stripe: Stripe, account: gateway.AccountGateway, key: str) -> None:
    with pytest.raises(ValueError, match="idempotency key"):
        account.write(CALL, idempotency_key=key)
    with pytest.raises(ValueError, match=r"accounts\.delete"):
        account.write(Call(method="accounts.delete", target="acct_1", params={}), idempotency_key="k")
    assert stripe.requests == []


T, R, M, A = errors.Transient, errors.Refused, errors.Missing, errors.AccessLost


@pytest.mark.parametrize(
    ("status", "error", "headers", "kind", "facts"),
    [
        (400, {"code": "coupon_expired", "param": "discounts[0][coupon]", "message": "m"}, {}, R, {"param": "discounts[0][coupon]"}),
        (400, {"code": "resource_missing", "param": "coupon", "message": "No such coupon"}, {}, R, {"code": "resource_missing"}),
        (400, {"type": "idempotency_error", "message": "Keys…"}, {}, R, {"code": "idempotency_error"}),
        (402, {"type": "card_error", "code": "card_declined"}, {}, R, {"code": "card_declined"}),
        (403, {"code": "more_permissions_required"}, {}, R, {"code": "more_permissions_required"}),
        (404, {"code": "resource_missing", "param": "id"}, {}, M, {"param": "id"}),
        (404, {"message": "Unrecognized request URL"}, {}, R, {"code": None}),
        (401, {"message": "Invalid API Key"}, {}, A, {"is_disconnected": False}),
        (403, {"code": "account_invalid"}, {}, A, {"is_disconnected": True}),
        (409, {"code": "idempotency_key_in_use"}, {}, T, {"code": "idempotency_key_in_use", "ambiguous": True, "replayed": False}),
        (409, {"code": "something"}, {}, T, {"ambiguous": False}),
        (429, {"code": "rate_limit"}, {}, T, {"code": "rate_limit", "ambiguous": False}),
        (429, {"code": "lock_timeout"}, {"Stripe_Should_Retry": "true"}, T, {"code": "lock_timeout", "ambiguous": False}),
        (400, {"code": "rate_limit"}, {}, T, {"code": "rate_limit"}),
        (500, {"type": "api_error"}, {}, T, {"ambiguous": True, "replayed": False}),
        (500, {"type": "api_error"}, {"Idempotent_Replayed": "true"}, T, {"ambiguous": True, "replayed": True}),
        (503, {"type": "api_error"}, {}, T, {"ambiguous": True}),
    ],
)
def test_an_error_is_one_of_four_kinds(
    stripe: Stripe, account: gateway.AccountGateway, status: int, error: Any, headers: Any, kind: type[errors.StripeFailure], facts: Any
) -> None:
    stripe.answers({"error": error}, status, **headers)
    with pytest.raises(errors.StripeFailure) as caught:
        account.write(CALL, idempotency_key="k")
    failure = caught.value
    assert type(failure) is kind
    assert {name: getattr(failure, name) for name in facts} == facts
    assert (failure.http_status, failure.request_id) == (status, "req_1")
    assert SECRET_KEY not in f"{failure!r} {failure}"
    assert len(stripe.requests) == 1, "the work row owns retries"


def nothing_there() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_request_that_never_left_was_not_applied() -> None:
    with pytest.raises(errors.Transient) as caught:
        opened(nothing_there()).account("acct_1").write(CALL, idempotency_key="k")
    assert (caught.value.code, caught.value.ambiguous, caught.value.http_status) == ("no_answer", False, None)


@pytest.mark.parametrize("fate", ["late", "cut"])
def test_a_request_without_an_answer_may_have_been_applied(stripe: Stripe, fate: str) -> None:
    stripe.answers(test_objects.subscription())
    stripe.before_answering = (lambda _: time.sleep(0.4)) if fate == "late" else (lambda connection: connection.shutdown(socket.SHUT_RDWR))
    with pytest.raises(errors.Transient) as caught:
        opened(stripe.url, read_timeout=0.1).account("acct_1").write(CALL, idempotency_key="k")
    assert (caught.value.code, caught.value.ambiguous) == ("no_answer", True)
    assert len(stripe.requests) == 1


@pytest.mark.parametrize("status", [400, 402, 403, 404])
@pytest.mark.parametrize("body", [b"", b"{", b"<html>Forbidden</html>", b"null", b"{}", b'{"error": null}', b'{"error": "no"}'])
def test_a_no_without_stripes_reason_is_an_answer_cut_short_and_no_refusal(
    stripe: Stripe, account: gateway.AccountGateway, status: int, body: bytes
) -> None:
    stripe.answers(body, status)
    with pytest.raises(errors.Transient) as caught:
        account.write(CALL, idempotency_key="k")
    assert (caught.value.code, caught.value.ambiguous) == ("unreadable_answer", True)


BODIES = [b"", b"null", b"[]", b"7", b'"x"', b"{", b"\xff\xfe", b"<html>Bad gateway</html>", b"[" * 60_000, b"9" * 5000]
ERRORS = ["null", "[]", "7", '"x"', "{}", '{"code": 7, "message": [], "param": {}}', '{"code": null, "type": null}']


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 404, 409, 429, 500, 503])
@pytest.mark.parametrize("body", [*BODIES, *(b'{"error": %s}' % error.encode() for error in ERRORS)])
def test_no_answer_however_strange_escapes_the_four_kinds(
    stripe: Stripe, account: gateway.AccountGateway, status: int, body: bytes
) -> None:
    stripe.answers(body, status)
    with pytest.raises(errors.StripeFailure) as caught:
        account.write(CALL, idempotency_key="k")
    if status in (200, 201, 302, 500, 503):
        assert isinstance(caught.value, errors.Transient)
        assert caught.value.ambiguous


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 99 Nov 2026 13:00:07 GMT"])
def test_an_answer_without_a_date_is_not_believed(stripe: Stripe, account: gateway.AccountGateway, date: str) -> None:
    stripe.answers(test_objects.subscription(), Date=date)
    with pytest.raises(errors.Transient) as caught:
        account.subscription("sub_1")
    assert caught.value.code == "unreadable_answer"


@pytest.mark.parametrize("subscription_id", ["", ".", ".."])
def test_an_id_that_would_name_another_path_is_missing(stripe: Stripe, account: gateway.AccountGateway, subscription_id: str) -> None:
    with pytest.raises(errors.Missing):
        account.subscription(subscription_id)
    assert stripe.requests == []


def test_an_id_is_one_part_of_the_path(stripe: Stripe, account: gateway.AccountGateway) -> None:
    stripe.answers(test_objects.subscription())
    account.subscription("..accounts?x=é#y")
    assert stripe.requests[0].path == "/v1/subscriptions/..accounts%3Fx%3D%C3%A9%23y"


@pytest.mark.parametrize("id", ["../accounts", "a/b", "a\\b", "a\nb", "..", ""])
def test_an_id_that_would_be_another_path_is_nobodys_and_is_not_asked_for(stripe: Stripe, account: gateway.AccountGateway, id: str) -> None:
    with pytest.raises(errors.Missing):
        account.subscription(id)
    assert stripe.requests == []


def page(*data: Any, has_more: bool = False) -> Any:
    return {"object": "list", "data": list(data), "has_more": has_more, "url": "/v1/x"}


def test_a_page_tells_where_the_next_one_starts(stripe: Stripe, account: gateway.AccountGateway) -> None:
    stripe.answers(page(test_objects.coupon(id="A"), test_objects.coupon(id="B"), has_more=True))
    found = account.coupons(limit=2).value
    assert ([coupon.id for coupon in found.items], found.has_more, found.last_id) == (["A", "B"], True, "B")
    account.coupons(after=found.last_id, limit=2)
    assert [asked.query for asked in stripe.requests] == [
        {"limit": "2", "expand[0]": "data.applies_to"},
        {"limit": "2", "starting_after": "B", "expand[0]": "data.applies_to"},
    ]


def test_one_unreadable_object_does_not_stop_a_page(stripe: Stripe, account: gateway.AccountGateway) -> None:
    bad = test_objects.subscription(id="sub_bad", status="banana")
    stripe.answers(page(test_objects.subscription(), bad, has_more=True))
    found = account.subscriptions().value
    assert [subscription.id for subscription in found.items] == ["sub_1"]
    assert found.last_id == "sub_bad"
    assert found.unreadable == ("sub_bad: status: unknown value 'banana'",)


@pytest.mark.parametrize("body", [{}, {"data": []}, {"data": {}, "has_more": False}, page(None), page({"id": None})])
def test_a_page_that_is_none_is_a_failure(stripe: Stripe, account: gateway.AccountGateway, body: Any) -> None:
    stripe.answers(body)
    with pytest.raises(errors.Transient):
        account.customers()


def test_lists_are_asked_with_their_filters(stripe: Stripe, account: gateway.AccountGateway) -> None:
    stripe.answers(page())
    account.subscriptions(customer="cus_1")
    account.subscriptions(status=None)
    account.invoices(subscription="sub_1", status="paid", limit=3)
    account.portal_configurations()
    account.events(types=["invoice.paid"], created_gte=datetime(2026, 11, 22, tzinfo=UTC))
    expand = {"expand[0]": "data.discounts.source.coupon"}
    assert [(asked.path, asked.query) for asked in stripe.requests] == [
        ("/v1/subscriptions", {"limit": "100", "status": "all", "customer": "cus_1", **expand}),
        ("/v1/subscriptions", {"limit": "100", **expand}),
        ("/v1/invoices", {"limit": "3", "subscription": "sub_1", "status": "paid"}),
        ("/v1/billing_portal/configurations", {"limit": "100", "active": "true"}),
        ("/v1/events", {"limit": "100", "types[0]": "invoice.paid", "created[gte]": "1795305600"}),
    ]


@pytest.mark.parametrize("types", [[], ["invoice.paid"] * 21])
def test_events_are_asked_for_by_one_to_twenty_types(stripe: Stripe, account: gateway.AccountGateway, types: list[str]) -> None:
    with pytest.raises(ValueError, match="event types"):
        account.events(types=types, created_gte=datetime(2026, 11, 22, tzinfo=UTC))
    assert stripe.requests == []


def test_the_portals_cancel_is_closed_and_nothing_else_is_touched(stripe: Stripe, account: gateway.AccountGateway) -> None:
    stripe.answers({"id": "bpc_1", "active": True, "is_default": True, "features": {"subscription_cancel": {"enabled": False}}})
    assert not account.close_portal_cancel("bpc_1").value.cancel_enabled
    assert stripe.requests[0].path == "/v1/billing_portal/configurations/bpc_1"
    assert stripe.requests[0].body == "features[subscription_cancel][enabled]=false"


def test_a_card_update_leads_to_stripe_and_back(stripe: Stripe, account: gateway.AccountGateway) -> None:
    stripe.answers({"id": "bps_1", "object": "billing_portal.session", "url": "https://billing.stripe.test/p/session/x"})
    assert account.card_update_session("cus_1", return_url="https://shop.test/back?a=b").value == "https://billing.stripe.test/p/session/x"
    (asked,) = stripe.requests
    assert (asked.path, asked.headers["stripe-account"]) == ("/v1/billing_portal/sessions", "acct_1")
    assert dict(urllib.parse.parse_qsl(asked.body)) == {
        "customer": "cus_1",
        "return_url": "https://shop.test/back?a=b",
        "flow_data[type]": "payment_method_update",
        "flow_data[after_completion][type]": "redirect",
        "flow_data[after_completion][redirect][return_url]": "https://shop.test/back?a=b",
    }


def test_a_disconnect_that_finds_no_connection_counts_as_done(stripe: Stripe) -> None:
    platform = opened(stripe.url)
    stripe.answers({"stripe_user_id": "acct_1"})
    assert platform.deauthorize("acct_1")
    assert stripe.requests[0].path == "/oauth/deauthorize"
    assert urllib.parse.parse_qs(stripe.requests[0].body) == {"client_id": ["ca_test"], "stripe_user_id": ["acct_1"]}
    assert "stripe-account" not in stripe.requests[0].headers
    stripe.answers({"error": "invalid_client", "error_description": "not connected to acct_1"}, 401)
    assert not platform.deauthorize("acct_1")
    stripe.answers({"error": "invalid_request", "error_description": "?"}, 400)
    with pytest.raises(errors.Refused):
        platform.deauthorize("acct_1")
    stripe.answers({"error": {"message": "Invalid API Key provided"}}, 401)
    with pytest.raises(errors.AccessLost):
        platform.deauthorize("acct_1")


def test_the_webhook_endpoint_is_a_connect_endpoint_in_our_version(stripe: Stripe) -> None:
    raw = {"id": "we_1", "url": "https://h.test/webhooks/stripe", "status": "enabled", "enabled_events": ["invoice.paid"]}
    stripe.answers({**raw, "secret": "whsec_1", "api_version": "2026-10-28.endive"})
    platform = opened(stripe.url)
    assert platform.register_webhook_endpoint("https://h.test/webhooks/stripe", ["invoice.paid"]) == ("we_1", "whsec_1")
    form = dict(urllib.parse.parse_qsl(stripe.requests[0].body))
    assert (form["connect"], form["api_version"], form["enabled_events[0]"]) == ("true", "2026-10-28.endive", "invoice.paid")
    assert "stripe-account" not in stripe.requests[0].headers
    stripe.answers(page({**raw, "secret": "whsec_1"}))
    endpoints = platform.webhook_endpoints().value
    assert endpoints[0].url == "https://h.test/webhooks/stripe"
    assert "whsec_1" not in repr(endpoints)


def test_every_event_we_ask_for_is_one_that_stripe_sends() -> None:
    names_of_the_sdk = {**vars(_request_options), "StripeContext": object}
    (known,) = get_args(get_type_hints(WebhookEndpointCreateParams, localns=names_of_the_sdk)["enabled_events"])
    names = {name for arm in (known, *get_args(known)) for name in get_args(arm) if isinstance(name, str)}
    assert "customer.subscription.updated" in names
    assert set(gateway.REQUIRED_EVENTS) <= names
    assert len(set(gateway.REQUIRED_EVENTS)) == len(gateway.REQUIRED_EVENTS)


@pytest.mark.parametrize(("mode", "key"), [("test", "sk_live_1"), ("live", "sk_test_1"), ("test", "rk_live_1")])
def test_a_key_of_the_other_mode_is_refused_without_being_told(mode: str, key: str) -> None:
    bare: Any = {"client_id": "ca_1", "api_base": None, "connect_base": None, "connect_timeout": 1, "read_timeout": 1}
    with pytest.raises(ValueError, match="other mode") as caught:
        gateway.Gateway(mode=mode, secret_key=key, **bare)
    assert key not in str(caught.value)
    assert gateway.Gateway(mode="live", secret_key="sk_live_1", **bare).mode == "live"


def test_a_forked_child_opens_a_connection_of_its_own(stripe: Stripe, account: gateway.AccountGateway) -> None:
    stripe.answers(test_objects.subscription())
    account.subscription("sub_1")
    account.subscription("sub_1")
    if (child := os.fork()) == 0:
        try:
            account.subscription("sub_1")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    parent, again, forked = [asked.port for asked in stripe.requests]
    assert parent == again
    assert forked != parent
