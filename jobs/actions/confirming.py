"""Confirming: what the business's own system was asked to do is done once Stripe shows it, and did not when it was asked for."""

from sqlalchemy import Select, select

from connect_app import connections
from connect_app.models import Action, Connection
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from jobs import access, budget, plans, work
from jobs.actions import ledger, look, settlement
from jobs.actions.conversation import Conversation
from jobs.actions.look import Look

# Of these the state alone is the proof, whoever brought it about and whenever: who is canceled already has what they asked for.
_STATES = frozenset(("cancel", "undo_cancel", "resume"))


def confirm(rt: Runtime, claim: work.Claim) -> work.End:
    """Stripe has told something new of this action's subscription: one look, and whatever of theirs it shows is verified, oldest first.

    What it does not show goes on waiting: for the next news, or for a person.
    """
    with rt.transaction(claim.tenant) as session:
        action = session.execute(_theirs().where(Action.id == claim.row_id)).scalar_one_or_none()
        if action is None or action.connection_id is None:
            return work.Done()
        connection = connections.by_id(session, action.connection_id)
        waiting = list(session.execute(_of_subscription(action)).scalars())
    if connection is None or connection.state != "connected" or connection.mode not in rt.gateways:
        return work.Done()  # a reconnect reads everything in again, and that is news
    later = budget.reserve(rt, connection.account, connection.mode, claim.id)
    if later is not None:
        return work.Again(problem="waiting for the account's rate budget", after=later, is_untried=True)
    try:
        for one in waiting:
            _look_for(rt, claim, one, connection)
    except AccessLost as loss:
        return access.lost(rt, claim, connection, loss)
    except Transient as failure:
        return work.Again(problem=f"stripe: {failure}"[:500])
    except Missing:
        return work.Done()
    except Refused as refusal:
        return work.GiveUp(problem=str(refusal)[:500])
    return work.Done()


def is_new(action: Action, seen: Look) -> bool:
    """Whether Stripe shows what was asked for, and did not when it was: an older discount by the same coupon is nobody's answer.

    How it was then, the action keeps (`call.before`); without that only what is a state by itself can be told.
    """
    before, now = settlement.before(action), seen.situation.subscription
    wish = settlement.to_the_day(settlement.wish(action), now)
    if wish.verb in _STATES:
        return plans.shows(wish, seen.situation)
    if before is None:
        return False
    if wish.verb == "discount":
        known, since = {discount.id for discount in before.discounts}, action.asked_at - ledger.CLOCKS_DIFFER
        # The mirror may have been behind: a discount says itself when it began.
        older = (one.id for one in now.discounts if one.id in known or (one.starts_at is not None and one.starts_at < since))
        return plans.shows(wish, seen.situation, frozenset(id for id in older if id is not None))
    return plans.shows(wish, seen.situation) and not plans.shows(wish, plans.Situation(subscription=before))


def _look_for(rt: Runtime, claim: work.Claim, action: Action, connection: Connection) -> None:
    talk = Conversation(rt, action)
    seen = look.take(rt.stripe(action.mode).account(connection.account), settlement.wish(action), "read_back", talk.ask, to_prove=True)
    if not is_new(action, seen):
        return
    with rt.transaction(claim.tenant) as session:
        settlement.hold(session, action, seen.read.value)
        # All that waits for this subscription, in one order: what is verified may settle what is older.
        still = {one.id: one for one in session.execute(_of_subscription(action).with_for_update()).scalars()}
        if (held := still.get(action.id)) is not None:
            talk.note(session)
            settlement.verified(session, held, settlement.before(held) or seen.read.value, seen.read, rt.now())
        # Last: a drain holds the object's row before it wants this work row.
        claim.fence(session)


def _theirs() -> Select[Action]:
    return select(Action).where(Action.state == "requested", Action.code == ledger.YOURS)


def _of_subscription(action: Action) -> Select[Action]:
    same = Action.connection_id == action.connection_id, Action.subscription == action.subscription
    return _theirs().where(*same).order_by(Action.asked_at, Action.id)
