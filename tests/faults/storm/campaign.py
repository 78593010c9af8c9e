"""A storm over many accounts, on a ground that several storms can share, and the verdict when it is over."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from connect_app.modes import Mode
from jobs import queues
from sandbox.stripe.wire import to_json
from tests import make
from tests.faults.storm import business, oracle, poison, post
from tests.faults.storm.business import Business
from tests.faults.storm.ground import Ground, Scale
from tests.faults.storm.region import Region
from tests.faults.storm.verdict import Poison, Verdict

# News is at most so old when the storm begins: younger than the connection, older than anything that is read in it.
_PAST_SECONDS = 900


class Storm:
    """One storm of one seed over a ground."""

    def __init__(self, place: Ground, seed: int, scale: Scale) -> None:
        self.place, self.seed, self.scale = place, seed, scale
        self.chance = random.Random(seed)
        self.verdict = Verdict(seed=seed, events=scale.events)
        self.local = place.server.local
        self.region = Region(place.rt, self.local, self.chance, scale)
        self.sent: dict[str, Business] = {}
        self.kept_from_us: set[tuple[str, bool, oracle.Thing]] = set()
        self.poison = Poison()
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
        self.region.found()
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
        self.verdict.judge_answers(self.carrier, self.sent, self.poison)
        self.counted["poison kept"] = len(self.poison.kept)
        told = {"refused at the door": sum(self.carrier.refused.values()), "brought again": dict(self.carrier.tried_again)}
        self.verdict.numbers |= told

    def calm(self) -> None:
        """In peace: what was kept is understood, an unknown account is connected after all, and the mirror is what events alone make it."""
        self._settle("the lanes")
        with self.place.rt.transaction() as session:
            self.verdict.judge_events(session, self.region.everybody(), self.sent, self.poison, self.region.unknown)
        self._took("to settle")
        self.region.connect(self.region.unknown[0])
        self._settle("the lane of an account connected late")
        with self.place.rt.transaction() as session:
            self.verdict.judge_events(session, self.region.everybody(), self.sent, self.poison, self.region.unknown[1:])
        self._took("to hear of a late one")
        untold = {(f"{account}/{Mode.of(livemode)}", thing) for account, livemode, thing in self.kept_from_us}
        for one in self.region.differences():
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
        for home in self.region.homes.values():
            with rt.transaction(home.workspace_id) as session:
                queues.enqueue(session, "reconcile", home.connection_id, home.workspace_id, due_at=rt.now())

    def end(self, *, is_repaired: bool) -> Verdict:
        """What was repaired is compared once more, and poison has come to its end, too."""
        if is_repaired:
            self._settle("the reconciliation")
            self.verdict.after_repair = self.region.differences()
            self._took("to repair")
        self._settle("poison", is_poison_waited_for=True)
        with self.place.rt.transaction() as session:
            self.verdict.judge_poison(session, self.region.everybody(), self.poison)
        self._took("to put poison aside")
        lanes = Counter(claim["row"] for claim in self.place.crew.claims() if claim["kind"] == "drain")
        self.counted["drains"] = sum(lanes[f"{one.account}/{one.mode}"] for one in self.region.everybody())
        self.verdict.numbers |= {**self.counted, "missed until the repair": self.verdict.missed, "seconds": self.seconds}
        return self.verdict

    def _took(self, what: str) -> None:
        now = time.monotonic()
        self.seconds[what] = round(now - self.since, 1)
        self.since = now

    # Before

    def _history(self) -> None:
        """What happened in the last quarter of an hour, in seconds that many changes share."""
        self.letters: list[tuple[float, post.Letter]] = []
        self.ready: list[tuple[Business, Any]] = []
        wanted = self.scale.events * (1 - self.scale.live)
        moment = time.time() - _PAST_SECONDS
        for one in self.region.everybody():
            one.open()
            self._date(moment)
        step = (_PAST_SECONDS - 60) / wanted * 2
        while len(self.ready) < wanted:
            self.region.change()
            moment = min(moment + self.chance.choice((0, 0, 1, 1, 2)) * step, time.time() - 30)
            self._date(moment)

    def _date(self, moment: float) -> None:
        for one, event in business.all_news(self.region.everybody()):
            event["created"] = int(moment)
            self.ready.append((one, event))

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
                self.region.change()
                for one, event in business.all_news(self.region.everybody()):
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
        # Broken ones are made of these. Where little happens, hardly any subscription changes after it was made.
        if event["type"] in ("customer.subscription.created", "customer.subscription.updated"):
            self.subscriptions.append((one, event))
        self.sent[event["id"]] = one
        letter = self._letter(one, event["id"], to_json(event))
        self.counted["delivered"] += 1
        self.counted["in test mode"] += not one.livemode
        self.counted["of unknown accounts"] += one in self.region.unknown
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
        told = [(one, event) for one, event in self.subscriptions if one not in self.region.unknown]
        forms = poison.forms()
        self.chance.shuffle(forms)
        for number in range(round(self.scale.events * self.scale.poison)):
            one, event = self.chance.choice(told)
            form = forms[number % len(forms)]
            id, raw = poison.broken(event, form, self.chance, int(time.time()) - 1)
            self.poison.forms[id] = form
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
        connections_here = [home.connection_id for home in self.region.homes.values()]
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
