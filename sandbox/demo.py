"""`make demo`: fresh servers, a local Stripe, Holdfast connected to it, a shop; then what to click, until Ctrl-C."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import select

from connect_app import connections, embed_secrets, money, preferences, workspaces
from connect_app.models import AccountLookup, Workspace
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from sandbox import configured, offers, stage, supervisor, visitor

FOLDER = stage.ROOT / "var" / "demo"
OWNER = "owner@fernhill.example"


def main() -> int:
    """Run the demo until SIGINT, SIGTERM or SIGHUP; otherwise as `run`."""
    end_when_told()
    return run(FOLDER, os.environ.get("PORT") or "8000")


def run(folder: Path, port: str) -> int:
    """Run the demo with its state in `folder` until interrupted.

    1 when it cannot start or go on, 2 when the environment asks for what can't be; the reason and the way out are on stderr.
    """
    console = Console()
    try:
        ports = stage.Ports.from_base(port)
        with only_one(folder, f"http://{stage.HOST}:{ports.web}"):
            ports.check()
            shutil.rmtree(folder, ignore_errors=True)
            console.say("Starting PostgreSQL, Redis, a local Stripe, Holdfast, its workers and a shop …")
            _play(ports, folder, console)
    except KeyboardInterrupt:
        return 0
    except configured.Refused as problem:
        sys.stderr.write(f"\n{problem}\n")
        return 2
    except (AlreadyRunning, stage.PortTaken) as problem:
        sys.stderr.write(f"\n{problem}\n")
        return 1
    except stage.ServerLost as problem:
        sys.stderr.write(f"\n{problem} Start it again: make demo\n")
        return 1
    except (supervisor.ChildDied, visitor.Lost, TimeoutError) as problem:
        sys.stderr.write(f"\n{problem}\n\nThe demo could not start. Logs: var/demo/logs/\n")
        return 1
    return 0


def end_when_told() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end the demo, SIGINT too where a script in the background has left it ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    # Once is enough: a second Ctrl-C would only disturb the stopping.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class AlreadyRunning(Exception):
    """A demo of this folder runs, and its state is not to be wiped."""


@contextlib.contextmanager
def only_one(folder: Path, base_url: str) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process however that ends. Raises AlreadyRunning, naming who holds it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise AlreadyRunning(
                f"A demo of this folder is running already ({lock.read().strip() or 'just started'}), and a second would wipe its state."
                " Stop it first, or start the second from another copy of the project."
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, {base_url}")
        lock.flush()
        yield
        lock.truncate(0)


def _play(ports: stage.Ports, folder: Path, console: "Console") -> None:
    with stage.Stage(ports, folder, console.hear) as running:
        running.supervisor.tell_guard(f"delete {folder / 'demo.json'}")
        running.supervisor.tell_guard(f"delete {folder / 'demo.env'}")
        try:
            demo = install(running)
            announce(running, demo)
            console.ready(demo)
            _watch(running, console)
        finally:
            for name in ("demo.json", "demo.env"):
                (folder / name).unlink(missing_ok=True)
            console.say("\nStopping everything …")


def _watch(running: stage.Stage, console: "Console") -> None:
    """Stay until interrupted; a child that dies is started again, as a process manager would. Raises stage.ServerLost."""
    while True:
        time.sleep(0.5)
        running.check_servers()
        for name, child in list(running.supervisor.children.items()):
            if not child.is_running:
                console.say(f"{name} ended with code {child.process.returncode}; starting it again. Its log: var/demo/logs/{name}.log")
                running.supervisor.restart(name)
                time.sleep(1)


def install(running: stage.Stage) -> dict[str, Any]:
    """Connect the seeded account as its owner would, over HTTP, set the workspace up, open the shop; gives what demo.json holds."""
    account = running.seeded["account"]
    owner = connect(running, account, OWNER)
    rt = running.runtime()
    try:
        with rt.transaction() as session:
            found = session.execute(
                select(Workspace.id, Workspace.slug)
                .join(AccountLookup, AccountLookup.workspace_id == Workspace.id)
                .where(AccountLookup.account == account)
            ).one()
        workspace_id, slug = found.id, found.slug
        with rt.transaction(workspace_id) as session:
            for name, value in (
                ("allowed_origins", [running.shop_url]),
                ("return_url", f"{running.shop_url}/account?stayed=1"),
                ("cancel_url", f"{running.shop_url}/goodbye"),
            ):
                preferences.save(session, workspace_id, name, value, rt.now())  # type: ignore[arg-type]
            secret = dict(embed_secrets.verifying(session, workspace_id, rt.now(), rt.ring))[Mode.TEST]
        _wait_for_read_in(rt, workspace_id)
        offers.make(rt, workspace_id, running.seeded["coupons"])
        running.start_shop(
            {
                "base_url": running.base_url,
                "shop_url": running.shop_url,
                "workspace": slug,
                "embed_secret": secret,
                "customers": people(rt, account, running.seeded["customers"]),
            }
        )
        admin_url = workspaces.admin_link(rt, slug)
    finally:
        rt.close()
        owner.session.close()
    return {
        "base_url": running.base_url,
        "stripe_url": running.stripe_url,
        "shop_url": running.shop_url,
        "workspace": slug,
        "embed_secret": secret,
        "webhook_secret": running.environ["STRIPE_TEST_WEBHOOK_SECRETS"],
        "platform_key": running.environ["STRIPE_TEST_SECRET_KEY"],
        "account": account,
        "admin_url": admin_url,
        "unconnected_account": running.seeded["unconnected_account"],
        "customers": running.seeded["customers"],
    }


def connect(running: stage.Stage, account: str, email: str) -> visitor.Visitor:
    """Walk through install, Stripe's authorize page and the letter that confirms the owner's address; gives the signed-in browser."""
    owner = visitor.Visitor(running.base_url)
    owner.go("/install")
    owner.go("/oauth/start?mode=test")
    owner.press("Authorize", account=account)
    owner.press("Send me the link", email=email)
    owner.go(running.letters.wait_for(rf"{running.base_url}/sign-in/\S+"))
    owner.press("Sign in")
    return owner


def people(rt: Runtime, account: str, customers: list[dict[str, str]]) -> list[dict[str, str]]:
    """The shop's own records of the seeded customers: who they are and what they pay for."""
    stripe = rt.stripe(Mode.TEST).account(account)
    rows = []
    for row in customers:
        customer = stripe.customer(row["customer"]).value
        subscription = stripe.subscription(row["subscription"]).value
        price = subscription.items[0].price
        amount = money.format(subscription.amount, "en_US") if subscription.amount else "by use"
        plan = " + ".join(item.price.product_name or item.price.id for item in subscription.items)
        rows.append(
            {**row, "name": customer.name or "", "email": customer.email or "", "plan": plan, "price": f"{amount} a {price.interval}"}
        )
    return rows


def _wait_for_read_in(rt: Runtime, workspace_id: str, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with rt.transaction(workspace_id) as session:
            connection = connections.of_mode(session, workspace_id, Mode.TEST)
            state = connection.read_in.get("state") if connection else None
        if state == "done":
            return
        if state == "failed":
            break
        time.sleep(0.1)
    raise TimeoutError(f"reading in the Stripe account did not finish (it is {state!r})")


def announce(running: stage.Stage, demo: dict[str, Any]) -> None:
    """Write demo.json, whole or not at all, and the environment for `holdfast …` beside it."""
    lines = "".join(f"{name}={value}\n" for name, value in running.environ.items() if name.isupper())
    stage.write_secret(running.folder / "demo.env", lines)
    stage.write_secret(running.folder / "demo.json", json.dumps(demo, indent=2) + "\n")


class Console:
    """What the person at the terminal sees: letters and failures as they come; everything else is in the log files.

    Letters from before `ready` are not shown: the demo has followed their links itself, so these work no more.
    """

    def __init__(self) -> None:
        self._is_ready = False

    def say(self, text: str) -> None:
        print(text, flush=True)

    def hear(self, name: str, line: str) -> None:
        """One line of a child: JSON below the level of an error is for the log files only."""
        if not line.startswith("{"):
            if name == "deliveries" and self._is_ready:
                self.say(f"  mail | {line}")
            return
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if entry.get("level") in {"error", "critical"}:
            self.say(f"{name:>6} | {entry.get('event')} {entry.get('exception', '')}".rstrip())

    def ready(self, demo: dict[str, Any]) -> None:
        """What to click."""
        self._is_ready = True
        self.say(f"""
  Holdfast is running. Everything here is pretend: no Stripe account, no money.

    1. Be a customer    {demo["shop_url"]}/account
                        press Cancel: too expensive, not used enough, too hard to use
                        each lead to an offer; take it, or go through with it
    2. Be the owner     {demo["admin_url"]}
                        works once; another one:  .venv/bin/holdfast admin-link
    3. Install anew     {demo["base_url"]}/install
                        and choose {demo["unconnected_account"]} on Stripe's page

  The local Stripe is at {demo["stripe_url"]} (what changed there: {demo["stripe_url"]}/_sandbox/effects).
  Letters are printed here. Logs: var/demo/logs/. Ctrl-C stops all of it.
""")


if __name__ == "__main__":
    sys.exit(main())
