"""The one choice of a session, in one transaction with what it asks for; and taking a cancellation back."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from connect_app import facts, ids
from connect_app.models import Answer, Choice, FlowSession
from connect_app.models.base import Json
from connect_app.money import Money
from flow_pages import cancels, steps
from flow_pages.document import Offer
from flow_pages.sessions import walking
from flow_pages.visits import Visit
from jobs import actions, plans, queues, validation
from jobs.outbound import pass_through, telling

# A customer who has waited this long for Stripe is promised an email instead of being kept.
PROMISED_AFTER = timedelta(seconds=20)


def accept(
    session: Session,
    visit: Visit,
    offer: Offer,
    *,
    verb: str | None,
    intent: Json,
    picked: str,
    headline: str,
    terms: Sequence[tuple[str, str]],
    cost: Money | None,
    now: datetime,
    particulars: Json | None = None,
) -> str | None:
    """The offer is taken, as the pinned version has it: nothing the browser sent decides its terms.

    `verb`, `intent` and `picked` are those of flow_pages.offers.Option; `headline` and `terms` are what the customer read, `cost` is what
    it takes off their next bill, `particulars` what the business's own system needs to know of it. Gives the choice's id, or None where
    another choice was first.
    """
    frozen = {
        **(particulars or {}),
        "id": offer.id,
        "kind": offer.kind,
        "picked": picked,
        "coupon": plans.coupon_of(intent) if verb == "discount" else None,
        "headline": headline,
        "terms": [list(term) for term in terms],
        "cost": {"amount": cost.amount, "currency": cost.currency} if cost is not None else None,
    }
    whose = offer.by if offer.by == "business" else _offers_by(visit)
    return _choose(
        session,
        visit,
        "accept",
        frozen,
        verb=verb,
        intents={visit.row.subscription: {**intent, "headline": headline}},
        whose=whose,
        now=now,
    )


def cancel(session: Session, visit: Visit, now: datetime, intents: Mapping[str, Json] | None = None) -> str | None:
    """The cancellation is confirmed, of each of these subscriptions as its intent has it; gives the choice's id, or None where another
    choice was first.

    Without `intents` (flow_pages.cancels) it is what the owner's options say. This session's own subscription must have nothing under way;
    of the others, one that has is canceled as soon as that is settled.
    """
    wanted = intents or cancels.intents(session, visit, now) or {}
    verb = "item_cancel" if any("item" in intent for intent in wanted.values()) else "cancel"
    return _choose(session, visit, "cancel", None, verb=verb, intents=wanted, whose=_cancels_by(visit), now=now)


def undo(
    session: Session,
    visit: Visit,
    now: datetime,
    verb: str = "undo_cancel",
    subscription: str | None = None,
    intent: Mapping[str, object] | None = None,
) -> str:
    """Ask for the scheduled cancellation to be taken back, or with `resume` for a pause to end; gives the action's id, also where one is
    under way already. `subscription`: of several that this session has canceled, the one that it is about; `intent`: the item, if one was.
    """
    row = visit.row
    # A person has pressed it, where their page did not say so itself.
    walking.shown(session, visit, now)
    facts.record(session, row.workspace_id, row.id, "undo.asked", now)
    try:
        return actions.ask(
            session,
            workspace_id=row.workspace_id,
            mode=row.mode,
            connection_id=row.connection_id,
            customer=row.customer,
            subscription=subscription or row.subscription,
            verb=verb,
            intent=intent or {},
            now=now,
            session_id=row.id,
            **_state(visit),
        ).id
    except actions.InFlight as flight:
        return flight.action_id


def served(visit: Visit) -> str | None:
    """Why what this customer asks for waits for the team: we cannot tell what to change, or cannot reach it. None: it is done by us."""
    if not visit.is_connected:
        return "not_connected"
    return "unknown_subscription" if visit.subscription is None else None


def _offers_by(visit: Visit) -> str:
    return visit.flow.offers_by or ("holdfast" if visit.preferences.manage_offers else "business")


def _cancels_by(visit: Visit) -> str:
    return visit.flow.cancels_by or ("holdfast" if visit.preferences.manage_cancels else "business")


def _choose(
    session: Session,
    visit: Visit,
    chosen: str,
    offer: Json | None,
    *,
    verb: str | None,
    intents: Mapping[str, Json],
    whose: str,
    now: datetime,
) -> str | None:
    """One transaction: the session is closed to all other choices, and what is to be done is asked for, of each subscription by its id."""
    row = visit.row
    if not walking.shown(session, visit, now):
        return None
    won = session.execute(
        update(FlowSession).where(*walking.still_open(row.id, now)).values(state="chosen").returning(FlowSession.id)
    ).scalar_one_or_none()
    if won is None:
        return None
    # Read again under the lock of the row: the survey may have been answered meanwhile.
    survey = (
        session.execute(select(Answer.value).where(Answer.session_id == row.id, Answer.step == steps.SURVEY)).scalar_one_or_none() or {}
    )
    reason = visit.flow.reason(survey.get("reason"))
    choice = Choice(
        id=ids.new("cho"),
        workspace_id=row.workspace_id,
        session_id=row.id,
        verb=chosen,
        offer=offer,
        reason=reason.id if reason else None,
        feedback=reason.feedback if reason else None,
        comment=survey.get("comment"),
        made_at=now,
    )
    session.add(choice)
    session.flush()
    said = {"feedback": choice.feedback, "comment": choice.comment} if chosen == "cancel" else {}
    facts.record(
        session, row.workspace_id, row.id, "choice.made", now, {"choice": choice.id, "verb": chosen, "offer": (offer or {}).get("id")}
    )
    if chosen == "accept":
        telling.accepted(session, row, choice)
    if verb is None:
        pass_through.chosen(session, row, choice, now)
        validation.ask(session, row.workspace_id, [row.id], now)
        return choice.id
    # Theirs first: what waits for a connection is made by us when there is one.
    state = {"state": "requested", "code": actions.YOURS} if whose == "business" else _state(visit)
    # In the order of their ids, so that two choices of one customer never wait for each other in a circle.
    for subscription, intent in sorted(intents.items()):
        action_id = _asked(session, visit, choice, verb, subscription, {**intent, **said}, state, now)
        queues.enqueue(session, "action_promise", action_id, row.workspace_id, due_at=now + PROMISED_AFTER)
    return choice.id


def _asked(
    session: Session,
    visit: Visit,
    choice: Choice,
    verb: str,
    subscription: str,
    intent: Json,
    state: Mapping[str, Any],
    now: datetime,
) -> str:
    """The action of one subscription. Raises InFlight where the session's own has a change under way; another one waits for that."""
    row = visit.row
    asked: dict[str, Any] = {
        "workspace_id": row.workspace_id,
        "mode": row.mode,
        "connection_id": row.connection_id,
        "customer": row.customer,
        "subscription": subscription,
        "verb": verb,
        "intent": intent,
        "now": now,
        "choice_id": choice.id,
        "session_id": row.id,
    }
    try:
        action = actions.ask(session, **asked, **state)
    except actions.InFlight:
        if subscription == row.subscription:
            raise
        return actions.ask_after(session, **asked).id
    actions.give_way(session, action, now)
    return action.id


def _state(visit: Visit) -> dict[str, Any]:
    code = served(visit)
    return {} if code is None else {"state": "requested", "code": code}
