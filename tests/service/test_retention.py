"""What was understood or delivered goes after its time; what waits or failed stays, however old it is."""

import dataclasses
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from freezegun import freeze_time
from sqlalchemy import text

from connect_app.models import Workspace
from connect_app.runtime import Runtime
from jobs import queues, retention, schedule, work
from webhooks import events, store

STATES = ("done", "ignored", "pending", "failed", "waiting_for_account")


def keep(rt: Runtime, account: str, count: int, state: str, days_ago: float) -> None:
    """So many events of this account, received so long ago, in this state."""
    batch = []
    for number in range(count):
        body: dict[str, Any] = {"object": "event", "id": f"evt_{account}_{state}_{days_ago}_{number}".replace(".", "_")}
        body |= {"type": "customer.updated", "created": 1_700_000_000, "livemode": False, "account": account, "data": {"object": {}}}
        batch.append(events.envelope(json.dumps(body).encode()))
    with rt.transaction() as session:
        store.keep(session, batch, rt.now() - timedelta(days=days_ago))
        ids = [envelope.id for envelope in batch]
        session.execute(text("update webhook_events set state = :state where id = any(:ids)"), {"state": state, "ids": ids})
        if state != "pending":
            session.execute(text("delete from webhook_pending where event_id = any(:ids)"), {"ids": ids})


def drop(rt: Runtime) -> work.End | None:
    with rt.transaction() as session:
        row = queues.enqueue(session, "retention", schedule.ONCE, None, due_at=rt.now())
    return work.perform(rt, row)


def left(rt: Runtime) -> Counter[str]:
    with rt.transaction() as session:
        return Counter(session.execute(text("select state from webhook_events")).scalars())


def test_only_what_is_over_goes_and_only_after_its_time(rt: Runtime) -> None:
    for state in STATES:
        keep(rt, "acct_old", 2, state, days_ago=36)
        keep(rt, "acct_young", 3, state, days_ago=34)
    assert drop(rt) == work.Done()
    assert left(rt) == {"done": 3, "ignored": 3, "pending": 5, "failed": 5, "waiting_for_account": 5}


def test_more_than_a_batch_goes_a_batch_at_a_time(rt: Runtime) -> None:
    keep(rt, "acct_busy", retention.BATCH + 50, "done", days_ago=40)
    assert drop(rt) == work.Done()
    assert left(rt) == {}


def test_an_event_is_kept_for_its_days_and_dropped_by_the_schedule(rt: Runtime) -> None:
    keep(rt, "acct_1", 1, "done", days_ago=0)
    for day, expected in ((30, 1), (34.9, 1), (35.1, 0)):
        with freeze_time(datetime.now(UTC) + timedelta(days=day), tick=True):
            drop(rt)
        assert left(rt)["done"] == expected, day


def test_the_operator_decides_after_how_many_days(rt: Runtime) -> None:
    keep(rt, "acct_1", 1, "done", days_ago=50)
    patient = dataclasses.replace(rt, settings=rt.settings.model_copy(update={"holdfast_event_days": 60}))
    drop(patient)
    assert left(rt)["done"] == 1
    drop(rt)
    assert left(rt)["done"] == 0


def told(rt: Runtime, workspace_id: str, id: str, kind: str, state: str, days_ago: float) -> None:
    """A delivery that was asked for, and arrived or failed, so long ago, with one attempt."""
    at = rt.now() - timedelta(days=days_ago)
    values = {"id": f"dlv_{workspace_id}_{id}", "ws": workspace_id, "kind": kind, "state": state, "at": at}
    with rt.transaction(workspace_id) as session:
        session.execute(
            text(
                "insert into deliveries (id, workspace_id, kind, topic, payload, state, asked_at, delivered_at)"
                " values (:id, :ws, :kind, :id, '{}', :state, :at, case when :state = 'delivered' then cast(:at as timestamptz) end)"
            ),
            values,
        )
        session.execute(
            text("insert into delivery_attempts (id, workspace_id, delivery_id, at, took_ms) values (:id || 't', :ws, :id, :at, 5)"), values
        )


def test_what_arrived_at_a_webhook_goes_as_events_do_with_its_attempts_and_all_else_stays(rt: Runtime) -> None:
    for workspace_id in ("ws_1", "ws_2"):
        with rt.transaction(workspace_id) as session:
            session.add(Workspace(id=workspace_id, slug=workspace_id.replace("_", "-"), name="A", created_at=rt.now()))
        for kind in ("webhook", "call", "email"):
            told(rt, workspace_id, f"{kind}_old", kind, "delivered", 36)
            told(rt, workspace_id, f"{kind}_young", kind, "delivered", 34)
            told(rt, workspace_id, f"{kind}_failed", kind, "failed", 50)
    assert drop(rt) == work.Done()
    for workspace_id in ("ws_1", "ws_2"):
        with rt.transaction(workspace_id) as session:
            kept = set(session.execute(text("select topic from deliveries")).scalars())
            tries = set(session.execute(text("select delivery_id from delivery_attempts")).scalars())
        gone = {f"dlv_{workspace_id}_webhook_old", f"dlv_{workspace_id}_call_old"}
        assert kept == tries
        assert len(kept) == 7
        assert not kept & gone
