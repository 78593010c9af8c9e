"""Reading a list by several readers, each page and its cursor kept together, while the next pages are already asked for."""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby

import structlog
from sqlalchemy.orm import Session

from connect_app import connections
from connect_app.models import Connection
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from connect_app.stripe_gateway.answers import Page, Read
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from jobs import access, budget, queues, work
from jobs.backfill import leavings, pages, progress, stages
from jobs.backfill.lanes import WIDTH, Lane, divided
from jobs.backfill.progress import Progress
from webhooks import projections

log = structlog.get_logger()

# Stripe's list of events reaches back 30 days: within these, a connection that comes back is brought up to date by it alone.
EVENTS_REACH = timedelta(days=29)

# Stripe's answer to more requests than it allows, and how many of them in a row one page takes before the turn ends.
_TOO_FAST = 429
_REFUSALS = 4

# Pages that are kept in one transaction where as many wait: more would save little, and cost memory.
_TOGETHER = 2

_Answer = Read[Page[projections.Mirrored]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One page read: of which lane, what it brought (None: its cursor was gone), and the lanes that take over from there."""

    lane: Lane
    read: _Answer | None
    following: Sequence[Lane]


def read_in(rt: Runtime, claim: work.Claim) -> work.End:
    """Read on from the stored cursors of the connection `claim.row_id`; each page and its cursor are committed together."""
    until = time.monotonic() + rt.settings.holdfast_lease_seconds / 3
    with rt.transaction(claim.tenant) as session:
        connection = connections.by_id(session, claim.row_id)
    if connection is None or connection.state != "connected" or connection.read_in.get("state") == "done":
        return work.Done()
    try:
        now = progress.from_json(connection.read_in) or _begin(rt, claim, connection)
        while now is not None:
            now = _read(rt, claim, connection, now, until)
            if now is not None and time.monotonic() > until:
                # Asking anew, rather than trying again: this was progress, and progress has no last attempt.
                with rt.transaction(claim.tenant) as session:
                    claim.fence(session)
                    queues.enqueue(session, "read_in", claim.row_id, claim.tenant, due_at=rt.now())
                break
    except AccessLost as loss:
        return _access_lost(rt, claim, connection, loss)
    except Transient as failure:
        return work.Again(problem=str(failure))
    except (Missing, Refused) as refusal:
        give_up(rt, claim, str(refusal))
        return work.GiveUp(problem=str(refusal))
    return work.Done()


def give_up(rt: Runtime, claim: work.Claim, problem: str) -> None:
    """The owner is shown that the read-in stopped, and why; asking for it again goes on from the same place."""
    with rt.transaction(claim.tenant) as session:
        connection = connections.by_id(session, claim.row_id)
        if connection is not None:
            connections.save_read_in(session, connection.id, {**connection.read_in, "state": "failed", "error": problem[:500]})
        claim.fence(session)


def _begin(rt: Runtime, claim: work.Claim, connection: Connection) -> Progress | None:
    """The first step of a read-in; None where the list of events is enough to bring the account up to date, and was asked for."""
    budget.wait(rt, connection.account, connection.mode)
    account = rt.stripe(connection.mode).account(connection.account).account()
    known = connection.reconciled_at
    with rt.transaction(claim.tenant) as session:
        if known is not None and account.as_of - known < EVENTS_REACH and not connection.read_in.get("is_full"):
            done = {**connection.read_in, "state": "done", "finished_at": rt.now().isoformat(), "error": None}
            connections.save_read_in(session, connection.id, done)
            _ask(session, claim, "reconcile", rt.now())
            _ask(session, claim, "compare", rt.now())
            begun = None
        else:
            far = account.value.raw.get("created")
            began = int(far) if isinstance(far, int) else int(stages.history_begins(account.as_of).timestamp())
            begun = progress.begun(as_of=account.as_of, far=began, now=rt.now())
            connections.save_read_in(session, connection.id, begun.to_json())
        claim.fence(session)
    return begun


def _read(rt: Runtime, claim: work.Claim, connection: Connection, progress: Progress, until: float) -> Progress | None:
    """Read the present list until it ends or `until` (monotonic) has passed; None when the whole read-in is done.

    Each page leads to the next request before it is written down, so that the database's time and Stripe's overlap; what is under way when
    we are killed is asked for again, and nothing else. Never more pages are in memory than there are readers, and _TOGETHER being kept.
    """
    stage = stages.named(progress.stage)
    far = max(progress.far, int(stages.history_begins(progress.as_of).timestamp())) if stage.is_history else progress.far
    with ThreadPoolExecutor(WIDTH, thread_name_prefix="read-in") as readers:

        def ask(lanes: Iterable[Lane]) -> dict[Future[_Answer], Lane]:
            return {readers.submit(_page, rt, connection, stage, lane): lane for lane in lanes}

        asked, unread = ask(progress.lanes), list(progress.lanes)
        while asked:
            answered, _ = wait(asked, return_when=FIRST_COMPLETED)
            steps = []
            for future in list(answered)[:_TOGETHER]:
                lane = asked.pop(future)
                read, following = _answer(future, lane, connection, stage, int(progress.as_of.timestamp()))
                unread.remove(lane)
                mine = divided(following, far, WIDTH - len(unread)) if following else []
                unread += mine
                if time.monotonic() < until:
                    asked |= ask(mine)
                steps.append(_Step(lane=lane, read=read, following=mine))
            # Whatever came together goes together, but for pages of different seconds, of which each is true at its own.
            for _, together in groupby(sorted(steps, key=_second), key=_second):
                progress = _keep(rt, claim, connection, progress, list(together))
    return progress if progress.lanes else _next_list(rt, claim, connection, progress)


def _page(rt: Runtime, connection: Connection, stage: stages.Stage, lane: Lane) -> _Answer:
    """One page. A refusal for being too fast is met here by going slower: ending the whole turn for it would cost seconds, not one page."""
    account = rt.stripe(connection.mode).account(connection.account)
    refusals = 0
    while True:
        budget.wait(rt, connection.account, connection.mode)
        try:
            return stage.page(account, lane.cursor, lane.created)
        except Transient as failure:
            if failure.http_status != _TOO_FAST or refusals == _REFUSALS:
                raise
            budget.refused(rt, connection.account, connection.mode, refusals)
            refusals += 1


def _answer(
    future: Future[_Answer], lane: Lane, connection: Connection, stage: stages.Stage, now: int
) -> tuple[_Answer | None, Lane | None]:
    """The page, and the lane after it; None where it has come to its end. Raises what the request raised."""
    try:
        read = future.result()
    except (Missing, Refused) as refusal:
        # What the cursor stands on was deleted: from its second on, the lane is read without one.
        if lane.cursor is None or refusal.code != "resource_missing":
            raise
        log.warning("read_in.cursor_gone", connection=connection.id, stage=stage.name)
        return None, lane.without_cursor()
    page = read.value
    for problem in page.unreadable:
        log.warning("read_in.unreadable", connection=connection.id, stage=stage.name, problem=problem)
    if not page.has_more or page.last_id is None:
        return read, None
    return read, lane.advanced(page.last_id, page.last_at, len(page.items), now)


def _second(step: _Step) -> float:
    return step.read.as_of.timestamp() if step.read else 0.0


def _keep(rt: Runtime, claim: work.Claim, connection: Connection, progress: Progress, steps: Sequence[_Step]) -> Progress:
    """Write down pages of one second and how far their list has come, together."""
    items = [one for step in steps if step.read for one in step.read.value.items]
    over = {step.lane for step in steps}
    progress = replace(
        progress,
        lanes=(*(lane for lane in progress.lanes if lane not in over), *(lane for step in steps for lane in step.following)),
        counts={**progress.counts, progress.stage: progress.counts.get(progress.stage, 0) + len(items)},
        cancellations=progress.cancellations + sum(_is_cancellation(one, progress) for one in items),
        read_at=rt.now(),
    )
    with rt.transaction(claim.tenant) as session:
        if items and (read := steps[0].read):
            pages.keep(session, connection, [step.read.value.items for step in steps if step.read], read.as_of, rt.now())
        connections.save_read_in(session, connection.id, progress.to_json())
        # After the mirror's rows, as everywhere where both are held.
        claim.fence(session)
    return progress


def _is_cancellation(one: projections.Mirrored, progress: Progress) -> bool:
    if not isinstance(one, objects.Subscription) or one.ended_at is None:
        return False
    return one.ended_at >= stages.history_begins(progress.as_of)


def _next_list(rt: Runtime, claim: work.Claim, connection: Connection, progress: Progress) -> Progress | None:
    """The present list is read to its end: on to the next, or, after the last, to what the account turned out not to have."""
    following = stages.after(progress.stage)
    if following is not None:
        begins = int(stages.history_begins(progress.as_of).timestamp()) if following.is_history else None
        now = rt.now()
        progress = replace(progress, stage=following.name, lanes=(Lane(low=begins),), stage_at=now, read_at=now)
        with rt.transaction(claim.tenant) as session:
            connections.save_read_in(session, connection.id, progress.to_json())
            claim.fence(session)
        return progress
    leavings.read_again(rt, claim, connection, progress.as_of)
    with rt.transaction(claim.tenant) as session:
        connections.save_read_in(session, connection.id, progress.to_json("done", rt.now()))
        # What happened meanwhile and never reached us is in Stripe's list of events from here on.
        connections.reconciled(session, connection.id, until=progress.as_of)
        _ask(session, claim, "reconcile", rt.now())
        _ask(session, claim, "survey_fields", rt.now())
        claim.fence(session)
    return None


def _ask(session: Session, claim: work.Claim, kind: str, now: datetime) -> None:
    queues.enqueue(session, kind, claim.row_id, claim.tenant, due_at=now)


def _access_lost(rt: Runtime, claim: work.Claim, connection: Connection, loss: AccessLost) -> work.End:
    if loss.is_disconnected:
        with rt.transaction(claim.tenant) as session:
            now = connections.by_id(session, connection.id)
            if now is not None:
                connections.save_read_in(session, connection.id, {**now.read_in, "state": "failed", "error": str(loss)[:500]})
            claim.fence(session)
    return access.lost(rt, claim, connection, loss)
