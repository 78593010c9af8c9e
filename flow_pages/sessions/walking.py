"""Walking through a session: what was seen, answered, declined and kept, until its one choice is made."""

import re
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, func, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from connect_app import facts
from connect_app.errors import InvalidRequest
from connect_app.models import Answer, FlowSession
from connect_app.models.base import Json
from flow_pages import steps, visits
from flow_pages.document import Offer
from flow_pages.visits import Visit
from jobs import validation
from jobs.outbound import telling

COMMENT_LENGTH = 2000


def shown(session: Session, visit: Visit, now: datetime) -> bool:
    """A person has this session before them: from here its link lasts its 24 hours. False when it was over or chosen already."""
    row, is_first = visit.row, visit.row.shown_at is None
    touched = session.execute(
        update(FlowSession)
        .where(*still_open(row.id, now))
        .values(
            shown_at=func.coalesce(FlowSession.shown_at, now),
            save_interval_days=case(
                (FlowSession.shown_at.is_(None), visit.preferences.save_interval_days), else_=FlowSession.save_interval_days
            ),
            last_activity_at=now,
        )
        .returning(FlowSession.shown_at)
    ).scalar_one_or_none()
    if touched is None:
        return False
    if is_first and touched == now:
        facts.record(session, row.workspace_id, row.id, "session.started", now)
        validation.ask(session, row.workspace_id, [row.id], now + validation.ABANDONED_AFTER)
        telling.started(session, row, now)
    return True


def seen(session: Session, visit: Visit, step: steps.Step, now: datetime) -> None:
    """A page was sent out; whether to a person or to a scanner, `shown` tells."""
    row = visit.row
    if isinstance(step, steps.OfferStep):
        facts.record(session, row.workspace_id, row.id, "offer.shown", now, {"offer": step.offer.id})
    else:
        facts.record(session, row.workspace_id, row.id, "screen.seen", now, {"step": step.name})


def answer(session: Session, visit: Visit, *, reason: str | None, comment: str | None, now: datetime) -> bool:
    """The survey's answer, which replaces an earlier one and takes back a *Cancel now*. Raises InvalidRequest for a reason not in it."""
    row = visit.row
    if reason is not None and visit.flow.reason(reason) is None:
        raise InvalidRequest(code="no_such_reason", message="Please choose one of the reasons on the page.", param="reason")
    if not shown(session, visit, now):
        return False
    session.execute(delete(Answer).where(Answer.session_id == row.id, Answer.step == steps.SKIP))
    _keep(session, row, steps.SURVEY, {"reason": reason, "comment": clean(comment)}, now)
    facts.record(session, row.workspace_id, row.id, "answer.given", now, {"step": steps.SURVEY, "reason": reason})
    return True


def decline(session: Session, visit: Visit, offer_id: str, now: datetime) -> bool:
    """*No thanks* to one offer. Raises InvalidRequest for an offer that this customer was not shown."""
    row = visit.row
    offer_named(visit, offer_id)
    if not shown(session, visit, now):
        return False
    _keep(session, row, steps.offer_key(offer_id), {"declined": True}, now)
    facts.record(session, row.workspace_id, row.id, "offer.declined", now, {"offer": offer_id})
    return True


def follow(session: Session, visit: Visit, offer: Offer, now: datetime) -> bool:
    """A link offer is taken: counted once for a session, and no choice. The session stays open, since nobody knows what came of it."""
    row = visit.row
    if not shown(session, visit, now):
        return False
    # With its mode, so that those of one mode are counted without a look at their sessions.
    said = {"offer": offer.id, "mode": row.mode}
    facts.record_once(session, row.workspace_id, row.id, "offer.taken", now, said, key=offer.id)
    return True


def skip(session: Session, visit: Visit, now: datetime) -> bool:
    """*Cancel now*: straight on to the confirmation."""
    row = visit.row
    if not shown(session, visit, now):
        return False
    _keep(session, row, steps.SKIP, {}, now)
    facts.record(session, row.workspace_id, row.id, "answer.given", now, {"step": steps.SKIP})
    return True


def never_mind(session: Session, visit: Visit, now: datetime) -> bool:
    """The customer keeps the subscription. The session stays open: they may still come back to it."""
    row = visit.row
    if not shown(session, visit, now):
        return False
    session.execute(update(FlowSession).where(FlowSession.id == row.id).values(kept_at=now))
    facts.record(session, row.workspace_id, row.id, "session.kept", now)
    validation.ask(session, row.workspace_id, [row.id], now)
    return True


def clean(text: str | None) -> str | None:
    """What a person typed, without what a database cannot keep, and not longer than Stripe takes."""
    kept = re.sub("[\0\ud800-\udfff]", "", text or "").strip()[:COMMENT_LENGTH]
    return kept or None


def offer_named(visit: Visit, offer_id: str) -> Offer:
    """The offer of that id, if this customer's answers may lead to it. Raises InvalidRequest for any other."""
    if (offer := next((one for one in steps.offers(visit.flow, visit.answers) if one.id == offer_id), None)) is not None:
        return offer
    raise InvalidRequest(code="offer_not_shown", message="This offer was not made to you on this page.", param="offer")


def still_open(session_id: str, now: datetime) -> tuple[Any, ...]:
    """The conditions under which a session may still be touched: nothing chosen, its link not over."""
    return (
        FlowSession.id == session_id,
        FlowSession.state == "open",
        FlowSession.expires_at > now,
        or_(FlowSession.shown_at.is_not(None), FlowSession.minted_at > now - visits.FIRST_OPENED_WITHIN),
    )


def _keep(session: Session, row: FlowSession, step: str, value: Json, now: datetime) -> None:
    kept = insert(Answer).values(workspace_id=row.workspace_id, session_id=row.id, step=step, value=value, answered_at=now)
    session.execute(
        kept.on_conflict_do_update(
            index_elements=["session_id", "step"], set_={"value": kept.excluded.value, "answered_at": kept.excluded.answered_at}
        )
    )
