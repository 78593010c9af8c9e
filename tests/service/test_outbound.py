"""The business is told of what became true, at least once, in a form it can check; and of nothing that did not."""

import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

import jsonschema
import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook, WebhookVerificationError

from connect_app import config, connections, runtime
from connect_app.errors import Conflict
from connect_app.models import Choice, Delivery, DeliveryAttempt, Endpoint, FlowSession
from jobs import actions, hands, queues, validation, work
from jobs.outbound import endpoints, messages, publishing, sending, telling
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import Stage


@dataclass
class Heard:
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.body)
        return said


@dataclass
class Sink:
    """A business's server: what came, and what it answers: a status, headers, or silence until `let_go`."""

    heard: list[Heard] = field(default_factory=list)
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    is_deaf: bool = False
    drops: bool = False
    port: int = 0
    let_go: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    @property
    def types(self) -> list[str]:
        return [one.message["type"] for one in self.heard]


class _Door(http.server.BaseHTTPRequestHandler):
    sink: ClassVar[Sink]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        self.sink.heard.append(Heard(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        if self.sink.is_deaf:
            self.sink.let_go.wait(30)
        if self.sink.drops or self.sink.is_deaf:
            self.close_connection = True
            return
        self.send_response(self.sink.status)
        for name, value in self.sink.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def listening() -> Iterator[Sink]:
    sink = Sink()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Door", (_Door,), {"sink": sink})) as server:
        sink.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield sink
        finally:
            sink.let_go.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as opened:
        yield opened


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    environ = {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url, "HOLDFAST_EGRESS_ALLOW": "127.0.0.0/8"}
    with ledgers.stage(config.load({**make.environ(local), **environ}), local) as opened:
        yield opened


def add(stage: Stage, url: str, *topics: str, kind: str = "webhook", mode: str = "test") -> endpoints.Minted:
    with stage.rt.transaction(stage.workspace_id) as session:
        return endpoints.add(
            session, stage.workspace_id, mode, kind=kind, url=url, topics=topics, ring=stage.rt.ring, now=stage.rt.now(), by="usr_1"
        )


def endpoint(stage: Stage, minted: endpoints.Minted) -> Endpoint:
    found: Endpoint = stage.one(select(Endpoint).where(Endpoint.id == minted.id))
    return found


def deliver(stage: Stage, minted: endpoints.Minted) -> work.End | None:
    """What the endpoint's work does when it is due; None where none was asked for."""
    waiting = [row for row in stage.work_rows("outbound") if row.row_id == minted.id]
    return stage.work(minted.id, "outbound") if waiting else None


def ping(stage: Stage, minted: endpoints.Minted) -> Delivery:
    """A message to this endpoint."""
    with stage.rt.transaction(stage.workspace_id) as session:
        telling.test(session, endpoints.one(session, stage.workspace_id, minted.id), stage.rt.now())
    return queued(stage, minted)[-1]


def queued(stage: Stage, minted: endpoints.Minted) -> list[Delivery]:
    return stage.all(select(Delivery).where(Delivery.endpoint_id == minted.id).order_by(Delivery.asked_at, Delivery.id))


def tries(stage: Stage, delivery: Delivery) -> list[DeliveryAttempt]:
    return stage.all(select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery.id).order_by(DeliveryAttempt.id))


def verified(heard: Heard, secret: str) -> dict[str, Any]:
    said: dict[str, Any] = Webhook(secret).verify(heard.body, heard.headers)
    return said


# What is told


def test_a_cancellation_that_was_read_back_is_told_and_every_message_fits_its_published_schema(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    action = stage.run(stage.ask("monthly"))
    assert action.state == "verified"
    assert isinstance(deliver(stage, minted), work.Done)
    assert sorted(sink.types) == ["action.verified", "session.canceled"]
    for heard in sink.heard:
        said = verified(heard, minted.secret)
        jsonschema.validate(said, messages.schema(said["type"]), format_checker=jsonschema.FormatChecker())
        assert said["data"]["customer"] == action.customer
        assert said["data"]["livemode"] is False
    told = {heard.message["type"]: heard.message["data"] for heard in sink.heard}
    assert told["action.verified"]["action"] == action.id
    assert told["action.verified"]["intent"]["when"] == "period_end"
    assert told["session.canceled"]["session"] == action.session_id
    assert (told["session.canceled"]["outcome"], told["session.canceled"]["lost"]["currency"]) == ("canceled", "usd")
    assert [delivery.state for delivery in queued(stage, minted)] == ["delivered", "delivered"]


def test_every_published_schema_is_one_and_refuses_what_it_does_not_name() -> None:
    for kind in messages.TYPES:
        schema = messages.schema(kind)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert not jsonschema.Draft202012Validator(schema).is_valid(
            {"type": kind, "timestamp": "2026-01-01T00:00:00Z", "data": {"email": 1}}
        )
        assert messages.MEANINGS[kind]


def test_a_message_is_no_more_than_the_transaction_that_makes_it_true(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    with suppress(ZeroDivisionError), stage.rt.transaction(stage.workspace_id) as session:
        telling.test(session, endpoints.one(session, stage.workspace_id, minted.id), stage.rt.now())
        raise ZeroDivisionError
    assert queued(stage, minted) == []
    assert stage.work_rows("outbound") == []


def test_an_endpoint_hears_the_types_it_chose_of_its_own_mode(stage: Stage, sink: Sink) -> None:
    all_of_it, failures, live = add(stage, sink.url), add(stage, sink.url, "action.failed"), add(stage, sink.url, mode="live")
    stage.run(stage.ask("monthly"))
    assert len(queued(stage, all_of_it)) == 2
    assert queued(stage, failures) == queued(stage, live) == []


def test_what_waits_for_a_person_and_what_was_closed_are_told(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    action = stage.ask("monthly", state="requested", code="not_connected")
    with stage.rt.transaction(stage.workspace_id) as session:
        assert actions.close(session, stage.workspace_id, action.id, stage.rt.now(), "usr_1")
    stage.run(stage.ask("scheduled", "plan_change", {"price": "price_basic_monthly", "when": "now", "proration": "none"}))
    deliver(stage, minted)
    assert [(one["type"], one["data"]["code"]) for one in (heard.message for heard in sink.heard)] == [
        ("action.requested", "not_connected"),
        ("action.failed", "closed_by_team"),
        ("action.manual", "schedule_has_phases"),
    ]


def test_a_save_is_told_when_it_fires_and_again_when_it_is_decided(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    session_id = stage.visit(*stage.shapes["monthly"])
    with stage.rt.transaction(stage.workspace_id) as session:
        session.execute(update(FlowSession).where(FlowSession.id == session_id).values(state="open", kept_at=stage.rt.now()))
    for _ in range(2):
        with stage.rt.transaction(stage.workspace_id) as session:
            validation.reckon(session, stage.workspace_id, session_id, stage.rt.now())
    deliver(stage, minted)
    assert [(heard.message["type"], heard.message["data"]["how"]) for heard in sink.heard] == [("session.saved", "kept")]
    assert telling._kind(("watch", "kept"), "saved", "kept") == "save.validated"
    assert telling._kind(("saved", "kept"), "lost", "kept") == "save.lost"
    assert telling._kind(("watch", "kept"), "watch", "kept") is None
    assert telling._kind(("open", None), "watch", "abandoned") == "session.abandoned"
    assert telling._kind(("canceled", None), "watch", "undone") == "session.saved"
    assert telling._kind(("watch", "offer"), "paused", "offer") is None


def test_a_connection_is_told_when_it_stands_otherwise_and_only_then(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url, "connection.updated")
    with stage.rt.transaction(stage.workspace_id) as session:
        queues.enqueue(session, "watch", stage.connection_id, stage.workspace_id, due_at=stage.rt.now())
    for _ in range(3):
        stage.work(stage.connection_id, "watch")
    with stage.rt.transaction(stage.workspace_id) as session:
        connections.lost(session, stage.workspace_id, stage.connection_id, at=stage.rt.now(), reason="access_lost", actor="holdfast")
    stage.work(stage.connection_id, "watch")
    deliver(stage, minted)
    stands = [(heard.message["data"]["state"], heard.message["data"]["alerts"]) for heard in sink.heard]
    assert stands == [("connected", []), ("disconnected", ["access_lost"])]


def test_the_longest_message_stays_below_twenty_kilobytes(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    stage.ask("monthly", state="requested", code="plain", intent={"when": "period_end", "feedback": "other", "comment": "😀" * 2000})
    deliver(stage, minted)
    assert [len(heard.body.encode()) < 20_000 for heard in sink.heard] == [True]


# Secrets


def test_both_secrets_verify_while_a_rotation_is_under_way_and_one_afterwards(stage: Stage, sink: Sink) -> None:
    first = add(stage, sink.url)
    with stage.rt.transaction(stage.workspace_id) as session:
        row = endpoints.one(session, stage.workspace_id, first.id)
        second = endpoints.rotate(session, row, ring=stage.rt.ring, now=stage.rt.now(), by="usr_1")
        with pytest.raises(Conflict):
            endpoints.rotate(session, row, ring=stage.rt.ring, now=stage.rt.now(), by="usr_1")
    ping(stage, first)
    deliver(stage, first)
    for secret in (first.secret, second.secret):
        assert verified(sink.heard[0], secret)["type"] == "endpoint.test"
    stage.later(hours=24, seconds=1)
    ping(stage, first)
    deliver(stage, first)
    [mark] = sink.heard[1].headers["webhook-signature"].split(" ")
    at = datetime.fromtimestamp(int(sink.heard[1].headers["webhook-timestamp"]), UTC)
    assert mark == Webhook(second.secret).sign(sink.heard[1].id, at, sink.heard[1].body)
    assert first.secret.encode() not in endpoint(stage, first).sealed


def test_a_message_that_was_altered_does_not_verify(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    ping(stage, minted)
    deliver(stage, minted)
    heard = sink.heard[0]
    for altered in (
        Heard(heard.path, heard.headers, heard.body + " "),
        Heard(heard.path, {**heard.headers, "webhook-id": "msg_2"}, heard.body),
    ):
        with pytest.raises(WebhookVerificationError):
            verified(altered, minted.secret)


# When it does not arrive


def test_a_sink_that_is_down_is_tried_by_the_table_under_one_id_and_then_given_up_and_replayed(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    sink.status = 500
    delivery = ping(stage, minted)
    began = stage.rt.now()
    for number, planned in enumerate(sending.PAUSES, start=1):
        assert isinstance(deliver(stage, minted), work.Again)
        waits = queued(stage, minted)[0]
        assert (waits.state, waits.attempts) == ("queued", number)
        assert waits.due_at is not None
        assert planned <= waits.due_at - stage.rt.now() + timedelta(seconds=5) <= planned * 1.1 + timedelta(seconds=10)
        # Before its time nothing is sent.
        deliver(stage, minted)
        assert len(sink.heard) == number
        stage.later(seconds=(waits.due_at - stage.rt.now()).total_seconds() + 1)
    assert timedelta(days=3) < stage.rt.now() - began < timedelta(days=3.6)
    deliver(stage, minted)
    ended = queued(stage, minted)[0]
    assert (ended.state, ended.problem) == ("failed", "It answered 500.")
    assert len(tries(stage, delivery)) == len(sink.heard) == sending.TRIES
    assert {heard.id for heard in sink.heard} == {delivery.payload["id"]}
    assert len({heard.body for heard in sink.heard}) == 1
    sink.status = 200
    with stage.rt.transaction(stage.workspace_id) as session:
        assert publishing.replay_failed(session, endpoints.one(session, stage.workspace_id, minted.id), stage.rt.now()) == 1
    deliver(stage, minted)
    assert queued(stage, minted)[0].state == "delivered"
    assert sink.heard[-1].id == delivery.payload["id"]
    assert endpoint(stage, minted).failing_since is None


def test_an_answer_that_is_lost_brings_the_same_message_again(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    ping(stage, minted)
    sink.drops = True
    assert isinstance(deliver(stage, minted), work.Again)
    sink.drops = False
    stage.later(seconds=10)
    deliver(stage, minted)
    assert len(sink.heard) == 2
    assert sink.heard[0].id == sink.heard[1].id
    assert queued(stage, minted)[0].state == "delivered"


def test_a_worker_that_lost_its_lease_changes_nothing_and_the_next_one_sends_again(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    delivery = ping(stage, minted)
    sink.is_deaf = True
    slow = threading.Thread(target=deliver, args=(stage, minted))
    slow.start()
    _until(lambda: len(sink.heard) == 1)
    stage.end_leases()
    sink.is_deaf = False
    assert isinstance(deliver(stage, minted), work.Done)
    sink.let_go.set()
    slow.join()
    assert [heard.id for heard in sink.heard] == [delivery.payload["id"]] * 2
    assert [one.status for one in tries(stage, delivery)] == [204]


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500])
def test_only_success_counts_and_redirects_are_not_followed(stage: Stage, sink: Sink, status: int) -> None:
    minted = add(stage, sink.url)
    delivery = ping(stage, minted)
    sink.status, sink.headers = status, {"Location": sink.url}
    assert isinstance(deliver(stage, minted), work.Again)
    assert len(sink.heard) == 1
    assert [one.status for one in tries(stage, delivery)] == [status]


def test_whoever_asks_for_patience_gets_it_up_to_a_day(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    sink.status = 503
    for said, least, most in (("600", 600, 600), ("999999", 86_400, 86_400), ("1", 5, 5.6)):
        sink.headers = {"Retry-After": said}
        delivery = ping(stage, minted)
        deliver(stage, minted)
        due_at = next(one.due_at for one in queued(stage, minted) if one.id == delivery.id)
        waited = (due_at - stage.rt.now()).total_seconds()
        assert least - 5 <= waited <= most


def test_an_endpoint_that_says_it_is_gone_is_switched_off_and_each_owner_is_written_once(stage: Stage, sink: Sink) -> None:
    stage.owner()
    minted = add(stage, sink.url)
    sink.status = 410
    for _ in range(3):
        ping(stage, minted)
    assert isinstance(deliver(stage, minted), work.Done)
    assert len(sink.heard) == 1
    assert (endpoint(stage, minted).closed_reason, {one.state for one in queued(stage, minted)}) == ("gone", {"failed"})
    [letter] = stage.all(select(Delivery).where(Delivery.kind == "email"))
    assert letter.payload["to"] == "owner@fernhill.example"
    assert "answered 410" in letter.payload["text"]
    # What it would have been told meanwhile is there to be replayed.
    assert ping(stage, minted).state == "failed"
    assert deliver(stage, minted) is None
    sink.status = 200
    with stage.rt.transaction(stage.workspace_id) as session:
        row = endpoints.one(session, stage.workspace_id, minted.id)
        endpoints.open(session, row, now=stage.rt.now(), by="usr_1")
        assert publishing.replay_failed(session, row, stage.rt.now()) == 4
    deliver(stage, minted)
    assert {one.state for one in queued(stage, minted)} == {"delivered"}


def test_five_days_without_a_success_switch_an_endpoint_off(stage: Stage, sink: Sink) -> None:
    stage.owner()
    minted = add(stage, sink.url)
    sink.status = 500
    ping(stage, minted)
    for _ in range(5):
        deliver(stage, minted)
        assert endpoint(stage, minted).closed_at is None
        stage.later(hours=25)
    ping(stage, minted)
    deliver(stage, minted)
    assert endpoint(stage, minted).closed_reason == "failing"
    assert len(stage.all(select(Delivery).where(Delivery.kind == "email"))) == 1


def test_a_success_in_between_begins_the_five_days_anew(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    for status in (500, 500, 200, 500, 500):
        sink.status = status
        ping(stage, minted)
        deliver(stage, minted)
        stage.later(hours=40)
    ping(stage, minted)
    deliver(stage, minted)
    assert endpoint(stage, minted).closed_at is None


def test_a_month_in_which_nothing_was_sent_is_no_month_of_failure(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    sink.status = 500
    ping(stage, minted)
    deliver(stage, minted)
    stage.later(days=30)
    ping(stage, minted)
    deliver(stage, minted)
    assert endpoint(stage, minted).closed_at is None
    assert endpoint(stage, minted).failing_since > stage.rt.now() - timedelta(hours=1)


def test_an_address_that_leads_inside_by_now_is_not_sent_to(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url)
    delivery = ping(stage, minted)
    [row] = stage.work_rows("outbound")
    strict = runtime.open_runtime(stage.rt.settings.model_copy(update={"holdfast_egress_allow": ""}))
    work.perform(strict, row.id)
    strict.close()
    assert sink.heard == []
    assert [one.problem for one in tries(stage, delivery)] == ["Not sent: This address leads into a private network."]


def test_a_slow_endpoint_holds_up_nobody_but_itself(stage: Stage, sink: Sink) -> None:
    with listening() as slow:
        slow.is_deaf = True
        theirs, mine = add(stage, slow.url), add(stage, sink.url)
        for _ in range(20):
            ping(stage, theirs)
        ping(stage, mine)
        crew = hands.Hands(partial(work.perform, stage.rt), 2)
        waiting = {row.row_id: row.id for row in stage.work_rows("outbound")}
        for _ in range(3):
            crew.take(waiting[theirs.id])
        started = time.monotonic()
        crew.take(waiting[mine.id])
        _until(lambda: len(sink.heard) == 1)
        assert time.monotonic() - started < 5
        assert len(slow.heard) == 1
        slow.let_go.set()
        crew.rest()
    assert len(slow.heard) == 1
    [row] = [row for row in stage.work_rows("outbound") if row.row_id == theirs.id]
    assert row.due_at > stage.rt.now() + timedelta(seconds=3)


# Pass-through URLs


def test_a_pass_through_url_is_called_once_for_each_action_with_what_it_names_signed(stage: Stage, sink: Sink) -> None:
    url = (
        f"http://127.0.0.1:{sink.port}/billing/{{{{ subscription_id }}}}?plan={{{{ plan_name }}}}&why={{{{ reason }}}}&no={{{{ nothing }}}}"
    )
    minted = add(stage, url, "cancel", kind="call")
    others = add(stage, url, "accept", kind="call")
    session_id = stage.visit(*stage.shapes["monthly"])
    with stage.rt.transaction(stage.workspace_id) as session:
        values = {"plan_name": {"type": "text", "source": "plan_name", "value": "a&admin=1/../é", "raw": "a&admin=1/../é"}}
        session.execute(update(FlowSession).where(FlowSession.id == session_id).values(variables=values))
    choice = stage.choice(session_id)
    with stage.rt.transaction(stage.workspace_id) as session:
        session.execute(update(Choice).where(Choice.id == choice).values(reason="too_expensive"))
    action = stage.ask("monthly", session_id=session_id, choice_id=choice)
    stage.ask("monthly", session_id=session_id, choice_id=choice)
    sink.status = 500
    deliver(stage, minted)
    sink.status = 200
    stage.later(seconds=10)
    deliver(stage, minted)
    assert queued(stage, others) == []
    assert len(sink.heard) == 2
    for heard in sink.heard:
        signed, _, mark = heard.path.partition("&holdfast_signature=")
        assert signed.startswith(
            f"/billing/{action.subscription}?plan=a%26admin%3D1%2F..%2F%C3%A9&why=too_expensive&no=&holdfast_action={action.id}&"
        )
        assert heard.headers["idempotency-key"] == action.id
        assert mark == _hmac(minted.secret, f"http://127.0.0.1:{sink.port}{signed}")
    assert [one.state for one in queued(stage, minted)] == ["delivered"]


def test_a_pass_through_url_names_what_the_offer_comes_to(stage: Stage, sink: Sink) -> None:
    minted = add(stage, f"{sink.url}?until={{{{ resumes_at }}}}&trial={{{{ trial_end }}}}&price={{{{ price }}}}", "accept", kind="call")
    for shape, verb, intent in (
        ("monthly", "pause", {"resumes_at": "2027-01-31T10:00:00+00:00"}),
        ("trialing", "trial_extension", {"trial_end": "2027-02-28T23:59:59+00:00"}),
        ("yearly", "plan_change", {"price": "price_1", "when": "now"}),
    ):
        session_id = stage.visit(*stage.shapes[shape])
        stage.ask(shape, verb=verb, intent=intent, session_id=session_id, choice_id=stage.choice(session_id, "accept"))
    urls = [urlsplit(str(row.payload["url"])).query.partition("&holdfast_action")[0] for row in queued(stage, minted)]
    assert urls == ["until=2027-01-31&trial=&price=", "until=&trial=2027-02-28&price=", "until=&trial=&price=price_1"]


def test_a_value_that_would_walk_up_the_path_is_not_called(stage: Stage, sink: Sink) -> None:
    minted = add(stage, f"http://127.0.0.1:{sink.port}/a/{{{{ coupon }}}}/b", "cancel", kind="call")
    stage.ask("monthly", intent={"when": "period_end", "coupon": ".."})
    assert queued(stage, minted) == []


def test_a_portals_action_without_a_choice_calls_nothing(stage: Stage, sink: Sink) -> None:
    minted = add(stage, sink.url, "cancel", "accept", kind="call")
    stage.ask("already_canceling", verb="undo_cancel")
    assert queued(stage, minted) == []


def _hmac(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_many_transactions_that_tell_the_same_endpoint_never_stand_in_each_others_way(stage: Stage, sink: Sink) -> None:
    """Two that hold a session each and tell of the other's: were the endpoint's work asked for at once, they would wait in a circle."""
    minted = add(stage, sink.url)
    visits = [stage.visit(*stage.shapes["monthly"]) for _ in range(2)]
    both, failures = threading.Barrier(2), []

    def tell(mine: str, others: str) -> None:
        try:
            with stage.rt.transaction(stage.workspace_id) as session:
                row = session.execute(select(FlowSession).where(FlowSession.id == mine).with_for_update()).scalar_one()
                telling.started(session, row, stage.rt.now())
                both.wait(10)
                if mine == visits[0]:
                    # As a job that has told of one thing, and then waits for a session that somebody else still holds.
                    session.execute(select(FlowSession.id).where(FlowSession.id == others).with_for_update())
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=tell, args=pair) for pair in ((visits[0], visits[1]), (visits[1], visits[0]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(queued(stage, minted)) == 2
    assert len(stage.work_rows("outbound")) == 1
