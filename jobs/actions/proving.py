"""Proving: the business says by an API call that a waiting action is done, and Stripe is read to see whether it is."""

from datetime import datetime
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from connect_app import audit, connections, errors
from connect_app.models import Action, Connection
from connect_app.models.base import Json
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from jobs import access, budget, plans, queues, receipts, work
from jobs.actions import ledger, look, orders, settlement
from jobs.actions.conversation import Conversation

# What became of it: Stripe showed it, did not, could not be read, or the action was no longer waiting when its turn came.
Found = Literal["shown", "not_shown", "unreadable", "moved_on"]

_MOVED_ON = "The action no longer waited when Stripe was to be read: its state says what became of it."
_NOT_CONNECTED = "No Stripe account of this mode is connected, and only Stripe can show that it is done. Connect it, then confirm again."
_AWAY = "Stripe could not be read for an hour. Confirm again."
_FAILED = "Holdfast could not look; the reason is in its logs. Confirm again."


def ask_proof(session: Session, workspace_id: str, mode: str, action_id: str, *, now: datetime, by: str) -> Action:
    """Have Stripe read for an action that is said to be done, `by` an API key; gives the action as it stands.

    A verified one is given as it is, and so is one that waits, with its `confirmation` begun anew: each call has its own look, so that
    what is changed between two calls is seen. Raises NotFound for an id that this workspace and mode do not have, Conflict where nothing
    is to be confirmed or nothing can be read.
    """
    action = _one(session, workspace_id, mode, action_id)
    if action.state in ledger.WAITING:
        connection = _connection(session, action)
        if connection is None or connection.state != "connected":
            raise errors.Conflict(code="not_connected", message=_NOT_CONNECTED)
        # The work first: whoever does it holds it before it holds the action.
        queues.enqueue(session, "prove", action.id, workspace_id, due_at=now)
        asked: Json = {"asked_at": now.isoformat(), "by": by, "answered_at": None, "found": None, "message": None, "seen": None}
        waits = update(Action).where(Action.id == action.id, Action.state.in_(ledger.WAITING)).values(confirmation=asked)
        held = session.execute(waits.returning(Action).execution_options(populate_existing=True)).scalar_one_or_none()
        if held is not None:
            return held
        # It has just moved on: what was asked for finds that out, too.
        session.expire(action)
        action = _one(session, workspace_id, mode, action_id)
    if action.state == "verified":
        return action
    if action.state == "failed":
        raise errors.Conflict(
            code="action_failed", message=f"This action has ended: it failed ({action.code}), and nothing can be confirmed any more."
        )
    raise errors.Conflict(
        code="action_under_way",
        message="Holdfast is making this change itself, and reads it back from Stripe when it is made. There is nothing to confirm.",
    )


def prove(rt: Runtime, claim: work.Claim) -> work.End:
    """One look at Stripe: what it shows is verified, what it does not goes on waiting, and whoever asked can read which it was."""
    with rt.transaction(claim.tenant) as session:
        action = session.execute(select(Action).where(Action.id == claim.row_id)).scalar_one_or_none()
        connection = _connection(session, action) if action else None
    if action is None or not action.confirmation or action.confirmation["found"]:
        return work.Done()
    if action.state not in ledger.WAITING:
        return _answered(rt, claim, action, "shown" if action.state == "verified" else "moved_on")
    if connection is None or connection.state != "connected" or connection.mode not in rt.gateways:
        return _answered(rt, claim, action, "unreadable", _NOT_CONNECTED)
    if not action.subscription:
        return _answered(rt, claim, action, "not_shown", _unknown(action))
    later = budget.reserve(rt, connection.account, connection.mode, claim.id)
    if later is not None:
        return work.Again(problem="waiting for the account's rate budget", after=later, is_untried=True)
    talk = Conversation(rt, action)
    stripe = rt.stripe(action.mode).account(connection.account)
    try:
        seen = look.take(stripe, settlement.wish(action), "read_back", talk.ask, to_prove=True)
    except AccessLost as loss:
        if loss.is_disconnected:
            _answered(rt, claim, action, "unreadable", _NOT_CONNECTED, talk=talk)
        return access.lost(rt, claim, connection, loss)
    except Transient as failure:
        return work.Again(problem=f"stripe: {failure}"[:500])
    except Missing:
        return _answered(rt, claim, action, "not_shown", _unknown(action), talk=talk)
    except Refused as refusal:
        return _answered(rt, claim, action, "unreadable", f"Stripe refused to be read: {refusal}"[:500], talk=talk)
    if settlement.is_shown(action, seen):
        return _verified(rt, claim, action, connection, seen, talk)
    said = plans.foreign(settlement.wish(action), seen.read.value)
    message = said.message if said else f"Stripe does not show it. What is looked for: {orders.wanted(action.verb, action.intent)}."
    # Nothing of another customer's subscription is shown.
    shown = None if said else receipts.snapshot(seen.read.value)
    return _answered(rt, claim, action, "not_shown", message, talk=talk, seen=shown)


def unproven(rt: Runtime, claim: work.Claim, problem: str) -> None:
    """However often it was tried, Stripe could not be read."""
    with rt.transaction(claim.tenant) as session:
        action = session.execute(select(Action).where(Action.id == claim.row_id)).scalar_one_or_none()
    if action is not None and action.confirmation and not action.confirmation["found"]:
        _answered(rt, claim, action, "unreadable", _AWAY if problem.startswith("stripe:") else _FAILED)


def _one(session: Session, workspace_id: str, mode: str, action_id: str) -> Action:
    same = Action.workspace_id == workspace_id, Action.mode == mode, Action.id == action_id
    action = session.execute(select(Action).where(*same)).scalar_one_or_none()
    if action is None:
        raise errors.NotFound(code="not_found", message="There is no such action in this mode of this workspace.")
    return action


def _connection(session: Session, action: Action) -> Connection | None:
    """The action's, or what its mode has by now."""
    if action.connection_id is not None:
        return connections.by_id(session, action.connection_id)
    return connections.of_mode(session, action.workspace_id, action.mode)


def _unknown(action: Action) -> str:
    return f"The Stripe account has no subscription {action.subscription or '(none was named)'}."


def _verified(rt: Runtime, claim: work.Claim, action: Action, connection: Connection, seen: look.Look, talk: Conversation) -> work.End:
    now, by = rt.now(), str((action.confirmation or {})["by"])
    try:
        with rt.transaction(claim.tenant) as session:
            claim.fence(session)
            action = settlement.proven(session, action, connection.id, seen.read, now)
            talk.note(session)
            _answer(session, action, now, "shown", None, receipts.snapshot(seen.read.value))
            audit.record(session, claim.tenant, actor=by, verb="action.confirmed", at=now, target=action.id)
    except ledger.Moved:  # by Stripe's news, or by a person
        return work.Again(problem="the action moved on meanwhile")
    return work.Done()


def _answered(
    rt: Runtime,
    claim: work.Claim,
    action: Action,
    found: Found,
    message: str | None = None,
    *,
    talk: Conversation | None = None,
    seen: Json | None = None,
) -> work.End:
    """Write down what was found, for the call that this look was for: a later call has a look of its own."""
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        if talk is not None:
            talk.note(session)
        _answer(session, action, rt.now(), found, _MOVED_ON if found == "moved_on" else message, seen)
    return work.Done()


def _answer(session: Session, action: Action, now: datetime, found: Found, message: str | None, seen: Json | None) -> None:
    asked = action.confirmation or {}
    told = {**asked, "answered_at": now.isoformat(), "found": found, "message": message, "seen": seen}
    same = Action.id == action.id, Action.confirmation["asked_at"].astext == asked["asked_at"]
    session.execute(update(Action).where(*same).values(confirmation=told).execution_options(synchronize_session=False))
