"""How long and how large a run is: the whole, or the quick one of under five minutes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sizes of one run. Each burst of load is repeated `runs` times, ours and the peers' in turn, and medians are what counts."""

    name: str
    runs: int
    seconds: float
    backlog: int
    rq_backlog: int
    choices: int
    choice_backlog: int
    mirrored: tuple[int, ...]
    workspaces: tuple[int, int]
    pages_seconds: float
    read_in_seconds: float
    read_in_objects: int
    sessions: int


QUICK = Plan(
    name="quick",
    runs=3,
    seconds=1.5,
    backlog=20_000,
    rq_backlog=400,
    choices=20,
    choice_backlog=10_000,
    mirrored=(1_000, 20_000),
    workspaces=(10, 500),
    pages_seconds=2.0,
    read_in_seconds=20.0,
    read_in_objects=20_000,
    sessions=50_000,
)
WHOLE = Plan(
    name="whole",
    runs=3,
    seconds=5.0,
    backlog=120_000,
    rq_backlog=3_000,
    choices=120,
    choice_backlog=100_000,
    mirrored=(1_000, 100_000, 1_000_000),
    workspaces=(10, 10_000),
    pages_seconds=10.0,
    read_in_seconds=40.0,
    read_in_objects=1_000_000,
    sessions=1_000_000,
)
