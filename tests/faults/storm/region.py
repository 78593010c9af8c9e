"""The accounts a storm is about: some known in one mode or both, some that nobody has connected, each with a business going on."""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from connect_app import connections, runtime
from connect_app.modes import Mode
from connect_app.stripe_gateway import objects
from connect_app.workspaces import accounts as workspace_accounts
from connect_app.workspaces import openings
from sandbox.stripe import accounts
from sandbox.stripe.local import LocalStripe
from tests.faults.storm import business, oracle
from tests.faults.storm.business import Business
from tests.faults.storm.ground import Scale

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where an account's news of one mode belongs."""

    business: Business
    workspace_id: str
    connection_id: str


class Region:
    """The accounts of one storm; `known` are connected in live mode, `tests` in test mode too, `unknown` not at all."""

    def __init__(self, rt: runtime.Runtime, local: LocalStripe, chance: random.Random, scale: Scale) -> None:
        self.rt, self.local, self.chance, self.scale = rt, local, chance, scale
        self.homes: dict[tuple[str, bool], Home] = {}
        self.known: list[Business] = []
        self.tests: list[Business] = []
        self.unknown: list[Business] = []

    def found(self) -> None:
        """Make the accounts, and connect those that are."""
        scale = self.scale
        for number in range(scale.accounts):
            account = accounts.make(self.local, f"Account {number}", f"owner{number}@mail.example")["id"]
            self.known.append(self._business(account, livemode=True))
            if number < max(2, scale.accounts // 4):
                self.tests.append(self._business(account, livemode=False))
        for number in range(scale.strangers):
            account = accounts.make(self.local, f"Stranger {number}", f"stranger{number}@mail.example")["id"]
            self.unknown.append(self._business(account, livemode=True))
        for one in self.known:
            self.connect(one)
        for one in self.tests:
            self.connect(one)
        for _ in business.all_news(self.everybody()):
            pass

    def everybody(self) -> list[Business]:
        """Every business."""
        return [*self.known, *self.tests, *self.unknown]

    def change(self) -> None:
        """Something happens somewhere."""
        dice = self.chance.random()
        if dice < self.scale.test_mode:
            self.chance.choice(self.tests).change()
        elif dice < self.scale.test_mode + self.scale.unknown:
            self.chance.choice(self.unknown).change()
        else:
            self.chance.choice(self.known).change()

    def connect(self, one: Business) -> None:
        """Connected an hour ago, and read in when nothing was there: what the mirror will hold, events have brought."""
        rt, mode = self.rt, Mode.of(one.livemode)
        now = rt.now() - _HOUR
        account = objects.read_account(self.local.accounts[one.account])
        other = self.homes.get((one.account, not one.livemode))
        if other is None:
            with rt.transaction() as session:
                opened = openings.create(session, account=account, mode=mode, scope="read_write", now=now, ring=rt.ring, by="operator")
                workspace_id, connection_id = opened.place.id, opened.connection_id
                self._read_in(session, connection_id, now)
        else:
            workspace_id = other.workspace_id
            with rt.transaction(workspace_id) as session:
                connection_id = workspace_accounts.link(
                    session, workspace_id, account=account, mode=mode, scope="read_write", now=now, ring=rt.ring, by="operator"
                )
                self._read_in(session, connection_id, now)
        self.homes[one.account, one.livemode] = Home(business=one, workspace_id=workspace_id, connection_id=connection_id)

    def differences(self) -> list[oracle.Difference]:
        """Where the mirror is not what Stripe has."""
        found: list[oracle.Difference] = []
        for home in self.homes.values():
            with self.rt.transaction(home.workspace_id) as session:
                found += oracle.differences(session, home.business, home.connection_id)
        return found

    def _business(self, account: str, *, livemode: bool) -> Business:
        accounts.connect(self.local, account, livemode, "read_write")
        return Business(local=self.local, account=account, livemode=livemode, chance=random.Random(self.chance.random()))

    def _read_in(self, session: Any, connection_id: str, now: Any) -> None:
        done = {"state": "done", "started_at": now.isoformat(), "finished_at": now.isoformat()}
        connections.save_read_in(session, connection_id, done)
        session.execute(
            text("update connections set reconciled_at = :now, compared_at = :now where id = :id"), {"now": now, "id": connection_id}
        )
