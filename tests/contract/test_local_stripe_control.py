"""The control door and the faults: every way of failing is what it says, and leaves exactly what it says."""

import json
from typing import Any

import pytest
import stripe

from sandbox.stripe.sdk import CallerKilled
from sandbox.stripe.wire import Request
from tests.contract import checks
from tests.contract.conftest import Shop

CANCEL: Any = {"cancel_at_period_end": True}


def control(shop: Shop, method: str, path: str, body: Any = None, query: str = "", status: int = 200) -> Any:
    sent = b"" if body is None else json.dumps(body).encode()
    reply = shop.local.answer(Request(method=method, path=f"/_sandbox/{path}", query=query, body=sent))
    assert reply.status == status, reply.body
    return json.loads(reply.body)


def fault(shop: Shop, kind: str, **more: Any) -> None:
    control(shop, "POST", "faults", {"kind": kind, "method": "POST", "path": "/v1/subscriptions/*", "times": 1, **more})


def cancel(shop: Shop, key: str = "k1", shape: str = "monthly") -> Any:
    return shop.client.v1.subscriptions.update(shop.subscription(shape), CANCEL, shop.keyed(key))


def accept(shop: Shop, key: str = "k1") -> Any:
    """A change that shows when it is made twice."""
    change: Any = {"discounts": [{"coupon": "LOYAL15"}]}
    return shop.client.v1.subscriptions.update(shop.subscription("monthly"), change, shop.keyed(key))


@pytest.mark.parametrize(
    ("kind", "error", "applied", "again"),
    [
        ("500", stripe.APIError, False, stripe.APIError),
        ("500_after", stripe.APIError, True, stripe.APIError),
        ("429", stripe.RateLimitError, False, None),
        ("lock_timeout", stripe.RateLimitError, False, None),
        ("reset", stripe.APIConnectionError, False, None),
        ("timeout_after", stripe.APIConnectionError, True, None),
        ("kill_before", CallerKilled, False, None),
        ("kill_after", CallerKilled, True, None),
        ("slow", None, True, None),
    ],
)
def test_a_fault_does_what_its_name_says_and_the_key_remembers(
    shop: Shop, kind: str, error: type[BaseException] | None, applied: bool, again: type[BaseException] | None
) -> None:
    fault(shop, kind, seconds=0.05)
    if error is None:
        accept(shop)
    else:
        with pytest.raises(error):
            accept(shop)
    assert shop.effects("monthly") == (["discount"] if applied else [])
    if again is None:
        assert len(accept(shop).discounts) == 1
        assert shop.effects("monthly") == ["discount"]
    else:
        with pytest.raises(again) as caught:
            accept(shop)
        assert caught.value.headers["Idempotent-Replayed"] == "true"  # type: ignore[attr-defined]
        assert len(accept(shop, "k2").discounts) == 1
        assert shop.effects("monthly") == ["discount"] * (1 + applied)  # under another key it is done again


def test_limits_are_told_apart_from_locks(shop: Shop) -> None:
    fault(shop, "429")
    with pytest.raises(stripe.RateLimitError) as limited:
        cancel(shop)
    fault(shop, "lock_timeout")
    with pytest.raises(stripe.RateLimitError) as locked:
        cancel(shop)
    assert limited.value.headers is not None
    assert locked.value.headers is not None
    assert limited.value.headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert "Stripe-Rate-Limited-Reason" not in locked.value.headers
    assert locked.value.headers["Stripe-Should-Retry"] == "true"
    assert locked.value.error is not None
    assert locked.value.error.code == "lock_timeout"


def test_a_fault_strikes_only_what_it_names(shop: Shop) -> None:
    fault(shop, "500", times=100)
    shop.client.v1.subscriptions.retrieve(shop.subscription("monthly"), None, shop.here)
    shop.client.v1.customers.update(shop.row("monthly")["customer"], {"metadata": {"a": "b"}}, shop.here)
    with pytest.raises(stripe.APIError):
        cancel(shop)
    assert control(shop, "GET", "faults")[0]["hits"] == 1
    assert control(shop, "DELETE", "faults") == []
    cancel(shop, "k2")


def test_a_rate_with_a_seed_strikes_the_same_requests_again(shop: Shop) -> None:
    def struck() -> list[int]:
        control(shop, "DELETE", "faults")
        control(shop, "POST", "faults", {"kind": "429", "path": "/v1/account", "rate": 0.3, "seed": 11})
        return [shop.ask("GET", "/v1/account").status for _ in range(40)]

    first = struck()
    assert first == struck()
    assert 4 < first.count(429) < 22


def test_the_token_endpoint_can_fail_too(shop: Shop) -> None:
    control(shop, "POST", "faults", {"kind": "500", "path": "/oauth/token", "times": 1})
    reply = shop.local.answer(Request(method="POST", path="/oauth/token"))
    assert reply.status == 500


def test_a_fault_that_does_not_exist_is_refused(shop: Shop) -> None:
    for wrong in ({"kind": "explode"}, {"kind": "500", "rate": 1, "times": 1}, {"kind": "500", "often": 1}, "500"):
        control(shop, "POST", "faults", wrong, status=400)


def test_requests_are_listed_as_they_came(shop: Shop) -> None:
    seen = len(control(shop, "GET", "requests"))
    cancel(shop)
    with pytest.raises(stripe.InvalidRequestError):
        shop.client.v1.subscriptions.update("sub_nobody", {"metadata": {"a": "ü"}}, shop.here)
    first, second = control(shop, "GET", "requests", query=f"since={seen}")
    assert first == {
        "n": seen + 1,
        "method": "POST",
        "path": f"/v1/subscriptions/{shop.subscription('monthly')}",
        "params": {"cancel_at_period_end": "true"},
        "form": "cancel_at_period_end=true",
        "account": shop.account,
        "idempotency_key": "k1",
        "status": 200,
    }
    assert (second["status"], second["params"]) == (404, {"metadata": {"a": "ü"}})
    checks.check_form(first["method"], first["path"], first["form"])


def test_effects_are_one_row_per_change_and_a_replay_is_none(shop: Shop) -> None:
    for _ in range(3):
        cancel(shop)
    cancel(shop, "other key, nothing new")
    cancel(shop, "k3", "yearly")
    query = f"subscription={shop.subscription('monthly')}"
    (row,) = control(shop, "GET", "effects", query=query)
    assert (row["account"], row["kind"], row["idempotency_key"]) == (shop.account, "cancel_at_period_end", "k1")
    assert (row["before"]["cancel_at_period_end"], row["after"]["cancel_at_period_end"]) == (False, True)
    assert len(control(shop, "GET", "effects")) == 2


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"pause_collection": {"behavior": "void", "resumes_at": 1999999999}}, "pause"),
        ({"pause_collection": {"behavior": "mark_uncollectible"}}, "extension"),
        ({"cancel_at": 1999999999}, "cancel_at_period_end"),
        ({"discounts": [{"coupon": "LOYAL15"}]}, "discount"),
        ({"metadata": {"a": "b"}}, "other"),
        ({"status": "canceled"}, "cancel"),
    ],
)
def test_the_dashboard_changes_objects_and_news_follows(shop: Shop, change: dict[str, Any], kind: str) -> None:
    id = shop.subscription("monthly")
    control(shop, "POST", f"objects/{id}", change)
    assert shop.effects("monthly") == [kind]
    assert shop.local.effects[0]["source"] == "dashboard"
    news = shop.local.events(shop.account)[-1]
    assert news["data"]["object"]["id"] == id
    # A click in the dashboard is a request, too; only what happens by itself has none.
    assert news["request"]["id"].startswith("req_")
    assert news["request"]["idempotency_key"] is None
    checks.check_response(control(shop, "GET", f"objects/{id}"))


def test_fields_the_api_can_not_set_are_set_in_the_dashboard(shop: Shop) -> None:
    control(shop, "POST", f"objects/{shop.subscription('monthly')}", {"status": "unpaid"})
    assert shop.client.v1.subscriptions.retrieve(shop.subscription("monthly"), None, shop.here).status == "unpaid"
    control(shop, "POST", f"objects/{shop.account}", {"business_profile": {"name": "Fernhill Labs"}})
    assert shop.local.events(shop.account, "account.updated")[-1]["data"]["object"]["business_profile"]["name"] == "Fernhill Labs"
    control(shop, "POST", f"objects/{shop.subscription('yearly')}", {"stauts": "unpaid"}, status=400)
    control(shop, "POST", "objects/sub_nobody", {"status": "unpaid"}, status=404)
    customer = shop.row("yearly")["customer"]
    control(shop, "POST", f"objects/{customer}", {"deleted": True})
    assert shop.client.v1.customers.retrieve(customer, None, shop.here).deleted
    assert shop.effects("yearly") == ["cancel"]


def test_the_clock_moves_forward_only(shop: Shop) -> None:
    before = control(shop, "GET", "clock")
    after = control(shop, "POST", "clock", {"advance": 3600})
    assert after["now"] - before["now"] >= 3600
    assert after["offset"] == 3600
    for wrong in ({"advance": -1}, {"advance": "1"}, {}, {"advance": True}):
        control(shop, "POST", "clock", wrong, status=400)


def test_an_account_deauthorizes_from_its_own_side(shop: Shop) -> None:
    assert control(shop, "POST", "deauthorize", {"account": shop.account})["modes"] == ["test"]
    with pytest.raises(stripe.PermissionError):
        shop.client.v1.customers.list({}, shop.here)
    assert shop.news()[-1] == "account.application.deauthorized"
    control(shop, "POST", "deauthorize", {"account": shop.account}, status=404)


def test_what_was_seeded_is_told_with_the_platforms_keys(shop: Shop) -> None:
    told = control(shop, "GET", "seeded")
    assert told["account"] == shop.account
    assert told["platform"]["test"] == {"secret_key": shop.local.keys[False], "client_id": shop.local.client_ids[False]}
    assert told["platform"]["live"]["secret_key"].startswith("sk_live_")
    assert told["foreign_account"] in shop.local.controlled
    assert {coupon["id"]: coupon["valid"] for coupon in told["coupons"]}["SPRING"] is False
    assert len(told["coupons"]) >= 5


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("clock", [], "advance"),
        ("clock", 5, "advance"),
        ("clock", {"advance": 1000000000000}, "advance"),
        ("clock", {"advance": 10 * 366 * 86400 + 1}, "advance"),
        ("clock", {"advnace": 1}, "advnace"),
        ("deauthorize", [], "account"),
        ("deauthorize", {"account": []}, "account"),
        ("deauthorize", {}, "account"),
        ("faults", 5, "kind"),
        ("faults", {"kind": []}, "kind"),
        ("faults", {"kind": "500", "rate": "x"}, "rate"),
        ("faults", {"kind": "500", "rate": 2}, "rate"),
        ("faults", {"kind": "500", "rate": -0.1}, "rate"),
        ("faults", {"kind": "500", "rate": True}, "rate"),
        ("faults", {"kind": "500", "times": -1}, "times"),
        ("faults", {"kind": "500", "times": 1.5}, "times"),
        ("faults", {"kind": "500", "seed": []}, "seed"),
        ("faults", {"kind": "500", "path": 5}, "path"),
        ("faults", {"kind": "500", "method": ["POST"]}, "method"),
        ("faults", {"kind": "slow", "seconds": "x"}, "seconds"),
        ("faults", {"kind": "slow", "seconds": -5}, "seconds"),
        ("faults", {"kind": "slow", "seconds": 10**400}, "seconds"),
        ("faults", [{"kind": "500"}, {"kind": "500", "rate": 2}], "rate"),
        ("webhooks", 5, "drop"),
        ("webhooks", {"drop": 2}, "drop"),
        ("webhooks", {"drop": "x"}, "drop"),
        ("webhooks", {"duplicate": True}, "duplicate"),
        ("webhooks", {"delay": -1}, "delay"),
        ("webhooks", {"seed": {}}, "seed"),
    ],
)
def test_the_control_door_refuses_nonsense_by_name_and_nothing_changes(shop: Shop, path: str, body: Any, param: str) -> None:
    before = control(shop, "GET", "clock")["offset"], control(shop, "GET", "webhooks")
    told = control(shop, "POST", path, body, status=400)
    assert told["error"]["param"] == param
    assert (control(shop, "GET", "clock")["offset"], control(shop, "GET", "webhooks")) == before
    assert control(shop, "GET", "faults") == []


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ([], "id"),
        ({"id": "sub_other"}, "id"),
        ({"object": "customer"}, "object"),
        ({"status": "weird"}, "status"),
        ({"status": None}, "status"),
        ({"status": "trialing"}, "status"),
        ({"customer": "cus_nope"}, "customer"),
        ({"customer": 5}, "customer"),
        ({"customer": None}, "customer"),
        ({"default_payment_method": "pm_nope"}, "default_payment_method"),
        ({"latest_invoice": "in_nope"}, "latest_invoice"),
        ({"created": "x"}, "created"),
        ({"created": True}, "created"),
        ({"created": -1}, "created"),
        ({"created": 10**30}, "created"),
        ({"cancel_at_period_end": None, "created": 5}, "cancel_at_period_end"),
        ({"items": {"data": []}}, "items"),
        ({"status": "active", "items": {"data": []}}, "items[data]"),
        ({"status": "active", "items": None}, "items"),
        ({"status": "active", "pause_collection": 5.5}, "pause_collection"),
        ({"status": "active", "cancel_at": "soon"}, "cancel_at"),
        ({"status": "active", "metadata": {"a": 5}}, "metadata[a]"),
        ({"discounts": 5}, "discounts"),
    ],
)
def test_an_object_becomes_nothing_that_stripe_could_not_show(shop: Shop, change: Any, param: str) -> None:
    id = shop.subscription("monthly")
    before = control(shop, "GET", f"objects/{id}")
    told = control(shop, "POST", f"objects/{id}", change, status=400)
    assert told["error"]["param"] == param
    assert control(shop, "GET", f"objects/{id}") == before
    assert shop.effects("monthly") == []


def test_ten_years_pass_in_one_go(shop: Shop) -> None:
    assert control(shop, "POST", "clock", {"advance": 10 * 365 * 86400})["offset"] == 10 * 365 * 86400


def test_nonsense_gets_an_answer(shop: Shop) -> None:
    control(shop, "GET", "nothing", status=404)
    for body in (b"{", b"\xff", b'{"kind": "500", "rate": NaN}', b"[" * 100_000):
        assert shop.local.answer(Request(method="POST", path="/_sandbox/faults", body=body)).status == 400
    assert shop.local.answer(Request(method="GET", path="/nothing")).status == 404
    assert shop.local.answer(Request(method="GET", path="/")).status == 200
