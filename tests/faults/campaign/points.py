"""The exact moments at which a worker dies, or is frozen past its lease: F1 to F5 and F7 of the fault matrix."""

import signal
import time
from dataclasses import dataclass
from itertools import cycle, islice

from sqlalchemy import text

from tests.faults import middlemen, stage
from tests.faults.campaign import oracle
from tests.faults.campaign.ground import Ground, until

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
_PATIENCE = 90.0


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
        return self.findings.is_clean and set(self.findings.states) == {"verified"} and self.slowest < _PATIENCE

    def row(self) -> str:
        """A line of the table."""
        found = self.findings
        wrong = len(found.lost) + len(found.astray)
        numbers = f"{self.runs:>5} {len(found.twice):>6} {wrong:>5} {len(found.stuck):>6} {self.slowest:>7.1f}"
        return f"{self.point:<3} {self.what:<34} {numbers}" + ("" if self.is_clean else f"\n{found}")


HEAD = f"{'':<3} {'':<34} {'runs':>5} {'twice':>6} {'lost':>5} {'stuck':>6} {'slowest':>7}"


def strike(ground: Ground, point: str, verbs: tuple[str, ...], runs: int) -> list[Tally]:
    """Each of these verbs, and of a plan with several calls each call, `runs` times at this point."""
    if point == "F7":
        return [freeze(ground, verb, runs) for verb in verbs]
    tallies = []
    for verb in verbs:
        # Between its calls, too: dying before the second is not dying before the first.
        for path in _CALLS.get(verb, (_ONE,)) if point in ("F1", "F2") else ("",):
            tallies.append(_kill(ground, point, [verb] * runs, path, runs))
    return tallies


def strike_once(ground: Ground, point: str) -> Tally:
    """A customer of each verb, at the same time, and as many deaths."""
    if point == "F7":
        return freeze(ground, "discount", 1)
    return _kill(ground, point, list(VERBS), "/v1/*", len(VERBS))


def _kill(ground: Ground, point: str, verbs: list[str], path: str, runs: int) -> Tally:
    place = ground.place
    residents = place.settle_in(*verbs)
    moments: list[middlemen.Strike] = []
    if point in ("F1", "F2"):
        kind = "kill_before" if point == "F1" else "kill_after"
        place.stripe.control("POST", "faults", {"method": "POST", "path": path, "kind": kind, "times": runs})
    elif point in ("F3", "F4"):
        marks = list(islice(cycle(_TRANSACTIONS), runs))
        make = middlemen.commit_asked if point == "F3" else middlemen.commit_done
        moments = [make(mark, marks.count(mark)) for mark in dict.fromkeys(marks)]
        ground.postgres.arm(*moments)
    else:
        moments = [middlemen.Strike(what=b"successful_job_count", times=runs)]
        ground.redis.arm(*moments)
    for resident, verb in zip(residents, verbs, strict=True):
        place.choose(resident, verb)
    chosen = {resident: verb for resident, verb in zip(residents, verbs, strict=True)}
    ground.choices.update(chosen)

    def struck() -> int:
        return sum(fault["hits"] for fault in place.stripe.control("GET", "faults")) + sum(moment.hits for moment in moments)

    slowest = ground.settle(_PATIENCE)
    # The last transaction and the acknowledgment come after the end that the customer sees.
    end = time.monotonic() + 20
    while (struck() < runs or _is_work_left(ground)) and time.monotonic() < end:
        time.sleep(0.05)
    hits = struck()
    place.stripe.control("DELETE", "faults")
    ground.postgres.arm()
    ground.redis.arm()
    what = f"{verbs[0] if len(set(verbs)) == 1 else 'each verb'} {path}".strip()
    findings = oracle.judge(place, chosen)
    if _is_work_left(ground):
        findings.stuck.append("work is left in the table")
    return Tally(point=point, what=what, runs=hits, findings=findings, slowest=slowest)


def freeze(ground: Ground, verb: str, runs: int, at_once: int = 3) -> Tally:
    """Workers stopped in the middle of their write; others take over and finish; then the first are woken."""
    place, done, slowest, fenced = ground.place, 0, 0.0, 0
    chosen = {}
    ground.crew.environ["HOLDFAST_LEASE_SECONDS"] = "4"
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


def _round(ground: Ground, first: stage.Crew, verb: str, count: int) -> tuple[int, float, dict]:  # type: ignore[type-arg]
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
    seconds = ground.settle(_PATIENCE)
    for worker in frozen:
        worker.process.send_signal(signal.SIGCONT)
    until(lambda: not [claim for claim in first.claims() if claim["end"] == "killed"], 30, "the woken have let go")
    return len(first.logged("work.fenced")), seconds, {resident: verb for resident in residents}


def _is_work_left(ground: Ground) -> bool:
    with ground.place.rt.transaction() as session:
        return session.execute(text("select 1 from work where kind = 'action' limit 1")).first() is not None
