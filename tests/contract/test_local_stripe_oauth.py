"""Connect OAuth on the local Stripe: the page, the code that works once, and letting go."""

import base64
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import freezegun
import pytest
import requests
import stripe
from authlib.integrations.requests_client import OAuth2Session

from sandbox.stripe.wire import Reply, Request
from tests.contract.conftest import Shop, client_of

BACK = "http://127.0.0.1:8000/oauth/callback"


def asked(shop: Shop, **changed: str) -> dict[str, str]:
    known = {
        "client_id": shop.local.client_ids[False],
        "redirect_uri": BACK,
        "response_type": "code",
        "scope": "read_write",
        "state": "s&1",
    }
    return known | changed


def page(shop: Shop, **changed: str) -> Reply:
    return shop.local.answer(Request(method="GET", path="/oauth/authorize", query=urlencode(asked(shop, **changed))))


def decide(shop: Shop, account: str, decision: str = "authorize", **changed: str) -> dict[str, str]:
    form = {**asked(shop, **changed), "account": account, "decision": decision}
    reply = shop.local.answer(Request(method="POST", path="/oauth/authorize", body=urlencode(form).encode()))
    assert reply.status == 303, reply.body
    assert reply.headers["Location"].startswith(BACK)
    return {key: values[0] for key, values in parse_qs(urlsplit(reply.headers["Location"]).query).items()}


def exchange(shop: Shop, code: str, *, livemode: bool = False) -> Any:
    return client_of(shop.local, shop.local.keys[livemode]).oauth.token({"grant_type": "authorization_code", "code": code})


def other(shop: Shop) -> str:
    return str(shop.seeded["unconnected_account"])


def test_the_page_offers_every_account_and_two_buttons(shop: Shop) -> None:
    reply = page(shop)
    html = reply.body.decode()
    assert reply.status == 200
    assert '<select id="account" name="account">' in html
    for key in ("account", "unconnected_account", "foreign_account"):
        assert f'<option value="{shop.seeded[key]}">' in html
    assert ">Authorize</button>" in html
    assert ">Cancel</button>" in html
    assert shop.local.platform not in html
    assert "unsafe-inline" not in reply.headers["Content-Security-Policy"]
    assert "<b>" not in page(shop, state="<b>").body.decode()


def test_authorizing_connects_the_account(shop: Shop) -> None:
    back = decide(shop, other(shop))
    assert (back["state"], back["scope"]) == ("s&1", "read_write")
    token = exchange(shop, back["code"])
    assert (token.stripe_user_id, token.livemode, token.scope, token.token_type) == (other(shop), False, "read_write", "bearer")
    assert client_of(shop.local).v1.customers.list({}, {"stripe_account": other(shop)}).data
    own = client_of(shop.local, token.access_token)
    assert own.v1.accounts.retrieve_current().id == other(shop)
    assert shop.local.events(other(shop))[-1]["type"] == "account.application.authorized"


def test_authlib_gets_its_token(shop: Shop) -> None:
    code = decide(shop, other(shop))["code"]
    session = OAuth2Session(shop.local.client_ids[False], shop.local.keys[False], token_endpoint_auth_method="client_secret_post")
    session.mount("http://", _Adapter(shop))
    token = session.fetch_token("http://stripe.local/oauth/token", grant_type="authorization_code", code=code, redirect_uri=BACK)
    assert token["stripe_user_id"] == other(shop)
    basic = OAuth2Session(shop.local.client_ids[False], shop.local.keys[False], token_endpoint_auth_method="client_secret_basic")
    basic.mount("http://", _Adapter(shop))
    with pytest.raises(Exception, match="invalid_client"):
        basic.fetch_token("http://stripe.local/oauth/token", grant_type="authorization_code", code=decide(shop, other(shop))["code"])


def test_refusing_and_a_foreign_account_come_back_as_errors(shop: Shop) -> None:
    denied = decide(shop, other(shop), "cancel")
    assert (denied["error"], denied["state"]) == ("access_denied", "s&1")
    foreign = decide(shop, shop.seeded["foreign_account"])
    assert "code" not in foreign
    assert "controlled by another platform" in foreign["error_description"]
    assert decide(shop, other(shop), response_type="token")["error"] == "unsupported_response_type"
    assert decide(shop, other(shop), scope="everything")["error"] == "invalid_scope"


def test_a_stranger_is_not_sent_anywhere(shop: Shop) -> None:
    for changed in ({"client_id": "ca_nobody"}, {"redirect_uri": "https://evil.example/"}, {"redirect_uri": "javascript:alert(1)"}):
        reply = page(shop, **changed)
        assert reply.status == 400
        assert "Location" not in reply.headers
    shop.local.redirect_uris = ["https://app.example/oauth/callback"]
    assert page(shop).status == 400
    assert page(shop, redirect_uri="https://app.example/oauth/callback").status == 200


def test_a_code_works_once_and_its_second_use_revokes_everything(shop: Shop) -> None:
    code = decide(shop, other(shop))["code"]
    token = exchange(shop, code)
    with pytest.raises(stripe.oauth_error.InvalidGrantError, match=r"already been used\. All tokens .* have been revoked"):
        exchange(shop, code)
    with pytest.raises(stripe.PermissionError):
        client_of(shop.local).v1.customers.list({}, {"stripe_account": other(shop)})
    with pytest.raises(stripe.AuthenticationError):
        client_of(shop.local, token.access_token).v1.customers.list()


def test_a_code_expires_belongs_to_a_mode_and_must_exist(shop: Shop) -> None:
    code = decide(shop, other(shop))["code"]
    with pytest.raises(stripe.oauth_error.InvalidGrantError, match="Passed in livemode API key"):
        exchange(shop, code, livemode=True)
    with pytest.raises(stripe.oauth_error.InvalidGrantError, match="does not exist"):
        exchange(shop, "ac_nothing")
    with freezegun.freeze_time() as frozen:
        late = decide(shop, other(shop))["code"]
        frozen.tick(301)
        with pytest.raises(stripe.oauth_error.InvalidGrantError, match="expired"):
            exchange(shop, late)
    assert exchange(shop, code).stripe_user_id == other(shop)


def test_a_token_request_is_held_to_its_grammar(shop: Shop) -> None:
    def post(**form: str) -> tuple[int, str]:
        body = urlencode(form).encode()
        reply = shop.local.answer(Request(method="POST", path="/oauth/token", body=body))
        return reply.status, json.loads(reply.body)["error"]

    secret = {"client_secret": shop.local.keys[False]}
    basic = {"authorization": "Basic " + base64.b64encode(f"{shop.local.keys[False]}:".encode()).decode()}
    body = urlencode({"grant_type": "authorization_code", "code": decide(shop, other(shop))["code"]}).encode()
    assert shop.local.answer(Request(method="POST", path="/oauth/token", headers=basic, body=body)).status == 401
    assert post(grant_type="authorization_code", code="x") == (401, "invalid_client")
    assert post(client_secret="sk_test_wrong", grant_type="authorization_code", code="x") == (401, "invalid_client")
    assert post(**secret, code="x") == (400, "invalid_request")
    assert post(**secret, grant_type="password") == (400, "unsupported_grant_type")
    assert post(**secret, grant_type="authorization_code") == (400, "invalid_request")


def test_letting_go_ends_access_and_tells_the_platform(shop: Shop) -> None:
    assert shop.client.oauth.deauthorize({"stripe_user_id": shop.account}).stripe_user_id == shop.account
    with pytest.raises(stripe.PermissionError):
        shop.client.v1.customers.list({}, shop.here)
    event = shop.local.events(shop.account)[-1]
    assert (event["type"], event["account"]) == ("account.application.deauthorized", shop.account)
    assert event["data"]["object"]["object"] == "application"
    with pytest.raises(stripe.oauth_error.InvalidClientError, match="not connected"):
        shop.client.oauth.deauthorize({"stripe_user_id": shop.account})


class _Adapter(requests.adapters.BaseAdapter):
    """requests' transport, answered in process."""

    def __init__(self, shop: Shop) -> None:
        super().__init__()
        self._shop = shop

    def send(self, request: Any, *_: Any, **__: Any) -> Any:
        answer = self._shop.local.answer(
            Request(
                method=request.method,
                path=urlsplit(request.url).path,
                headers={name.lower(): value for name, value in request.headers.items()},
                body=(request.body or "").encode() if isinstance(request.body, str) else request.body or b"",
            )
        )
        response = requests.Response()
        response.status_code, response._content, response.request, response.url = answer.status, answer.body, request, request.url
        response.headers.update(answer.headers)
        return response

    def close(self) -> None:
        """Nothing is open."""


def test_the_clock_of_codes_is_real(shop: Shop) -> None:
    code = decide(shop, other(shop))["code"]
    shop.local.clock.advance(86400)
    assert exchange(shop, code).stripe_user_id == other(shop)
    assert time.time() > 0
