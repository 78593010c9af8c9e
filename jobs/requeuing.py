"""Putting a lane's events back into it, slice by slice: those that waited for their account's connection, and those to be tried again."""

import time
from datetime import datetime, timedelta

from connect_app import connections
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from jobs import work
from webhooks import store


def requeue(rt: Runtime, claim: work.Claim) -> work.End:
    """Go on with what `store.release_waiting` or `store.replay_failed` began; each slice is a transaction of its own."""
    lane, state, until = claim.row_id.rsplit("/", 2)
    account, mode = lane.rsplit("/", 1)
    before = datetime.fromisoformat(until) if until else None
    ends = time.monotonic() + rt.settings.holdfast_lease_seconds / 3
    while time.monotonic() < ends:
        with rt.transaction() as session:
            store.lock(session, lane)
            # Disconnected again: a drain would put them aside for the next connection, and this would go round and round.
            if connections.locate(session, account, mode) is None:
                return work.Done()
            count = store.requeue(session, lane, account, Mode(mode).livemode, state, before, rt.now())
            claim.fence(session)
        if count < store.SLICE:
            return work.Done()
    return work.Again(problem="more is to be put back", after=timedelta(0))
