"""The arithmetic of a comparison: percentiles, medians, ratios, and whether what was to be reached has been."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class Reach(StrEnum):
    """Which way is better."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the results. `ours` and `peer` are in `unit`; `limit` is for the ratio where `of_ratio`, else for `ours` itself.

    `ours` or `peer` is None where it could not be measured; `remark` says why.
    """

    name: str
    unit: str
    ours: float | None
    peer: float | None = None
    reach: Reach
    limit: float
    of_ratio: bool = False
    remark: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours against the peer's; None where one of the two is missing or the peer's is nothing."""
        return None if self.ours is None or not self.peer else self.ours / self.peer

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None where that cannot be said."""
        value = self.ratio if self.of_ratio else self.ours
        if value is None:
            return None
        return value >= self.limit if self.reach is Reach.AT_LEAST else value <= self.limit

    @property
    def wanted(self) -> str:
        """What is to be reached, in a few words: `≥ 15×`, `≤ 12 ms`."""
        return f"{self.reach} {self.limit:g}{'×' if self.of_ratio else ' ' + self.unit}"

    def document(self) -> dict[str, object]:
        """The row as bench/results.json has it."""
        ratio = None if self.ratio is None else rounded(self.ratio)
        return {
            "name": self.name,
            "ours": None if self.ours is None else rounded(self.ours),
            "peer": None if self.peer is None else rounded(self.peer),
            "ratio": ratio,
            "reach": self.wanted,
            "met": self.met,
            "unit": self.unit,
            "remark": self.remark,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one burst of load came to: answers, errors (anything but 2xx), seconds, and milliseconds an answer took.

    `ended_at` is when it was over, in Unix seconds; 0 for the medians of several.
    """

    answered: int
    errors: int
    seconds: float
    p50: float
    p99: float
    ended_at: float = 0.0

    @property
    def rate(self) -> float:
        return self.answered / self.seconds

    @classmethod
    def of(cls, milliseconds: Sequence[float], errors: int, seconds: float, ended_at: float = 0.0) -> "Run":
        """A run whose answers took this long each; raises ValueError when nothing was answered."""
        ordered = sorted(milliseconds)
        p50, p99 = percentile(ordered, 50), percentile(ordered, 99)
        return cls(answered=len(ordered), errors=errors, seconds=seconds, p50=p50, p99=p99, ended_at=ended_at)

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> "Run":
        return cls(**json.loads(text))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the sorted values that at least `share` percent do not exceed; raises ValueError when there are none."""
    if not ordered:
        raise ValueError("nothing was measured")
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle of them, or half way between the two in the middle; raises ValueError when there are none."""
    if not values:
        raise ValueError("nothing was measured")
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def typical(runs: Sequence[Run]) -> Run:
    """Of several runs the medians, figure by figure."""
    return Run(
        answered=round(median([run.answered for run in runs])),
        errors=sum(run.errors for run in runs),
        seconds=median([run.answered for run in runs]) / median([run.rate for run in runs]),
        p50=median([run.p50 for run in runs]),
        p99=median([run.p99 for run in runs]),
    )


def rounded(value: float) -> float:
    """Three digits that mean something; a hundred and more without decimals."""
    if value == 0 or abs(value) >= 100:
        return float(round(value))
    return round(value, 2 - math.floor(math.log10(abs(value))))
