"""Sessions as the dashboard lists them: who it was, why they came, what they were offered and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, TextClause, func, or_, select
from sqlalchemy.orm import Session

from connect_app.admin import outcomes
from connect_app.models import Answer, Choice, Customer, FlowSession, FlowVersion, Outcome
from flow_pages import document, steps, versions

PER_PAGE = 50
# Nobody leafs further; a search finds what is older.
LAST_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One session in a list. `reason` is the label as the customer read it; `offer` is `accepted`, `declined` or None."""

    id: str
    mode: str
    origin: str
    is_control: bool
    customer: str
    customer_name: str | None
    subscription: str
    plan: str | None
    minted_at: datetime
    reason: str | None
    comment: str | None
    offer: str | None
    offer_name: str | None
    outcome: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Up to PER_PAGE rows, newest first, of `total`; pages are numbered from 1. `is_more`: it is more than that."""

    rows: list[Row]
    number: int
    total: int
    is_more: bool = False

    @property
    def first(self) -> int:
        return (self.number - 1) * PER_PAGE + 1

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1

    @property
    def has_older(self) -> bool:
        return self.last < self.total and self.number < LAST_PAGE


def page(
    session: Session,
    workspace_id: str,
    mode: str,
    *,
    now: datetime,
    number: int = 1,
    size: int = PER_PAGE,
    outcome: str | None = None,
    search: str = "",
    is_opened: bool = False,
    since: datetime | None = None,
    total: int | None = None,
    only: TextClause | None = None,
) -> Page:
    """A page of one mode's sessions. `search` is an exact customer, subscription or session id; `is_opened` leaves out unopened links.

    `total` is how many there are, where the caller knows it; else they are counted as far as anybody can leaf. `only`
    is a condition on `sessions` (reports.condition), for which each of them is looked at.
    """
    number = max(1, min(number, LAST_PAGE))
    query = _joined(select(FlowSession.id)).where(FlowSession.workspace_id == workspace_id, FlowSession.mode == mode)
    if is_opened:
        query = query.where(FlowSession.shown_at.is_not(None))
    if since is not None:
        query = query.where(FlowSession.minted_at >= since)
    if only is not None:
        query = query.where(only)
    if outcome and only is not None:
        query = query.where(outcomes.outcome(now) == outcome)
    elif outcome:
        newest = outcomes.having(workspace_id, mode, outcome, since=since, now=now, most=number * size).subquery()
        query = query.where(FlowSession.id.in_(select(newest.c.id)))
    if search:
        query = query.where(or_(FlowSession.customer == search, FlowSession.subscription == search, FlowSession.id == search))
    is_more = False
    if total is None:
        most = LAST_PAGE * size
        total = session.execute(select(func.count()).select_from(query.limit(most + 1).subquery())).scalar_one()
        total, is_more = min(total, most), total > most
    wanted = query.order_by(FlowSession.minted_at.desc(), FlowSession.id.desc()).limit(size).offset((number - 1) * size)
    return Page(rows=_rows(session, wanted, now), number=number, total=total, is_more=is_more)


def newest(session: Session, workspace_id: str, mode: str, now: datetime, most: int) -> list[Row]:
    """The sessions that were handed over last, newest first."""
    query = _joined(select(FlowSession.id)).where(FlowSession.workspace_id == workspace_id, FlowSession.mode == mode)
    return _rows(session, query.order_by(FlowSession.minted_at.desc(), FlowSession.id.desc()).limit(most), now)


def of_visits(session: Session, workspace_id: str, session_ids: Sequence[str], now: datetime) -> list[Row]:
    """These sessions as rows, newest first; those of another workspace are left out."""
    query = _joined(select(FlowSession.id)).where(FlowSession.workspace_id == workspace_id, FlowSession.id.in_(session_ids))
    return _rows(session, query.order_by(FlowSession.minted_at.desc(), FlowSession.id.desc()), now)


def _rows(session: Session, query: Select[tuple[str]], now: datetime) -> list[Row]:
    columns = (
        FlowSession,
        Customer.name,
        Customer.email,
        Choice,
        outcomes.outcome(now).label("outcome"),
        outcomes.state(now).label("state"),
    )
    rows = session.execute(query.with_only_columns(*columns)).all()
    answers = _answers(session, [row.FlowSession.id for row in rows])
    flows = _flows(session, {row.FlowSession.flow_version_id for row in rows})
    return [
        _row(row.FlowSession, row.Choice, row.name or row.email, answers.get(row.FlowSession.id, {}), flows, row.outcome, row.state)
        for row in rows
    ]


def _joined(query: Select[tuple[str]]) -> Select[tuple[str]]:
    return (
        query.outerjoin(Choice, Choice.session_id == FlowSession.id)
        .outerjoin(Outcome, Outcome.session_id == FlowSession.id)
        .outerjoin(
            Customer,
            (Customer.workspace_id == FlowSession.workspace_id)
            & (Customer.connection_id == FlowSession.connection_id)
            & (Customer.id == FlowSession.customer),
        )
    )


def _answers(session: Session, session_ids: list[str]) -> dict[str, dict[str, dict[str, object]]]:
    answers: dict[str, dict[str, dict[str, object]]] = {}
    for row in session.execute(select(Answer).where(Answer.session_id.in_(session_ids))).scalars():
        answers.setdefault(row.session_id, {})[row.step] = row.value
    return answers


def _flows(session: Session, version_ids: set[str]) -> dict[str, document.Flow]:
    rows = session.execute(select(FlowVersion.id, FlowVersion.document).where(FlowVersion.id.in_(version_ids)))
    return {row.id: versions.read(row.document) for row in rows}


def _row(
    row: FlowSession,
    choice: Choice | None,
    name: str | None,
    answers: Mapping[str, Mapping[str, object]],
    flows: Mapping[str, document.Flow],
    outcome: str,
    state: str,
) -> Row:
    survey = answers.get(steps.SURVEY, {})
    flow = flows.get(row.flow_version_id)
    given = survey.get("reason")
    reason = flow.reason(given) if flow and isinstance(given, str) else None
    declined = next((flow.offer(key.removeprefix("offer:")) for key in answers if key.startswith("offer:")), None) if flow else None
    taken = choice.offer if choice is not None and choice.verb == "accept" else None
    plan = row.variables.get("plan_name", {}).get("value")
    comment = survey.get("comment")
    return Row(
        id=row.id,
        mode=row.mode,
        origin=row.origin,
        is_control=row.is_control,
        customer=row.customer,
        customer_name=name,
        subscription=row.subscription,
        plan=str(plan) if plan else None,
        minted_at=row.minted_at,
        reason=reason.label if reason else None,
        comment=str(comment) if comment else None,
        offer="accepted" if taken else "declined" if declined else None,
        offer_name=str(taken.get("headline") or "") if taken else declined.headline if declined else None,
        outcome=outcome,
        state=state,
    )
