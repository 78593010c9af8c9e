"""The ledger of actions: asking for one, asking again, and what waits for a person."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from connect_app import audit, connections, facts, ids
from connect_app.models import Action, Connection, Subscription
from connect_app.models.base import Json
from connect_app.stripe_gateway.errors import StripeFailure
from jobs import plans, queues, reminders
from jobs.actions import orders
from jobs.outbound import pass_through, telling

IN_FLIGHT = ("queued", "prechecked", "applied")
WAITING = ("requested", "manual")
# The code of what is requested because the business's own system does it.
YOURS = "yours"
# The code of what is requested while another change of the same subscription is under way, and follows it.
UNDER_WAY = "under_way"
# The code of what is requested because the cancel that it would take back has voided what the customer owed.
VOIDED = "bills_voided"
# The code of what waits because the customer's card was not charged for it, whatever Stripe's own word for that is.
DECLINED = "payment_declined"
_PAYMENT_REQUIRED = 402
# How far ahead of Stripe's our clock may be.
CLOCKS_DIFFER = timedelta(seconds=5)

# What the team reads beside an action that was only requested.
_REQUESTED = {
    "unknown_subscription": "The customer asked for this on a subscription your Stripe account does not know. See to it, and tell them.",
    "not_connected": "No Stripe account was connected when the customer asked for this. It is tried when you reconnect, or by Retry.",
    VOIDED: "The customer canceled this subscription, what they owed was voided for it, and now they want to stay. Retry, if they may;"
    " else close it, and tell them.",
    UNDER_WAY: "Another change of this subscription was under way. It is made by itself once that is settled; Retry tries it at once.",
    "plain": "Plain cancel only is switched on: the customer asked for this, and nothing has been changed on Stripe.",
}


def code_of(refusal: StripeFailure) -> str:
    """What an action that Stripe refused waits for a person with."""
    return DECLINED if refusal.http_status == _PAYMENT_REQUIRED else refusal.code or "refused"


class InFlight(Exception):
    """Another action of this subscription is under way; `action_id` names it."""

    def __init__(self, action_id: str) -> None:
        super().__init__(f"{action_id} is under way for this subscription")
        self.action_id = action_id


class Moved(Exception):
    """The action is no longer in the state it was read in: somebody else has moved it on."""


def ask(
    session: Session,
    *,
    workspace_id: str,
    mode: str,
    connection_id: str | None,
    customer: str,
    subscription: str,
    verb: str,
    intent: Mapping[str, object],
    now: datetime,
    choice_id: str | None = None,
    session_id: str | None = None,
    portal_link_id: str | None = None,
    state: str = "queued",
    code: str | None = None,
    message: str | None = None,
) -> Action:
    """Write an action into the ledger inside the caller's transaction; `queued` ones are worked on once it is committed.

    `requested` ones are not tried, but listed for the team, with `code` as the reason; so is whatever would take back a cancel for which
    bills were voided, or canceling would be a way not to pay. The same choice, subscription and verb again gives the action that is there,
    and so does asking the team again to take such a cancel back. Raises InFlight while another action of this subscription is under way:
    the database decides, so of parallel askers one wins.
    """
    if state not in ("queued", "requested"):
        raise ValueError(f"an action begins queued or requested, not {state!r}")
    if state == "queued" and verb in plans.DECISIONS and verb != "cancel" and has_voided(session, connection_id, subscription):
        state, code = "requested", VOIDED
        if verb == "undo_cancel" and (asked := _asked_to_stay(session, connection_id, subscription)) is not None:
            return asked
    if verb == "undo_cancel" and _last_cancel(session, connection_id, subscription).get("loses"):
        intent = {**intent, "gave_up": True}  # for the page and the letter: it does not come back
    if code == YOURS:
        seen = _seen(session, connection_id, subscription)
        message = message or orders.words(verb, intent, seen, now)
    row = insert(Action).values(
        id=ids.new("act"),
        workspace_id=workspace_id,
        mode=mode,
        connection_id=connection_id,
        choice_id=choice_id,
        session_id=session_id,
        portal_link_id=portal_link_id,
        customer=customer,
        subscription=subscription,
        verb=verb,
        state=state,
        intent=dict(intent),
        **({"call": {"before": seen}} if code == YOURS and seen else {}),
        code=code,
        message=message or _REQUESTED.get(code or ""),
        due_on=renewal(session, connection_id, subscription) if state == "requested" else None,
        asked_at=now,
        changed_at=now,
    )
    while True:
        action = session.execute(row.on_conflict_do_nothing().returning(Action)).scalar_one_or_none()
        if action is not None:
            break
        if (known := _of_choice(session, choice_id, subscription, verb)) is not None:
            return known
        if (other := _under_way(session, connection_id, subscription)) is not None:
            raise InFlight(other)
        # The one in the way has settled between the two statements: there is room now.
    if session_id is not None:
        kind = "action.queued" if state == "queued" else "action.requested"
        facts.record(session, workspace_id, session_id, kind, now, {"action": action.id, "verb": verb, "code": code})
    if state == "queued":
        _begin(session, action, now)
    else:
        telling.action(session, action, now)
        reminders.ask(session, action, now)
    pass_through.asked(session, action, now)
    return action


def has_voided(session: Session, connection_id: str | None, subscription: str) -> bool:
    """Whether the last thing that was decided about this subscription is a cancel that voided bills of it."""
    calls = _last_cancel(session, connection_id, subscription).get("requests") or ()
    return any(call["method"] == "invoices.void" for call in calls)


def _asked_to_stay(session: Session, connection_id: str | None, subscription: str) -> Action | None:
    """The request to take back a cancel that voided bills, while it waits for the team. Who asks at the same time waits for this look."""
    mine = Action.connection_id == connection_id, Action.subscription == subscription
    session.execute(select(Action.id).where(*mine, Action.verb == "cancel", Action.state == "verified").with_for_update()).all()
    asked = select(Action).where(*mine, Action.verb == "undo_cancel", Action.code == VOIDED, Action.state.in_(WAITING))
    return session.execute(asked.order_by(Action.id).limit(1)).scalar_one_or_none()


def _last_cancel(session: Session, connection_id: str | None, subscription: str) -> Json:
    """The calls of the last thing that was decided about this subscription, where that is a cancel; else nothing."""
    mine = Action.connection_id == connection_id, Action.subscription == subscription, Action.verb.in_(plans.DECISIONS)
    last = select(Action.verb, Action.call).where(*mine, Action.state == "verified").order_by(Action.asked_at.desc(), Action.id.desc())
    found = session.execute(last.limit(1)).first()
    return (found.call or {}) if found is not None and found.verb == "cancel" else {}


def retry(session: Session, workspace_id: str, action_id: str, now: datetime, actor: str) -> bool:
    """Try a waiting action again; False where it does not wait any more. Raises InFlight while another one is under way.

    One that was requested without a connection goes to the connection its mode has by now.
    """
    action = session.execute(select(Action).where(Action.id == action_id, Action.state.in_(WAITING))).scalar_one_or_none()
    if action is None:
        return False
    connection_id = action.connection_id
    if connection_id is None and (connection := connections.of_mode(session, workspace_id, action.mode)) is not None:
        connection_id = connection.id
    try:
        with session.begin_nested():
            action = move(session, action, "queued", now, connection_id=connection_id, code=None, message=None)
    except Moved:
        return False
    except IntegrityError as error:
        if "uq_actions_in_flight" not in str(error.orig):
            raise
        raise InFlight(_under_way(session, connection_id, action.subscription) or action_id) from error
    audit.record(session, workspace_id, actor=actor, verb="action.retried", at=now, target=action_id)
    record(session, action, "action.queued", now)
    _begin(session, action, now)
    return True


def retry_disconnected(session: Session, workspace_id: str, connection_id: str, now: datetime) -> int:
    """Try again what the loss of this connection had stopped; gives how many. The others of a subscription wait for the first."""
    rows = session.execute(
        select(Action.id)
        .where(Action.state.in_(WAITING), Action.code == "not_connected")
        .where((Action.connection_id == connection_id) | Action.connection_id.is_(None))
        .where(Action.mode == select(Connection.mode).where(Connection.id == connection_id).scalar_subquery())
        .order_by(Action.asked_at)
    )
    retried = 0
    for action_id in rows.scalars().all():
        try:
            retried += retry(session, workspace_id, action_id, now, "holdfast")
        except InFlight:
            continue
    return retried


def waiting(session: Session, workspace_id: str, mode: str) -> list[Action]:
    """What needs a person in this mode, most urgent first."""
    rows = select(Action).where(Action.workspace_id == workspace_id, Action.mode == mode, Action.state.in_(WAITING))
    return list(session.execute(rows.order_by(Action.due_on.asc().nulls_last(), Action.asked_at).limit(500)).scalars())


def waiting_counts(session: Session, workspace_id: str) -> dict[str, int]:
    """How many actions wait for a person, by mode; a mode with none is left out."""
    rows = session.execute(
        select(Action.mode, func.count().label("waiting"))
        .where(Action.workspace_id == workspace_id, Action.state.in_(WAITING))
        .group_by(Action.mode)
    )
    return {row.mode: row.waiting for row in rows}


def move(session: Session, action: Action, state: str, now: datetime, **values: object) -> Action:
    """Move an action on from the state it was read in, and give it as it is now. Raises Moved where it is no longer in that state."""
    moved = session.execute(
        update(Action)
        .where(Action.id == action.id, Action.state == action.state)
        .values(state=state, changed_at=now, **values)
        .returning(Action)
        .execution_options(populate_existing=True, synchronize_session=False)
    ).scalar_one_or_none()
    if moved is None:
        raise Moved(action.id)
    return moved


def record(session: Session, action: Action, kind: str, at: datetime, **data: object) -> None:
    """Append a fact about an action to its session, where it has one."""
    if action.session_id is not None:
        told: Json = {"action": action.id, "verb": action.verb, "code": action.code, "stripe_request_id": action.stripe_request_id, **data}
        facts.record(session, action.workspace_id, action.session_id, kind, at, told)


def _begin(session: Session, action: Action, now: datetime) -> None:
    """Let the workers have it; by its next bill it must be done, or the customer is charged for what they did not want."""
    told = action.intent.get("renews_at")
    deadline = datetime.fromisoformat(told) if told else renewal(session, action.connection_id, action.subscription)
    queues.enqueue(session, "action", action.id, action.workspace_id, due_at=now, deadline=deadline)


def _of_choice(session: Session, choice_id: str | None, subscription: str, verb: str) -> Action | None:
    if choice_id is None:
        return None
    same = select(Action).where(Action.choice_id == choice_id, Action.subscription == subscription, Action.verb == verb)
    return session.execute(same).scalar_one_or_none()


def _under_way(session: Session, connection_id: str | None, subscription: str) -> str | None:
    return session.execute(
        select(Action.id).where(Action.connection_id == connection_id, Action.subscription == subscription, Action.state.in_(IN_FLIGHT))
    ).scalar_one_or_none()


def _seen(session: Session, connection_id: str | None, subscription: str) -> Json:
    """What the mirror shows as the business's own system is asked: only what is new after that can be its answer. {} where it has none."""
    held = select(Subscription.raw).where(Subscription.connection_id == connection_id, Subscription.id == subscription)
    raw = session.execute(held).scalar_one_or_none()
    return raw or {}


def renewal(session: Session, connection_id: str | None, subscription: str) -> datetime | None:
    """When the customer would be charged again: what the team must be quicker than."""
    return session.execute(
        select(Subscription.current_period_end).where(Subscription.connection_id == connection_id, Subscription.id == subscription)
    ).scalar_one_or_none()
