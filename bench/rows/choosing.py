"""From a customer's choice to its being read back from Stripe, while news streams in and a backlog drains."""

import secrets
import statistics
import sys
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from bench import events, figures, load, ours, servers
from bench.plan import Plan
from connect_app import connections, preferences
from flow_pages import links, sessions
from sandbox import visitor
from webhooks import mirror

STREAM = 100.0
_ACCOUNTS = 4


def measure(house: servers.House, plan: Plan) -> list[figures.Row]:
    """The two rows: median and 95th percentile, each of the choice's POST until the action is verified in our ledger."""
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}"
    program = house.start("local-stripe", [sys.executable, "-m", "sandbox.stripe", "--port", str(port), "--seed"], servers.plain_environ())
    servers.wait(program, servers.listens(port))
    seeded = requests.get(f"{url}/_sandbox/seeded", timeout=10).json()
    keys = seeded["platform"]["test"]
    _authorize(url, keys, seeded["account"])
    people = _people(url, keys["secret_key"], seeded["account"], plan.choices)
    us = ours.opened(house, "choosing", _ACCOUNTS, url, STRIPE_TEST_SECRET_KEY=keys["secret_key"], STRIPE_TEST_CLIENT_ID=keys["client_id"])
    try:
        home = us.connect(seeded["account"])
        with us.workers("upkeep", 1):
            _until_mirrored(us, home, len(people))
        took, odd = _walked(house, us, home, people, plan)
    finally:
        us.rt.close()
        program.stop()
        house.redis.flushall()
    remark = f"{len(took)} choices, {STREAM:.0f} events/s, a backlog of {plan.choice_backlog:,} events" + (
        f"; not verified: {odd}" if odd else ""
    )

    def row(name: str, value: float | None, limit: float) -> figures.Row:
        return figures.Row(name=name, unit="ms", ours=value, reach=figures.Reach.AT_MOST, limit=limit, remark=remark)

    ordered = sorted(took)
    return [
        row("choice of the customer -> read back from the local Stripe, median", statistics.median(took) if took else None, 250),
        row(
            "choice of the customer -> read back from the local Stripe, 95th percentile",
            figures.percentile(ordered, 95) if took else None,
            800,
        ),
    ]


def _walked(house: servers.House, us: ours.Ours, home: ours.Home, people: list[tuple[str, str]], plan: Plan) -> tuple[list[float], int]:
    """Milliseconds from each choice to its verification, and how many were not verified."""
    minted = _mint(us, home, people)
    maker = events.Maker(subscriptions=20_000, accounts=[events.account(number) for number in range(_ACCOUNTS)])
    backlog = list(maker.bodies(plan.choice_backlog, int(time.time()) - 86_400))
    chosen: dict[str, float] = {}
    with us.web() as (port, _), us.workers("actions", 1), us.workers("events", 2), us.workers("deliveries", 1):
        house.settle()
        us.keep(backlog)
        stream = load.start(port, ours.PATH, seconds=max(5.0, len(minted) * 0.12), accounts=_ACCOUNTS, rate=STREAM)
        for session_id, path in minted:
            person = visitor.Visitor(f"http://127.0.0.1:{port}")
            person.go(path)
            person.press("Continue", reason="too_expensive")
            begun = time.time()
            person.press("Cancel my subscription")
            chosen[session_id] = begun
        until = time.monotonic() + 60
        while _unsettled(us) and time.monotonic() < until:
            time.sleep(0.05)
        load.finish(stream)
    ended = us.execute("select session_id, extract(epoch from verified_at) from actions where state = 'verified'")
    took = [(float(at) - chosen[session_id]) * 1000 for session_id, at in ended]
    return took, len(chosen) - len(took)


def _unsettled(us: ours.Ours) -> int:
    return int(us.execute("select count(*) from actions where state not in ('verified', 'manual', 'failed')")[0][0])


def _mint(us: ours.Ours, home: ours.Home, people: list[tuple[str, str]]) -> list[tuple[str, str]]:
    found = []
    with us.rt.transaction(home.workspace_id) as session:
        connection = connections.of_mode(session, home.workspace_id, "test")
        settings = preferences.read(session, home.workspace_id)
        for customer, subscription in people:
            row = sessions.mint(
                session,
                home.workspace_id,
                sessions.Handoff(mode="test", customer=customer, subscription=subscription, bundle=secrets.token_hex(16), origin="embed"),
                preferences=settings,
                connection=connection,
                subscription=mirror.subscription(session, home.connection_id, subscription),
                now=us.rt.now(),
            )
            found.append((row.id, links.cancel_path(us.rt, row)))
    return found


def _until_mirrored(us: ours.Ours, home: ours.Home, people: int) -> None:
    until = time.monotonic() + 120
    held = "select count(*) from subscriptions where connection_id = %(c)s"
    # The account has subscriptions of its own beside those of our people.
    while us.execute("select read_in->>'state' from connections where id = %(c)s", c=home.connection_id)[0][0] != "done":
        if time.monotonic() > until:
            raise RuntimeError("the account was not read in")
        time.sleep(0.1)
    if us.execute(held, c=home.connection_id)[0][0] < people:
        raise RuntimeError("subscriptions are missing from the mirror")


def _authorize(url: str, keys: dict[str, Any], account: str) -> None:
    """Connect the account, as its owner would on Stripe's page."""
    asked = {"client_id": keys["client_id"], "redirect_uri": "http://127.0.0.1:9/callback", "response_type": "code", "scope": "read_write"}
    asked |= {"state": "s", "account": account, "decision": "authorize"}
    answer = requests.post(f"{url}/oauth/authorize", data=asked, allow_redirects=False, timeout=10)
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    exchange = {"grant_type": "authorization_code", "code": code, "client_secret": keys["secret_key"]}
    requests.post(f"{url}/oauth/token", data=exchange, timeout=10).raise_for_status()


def _people(url: str, key: str, account: str, number: int) -> list[tuple[str, str]]:
    """So many customers with a subscription each, made through the API."""
    with requests.Session() as api:
        api.headers.update({"Authorization": f"Bearer {key}", "Stripe-Account": account})

        def post(path: str, **fields: str) -> str:
            answer = api.post(f"{url}/v1/{path}", data=fields, timeout=10)
            answer.raise_for_status()
            return str(answer.json()["id"])

        product = post("products", name="Bench plan")
        price = post("prices", product=product, currency="usd", unit_amount="2000", **{"recurring[interval]": "month"})
        made = []
        for place in range(number):
            customer = post("customers", email=f"person{place}@example.com")
            # On trial, because a card's number may not pass through the API.
            made.append((customer, post("subscriptions", customer=customer, trial_period_days="14", **{"items[0][price]": price})))
        return made
