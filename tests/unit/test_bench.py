"""The bench's own arithmetic, and the event it sends: a wrong ratio would be a lie told with confidence."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import events, figures, load, report, stub
from connect_app.stripe_gateway import objects
from webhooks import events as understood
from webhooks import signatures

numbers = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1)


def row(**more: object) -> figures.Row:
    given = {
        "name": "acks",
        "unit": "events/s",
        "ours": 900.0,
        "peer": 100.0,
        "reach": figures.Reach.AT_LEAST,
        "limit": 9.0,
        "of_ratio": True,
    }
    return figures.Row(**{**given, **more})  # type: ignore[arg-type]


def test_a_percentile_is_one_of_the_values_and_enough_are_not_above_it() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert [figures.percentile(ordered, share) for share in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert figures.percentile([7.0], 99) == 7
    assert figures.percentile([1.0, 2.0, 3.0], 50) == 2


@given(numbers, st.floats(min_value=0, max_value=100))
def test_no_percentile_leaves_the_values(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = figures.percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) * 100 >= share * len(ordered) - 1e-6


@pytest.mark.parametrize(("values", "middle"), [([3.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 2.0, 3.0], 2.5), ([5.0], 5.0)])
def test_the_median_is_the_middle(values: list[float], middle: float) -> None:
    assert figures.median(values) == middle


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        figures.median([])
    with pytest.raises(ValueError, match="nothing was measured"):
        figures.percentile([], 50)


def test_a_ratio_is_ours_over_the_peers_and_its_limit_is_kept_from_the_right_side() -> None:
    assert row().ratio == 9
    assert row().met is True
    assert row(ours=899.0).met is False
    assert row(reach=figures.Reach.AT_MOST, limit=1.3, ours=130.0).met is True
    assert row(reach=figures.Reach.AT_MOST, limit=1.3, ours=131.0).met is False


def test_a_limit_that_is_none_of_a_ratio_is_about_our_own_figure() -> None:
    slow = row(of_ratio=False, reach=figures.Reach.AT_MOST, limit=12, unit="ms", ours=13.0, peer=None)
    assert slow.ratio is None
    assert slow.met is False
    assert slow.wanted == "≤ 12 ms"


@pytest.mark.parametrize("missing", [{"peer": None}, {"ours": None}, {"peer": 0.0}])
def test_a_missing_peer_is_neither_met_nor_missed(missing: dict[str, object]) -> None:
    assert row(**missing).met is None
    assert row(**missing).document()["met"] is None
    assert row(**missing).document()["ratio"] is None


def test_the_document_has_the_names_that_were_agreed() -> None:
    document = row(ours=4622.3, peer=497.0, limit=15.0).document()
    assert {key: document[key] for key in ("name", "ours", "peer", "ratio", "reach", "met")} == {
        "name": "acks", "ours": 4622.0, "peer": 497.0, "ratio": 9.3, "reach": "≥ 15×", "met": False
    }  # fmt: skip


def test_a_peer_that_is_missing_is_said_and_a_miss_stands_out() -> None:
    gone = report.table([row(peer=None, remark="missing: npm is not on this machine")])[-1]
    assert "| – | " in gone
    assert "npm is not on this machine" in gone
    assert "**no**" in report.table([row(ours=899.0)])[-1]
    assert "MISSED" in report.spoken(row(ours=899.0))
    assert report.table([row()])[-1] == "| acks | 900 events/s | 100 events/s | 9× | ≥ 9× | yes |  |"


def test_the_invented_stripe_pages_through_every_object_once_and_refuses_what_is_over_its_limit() -> None:
    books = stub.Books(250, 0)
    seen: list[str] = []
    has_more, after = True, ""
    while has_more:
        status, page = books.answer(f"/v1/customers?limit=100{after}")
        assert status == 200
        seen += [one["id"] for one in page["data"]]
        has_more, after = page["has_more"], f"&starting_after={seen[-1]}"
    assert len(seen) == len(set(seen)) == 250
    hurried = stub.Books(250, 3)
    assert [hurried.answer("/v1/customers")[0] for _ in range(5)] == [200, 200, 200, 429, 429]
    assert hurried.refused == 2


@pytest.mark.parametrize(("value", "short"), [(0, 0), (123456.7, 123457), (12.3456, 12.3), (1.23456, 1.23), (0.0123456, 0.0123)])
def test_figures_are_written_with_three_digits(value: float, short: float) -> None:
    assert figures.rounded(value) == short


def test_of_three_runs_each_figure_is_the_median_and_every_error_counts() -> None:
    runs = [figures.Run(answered=n, errors=1, seconds=2.0, p50=p, p99=9 * p) for n, p in ((100, 3.0), (300, 1.0), (200, 2.0))]
    found = figures.typical(runs)
    assert (found.answered, found.rate, found.p50, found.p99, found.errors) == (200, 100, 2, 18, 3)
    assert figures.Run.decode(found.encode()) == found


def test_each_event_is_new_signed_and_as_large_as_those_that_the_targets_were_set_with() -> None:
    maker = events.Maker(subscriptions=3, accounts=[events.account(number) for number in range(2)])
    bodies = [maker.body() for _ in range(9)]
    envelopes = [understood.envelope(body) for body in bodies]
    assert len({envelope.id for envelope in envelopes}) == 9
    assert all(abs(len(body) - events.SIZE) < 20 for body in bodies)
    for body in bodies:
        header = maker.sign(body).decode()
        assert signatures.verify(body, header, [events.SECRET], float(header[2:12])) == events.SECRET
    accounts: dict[str, set[str]] = {}
    for envelope, body in zip(envelopes, bodies, strict=True):
        found = json.loads(body)["data"]["object"]
        assert objects.read_subscription(found).id == found["id"]
        accounts.setdefault(found["id"], set()).add(envelope.account)
    assert len(accounts) == 3
    assert all(len(owners) == 1 for owners in accounts.values()), "a subscription belongs to one account"


def test_no_two_events_of_a_subscription_in_a_backlog_are_of_the_same_second() -> None:
    maker = events.Maker(subscriptions=4, accounts=[])
    seen = [(json.loads(body)["data"]["object"]["id"], json.loads(body)["created"]) for body in maker.bodies(20, 1_790_000_000)]
    assert len(set(seen)) == 20


class _Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    statuses: tuple[int, ...] = (200,)
    seen = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        kind = type(self)
        self.send_response(kind.statuses[kind.seen % len(kind.statuses)])
        kind.seen += 1
        self.send_header("Content-Length", "2")
        if kind.seen % 5 == 0:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[int, type[_Server]]]:
    class Kind(_Server):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Kind) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        yield listening.server_address[1], Kind
        listening.shutdown()
        thread.join()


def test_the_load_generator_counts_every_answer_once_and_goes_on_where_the_server_hangs_up(server: tuple[int, type[_Server]]) -> None:
    port, kind = server
    make = load.post(events.Maker(subscriptions=10, accounts=[]), "/hook")
    begun = time.time()
    run = load.fire(port, make, connections=4, seconds=0.5)
    assert run.errors == 0
    # What was under way when time was up is answered and not counted.
    assert kind.seen - 4 <= run.answered <= kind.seen
    assert 0 < run.p50 <= run.p99
    assert run.seconds == pytest.approx(0.5)
    assert begun + 0.5 <= run.ended_at <= time.time()


def test_an_answer_that_is_no_success_is_an_error_and_no_answer(server: tuple[int, type[_Server]]) -> None:
    port, kind = server
    kind.statuses = (200, 503)
    run = load.fire(port, load.post(events.Maker(subscriptions=10, accounts=[]), "/hook"), connections=2, seconds=0.5)
    assert abs(run.errors - run.answered) <= 3


def test_a_steady_rate_is_kept_and_not_exceeded(server: tuple[int, type[_Server]]) -> None:
    port, _ = server
    run = load.fire(port, load.post(events.Maker(subscriptions=10, accounts=[]), "/hook"), connections=4, seconds=0.5, rate=100)
    # Fewer only where this machine is too busy to send them.
    assert 15 <= run.answered <= 51
