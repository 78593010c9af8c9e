"""What was understood goes after its time; what waits or failed stays, however old it is."""

import dataclasses
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from freezegun import freeze_time
from sqlalchemy import text

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
