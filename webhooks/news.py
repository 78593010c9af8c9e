"""What a lane's events mean for its connection: the mirror, what must be read again, and the connection itself."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from connect_app import connections
from connect_app.models import AccountLookup
from connect_app.stripe_gateway import objects
from jobs import queues
from webhooks import attribution, events, projections
from webhooks.store import Waiting

# PostgreSQL's classes of errors that pass: connection, rollback (deadlock), resources, locks, operator's intervention.
_PASSING = ("08", "40", "53", "55", "57")

# How far ahead of us Stripe's clock may run.
_CLOCKS_DIFFER = timedelta(seconds=2)


@dataclass(slots=True, kw_only=True)
class Understood:
    """How a batch ended: ids of events that changed something, that meant nothing to us, and that could not be understood, with why."""

    done: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """One event that was understood; `row` is what it shows of a mirrored object, `meaning` is None where that says it all.

    `beside` is another object that has to be read again.
    """

    event: Waiting
    meaning: events.Meaning | None
    row: projections.Row | None
    beside: events.Trigger | None = None


def project(session: Session, home: AccountLookup, waiting: Sequence[Waiting], now: datetime) -> Understood:
    """Understand a batch of the news of the account that is at `home`, inside the caller's transaction, which is in that tenant: together,
    but for what would spoil it for the others.

    Raises DBAPIError when the database is at fault and not an event.
    """
    end = Understood()
    told = []
    for event in waiting:
        try:
            one = _glanced(event) or _read(event)
        except (ValueError, RecursionError) as problem:
            end.problems[event.id] = _words(problem)
            continue
        told.append(one)
    end.problems |= {one.event.id: _words(problem) for one, problem in _try(session, home, told, now)}
    for one in told:
        if one.event.id not in end.problems:
            (end.ignored if isinstance(one.meaning, events.Unknown) else end.done).append(one.event.id)
    newest = max(waiting, key=lambda event: event.created_at)
    lag = max(0, round((newest.received_at - newest.created_at).total_seconds() * 1000))
    connections.heard(session, home.connection_id, at=newest.received_at, lag_ms=min(lag, 2**31 - 1), api_version=newest.api_version)
    return end


def _glanced(event: Waiting) -> _Told | None:
    """What most events say, which are of our version and in order; None for those that have to be read."""
    if _is_ahead(event) or not events.is_expected(event.api_version):
        return None
    shown = events.plain(event.type, event.raw)
    row = projections.glance.row(str(events.mirrored(event.type)), shown, event.created_at) if shown is not None else None
    return None if row is None else _Told(event=event, meaning=None, row=row)


def _read(event: Waiting) -> _Told:
    meaning = events.understand(event.type, event.raw)
    if not isinstance(meaning, events.Snapshot):
        return _Told(event=event, meaning=meaning, row=None)
    again = events.Trigger(kind=meaning.kind, id=meaning.id)
    if _is_ahead(event):
        # Kept under such a time, it would shut out everything that really comes later.
        return _Told(event=event, meaning=again, row=None, beside=meaning.beside)
    is_expected = events.is_expected(event.api_version)
    try:
        row = projections.row(meaning.kind, meaning.raw, event.created_at, is_deleted=meaning.is_deleted)
    except objects.Malformed:
        if is_expected:
            raise
        # A version from before or after those we know: what the object is now, Stripe will tell in ours.
        return _Told(event=event, meaning=again, row=None, beside=meaning.beside)
    if meaning.kind == "charge" and meaning.raw.get("disputed"):
        # How the dispute stands, a charge does not tell.
        return _Told(event=event, meaning=again, row=None)
    # An event leaves out which products a coupon is limited to.
    is_whole = is_expected and (meaning.kind != "coupon" or meaning.is_deleted)
    return _Told(event=event, meaning=meaning if is_whole else again, row=row, beside=meaning.beside)


def _try(session: Session, home: AccountLookup, told: Sequence[_Told], now: datetime) -> list[tuple[_Told, Exception]]:
    """Apply what was told; gives those that cannot be applied, and why. They are found by halves: each costs the others little."""
    try:
        with session.begin_nested():
            _apply(session, home, told, now)
    except DBAPIError as problem:
        state = getattr(problem.orig, "sqlstate", None)
        if problem.connection_invalidated or state is None or state.startswith(_PASSING):
            raise
        spoiled: Exception = problem
    except (ValueError, TypeError, LookupError, RecursionError) as problem:
        spoiled = problem
    else:
        return []
    if len(told) <= 1:
        return [(one, spoiled) for one in told]
    half = len(told) // 2
    return [*_try(session, home, told[:half], now), *_try(session, home, told[half:], now)]


def _apply(session: Session, home: AccountLookup, told: Sequence[_Told], now: datetime) -> None:
    place = home.workspace_id, home.connection_id
    about = {one.row.id for one in told if one.row is not None and one.row.kind == "subscription"}
    if visited := attribution.visited(session, home.connection_id, about):
        attribution.told(session, *place, _changes(told, visited))
    rows, doubtful = projections.newest(one.row for one in told if one.row is not None)
    doubtful |= {(row.kind, row.id) for row in projections.apply(session, *place, rows)}
    doubtful |= {("subscription", id) for id in projections.with_unknown_discounts(session, home.connection_id, rows)}
    doubtful |= {(one.meaning.kind, one.meaning.id) for one in told if isinstance(one.meaning, events.Trigger)}
    doubtful |= {(one.beside.kind, one.beside.id) for one in told if one.beside is not None}
    # A read in the very second of the news could not be put in order with it, either.
    second = timedelta(seconds=1)
    fresh = {(row.kind, row.id) for row in rows if row.as_of + second > now}
    # Last, and sorted: a read that is being recorded holds its object's row and then wants its work row, like us.
    projections.refetch_all(session, *place, {key: now + second if key in fresh else now for key in doubtful})
    for one in told:
        if isinstance(one.meaning, events.Deauthorized):
            _deauthorized(session, home, one.event, now)
    if any(isinstance(one.meaning, events.PortalChanged) for one in told):
        queues.enqueue(session, "check_connection", home.connection_id, home.workspace_id, due_at=now)


def _changes(told: Sequence[_Told], subscriptions: Collection[str]) -> list[attribution.Change]:
    """What these events say about these subscriptions."""
    return [
        attribution.Change(event=one.event.id, type=one.event.type, at=one.event.created_at, raw=one.row.raw)
        for one in told
        if one.row is not None and one.row.kind == "subscription" and one.row.id in subscriptions
    ]


def _deauthorized(session: Session, home: AccountLookup, event: Waiting, now: datetime) -> None:
    """The end counts when it is newer than the connection; else it is about an earlier one, or too close to tell: Stripe is asked."""
    connection = connections.by_id(session, home.connection_id)
    if connection is None:
        raise LookupError(f"account {home.account} leads to no connection")
    if event.created_at > connection.connected_at and not _is_ahead(event):
        actor = f"stripe:{connection.account}"
        connections.lost(session, connection.workspace_id, connection.id, at=now, reason="deauthorized", actor=actor)
    else:
        queues.enqueue(session, "check_connection", connection.id, connection.workspace_id, due_at=now)


def _is_ahead(event: Waiting) -> bool:
    """Whether the event claims to be from a time that had not come when we got it."""
    return event.created_at > event.received_at + _CLOCKS_DIFFER


def _words(problem: Exception) -> str:
    text = str(getattr(problem, "orig", None) or problem)
    return f"{type(problem).__name__}: {text}"[:500]
