"""Reconciliation: Stripe's own list of events, gone through every hour for what no webhook brought."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app import connections, db
from connect_app.models import Connection, WebhookEvent
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from connect_app.stripe_gateway.gateway import EVENT_TYPES_PER_CALL, REQUIRED_EVENTS
from jobs import alerts, budget, queues, work
from jobs.backfill.reading import EVENTS_REACH
from webhooks import events, projections

log = structlog.get_logger()

# Younger than this, an event may still be on its way.
ON_ITS_WAY = timedelta(minutes=15)
# What is younger than this is looked at and then looked at again: it may be on its way, or not in Stripe's list yet.
OVERLAP = ON_ITS_WAY + timedelta(minutes=5)
# Gone through at a time, oldest first, so that a long silence is caught up with piece by piece; a quarter of it where that was too much,
# down to a minute and a half.
SLICE = timedelta(hours=6)
# Where even what is too young to be settled is too much for a turn: so much of it is then old enough.
_LATER = timedelta(minutes=5)


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What one turn found: `due` events old enough to have arrived, and how many of those had not; `until` is the first answer's time."""

    until: datetime | None = None
    due: int = 0
    missed: int = 0
    oldest: datetime | None = None


class _TooLong(Exception):
    """The turn's time is over in the middle of a stretch; `is_young` where that is as short as it can be, and open at its end."""

    def __init__(self, *, is_young: bool) -> None:
        super().__init__("too many events for one turn")
        self.is_young = is_young


def reconcile(rt: Runtime, claim: work.Claim) -> work.End:
    """Go through the events of the connection `claim.row_id` since the last time; what we lack of them is read from Stripe again.

    The time up to which all is known moves only when every page before it was gone through: a stretch that is cut off is repeated.
    """
    with rt.transaction(claim.tenant) as session:
        connection = connections.by_id(session, claim.row_id)
    # Before the first read-in is complete nothing can be missing: it brings everything.
    if connection is None or connection.state != "connected" or connection.reconciled_at is None:
        return work.Done()
    if rt.now() - connection.reconciled_at > EVENTS_REACH:
        return _read_everything(rt, claim, connection)
    until, gone_through = time.monotonic() + rt.settings.holdfast_lease_seconds / 3, 0
    try:
        while _slice(rt, claim, connection, until):
            gone_through += 1
    except _TooLong as cut:
        if cut.is_young:
            # Repeated at once, it would be as long again. What was looked at of it is asked for, and the rest is older soon.
            return work.Again(problem=str(cut), after=_LATER)
        if not gone_through:
            return work.Again(problem=str(cut), after=timedelta(0))
        # Asking anew, rather than trying again: this was progress.
        with rt.transaction(claim.tenant) as session:
            claim.fence(session)
            queues.enqueue(session, "reconcile", connection.id, connection.workspace_id, due_at=rt.now())
    except AccessLost as loss:
        # Whoever has cut us off is found out, and told, by the check.
        _ask_for_check(rt, claim, connection)
        return work.GiveUp(problem=str(loss))
    except Transient as failure:
        return work.Again(problem=str(failure))
    except (Missing, Refused) as refusal:
        return work.GiveUp(problem=str(refusal))
    return work.Done()


def _slice(rt: Runtime, claim: work.Claim, connection: Connection, until: float) -> bool:
    """Go through the next stretch of the list and move the time behind it; whether more is to come. Raises _TooLong after `until`."""
    with rt.transaction(claim.tenant) as session:
        now = connections.by_id(session, connection.id)
    if now is None or now.state != "connected" or now.reconciled_at is None:
        return False
    since, tally = now.reconciled_at, _Tally()
    size, left = SLICE / 4 ** min(claim.attempts - 1, 4), rt.now() - now.reconciled_at
    # The last stretch is open at its end. Where it was too much, what may be settled of it goes by itself.
    end = since + size if left > size + OVERLAP else None
    if end is None and claim.attempts > 1 and left > OVERLAP + timedelta(seconds=1):
        end = rt.now() - OVERLAP
    for as_of, page in _pages(rt, connection, since, end):
        if time.monotonic() > until:
            with rt.transaction(claim.tenant) as session:
                _judge(rt, session, connection, tally, is_whole=False)
                claim.fence(session)
            raise _TooLong(is_young=end is None and left <= OVERLAP + _LATER)
        tally.until = tally.until or as_of
        _take(rt, claim, connection, page, as_of, tally)
    settled = end or (tally.until or since) - OVERLAP
    with rt.transaction(claim.tenant) as session:
        connections.reconciled(session, connection.id, until=max(since, settled))
        _judge(rt, session, connection, tally, is_whole=end is None)
        claim.fence(session)
    log.info("reconciled", connection=connection.id, due=tally.due, missed=tally.missed, is_last=end is None)
    return end is not None


def _pages(
    rt: Runtime, connection: Connection, since: datetime, end: datetime | None
) -> Iterator[tuple[datetime, Sequence[objects.Event]]]:
    account = rt.stripe(connection.mode).account(connection.account)
    for start in range(0, len(REQUIRED_EVENTS), EVENT_TYPES_PER_CALL):
        types, after = REQUIRED_EVENTS[start : start + EVENT_TYPES_PER_CALL], None
        while True:
            budget.wait(rt, connection.account, connection.mode)
            read = account.events(types=types, created_gte=since, created_lt=end, after=after)
            yield read.as_of, read.value.items
            if not read.value.has_more or read.value.last_id is None:
                break
            after = read.value.last_id


def _take(rt: Runtime, claim: work.Claim, connection: Connection, page: Sequence[objects.Event], as_of: datetime, tally: _Tally) -> None:
    """Ask for what the unknown events of a page are about. They are rendered as of their own time: nothing of them is applied."""
    with rt.transaction(claim.tenant) as session:
        here = set(session.execute(select(WebhookEvent.id).where(WebhookEvent.id.in_([event.id for event in page]))).scalars())
        missing = [event for event in page if event.id not in here]
        wanted = _older(session, connection, missing)
        projections.refetch_all(session, connection.workspace_id, connection.id, dict.fromkeys(wanted, rt.now()))
        if any(_concerns_the_connection(event) for event in missing):
            queues.enqueue(session, "check_connection", connection.id, connection.workspace_id, due_at=rt.now())
        claim.fence(session)
    tally.due += sum(as_of - event.created >= ON_ITS_WAY for event in page)
    late = [event.created for event in missing if as_of - event.created >= ON_ITS_WAY]
    tally.missed += len(late)
    tally.oldest = min([*late, *([tally.oldest] if tally.oldest else [])], default=None)


def _meaning(event: objects.Event) -> events.Meaning:
    try:
        return events.understand(event.type, json.dumps({"data": {"object": event.object}}).encode())
    except ValueError:
        return events.Unknown()


def _older(session: Session, connection: Connection, missing: Sequence[objects.Event]) -> set[tuple[str, str]]:
    """What these events are about, but for what the mirror holds from later: they are what a turn that is repeated asked for before."""
    news: dict[str, dict[str, datetime]] = {}
    wanted = set()
    for event in missing:
        match _meaning(event):
            case events.Snapshot(kind=kind, id=id):
                of_kind = news.setdefault(kind, {})
                of_kind[id] = max(of_kind.get(id, event.created), event.created)
            case events.Trigger(kind=kind, id=id):
                wanted.add((kind, id))
    for kind, newest in news.items():
        model = projections.TABLES[kind].model
        held = select(model.id, model.as_of).where(model.connection_id == connection.id, model.id == db.any_of(newest))
        known = {row.id: row.as_of for row in session.execute(held)}
        wanted |= {(kind, id) for id, created in newest.items() if id not in known or known[id] <= created}
    return wanted


def _concerns_the_connection(event: objects.Event) -> bool:
    return isinstance(_meaning(event), events.Deauthorized | events.PortalChanged)


def _judge(rt: Runtime, session: Session, connection: Connection, tally: _Tally, *, is_whole: bool) -> None:
    """Silent is where most of what should have come did not. A quiet account, of which there was no news, is not judged at all.

    Any stretch can tell that it is silent, only the newest, looked through as a whole, that it is not.
    """
    if not tally.due:
        return
    if tally.missed * 2 >= tally.due:
        since = tally.oldest.isoformat() if tally.oldest else None
        alerts.open(rt, session, connection, "silent", {"missed": tally.missed, "due": tally.due, "since": since})
    elif is_whole:
        alerts.close(rt, session, connection, "silent")


def _read_everything(rt: Runtime, claim: work.Claim, connection: Connection) -> work.End:
    """Stripe's list no longer reaches back to where we were: only a new read-in can tell what happened since."""
    log.warning("reconcile.beyond_reach", connection=connection.id)
    with rt.transaction(claim.tenant) as session:
        if connection.read_in.get("state") == "done":
            connections.read_in_again(session, connection, is_full=True)
        queues.enqueue(session, "read_in", connection.id, connection.workspace_id, due_at=rt.now())
        claim.fence(session)
    return work.Done()


def _ask_for_check(rt: Runtime, claim: work.Claim, connection: Connection) -> None:
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        queues.enqueue(session, "check_connection", connection.id, connection.workspace_id, due_at=rt.now())
