"""What is asked of a subscription while another change of it is under way: it is not lost, and follows once that is settled."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from connect_app.models import Action
from connect_app.runtime import Runtime
from jobs import queues, work
from jobs.actions import ledger, settlement

# The change before it takes seconds as a rule, and hours while Stripe is down.
_FIRST_LOOK, _PATIENCE = timedelta(seconds=1), timedelta(seconds=30)

_NOT_BEGUN = "It was to follow another change of this subscription, and could not be begun: something went wrong here. Retry tries it anew."


def ask_after(session: Session, **asked: Any) -> Action:
    """As `ask`, of a subscription that has a change under way: it is `requested`, with the code `under_way`, and begun by itself later."""
    action = ledger.ask(session, **asked, state="requested", code=ledger.UNDER_WAY)
    queues.enqueue(session, "follow", action.id, action.workspace_id, due_at=action.asked_at + _FIRST_LOOK)
    return action


def begin(rt: Runtime, claim: work.Claim) -> work.End:
    """Let it be worked on, where nothing is in its way any more; when a person has seen to it meanwhile there is nothing to do.

    What is in its way comes to an end, however long that takes: waiting for it is no try.
    """
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        action = session.execute(_follows(claim)).scalar_one_or_none()
        if action is None:
            return work.Done()
        waited = rt.now() - action.asked_at
        try:
            ledger.retry(session, claim.tenant, claim.row_id, rt.now(), "holdfast")
        except ledger.InFlight as flight:
            return work.Again(problem=str(flight), after=min(_PATIENCE, max(_FIRST_LOOK, waited / 4)), is_untried=True)
    return work.Done()


def never_begun(rt: Runtime, claim: work.Claim, _problem: str) -> None:
    """However often it was tried, it could not be begun: a person must see to it."""
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        action = session.execute(_follows(claim)).scalar_one_or_none()
        if action is not None:
            settlement.manual(session, action, "internal_error", _NOT_BEGUN, rt.now())


def _follows(claim: work.Claim) -> Select[Action]:
    return select(Action).where(Action.id == claim.row_id, Action.state == "requested", Action.code == ledger.UNDER_WAY)
