"""How a list is read by several at once: stretches of its time, each with a cursor of its own, and what is left of each."""

from dataclasses import asdict, dataclass, replace

from connect_app.models.base import Json

# Requests under way at once: at Stripe's usual 0.3 s a page, what it takes to use the whole rate.
WIDTH = 8
# A stretch is divided when it is expected to hold at least so many objects more: ten pages.
_WORTH_DIVIDING = 1000.0
# Before this share of its time is read, what a stretch says about itself is chance.
_TELLING = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One stretch of a list, read from its newest object down. Times are Stripe's Unix seconds.

    It holds what was created from `low` (None: since ever) until before `high` (None: until now). `cursor` is the last id read and `at`
    its time; `top` is where counting began and `read` how many were counted since; `guess` is what a lane that has read nothing is
    expected to hold, None where nobody knows.
    """

    low: int | None = None
    high: int | None = None
    cursor: str | None = None
    at: int | None = None
    top: int | None = None
    read: int = 0
    guess: float | None = None

    @property
    def created(self) -> dict[str, int] | None:
        """The bounds, as the gateway takes them."""
        bounds = {name: bound for name, bound in (("gte", self.low), ("lt", self.high)) if bound is not None}
        return bounds or None

    def advanced(self, last_id: str, oldest: int | None, count: int, now: int) -> "Lane":
        """After one page more, whose last object has this id and was created at `oldest`."""
        top = self.top if self.top is not None else self.high if self.high is not None else now
        return replace(self, cursor=last_id, at=self.at if oldest is None else oldest, top=top, read=self.read + count)

    def without_cursor(self) -> "Lane":
        """From the second of the last object on, where the cursor cannot be used any more because its object was deleted."""
        high = self.high if self.at is None else self.at + 1
        return replace(self, cursor=None, high=high)

    def rest(self, far: int) -> float | None:
        """How many objects it should still hold, by those it has read; None while too little is read to say. `far` is the oldest time."""
        if self.at is None or self.top is None:
            return self.guess
        left, passed = max(0, self.at - self._oldest(far)), max(1, self.top - self.at)
        if passed < (left + passed) * _TELLING:
            return self.guess
        return self.read * left / passed

    def expected(self, far: int) -> float:
        """Like `rest`, but always a number: dividing on a poor guess costs one empty page, and nothing else."""
        if self.at is None or self.top is None:
            return self.guess or 0.0
        return self.read * max(0, self.at - self._oldest(far)) / max(1, self.top - self.at)

    def halves(self, far: int) -> "tuple[Lane, Lane] | None":
        """Itself down to the middle of its time, and the older half as a lane of its own; None where a second reader finds too little."""
        newest, oldest, expected = self.high if self.at is None else self.at, self._oldest(far), self.expected(far)
        if newest is None or newest - oldest < 2 or expected < _WORTH_DIVIDING:
            return None
        middle = (oldest + newest) // 2
        return replace(self, low=middle, guess=expected / 2), Lane(low=self.low, high=middle, guess=expected / 2)

    def _oldest(self, far: int) -> int:
        return far if self.low is None else max(far, self.low)

    def to_json(self) -> Json:
        """As it is stored with the connection."""
        return asdict(self)


def from_json(stored: object) -> list[Lane]:
    """The lanes as they were stored; one over the whole list where none were."""
    if not isinstance(stored, list):
        return [Lane()]
    names = set(Lane.__dataclass_fields__)
    return [Lane(**{name: value for name, value in lane.items() if name in names}) for lane in stored]


def divided(lane: Lane, far: int, room: int) -> list[Lane]:
    """The lane as at most `room` lanes, the fullest halved again and again while that is worth it."""
    parts = [lane]
    while len(parts) < room:
        fullest = max(parts, key=lambda part: part.expected(far))
        halves = fullest.halves(far)
        if halves is None:
            break
        parts.remove(fullest)
        parts += halves
    return parts
