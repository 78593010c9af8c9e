"""The webhook door: what Stripe signed is kept before it is answered, and nothing anybody sends makes it stumble."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import select, text

from connect_app import runtime
from connect_app.models import WebhookEvent, WebhookPending, Work
from connect_app.runtime import Runtime
from jobs import queues, work
from sandbox.stripe.local import LocalStripe
from tests import make
from webhooks import store
from webhooks.committer import Committer, NotKept
from webhooks.door import LIMIT, Door
from webhooks.events import Envelope

DAY = 86400


def elsewhere(_environ: Any, start_response: Any) -> list[bytes]:
    start_response("418 I'm a teapot", [])
    return [b'{"elsewhere": true}']


@pytest.fixture
def door(rt: Runtime) -> Iterator[Door]:
    # A busy machine is no failure here: the runtime's own doorbell gives up after a fifth of a second.
    with Redis.from_url(rt.settings.redis_url) as patient:
        made = Door(elsewhere, dataclasses.replace(rt, redis=patient))
        yield made
        made.close()


def event(**changes: Any) -> dict[str, Any]:
    """An event of a type that means nothing to us."""
    made = {
        "id": "evt_1",
        "object": "event",
        "type": "x.y.z",
        "created": int(time.time()),
        "livemode": False,
        "account": "acct_nobody",
        "api_version": "2026-10-28.endive",
        "data": {"object": {"id": "x_1", "object": "x"}},
    }
    return {**made, **changes}


def kept(rt: Runtime) -> list[WebhookEvent]:
    with rt.transaction() as session:
        return list(session.execute(select(WebhookEvent)).scalars())


def wait_for_bells(rt: Runtime, count: int) -> None:
    """Until so many have been rung: Stripe has its answer before that."""
    until = time.monotonic() + 10
    while rt.redis.llen("rq:queue:events") != count:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_signed_event_is_kept_with_its_bytes_and_its_lane_is_to_be_drained(rt: Runtime, door: Door) -> None:
    raw, header = make.signed(event())
    answer = make.post_webhook(door, raw, header)
    assert answer.status == 200
    assert answer.headers["request-id"].startswith("req_")
    [row] = kept(rt)
    assert (row.id, bytes(row.raw), row.account, row.livemode, row.state) == ("evt_1", raw, "acct_nobody", False, "pending")
    with rt.transaction() as session:
        assert session.execute(select(Work.kind, Work.row_id)).all() == [("drain", "acct_nobody/test")]
        assert session.execute(select(WebhookPending.event_id)).scalars().all() == ["evt_1"]
    wait_for_bells(rt, 1)


def test_an_event_without_a_length_is_kept_too(rt: Runtime, door: Door) -> None:
    assert make.post_webhook(door, *make.signed(event()), chunked=True).status == 200
    assert len(kept(rt)) == 1


def _nested(depth: int) -> bytes:
    return b'{"id":"evt_1","deep":' + b"[" * depth + b"]" * depth + b"}"


def _header(change: Callable[[str, str], str | None]) -> Callable[[], tuple[bytes, str | None]]:
    def made() -> tuple[bytes, str | None]:
        raw, header = make.signed(event())
        moment, digest = header.removeprefix("t=").split(",v1=")
        return raw, change(moment, digest)

    return made


def _signed(*args: Any, **kwargs: Any) -> Callable[[], tuple[bytes, str | None]]:
    return lambda: make.signed(*args, **kwargs)


def _one_more_byte() -> tuple[bytes, str | None]:
    raw, header = make.signed(event())
    return raw + b" ", header


HOSTILE: dict[str, tuple[int, Callable[[], tuple[bytes, str | None]]]] = {
    "no signature": (400, _header(lambda _t, _v: None)),
    "an empty signature": (400, _header(lambda _t, _v: "")),
    "v0 only": (400, _header(lambda t, v: f"t={t},v0={v}")),
    "no time": (400, _header(lambda _t, v: f"v1={v}")),
    "two times": (400, _header(lambda t, v: f"t={t},t={t},v1={v}")),
    "a time of letters": (400, _header(lambda _t, v: f"t=now,v1={v}")),
    "a time in Arabic digits": (400, _header(lambda _t, v: f"t=١٧٠٠٠٠٠٠٠٠,v1={v}")),
    "a time with an underscore": (400, _header(lambda t, v: f"t={t[0]}_{t[1:]},v1={v}")),
    "a signed time": (400, _header(lambda t, v: f"t=+{t},v1={v}")),
    "a huge time": (400, _header(lambda _t, v: f"t={'9' * 3000},v1={v}")),
    "a digest that is not ASCII": (400, _header(lambda t, _v: f"t={t},v1=é")),
    "a digest of letters": (400, _header(lambda t, _v: f"t={t},v1={'z' * 64}")),
    "a digest in capitals": (400, _header(lambda t, v: f"t={t},v1={v.upper()}")),
    "one bit of the digest": (400, _header(lambda t, v: f"t={t},v1={'1' if v[0] == '0' else '0'}{v[1:]}")),
    "a header of 5 KB": (400, _header(lambda t, v: f"t={t},v1={v},{'v1=' + 'a' * 5000}")),
    "another endpoint's secret": (400, _signed(event(), secret="whsec_somebody_elses")),
    "an empty secret": (400, _signed(event(), secret=" ")),
    "301 seconds ago": (400, lambda: make.signed(event(), at=time.time() - 302)),
    "301 seconds ahead": (400, lambda: make.signed(event(), at=time.time() + 302)),
    "the year 2100": (400, _signed(event(), at=4102444800)),
    "one more byte": (400, _one_more_byte),
    "a live event under the test secret": (400, _signed(event(livemode=True))),
    "null": (400, _signed(b"null")),
    "a list": (400, _signed(b"[]")),
    "a number": (400, _signed(b"17")),
    "a string": (400, _signed(b'"evt_1"')),
    "nothing": (400, _signed(b"")),
    "an empty object": (400, _signed(b"{}")),
    "no JSON": (400, _signed(b"id=evt_1&type=x")),
    "half a JSON": (400, _signed(b'{"id": "evt_1"')),
    "no id": (400, _signed({key: value for key, value in event().items() if key != "id"})),
    "an id that is null": (400, _signed(event(id=None))),
    "an id that is a list": (400, _signed(event(id=["evt_1"]))),
    "an id with NUL": (400, _signed(event(id="evt_\0"))),
    "an id with a lone surrogate": (400, _signed(json.dumps(event(id="evt_X")).replace("evt_X", "evt_\\ud800").encode())),
    "an id of 300 letters": (400, _signed(event(id="evt_" + "a" * 300))),
    "a type with NUL": (400, _signed(event(type="a\0b"))),
    "a type that is a number": (400, _signed(event(type=7))),
    "an account with a slash": (400, _signed(event(account="acct_1/test"))),
    "an account that is a list": (400, _signed(event(account=["acct_1"]))),
    "a livemode that is a string": (400, _signed(event(livemode="false"))),
    "no livemode": (400, _signed(event(livemode=None))),
    "a created beyond the years": (400, _signed(event(created=10**30))),
    "a created before time": (400, _signed(event(created=-1))),
    "a created with a fraction": (400, _signed(event(created=1.5))),
    "another object": (400, _signed(event(object="charge"))),
    "60,000 lists deep": (400, _signed(_nested(60_000))),
    "NaN": (400, _signed(event(data={"object": {"amount": float("nan")}}))),
    "a number of 5,000 digits": (400, _signed(b'{"id":"evt_1","n":' + b"9" * 5000 + b"}")),
    "UTF-16": (400, _signed(json.dumps(event()).encode("utf-16"))),
    "a byte order mark": (400, _signed(b"\xef\xbb\xbf" + json.dumps(event()).encode())),
    "Latin-1": (400, _signed('{"id":"é"}'.encode("latin-1"))),
    "one byte over the limit": (413, _signed(b" " * (LIMIT + 1))),
}


@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "chunked"])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_a_fresh_event_signed_by_stripe_is_refused_and_not_kept(rt: Runtime, door: Door, name: str, chunked: bool) -> None:
    status, made = HOSTILE[name]
    raw, header = made()
    answer = make.post_webhook(door, raw, header, chunked=chunked)
    assert answer.status == status
    assert set(answer.body["error"]) == {"type", "code", "message", "param", "request_id", "doc_url"}
    assert answer.body["error"]["request_id"] == answer.headers["request-id"]
    assert answer.body["error"]["doc_url"] == f"{rt.settings.base_url}/docs/errors#{answer.body['error']['code']}"
    assert kept(rt) == []


ODD = {
    "an absurd object": event(type="customer.subscription.updated", data={"object": {"id": ["sub"], "items": 7}}),
    "no data": event(data=None),
    "no api version": event(api_version=None),
    "no account": event(account=None),
    "a NUL inside": event(data={"object": {"id": "cus_1", "name": "a\0b"}}),
    "an old event": event(created=int(time.time()) - 3 * DAY),
    "an event of tomorrow": event(created=int(time.time()) + DAY),
}


@pytest.mark.parametrize("name", ODD)
def test_whatever_an_event_says_it_is_kept(rt: Runtime, door: Door, name: str) -> None:
    assert make.post_webhook(door, *make.signed(ODD[name])).status == 200
    assert [row.id for row in kept(rt)] == ["evt_1"]


def test_a_lone_surrogate_inside_an_event_is_kept_as_it_was_signed(rt: Runtime, door: Door) -> None:
    raw = json.dumps(event()).replace("x_1", "x_\\udfff").encode()
    assert make.post_webhook(door, *make.signed(raw)).status == 200
    assert bytes(kept(rt)[0].raw) == raw


NONSENSE = {
    "a key twice": json.dumps(event(type="customer.updated")).replace('"object": "x"', '"object": "x", "object": "y"'),
    "a number beyond all numbers": json.dumps(event(type="customer.updated")).replace('"x_1"', "1e999"),
    "no customer": json.dumps(event(type="customer.updated", data={"object": []})),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_nonsense_inside_is_kept_as_it_was_signed_and_put_aside_when_it_is_to_be_understood(
    rt: Runtime, door: Door, local: LocalStripe, name: str
) -> None:
    place = make.workspace(rt, local)
    raw = NONSENSE[name].replace("acct_nobody", place.account).encode()
    assert make.post_webhook(door, *make.signed(raw)).status == 200
    assert bytes(kept(rt)[0].raw) == raw
    for _ in range(store.ATTEMPTS):
        with rt.transaction() as session:
            queues.enqueue(session, "drain", store.lane_id(place.account, False), None, due_at=rt.now())
        work.drain(rt, queues.EVENTS)
    assert kept(rt)[0].state == "failed"


def test_only_post_is_answered_and_everything_else_goes_to_the_app(door: Door) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        answer = make.post_webhook(door, *make.signed(event()), method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
    for path in ("/webhooks/stripe/", "/webhooks", "/", "/cancel/x"):
        assert make.post_webhook(door, b"", None, environ={"PATH_INFO": path}).status == 418


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", " ", "٣"])
def test_a_length_that_is_no_number_is_refused(door: Door, length: str) -> None:
    assert make.post_webhook(door, *make.signed(event()), environ={"CONTENT_LENGTH": length}).status == 400


def test_a_length_over_the_limit_is_refused_and_what_comes_of_it_is_read_off_within_measure(door: Door) -> None:
    class Stream:
        taken = 0

        def read(self, size: int) -> bytes:
            self.taken += size
            return b" " * size

    for length, taken in ((str(LIMIT + 1), LIMIT + 1), (str(1 << 31), 32 << 20), ("9" * 30, 0)):
        stream = Stream()
        assert make.post_webhook(door, b"", "t=1,v1=1", environ={"CONTENT_LENGTH": length, "wsgi.input": stream}).status == 413
        assert stream.taken == taken


def test_a_body_that_breaks_off_is_refused(door: Door) -> None:
    class Broken:
        def read(self, _size: int) -> bytes:
            raise OSError("connection reset")

    assert make.post_webhook(door, b"", "t=1,v1=1", environ={"CONTENT_LENGTH": "10", "wsgi.input": Broken()}).status == 400
    raw, header = make.signed(event())
    assert make.post_webhook(door, raw[:-5], header, environ={"CONTENT_LENGTH": str(len(raw))}).status == 400


def test_every_secret_of_both_modes_is_tried_and_a_live_event_needs_a_live_one(rt: Runtime, door: Door) -> None:
    assert make.post_webhook(door, *make.signed(event(id="evt_a", livemode=True), mode="live")).status == 200
    assert make.post_webhook(door, *make.signed(event(id="evt_b"), mode="live")).status == 200
    raw, header = make.signed(event(id="evt_c"))
    assert make.post_webhook(door, raw, header.replace("v1=", f"v1={'0' * 64},v1=")).status == 200
    assert {row.id: row.livemode for row in kept(rt)} == {"evt_a": True, "evt_b": False, "evt_c": False}


def test_a_delivery_299_seconds_off_is_accepted_both_ways_and_kept_once(rt: Runtime, door: Door) -> None:
    for seconds in (-298, 298):
        assert make.post_webhook(door, *make.signed(event(), at=time.time() + seconds)).status == 200
    assert len(kept(rt)) == 1


def test_one_event_on_eight_threads_is_one_row(rt: Runtime, door: Door) -> None:
    another = Door(elsewhere, rt)
    barrier = threading.Barrier(8)
    answers: list[int] = []

    def send(place: int) -> None:
        raw, header = make.signed(event())
        barrier.wait()
        answers.append(make.post_webhook(door if place % 2 else another, raw, header).status)

    threads = [threading.Thread(target=send, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8
    assert len(kept(rt)) == 1
    with rt.transaction() as session:
        assert len(session.execute(select(WebhookPending.event_id)).all()) == 1


def test_whoever_waits_during_a_commit_goes_into_the_next_one_together(rt: Runtime, door: Door) -> None:
    assert make.post_webhook(door, *make.signed(event(id="evt_first", account="acct_a"))).status == 200
    threads = [
        threading.Thread(target=make.post_webhook, args=(door, *make.signed(event(id=f"evt_{place}", account=f"acct_{place % 3}"))))
        for place in range(20)
    ]
    with rt.transaction() as session:  # so the committer waits in the middle of its first batch
        session.execute(text("lock table webhook_lanes in access exclusive mode"))
        for thread in threads:
            thread.start()
        time.sleep(0.5)
    for thread in threads:
        thread.join()
    with rt.transaction() as session:
        commits = session.execute(text("select count(distinct xmin::text) from webhook_events where id <> 'evt_first'")).scalar_one()
        lanes = session.execute(text("select lane_id, count(*) as n from webhook_pending group by lane_id")).all()
    assert len(kept(rt)) == 21
    assert commits <= 2
    assert sum(lane.n for lane in lanes) == 21


def test_while_the_database_is_away_stripe_is_asked_to_come_again(rt: Runtime) -> None:
    settings = rt.settings.model_copy(update={"database_url": "postgresql+psycopg://nobody@/none?host=/nonexistent"})
    away = runtime.open_runtime(settings)
    answer = make.post_webhook(Door(elsewhere, away), *make.signed(event()))
    assert (answer.status, answer.body["error"]["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert make.post_webhook(Door(elsewhere, rt), *make.signed(event())).status == 200
    away.close()


def test_with_redis_away_events_are_kept_all_the_same(rt: Runtime) -> None:
    settings = rt.settings.model_copy(update={"redis_url": "unix:///nonexistent/redis.sock"})
    deaf = runtime.open_runtime(settings)
    assert make.post_webhook(Door(elsewhere, deaf), *make.signed(event())).status == 200
    assert len(kept(rt)) == 1
    deaf.close()


def test_a_delivery_waits_only_so_long_for_its_commit(rt: Runtime) -> None:
    committer = Committer(rt, patience=2)
    envelope = Envelope(id="evt_1", account="acct_1", livemode=False, type="x", api_version="", created_at=rt.now(), raw=b"{}")
    with rt.transaction() as session:
        session.execute(text("lock table webhook_events in access exclusive mode"))
        began = time.monotonic()
        with pytest.raises(NotKept):
            committer.keep(envelope)
        assert time.monotonic() - began < 4
        # The commit began a moment after its delivery was handed over, and is late a moment after that one was refused.
        time.sleep(0.5)
        # Nobody waits again for a database that has not answered one already: at most once more, by a hair.
        waited = []
        for id in ("evt_2", "evt_3"):
            began = time.monotonic()
            with pytest.raises(NotKept):
                committer.keep(dataclasses.replace(envelope, id=id))
            waited.append(time.monotonic() - began)
        assert min(waited) < 1
    until = time.monotonic() + 10
    while True:
        try:
            committer.keep(dataclasses.replace(envelope, id="evt_4"))
            break
        except NotKept:
            assert time.monotonic() < until
    committer.close()
    assert {row.id for row in kept(rt)} >= {"evt_1", "evt_4"}


def test_while_a_commit_hangs_what_waits_is_bounded_in_bytes_and_the_next_is_refused_at_once(rt: Runtime) -> None:
    committer = Committer(rt, patience=20, most_bytes=2500)
    envelope = Envelope(id="evt_1", account="acct_1", livemode=False, type="x", api_version="", created_at=rt.now(), raw=b"x" * 1000)
    with rt.transaction() as session:
        session.execute(text("lock table webhook_events in access exclusive mode"))
        waiting = [threading.Thread(target=committer.keep, args=(dataclasses.replace(envelope, id=f"evt_{place}"),)) for place in range(2)]
        for thread in waiting:
            thread.start()
        until = time.monotonic() + 4
        while committer.waiting < 2:
            assert time.monotonic() < until
        began = time.monotonic()
        with pytest.raises(NotKept):
            committer.keep(dataclasses.replace(envelope, id="evt_2", raw=b"x" * 501))
        assert time.monotonic() - began < 10
    for thread in waiting:
        thread.join()
    committer.close()
    assert {row.id for row in kept(rt)} == {"evt_0", "evt_1"}


def test_a_connection_that_was_cut_is_replaced_and_nobody_is_refused_for_it(rt: Runtime, door: Door) -> None:
    assert make.post_webhook(door, *make.signed(event(id="evt_a"))).status == 200
    with rt.transaction() as session:
        session.execute(
            text("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()")
        )
    assert make.post_webhook(door, *make.signed(event(id="evt_b"))).status == 200


def test_a_lane_that_is_due_already_is_not_rung_for_again(rt: Runtime, door: Door) -> None:
    for place in range(5):
        assert make.post_webhook(door, *make.signed(event(id=f"evt_{place}"))).status == 200
    wait_for_bells(rt, 1)
    with rt.transaction() as session:
        session.execute(text("update work set due_at = now() + interval '1 hour'"))
    assert make.post_webhook(door, *make.signed(event(id="evt_later"))).status == 200
    wait_for_bells(rt, 2)
    with rt.transaction() as session:
        assert session.execute(text("select due_at < now() + interval '1 minute' from work")).scalar_one()
