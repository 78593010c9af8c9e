"""The hand-off: what a signed bundle gets, and how everything else is refused; none of it is ever our failure."""

import contextlib
import io
import json
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from connect_app import connections, embed_secrets, errors, ids, preferences
from connect_app.models import Action, EmbedSecret, FlowSession, LinkLookup
from connect_app.runtime import Runtime, open_runtime
from flow_pages import handoff
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.customers import ORIGIN, bundle, signed_by, whole

CANCEL, PORTAL = "/api/embed/cancel", "/api/embed/portal"


@pytest.fixture
def stage(rt: Runtime, local: LocalStripe) -> make.Stage:
    staged = make.workspace(rt, local, origins=(ORIGIN,))
    make.read_in(rt)
    return staged


@pytest.fixture
def app(rt: Runtime) -> Flask:
    return customers.app(rt)


@pytest.fixture
def good(stage: make.Stage) -> dict[str, Any]:
    return bundle(stage, *stage.shapes["monthly"])


def sessions_of(rt: Runtime, stage: make.Stage) -> list[FlowSession]:
    with rt.transaction(stage.workspace_id) as session:
        return list(session.execute(select(FlowSession)).scalars())


def post(app: Flask, body: Any, path: str = CANCEL, **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return app.test_client().post(path, data=raw, headers={"Content-Type": "application/json", **headers})


def test_a_signed_bundle_gets_a_link_to_its_own_flow(app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any]) -> None:
    answer = post(app, good)
    assert answer.status_code == 200
    assert set(answer.json) == {"url", "expires_at"}
    assert answer.json["url"].startswith("http://127.0.0.1:8000/cancel/ses_")
    assert time.time() < answer.json["expires_at"] <= time.time() + 24 * 3600
    [row] = sessions_of(rt, stage)
    assert (row.customer, row.subscription, row.mode, row.origin, row.is_control) == (
        good["customer"],
        good["subscription"],
        "test",
        "embed",
        False,
    )


def test_the_timestamp_may_be_ten_digits_in_a_string_and_the_type_may_be_plain_text(app: Flask, good: dict[str, Any]) -> None:
    answer = post(app, {**good, "timestamp": str(good["timestamp"])}, **{"Content-Type": "text/plain"})
    assert answer.status_code == 200


def test_the_same_bundle_gets_the_same_link_from_a_hundred_at_once(
    app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any]
) -> None:
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(post(app, good))) for _ in range(100)]
    for at in range(0, 100, 20):
        for thread in threads[at : at + 20]:
            thread.start()
        for thread in threads[at : at + 20]:
            thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["url"] for answer in answers}) == 1
    assert len(sessions_of(rt, stage)) == 1
    with rt.transaction() as session:
        assert session.execute(select(func.count()).select_from(LinkLookup)).scalar_one() == 1


@pytest.mark.parametrize("locale", ["", "en-u-ca-buddhist", "en_US.UTF-8", "de\n", "../x", "a" * 40, "ä", "C"])
def test_a_browsers_strange_locale_blocks_no_cancel(app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any], locale: str) -> None:
    assert post(app, {**good, "locale": locale}).status_code == 200
    [row] = sessions_of(rt, stage)
    assert row.locale is None


def test_an_error_says_where_it_is_explained(app: Flask, rt: Runtime) -> None:
    error = post(app, {}).json["error"]
    assert error["doc_url"] == f"{rt.settings.base_url}/docs/errors#{error['code']}"


def test_the_first_bundles_extras_win(app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any]) -> None:
    post(app, {**good, "return_url": f"{ORIGIN}/first", "locale": "de"})
    post(app, {**good, "return_url": f"{ORIGIN}/second", "locale": "fr"})
    [row] = sessions_of(rt, stage)
    assert (row.return_url, row.locale) == (f"{ORIGIN}/first", "de")


def test_another_second_is_another_session(app: Flask, stage: make.Stage) -> None:
    now = int(time.time())
    urls = {post(app, bundle(stage, *stage.shapes["monthly"], at=at)).json["url"] for at in (now, now - 1)}
    assert len(urls) == 2


def bad_fields(good: dict[str, Any]) -> dict[str, dict[str, Any]]:
    stamp = good["timestamp"]
    lacking = {f"no {name}": {key: value for key, value in good.items() if key != name} for name in good}
    stamps = [
        True,
        False,
        None,
        float(stamp),
        -stamp,
        0,
        "",
        f" {stamp}",
        f"{stamp}\n",
        f"+{stamp}",
        "1_700_000_000",
        "".join(chr(0x660 + int(d)) for d in str(stamp)),
        str(stamp)[:9],
        f"{stamp}0",
        [stamp],
        {"a": 1},
        f"0{stamp}",
        10**400,
        f"{stamp}.0",
        "０" * 10,
        hex(stamp),
    ]
    named = [
        "cus_A\nsub_X",
        "cus_A\n",
        "cus_Ä",
        "cus_А",
        "",
        "cus_",
        "sub_A",
        " cus_A",
        "cus_A B",
        "cus_" + "a" * 251,
        5,
        None,
        ["cus_A"],
        {"a": 1},
        "cus_A\0",
    ]
    signatures = [
        "",
        "é" * 64,
        good["signature"].upper() + "0",
        good["signature"][:-1],
        good["signature"].upper(),
        None,
        5,
        [good["signature"]],
        "g" * 64,
        good["signature"] + "\n",
    ]
    subscriptions = ["sub_A\nsub_B", "sub_A\r", "sub_\u2028", "a" * 256, "sub_é", None, 5, [], {}, "sub_\0", "sub_\x7f"]
    slugs = ["", "A", "a_b", "a" * 64, "a\n", "ä", None, 5, [], "../admin"]
    return {
        **lacking,
        **{f"timestamp {value!r:.30}": {**good, "timestamp": value} for value in stamps},
        **{f"customer {value!r:.30}": {**good, "customer": value} for value in named},
        **{f"signature {value!r:.30}": {**good, "signature": value} for value in signatures},
        **{f"subscription {value!r:.30}": {**good, "subscription": value} for value in subscriptions},
        **{f"workspace {value!r:.30}": {**good, "workspace": value} for value in slugs},
        **{f"return_url {value!r:.30}": {**good, "return_url": value} for value in (5, [], {}, "x\0")},
        **{f"locale {value!r:.30}": {**good, "locale": value} for value in (5, [], {}, True)},
    }


def test_a_field_that_breaks_its_grammar_is_refused_by_name(app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any]) -> None:
    for name, body in bad_fields(good).items():
        answer = post(app, body)
        assert answer.status_code == 400, name
        error = answer.json["error"]
        assert error["code"] == "invalid_request", name
        assert error["param"] in {*good, "return_url", "cancel_url", "locale", "body"}, name
    assert sessions_of(rt, stage) == []


def test_milliseconds_are_refused_in_words_of_their_own(app: Flask, good: dict[str, Any]) -> None:
    for stamp in (good["timestamp"] * 1000, str(good["timestamp"] * 1000)):
        answer = post(app, {**good, "timestamp": stamp})
        assert (answer.status_code, answer.json["error"]["code"], answer.json["error"]["param"]) == (
            400,
            "timestamp_in_milliseconds",
            "timestamp",
        )


HOSTILE_BODIES = [
    b"",
    b"null",
    b"[]",
    b"5",
    b'"x"',
    b"{",
    b"{}",
    b"\xff\xfe",
    b"\x00",
    b"NaN",
    b"\xef\xbb\xbf{}",
    '{"a":1}'.encode("utf-16"),
    '{"a":1}'.encode("utf-32"),
    b"[" * 16000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":1e999}',
    b'{"a":' + b"9" * 9000 + b"}",
    b'{"a":"\\ud800"}',
    b'{"a":"\\u0000"}',
    b'{"a":1,"a":2}',
    b"{'a':1}",
    b'{"a":1}{"b":2}',
    b'{"a":1,}',
    b"\xc3\x28",
    b'{"\\ud800":1}',
    b"a=b&c=d",
    b'{"a":"' + b"x" * 17000 + b'"}',
]


@pytest.mark.parametrize("path", [CANCEL, PORTAL])
def test_a_body_that_is_no_plain_object_is_refused(app: Flask, path: str) -> None:
    for raw in HOSTILE_BODIES:
        answer = post(app, raw, path)
        assert answer.status_code == 400, raw[:40]
        assert answer.json["error"]["code"] == "invalid_request", raw[:40]
        assert answer.json["error"]["request_id"], raw[:40]


def test_hostile_values_beside_a_good_signature_are_refused(app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any]) -> None:
    text_of = json.dumps(good)
    extras = [
        '"x":NaN',
        '"x":1e999',
        '"x":"\\u0000"',
        '"x":"\\ud800"',
        f'"customer":"{good["customer"]}"',
        '"x":' + "[" * 5000 + "]" * 5000,
        '"x":"' + "a" * 17000 + '"',
    ]
    for extra in extras:
        answer = post(app, f"{text_of[:-1]},{extra}}}".encode())
        assert answer.status_code == 400, extra[:40]
    assert sessions_of(rt, stage) == []


def test_a_chunked_body_beyond_the_limit_is_refused(app: Flask, good: dict[str, Any]) -> None:
    raw = json.dumps({**good, "x": "a" * 20000}).encode()
    answer = app.test_client().post(
        CANCEL,
        input_stream=io.BytesIO(raw),
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == 400
    assert answer.json["error"]["param"] == "body"


def test_the_window_is_300_seconds_both_ways(app: Flask, stage: make.Stage) -> None:
    now = int(time.time())
    for off, status in ((-298, 200), (298, 200), (-302, 401), (302, 401), (-86400, 401), (10**9, 401)):
        answer = post(app, bundle(stage, *stage.shapes["monthly"], at=now + off))
        assert answer.status_code == status, off
        if status == 401:
            assert answer.json["error"]["code"] == "timestamp_out_of_range"


def test_a_wrong_signature_learns_what_was_to_be_signed_and_never_with_what(app: Flask, stage: make.Stage, good: dict[str, Any]) -> None:
    flipped = f"{int(good['signature'], 16) ^ 1:064x}"
    answer = post(app, {**good, "signature": flipped})
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "signature_mismatch")
    assert json.dumps(f"{good['customer']}\n{good['subscription']}\n{good['timestamp']}") in answer.json["error"]["message"]
    assert stage.embed_secret not in answer.text


def test_an_unknown_workspace_answers_as_a_wrong_signature_does(app: Flask, good: dict[str, Any]) -> None:
    def refused(body: dict[str, Any]) -> Any:
        answer = post(app, body)
        return answer.status_code, {**answer.json["error"], "request_id": None}

    assert refused({**good, "workspace": "nobody-here"}) == refused({**good, "signature": "0" * 64})


def test_another_workspaces_secret_opens_nothing_here(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    other = make.workspace(rt, local)
    assert post(app, signed_by(other.embed_secret, stage.slug, *stage.shapes["monthly"])).status_code == 401


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_a_tampered_bundle_is_refused(app: Flask, good: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["customer", "subscription", "timestamp", "signature"]))
    if name == "timestamp":
        changed: Any = good["timestamp"] + data.draw(st.integers(-299, 299).filter(bool))
    elif name == "signature":
        changed = data.draw(st.text("0123456789abcdef", min_size=64, max_size=64).filter(lambda text: text != good["signature"]))
    else:
        changed = good[name] + data.draw(st.text("ABCabc019", min_size=1, max_size=5))
    answer = post(app, {**good, name: changed})
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "signature_mismatch")


def test_the_two_signatures_never_stand_for_each_other(app: Flask, stage: make.Stage) -> None:
    customer, subscription = stage.shapes["monthly"]
    signed = bundle(stage, customer, subscription)
    portal_body = {key: value for key, value in signed.items() if key != "subscription"}
    assert post(app, {**portal_body, "customer": f"{customer}\n{subscription}"}, PORTAL).status_code == 400
    assert post(app, portal_body, PORTAL).status_code == 401
    assert post(app, signed, PORTAL).json["error"]["param"] == "subscription"
    assert post(app, bundle(stage, customer, None), CANCEL).json["error"]["param"] == "subscription"


def test_a_subscription_of_another_customer_is_not_there(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    theirs = stage.shapes["yearly"][1]
    answer = post(app, bundle(stage, stage.shapes["monthly"][0], theirs))
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "subscription_not_found")
    assert sessions_of(rt, stage) == []


def test_an_unknown_or_empty_subscription_opens_the_control_flow(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    for subscription in ("", "sub_unknown", "not even an id"):
        assert post(app, bundle(stage, "cus_Unknown", subscription)).status_code == 200
    assert {row.control_reason for row in sessions_of(rt, stage)} == {"unknown_subscription"}


def test_extras_beside_the_signature_have_no_authority(app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any]) -> None:
    more = {
        "amount": 1,
        "coupon": "FREE",
        "account": "acct_x",
        "mode": "live",
        "custom": {"first_name": "Mallory"},
        "plan": "x",
        "origin": "portal",
    }
    assert post(app, {**good, **more}).status_code == 200
    [row] = sessions_of(rt, stage)
    assert (row.custom, row.mode, row.origin) == ({}, "test", "embed")


def test_under_the_header_scheme_extras_count(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    customer, subscription = stage.shapes["monthly"]
    body = {"workspace": stage.slug, "customer": customer, "subscription": subscription, "custom": {"team": {"size": 5}}}
    raw, headers = whole(stage, body)
    assert post(app, raw, **headers).status_code == 200
    [row] = sessions_of(rt, stage)
    assert row.custom == {"team": {"size": 5}}


def test_the_header_scheme_refuses_what_is_off(app: Flask, stage: make.Stage) -> None:
    customer, subscription = stage.shapes["monthly"]
    body = {"workspace": stage.slug, "customer": customer, "subscription": subscription}
    raw, headers = whole(stage, body)
    value = headers["Holdfast-Signature"]
    for broken in (
        "",
        "t=1",
        value.upper(),
        value + ",v1=0",
        value.replace("t=", "t= "),
        value.replace(",", ", "),
        "é",
        value[:-1],
        "t=" + "9" * 5000,
    ):
        assert post(app, raw, **{"Holdfast-Signature": broken}).status_code == 400, broken[:50]
    assert post(app, raw.replace(b"sub_", b"sub-"), **headers).status_code == 401
    assert post(app, raw + b" ", **headers).status_code == 401
    assert (
        post(app, *whole(stage, body, at=int(time.time()) - 400)[:1], **whole(stage, body, at=int(time.time()) - 400)[1]).status_code == 401
    )
    for more, status in (
        ({"timestamp": 1700000000}, 400),
        ({"custom": [1]}, 400),
        ({"custom": {"x": "a" * 9000}}, 400),
        ({"custom": None}, 200),
    ):
        raw, headers = whole(stage, {**body, **more})
        assert post(app, raw, **headers).status_code == status, more
    raw, headers = whole(stage, {"workspace": stage.slug, "customer": customer, "subscription": subscription})
    assert post(app, raw, PORTAL, **headers).status_code == 400
    raw, headers = whole(stage, {"workspace": stage.slug, "customer": customer})
    assert post(app, raw, CANCEL, **headers).status_code == 400
    assert post(app, raw, PORTAL, **headers).status_code == 200


def test_an_address_off_the_list_is_refused_by_name(app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any]) -> None:
    for name in ("return_url", "cancel_url"):
        for url in (
            "//evil.test",
            f"{ORIGIN}.evil.test",
            f"{ORIGIN}@evil.test",
            "javascript:alert(1)",
            f"{ORIGIN}\\@evil.test",
            "",
            "x" * 3000,
            "http://shop.example/",
        ):
            answer = post(app, {**good, name: url})
            assert (answer.status_code, answer.json["error"]["param"]) == (400, name), url
    assert sessions_of(rt, stage) == []
    assert post(app, {**good, "return_url": f"{ORIGIN}/a?b=c"}).status_code == 200


def test_the_secret_decides_the_mode_and_an_old_one_ends(app: Flask, rt: Runtime, stage: make.Stage) -> None:
    def add(mode: str, secret: str, expires_in: timedelta | None) -> None:
        row_id = ids.new("sec")
        with rt.transaction(stage.workspace_id) as session:
            sealed = embed_secrets.seal(rt.ring, row_id=row_id, workspace_id=stage.workspace_id, secret=secret)
            expires = None if expires_in is None else rt.now() + expires_in
            session.add(
                EmbedSecret(
                    id=row_id,
                    workspace_id=stage.workspace_id,
                    mode=mode,
                    sealed=sealed,
                    last4=secret[-4:],
                    created_at=rt.now(),
                    expires_at=expires,
                )
            )

    add("live", "hf_embed_live_canary", None)
    add("test", "hf_embed_test_older", timedelta(hours=1))
    add("test", "hf_embed_test_over", timedelta(hours=-1))
    for secret, status in (("hf_embed_live_canary", 200), ("hf_embed_test_older", 200), ("hf_embed_test_over", 401)):
        assert post(app, signed_by(secret, stage.slug, "cus_A", "")).status_code == status, secret
    assert sorted(row.mode for row in sessions_of(rt, stage)) == ["live", "test"]


def test_a_secret_moved_from_another_workspace_verifies_nothing(app: Flask, rt: Runtime, local: LocalStripe, stage: make.Stage) -> None:
    other = make.workspace(rt, local)
    with rt.transaction(other.workspace_id) as session:
        sealed = session.execute(select(EmbedSecret.sealed)).scalar_one()
    with rt.transaction(stage.workspace_id) as session:
        session.execute(text("update embed_secrets set sealed = :sealed"), {"sealed": sealed})
    for secret in (stage.embed_secret, other.embed_secret):
        assert post(app, signed_by(secret, stage.slug, "cus_A", "")).status_code == 401


def test_a_browser_may_read_the_answer_only_from_a_listed_origin(app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any]) -> None:
    answer = post(app, good, Origin=ORIGIN)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Origin" in answer.headers.get_all("Vary")
    assert sessions_of(rt, stage)[0].embed_origin == ORIGIN
    for origin in ("https://evil.test", "null", f"{ORIGIN}.evil.test", "*", "", f"{ORIGIN}/"):
        refused = post(app, bundle(stage, *stage.shapes["yearly"]), Origin=origin)
        assert refused.status_code == 403, origin
        assert "Access-Control-Allow-Origin" not in refused.headers
    assert "Access-Control-Allow-Origin" not in post(app, {**good, "signature": "0" * 64}, Origin=ORIGIN).headers
    assert len(sessions_of(rt, stage)) == 1


def test_too_many_are_told_when_to_come_back(rt: Runtime, stage: make.Stage) -> None:
    app = customers.app(rt, HOLDFAST_LIMITS={"embed_workspace": "2 per minute"})
    answers = [post(app, bundle(stage, *stage.shapes["monthly"])) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["Retry-After"]) > 0
    assert answers[2].json["error"]["type"] == "rate_limit_error"


def test_guessing_signatures_is_slowed_by_address_and_not_by_workspace(rt: Runtime, good: dict[str, Any]) -> None:
    app = customers.app(rt, HOLDFAST_LIMITS={"embed_refusals": "3 per minute", "embed_workspace": "2 per minute"})
    wrong = {**good, "signature": "0" * 64}
    assert [post(app, wrong).status_code for _ in range(5)] == [401, 401, 401, 429, 429]
    assert post(app, good).status_code == 200


def test_without_redis_a_hand_off_works(rt: Runtime, good: dict[str, Any]) -> None:
    away = open_runtime(rt.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    assert post(customers.app(away), good).status_code == 200
    away.close()


def test_without_the_database_a_hand_off_is_asked_to_come_back(rt: Runtime, good: dict[str, Any]) -> None:
    away = open_runtime(rt.settings.model_copy(update={"database_url": "postgresql+psycopg://holdfast@127.0.0.1:1/none"}))
    answer = post(customers.app(away), good)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    away.close()


def test_other_methods_are_refused_in_the_same_shape(app: Flask) -> None:
    for path in (CANCEL, PORTAL):
        answer = app.test_client().get(path)
        assert (answer.status_code, answer.json["error"]["code"]) == (405, "method_not_allowed")


def test_a_disconnected_account_opens_the_control_flow(app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any]) -> None:
    with rt.transaction(stage.workspace_id) as session:
        connections.lost(session, stage.workspace_id, stage.connection_id, at=rt.now(), reason="disconnected_here", actor="operator")
    assert post(app, good).status_code == 200
    assert sessions_of(rt, stage)[0].control_reason == "not_connected"


def test_plain_cancel_only_opens_the_control_flow(app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any]) -> None:
    with rt.transaction(stage.workspace_id) as session:
        preferences.save(session, stage.workspace_id, "plain_cancel_only", True, rt.now())
    post(app, good)
    assert sessions_of(rt, stage)[0].control_reason == "plain"


def test_nothing_is_asked_of_stripe_by_a_hand_off(app: Flask, rt: Runtime, stage: make.Stage, good: dict[str, Any]) -> None:
    post(app, good)
    with rt.transaction(stage.workspace_id) as session:
        assert session.execute(select(func.count()).select_from(Action)).scalar_one() == 0


@given(st.binary(max_size=400))
def test_no_bytes_at_all_make_the_parser_fail(raw: bytes) -> None:
    with contextlib.suppress(errors.InvalidRequest):
        assert isinstance(handoff.parse(raw), dict)
