"""The exact moments at which a worker dies, or is frozen past its lease: F1 to F5 and F7 of the fault matrix."""

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle, islice

from sqlalchemy import text

from tests.faults import middlemen, stage
from tests.faults.campaign import oracle
from tests.faults.campaign.ground import Ground, until
from tests.faults.town import Resident

VERBS = ("cancel", "discount", "mint", "pause", "plan_change")
POINTS = {
    "F1": "killed before Stripe has done it",
    "F2": "killed after Stripe has done it, before the answer is read",
    "F3": "killed after the answer, before COMMIT is sent",
    "F4": "killed after COMMIT, before its answer is read",
    "F5": "killed after COMMIT, before the bell is acknowledged",
    "F7": "frozen past its lease, and woken when another has done it",
}
# The writes of each verb's plan, by where they are sent.
_ONE = "/v1/subscriptions/*"
_CALLS = {
    "mint": ("/v1/coupons", _ONE),
    "plan_change": (_ONE, "/v1/subscription_schedules", "/v1/subscription_schedules/*"),
}
# What the transactions of a course hold: the frozen calls, the answer, the proof, and the end of the work.
_TRANSACTIONS = (b"planned_at", b"action.applied", b"action.verified", b"delete from work")
PATIENCE = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came of one moment: `runs` is how often it struck, `slowest` seconds from the last choice to the last end."""

    point: str
    what: str
    runs: int
    findings: oracle.Findings
    slowest: float
    fenced: int = 0

    @property
    def is_clean(self) -> bool:
        return self.findings.is_clean and set(self.findings.states) == {"verified"} and self.slowest < PATIENCE

    def row(self) -> str:
        """A line of the table."""
        found = self.findings
        wrong = len(found.lost) + len(found.astray)
        numbers = f"{self.runs:>5} {len(found.twice):>6} {wrong:>5} {len(found.stuck):>6} {self.slowest:>7.1f}"
        return f"{self.point:<3} {self.what:<41} {numbers}" + ("" if self.is_clean else f"\n{found}")


HEAD = f"{'':<3} {'':<41} {'runs':>5} {'twice':>6} {'lost':>5} {'stuck':>6} {'slowest':>7}"


def strike(ground: Ground, point: str, verbs: tuple[str, ...], runs: int) -> Iterator[Tally]:
    """Each of these verbs, and of a plan with several calls each call, `runs` times at this point."""
    for verb in verbs:
        if point == "F7":
            yield freeze(ground, verb, runs)
            continue
        # Between its calls, too: dying before the second is not dying before the first.
        for path in _CALLS.get(verb, (_ONE,)) if point in ("F1", "F2") else ("",):
            yield _kill(ground, (point,), [verb] * runs, path, runs)


def strike_once(ground: Ground, point: str, patience: float = PATIENCE) -> Tally:
    """A customer of each verb, at the same time, and as many deaths."""
    if point == "F7":
        return freeze(ground, "discount", 1)
    return _kill(ground, (point,), list(VERBS), "/v1/*", len(VERBS), patience)


def strike_all(ground: Ground) -> Tally:
    """Two customers of each verb, and every moment in which a worker dies, in one go."""
    return _kill(ground, ("F1", "F2", "F3", "F4", "F5"), [*VERBS, *VERBS], "/v1/*", 2)


def _kill(ground: Ground, points: tuple[str, ...], verbs: list[str], path: str, runs: int, patience: float = PATIENCE) -> Tally:
    """`runs` deaths at each of these points, while customers choose these verbs."""
    place, moments = ground.place, _Moments(ground, points, path, runs)
    residents = place.settle_in(*verbs)
    moments.arm()
    for resident, verb in zip(residents, verbs, strict=True):
        place.choose(resident, verb)
    chosen = dict(zip(residents, verbs, strict=True))
    ground.choices.update(chosen)
    slowest = ground.settle(patience)
    # The last transaction and the acknowledgment come after the end that the customer sees.
    end = time.monotonic() + min(20, patience)
    while (moments.struck < runs * len(points) or _is_work_left(ground)) and time.monotonic() < end:
        time.sleep(0.05)
    struck = moments.struck
    moments.disarm()
    findings = oracle.judge(place, chosen)
    if _is_work_left(ground):
        findings.stuck.append("work is left in the table")
    what = f"{verbs[0] if len(set(verbs)) == 1 else 'each verb'} {path}".strip()
    return Tally(point=" ".join(points), what=what, runs=struck, findings=findings, slowest=slowest)


class _Moments:
    """The deaths that are in store: `runs` at each of the points; `path` is whose calls F1 and F2 strike."""

    def __init__(self, ground: Ground, points: tuple[str, ...], path: str, runs: int) -> None:
        self._ground = ground
        kinds = {"F1": "kill_before", "F2": "kill_after"}
        self._faults = [{"method": "POST", "path": path, "kind": kinds[point], "times": runs} for point in points if point in kinds]
        marks = list(islice(cycle(_TRANSACTIONS), runs))
        makers = {"F3": middlemen.commit_asked, "F4": middlemen.commit_done}
        self._commits = [makers[point](mark, marks.count(mark)) for point in points if point in makers for mark in dict.fromkeys(marks)]
        self._bells = [middlemen.Strike(what=b"successful_job_count", times=runs)] if "F5" in points else []

    def arm(self) -> None:
        if self._faults:
            self._ground.place.stripe.control("POST", "faults", self._faults)
        self._ground.postgres.arm(*self._commits)
        self._ground.redis.arm(*self._bells)

    @property
    def struck(self) -> int:
        asked = self._ground.place.stripe.control("GET", "faults")
        return sum(int(fault["hits"]) for fault in asked) + sum(moment.hits for moment in (*self._commits, *self._bells))

    def disarm(self) -> None:
        self._ground.place.stripe.control("DELETE", "faults")
        self._ground.postgres.arm()
        self._ground.redis.arm()


def freeze(ground: Ground, verb: str, runs: int, at_once: int = 3) -> Tally:
    """Workers stopped in the middle of their write; others take over and finish; then the first are woken."""
    place, done, slowest, fenced = ground.place, 0, 0.0, 0
    chosen: dict[Resident, str] = {}
    while done < runs:
        count = min(at_once, runs - done)
        # A crew that nobody replaces: the one of the ground would pick up what its frozen mates have in hand.
        folder = ground.folder / f"frozen-{verb}-{done}-{time.monotonic_ns()}"
        folder.mkdir()
        first = stage.Crew(tree=ground.crew.tree, environ=ground.crew.environ, folder=folder)
        try:
            fenced_now, seconds, these = _round(ground, first, verb, count)
        finally:
            first.dismiss()
        fenced += fenced_now
        slowest = max(slowest, seconds)
        chosen.update(these)
        done += count
    findings = oracle.judge(place, chosen)
    ground.choices.update(chosen)
    return Tally(point="F7", what=verb, runs=done, findings=findings, slowest=slowest, fenced=fenced)


def _round(ground: Ground, first: stage.Crew, verb: str, count: int) -> tuple[int, float, dict[Resident, str]]:
    place = ground.place
    residents = place.settle_in(*[verb] * count)
    for worker in ground.crew.alive():
        worker.process.send_signal(signal.SIGSTOP)
    try:
        frozen = first.start(*["actions"] * count, restart=False)
        until(lambda: len(first.logged("worker.ready")) == count, 60, "they are ready")
        rule = {"method": "POST", "path": "/v1/*", "kind": "slow", "seconds": 0.8, "times": count}
        place.stripe.control("POST", "faults", rule)
        for resident in residents:
            place.choose(resident, verb)
        until(lambda: sum(fault["hits"] for fault in place.stripe.control("GET", "faults")) >= count, 30, "all are writing")
        for worker in frozen:
            worker.process.send_signal(signal.SIGSTOP)
        place.stripe.control("DELETE", "faults")
    finally:
        for worker in ground.crew.alive():
            worker.process.send_signal(signal.SIGCONT)
    seconds = ground.settle(PATIENCE)
    for worker in frozen:
        worker.process.send_signal(signal.SIGCONT)
    until(lambda: not [claim for claim in first.claims() if claim["end"] == "killed"], 30, "the woken have let go")
    return len(first.logged("work.fenced")), seconds, dict.fromkeys(residents, verb)


def a_day_later(ground: Ground) -> Tally:
    """F23: killed after Stripe has done it, and when the next one comes, Stripe has forgotten the key: it must look, not send again."""
    place, began = ground.place, time.monotonic()
    [resident] = place.settle_in("discount")
    place.stripe.control("POST", "faults", {"method": "POST", "path": _ONE, "kind": "kill_after", "times": 1})
    place.choose(resident, "discount")
    until(lambda: any(fault["hits"] for fault in place.stripe.control("GET", "faults")), 30, "it is killed")
    place.stripe.control("POST", "clock", {"advance": 25 * 3600})
    with place.rt.transaction(place.workspace_id) as session:
        old = "update actions set call = jsonb_set(call, '{planned_at}', to_jsonb(cast(:then as text))) where subscription = :subscription"
        then = (place.rt.now() - timedelta(hours=25)).isoformat()
        session.execute(text(old), {"then": then, "subscription": resident.subscription})
    ground.settle(PATIENCE)
    place.stripe.control("DELETE", "faults")
    findings = oracle.judge(place, {resident: "discount"})
    return Tally(point="F23", what="a key that Stripe has forgotten", runs=1, findings=findings, slowest=time.monotonic() - began)


Ledger = tuple[int, tuple[str, ...], int]


def wake_early(ground: Ground) -> tuple[Ledger, Ledger, int]:
    """A worker is frozen in its write, another takes over and has learnt nothing yet when the first wakes: the ledger before and after.

    Also how many claims were fenced out. For a ground without workers of its own.
    """
    place = ground.place
    [resident] = place.settle_in("discount")
    environ = ground.crew.environ | {"HOLDFAST_LEASE_SECONDS": "2"}
    crew = stage.Crew(tree=ground.crew.tree, environ=environ, folder=ground.folder)
    try:
        [first] = crew.start("actions", restart=False)
        until(lambda: crew.logged("worker.ready"), 60, "it is ready")
        slow = {"method": "POST", "path": _ONE, "kind": "slow", "seconds": 1.3, "times": 1}
        place.stripe.control("POST", "faults", slow)
        place.choose(resident, "discount")
        until(lambda: any(fault["hits"] for fault in place.stripe.control("GET", "faults")), 30, "it is writing")
        first.process.send_signal(signal.SIGSTOP)
        # From here Stripe is busy for everybody else: the second worker claims, learns nothing, and puts the action off.
        place.stripe.control("DELETE", "faults")
        place.stripe.control("POST", "faults", {"path": _ONE, "kind": "lock_timeout"})
        [second] = crew.start("actions", restart=False)
        until(
            lambda: [claim for claim in crew.claims() if claim["pid"] == second.process.pid and claim["end"] == "Again"],
            30,
            "another has taken over",
        )
        second.process.kill()
        second.process.wait()
        before = _ledger(ground)
        first.process.send_signal(signal.SIGCONT)
        # The woken worker may claim anew, as anyone may: it is stopped before it is judged, and what its old claim did is looked at.
        time.sleep(2)
        first.process.kill()
        first.process.wait()
        return before, _ledger(ground), len(crew.logged("work.fenced"))
    finally:
        crew.dismiss()


def _ledger(ground: Ground) -> Ledger:
    """The ledger without what a new, rightful claim may add: the tries that Stripe answered, the states, the receipts."""
    with ground.place.rt.transaction(ground.place.workspace_id) as session:
        written = session.execute(text("select count(*) from attempts where step = 'write' and problem is null")).scalar_one()
        states = session.execute(text("select state from actions")).scalars().all()
        receipts = session.execute(text("select count(*) from receipts")).scalar_one()
        return int(written), tuple(states), int(receipts)


def _is_work_left(ground: Ground) -> bool:
    with ground.place.rt.transaction() as session:
        return session.execute(text("select 1 from work where kind = 'action' limit 1")).first() is not None
