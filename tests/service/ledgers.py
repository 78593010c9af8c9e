"""The stage for the ledger's tests: a workspace connected to the local Stripe's sample business, and a Stripe that can be watched."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, text, update

from connect_app import ids, runtime
from connect_app.models import (
    AccountLookup,
    Action,
    Attempt,
    Choice,
    Connection,
    Customer,
    Delivery,
    Flow,
    FlowSession,
    FlowVersion,
    Membership,
    Outcome,
    PortalLink,
    Receipt,
    SessionFact,
    User,
    Workspace,
)
from connect_app.models.base import Base
from jobs import actions, work
from sandbox.stripe import accounts, seed
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.sdk import LocalClient
from sandbox.stripe.wire import Request

# A cancel that comes too late: the subscription renewed after the customer chose, and a person has to decide.
TOO_LATE = {"when": "period_end", "renews_at": "2020-01-01T00:00:00+00:00"}


class Watched(LocalClient):
    """The way to the local Stripe, with a look at each request before it is answered and after."""

    def __init__(self, local: LocalStripe) -> None:
        super().__init__(local)
        self.before: list[Callable[[str, str], None]] = []
        self.after: list[Callable[[str, str], None]] = []

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, *, _usage: list[str] | None = None
    ) -> tuple[str, int, Mapping[str, str]]:
        for look in list(self.before):
            look(method, url)
        answer = super().request(method, url, headers, post_data, _usage=_usage)
        for look in list(self.after):
            look(method, url)
        return answer


@dataclass(slots=True)
class Stage:
    """A workspace with its connection in one mode, and the verbs tests speak in."""

    rt: runtime.Runtime
    local: LocalStripe
    client: Watched
    mode: str
    workspace_id: str
    connection_id: str
    account: str
    version_id: str
    shapes: dict[str, tuple[str, str]]
    skew: list[timedelta] = field(default_factory=lambda: [timedelta(0)])

    # What is asked for.

    def visit(self, customer: str, subscription: str) -> str:
        """A customer's session in which the choice has just been made."""
        now = self.rt.now()
        session_id = ids.new("ses")
        with self.rt.transaction(self.workspace_id) as session:
            session.add(
                FlowSession(
                    id=session_id, workspace_id=self.workspace_id, mode=self.mode, connection_id=self.connection_id,
                    flow_version_id=self.version_id, origin="embed", is_control=False, customer=customer, subscription=subscription,
                    bundle=session_id, state="chosen", minted_at=now, expires_at=now + timedelta(hours=24), last_activity_at=now,
                    shown_at=now, custom={}, variables={},
                )
            )  # fmt: skip
        return session_id

    def ask(self, shape: str = "monthly", verb: str = "cancel", intent: dict[str, Any] | None = None, **values: Any) -> Action:
        """An action of a session about the sample subscription of this shape."""
        customer, subscription = self.shapes[shape]
        customer, subscription = values.pop("customer", customer), values.pop("subscription", subscription)
        session_id = values.pop("session_id", None)
        if session_id is None:
            session_id = self.visit(customer, subscription)
            if verb in ("cancel", "discount") and "choice_id" not in values:
                values["choice_id"] = self.choice(session_id, "cancel" if verb == "cancel" else "accept")
        usual: dict[str, dict[str, Any]] = {
            "cancel": {"feedback": "too_expensive", "comment": "Too dear for me.", "when": "period_end"},
            "discount": {"offer_id": "off_1", "coupon": "STAY20", "headline": "20% off for 3 months"},
            "undo_cancel": {},
        }
        with self.rt.transaction(self.workspace_id) as session:
            return actions.ask(
                session,
                workspace_id=self.workspace_id,
                mode=self.mode,
                connection_id=values.pop("connection_id", self.connection_id),
                customer=customer,
                subscription=subscription,
                verb=verb,
                intent=usual[verb] if intent is None else intent,
                now=self.rt.now(),
                session_id=session_id,
                **values,
            )

    def choice(self, session_id: str, verb: str = "cancel", offer: dict[str, Any] | None = None) -> str:
        choice_id = ids.new("cho")
        with self.rt.transaction(self.workspace_id) as session:
            session.add(
                Choice(
                    id=choice_id, workspace_id=self.workspace_id, session_id=session_id, verb=verb, offer=offer, made_at=self.rt.now()
                )
            )  # fmt: skip
        return choice_id

    def portal_link(self, customer: str) -> str:
        link_id, now = ids.new("plk"), self.rt.now()
        with self.rt.transaction(self.workspace_id) as session:
            session.add(
                PortalLink(
                    id=link_id, workspace_id=self.workspace_id, mode=self.mode, connection_id=self.connection_id, customer=customer,
                    minted_at=now, expires_at=now + timedelta(days=90), card_update_at=now,
                )
            )  # fmt: skip
        return link_id

    def owner(self, email: str = "owner@fernhill.example", role: str = "owner") -> None:
        user_id, now = ids.new("usr"), self.rt.now()
        with self.rt.transaction(self.workspace_id) as session:
            session.add(User(id=user_id, email=email, created_at=now))
            session.flush()
            session.add(Membership(workspace_id=self.workspace_id, user_id=user_id, role=role, created_at=now))

    def mirrored_customer(self, customer: str, email: str | None) -> None:
        with self.rt.transaction(self.workspace_id) as session:
            session.add(
                Customer(
                    workspace_id=self.workspace_id, connection_id=self.connection_id, id=customer, as_of=self.rt.now(), raw={}, email=email
                )
            )

    # What is done.

    def work(self, row_id: str, kind: str = "action") -> work.End | None:
        """Do the work about this row now, whatever its due time."""
        with self.rt.transaction() as session:
            session.execute(
                text("update work set due_at = :now where row_id = :row and kind = :kind"),
                {"now": self.rt.now(), "row": row_id, "kind": kind},
            )
            work_id = session.execute(
                text("select id from work where row_id = :row and kind = :kind"), {"row": row_id, "kind": kind}
            ).scalar_one()
        return work.perform(self.rt, work_id)

    def run(self, action: Action, at_most: int = 20) -> Action:
        """Work on the action until its work is done or given up."""
        for _ in range(at_most):
            if not isinstance(self.work(action.id), work.Again):
                return self.now(action)
        raise AssertionError(f"still not settled: {self.now(action).state}")

    def reconnect(self) -> None:
        """The owner connects the same account again."""
        accounts.connect(self.local, self.account, self.mode == "live", "read_write")
        with self.rt.transaction(self.workspace_id) as session:
            session.execute(update(Connection).where(Connection.id == self.connection_id).values(state="connected"))
            actions.retry_disconnected(session, self.workspace_id, self.connection_id, self.rt.now())

    def end_leases(self) -> None:
        """As if every worker had been away for longer than its lease."""
        self.sql("update work set lease_until = clock_timestamp() - interval '1 second'")

    def sql(self, statement: str) -> None:
        with self.rt.transaction() as session:
            session.execute(text(statement))

    def later(self, **span: float) -> None:
        """Let our clock run ahead."""
        self.skew[0] += timedelta(**span)

    # What Stripe is made to do.

    def fault(self, kind: str, path: str = "*", method: str | None = None, **how: Any) -> None:
        self.control("POST", "faults", {"kind": kind, "path": path, **({"method": method} if method else {}), **how})

    def calm(self) -> None:
        self.control("DELETE", "faults")

    def change(self, object_id: str, **change: Any) -> Any:
        """What somebody does in Stripe's dashboard."""
        return self.control("POST", f"objects/{object_id}", change)

    def stripe_says(self, object_id: str) -> Any:
        return self.control("GET", f"objects/{object_id}")

    def control(self, method: str, path: str, body: Any = None) -> Any:
        request = Request(
            method=method, path=f"/_sandbox/{path}", query="", headers={}, body=json.dumps(body).encode() if body is not None else b""
        )
        reply = self.local.answer(request)
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    def effects(self, subscription: str) -> list[str]:
        """The kinds of change that our calls had on this subscription."""
        return [row["kind"] for row in self.local.effects if row["subscription"] == subscription and row["source"] == "api"]

    def writes(self) -> list[dict[str, Any]]:
        """What was sent that changes a subscription, by itself or through its schedule."""
        folders = ("/v1/subscriptions/", "/v1/subscription_schedules/")
        return [row for row in self.local.requests if row["method"] == "POST" and row["path"].startswith(folders)]

    # What became of it.

    def now(self, action: Action) -> Action:
        current: Action = self.one(select(Action).where(Action.id == action.id))
        return current

    def one(self, query: Any) -> Any:
        with self.rt.transaction(self.workspace_id) as session:
            return session.execute(query).scalar_one()

    def all(self, query: Any) -> list[Any]:
        with self.rt.transaction(self.workspace_id) as session:
            return list(session.execute(query).scalars())

    def attempts(self, action: Action) -> list[Attempt]:
        return self.all(select(Attempt).where(Attempt.action_id == action.id).order_by(Attempt.at, Attempt.id))

    def receipt(self, action: Action) -> Receipt:
        receipt: Receipt = self.one(select(Receipt).where(Receipt.action_id == action.id))
        return receipt

    def facts(self, action: Action) -> list[str]:
        return [
            fact.kind for fact in self.all(select(SessionFact).where(SessionFact.session_id == action.session_id).order_by(SessionFact.id))
        ]

    def outcome(self, action: Action) -> tuple[str, str | None] | None:
        rows = self.all(select(Outcome).where(Outcome.session_id == action.session_id))
        return (rows[0].state, rows[0].how) if rows else None

    def letters(self) -> list[Delivery]:
        return self.all(select(Delivery).order_by(Delivery.id))

    def connection(self) -> Connection:
        connection: Connection = self.one(select(Connection).where(Connection.id == self.connection_id))
        return connection

    def work_rows(self, kind: str = "action") -> list[Any]:
        with self.rt.transaction() as session:
            return list(session.execute(text("select * from work where kind = :kind"), {"kind": kind}))


@contextmanager
def stage(settings: Any, local: LocalStripe, mode: str = "test") -> Iterator[Stage]:
    """A stage on empty tables."""
    told = seed.plant(local)
    accounts.connect(local, told["account"], mode == "live", "read_write")
    client = Watched(local)
    skew = [timedelta(0)]
    opened = runtime.open_runtime(settings, http_client=client)
    real: Callable[[], datetime] = opened.clock
    rt = dataclasses.replace(opened, clock=lambda: real() + skew[0])
    with rt.engine.begin() as connection:
        names = ", ".join(table.name for table in Base.metadata.sorted_tables)
        connection.execute(text(f"truncate {names} restart identity cascade"))
    rt.redis.flushdb()
    runtime.use(rt)
    workspace_id, connection_id, now = ids.new("ws"), ids.new("con"), rt.now()
    flow_id, version_id = ids.new("flo"), ids.new("ver")
    with rt.transaction(workspace_id) as session:
        session.add(Workspace(id=workspace_id, slug="fernhill", name="Fernhill Software", created_at=now))
        session.flush()
        session.add(
            Connection(
                id=connection_id, workspace_id=workspace_id, mode=mode, account=told["account"], account_name="Fernhill Software",
                scope="read_write", state="connected", connected_at=now, read_in={},
            )
        )  # fmt: skip
        session.add(Flow(id=flow_id, workspace_id=workspace_id, kind="default", name="Default", created_at=now))
        session.flush()
        session.add(AccountLookup(account=told["account"], mode=mode, workspace_id=workspace_id, connection_id=connection_id))
        session.add(
            FlowVersion(
                id=version_id, workspace_id=workspace_id, flow_id=flow_id, number=1, document={}, published_at=now, published_by="test"
            )
        )
    shapes = {row["shape"]: (row["customer"], row["subscription"]) for row in told["customers"]}
    if mode == "live":
        world = local.world(told["account"], True)
        shapes = {"monthly": next((sub["customer"], sub["id"]) for sub in world.all("subscription"))}
    yield Stage(rt, local, client, mode, workspace_id, connection_id, told["account"], version_id, shapes, skew)
    client.before.clear()
    rt.close()


def held_open(stage: Stage) -> Callable[[str, str], None]:
    """A look at each request that fails where a transaction is open while Stripe is asked."""

    def look(method: str, url: str) -> None:
        out = stage.rt.engine.pool.checkedout()  # type: ignore[attr-defined]
        assert out == 0, f"{out} connections are held while {method} {url} is asked"

    return look
