"""What became of sessions, in one definition: every list, filter and count of the dashboard reads it from here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, case, func, literal, or_, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from connect_app.admin import days
from connect_app.models import Action, CaseDay, CaseMark, CaseSession, Choice, FlowSession, Outcome
from flow_pages import visits

# Key -> (how a badge shows it, its name, what it means). In the order in which they are told. Nobody is called saved before the
# save interval is over and Stripe has shown that they still pay.
WORDS = {
    "canceled": ("neutral", "Canceled", "The customer chose to cancel, and Stripe showed the cancellation when it was read back."),
    "saved": ("ok", "Saved", "Validated: still subscribed and paying when Stripe was asked at the end of the save interval."),
    "lost": ("failed", "Lost", "Stayed at first, and left afterwards, by whichever door."),
    "paused": ("neutral", "Paused", "Paused at the end of the save interval. It is a save once the first charge after the pause is paid."),
    "offer": ("waiting", "Took the offer", "On watch: the offer is applied, as Stripe showed; whether they stay will be seen."),
    "kept": ("waiting", "Never mind", "On watch: the customer pressed Never mind and has chosen nothing else since."),
    "abandoned": ("waiting", "Left unfinished", "On watch: the customer left the flow half an hour ago or more, and chose nothing."),
    "reduced": ("waiting", "Kept a part", "On watch: the customer canceled one item, and Stripe showed that the rest goes on."),
    "undone": ("waiting", "Undone", "On watch: the customer canceled and took it back; Stripe showed that the subscription goes on."),
    "resubscribed": ("waiting", "Came back", "On watch: the customer canceled, and began another subscription within the save interval."),
    "watch": ("waiting", "On watch", "Still subscribed; the save interval is not over."),
    "in_progress": ("waiting", "In progress", "The customer chose; the change is being made or read back right now."),
    "with_team": ("attention", "With your team", "The customer chose, and a person has to do it: see Manual queue."),
    "failed": (
        "failed",
        "Failed",
        "The customer chose, and it was not carried out: impossible, decided anew since, or closed by your team.",
    ),
    "undecided": ("neutral", "No decision", "The customer opened the flow and chose nothing while the link was good."),
    "open": ("neutral", "Open", "The customer has opened the flow and may still choose."),
    "not_opened": ("neutral", "Not opened", "The link was made, and no person has opened it."),
    "unknown": (
        "neutral",
        "Unknown",
        "Nothing can be said: canceled or over before the session, not on your Stripe account, or a choice that was never carried out.",
    ),
}
# Those on watch, by how they came there.
WATCHED = ("offer", "kept", "abandoned", "reduced", "undone", "resubscribed", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many sessions ended how. `opened` were opened by a person; only those are counted."""

    by_outcome: Mapping[str, int]

    @property
    def opened(self) -> int:
        return sum(self.by_outcome.values())

    def of(self, *outcomes: str) -> int:
        return sum(self.by_outcome.get(outcome, 0) for outcome in outcomes)


def outcome(now: datetime) -> ColumnElement[str]:
    """The outcome of a session as a key of WORDS; for a query that outer-joins Outcome and Choice."""
    return case(
        ((Outcome.state == "watch") & Outcome.how.in_(WATCHED), Outcome.how),
        ((Outcome.state == "unknown") & _has_action("requested", "manual"), "with_team"),
        (Outcome.state.is_not(None) & (Outcome.state != "open"), Outcome.state),
        (_has_action("requested", "manual"), "with_team"),
        (_has_action("queued", "prechecked", "applied"), "in_progress"),
        (_has_action("failed"), "failed"),
        (FlowSession.state == "chosen", "in_progress"),
        (FlowSession.kept_at.is_not(None), "kept"),
        (FlowSession.shown_at.is_(None), "not_opened"),
        (FlowSession.expires_at <= now, "undecided"),
        else_=literal("open"),
    )


def state(now: datetime) -> ColumnElement[str]:
    """The session's state: `open`, `chosen`, `settled` (every action verified or failed) or `expired`."""
    is_over = or_(
        FlowSession.expires_at <= now, FlowSession.shown_at.is_(None) & (FlowSession.minted_at <= now - visits.FIRST_OPENED_WITHIN)
    )
    unsettled = _has_action("requested", "manual", "queued", "prechecked", "applied")
    return case(
        ((FlowSession.state == "chosen") & unsettled, "chosen"),
        (FlowSession.state == "chosen", "settled"),
        (is_over, "expired"),
        else_=literal("open"),
    )


def tally(session: Session, workspace_id: str, mode: str, *, since: datetime | None, now: datetime) -> Tally:
    """Count the opened sessions of one mode that were handed over since then, by outcome."""
    kept, place = days.whole(since), (workspace_id, mode)
    marked = _marked(place)
    counted = select(CaseDay.key, CaseDay.number).where(*_of(CaseDay, place), CaseDay.what == "session", CaseDay.day >= kept.first_day)
    edge = select(CaseSession.outcome, literal(1)).where(
        *_of(CaseSession, place), CaseSession.minted_at >= kept.since, CaseSession.minted_at < kept.first_day_at
    )
    stale = (
        select(CaseSession.outcome, literal(-1))
        .join(marked, (CaseSession.customer == marked.c.customer) & (CaseSession.subscription == marked.c.subscription))
        .where(*_of(CaseSession, place), CaseSession.minted_at >= kept.since)
    )
    present = _present(marked, place, outcome(now).label("key"), literal(1)).where(FlowSession.minted_at >= kept.since)
    lines = union_all(counted, edge, stale, present).subquery()
    total = func.sum(lines.c.number)
    found = session.execute(select(lines.c.key, total.label("sessions")).group_by(lines.c.key).having(total != 0))
    return Tally(by_outcome={row.key: int(row.sessions) for row in found})


def having(workspace_id: str, mode: str, wanted: str, *, since: datetime | None, now: datetime, most: int) -> Select[tuple[str, datetime]]:
    """The newest `most` opened sessions (id, handed over at) of this outcome: what was counted leads there without a look at the others."""
    kept, place = days.whole(since), (workspace_id, mode)
    marked = _marked(place)
    counted = (
        select(CaseSession.session_id.label("id"), CaseSession.minted_at.label("minted_at"))
        .outerjoin(marked, (CaseSession.customer == marked.c.customer) & (CaseSession.subscription == marked.c.subscription))
        .where(
            *_of(CaseSession, place),
            CaseSession.outcome == wanted,
            CaseSession.minted_at >= kept.since,
            marked.c.customer.is_(None),
        )
        .order_by(CaseSession.minted_at.desc(), CaseSession.session_id.desc())
        .limit(most)
    )
    present = _present(marked, place, FlowSession.id, FlowSession.minted_at).where(
        FlowSession.minted_at >= kept.since, outcome(now) == wanted
    )
    both = union_all(counted, present).subquery()
    return select(both.c.id, both.c.minted_at).order_by(both.c.minted_at.desc(), both.c.id.desc()).limit(most)


def _of(model: type[CaseDay | CaseMark | CaseSession | FlowSession], place: tuple[str, str]) -> tuple[ColumnElement[bool], ...]:
    return model.workspace_id == place[0], model.mode == place[1]


def _marked(place: tuple[str, str]) -> CTE:
    """Whose sessions have changed since they were counted (jobs.counting)."""
    return select(CaseMark.customer, CaseMark.subscription).where(*_of(CaseMark, place)).distinct().cte("marked")


def _present(marked: CTE, place: tuple[str, str], *columns: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Select[Any]:
    """The opened sessions of the marked, as they are now."""
    return (
        select(*columns)
        .select_from(FlowSession)
        .join(marked, (FlowSession.customer == marked.c.customer) & (FlowSession.subscription == marked.c.subscription))
        .outerjoin(Choice, Choice.session_id == FlowSession.id)
        .outerjoin(Outcome, Outcome.session_id == FlowSession.id)
        .where(*_of(FlowSession, place), FlowSession.shown_at.is_not(None))
    )


def _has_action(*states: str) -> ColumnElement[bool]:
    return select(Action.id).where(Action.choice_id == Choice.id, Action.state.in_(states)).exists()
