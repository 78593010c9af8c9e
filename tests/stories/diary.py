"""A diary of a business: its customer at the flow, its Stripe account, and the months between, with the clock moved along."""

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select, text

from connect_app import connections, preferences
from connect_app.admin import cases
from connect_app.models import FlowSession, Outcome, SessionFact
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from connect_app.stripe_gateway import objects
from connect_app.workspaces import accounts
from jobs import validation, work
from sandbox.stripe import dashboard, misfortunes, signups
from sandbox.stripe.context import Context
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.worlds import clone
from tests import customers, make
from webhooks import events, store

BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
# The kinds of work that a story is about; what is periodic would only hide that news was missed.
_KINDS = ("action", "confirm", "drain", "refetch", "validate")


@dataclass
class Diary:
    """One workspace, one customer of the seeded `shape`, and what happens to them. Days are counted from BEGIN."""

    rt: Runtime
    local: LocalStripe
    clock: Any
    """freezegun's."""
    stage: make.Stage
    app: Flask
    shape: str = "monthly"
    begun: int = 0
    """How many events there were before the story began."""
    told: int = 0
    is_deaf: bool = False
    """News is not delivered: what we know, we know by asking."""
    is_idle: bool = False
    """Nobody works on actions: what a customer chose stays undone."""

    @property
    def customer(self) -> str:
        return self.stage.shapes[self.shape][0]

    @property
    def subscription(self) -> str:
        return self.stage.shapes[self.shape][1]

    # Time.

    def day(self, number: float) -> None:
        """Go on to this day; whatever falls due on the way happens, at Stripe in its moment."""
        self.clock.move_to(BEGIN + timedelta(days=number))
        with self.local.lock:
            self.local.clock.settle()
        self.work()

    def passes(self, time: timedelta) -> None:
        """So much later than it is. (The clock's own tick forgets what has really passed, and on a busy machine would go back.)"""
        self.clock.move_to(self.clock() + time)

    def minutes(self, number: float) -> None:
        self.passes(timedelta(minutes=number))
        self.work()

    def work(self) -> None:
        """What the workers would do within seconds: until nothing is due. Ties within a second are read again in the next."""
        for _ in range(12):
            self.deliver()
            while self._perform():
                self.deliver()
            self.passes(timedelta(seconds=1))
            with self.rt.transaction() as session:
                soon = {"kinds": self.kinds, "by": self.rt.now() + timedelta(seconds=10)}
                waiting = text("select exists(select 1 from work where kind = any(:kinds) and due_at <= :by and gave_up_at is null)")
                if not session.execute(waiting, soon).scalar_one():
                    return

    def prefers(self, name: preferences.Name, value: object) -> None:
        with self.rt.transaction(self.stage.workspace_id) as session:
            preferences.save(session, self.stage.workspace_id, name, value, self.rt.now())

    def renewal(self) -> float:
        """The day of the next charge."""
        ends = self.stripe("subscription", self.subscription)["items"]["data"][0]["current_period_end"]
        return (datetime.fromtimestamp(ends, UTC) - BEGIN) / timedelta(days=1)

    def deliver(self) -> None:
        """Stripe's webhooks."""
        every = list(self.local.world(self.stage.account, False).all("event"))
        fresh, self.told = every[self.told :], len(every)
        if fresh and not self.is_deaf:
            with self.rt.transaction() as session:
                store.keep(session, [events.envelope(json.dumps(one).encode()) for one in fresh], self.rt.now())

    @property
    def kinds(self) -> list[str]:
        return [kind for kind in _KINDS if not (self.is_idle and kind == "action")]

    def _perform(self) -> int:
        with self.rt.transaction() as session:
            due = session.execute(
                text("select id from work where kind = any(:kinds) and due_at <= :now and gave_up_at is null order by due_at limit 50"),
                {"kinds": self.kinds, "now": self.rt.now()},
            )
            found = [row.id for row in due]
        return sum(work.perform(self.rt, id) is not None for id in found)

    # The customer.

    def opens_the_flow(self) -> customers.Browser:
        self.passes(timedelta(seconds=2))
        return customers.handed_over(self.app, self.stage, self.shape).look()

    def says_never_mind(self) -> str:
        browser = self.opens_the_flow().press("keep")
        self.work()
        return self.session_of(browser)

    def takes_the_offer(self) -> str:
        browser = self.opens_the_flow().press("answer", reason="too_expensive")
        browser.press("accept", offer=browser.offer)
        self.work()
        return self.session_of(browser)

    def cancels(self) -> str:
        browser = self.opens_the_flow().press("answer", reason="unused").press("confirm")
        self.work()
        return self.session_of(browser)

    def walks_away(self) -> str:
        browser = self.opens_the_flow().press("answer", reason="too_expensive")
        self.work()
        return self.session_of(browser)

    def undoes(self) -> str:
        browser = self.opens_the_flow()
        browser.press("undo")
        self.work()
        return self.session_of(browser)

    def subscribes_again(self) -> str:
        """Another subscription, of the same price, as the business would make it."""
        price = self.stripe("subscription", self.subscription)["items"]["data"][0]["price"]["id"]
        made = signups.create(self.by_hand(), {"customer": self.customer, "items": [{"price": price}]})
        self.work()
        return str(made["id"])

    def session_of(self, browser: customers.Browser) -> str:
        return browser.path.rsplit("/", 1)[1].split(".")[0]

    # Stripe.

    def by_hand(self) -> Context:
        return Context(local=self.local, world=self.local.world(self.stage.account, False), source="dashboard")

    def befalls(self, kind: str, **more: Any) -> Any:
        """A misfortune, a second later."""
        self.passes(timedelta(seconds=2))
        with self.local.lock:
            made = clone(misfortunes.befall(self.local, {"kind": kind, "subscription": self.subscription, **more}))
        self.work()
        return made

    def changes(self, subscription: str | None = None, **change: Any) -> None:
        """What somebody does in Stripe's dashboard."""
        self.passes(timedelta(seconds=2))
        with self.local.lock:
            dashboard.change(self.local, subscription or self.subscription, change)
        self.work()

    def stripe(self, kind: str, id: str) -> Any:
        return self.local.world(self.stage.account, False).get(kind, id)

    def knows_portal(self, is_open: bool) -> None:
        with self.rt.transaction(self.stage.workspace_id) as session:
            connections.checked(
                session, self.stage.connection_id, at=self.rt.now(), can_read=True, can_write=True, portal_cancel_open=is_open
            )

    def leaves(self) -> None:
        """The business cuts us off."""
        with self.rt.transaction(self.stage.workspace_id) as session:
            place = self.stage.workspace_id, self.stage.connection_id
            connections.lost(session, *place, at=self.rt.now(), reason="deauthorized", actor="stripe")

    def comes_back(self) -> None:
        """The business connects us again, and what we missed is read in."""
        account = objects.read_account(self.local.accounts[self.stage.account])
        with self.rt.transaction(self.stage.workspace_id) as session:
            given = {
                "account": account,
                "mode": Mode.TEST,
                "scope": "read_write",
                "now": self.rt.now(),
                "ring": self.rt.ring,
                "by": "owner",
            }
            accounts.link_or_relink(session, self.stage.workspace_id, **given)  # type: ignore[arg-type]
        make.read_in(self.rt)
        self.work()

    def tell_again(self, order: random.Random) -> None:
        """All of Stripe's news since the beginning, once more, in another order, as if it came for the first time."""
        every = [dict(one) for one in self.local.world(self.stage.account, False).all("event")][self.begun :]
        order.shuffle(every)
        with self.rt.transaction() as session:
            session.execute(text("delete from webhook_events"))
            store.keep(session, [events.envelope(json.dumps(one).encode()) for one in every], self.rt.now())
        self.told = len(list(self.local.world(self.stage.account, False).all("event")))
        self.work()

    def looks_again(self, session_id: str) -> None:
        with self.rt.transaction(self.stage.workspace_id) as session:
            validation.ask(session, self.stage.workspace_id, [session_id], self.rt.now())
        self.work()

    # What we say of it.

    def began(self, session_id: str) -> int:
        """The second in which a person first saw the session's flow."""
        shown_at = self.find(FlowSession, session_id).shown_at
        assert shown_at is not None
        return int(shown_at.timestamp())

    def find(self, model: type[FlowSession], id: str) -> FlowSession:
        with self.rt.transaction(self.stage.workspace_id) as session:
            return session.execute(select(model).where(model.id == id)).scalar_one()

    def outcome(self, session_id: str) -> tuple[str, str | None, str | None]:
        row = self.row(session_id)
        return (row.state, row.how, row.door) if row else ("open", None, None)

    def row(self, session_id: str) -> Outcome | None:
        with self.rt.transaction(self.stage.workspace_id) as session:
            return session.execute(select(Outcome).where(Outcome.session_id == session_id)).scalar_one_or_none()

    def worth(self, session_id: str) -> Any:
        row = self.row(session_id)
        return (row.revenue if row else None) or {}

    def facts(self, session_id: str, *kinds: str) -> list[SessionFact]:
        with self.rt.transaction(self.stage.workspace_id) as session:
            found = select(SessionFact).where(SessionFact.session_id == session_id, SessionFact.kind.in_(kinds))
            return list(session.execute(found.order_by(SessionFact.at, SessionFact.id)).scalars())

    def headline(self) -> tuple[dict[str, int], dict[str, str]]:
        """What the owner reads: cases by state, and the amounts in dollars that there are."""
        with self.rt.transaction(self.stage.workspace_id) as session:
            found = cases.headline(session, self.stage.workspace_id, "test", since=None)
        amounts = {
            what: getattr(sums, what) for sums in found.sums if sums.currency == "usd" for what in ("saved", "lost", "watched", "paid")
        }
        return dict(found.by_state), {what: amount for what, amount in amounts.items() if amount is not None}

    def course(self, session_id: str) -> list[str]:
        """The states it went through."""
        return [fact.data["to"] for fact in sorted(self.facts(session_id, "outcome.changed"), key=lambda fact: fact.id)]
