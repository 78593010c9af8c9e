"""A request that waits for the team, asked for anew: the team is to see what the customer wants, and that once."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.models import Action
from jobs import plans
from jobs.actions import ledger, settlement

# What somebody else is at already: the business's own system, or the change before it.
_IN_HAND = (ledger.YOURS, ledger.UNDER_WAY)


def give_way(session: Session, action: Action, now: datetime) -> None:
    """Where this action is only requested, requests of the customer's before it about the same subscription end as superseded.

    Nothing was ever tried of them. What is queued instead settles older ones when it is proven, by what Stripe shows.
    """
    if action.state != "requested" or action.code in _IN_HAND or not action.subscription:
        return
    older = select(Action).where(
        Action.workspace_id == action.workspace_id,
        Action.mode == action.mode,
        Action.connection_id.is_not_distinct_from(action.connection_id),
        Action.customer == action.customer,
        Action.subscription == action.subscription,
        Action.state == "requested",
        Action.code.not_in(_IN_HAND),
        Action.verb.in_(plans.DECISIONS),
        Action.id < action.id,
    )
    for each in session.execute(older.order_by(Action.id).with_for_update()).scalars().all():
        settlement.failed(session, each, "superseded", f"The customer decided anew meanwhile: {action.id} took its place.", now)
