"""What is asked of a subscription while another change of it is under way: it is not lost, and follows once that is settled."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import Action
from connect_app.runtime import Runtime
from jobs import queues, work
from jobs.actions import ledger

# The change before it takes seconds as a rule, and hours while Stripe is down.
_FIRST_LOOK = timedelta(seconds=1)
_PATIENCE = 30.0


def ask_after(session: Session, **asked: Any) -> Action:
    """As `ask`, of a subscription that has a change under way: it is `requested`, with the code `under_way`, and begun by itself later."""
    action = ledger.ask(session, **asked, state="requested", code=ledger.UNDER_WAY)
    queues.enqueue(session, "follow", action.id, action.workspace_id, due_at=action.asked_at + _FIRST_LOOK)
    return action


def begin(rt: Runtime, claim: work.Claim) -> work.End:
    """Let it be worked on, where nothing is in its way any more; when a person has seen to it meanwhile there is nothing to do."""
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        waits = select(Action.id).where(Action.id == claim.row_id, Action.state == "requested", Action.code == ledger.UNDER_WAY)
        if session.execute(waits).first() is None:
            return work.Done()
        try:
            ledger.retry(session, claim.tenant, claim.row_id, rt.now(), "holdfast")
        except ledger.InFlight as flight:
            return work.Again(problem=str(flight), after=work.backoff(claim.attempts, base=1.0, cap=_PATIENCE))
    return work.Done()
