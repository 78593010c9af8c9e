"""A connected account full of customers, on a local Stripe in its own process, with a runtime of ours in this one."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from pydantic import TypeAdapter
from redis import Redis

from connect_app import config, connections, migrations, preferences, runtime
from connect_app.admin import flows
from connect_app.models.base import Json
from connect_app.modes import Mode
from connect_app.workspaces import openings
from flow_pages import document, sessions, visits
from flow_pages.offers.options import Known, options
from jobs import work
from tests import make
from tests.faults import stage
from webhooks import mirror, projections

# The plan change is for those who have cancelled already: three calls, to go on, to be led by a schedule, and to change.
SHAPES = {"plan_change": "canceling"}

# Short enough that a killed worker's action is free again soon, and longer than three calls to Stripe can take.
LEASE, CONNECT, READ = 9.0, 0.5, 1.5


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
    price: str
    offers: dict[str, document.Offer]
    known: Known
    residents: list[Resident]

    def choose(self, resident: Resident, verb: str) -> None:
        """The customer answers the survey and takes the offer of this kind, or confirms the cancellation."""
        self.answer(resident)
        assert self.decide(resident, verb)

    def answer(self, resident: Resident) -> None:
        """Why they want to leave."""
        with self.rt.transaction(self.workspace_id) as session:
            visit = visits.load(session, resident.session_id)
            assert visit is not None
            sessions.answer(session, visit, reason="too_expensive", comment="too much", now=self.rt.now())

    def decide(self, resident: Resident, verb: str) -> bool:
        """The one choice of the session; False where another was first."""
        now = self.rt.now()
        with self.rt.transaction(self.workspace_id) as session:
            visit = visits.load(session, resident.session_id)
            assert visit is not None
            if verb == "cancel":
                return sessions.cancel(session, visit, now) is not None
            offer = self.offers[verb]
            ways = options(offer, visit.subscription, self.known, mode=visit.row.mode, session_id=visit.row.id, now=now)
            assert ways, f"{verb} cannot be offered to {resident.subscription}"
            chosen = sessions.accept(
                session, visit, offer, verb=ways[0].verb, intent=ways[0].intent, picked=ways[0].key, headline=offer.headline,
                terms=(), cost=None, particulars={}, now=now,
            )  # fmt: skip
            return chosen is not None

    def settle_in(self, *verbs: str) -> list[Resident]:
        """New customers, one for each verb, with a subscription that it is for, mirrored and handed over."""
        made = [self.stripe.control("POST", "shapes", {"account": self.account, "shape": SHAPES.get(verb, "monthly")}) for verb in verbs]
        with self.rt.transaction(self.workspace_id) as session:
            connection = connections.of_mode(session, self.workspace_id, "test")
        assert connection is not None
        stripe = self.rt.stripe("test").account(self.account)
        reads = [stripe.subscription(each["subscription"]) for each in made]
        with self.rt.transaction(self.workspace_id) as session:
            for read in reads:
                projections.apply_read(session, self.workspace_id, connection.id, read.value, read.as_of)
        found = [_hand_over(self.rt, self.workspace_id, each["customer"], each["subscription"]) for each in made]
        self.residents.extend(found)
        return found

    def actions(self) -> list[Any]:
        """(id, subscription, verb, state, code) of every action."""
        with self.rt.engine.connect() as connection:
            connection.exec_driver_sql(f"select set_config('app.workspace_id', '{self.workspace_id}', false)")
            rows = connection.exec_driver_sql("select id, subscription, verb, state, code, xmin::text as version from actions").all()
            connection.rollback()
            return list(rows)


@contextmanager
def found(*verbs: str, lease: float = LEASE) -> Iterator[Town]:
    """A town with a customer for each of these verbs, mirrored and handed over."""
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
            "HOLDFAST_EGRESS_ALLOW": "127.0.0.0/8",
            "HOLDFAST_LEASE_SECONDS": str(lease),
            "HOLDFAST_SWEEP_SECONDS": "0.5",
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
        price = _price(stripe, seeded, account)
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
        with rt.transaction(workspace_id) as session:
            connection = connections.of_mode(session, workspace_id, "test")
            assert connection is not None
            [kept, sold] = mirror.coupon(session, connection.id, coupon), mirror.price(session, connection.id, price)
        assert kept is not None
        assert sold is not None
        try:
            place = Town(
                rt=rt,
                stripe=stripe,
                redis=redis,
                environ=environ,
                workspace_id=workspace_id,
                account=account,
                coupon=coupon,
                price=price,
                offers=_offers(coupon, price),
                known=Known(coupons={coupon: kept}, prices={price: sold}),
                residents=[],
            )
            place.settle_in(*verbs)
            yield place
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


def _price(stripe: stage.StripeProcess, seeded: Json, account: str) -> str:
    """What a customer can change to."""
    headers = {"Authorization": f"Bearer {seeded['platform']['test']['secret_key']}", "Stripe-Account": account}

    def post(path: str, **fields: str) -> Json:
        answer = requests.post(f"{stripe.url}/v1/{path}", data=fields, headers=headers, timeout=10)
        assert answer.ok, answer.text
        body: Json = answer.json()
        return body

    product = post("products", name="Smaller plan")
    price = post("prices", product=product["id"], currency="usd", unit_amount="900", **{"recurring[interval]": "month"})
    return str(price["id"])


def _offers(coupon: str, price: str) -> dict[str, document.Offer]:
    """One of each kind that changes something on Stripe, by the name that tests call it."""
    told: dict[str, Json] = {
        "discount": {"kind": "discount", "coupons": {"test": coupon}},
        "mint": {"kind": "discount", "mint": {"percent_off": Decimal(15), "duration": "once"}},
        "pause": {"kind": "pause", "interval": "month", "count": 2},
        "extension": {"kind": "extension", "interval": "month", "count": 2},
        "plan_change": {"kind": "plan_change", "prices": {"test": (price,)}},
    }
    read: TypeAdapter[document.Offer] = TypeAdapter(document.Offer)
    words = {"headline": "Stay a while", "accept": "Yes", "decline": "No"}
    return {name: read.validate_python({"id": f"off_{name}", **words, **terms}) for name, terms in told.items()}


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
