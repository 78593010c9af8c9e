"""Doing one row of work: claim it by lease and fence, hand it to its handler, record the end under the fence."""

import importlib
import os
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from connect_app import db, ids, runtime
from connect_app.runtime import Runtime
from jobs import hands, queues, schedule, turns

log = structlog.get_logger()


class LeaseLost(Exception):
    """Another worker has taken this work over: what this one knows is stale, and it must change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Nothing is left to do (until it is asked for again, or, where the work is periodic, until its next time)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Not yet: try again after `after`, or by full jitter where it is None. `problem` is for the log and the dashboard.

    `is_untried`: it was not its turn, and this does not count as a try.
    """

    problem: str
    after: timedelta | None = None
    is_untried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """It cannot be done, and its own row says so. What is periodic is tried anew at its next time."""

    problem: str


End = Done | Again | GiveUp


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Work in hand: `token` is the fence, `asks` what had been asked for when it was taken."""

    id: str
    kind: str
    row_id: str
    workspace_id: str | None
    attempts: int
    asks: int
    token: int

    @property
    def tenant(self) -> str:
        """The workspace this work belongs to, for kinds that always have one."""
        if self.workspace_id is None:
            raise ValueError(f"work {self.kind} {self.row_id} has no workspace")
        return self.workspace_id

    def fence(self, session: Session) -> None:
        """Hold the work row in this transaction, or raise LeaseLost: the first line of every transaction of a handler that writes."""
        mine = session.execute(
            text("select 1 from work where id = :id and lease_token = :mine for update"), {"id": self.id, "mine": self.token}
        )
        if mine.first() is None:
            raise LeaseLost(self.id)


_hands: hands.Hands | None = None


def employ(crew: hands.Hands | None) -> None:
    """From now on, what is rung for in this process is done by these hands; None: by whoever hears the bell."""
    global _hands
    _hands = crew


def run(work_id: str) -> None:
    """What a doorbell calls, in the worker's runtime."""
    if _hands is not None:
        _hands.take(work_id)
    else:
        heed(runtime.current(), work_id)


def heed(rt: Runtime, work_id: str) -> End | None:
    """Hear a bell: what cannot wait for its own goes before, then the row that was rung for."""
    for other in turns.hurried(rt, work_id):
        perform(rt, other)
    return perform(rt, work_id)


def perform(rt: Runtime, work_id: str) -> End | None:
    """Do one row of work if it is due and free; None where it is not, or where the lease was lost on the way."""
    claim = _claim(rt, work_id)
    if claim is None:
        return None
    with structlog.contextvars.bound_contextvars(work=claim.id, kind=claim.kind, row=claim.row_id, job_id=ids.new("job")):
        log.info("work.claimed", token=claim.token, attempt=claim.attempts, pid=os.getpid())
        try:
            end = _handle(rt, claim)
            # Said before the lease is given back: nobody else's claim of this row can be logged earlier than this.
            log.info("work.handled", token=claim.token, end=type(end).__name__, problem=getattr(end, "problem", None), pid=os.getpid())
            _finish(rt, claim, end)
        except DBAPIError:
            # The database went away: nobody works on this row any more, and nobody else may until its lease runs out.
            _unfinished.append(claim)
            raise
        except LeaseLost:
            log.warning("work.fenced", token=claim.token, pid=os.getpid())
            return None
        return end


_unfinished: deque[Claim] = deque()


def give_back(rt: Runtime) -> int:
    """Free what this process had in hand when the database went away, so that nobody waits for its leases to run out; gives how many rows.

    Raises SQLAlchemyError while the database is away: what is left is given back the next time.
    """
    given = 0
    while _unfinished:
        claim = _unfinished[0]
        with rt.transaction() as session:
            free = (
                "update work set lease_until = null, problem = 'the database was away' where id = :id and lease_token = :mine returning id"
            )
            given += len(session.execute(text(free), {"id": claim.id, "mine": claim.token}).all())
        _unfinished.popleft()
    return given


def backoff(attempts: int, base: float = 0.5, cap: float = 60.0) -> timedelta:
    """Full jitter below a bound that doubles with each attempt and never shrinks, up to `cap` seconds."""
    return timedelta(seconds=random.uniform(0, min(cap, base * 2 ** min(attempts, 20))))  # noqa: S311  jitter is no secret


def resolve(path: str) -> Callable[..., End]:
    """The function behind `module:name`; its absence is a mistake that tests/test_architecture.py finds."""
    module, _, name = path.partition(":")
    function: Callable[..., End] = getattr(importlib.import_module(module), name)
    return function


def _claim(rt: Runtime, work_id: str) -> Claim | None:
    with rt.transaction() as session:
        row = session.execute(
            text(
                "update work set lease_until = clock_timestamp() + make_interval(secs => :lease), lease_token = lease_token + 1,"
                " attempts = attempts + 1"
                " where id = :id and due_at <= :now and gave_up_at is null"
                " and (lease_until is null or lease_until < clock_timestamp())"
                " returning id, kind, row_id, workspace_id, attempts, asks, lease_token"
            ),
            {"id": work_id, "now": rt.now(), "lease": rt.settings.holdfast_lease_seconds},
        ).first()
    if row is None:
        return None
    return Claim(
        id=row.id,
        kind=row.kind,
        row_id=row.row_id,
        workspace_id=row.workspace_id,
        attempts=row.attempts,
        asks=row.asks,
        token=row.lease_token,
    )


def _handle(rt: Runtime, claim: Claim) -> End:
    kind = queues.KINDS[claim.kind]
    try:
        end = resolve(kind.handler)(rt, claim)
    except LeaseLost:
        raise
    except Exception as error:
        log.exception("work.failed")
        end = Again(problem=f"{type(error).__name__}: {error}"[:500])
    if isinstance(end, Again) and not end.is_untried and claim.attempts >= kind.attempts:
        if kind.given_up is not None:
            resolve(kind.given_up)(rt, claim, end.problem)
        return GiveUp(problem=end.problem)
    return end


def _finish(rt: Runtime, claim: Claim, end: End) -> None:
    now = rt.now()
    with rt.transaction() as session:
        claim.fence(session)
        values = {"id": claim.id, "now": now, "asks": claim.asks}
        following = None if isinstance(end, Again) else schedule.following(claim.kind, now)
        match end:
            case Done() | GiveUp() if following is not None:
                session.execute(
                    text(
                        "update work set lease_until = null, attempts = 0, problem = :problem,"
                        " due_at = case when asks = :asks then :later else :now end where id = :id"
                    ),
                    {**values, "later": following, "problem": getattr(end, "problem", None)},
                )
            case Done():
                # Asked for again since the claim: not deleted, but due at once.
                session.execute(text("delete from work where id = :id and asks = :asks"), values)
                session.execute(
                    text("update work set lease_until = null, attempts = 0, problem = null, due_at = :now where id = :id"), values
                )
            case Again(problem=problem, after=after):
                later = now + (backoff(claim.attempts) if after is None else after)
                session.execute(
                    text(
                        "update work set lease_until = null, problem = :problem, attempts = greatest(0, attempts - :untried),"
                        " due_at = case when asks = :asks then :later else :now end where id = :id"
                    ),
                    {**values, "later": later, "problem": problem, "untried": int(end.is_untried)},
                )
            case GiveUp(problem=problem):
                session.execute(
                    text("update work set lease_until = null, problem = :problem, gave_up_at = :now where id = :id and asks = :asks"),
                    {**values, "problem": problem},
                )
                session.execute(
                    text("update work set lease_until = null, attempts = 0, due_at = :now where id = :id and gave_up_at is null"), values
                )
        left = session.execute(text("select queue, due_at from work where id = :id and gave_up_at is null"), {"id": claim.id}).first()
        if left is not None and left.due_at <= now and left.queue in queues.QUEUES:
            redis, queue = rt.redis, left.queue
            db.after_commit(session, lambda: queues.ring(redis, queue, claim.id))


def attend(rt: Runtime, queue: str, limit: int) -> None:
    """Do what is due in this queue though no bell can be heard: by this process's hands, or one row after the other."""
    if _hands is None:
        drain(rt, queue, limit)
        return
    for work_id, _ in turns.due_now(rt, queue, limit=limit, is_shared=True):
        _hands.take(work_id)


def drain(rt: Runtime, queue: str | None = None, limit: int = 1000) -> int:
    """Do what is due in this process, one row after the other; gives how many were done."""
    done = 0
    while done < limit:
        ended = 0
        for work_id, _ in turns.due_now(rt, queue, limit=50, is_shared=True):
            with suppress(Exception):
                ended += perform(rt, work_id) is not None
        done += ended
        if not ended:
            return done
    return done
