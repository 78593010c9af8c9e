"""What our own records say of each choice, and what others were told of it: each thing once, and as Stripe has it."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from standardwebhooks import Webhook, WebhookVerificationError

from connect_app import connections
from jobs import work
from jobs.outbound import endpoints
from tests.faults.town import Resident, Town
from tests.service import test_outbound as outbound
from webhooks import mirror

# How long messages and owed reads may take once nothing fails any more: without getting one message further, and for all reads.
_PATIENCE = 60.0
# Whatever belongs to another row belongs to its workspace.
_KIN = {
    "choices": ("sessions", "session_id"),
    "session_facts": ("sessions", "session_id"),
    "outcomes": ("sessions", "session_id"),
    "actions": ("sessions", "session_id"),
    "attempts": ("actions", "action_id"),
    "receipts": ("actions", "action_id"),
    "deliveries": ("endpoints", "endpoint_id"),
}


@dataclass(frozen=True, slots=True)
class Listener:
    """The business's server, and its endpoint of ours, which wants to be told of everything."""

    sink: outbound.Sink
    endpoint_id: str
    secret: str


@contextmanager
def listening(place: Town) -> Iterator[Listener]:
    """While this lasts, the business is told."""
    with outbound.listening() as sink:
        with place.rt.transaction(place.workspace_id) as session:
            minted = endpoints.add(
                session, place.workspace_id, "test", kind="webhook", url=sink.url, topics=(), ring=place.rt.ring, now=place.rt.now(),
                by="usr_1",
            )  # fmt: skip
        yield Listener(sink, minted.id, minted.secret)
        with place.rt.transaction(place.workspace_id) as session:
            endpoint = endpoints.one(session, place.workspace_id, minted.id)
            endpoints.close(session, endpoint, "by_team", now=place.rt.now(), by="usr_1")


def misreported(place: Town, choices: Mapping[Resident, str]) -> list[str]:
    """Sessions whose facts are not each there once: one choice, and of each action its begin and its end; none of another workspace."""
    found: dict[str, Counter[tuple[str, str]]] = {resident.session_id: Counter() for resident in choices}
    states: dict[str, dict[str, str]] = {}
    with place.rt.transaction(place.workspace_id) as session:
        for row in session.execute(text("select session_id, kind, data->>'action' as action from session_facts")):
            if row.session_id in found:
                found[row.session_id][row.kind, row.action or ""] += 1
        for row in session.execute(text("select id, session_id, state from actions")):
            states.setdefault(row.session_id, {})[row.id] = row.state
        receipts = set(session.execute(text("select action_id from receipts")).scalars())
        foreign = [
            f"{table} {row.id} is not in the workspace of its {parent}"
            for table, (parent, key) in _KIN.items()
            for row in session.execute(
                text(f"select c.{key} as id from {table} c join {parent} p on p.id = c.{key} where p.workspace_id <> c.workspace_id")  # noqa: S608
            )
        ]
    wrong = []
    for visit, facts in found.items():
        wanted = Counter({("choice.made", ""): 1})
        for action, state in states.get(visit, {}).items():
            wanted |= Counter({("action.queued", action): 1, **({(f"action.{state}", action): 1} if state != "queued" else {})})
            if (action in receipts) != (state == "verified"):
                wrong.append(f"{action} is {state}, and its receipt is {'there' if action in receipts else 'not there'}")
        kinds = {"choice.made", "action.queued", "action.verified", "action.manual", "action.failed"}
        told = Counter({fact: count for fact, count in facts.items() if fact[0] in kinds})
        told = Counter({(kind, "" if kind == "choice.made" else action): count for (kind, action), count in told.items()})
        if told != wanted or any(count > 1 for (kind, _), count in facts.items() if kind == "action.applied"):
            wrong.append(f"{visit}: {dict(told)} instead of {dict(wanted)}")
    return foreign + wrong


def misinformed(place: Town, choices: Mapping[Resident, str], listener: Listener) -> list[str]:
    """What the business was not told, told of twice, or told in two ways under one id."""
    visits = {resident.session_id for resident in choices}
    delivered, end = 0, time.monotonic() + _PATIENCE
    while True:
        with place.rt.transaction(place.workspace_id) as session:
            rows = session.execute(
                text("select payload, state, topic from deliveries where endpoint_id = :endpoint"), {"endpoint": listener.endpoint_id}
            ).all()
            ended = session.execute(text("select id, session_id, state from actions")).all()
            letters = Counter(session.execute(text("select topic from deliveries where kind = 'email'")).scalars())
        if (done := sum(row.state == "delivered" for row in rows)) > delivered:
            delivered, end = done, time.monotonic() + _PATIENCE
        if done == len(rows) or time.monotonic() > end:
            break
        time.sleep(0.2)
    heard: dict[str, set[str]] = {}
    wrong = [f"{row.payload['id']} ({row.payload['type']}) is {row.state}" for row in rows if row.state != "delivered"]
    for one in listener.sink.heard:
        heard.setdefault(one.id, set()).add(one.body)
        try:
            Webhook(listener.secret).verify(one.body, one.headers)
        except WebhookVerificationError as problem:
            wrong.append(f"{one.id} cannot be believed: {problem}")
    wrong += [f"{row.payload['id']} ({row.payload['type']}) was never heard" for row in rows if row.payload["id"] not in heard]
    wrong += [f"{id} says {len(bodies)} things" for id, bodies in heard.items() if len(bodies) > 1]
    about = Counter((row.payload["type"], _subject(json.loads(row.payload["body"]))) for row in rows)
    for action in ended:
        if action.session_id in visits and action.state in ("verified", "manual", "failed"):
            times = about[f"action.{action.state}", action.id]
            letter = letters[f"action/{action.id}/{'received' if action.state == 'manual' else 'settled'}"]
            if (times, letter) != (1, 1):
                wrong.append(f"{action.id} is {action.state}: told {times} times, {letter} letters")
    wrong += [f"{type} of {subject}: told {count} times" for (type, subject), count in about.items() if count > 1]
    return wrong


def unlike(place: Town, choices: Mapping[Resident, str]) -> list[str]:
    """Subscriptions of which our mirror shows something else than Stripe has, once all that is to be read again has been."""
    left, end = [resident.subscription for resident in choices], time.monotonic() + _PATIENCE
    while True:
        work.drain(place.rt, "events")
        left = [name for name in left if not _is_alike(place, name, place.stripe.control("GET", f"objects/{name}"))]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.5)


def _is_alike(place: Town, subscription: str, raw: Any) -> bool:
    with place.rt.transaction(place.workspace_id) as session:
        connection = connections.of_mode(session, place.workspace_id, "test")
        assert connection is not None
        held = mirror.subscription(session, connection.id, subscription)
    return held is not None and dict(held.raw) == dict(raw)


def _subject(message: dict[str, Any]) -> str:
    """What a message is about: of an action the action, of anything else the session."""
    data = message["data"]
    return str(data["action"] if message["type"].startswith(("action.", "pause.")) else data.get("session"))
