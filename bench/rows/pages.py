"""The first page of the flow and the dashboard's pages, at several sizes of mirror, workspaces and sessions."""

import dataclasses
import re
import secrets
import statistics
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import requests
from sqlalchemy import event

from bench import events, figures, load, ours, servers
from bench.plan import Plan
from bench.rows import visits
from connect_app import app, connections, preferences, runtime, workspaces
from connect_app.stripe_gateway import objects
from flow_pages import links, sessions
from jobs import counting
from sandbox import visitor
from webhooks import mirror, projections

RATE = 50.0
_PERIOD_END = 1_805_385_529


def seed(us: ours.Ours, home: ours.Home, first: int, last: int) -> None:
    """Customers and subscriptions number `first` to `last` (excluded), as the product itself would keep them.

    One of each is kept by the product's own verb; the database copies it under other ids.
    """
    as_of = us.rt.now().replace(microsecond=0)
    model = 10**8 - 1  # beyond all that is asked for
    them = events.customer_id(model), events.subscription_id(model)
    found: list[projections.Mirrored] = [
        objects.read_customer(events.customer(them[0])),
        objects.read_subscription(events.subscription(them[1], them[0], _PERIOD_END)),
    ]
    found += [objects.read_price(events.price()), objects.read_product(events.product())]
    with us.rt.transaction(home.workspace_id) as session:
        projections.apply_reads(session, home.workspace_id, home.connection_id, found, as_of)
    digits = f"{model:09d}"
    for table, whole in (("customers", them[0]), ("subscriptions", them[1])):
        names = us.columns(table)
        number = "lpad(n::text, 9, '0')"
        given = {
            name: f"replace({name}::text, '{digits}', {number})" + ("::jsonb" if name == "raw" else "")
            if name in ("id", "customer", "raw", "email")
            else name
            for name in names
        }
        numbers = f"generate_series({first}, {last - 1}) n"
        us.execute(
            f"insert into {table} ({', '.join(given)}) select {', '.join(given.values())} from {table}, {numbers}"
            f" where id = '{whole}' and connection_id = '{home.connection_id}'"
        )
        us.execute(f"delete from {table} where id = '{whole}'")
        us.execute(f"vacuum analyze {table}")


def measure(house: servers.House, us: ours.Ours, plan: Plan) -> list[figures.Row]:
    """The rows about pages. A second database, which stays small, is asked in turn with the one that grows, as large as that has become."""
    home = us.connect("acct_1BenchPages")
    small = ours.opened(house, "small", plan.workspaces[0] - 1, us.environ["STRIPE_API_BASE"])
    try:
        place = small.connect("acct_1BenchPages")
        seed(small, place, 0, plan.mirrored[0])
        queries, weight, blocking = _anatomy(small, place)
        [alone] = _first_pages(house, [(small, place)], plan)
        rows = [
            figures.Row(name="first page of the flow: queries", unit="queries", ours=queries, reach=figures.Reach.AT_MOST, limit=4),
            figures.Row(
                name="first page of the flow: bytes over the wire, with its styles",
                unit="bytes",
                ours=weight,
                reach=figures.Reach.AT_MOST,
                limit=30_720,
                remark=f"scripts that block: {blocking}",
            ),
            _row(f"first page of the flow at 50/s on one core, median, {plan.mirrored[0]:,} subscriptions", alone.p50, 8),
            _row("first page of the flow, 99th percentile", alone.p99, 40),
        ]
        held = 0
        for size in plan.mirrored[1:]:
            seed(us, home, held, size)
            held = size
            smaller, larger = _first_pages(house, [(small, place), (us, home)], plan)
            rows.append(_against(f"first page, {size:,} against {plan.mirrored[0]:,} mirrored subscriptions", larger, smaller))
        few, many = plan.workspaces
        for number in range(len(us.homes), many):
            us.connect(f"acct_1BenchMany{number:08d}")
        us.execute("analyze")
        smaller, larger = _first_pages(house, [(small, place), (us, home)], plan)
        name = f"first page, {many:,} against {few} workspaces ({held:,} against {plan.mirrored[0]:,} subscriptions)"
        rows.append(_against(name, larger, smaller))
        return rows
    finally:
        small.rt.close()


def dashboard(us: ours.Ours, plan: Plan) -> list[figures.Row]:
    """Home and analytics with so many sessions in the workspace, counted as the upkeep worker counts them."""
    home = us.connect("acct_1BenchBoard")
    seed(us, home, 0, 100)
    _mint(us, home, [0])
    visits.fill(us, home, plan.sessions)
    begun = time.perf_counter()
    after: int | None = 0
    while after is not None:
        with us.rt.transaction(home.workspace_id) as session:
            _, after = counting.batch(session, home.workspace_id, after)
    took = time.perf_counter() - begun
    us.execute("vacuum analyze")
    left = int(us.execute("select count(*) from case_marks")[0][0])
    rows = []
    with us.web() as (port, _):
        person = visitor.Visitor(f"http://127.0.0.1:{port}")
        link = urlsplit(workspaces.admin_link(us.rt, home.slug))
        person.go(f"http://127.0.0.1:{port}{link.path}?{link.query}")
        for name, path in (("home", ""), ("analytics", "/flows/analytics"), ("analytics of all time", "/flows/analytics?period=all")):
            spans = []
            for _ in range(7):
                begun = time.perf_counter()
                person.go(f"http://127.0.0.1:{port}/admin/{home.slug}{path}")
                spans.append((time.perf_counter() - begun) * 1000)
            rows.append(_row(f"dashboard {name} with {plan.sessions:,} sessions", statistics.median(spans), 300))
    remark = f"counted before at {plan.sessions / took:,.0f} sessions/s; {left} marks are looked at each time"
    return [dataclasses.replace(row, remark=remark) for row in rows]


def _mint(us: ours.Ours, home: ours.Home, numbers: list[int]) -> list[str]:
    """Cancel links (paths) of these customers, as the hand-off would mint them."""
    paths = []
    with us.rt.transaction(home.workspace_id) as session:
        connection = connections.of_mode(session, home.workspace_id, "test")
        settings = preferences.read(session, home.workspace_id)
        for number in numbers:
            subscription = events.subscription_id(number)
            handoff = sessions.Handoff(
                mode="test", customer=events.customer_id(number), subscription=subscription, bundle=secrets.token_hex(16), origin="embed"
            )
            known = mirror.subscription(session, home.connection_id, subscription)
            row = sessions.mint(
                session,
                home.workspace_id,
                handoff,
                preferences=settings,
                connection=connection,
                subscription=known,
                now=us.rt.now(),
            )
            paths.append(links.cancel_path(us.rt, row))
    return paths


def _first_pages(house: servers.House, places: list[tuple[ours.Ours, ours.Home]], plan: Plan) -> list[figures.Run]:
    """The medians of several runs for each, in turn; every request is another customer's first look, at one web process on one core."""
    wanted = int(RATE * plan.pages_seconds)
    runs: list[list[figures.Run]] = [[] for _ in places]
    with ExitStack() as webs:
        ports = [webs.enter_context(us.web(prefix="taskset -c 0", WEB_CONCURRENCY="1"))[0] for us, _ in places]
        for _ in range(plan.runs + 1):
            for (us, home), port, mine in zip(places, ports, runs, strict=True):
                size = int(us.execute("select count(*) from subscriptions where connection_id = %(c)s", c=home.connection_id)[0][0])
                paths = _mint(us, home, [number * size // wanted for number in range(wanted)])
                house.settle()
                mine.append(load.fire(port, load.get(paths), connections=8, seconds=plan.pages_seconds, rate=RATE))
    # The first was to get warm.
    return [figures.typical(mine[1:]) for mine in runs]


def _anatomy(us: ours.Ours, home: ours.Home) -> tuple[int, int, int]:
    """Queries of a first page, its bytes with styles, and scripts that block it."""
    application = app.create_app(us.rt.settings, us.rt)
    runtime.use(us.rt)
    client = application.test_client()
    warm, path = _mint(us, home, [1, 2])
    client.get(warm)
    asked: list[str] = []

    def count(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(us.rt.engine, "before_cursor_execute", count)
    client.get(path)
    event.remove(us.rt.engine, "before_cursor_execute", count)
    with us.web() as (port, _):
        base = f"http://127.0.0.1:{port}"
        page = requests.get(base + _mint(us, home, [3])[0], timeout=10)
        page.raise_for_status()
        weight = len(page.content)
        for style in re.findall(r'<link[^>]+rel="stylesheet"[^>]*href="([^"]+)"', page.text):
            weight += len(requests.get(base + style, timeout=10).content)
    blocking = [tag for tag in re.findall(r"<script[^>]*\bsrc=[^>]*>", page.text) if not re.search(r"\b(defer|async|type=.module)", tag)]
    return len(asked), weight, len(blocking)


def _row(name: str, value: float, limit: float) -> figures.Row:
    return figures.Row(name=name, unit="ms", ours=value, reach=figures.Reach.AT_MOST, limit=limit)


def _against(name: str, larger: figures.Run, smaller: figures.Run) -> figures.Row:
    return figures.Row(
        name=name,
        unit="ms",
        ours=larger.p50,
        peer=smaller.p50,
        reach=figures.Reach.AT_MOST,
        limit=1.3,
        of_ratio=True,
        remark=f"medians; 99th percentiles {larger.p99:.1f} and {smaller.p99:.1f} ms; the peer is ourselves, smaller",
    )
