"""A turn at an action: its transactions behind the fence, and the ways in which it can end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NoReturn, TypeVar

from sqlalchemy.orm import Session

from connect_app import connections
from connect_app.models import Action, Connection
from connect_app.runtime import Runtime
from connect_app.stripe_gateway.errors import AccessLost, StripeFailure, Transient
from connect_app.stripe_gateway.gateway import Read
from connect_app.stripe_gateway.objects import Subscription
from jobs import budget, plans, receipts, work
from jobs.actions import bills, settlement
from jobs.actions.conversation import Conversation
from webhooks import mirror

NOT_CONNECTED = "Holdfast has no access to your Stripe account. It is tried again as soon as you reconnect it."
# A customer waits on the page at first; later the account's rate limit matters more. The longest pause is so long at first, and grows with
# the time for which the action has not come one step further, up to a minute.
_EAGER_CAP, _PATIENT_CAP, _GROWTH = 4.0, 60.0, 1 / 8


# For no longer does an action keep its hand, so that those of other accounts find one.
_BRIEFLY = 0.5
T = TypeVar("T")
_TOO_MANY = 429
# Of all that is answered so, this alone is no matter of rate: somebody else has the object in hand.
_ONE_OBJECT = "lock_timeout"


class TooFast(Exception):
    """Stripe refused for the account's rate: `later` is when to come back."""

    def __init__(self, later: timedelta, failure: Transient) -> None:
        super().__init__(str(failure))
        self.later = later


class Ended(Exception):
    """The turn is over; `end` is what the work row is told."""

    def __init__(self, end: work.End) -> None:
        super().__init__(end)
        self.end = end


class Turn:
    """One worker's turn. Nothing is held open while Stripe is asked; every transaction begins at the fence."""

    def __init__(self, rt: Runtime, claim: work.Claim, action: Action, connection: Connection | None) -> None:
        self.rt = rt
        self.claim = claim
        self.action = action
        self.connection = connection
        self.talk = Conversation(rt, action)
        self.wish = settlement.wish(action)
        self.began = time.monotonic()
        self.is_first = False

    def enter(self) -> None:
        """Before anything is asked: where Stripe holds the account up, its actions wait together, and one of them tries for all."""
        if self.connection is None:
            return
        entry = budget.enter(self.rt, self.connection.account, self.connection.mode)
        while entry.later is not None and time.monotonic() - self.began + entry.later.total_seconds() < _BRIEFLY:
            time.sleep(entry.later.total_seconds())
            entry = budget.enter(self.rt, self.connection.account, self.connection.mode)
        if entry.later is not None:
            raise Ended(work.Again(problem="Stripe asks the account to slow down", after=entry.later, is_untried=True))
        self.is_first = entry.is_first

    def ask(self, step: str, question: Callable[[], Read[T]], key: str | None = None) -> Read[T]:
        """As `Conversation.ask`, and what the answer means for the account's other actions. Raises what the gateway raises."""
        try:
            read = self.talk.ask(step, question, key)
        except Transient as failure:
            if self.connection is not None and failure.http_status == _TOO_MANY and failure.code != _ONE_OBJECT:
                later = budget.hold(self.rt, self.connection.account, self.connection.mode, is_first=self.is_first)
                if later is not None:
                    raise TooFast(later, failure) from failure
            else:
                self._answered()
            raise
        except StripeFailure:
            self._answered()
            raise
        self._answered()
        return read

    def _answered(self) -> None:
        """Whatever it was, it was no refusal for the rate."""
        if self.is_first and self.connection is not None:
            self.is_first = False
            budget.release(self.rt, self.connection.account, self.connection.mode)

    def verified(self, before: Subscription, read: Read[Subscription]) -> NoReturn:
        """Proven: the receipt is written, and the turn is over."""
        told = self._bills(before, read.value)
        with self.writing() as session:
            settlement.verified(session, self.action, before, read, self.rt.now(), bills=told)
        raise Ended(work.Done())

    def _bills(self, before: Subscription, after: Subscription) -> receipts.Bills:
        """What the change did to the money, as far as Stripe tells at once; nothing is open meanwhile, and nothing waits for it in vain."""
        if self.connection is None or self.wish.verb not in plans.DECISIONS or not self._has_time():
            return receipts.UNKNOWN
        may_owe = False
        if self.wish.verb == "cancel" and not bills.is_suspect(before, after):
            with self.rt.transaction(self.claim.tenant) as session:
                may_owe = bool(mirror.owing(session, self.connection.id, [after.id]))
        kept = self.action.call if settlement.kept_calls(self.action) else None
        since = datetime.fromisoformat(kept["planned_at"]) if kept else None
        stripe = self.rt.quick_stripe(self.action.mode).account(self.connection.account)
        try:
            return bills.read(stripe, self.ask, bills.Change(before=before, after=after, since=since, may_owe=may_owe))
        except TooFast:
            return receipts.UNKNOWN

    def settle(self, refusal: plans.Refused, read: Read[Subscription] | None = None) -> NoReturn:
        """Not by a direct call: for a person to see to, or failed for good."""
        if not refusal.is_final:
            self.manual(refusal.code, refusal.in_full, read)
        with self.writing() as session:
            if read is not None and plans.foreign(self.wish, read.value) is None:
                settlement.mirrored(session, self.action, read)
            settlement.failed(session, self.action, refusal.code, refusal.message, self.rt.now())
        raise Ended(work.Done())

    def manual(self, code: str, message: str, read: Read[Subscription] | None = None) -> NoReturn:
        """A person must see to it; the turn is over."""
        with self.writing() as session:
            due_on, older = None, []
            is_ours = read is not None and plans.foreign(self.wish, read.value) is None
            if read is not None:
                older = settlement.hold(session, self.action, read.value) if is_ours else []
                settlement.mirrored(session, self.action, read)
                due_on = read.value.current_period_end
            settlement.manual(session, self.action, code, message, self.rt.now(), due_on)
            if read is not None:
                settlement.overtaken(session, self.action, older, read, self.rt.now())
        raise Ended(work.Done())

    def stop(self, code: str, message: str) -> work.End:
        """As `manual`, for a caller that has caught what went wrong."""
        try:
            self.manual(code, message)
        except Ended as over:
            return over.end

    def later(self, problem: str, after: timedelta | None = None) -> work.End:
        """Not now: what was said is written down, and the work is postponed."""
        with self.writing():
            pass
        return work.Again(problem=problem[:500], after=after or self.pause())

    def locked_out(self, lost: AccessLost) -> work.End:
        """The account has cut us off: the connection is over, and with it this turn."""
        if not lost.is_disconnected or self.connection is None:
            # Our own platform key is refused: no account is at fault, and none must lose its connection for it.
            return self.later(f"stripe: {lost}")
        with self.writing() as session:
            connections.lost(session, self.claim.tenant, self.connection.id, at=self.rt.now(), reason="access_lost", actor="holdfast")
            settlement.manual(session, self.action, "not_connected", NOT_CONNECTED, self.rt.now())
        return work.Done()

    def mind_the_lease(self) -> None:
        """Between two steps: where the lease might run out in the next call, a new turn takes it up from what is committed."""
        if not self._has_time():
            raise Ended(work.Again(problem="the lease was nearly over", after=timedelta(0)))

    def _has_time(self) -> bool:
        return self.rt.settings.holdfast_lease_seconds - (time.monotonic() - self.began) >= self.rt.settings.longest_call

    def pause(self) -> timedelta:
        """How long to wait before the next try: seconds while a customer may be watching."""
        stood = (self.rt.now() - self.action.changed_at).total_seconds()
        return work.backoff(self.claim.attempts, base=0.25, cap=min(_PATIENT_CAP, max(_EAGER_CAP, stood * _GROWTH)))

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction behind the fence, with what was said to Stripe written down in it."""
        with self.rt.transaction(self.claim.tenant) as session:
            self.claim.fence(session)
            self.talk.note(session)
            yield session
