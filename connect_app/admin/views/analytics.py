"""Analytics: what came of the flow, for all customers or for some, divided by what is known of them, and as files."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from flask import Response as FlaskResponse
from flask import request, stream_with_context
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from connect_app import audit, preferences, runtime
from connect_app.admin import cases, desk, outcomes, reports, session_sheet, sessions, sheets

# So many of those on watch are listed; the rows below can be filtered for the others.
_WATCHED = 10
PERIODS = {"7": "7 days", "30": "30 days", "90": "90 days", "all": "All time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the address asks: a period and when it began (None: all time), an outcome or none, and how it is divided and cut."""

    period: str
    since: datetime | None
    outcome: str
    asked: reports.Asked
    names: list[reports.Name]

    def address(self, **changed: str) -> str:
        """The query of the same question, with some of it changed; what is empty is left out."""
        cut = self.asked.cut
        parts = {"period": self.period, "outcome": self.outcome, "by": self.asked.by, "where": cut.name if cut else "", **changed}
        told = [(name, value) for name, value in parts.items() if value]
        return urlencode(told + [("is", token) for token in (cut.tokens if cut and parts["where"] else ())])

    @property
    def carried(self) -> dict[str, object]:
        """What an audit entry says of it."""
        cut = self.asked.cut
        return {"period": self.period, "outcome": self.outcome, **({"where": cut.name, "is": ", ".join(cut.tokens)} if cut else {})}

    def type_of(self, key: str) -> str:
        return next((name.type for name in self.names if name.key == key), "text")

    def name_of(self, key: str) -> str:
        return next((name.label for name in self.names if name.key == key), key)


@desk.blueprint.get("/flows/analytics")
def analytics() -> str:
    """How sessions ended, and a row for each."""
    rt, at = runtime.current(), desk.here()
    now = rt.now()
    with rt.transaction(at.workspace_id) as session:
        question = _question(session, at.workspace_id, now)
        settings = preferences.read(session, at.workspace_id)
        watched = cases.watched(session, at.workspace_id, at.mode, _WATCHED, now)
        labels = reports.reasons(session, at.workspace_id) if not question.asked.is_plain else {}
    divided = None if question.asked.is_plain else _divided(question, now)
    headline, tally, page = None, outcomes.Tally(by_outcome={}), None
    if question.asked.cut is None or divided is not None:
        with rt.transaction(at.workspace_id) as session:
            if question.asked.cut is None or divided is None:
                headline = cases.headline(session, at.workspace_id, at.mode, since=question.since)
                tally = outcomes.tally(session, at.workspace_id, at.mode, since=question.since, now=now)
            else:
                headline, tally = divided.headline, divided.tally
        page = _page(question, tally, now)
    return desk.page(
        "analytics.html",
        "analytics",
        question=question,
        divided=divided,
        labels=labels,
        label=reports.label,
        ours=[name for name in question.names if name.is_ours],
        variables=[name for name in question.names if not name.is_ours],
        headline=headline,
        watched=watched,
        settings=settings,
        tally=tally,
        page=page,
        words=outcomes.WORDS,
        periods=PERIODS,
    )


@desk.blueprint.get("/flows/analytics.csv")
def analytics_csv() -> Response:
    """The raw rows of the sessions that the page shows, sent as they are read."""
    rt, at = runtime.current(), desk.here()
    with rt.transaction(at.workspace_id) as session:
        question = _question(session, at.workspace_id, rt.now())
        details = {"mode": str(at.mode), **question.carried}
        audit.record(session, at.workspace_id, actor=at.member.actor, verb="sessions.exported", at=rt.now(), details=details)
    only = reports.condition(question.asked.cut) if question.asked.cut else None
    lines = session_sheet.lines(rt, at.workspace_id, at.mode, since=question.since, outcome=question.outcome, only=only)
    return _file(f"sessions-{at.mode}-{rt.now():%Y-%m-%d}.csv", lines)


@desk.blueprint.get("/flows/analytics/breakdown.csv")
def breakdown_csv() -> Response:
    """The groups that the page shows, a line for each and currency. Empty where there is too much to look at."""
    rt, at = runtime.current(), desk.here()
    now = rt.now()
    with rt.transaction(at.workspace_id) as session:
        question = _question(session, at.workspace_id, now)
        labels = reports.reasons(session, at.workspace_id)
        details = {"mode": str(at.mode), "by": question.asked.by, **question.carried}
        audit.record(session, at.workspace_id, actor=at.member.actor, verb="report.exported", at=now, details=details)
    divided = _divided(question, now)
    if divided is None:
        return FlaskResponse(TOO_MUCH + "\n", status=503, content_type="text/plain; charset=utf-8", headers={"Retry-After": "60"})
    lines = reports.sheet(divided, lambda token: reports.label(question.asked.by, token, question.type_of(question.asked.by), labels))
    return _file(f"cases-by-{question.asked.by or 'all'}-{at.mode}-{now:%Y-%m-%d}.csv", [sheets.lines(lines)])


TOO_MUCH = "There are too many sessions in this period to look at each of them in a few seconds. Choose a shorter period."


def _divided(question: Question, now: datetime) -> reports.Breakdown | None:
    """In a transaction of its own: where it takes too long nothing else is lost."""
    rt, at = runtime.current(), desk.here()
    try:
        with rt.transaction(at.workspace_id) as session:
            return reports.broken_down(session, at.workspace_id, at.mode, question.asked, since=question.since, now=now)
    except reports.TooMuch:
        return None


def _page(question: Question, tally: outcomes.Tally, now: datetime) -> sessions.Page | None:
    rt, at = runtime.current(), desk.here()
    try:
        with rt.transaction(at.workspace_id) as session, reports.patiently(session):
            return sessions.page(
                session,
                at.workspace_id,
                at.mode,
                now=now,
                number=desk.page_number(),
                outcome=question.outcome,
                is_opened=True,
                since=question.since,
                total=tally.of(question.outcome) if question.outcome else tally.opened,
                only=reports.condition(question.asked.cut) if question.asked.cut else None,
            )
    except reports.TooMuch:
        return None


def _question(session: Session, workspace_id: str, now: datetime) -> Question:
    names = reports.known(session, workspace_id)
    period = request.args.get("period", "30")
    period = period if period in PERIODS else "30"
    outcome = request.args.get("outcome", "")
    return Question(
        period=period,
        since=None if period == "all" else now - timedelta(days=int(period)),
        outcome=outcome if outcome in outcomes.WORDS else "",
        asked=reports.asked(names, by=request.args.get("by", ""), where=request.args.get("where", ""), tokens=request.args.getlist("is")),
        names=names,
    )


def _file(name: str, lines: Iterable[str]) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return FlaskResponse(stream_with_context(iter(lines)), content_type="text/csv; charset=utf-8", headers=headers)
