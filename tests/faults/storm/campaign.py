"""A storm over many accounts, on a ground that several storms can share, and the verdict when it is over."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import text

from connect_app import config, connections, migrations, runtime
from connect_app.modes import Mode
from connect_app.stripe_gateway import objects
from connect_app.workspaces import accounts as workspace_accounts
from connect_app.workspaces import openings
from jobs import queues
from sandbox.stripe import accounts
from sandbox.stripe.server import Server
from sandbox.stripe.wire import to_json
from tests import make
from tests.faults import stage
from tests.faults.storm import business, oracle, poison, post
from tests.faults.storm.business import Business
from webhooks import store

LEASE = 2.0
_HOUR = timedelta(hours=1)
# News is at most so old when the storm begins: younger than the connection, older than anything that is read in it.
_PAST_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything; the shares are the issue's."""

    events: int
    accounts: int
    strangers: int
    seconds: float
    threads: int
    patience: float
    least_kills: int = 2
    duplicates: float = 0.20
    undelivered: float = 0.05
    poison: float = 0.01
    unknown: float = 0.05
    late: float = 0.05
    test_mode: float = 0.10
    # What happens while the storm is on, at real moments, against reads of the same second.
    live: float = 0.2


SMALL = Scale(events=500, accounts=8, strangers=2, seconds=4, threads=8, patience=90)


def large(events: int) -> Scale:
    """The issue's own, for a target that may take its time."""
    return Scale(events=events, accounts=50, strangers=4, seconds=max(10, events / 250), threads=16, patience=600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What storms pass over: real servers, the web server and workers of one tree, and an address where a local Stripe answers."""

    rt: runtime.Runtime
    redis: Redis
    server: Server
    url: str
    crew: stage.Crew
    poison: set[str] = field(default_factory=set)
    """The ids of all events that were sent to be put aside."""


@contextmanager
def ground(folder: Path, edits: tuple[stage.Edit, ...] = ()) -> Iterator[Ground]:
    """The ground, with bugs planted in its tree."""
    with stage.servers() as (database_url, redis_url, redis), stage.local_stripe_here() as server:
        environ = {
            **make.environ(server.local),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HOLDFAST_LEASE_SECONDS": str(LEASE),
            "HOLDFAST_SWEEP_SECONDS": "0.5",
            "PATH": "/usr/bin:/bin",
        }
        rt = runtime.open_runtime(config.load({name: value for name, value in environ.items() if name != "PATH"}), pool_size=10)
        runtime.use(rt)
        tree = stage.copy_tree(folder / "tree", edits)
        crew = stage.Crew(tree=tree, environ=environ, folder=folder)
        try:
            migrations.upgrade(rt.engine)
            crew.start("events", "events", "events")
            with stage.web(tree, environ, folder) as url:
                until(
                    lambda: crew.logged("worker.ready"),
                    60,
                    lambda: f"a worker is ready; the first says {crew.workers[0].log.read_text()[-2000:]}",
                )
                yield Ground(rt=rt, redis=redis, server=server, url=f"{url}/webhooks/stripe", crew=crew)
        finally:
            crew.dismiss()
            rt.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where an account's news of one mode belongs."""

    business: Business
    workspace_id: str
    connection_id: str


@dataclass(kw_only=True)
class Verdict:
    """What is left when the dust has settled. Each list is empty where all is well."""

    seed: int
    events: int
    lost: list[str] = field(default_factory=list)
    wrongly_answered: list[str] = field(default_factory=list)
    wrongly_ended: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    before_repair: list[oracle.Difference] = field(default_factory=list)
    after_repair: list[oracle.Difference] = field(default_factory=list)
    missed: int = 0
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.wrongly_answered or self.wrongly_ended or self.unsettled or self.before_repair or self.after_repair)

    def __str__(self) -> str:
        again = f"make storm SEED={self.seed} SEEDS=1 EVENTS={self.events}"
        lines = [f"storm of seed {self.seed}; its like again: {again}", f"  {self.numbers}"]
        for name in ("lost", "wrongly_answered", "wrongly_ended", "unsettled", "before_repair", "after_repair"):
            found = getattr(self, name)
            if found:
                lines += [f"  {name}: {len(found)}", *(f"    {one}" for one in found[:10])]
        return "\n".join(lines)


class Storm:
    """One storm of one seed over a ground."""

    def __init__(self, place: Ground, seed: int, scale: Scale) -> None:
        self.place, self.seed, self.scale = place, seed, scale
        self.chance = random.Random(seed)
        self.verdict = Verdict(seed=seed, events=scale.events)
        self.local = place.server.local
        self.homes: dict[tuple[str, bool], Home] = {}
        self.known: list[Business] = []
        self.tests: list[Business] = []
        self.unknown: list[Business] = []
        self.sent: dict[str, Business] = {}
        self.kept_from_us: set[tuple[str, bool, oracle.Thing]] = set()
        self.poisonous: dict[str, str] = {}
        self.subscriptions: list[tuple[Business, Any]] = []
        self.late: list[post.Letter] = []
        self.counted: Counter[str] = Counter()
        self.flushes = 0
        self.is_repairing = False
        self.seconds: dict[str, float] = {}
        self.since = time.monotonic()

    def rage(self) -> None:
        """The accounts, their past, and the storm: until every letter is taken or refused."""
        kills = self.place.crew.kills
        self._found_accounts()
        self._history()
        self._took("to prepare")
        self.carrier = post.Post(self.place.url, self.scale.threads)
        self._strike(self.carrier)
        self._took("of storm")
        self.verdict.numbers = {"kills": self.place.crew.kills - kills, "flushes": self.flushes}

    def bring_the_rest(self) -> None:
        """What Stripe brings hours later, after everything else was understood: some of it long overtaken by what came before."""
        self._settle("the lanes")
        for letter in self.late:
            self.carrier.add(letter, time.monotonic())
        self.place.crew.kill_one(self.chance)
        end = time.monotonic() + self.scale.patience
        while self.carrier.left and time.monotonic() < end:
            time.sleep(0.05)
        if self.carrier.left:
            self.verdict.unsettled.append(f"{self.carrier.left} late letters are not taken")
        self.carrier.close()
        self._judge_answers(self.carrier)
        told = {"refused at the door": sum(self.carrier.refused.values()), "brought again": dict(self.carrier.tried_again)}
        self.verdict.numbers |= told

    def calm(self) -> None:
        """In peace: what was kept is understood, an unknown account is connected after all, and the mirror is what events alone make it."""
        self._settle("the lanes")
        self._judge_events(self.unknown)
        self._took("to settle")
        self._connect(self.unknown[0])
        self._settle("the lane of an account connected late")
        self._judge_events(self.unknown[1:])
        self._took("to hear of a late one")
        untold = {(f"{account}/{Mode.of(livemode)}", thing) for account, livemode, thing in self.kept_from_us}
        for one in self._differences():
            if (one.whose, one.thing) in untold:
                self.verdict.missed += 1
            else:
                self.verdict.before_repair.append(one)

    def ask_for_repair(self) -> None:
        """Stripe's list of events is gone through, as every hour."""
        rt, self.is_repairing = self.place.rt, True
        if not any(worker.queue == queues.UPKEEP for worker in self.place.crew.workers):
            # Nobody is killed any more, and a reconciliation's turn is a third of the lease.
            self.place.crew.environ["HOLDFAST_LEASE_SECONDS"] = "30"
            self.place.crew.start(queues.UPKEEP, restart=False)
        for home in self.homes.values():
            with rt.transaction(home.workspace_id) as session:
                queues.enqueue(session, "reconcile", home.connection_id, home.workspace_id, due_at=rt.now())

    def end(self, *, is_repaired: bool) -> Verdict:
        """What was repaired is compared once more, and poison has come to its end, too."""
        if is_repaired:
            self._settle("the reconciliation")
            self.verdict.after_repair = self._differences()
            self._took("to repair")
        self._settle("poison", is_poison_waited_for=True)
        self._judge_poison()
        self._took("to put poison aside")
        lanes = Counter(claim["row"] for claim in self.place.crew.claims() if claim["kind"] == "drain")
        self.counted["drains"] = sum(lanes[f"{one.account}/{one.mode}"] for one in self._everybody())
        self.verdict.numbers |= {**self.counted, "missed until the repair": self.verdict.missed, "seconds": self.seconds}
        return self.verdict

    def _took(self, what: str) -> None:
        now = time.monotonic()
        self.seconds[what] = round(now - self.since, 1)
        self.since = now

    # Before

    def _found_accounts(self) -> None:
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
            self._connect(one)
        for one in self.tests:
            self._connect(one)
        self._forget_news()

    def _business(self, account: str, *, livemode: bool) -> Business:
        accounts.connect(self.local, account, livemode, "read_write")
        return Business(local=self.local, account=account, livemode=livemode, chance=random.Random(self.chance.random()))

    def _connect(self, one: Business) -> None:
        """Connected an hour ago, and read in when nothing was there: what the mirror will hold, events have brought."""
        rt, mode = self.place.rt, Mode.of(one.livemode)
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

    def _read_in(self, session: Any, connection_id: str, now: Any) -> None:
        done = {"state": "done", "started_at": now.isoformat(), "finished_at": now.isoformat()}
        connections.save_read_in(session, connection_id, done)
        session.execute(
            text("update connections set reconciled_at = :now, compared_at = :now where id = :id"), {"now": now, "id": connection_id}
        )

    def _forget_news(self) -> None:
        for _ in business.all_news(self._everybody()):
            pass

    def _everybody(self) -> list[Business]:
        return [*self.known, *self.tests, *self.unknown]

    def _history(self) -> None:
        """What happened in the last quarter of an hour, in seconds that many changes share."""
        self.letters: list[tuple[float, post.Letter]] = []
        self.ready: list[tuple[Business, Any]] = []
        wanted = self.scale.events * (1 - self.scale.live)
        moment = time.time() - _PAST_SECONDS
        for one in self._everybody():
            one.open()
            self._date(moment)
        step = (_PAST_SECONDS - 60) / wanted * 2
        while len(self.ready) < wanted:
            self._one_change()
            moment = min(moment + self.chance.choice((0, 0, 1, 1, 2)) * step, time.time() - 30)
            self._date(moment)

    def _date(self, moment: float) -> None:
        for one, event in business.all_news(self._everybody()):
            event["created"] = int(moment)
            self.ready.append((one, event))

    def _one_change(self) -> None:
        dice = self.chance.random()
        if dice < self.scale.test_mode:
            self.chance.choice(self.tests).change()
        elif dice < self.scale.test_mode + self.scale.unknown:
            self.chance.choice(self.unknown).change()
        else:
            self.chance.choice(self.known).change()

    # The storm

    def _strike(self, carrier: post.Post) -> None:
        scale, chance = self.scale, self.chance
        begins = time.monotonic()
        ends = begins + scale.seconds
        for one, event in self.ready:
            self._send(carrier, one, event, begins, ends)
        self._send_poison(carrier, begins, ends)
        left = int(scale.events * scale.live)
        next_kill = next_flush = begins
        until = ends + scale.patience
        kills = self.place.crew.kills
        while time.monotonic() < ends or carrier.left or self.place.crew.kills < kills + scale.least_kills:
            now = time.monotonic()
            if now > until:
                told = f"{carrier.left} letters are not taken, workers killed {self.place.crew.kills - kills} times"
                self.verdict.unsettled.append(f"after {scale.patience:.0f} s of storm {told}")
                return
            if now < ends and left > 0 and chance.random() < 0.02 * left / max(ends - now, 0.1):
                self._one_change()
                for one, event in business.all_news(self._everybody()):
                    left -= 1
                    self._send(carrier, one, event, now, max(ends, now + 0.5))
            if now >= next_kill:
                self.place.crew.kill_one(chance)
                next_kill = now + 1
            if now >= next_flush:
                self.place.redis.flushall()
                self.flushes += 1
                next_flush = now + chance.uniform(0.3, 2)
            time.sleep(0.02 if now < ends else 0.1)

    def _send(self, carrier: post.Post, one: Business, event: Any, begins: float, ends: float) -> None:
        if self.chance.random() < self.scale.undelivered:
            self.kept_from_us |= {(one.account, one.livemode, thing) for thing in oracle.touched(event)}
            self.local.deliveries.undelivered.add(event["id"])
            self.counted["never delivered"] += 1
            return
        if event["type"] == "customer.subscription.updated":
            self.subscriptions.append((one, event))
        self.sent[event["id"]] = one
        letter = self._letter(one, event["id"], to_json(event))
        self.counted["delivered"] += 1
        self.counted["in test mode"] += not one.livemode
        self.counted["of unknown accounts"] += one in self.unknown
        if self.chance.random() < self.scale.late:
            self.late.append(letter)
            self.counted["late"] += 1
            return
        moments = [self.chance.uniform(begins, ends) for _ in range(2 if self.chance.random() < self.scale.duplicates else 1)]
        if len(moments) == 2 and self.chance.random() < 0.3:
            moments[1] = moments[0]  # both at once, at two processes
        for moment in moments:
            carrier.add(letter, moment)
        self.counted["twice"] += len(moments) - 1

    def _send_poison(self, carrier: post.Post, begins: float, ends: float) -> None:
        told = [(one, event) for one, event in self.subscriptions if one not in self.unknown]
        forms = poison.forms()
        self.chance.shuffle(forms)
        for number in range(round(self.scale.events * self.scale.poison)):
            one, event = self.chance.choice(told)
            form = forms[number % len(forms)]
            id, raw = poison.broken(event, form, self.chance, int(time.time()) - 1)
            self.poisonous[id] = form
            self.place.poison.add(id)
            carrier.add(self._letter(one, id, raw), self.chance.uniform(begins, ends))
            self.counted["poison"] += 1

    def _letter(self, one: Business, id: str, body: bytes) -> post.Letter:
        # A live endpoint is told of test events too, so these come under either secret.
        secret = "LIVE" if one.livemode or self.chance.random() < 0.5 else "TEST"
        return post.Letter(id=id, body=body, secret=make.WEBHOOK_SECRETS[secret])

    # After

    def _waiting(self, *, is_poison_waited_for: bool) -> str:
        """What is still to be done, in words; nothing: ''."""
        poison = [] if is_poison_waited_for else list(self.place.poison)
        connections_here = [home.connection_id for home in self.homes.values()]
        with self.place.rt.transaction() as session:
            pending = session.execute(
                text("select count(*) from webhook_pending where not (event_id = any(:poison))"), {"poison": poison}
            ).scalar_one()
            # Its schedule asks for a reconciliation at any time; once it is done, it keeps its row and is due again in an hour.
            work = session.execute(
                text(
                    "select kind, row_id, problem, attempts from work where gave_up_at is null"
                    " and (kind = 'refetch' or (:is_repairing and kind = 'reconcile' and row_id = any(:connections)))"
                    " and (due_at < :soon or lease_until > clock_timestamp())"
                ),
                {
                    "connections": connections_here,
                    "is_repairing": self.is_repairing,
                    "soon": self.place.rt.now() + timedelta(minutes=5),
                },
            ).all()
        return f"{pending} events; work: {[tuple(row) for row in work[:5]]}" if pending or work else ""

    def _settle(self, what: str, *, is_poison_waited_for: bool = False) -> None:
        """In peace: wait until nothing is left to do."""
        until = time.monotonic() + self.scale.patience
        while left := self._waiting(is_poison_waited_for=is_poison_waited_for):
            if time.monotonic() > until:
                self.verdict.unsettled.append(f"{what}: after {self.scale.patience:.0f} s there are still {left}")
                return
            time.sleep(0.1)

    def _judge_answers(self, carrier: post.Post) -> None:
        """What is true is taken; of what is broken the door may refuse what it cannot even keep."""
        for id in self.sent:
            if not carrier.taken[id] or carrier.refused[id]:
                self.verdict.wrongly_answered.append(f"{id}: taken {carrier.taken[id]}, refused {carrier.refused[id]}")
        self.kept_poison = [id for id in self.poisonous if carrier.taken[id]]
        for id, form in self.poisonous.items():
            if not carrier.taken[id] + carrier.refused[id]:
                self.verdict.wrongly_answered.append(f"poison ({form}) was never answered")
        self.counted["poison kept"] = len(self.kept_poison)

    def _judge_events(self, strangers: list[Business]) -> None:
        """Every event that was taken is there, once, and ended as it should."""
        with self.place.rt.transaction() as session:
            rows = session.execute(
                text("select id, state, error, account, livemode from webhook_events where account = any(:accounts)"),
                {"accounts": [one.account for one in self._everybody()]},
            ).all()
        found = {row.id: row for row in rows}
        self.verdict.lost += [id for id in [*self.sent, *self.kept_poison] if id not in found]
        self.verdict.wrongly_ended += [f"nobody sent {id}" for id in found if id not in self.sent and id not in self.poisonous]
        for id, row in found.items():
            right = ("waiting_for_account",) if self.sent.get(id) in strangers else ("done", "ignored")
            if id in self.sent and row.state not in right:
                self.verdict.wrongly_ended.append(f"{id} is {row.state}: {row.error}")

    def _judge_poison(self) -> None:
        """What was kept of it is `failed`, with a reason, and its owner is shown that."""
        shown: dict[str, str | None] = {}
        with self.place.rt.transaction() as session:
            for one in self._everybody():
                shown |= {event.id: event.error for event in store.failed(session, one.account, one.livemode)}
        self.verdict.wrongly_ended += [f"{id} is failed: {why}" for id, why in shown.items() if id not in self.kept_poison]
        self.verdict.wrongly_ended += [f"poison ({self.poisonous[id]}) is not shown" for id in self.kept_poison if not shown.get(id)]

    def _differences(self) -> list[oracle.Difference]:
        found = []
        for home in self.homes.values():
            with self.place.rt.transaction(home.workspace_id) as session:
                found += oracle.differences(session, home.business, home.connection_id)
        return found


def storms(place: Ground, seeds: list[int], scale: Scale, *, is_repaired: bool = True) -> Iterator[Verdict]:
    """One storm after the other over the same ground, each while the poison of those before is still being tried; then peace."""
    raged = []
    for seed in seeds:
        storm = Storm(place, seed, scale)
        storm.rage()
        raged.append(storm)
    for storm in raged:
        storm.bring_the_rest()
    for storm in raged:
        storm.calm()
    for storm in raged:
        if is_repaired:
            storm.ask_for_repair()
    for storm in raged:
        yield storm.end(is_repaired=is_repaired)


def until(true: Callable[[], Any], seconds: float, what: Callable[[], str]) -> None:
    """Wait for a state."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what()}"
        time.sleep(0.05)
