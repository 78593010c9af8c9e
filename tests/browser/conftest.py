"""A real Chromium in front of real processes: the demo itself, on free ports, for the whole test session."""

import hashlib
import hmac
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from playwright.sync_api import BrowserContext, Page, expect

from connect_app import connections, workspaces
from connect_app.modes import Mode
from sandbox import demo, stage
from webhooks import mirror

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
# Milliseconds, generous: what is waited for comes as a rule at once, and a machine that is many times slower than ours must pass too.
PATIENCE = 30_000  # until a page is there, and says what it is to say
SETTLED = 60_000  # until a choice is seen as done
expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in item.nodeid:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """The system's Chromium: nothing is downloaded, and nothing is skipped where it is missing."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("browser tests need Chromium: sudo apt-get install -y chromium", pytrace=False)
    return {"executable_path": path, "args": QUIET}


@pytest.fixture(scope="session")
def base_url() -> None:
    """Each house has its own; pytest-base-url's fixture, which pytest-playwright asks for, is of a form that pytest is about to drop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The running demo as tests use it; `demo` is what demo.json holds."""

    running: stage.Stage
    demo: dict[str, Any]

    def subscription(self, shape: str) -> dict[str, str]:
        """The first seeded row of this shape."""
        row: dict[str, str] = next(row for row in self.demo["customers"] if row["shape"] == shape)
        return row

    def effects(self, subscription: str, kind: str | None = None) -> list[dict[str, Any]]:
        """What changed about this subscription on Stripe, in order."""
        rows: list[dict[str, Any]] = self.running.control("GET", f"effects?subscription={subscription}")
        return [row for row in rows if kind in (None, row["kind"])]

    def stripe(self, method: str, path: str, **params: object) -> dict[str, Any]:
        """One call to the connected account on the local Stripe, as the platform."""
        answer = requests.request(
            method,
            f"{self.running.stripe_url}/v1/{path}",
            data=params if method == "POST" else None,
            params=params if method == "GET" else None,
            headers={"Authorization": f"Bearer {self.demo['platform_key']}", "Stripe-Account": self.demo["account"]},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def newcomer(self, name: str = "Nadia Petrov") -> dict[str, str]:
        """A fresh customer with a monthly subscription and a card, whom no other test knows."""
        price = next(
            price
            for price in self.stripe("GET", "prices", limit=100)["data"]
            if price["recurring"] and price["recurring"]["interval"] == "month"
        )
        customer = self.stripe("POST", "customers", name=name, email="nadia@example.com")
        portal = self.stripe("POST", "billing_portal/sessions", customer=customer["id"])
        assert requests.post(f"{portal['url']}/card", data={"number": "4242424242424242"}, timeout=30).status_code == 200
        subscription = self.stripe("POST", "subscriptions", **{"customer": customer["id"], "items[0][price]": price["id"]})
        assert subscription["status"] == "active"
        self.mirrored(subscription["id"], "active", invoice=True)
        return {"customer": customer["id"], "subscription": subscription["id"], "shape": "newcomer"}

    def mirrored(self, subscription: str, status: str, *, invoice: bool = False) -> None:
        """Return once Stripe's news of it, and of its bill if so asked, are understood: no page is drawn from what was true before."""
        rt = self.running.runtime()
        try:
            with rt.transaction() as session:
                home = connections.locate(session, self.demo["account"], Mode.TEST)
            assert home is not None
            for _ in range(SETTLED // 100):
                with rt.transaction(home.workspace_id) as session:
                    found = mirror.subscription(session, home.connection_id, subscription)
                    bills = mirror.invoices_of(session, home.connection_id, subscription=subscription)
                billed = any(bill.status == "paid" for bill in bills) or not invoice
                if billed and found is not None and found.status == status:
                    return
                time.sleep(0.1)
        finally:
            rt.close()
        pytest.fail(f"the mirror never showed {subscription} as {status}", pytrace=False)

    def hand_off(self, row: dict[str, str], **extra: str) -> str:
        """A signed hand-off, as a back end would make it -> the link."""
        now = int(time.time())
        message = f"{row['customer']}\n{row['subscription']}\n{now}"
        signature = hmac.new(self.demo["embed_secret"].encode(), message.encode(), hashlib.sha256).hexdigest()
        bundle = {key: row[key] for key in ("customer", "subscription")} | {"timestamp": now, "signature": signature, **extra}
        answer = requests.post(
            f"{self.demo['base_url']}/api/embed/cancel", json={"workspace": self.demo["workspace"], **bundle}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["url"])

    def portal(self, customer: str) -> str:
        """A signed portal hand-off -> the link."""
        now = int(time.time())
        signature = hmac.new(self.demo["embed_secret"].encode(), f"{customer}\n{now}".encode(), hashlib.sha256).hexdigest()
        bundle = {"workspace": self.demo["workspace"], "customer": customer, "timestamp": now, "signature": signature}
        answer = requests.post(f"{self.demo['base_url']}/api/embed/portal", json=bundle, timeout=30)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["url"])

    def sign_in(self, page: Page) -> None:
        """Let this browser into the dashboard by a fresh one-time link."""
        rt = self.running.runtime()
        try:
            page.goto(workspaces.admin_link(rt, self.demo["workspace"]))
        finally:
            rt.close()

    def admin(self, path: str = "") -> str:
        return f"{self.demo['base_url']}/admin/{self.demo['workspace']}/{path}"


def _raise() -> Iterator[House]:
    lines: list[str] = []
    folder = stage.temporary_folder()
    try:
        with stage.Stage(stage.free_ports(), folder, lambda name, line: lines.append(f"{name} | {line}")) as running:
            yield House(running=running, demo=demo.install(running))
    except Exception:
        sys.stderr.write("\n".join(lines[-60:]) + "\n")
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """The demo, up and connected; its seeded customers are as seeded, but for what earlier tests of the session did to theirs."""
    yield from _raise()


@pytest.fixture(scope="module")
def untouched_house() -> Iterator[House]:
    """A demo of the module's own, whose customers nobody has touched."""
    yield from _raise()


@pytest.fixture
def context(context: BrowserContext) -> BrowserContext:
    """The test's own, whose clicks and visits wait as long as `expect` does."""
    context.set_default_timeout(PATIENCE)
    return context


@pytest.fixture
def owner(context: BrowserContext, house: House) -> Page:
    """A page that is signed in to the dashboard."""
    page = context.new_page()
    house.sign_in(page)
    return page
