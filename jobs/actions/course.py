"""The course of an action: read, plan, freeze the call and its key, write, read back, prove; each step committed before the next."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NoReturn

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from connect_app import connections
from connect_app.models import Action, Attempt, Connection
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import calls
from connect_app.stripe_gateway.account import AccountGateway
from connect_app.stripe_gateway.calls import Call
from connect_app.stripe_gateway.errors import AccessLost, Missing, Refused, Transient
from connect_app.stripe_gateway.gateway import Read
from connect_app.stripe_gateway.objects import Subscription
from jobs import plans, work
from jobs.actions import freezing, ledger, look, settlement
from jobs.actions.look import Look
from jobs.actions.turn import NOT_CONNECTED, Ended, TooFast, Turn

log = structlog.get_logger()

# Stripe forgets keys after 24 hours at the earliest; a call older than this is looked for before anything is written.
_KEY_LIFE = timedelta(hours=23)
# Calls that were planned longer ago than this are sent again only where they are what a fresh look would say; those of a moment ago may
# still be on their way.
_FRESH = timedelta(minutes=1)
# So many plans are tried where Stripe refuses each, before a person looks.
_PLANS = 5
# An error of our own is no weather: after so many tries a person hears of it.
_OWN_ERRORS = 10
# How often a read back may show something else than what was written, before a person looks.
_DOUBTS = 5
_NOT_AS_PLANNED = "not as planned"

_UNAVAILABLE = "Stripe could not be reached, or answered with errors, however often it was tried. Press Retry when Stripe is well again."
_OWN_ERROR = "Holdfast failed while working on this. Nothing is known to be wrong at Stripe; see the log, then press Retry."


def perform(rt: Runtime, claim: work.Claim) -> work.End:
    """Take one action as far as it goes: to `verified`, `manual` or `failed`, or to another try."""
    with rt.transaction(claim.tenant) as session:
        action = session.execute(select(Action).where(Action.id == claim.row_id)).scalar_one_or_none()
        if action is None or action.state not in ledger.IN_FLIGHT:
            return work.Done()
        connection = connections.by_id(session, action.connection_id) if action.connection_id else None
        later = _superseding(session, action)
    try:
        return _Course(rt, claim, action, connection, later).run()
    except ledger.Moved as moved:
        # Nobody but the holder of the lease moves an action that is under way.
        raise work.LeaseLost(str(moved)) from moved


def give_up(rt: Runtime, claim: work.Claim, problem: str) -> None:
    """However often it was tried, it did not come to an end: a person must see to it."""
    with rt.transaction(claim.tenant) as session:
        claim.fence(session)
        action = session.execute(select(Action).where(Action.id == claim.row_id, Action.state.in_(ledger.IN_FLIGHT))).scalar_one_or_none()
        if action is None:
            return
        if problem.startswith("stripe:"):
            settlement.manual(session, action, "stripe_unavailable", _UNAVAILABLE, rt.now())
        else:
            settlement.manual(session, action, "internal_error", _OWN_ERROR, rt.now())


class _Course(Turn):
    """The steps of one turn, each from the state that the one before has committed."""

    def __init__(self, rt: Runtime, claim: work.Claim, action: Action, connection: Connection | None, later: str | None) -> None:
        super().__init__(rt, claim, action, connection)
        self.superseded_by = later if action.state == "queued" else None

    def run(self) -> work.End:
        try:
            if self.connection is None or self.connection.state != "connected":
                self.manual("not_connected", NOT_CONNECTED)
            self.enter()
            self._steps()
        except Ended as over:
            return over.end
        except TooFast as refusal:
            return self.later(f"stripe: {refusal}", refusal.later)
        except AccessLost as lost:
            return self.locked_out(lost)
        except Transient as failure:
            return self.later(f"stripe: {failure}")
        except Missing as missing:
            return self.stop("unknown_subscription", f"Your Stripe account has no subscription {self.action.subscription}: {missing}")
        except Refused as refusal:
            return self.stop(refusal.code or "refused", f"Stripe refused: {refusal}")
        except (work.LeaseLost, ledger.Moved, SQLAlchemyError):
            raise
        except Exception:
            if self.claim.attempts < _OWN_ERRORS:
                raise
            log.exception("action.own_error")
            return self.stop("internal_error", _OWN_ERROR)

    def _steps(self) -> NoReturn:
        while True:
            if self.action.state == "queued" or (self.action.state == "prechecked" and self._is_older_than(_KEY_LIFE)):
                self._plan(self._look("precheck"))
            elif self.action.state == "prechecked":
                if self._is_older_than(_FRESH):
                    self._plan(self._look("precheck"), may_keep=True)
                    self.mind_the_lease()
                self._write()
            else:
                self._prove(self._look("read_back", to_prove=True))
            self.mind_the_lease()

    # Reading and planning.

    def _stripe(self) -> AccountGateway:
        if self.connection is None:
            raise RuntimeError("an action without a connection has no Stripe account")
        if self.action.mode not in self.rt.gateways:
            self.manual("not_connected", f"This server has no Stripe keys for {self.action.mode} mode. Set them, then press Retry.")
        return self.rt.stripe(self.action.mode).account(self.connection.account)

    def _look(self, step: str, *, to_prove: bool = False) -> Look:
        return look.take(self._stripe(), self.wish, step, self.ask, to_prove=to_prove)

    def _plan(self, seen: Look, *, may_keep: bool = False) -> None:
        """From a fresh look: done already, not to be done, or calls, frozen under keys of their own before the first is sent.

        `may_keep`: calls that are frozen already stay, keys and all, where they are what would be planned now, or have been begun.
        """
        read, sent = seen.read, settlement.kept_calls(self.action)
        if sent:
            if rest := plans.rest(self.wish, seen.situation, sent):
                return self._freeze(plans.Plan(calls=rest), read)
            self._recognise(seen, sent)
        elif self.wish.verb == "discount" and plans.proves(self.wish, seen.situation, ()):
            # Made by us, and forgotten here: the database is an older copy.
            self.verified(read.value, read)
        if self.superseded_by is not None:
            self._superseded(self.superseded_by, read, may_be_applied=bool(sent))
        verdict = plans.plan(self.wish, seen.situation, self.rt.now())
        match verdict:
            case plans.AlreadyDone():
                self.verified(read.value, read)
            case plans.Refused():
                self.settle(verdict, read)
            case plans.Plan() if may_keep and (plans.is_marked(self.wish, seen.situation) or calls.are_same(verdict.calls, sent)):
                pass
            case plans.Plan():
                self._freeze(verdict, read)
        return None

    def _recognise(self, seen: Look, sent: tuple[Call, ...]) -> None:
        """Whether calls that may have been sent were applied. What was, and did not stay, is not written a second time."""
        read = seen.read
        if plans.proves(self.wish, seen.situation, sent):
            self.verified(settlement.before(self.action) or read.value, read)
        if plans.may_have_been_made(self.wish, seen.situation, sent, has_touched=freezing.has_touched(self.action)):
            self.manual(
                "not_as_planned",
                "The change was made on Stripe, and the subscription has been changed since, or by somebody else at the same time."
                " See what the customer should have, then press Mark done.",
                read,
            )

    def _superseded(self, later: str, read: Read[Subscription], *, may_be_applied: bool) -> NoReturn:
        """What the customer decided since counts; only what was surely never written is said to have changed nothing."""
        message = f"The customer decided anew meanwhile: {later} took its place."
        if may_be_applied:
            message += " It may have been applied before that: compare the subscription in Stripe's dashboard."
        self.settle(plans.Refused(code="superseded", message=message, is_final=not may_be_applied), read)

    def _freeze(self, plan: plans.Plan, read: Read[Subscription]) -> None:
        now, generation = self.rt.now(), self.action.generation + 1
        kept = freezing.frozen(self.action, plan, read.value, generation, now)
        with self.writing() as session:
            self.action = ledger.move(
                session, self.action, "prechecked", now, call=kept, generation=generation, due_on=read.value.current_period_end
            )

    def _is_older_than(self, age: timedelta) -> bool:
        """Whether the calls were planned longer ago than that."""
        call = self.action.call
        return call is None or self.rt.now() - datetime.fromisoformat(call["planned_at"]) > age

    # Writing.

    def _write(self) -> None:
        """Send the frozen calls under their keys: again and again the same, until Stripe says what became of them."""
        ids: list[str] = []
        kept = settlement.kept_calls(self.action)
        for place, call in enumerate(kept):
            if place:
                self.mind_the_lease()
            try:
                request_id, made = self._send(place, call, ids)
                ids.append(made)
            except Transient as failure:
                if not failure.replayed:
                    raise
                # Stripe saved an error under this key and will never say anything else: look, and only then make another.
                return self._plan(self._look("precheck"))
            except (Refused, Missing) as refusal:
                return self._plan(self._look("precheck")) if refusal.code == "idempotency_error" else self._refused(refusal, place)
        now = self.rt.now()
        with self.writing() as session:
            self.action = ledger.move(session, self.action, "applied", now, stripe_request_id=request_id)
            ledger.record(session, self.action, "action.applied", now)
        return None

    def _send(self, place: int, call: Call, ids: list[str]) -> tuple[str | None, str]:
        """One call; gives its request's id, and the id of what it has changed or made. `ids` are those of the calls before."""
        if self.action.call is None:
            raise RuntimeError(f"{self.action.id} is prechecked without a call")
        key, stripe = self.action.call["key"] + (f".{place}" if place else ""), self._stripe()
        target = ids[int(call.target[1:])] if call.target.startswith("$") else call.target
        sent = replace(call, target=target)
        try:
            read = self.ask("write", lambda: stripe.write(sent, idempotency_key=key), key)
        except Missing:
            if call.method != "subscriptions.cancel" or not self._look("read_back", to_prove=True).read.value.is_ended:
                raise
            # An earlier try of this very call has ended it: only a POST is answered the same again.
            return None, target
        return read.request_id, read.value

    def _refused(self, refusal: Refused | Missing, place: int) -> None:
        """Stripe will not. It may have come to be so all the same, by an earlier try or another hand: then it is done.

        Or what the calls were planned on is no longer so: then there is another plan, and Stripe is asked for that.
        """
        seen, sent = self._look("read_back"), settlement.kept_calls(self.action)
        if sent and plans.proves(self.wish, seen.situation, sent):
            self.verified(settlement.before(self.action) or seen.read.value, seen.read)
        if plans.rest(self.wish, seen.situation, sent):
            # It has ended: what Stripe will not do after that takes nothing back.
            if left := sent[place + 1 :]:
                return self._freeze(plans.Plan(calls=left), seen.read)
            self.verified(settlement.before(self.action) or seen.read.value, seen.read)
        fresh = plans.plan(self.wish, seen.situation, self.rt.now())
        if isinstance(fresh, plans.Refused):  # our own words say more than Stripe's
            self.settle(fresh, seen.read)
        if not isinstance(fresh, plans.Plan) or calls.are_same(fresh.calls, sent) or self.action.generation >= _PLANS:
            done = f" Done before that: {', '.join(call.method for call in sent[:place])}." if place else ""
            self.manual(ledger.code_of(refusal), f"Stripe refused the change: {refusal}{done}", seen.read)
        return self._freeze(fresh, seen.read)

    # Proof.

    def _prove(self, seen: Look) -> NoReturn:
        read, sent = seen.read, settlement.kept_calls(self.action)
        if not sent or plans.proves(self.wish, seen.situation, sent):
            self.verified(settlement.before(self.action) or read.value, read)
        self.talk.doubt(_NOT_AS_PLANNED)
        with self.writing() as session:
            settlement.mirrored(session, self.action, read)
            session.flush()
            doubts = session.execute(
                select(func.count()).select_from(Attempt).where(Attempt.action_id == self.action.id, Attempt.problem == _NOT_AS_PLANNED)
            ).scalar_one()
            is_over = doubts >= _DOUBTS
            if is_over:
                settlement.manual(
                    session,
                    self.action,
                    "not_as_planned",
                    "Stripe took the change, and shows something else when read back: somebody may have changed the subscription since."
                    " See what the customer should have, then press Mark done.",
                    self.rt.now(),
                )
        raise Ended(work.Done() if is_over else work.Again(problem=_NOT_AS_PLANNED, after=self.pause()))


def _superseding(session: Session, action: Action) -> str | None:
    """A later action of the same subscription that has been verified: what was decided before it no longer counts."""
    if action.connection_id is None or action.verb == "payment_method":
        return None
    return session.execute(
        select(Action.id)
        .where(
            Action.connection_id == action.connection_id,
            Action.subscription == action.subscription,
            Action.verb.in_(plans.DECISIONS),
            Action.state == "verified",
            Action.asked_at > action.asked_at,
        )
        .limit(1)
    ).scalar_one_or_none()
