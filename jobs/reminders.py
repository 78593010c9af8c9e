"""Reminders of what waits for a person: at once, as its renewal comes nearer, and to all owners and admins once it has passed."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import IntEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app import db
from connect_app.models import Action
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from jobs import owners, queues, work

WAITING = ("requested", "manual")
# What comes at once is told in one letter: the loss of a connection puts hundreds there within seconds.
_GATHERED_FOR = timedelta(minutes=1)
# Of what has no renewal that we know of, so long is time enough.
_PATIENCE = timedelta(days=7)
# Nobody has to do anything about these, as things stand: they are told of only when they still wait as the renewal comes near.
_BY_ITSELF = frozenset(("yours", "under_way"))
_MOST_LINES = 25


class Stage(IntEnum):
    """How pressing a request is; `Action.reminded` keeps the last one that was told."""

    NEW = 1
    SOON = 2
    TODAY = 3
    LATE = 4


_AHEAD = {Stage.SOON: timedelta(days=3), Stage.TODAY: timedelta(days=1), Stage.LATE: timedelta(0)}
_SAID = {
    Stage.LATE: "Their renewal has passed:",
    Stage.TODAY: "They renew within a day:",
    Stage.SOON: "They renew within three days:",
    Stage.NEW: "New:",
}


def ask(session: Session, action: Action, now: datetime) -> None:
    """An action waits for a person from now on: its workspace's reminders look at it within a minute."""
    row_id, workspace_id = f"{action.workspace_id}/{action.mode}", action.workspace_id

    def look() -> None:
        queues.enqueue(session, "remind", row_id, workspace_id, due_at=now + _GATHERED_FOR)

    # Everything that comes to wait in the workspace asks for this one row: it is locked last.
    db.before_commit(session, f"remind/{row_id}", look)


def remind(rt: Runtime, claim: work.Claim) -> work.End:
    """Tell of each request in this mode that has become more pressing than was told, all in one letter; wait for the next to be so.

    What was told is kept in the transaction that asks for the letter, so that each stage of each request is told once.
    """
    mode, now = claim.row_id.rsplit("/", 1)[1], rt.now()
    with rt.transaction(claim.tenant) as session:
        found = select(Action).where(Action.workspace_id == claim.tenant, Action.mode == mode, Action.state.in_(WAITING))
        # Locked, so that nobody settles one between the look and the letter.
        waiting = session.execute(found.order_by(Action.asked_at, Action.id).with_for_update()).scalars().all()
        # After them, as whoever puts one there holds it before it asks for this very work.
        claim.fence(session)
        told = [action for action in waiting if stage(action, now) > action.reminded]
        _tell(rt, session, claim, mode, [one for one in told if not (one.code in _BY_ITSELF and stage(one, now) is Stage.NEW)])
        for action in told:
            action.reminded = stage(action, now)
        coming = [at for action in waiting if (at := _next(action, now)) is not None]
    return work.Again(problem="the next stage is not reached yet", after=min(coming) - now) if coming else work.Done()


def stage(action: Action, now: datetime) -> Stage:
    """How pressing it is now."""
    left = due(action) - now
    return next((reached for reached in (Stage.LATE, Stage.TODAY, Stage.SOON) if left <= _AHEAD[reached]), Stage.NEW)


def due(action: Action) -> datetime:
    """By when it should be done: before the customer is charged again, or, where that is not known, within a week."""
    return action.due_on or action.asked_at + _PATIENCE


def _next(action: Action, now: datetime) -> datetime | None:
    return min((at for ahead in _AHEAD.values() if (at := due(action) - ahead) > now), default=None)


def _tell(rt: Runtime, session: Session, claim: work.Claim, mode: str, told: Sequence[Action]) -> None:
    """To the owners all of it, to the admins what is overdue; in test mode to the first owner only."""
    late = [action for action in told if stage(action, rt.now()) is Stage.LATE]
    readers = [("owner", told)] + ([("admin", late)] if mode == Mode.LIVE else [])
    for role, actions in readers:
        if not actions:
            continue
        count = "A request waits" if len(actions) == 1 else f"{len(actions)} requests wait"
        owners.write(
            rt,
            session,
            claim.tenant,
            mode,
            roles=(role,),
            topic=f"queue/{mode}/{claim.id}/{claim.token}/{role}",
            subject=f"{count} for your team" + (f", {len(late)} overdue" if late else ""),
            lines=[
                f"{count} in the manual queue: your customers were told that your team sees to it.",
                *_listed(actions, rt.now()),
                "Do it in Stripe's dashboard and press Mark done, or press Retry, or Close what cannot be done:",
            ],
            page="/queue",
            sign=f"Holdfast, {mode} mode",
        )


def _listed(actions: Sequence[Action], now: datetime) -> list[str]:
    blocks, left = [], _MOST_LINES
    for reached in sorted(Stage, reverse=True):
        these = sorted((action for action in actions if stage(action, now) is reached), key=due)
        if these and left:
            blocks.append("\n".join([_SAID[reached], *(_line(action) for action in these[:left])]))
            left -= len(these[:left])
    return [*blocks, *([f"… and {len(actions) - _MOST_LINES} more."] if len(actions) > _MOST_LINES else [])]


def _line(action: Action) -> str:
    by = f", renews on {action.due_on:%Y-%m-%d %H:%M} UTC" if action.due_on else ""
    what = action.verb.replace("_", " ")
    why = f"\n  {action.message}" if action.message else ""
    return f"- {what}: {action.subscription or 'no subscription given'} of {action.customer}, asked on {action.asked_at:%Y-%m-%d}{by}.{why}"
