"""Raw session rows as CSV: what each session said, what became of it, and what it was worth, read a portion at a time."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import TextClause, select, tuple_
from sqlalchemy.orm import Session

from connect_app.admin import outcomes, sessions, sheets
from connect_app.models import Choice, FlowSession, Outcome
from connect_app.models.base import Json
from connect_app.money import Money
from connect_app.runtime import Runtime

_PORTION = 500
HEADER = (
    "session", "mode", "origin", "customer", "subscription", "plan", "minted_at", "opened_at", "reason", "comment", "offer", "offer_name",
    "outcome", "how", "door", "since", "decided_at", "checked_at", "currency", "mrr_at_stake", "mrr_saved", "mrr_lost", "counted_in",
    "paid_since", "refunded", "disputed",
)  # fmt: skip


def lines(
    rt: Runtime, workspace_id: str, mode: str, *, since: datetime | None, outcome: str, only: TextClause | None = None
) -> Iterator[str]:
    """The opened sessions of a period, newest first. `outcome` is a key of outcomes.WORDS, or empty for all; `only`
    is a condition on `sessions` (reports.condition).

    Amounts are in the unit people speak of, of the session's own currency; what was paid in another is left out and never converted.
    """
    yield sheets.lines([HEADER])
    before: tuple[datetime, str] | None = None
    while True:
        with rt.transaction(workspace_id) as session:
            portion, before = _portion(session, workspace_id, mode, rt.now(), since=since, outcome=outcome, only=only, before=before)
        if not portion:
            return
        yield sheets.lines(portion)


def _portion(
    session: Session,
    workspace_id: str,
    mode: str,
    now: datetime,
    *,
    since: datetime | None,
    outcome: str,
    only: TextClause | None,
    before: tuple[datetime, str] | None,
) -> tuple[list[list[sheets.Cell]], tuple[datetime, str] | None]:
    query = (
        select(FlowSession.id, FlowSession.minted_at, FlowSession.shown_at, Outcome)
        .outerjoin(Choice, Choice.session_id == FlowSession.id)
        .outerjoin(Outcome, Outcome.session_id == FlowSession.id)
        .where(FlowSession.workspace_id == workspace_id, FlowSession.mode == mode, FlowSession.shown_at.is_not(None))
    )
    if since is not None:
        query = query.where(FlowSession.minted_at >= since)
    if outcome:
        query = query.where(outcomes.outcome(now) == outcome)
    if only is not None:
        query = query.where(only)
    if before is not None:
        query = query.where(tuple_(FlowSession.minted_at, FlowSession.id) < before)
    found = session.execute(query.order_by(FlowSession.minted_at.desc(), FlowSession.id.desc()).limit(_PORTION)).all()
    if not found:
        return [], None
    rows = {row.id: row for row in sessions.of_visits(session, workspace_id, [line.id for line in found], now)}
    return [_cells(rows[line.id], line.shown_at, line.Outcome) for line in found], (found[-1].minted_at, found[-1].id)


def _cells(row: sessions.Row, shown_at: datetime, kept: Outcome | None) -> list[sheets.Cell]:
    known: Json = (kept.revenue if kept else None) or {}
    stake = known.get("stake") or known.get("saved") or {}
    currency = stake.get("currency")
    paid = (known.get("paid") or {}).get(currency) if currency else None
    return [
        row.id, row.mode, row.origin, row.customer, row.subscription, row.plan, row.minted_at, shown_at, row.reason, row.comment,
        row.offer, row.offer_name, row.outcome, kept.how if kept else None, kept.door if kept else None, kept.since if kept else None,
        kept.interval_ends_at if kept else None, kept.checked_at if kept else None, currency,
        _amount(known.get("stake"), currency), _amount(known.get("saved"), currency), _amount(known.get("lost"), currency),
        known.get("told_in"),
        *(_minor(paid.get(key), currency) if paid else None for key in ("paid", "refunded", "disputed")),
    ]  # fmt: skip


def _amount(frozen: Json | None, currency: str | None) -> sheets.Cell:
    return _minor(frozen["amount"], currency) if frozen and frozen.get("currency") == currency else None


def _minor(amount: int | None, currency: str | None) -> sheets.Cell:
    return Money(amount, currency).decimal if amount is not None and currency else None
