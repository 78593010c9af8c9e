"""What the operator's machines are told: alive, ready or why not, and the numbers to whom they belong."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from connect_app import app, config, migrations, runtime
from connect_app.runtime import Runtime
from jobs import queues
from sandbox import embedded
from tests import make


@pytest.fixture
def web(rt: Runtime) -> Flask:
    return app.create_app(rt.settings, rt)


def another(rt: Runtime, **environ: str) -> Iterator[Flask]:
    """The application on other servers than the tests' own."""
    given = {**make.environ(), "DATABASE_URL": rt.settings.database_url, "REDIS_URL": rt.settings.redis_url, **environ}
    other = runtime.open_runtime(config.load(given))
    yield app.create_app(other.settings, other)
    other.close()


def test_a_process_that_answers_is_alive(web: Flask) -> None:
    answer = web.test_client().get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "alive"})


def test_all_in_order_is_ready(web: Flask) -> None:
    answer = web.test_client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {"status": "ready", "reasons": [], "warnings": [], "queues": {}}


def test_a_queue_that_nobody_works_on_is_told(rt: Runtime, web: Flask) -> None:
    with rt.transaction() as session:
        queues.enqueue(session, "drain", "lane_x", None, due_at=rt.now() - timedelta(minutes=5))
    answer = web.test_client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json["queues"]["events"]["due"] == 1
    assert answer.json["warnings"][0].startswith("queue events: 1 due")


def test_without_redis_it_is_not_ready_and_says_so(rt: Runtime) -> None:
    for web in another(rt, REDIS_URL="redis://127.0.0.1:1/0"):
        answer = web.test_client().get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert [reason.split(":")[0] for reason in answer.json["reasons"]] == ["redis"]


def test_a_redis_that_is_full_is_told(rt: Runtime, web: Flask) -> None:
    rt.redis.config_set("maxmemory", "1")
    try:
        answer = web.test_client().get("/readyz")
    finally:
        rt.redis.config_set("maxmemory", "0")
    assert answer.status_code == 503
    assert [reason.split(" (")[0] for reason in answer.json["reasons"]] == ["redis: cannot be written to"]
    assert web.test_client().get("/readyz").status_code == 200


def test_without_its_database_it_is_not_ready_and_says_so(rt: Runtime) -> None:
    for web in another(rt, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none"):
        answer = web.test_client().get("/readyz")
        assert answer.status_code == 503
        assert answer.json["reasons"][0].startswith("database: cannot be reached")


def test_an_older_schema_or_a_role_that_sees_too_much_is_not_ready(rt: Runtime, postgres: embedded.Postgres) -> None:
    for web in another(rt, DATABASE_URL=postgres.create_database("empty")):
        assert web.test_client().get("/readyz").json["reasons"][0].startswith("migrations:")
    for web in another(rt, DATABASE_URL=postgres.url("empty", "postgres")):
        assert "superuser" in web.test_client().get("/readyz").json["reasons"][0]


def test_a_database_that_has_frozen_is_told_within_seconds(rt: Runtime, postgres: embedded.Postgres) -> None:
    url = postgres.create_database("frozen")
    for web in another(rt, DATABASE_URL=url):
        migrations.upgrade(runtime.current().engine)
        assert web.test_client().get("/readyz").status_code == 200
        with postgres.admin() as connection:
            backends = [int(str(pid)) for (pid,) in connection.execute("select pid from pg_stat_activity where datname = 'frozen'")]
        assert backends
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(2):
                began = time.monotonic()
                answer = web.test_client().get("/readyz")
                assert time.monotonic() - began < 8
                assert answer.status_code == 503
                assert answer.json["reasons"] == ["database: does not answer within 3 seconds"]
        finally:
            for pid in backends:
                os.kill(pid, signal.SIGCONT)
        assert web.test_client().get("/readyz").status_code == 200


def test_the_numbers_are_for_this_machine_only(web: Flask) -> None:
    client = web.test_client()
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", environ_overrides={"REMOTE_ADDR": "203.0.113.9"}).status_code == 404
    # Behind a proxy that was not told of, every stranger seems to come from here.
    assert client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 404


def test_the_numbers_are_for_the_tokens_bearer_wherever_they_are(rt: Runtime) -> None:
    for web in another(rt, HOLDFAST_METRICS_TOKEN="a-long-token-of-chance"):
        client = web.test_client()
        assert client.get("/metrics").status_code == 404
        assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 404
        answer = client.get(
            "/metrics", headers={"Authorization": "Bearer a-long-token-of-chance"}, environ_overrides={"REMOTE_ADDR": "203.0.113.9"}
        )
        assert answer.status_code == 200
        assert b"holdfast_requests_total" in answer.data


def test_every_answer_carries_a_request_id_and_is_never_sniffed(web: Flask) -> None:
    for path in ("/healthz", "/nowhere", "/api/nowhere", "/install"):
        headers = web.test_client().get(path).headers
        assert headers["Request-Id"].startswith("req_")
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_cookies_of_an_older_key_still_open_after_a_rotation(rt: Runtime) -> None:
    old, new = "k1:" + "a" * 40, "k2:" + "b" * 40
    for web in another(rt, HOLDFAST_SECRET_KEYS=old):
        browser = web.test_client()
        with browser.session_transaction() as session:
            session["mark"] = "kept"
        cookie = browser.get_cookie("holdfast")
    assert cookie is not None
    for web in another(rt, HOLDFAST_SECRET_KEYS=f"{new},{old}"):
        browser = web.test_client()
        browser.set_cookie("holdfast", cookie.value)
        with browser.session_transaction() as session:
            assert session["mark"] == "kept"
    for web in another(rt, HOLDFAST_SECRET_KEYS=new):
        browser = web.test_client()
        browser.set_cookie("holdfast", cookie.value)
        with browser.session_transaction() as session:
            assert "mark" not in session
