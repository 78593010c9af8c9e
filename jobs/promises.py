"""Promises: a customer whose change takes longer than they care to watch is told so, and hears of its end by letter."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import Action, SessionFact
from connect_app.runtime import Runtime
from jobs import letters, work
from jobs.actions import ledger


def keep(rt: Runtime, claim: work.Claim) -> work.End:
    """Some seconds after the choice: note that an email was promised where it is still under way, and write where a person must see to it.

    The letter about the end itself is asked for by the transaction that settles the action.
    """
    now = rt.now()
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        action = session.execute(select(Action).where(Action.id == claim.row_id)).scalar_one_or_none()
        if action is None or action.state in ("verified", "failed"):
            return work.Done()
        if action.state in ledger.WAITING:
            letters.send(session, action, letters.received(action, letters.business(session, action)), topic="received", now=now)
        elif not _is_made(session, action):
            ledger.record(session, action, "promise.made", now)
    return work.Done()


def _is_made(session: Session, action: Action) -> bool:
    made = select(SessionFact.id).where(
        SessionFact.session_id == action.session_id,
        SessionFact.kind == "promise.made",
        SessionFact.data["action"].astext == action.id,
    )
    return session.execute(made.limit(1)).first() is not None
