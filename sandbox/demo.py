"""`make demo`: fresh servers, a local Stripe, Holdfast connected to it, a shop; then what to click, until Ctrl-C."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from connect_app import connections, embed_secrets, money, preferences, workspaces
from connect_app.admin import flows
from connect_app.models import AccountLookup, Workspace
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from sandbox import stage, supervisor, visitor

FOLDER = stage.ROOT / "var" / "demo"
OWNER = "owner@fernhill.example"


def main() -> int:
    """Run the demo until SIGINT or SIGTERM; 1 when it cannot start, with the reason and the way out."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    ports = stage.Ports.from_base(int(os.environ.get("PORT") or 8000))
    console = Console()
    try:
        ports.check()
        shutil.rmtree(FOLDER, ignore_errors=True)
        console.say("Starting PostgreSQL, Redis, a local Stripe, Holdfast, its workers and a shop …")
        with stage.Stage(ports, FOLDER, console.hear) as running:
            running.supervisor.tell_guard(f"delete {FOLDER / 'demo.json'}")
            running.supervisor.tell_guard(f"delete {FOLDER / 'demo.env'}")
            try:
                demo = install(running)
                announce(running, demo)
                console.ready(demo)
                _watch(running, console)
            finally:
                for name in ("demo.json", "demo.env"):
                    (FOLDER / name).unlink(missing_ok=True)
                console.say("\nStopping everything …")
    except KeyboardInterrupt:
        return 0
    except (stage.PortTaken, stage.NotOurs, supervisor.ChildDied, visitor.Lost, TimeoutError) as problem:
        sys.stderr.write(f"\n{problem}\n\nThe demo could not start. Logs: var/demo/logs/\n")
        return 1
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _watch(running: stage.Stage, console: "Console") -> None:
    """Stay until interrupted; a child that dies is started again, as a process manager would."""
    while True:
        time.sleep(0.5)
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
        choose_coupon(rt, workspace_id, running.seeded["coupons"])
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


def choose_coupon(rt: Runtime, workspace_id: str, coupons: list[dict[str, Any]]) -> None:
    """Put a coupon into the default flow's offer, as the owner does in Settings: one for the next bill, which fits every plan.

    A coupon for three months would be over before a yearly plan's next bill, and would rightly not be offered there.
    """
    valid = [coupon for coupon in coupons if coupon["valid"] and coupon["percent_off"]]
    best = next((coupon for coupon in valid if coupon["duration"] == "once"), valid[0])
    with rt.transaction(workspace_id) as session:
        flows.set_offer(session, workspace_id, mode=Mode.TEST, coupon=best["id"], now=rt.now(), by="demo")


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
    FOLDER.mkdir(parents=True, exist_ok=True)
    _write(FOLDER / "demo.env", "".join(f"{name}={value}\n" for name, value in running.environ.items() if name.isupper()))
    _write(FOLDER / "demo.json", json.dumps(demo, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.chmod(0o600)
    draft.replace(path)


class Console:
    """What the person at the terminal sees: letters and failures as they come; everything else is in the log files."""

    def say(self, text: str) -> None:
        print(text, flush=True)

    def hear(self, name: str, line: str) -> None:
        """One line of a child: JSON below the level of an error is for the log files only."""
        if not line.startswith("{"):
            if name == "deliveries":
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
        self.say(f"""
  Holdfast is running. Everything here is pretend: no Stripe account, no money.

    1. Be a customer    {demo["shop_url"]}/account
                        press Cancel, and take the offer or go through with it
    2. Be the owner     {demo["admin_url"]}
                        works once; another one:  .venv/bin/holdfast admin-link
    3. Install anew     {demo["base_url"]}/install
                        and choose {demo["unconnected_account"]} on Stripe's page

  The local Stripe is at {demo["stripe_url"]} (what changed there: {demo["stripe_url"]}/_sandbox/effects).
  Letters are printed here. Logs: var/demo/logs/. Ctrl-C stops all of it.
""")


if __name__ == "__main__":
    sys.exit(main())
