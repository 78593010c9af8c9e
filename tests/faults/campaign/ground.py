"""What a campaign is fought over: a town, and workers that reach its servers through middlemen."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sqlalchemy.exc import SQLAlchemyError

from tests.faults import middlemen, stage, town
from tests.faults.campaign import oracle

LEASE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The town, its workers, who stands between them and their servers, and what was chosen in it."""

    place: town.Town
    crew: stage.Crew
    postgres: middlemen.Middleman
    redis: middlemen.Middleman
    folder: Path
    lease: float = LEASE
    choices: dict[town.Resident, str] = field(default_factory=dict)

    def unsettled(self) -> list[Any]:
        return [row for row in self.place.actions() if row.state not in oracle.SETTLED]

    def is_settled(self) -> bool:
        """Whether every action has come to an end; of a database that is away nobody knows."""
        try:
            return not self.unsettled()
        except SQLAlchemyError:
            return False

    def settle(self, seconds: float) -> float:
        """Wait until every action has come to an end, or for so long; gives how long it took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds and not self.is_settled():
            time.sleep(0.1)
        return time.monotonic() - began


@contextmanager
def ground(
    folder: Path, edits: tuple[stage.Edit, ...] = (), *, workers: int = 3, lease: float = LEASE, is_watched: bool = True
) -> Iterator[Ground]:
    """A town with nobody in it, and workers for actions from a tree with these bugs.

    `is_watched`: middlemen stand between the workers and their servers. They cost much of this process's time, and so of everybody's.
    """
    with town.found(lease=lease) as place:
        parts = urlsplit(place.environ["DATABASE_URL"])
        folder_of_socket = parse_qs(parts.query)["host"][0]
        with (
            middlemen.between(f"{folder_of_socket}/.s.PGSQL.5432") as postgres,
            middlemen.between(urlsplit(place.environ["REDIS_URL"]).path) as redis,
        ):
            through = {
                "DATABASE_URL": f"postgresql://{parts.username}@127.0.0.1:{postgres.port}{parts.path}?sslmode=disable&gssencmode=disable",
                "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            }
            tree = stage.copy_tree(folder / "tree", edits)
            crew = stage.Crew(tree=tree, environ=place.environ | (through if is_watched else {}), folder=folder)
            try:
                crew.start(*["actions"] * workers)
                until(lambda: len(crew.logged("worker.ready")) >= workers, 60, "the workers are ready")
                yield Ground(place=place, crew=crew, postgres=postgres, redis=redis, folder=folder, lease=lease)
            finally:
                crew.dismiss()


def until(true: Callable[[], Any], seconds: float, what: str) -> None:
    """Wait for a state."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)
