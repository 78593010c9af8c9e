"""What is no longer needed, and when it goes."""

import time
from datetime import datetime, timedelta

import structlog
from sqlalchemy import text

from connect_app.runtime import Runtime
from jobs import work

log = structlog.get_logger()

# A statement's worth: short enough for every limit on statements, and for whoever waits for the same rows.
BATCH = 1000
# Lane by lane, because that is what the archive's index is sorted by. Only what is over: an event that waits, for its turn, for its
# account or for somebody's look, is kept however old it is.
_DROP = text(
    """
with old as (
  select id from webhook_events where account = :account and livemode = :livemode and received_at < :before and state in ('done', 'ignored')
  order by received_at limit :batch for update skip locked
)
delete from webhook_events using old where webhook_events.id = old.id returning webhook_events.id
"""
)


# What reached its webhook or pass-through URL; its attempts go with it. What failed can still be replayed, and letters keep their topics:
# one that is asked for again must not be sent again.
_FORGET = text(
    """
with old as (
  select id from deliveries where kind <> 'email' and state = 'delivered' and delivered_at < :before
  order by delivered_at limit :batch for update skip locked
)
delete from deliveries using old where deliveries.id = old.id returning deliveries.id
"""
)


def drop_events(rt: Runtime, claim: work.Claim) -> work.End:
    """Drop the raw events that were understood, or meant nothing to us, and came longer than HOLDFAST_EVENT_DAYS ago; and deliveries
    that arrived as long ago.
    """
    until = time.monotonic() + rt.settings.holdfast_lease_seconds / 3
    before = rt.now() - timedelta(days=rt.settings.holdfast_event_days)
    dropped = 0
    with rt.transaction() as session:
        lanes = session.execute(text("select account, livemode from webhook_lanes order by id")).all()
    for lane in lanes:
        count = BATCH
        while count == BATCH:
            with rt.transaction() as session:
                values = {"account": lane.account, "livemode": lane.livemode, "before": before, "batch": BATCH}
                count = len(session.execute(_DROP, values).all())
                claim.fence(session)
            dropped += count
            if time.monotonic() > until:
                log.info("events.dropped", events=dropped, is_all=False)
                return work.Again(problem="more is old", after=timedelta(0))
    log.info("events.dropped", events=dropped, is_all=True)
    return _forget(rt, claim, before, until)


def _forget(rt: Runtime, claim: work.Claim, before: datetime, until: float) -> work.End:
    """Drop what was delivered before that time, workspace by workspace: each sees its own alone."""
    with rt.transaction() as session:
        workspaces = session.execute(text("select id from workspaces order by id")).scalars().all()
    for workspace_id in workspaces:
        count = BATCH
        while count == BATCH:
            with rt.transaction(workspace_id) as session:
                count = len(session.execute(_FORGET, {"before": before, "batch": BATCH}).all())
                claim.fence(session)
            if time.monotonic() > until:
                return work.Again(problem="more is old", after=timedelta(0))
    return work.Done()
