"""What became of sessions, in one definition: every list, filter and count of the dashboard reads it from here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, case, func, literal, or_, select
from sqlalchemy.orm import Session

from connect_app.models import Action, Choice, FlowSession, Outcome
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
WATCHED = ("offer", "kept", "abandoned", "undone", "resubscribed", "watch")


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
    found = outcome(now).label("outcome")
    query = (
        select(found, func.count().label("sessions"))
        .select_from(FlowSession)
        .outerjoin(Choice, Choice.session_id == FlowSession.id)
        .outerjoin(Outcome, Outcome.session_id == FlowSession.id)
        .where(FlowSession.workspace_id == workspace_id, FlowSession.mode == mode, FlowSession.shown_at.is_not(None))
        .group_by(found)
    )
    if since is not None:
        query = query.where(FlowSession.minted_at >= since)
    return Tally(by_outcome={row.outcome: row.sessions for row in session.execute(query)})


def _has_action(*states: str) -> ColumnElement[bool]:
    return select(Action.id).where(Action.choice_id == Choice.id, Action.state.in_(states)).exists()
