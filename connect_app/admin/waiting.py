"""The manual queue: what a customer asked for that a person has to do, and why."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.admin import stripe_links, timeline
from connect_app.errors import NotFound
from connect_app.models import Action, Customer
from jobs import actions

# From here on the renewal is close enough to hurry.
_SOON = timedelta(days=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One action that waits. `due_on` is the next renewal, by which it should be done; `link` leads to the subscription at Stripe."""

    id: str
    asked: str
    state: str
    code: str | None
    message: str | None
    customer: str
    customer_name: str | None
    subscription: str
    session_id: str | None
    asked_at: datetime
    due_on: datetime | None
    urgency: str
    link: str | None
    stripe_request_id: str | None


def tasks(session: Session, workspace_id: str, mode: str, now: datetime) -> list[Task]:
    """All that waits in this mode, most urgent first."""
    rows = actions.waiting(session, workspace_id, mode)
    wanted = {row.customer for row in rows}
    names = {
        (row.connection_id, row.id): row.name or row.email
        for row in session.execute(
            select(Customer.connection_id, Customer.id, Customer.name, Customer.email).where(
                Customer.workspace_id == workspace_id, Customer.id.in_(wanted)
            )
        )
    }
    return [_task(row, names.get((row.connection_id or "", row.customer)), now) for row in rows]


def known(session: Session, workspace_id: str, action_id: str) -> Action:
    """The action, if it is this workspace's. Raises NotFound."""
    action = session.execute(select(Action).where(Action.workspace_id == workspace_id, Action.id == action_id)).scalar_one_or_none()
    if action is None:
        raise NotFound(code="not_found", message="There is no such action in this workspace.")
    return action


def _task(row: Action, name: str | None, now: datetime) -> Task:
    urgency = "none" if row.due_on is None else "late" if row.due_on <= now else "soon" if row.due_on <= now + _SOON else "later"
    return Task(
        id=row.id,
        asked=timeline.verb_of(row.verb).capitalize(),
        state=row.state,
        code=row.code,
        message=row.message,
        customer=row.customer,
        customer_name=name,
        subscription=row.subscription,
        session_id=row.session_id,
        asked_at=row.asked_at,
        due_on=row.due_on,
        urgency=urgency,
        link=stripe_links.subscription(row.mode, row.subscription),
        stripe_request_id=row.stripe_request_id,
    )
