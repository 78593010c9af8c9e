"""The manual queue: what a customer asked for that a person has to do, in words, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app.admin import stripe_links, timeline
from connect_app.errors import NotFound
from connect_app.models import Action, Choice, Customer
from connect_app.models.base import Json
from jobs import actions

# From here on the renewal is close enough to hurry.
_SOON = timedelta(days=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One action that waits. `due_on` is the next renewal, by which it should be done; `link` leads to the subscription at Stripe.

    `terms` are what was asked for, as labels and values; `is_yours`: the business's own system has been asked to do it. `confirmed_at` is
    when its back end last said that it was done, `confirmed` what was found, None while Stripe is still to be read.
    """

    id: str
    asked: str
    terms: tuple[tuple[str, str], ...]
    is_yours: bool
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
    confirmed_at: datetime | None
    confirmed: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pile:
    """What waits, most urgent first: what the team has `to_do`, of that what is `overdue`, and what is `yours`."""

    to_do: Sequence[Task]
    overdue: Sequence[Task]
    yours: Sequence[Task]


def pile(session: Session, workspace_id: str, mode: str, now: datetime) -> Pile:
    """All that waits in this mode."""
    found = _tasks(session, workspace_id, mode, now)
    to_do = [task for task in found if not task.is_yours]
    return Pile(to_do=to_do, overdue=[task for task in to_do if task.urgency == "late"], yours=[task for task in found if task.is_yours])


def _tasks(session: Session, workspace_id: str, mode: str, now: datetime) -> list[Task]:
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
    choices = {row.choice_id for row in rows if row.choice_id}
    offers: dict[str, Json | None] = {
        row.id: row.offer for row in session.execute(select(Choice.id, Choice.offer).where(Choice.id.in_(choices)))
    }
    return [_task(row, offers.get(row.choice_id or ""), names.get((row.connection_id or "", row.customer)), now) for row in rows]


def known(session: Session, workspace_id: str, action_id: str) -> Action:
    """The action, if it is this workspace's. Raises NotFound."""
    action = session.execute(select(Action).where(Action.workspace_id == workspace_id, Action.id == action_id)).scalar_one_or_none()
    if action is None:
        raise NotFound(code="not_found", message="There is no such action in this workspace.")
    return action


def _task(row: Action, offer: Json | None, name: str | None, now: datetime) -> Task:
    urgency = "none" if row.due_on is None else "late" if row.due_on <= now else "soon" if row.due_on <= now + _SOON else "later"
    return Task(
        id=row.id,
        asked=_asked(row),
        terms=tuple(_cancel(row.intent) if row.verb in ("cancel", "item_cancel") else _offered(row.intent, offer)),
        is_yours=row.code == actions.YOURS,
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
        confirmed_at=datetime.fromisoformat(row.confirmation["asked_at"]) if row.confirmation else None,
        confirmed=row.confirmation["message"] if row.confirmation else None,
    )


def _asked(row: Action) -> str:
    if row.verb == "cancel" and row.intent.get("when") == "now":
        return "Cancel now"
    return timeline.verb_of(row.verb).capitalize()


def _cancel(intent: Mapping[str, object]) -> list[tuple[str, str]]:
    """What the customer confirmed of a cancel, and why they cancel."""
    is_now = intent.get("when") == "now"
    terms = [("Item", f"{intent['name']} ({intent['item']})")] if intent.get("item") else []
    terms.append(("Ends", "At once" if is_now else "At the end of the period"))
    if is_now and not intent.get("item"):
        terms.append(("Charges not billed yet", "Invoice immediately" if intent.get("invoice_now") else "Not billed"))
    if is_now:
        terms.append(("Unused time", "Prorate" if intent.get("prorate") else "Not paid back"))
    if not intent.get("item"):
        terms.append(("Open invoices", "Void" if intent.get("open_invoices") == "void" else "Keep collecting"))
    said = (("Reason", intent.get("feedback")), ("Comment", intent.get("comment")))
    return terms + [(label, str(value).replace("_", " ") if label == "Reason" else str(value)) for label, value in said if value]


def _offered(intent: Mapping[str, object], offer: Json | None) -> list[tuple[str, str]]:
    """What the customer read and accepted; of what came without an offer, what it was to bring about."""
    if offer:
        terms = [(str(label), str(value)) for label, value in offer.get("terms", ())]
        coupon = [("Coupon", str(offer["coupon"]))] if offer.get("coupon") else []
        return [("Accepted", str(offer.get("headline") or "An offer")), *terms, *coupon]
    told = []
    for name, label in (("resumes_at", "Until"), ("trial_end", "Trial until"), ("coupon", "Coupon"), ("price", "Price")):
        if value := intent.get(name):
            told.append((label, f"{datetime.fromisoformat(str(value)):%-d %b %Y}" if name in ("resumes_at", "trial_end") else str(value)))
    return told
