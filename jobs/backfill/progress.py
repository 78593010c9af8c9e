"""How far a read-in has come: what is stored with the connection, and what may truthfully be said of the time it still takes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from connect_app.models.base import Json
from jobs.backfill import lanes, stages
from jobs.backfill.lanes import Lane

# A rate from fewer objects than these is chance.
_TELLING = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A read-in under way, as it is stored after every page.

    `as_of` is Stripe's time when it began, `far` the second the account was created, `stage_at` when the present list was begun and
    `read_at` when it was last added to (both ours). `cancellations` counts ended subscriptions of the last 24 months.
    """

    stage: str
    lanes: tuple[Lane, ...]
    counts: Mapping[str, int]
    cancellations: int
    as_of: datetime
    far: int
    started_at: datetime
    stage_at: datetime
    read_at: datetime

    def to_json(self, state: str = "running", finished_at: datetime | None = None) -> Json:
        """What `connections.read_in` keeps."""
        return {
            "state": state,
            "stage": self.stage,
            "lanes": [lane.to_json() for lane in self.lanes],
            "counts": dict(self.counts),
            "cancellations": self.cancellations,
            "as_of": self.as_of.isoformat(),
            "far": self.far,
            "started_at": self.started_at.isoformat(),
            "stage_at": self.stage_at.isoformat(),
            "read_at": self.read_at.isoformat(),
            "finished_at": None if finished_at is None else finished_at.isoformat(),
            "error": None,
        }


def begun(*, as_of: datetime, far: int, now: datetime) -> Progress:
    """A read-in that has read nothing yet."""
    return Progress(
        stage=stages.NAMES[0],
        lanes=(Lane(),),
        counts={},
        cancellations=0,
        as_of=as_of,
        far=far,
        started_at=now,
        stage_at=now,
        read_at=now,
    )


def from_json(stored: Json) -> Progress | None:
    """A read-in under way as it was stored; None where none has begun."""
    if stored.get("as_of") is None:
        return None
    return Progress(
        stage=stored["stage"],
        lanes=tuple(lanes.from_json(stored["lanes"])),
        counts=stored["counts"],
        cancellations=stored["cancellations"],
        far=stored["far"],
        **{name: datetime.fromisoformat(stored[name]) for name in ("as_of", "started_at", "stage_at", "read_at")},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A connection's read-in in words and numbers; `stage` counts finished stages of `stages`.

    `seconds_left` is of the present list only, and None while nobody could say: Stripe gives no totals. `is_last` when nothing follows
    that list. `share` is the part of it that is read, under the same reserve.
    """

    state: str
    stage: int
    stages: int
    doing: str
    read: int
    cancellations: int
    per_second: float | None
    share: float | None
    seconds_left: float | None
    is_last: bool
    finished_at: datetime | None
    error: str | None

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "failed")

    @property
    def position(self) -> float:
        """How far a bar goes, of `stages`: whole lists, and the part of the present one where that can be told."""
        return self.stage + (self.share or 0.0)

    @property
    def sentence(self) -> str:
        """What has been read and how long it still takes, as far as that can be said."""
        if not self.read:
            return "Starting"
        parts = [f"{self.read:,} objects so far"]
        if self.per_second is not None:
            parts.append(f"{self.per_second:,.0f} a second")
        if self.seconds_left is not None:
            parts.append(f"{_roughly(self.seconds_left)} left" + ("" if self.is_last else f" for {self.doing}"))
        return ", ".join(parts)


def tell(stored: Json) -> Told:
    """The read-in that `connections.read_in` keeps, for a page or a terminal."""
    state, names = str(stored.get("state", "waiting")), stages.NAMES
    under_way = from_json(stored)
    counts = stored.get("counts") or {}
    stage = under_way.stage if under_way else names[0]
    left = _left(under_way) if under_way and state == "running" else None
    rate = _rate(under_way) if under_way and state == "running" else None
    here = counts.get(stage, 0)
    return Told(
        state=state,
        stage=len(names) if state == "done" else names.index(stage),
        stages=len(names),
        doing=stage if under_way else "account",
        read=sum(int(count) for count in counts.values()),
        cancellations=int(stored.get("cancellations") or 0),
        per_second=rate,
        share=None if left is None or not here else here / (here + left),
        seconds_left=None if left is None or rate is None else left / rate,
        is_last=stage == names[-1],
        finished_at=datetime.fromisoformat(stored["finished_at"]) if stored.get("finished_at") else None,
        error=stored.get("error"),
    )


def _left(progress: Progress) -> float | None:
    """How many objects of the present list are still to come; None where a stretch of it has told too little of itself."""
    if progress.counts.get(progress.stage, 0) < _TELLING:
        return None
    return _sum(lane.rest(progress.far) for lane in progress.lanes)


def _rate(progress: Progress) -> float | None:
    """Objects a second in the present list, pauses included: whoever was away for an hour is an hour slower."""
    count, seconds = progress.counts.get(progress.stage, 0), (progress.read_at - progress.stage_at).total_seconds()
    return count / seconds if count >= _TELLING and seconds > 0 else None


def _sum(parts: Iterable[float | None]) -> float | None:
    total = 0.0
    for part in parts:
        if part is None:
            return None
        total += part
    return total


def _roughly(seconds: float) -> str:
    if seconds < 90:
        return "about a minute"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} minutes"
    return f"about {round(seconds / 3600)} hours"
