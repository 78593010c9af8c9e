"""How an action ends: verified with a receipt, for a person to see to, or failed; what that means for its session, and who is told."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from connect_app import audit, connections, errors
from connect_app.models import Action, Choice, Receipt
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.calls import Call
from connect_app.stripe_gateway.errors import Missing, StripeFailure
from connect_app.stripe_gateway.gateway import Read
from connect_app.stripe_gateway.objects import Subscription, read_subscription
from jobs import letters, pauses, plans, receipts, reminders, validation
from jobs.actions import ledger, look
from jobs.outbound import telling
from webhooks import projections

log = structlog.get_logger()

_CLOSED = "Your team closed this request: it is not tried any more, and nothing was read back from Stripe for it."
_A_DAY = timedelta(days=1)
# Why a coupon is none any more, though the mirror may still offer it to the next customer.
_COUPON_IS_OVER = ("coupon_gone", "coupon_not_valid", "coupon_expired")


def wish(action: Action) -> plans.Wish:
    """What the action is to bring about."""
    return plans.Wish(
        action_id=action.id,
        verb=action.verb,
        intent=action.intent,
        customer=action.customer,
        subscription=action.subscription,
        mode=action.mode,
    )


def to_the_day(asked: plans.Wish, subscription: Subscription) -> plans.Wish:
    """The same wish, with the time that Stripe shows for a pause's or a trial's end where that is less than a day off.

    For what the business's own system does: whoever is told a day may take it to begin at another hour.
    """
    found = {"resumes_at": subscription.pause.resumes_at if subscription.pause else None, "trial_end": subscription.trial_end}
    near = {
        name: at.isoformat()
        for name, at in found.items()
        if at is not None and (wanted := asked.moment(name)) is not None and abs(at - wanted) < _A_DAY
    }
    return replace(asked, intent={**asked.intent, **near})


def kept_calls(action: Action) -> tuple[Call, ...]:
    """The calls that were frozen for it, in their order; none before it was planned."""
    kept = action.call or {}
    # Until plans had several calls, a row kept its only one by itself.
    listed = kept.get("requests") or ([kept["request"]] if "request" in kept else [])
    return tuple(Call.from_json(request) for request in listed)


def mirrored(session: Session, action: Action, read: Read[Subscription]) -> None:
    """What was just read of the subscription is news for the mirror, too."""
    if action.connection_id is None:
        return
    try:
        projections.apply_read(session, action.workspace_id, action.connection_id, read.value, read.as_of)
    except ValueError:  # what the mirror cannot hold is no reason to leave the customer waiting
        log.warning("action.not_mirrored", exc_info=True)


def hold(session: Session, action: Action, seen: Subscription) -> list[Action]:
    """Take what this action's end bears on, before anything is written of it; gives what waits for a person about its subscription and was
    asked for earlier, the oldest first. `seen` is the subscription before the change, or as it is.

    Whoever settles takes rows in one order, so that nobody waits for another in a circle: the work in hand, sessions by their ids, actions
    as they were asked for, the mirror's rows, other work, and last what many transactions share (db.before_commit). Who makes a choice
    holds its session before it asks for work about it, and news the mirror's rows; a job about a session or a request has its own work row
    after these.
    """
    found = _older(session, action)
    validation.hold(session, {id for one in (action, *found) for id in _concerned(session, one, before(one) or seen)})
    if not found:
        return []
    everything = select(Action).where(Action.id.in_([action.id, *(one.id for one in found)])).order_by(Action.asked_at, Action.id)
    held = session.execute(everything.with_for_update(key_share=True).execution_options(populate_existing=True)).scalars().all()
    return [one for one in held if one.id != action.id and one.state in ledger.WAITING]


def verified(
    session: Session,
    action: Action,
    before: Subscription,
    read: Read[Subscription],
    now: datetime,
    *,
    bills: receipts.Bills = receipts.UNKNOWN,
    is_overtaken: bool = False,
) -> Action:
    """Stripe shows it as planned: the receipt, the session's facts and outcome, and the customer's letter.

    `bills` is what it did to the money, as far as that was read. `is_overtaken`: the customer has decided anew since, and is told what
    holds now by the letter about that.
    """
    older = hold(session, action, before)
    # The request that changed it, else the one that showed it.
    request_id = action.stripe_request_id or read.request_id or None
    action = ledger.move(session, action, "verified", now, verified_at=now, code=None, message=None, stripe_request_id=request_id)
    after, concerned = read.value, _concerned(session, action, before)
    session.add(
        Receipt(
            action_id=action.id,
            workspace_id=action.workspace_id,
            before=receipts.snapshot(before),
            after={**receipts.snapshot(after), "bills": receipts.to_json(bills)},
            effective_at=receipts.effective_at(action.verb, after, read.as_of, action.intent.get("when")),
            next_charge_at=after.next_charge,
            stripe_request_id=read.request_id,
            read_back_at=now,
        )
    )
    mirrored(session, action, read)
    ledger.record(session, action, "action.verified", now)
    telling.action(session, action, now)
    pauses.began(session, action, after, now)
    ends = [validation.reckon(session, action.workspace_id, session_id, now) for session_id in concerned]
    validation.ask(session, action.workspace_id, {*concerned, *(id for end in ends for id in end.concerns)}, now)
    business = letters.business(session, action)
    if is_overtaken:
        letter = letters.overtaken(action, business)
    else:
        letter = letters.verified(action, before, after, read.as_of, business, _terms(session, action), bills)
    letters.send(session, action, letter, topic="settled", now=now)
    overtaken(session, action, older, read, now)
    return action


def manual(session: Session, action: Action, code: str, message: str, now: datetime, due_on: datetime | None = None) -> Action:
    """A person must see to it: `code` in a word, `message` for the owner. The customer is told that the team has been told."""
    due_on = due_on or action.due_on or ledger.renewal(session, action.connection_id, action.subscription)
    action = ledger.move(session, action, "manual", now, code=code, message=message, due_on=due_on)
    ledger.record(session, action, "action.manual", now)
    telling.action(session, action, now)
    reminders.ask(session, action, now)
    if code in _COUPON_IS_OVER and action.connection_id is not None:
        projections.refetch(session, action.workspace_id, action.connection_id, "coupon", plans.coupon_of(action.intent), due_at=now)
    letters.send(session, action, letters.received(action, letters.business(session, action)), topic="received", now=now)
    return action


def failed(session: Session, action: Action, code: str, message: str, now: datetime) -> Action:
    """It was not done, and nobody could do it."""
    action = ledger.move(session, action, "failed", now, code=code, message=message)
    ledger.record(session, action, "action.failed", now)
    telling.action(session, action, now)
    letters.send(session, action, letters.failed(action, letters.business(session, action)), topic="settled", now=now)
    return action


def close(session: Session, workspace_id: str, action_id: str, now: datetime, actor: str) -> bool:
    """A person ends a waiting action that will never show on Stripe; the customer is told. False where it does not wait any more."""
    action = session.execute(select(Action).where(Action.id == action_id, Action.state.in_(ledger.WAITING))).scalar_one_or_none()
    if action is None:
        return False
    try:
        failed(session, action, "closed_by_team", _CLOSED, now)
    except ledger.Moved:
        return False
    audit.record(session, workspace_id, actor=actor, verb="action.closed", at=now, target=action_id)
    return True


def mark_done(rt: Runtime, workspace_id: str, action_id: str, actor: str) -> bool:
    """A person says that a waiting action is done: verified if Stripe shows it, else left as it is and False.

    Reads Stripe within a request's patience. Raises NotFound for an action that does not wait, Unavailable when Stripe gives no answer
    that would tell.
    """
    with rt.transaction(workspace_id) as session:
        action = session.execute(select(Action).where(Action.id == action_id, Action.state.in_(ledger.WAITING))).scalar_one_or_none()
        if action is None:
            raise errors.NotFound(code="not_found", message="This action does not wait for anybody any more.")
        mode, connection_id = action.mode, action.connection_id
        connection = connections.by_id(session, connection_id) if connection_id else connections.of_mode(session, workspace_id, mode)
    if connection is None or connection.state != "connected":
        raise errors.Unavailable(code="not_connected", message="Connect your Stripe account first: only Stripe can show that it is done.")
    try:
        seen = look.take(rt.quick_stripe(mode).account(connection.account), wish(action), "read_back", look.plainly, to_prove=True)
    except Missing:
        return False
    except (StripeFailure, KeyError) as failure:
        raise errors.Unavailable(
            code="stripe_unavailable", message=f"Stripe could not be read just now: {failure}", retry_after=10
        ) from failure
    if not is_shown(action, seen):
        return False
    now = rt.now()
    with rt.transaction(workspace_id) as session:
        try:
            proven(session, action, connection.id, seen.read, now)
        except ledger.Moved:
            return False
        audit.record(session, workspace_id, actor=actor, verb="action.marked_done", at=now, target=action_id)
    return True


def is_shown(action: Action, seen: look.Look) -> bool:
    """Whether Stripe shows what a waiting action asked for, where somebody says that it is done."""
    asked = wish(action)
    if action.code == ledger.YOURS:
        asked = to_the_day(asked, seen.situation.subscription)
    return plans.shows(asked, seen.situation, plans.kept(kept_calls(action)))


def proven(session: Session, action: Action, connection_id: str, read: Read[Subscription], now: datetime) -> Action:
    """A waiting action is verified by what was read of that connection's account, whoever did it. Raises ledger.Moved."""
    if action.connection_id is None:
        hold(session, action, read.value)
        action = ledger.move(session, action, action.state, now, connection_id=connection_id)
    return verified(session, action, before(action) or read.value, read, now)


def before(action: Action) -> Subscription | None:
    """The subscription as it was when the call was planned."""
    return read_subscription(action.call["before"]) if action.call else None


def overtaken(session: Session, action: Action, older: Sequence[Action], read: Read[Subscription], now: datetime) -> None:
    """What `hold` gave still waits for a person, and was asked for before this action: the same read settles it where it can.

    A cancel or an undo that shows is done, and so is what the business's own system has made before its news came. What was surely never
    written gives way to the later decision; the rest keeps waiting.
    """
    for each in older:
        # Of an offer, the state alone does not say whose doing it is.
        if each.verb in ("cancel", "undo_cancel", "resume") and plans.shows(wish(each), plans.Situation(subscription=read.value)):
            verified(session, each, before(each) or read.value, read, now)
        elif _was_theirs(action, each, read.value):
            verified(session, each, before(each) or read.value, read, now, is_overtaken=True)
        elif not kept_calls(each):
            failed(session, each, "superseded", f"The customer decided anew meanwhile: {action.id} took its place.", now)


def _was_theirs(later: Action, each: Action, seen: Subscription) -> bool:
    """Whether the business's own system has made this offer: the subscription shows it, or did when the later action was planned.

    What the later action has brought about itself is not theirs, and may have ended what was: to cancel ends a pause.
    """
    then, since = before(each), each.asked_at - ledger.CLOCKS_DIFFER
    if then is None and each.verb == "discount":
        # Nobody knows how it was; a discount says itself when it began.
        then = replace(seen, discounts=())
    if each.code != ledger.YOURS or then is None:
        return False
    planned_on = before(later) if kept_calls(later) else None
    shown = [planned_on] if planned_on is not None else []
    if planned_on is None or each.verb != later.verb:
        shown.append(seen)
    return any(plans.was_made(to_the_day(wish(each), one), then, one, since) for one in shown)


def _older(session: Session, action: Action) -> list[Action]:
    if action.verb == "payment_method":
        return []
    rows = select(Action).where(
        Action.connection_id == action.connection_id,
        Action.subscription == action.subscription,
        Action.verb.in_(plans.DECISIONS),
        Action.state.in_(ledger.WAITING),
        Action.asked_at < action.asked_at,
    )
    return list(session.execute(rows.order_by(Action.asked_at, Action.id)).scalars())


def _terms(session: Session, action: Action) -> list[tuple[str, str]]:
    """What the customer read and accepted, as label and value."""
    offer = session.execute(select(Choice.offer).where(Choice.id == action.choice_id)).scalar_one_or_none()
    return [(str(label), str(value)) for label, value in (offer or {}).get("terms", ())]


def _concerned(session: Session, action: Action, before: Subscription) -> list[str]:
    """The sessions this bears on, to be decided anew: its own, and where it takes a cancellation back, those that had canceled."""
    concerned: set[str | None] = {action.session_id}
    if action.verb == "undo_cancel" or (action.verb == "discount" and before.is_scheduled_to_cancel):
        canceled = select(Action.session_id).where(
            Action.connection_id == action.connection_id,
            Action.subscription == action.subscription,
            Action.verb == "cancel",
            Action.state == "verified",
            Action.session_id.is_not(None),
        )
        concerned.update(session.execute(canceled).scalars())
    return sorted(id for id in concerned if id is not None)
