"""A connected account full of customers, on a local Stripe in its own process, with a runtime of ours in this one."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from redis import Redis

from connect_app import config, connections, migrations, preferences, runtime
from connect_app.admin import flows
from connect_app.models.base import Json
from connect_app.modes import Mode
from connect_app.workspaces import openings
from flow_pages import sessions, steps, visits
from jobs import work
from tests import make
from tests.faults import stage
from webhooks import mirror

# Short enough that a killed worker's action is free again soon, and longer than three calls to Stripe can take.
LEASE, CONNECT, READ = 9.0, 1.0, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A customer with one subscription, and the session they were handed over with."""

    customer: str
    subscription: str
    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """What a fault test plays on."""

    rt: runtime.Runtime
    stripe: stage.StripeProcess
    redis: Redis
    environ: dict[str, str]
    workspace_id: str
    account: str
    coupon: str
    residents: list[Resident]

    def choose(self, resident: Resident, verb: str) -> None:
        """The customer answers the survey and accepts the offer, or confirms the cancellation."""
        now = self.rt.now()
        with self.rt.transaction(self.workspace_id) as session:
            visit = visits.load(session, resident.session_id)
            assert visit is not None
            offer = visit.flow.offers[0]
            sessions.answer(session, visit, reason="too_expensive", comment="too much", now=now)
        with self.rt.transaction(self.workspace_id) as session:
            visit = visits.load(session, resident.session_id)
            assert visit is not None
            if verb == "accept":
                assert any(isinstance(step, steps.OfferStep) for step in steps.path(visit.flow, visit.answers, {offer.id}))
                assert sessions.accept(session, visit, offer, headline="20 % off", terms=(), now=now)
            else:
                assert sessions.cancel(session, visit, now)

    def actions(self) -> list[Any]:
        """(id, subscription, verb, state, code) of every action."""
        with self.rt.engine.connect() as connection:
            connection.exec_driver_sql(f"select set_config('app.workspace_id', '{self.workspace_id}', false)")
            rows = connection.exec_driver_sql("select id, subscription, verb, state, code, xmin::text as version from actions").all()
            connection.rollback()
            return list(rows)

    def effects(self) -> dict[str, list[Json]]:
        """What really changed on Stripe, by subscription, since the town was founded."""
        found: dict[str, list[Json]] = {}
        ours = {resident.subscription for resident in self.residents}
        for effect in self.stripe.control("GET", "effects"):
            if effect["subscription"] in ours and effect["kind"] != "other":
                found.setdefault(effect["subscription"], []).append(effect)
        return found


@contextmanager
def found(people: int) -> Iterator[Town]:
    """A town of so many customers, each with a monthly subscription, all mirrored and handed over."""
    with stage.servers() as (database_url, redis_url, redis), stage.local_stripe() as stripe:
        seeded = stripe.control("GET", "seeded")
        environ = {
            **make.environ(),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "STRIPE_TEST_SECRET_KEY": seeded["platform"]["test"]["secret_key"],
            "STRIPE_TEST_CLIENT_ID": seeded["platform"]["test"]["client_id"],
            "STRIPE_API_BASE": stripe.url,
            "STRIPE_CONNECT_BASE": stripe.url,
            "HOLDFAST_LEASE_SECONDS": str(LEASE),
            "HOLDFAST_SWEEP_SECONDS": "1",
            "HOLDFAST_STRIPE_CONNECT_TIMEOUT": str(CONNECT),
            "HOLDFAST_STRIPE_READ_TIMEOUT": str(READ),
            "PATH": "/usr/bin:/bin",
        }
        settings = config.load({name: value for name, value in environ.items() if name != "PATH"})
        rt = runtime.open_runtime(settings, pool_size=10)
        runtime.use(rt)
        migrations.upgrade(rt.engine)
        account, coupon = seeded["account"], seeded["coupons"][0]["id"]
        _connect(stripe, seeded, account)
        subscriptions = _populate(stripe, seeded, account, people)
        now = rt.now()
        theirs = rt.stripe("test").account(account).account().value
        with rt.transaction() as session:
            opened = openings.create(
                session,
                account=theirs,
                mode=Mode.TEST,
                scope="read_write",
                now=now,
                ring=rt.ring,
                by="operator",
            )
            workspace_id = opened.place.id
            flows.set_offer(session, workspace_id, mode="test", coupon=coupon, now=now, by="operator")
        work.drain(rt, "upkeep")
        residents = [_hand_over(rt, workspace_id, customer, subscription) for customer, subscription in subscriptions]
        try:
            yield Town(
                rt=rt,
                stripe=stripe,
                redis=redis,
                environ=environ,
                workspace_id=workspace_id,
                account=account,
                coupon=coupon,
                residents=residents,
            )
        finally:
            rt.close()


def _connect(stripe: stage.StripeProcess, seeded: Json, account: str) -> None:
    asked = {
        "client_id": seeded["platform"]["test"]["client_id"],
        "redirect_uri": "http://127.0.0.1:9/callback",
        "response_type": "code",
        "scope": "read_write",
        "state": "s",
        "account": account,
        "decision": "authorize",
    }
    answer = requests.post(f"{stripe.url}/oauth/authorize", data=asked, allow_redirects=False, timeout=10)
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    exchange = {"grant_type": "authorization_code", "code": code, "client_secret": seeded["platform"]["test"]["secret_key"]}
    requests.post(f"{stripe.url}/oauth/token", data=exchange, timeout=10).raise_for_status()


def _populate(stripe: stage.StripeProcess, seeded: Json, account: str, people: int) -> list[tuple[str, str]]:
    with requests.Session() as api:
        api.headers.update({"Authorization": f"Bearer {seeded['platform']['test']['secret_key']}", "Stripe-Account": account})

        def post(path: str, **fields: str) -> Json:
            answer = api.post(f"{stripe.url}/v1/{path}", data=fields, timeout=10)
            assert answer.ok, answer.text
            body: Json = answer.json()
            return body

        product = post("products", name="Town plan")
        price = post("prices", product=product["id"], currency="usd", unit_amount="2000", **{"recurring[interval]": "month"})
        made = []
        for number in range(people):
            customer = post("customers", email=f"resident{number}@example.com", name=f"Resident {number}")
            # On trial, because a card's number may not pass through the API.
            subscription = post("subscriptions", customer=customer["id"], trial_period_days="14", **{"items[0][price]": price["id"]})
            made.append((customer["id"], subscription["id"]))
        return made


def _hand_over(rt: runtime.Runtime, workspace_id: str, customer: str, subscription: str) -> Resident:
    now = rt.now()
    handoff = sessions.Handoff(mode="test", customer=customer, subscription=subscription, bundle=secrets.token_hex(16), origin="embed")
    with rt.transaction(workspace_id) as session:
        connection = connections.of_mode(session, workspace_id, "test")
        assert connection is not None
        known = mirror.subscription(session, connection.id, subscription)
        assert known is not None, "the read-in has not brought this subscription"
        row = sessions.mint(
            session,
            workspace_id,
            handoff,
            preferences=preferences.read(session, workspace_id),
            connection=connection,
            subscription=known,
            now=now,
        )
        return Resident(customer=customer, subscription=subscription, session_id=row.id)
