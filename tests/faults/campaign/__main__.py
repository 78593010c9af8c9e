"""The campaigns at full size, and every bug they must catch: `python -m tests.faults.campaign kills storm silence bugs`."""

import argparse
import logging
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import structlog

from tests.faults.campaign import planted, points, silence, storming
from tests.faults.campaign.ground import ground

PARTS = ("kills", "storm", "silence", "bugs")


def main(arguments: list[str]) -> int:
    """Run the parts that are named, print their tables; 1 where anything was twice, lost or stuck, or a bug not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them where none is named")
    parser.add_argument("--runs", type=int, default=25, help="of each moment, for each verb and call")
    parser.add_argument("--points", nargs="*", choices=[*points.POINTS], default=[*points.POINTS], help="the moments, where not all")
    parser.add_argument("--people", type=int, default=storming.FULL.people, help="who choose in the storm")
    parser.add_argument("--seed", type=int, default=storming.FULL.seed)
    wanted = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    failures = 0
    with tempfile.TemporaryDirectory(prefix="holdfast-campaign-") as folder:
        for part in wanted.parts or PARTS:
            began = time.monotonic()
            place = Path(folder) / part
            place.mkdir()
            if part == "kills":
                failures += _kills(place, wanted.points, wanted.runs)
            elif part == "storm":
                pace = storming.FULL.seconds / storming.FULL.people
                failures += _storm(place, replace(storming.FULL, people=wanted.people, seconds=wanted.people * pace, seed=wanted.seed))
            elif part == "silence":
                failures += _silence(place)
            else:
                failures += _bugs(place)
            _say(f"{part}: {time.monotonic() - began:.0f} s\n")
    return min(failures, 1)


def _kills(folder: Path, moments: list[str], runs: int) -> int:
    _say(points.HEAD)
    total = failures = 0
    with ground(folder) as place:
        for point in moments:
            for tally in points.strike(place, point, points.VERBS, runs):
                _say(tally.row())
                total += tally.runs
                failures += not tally.is_clean
        last = points.a_day_later(place)
    _say(last.row())
    _say(f"{total} moments, {len(place.choices)} choices")
    return failures + (not last.is_clean)


def _storm(folder: Path, scale: storming.Scale) -> int:
    with ground(folder, is_watched=False) as place:
        verdict = storming.rage(place, scale)
    _say(str(verdict))
    return not verdict.is_clean


def _silence(folder: Path) -> int:
    failures = 0
    with silence.place(folder) as place:
        for what in silence.FAULTS:
            tally = silence.choose(place, what, people=500, seconds=60)
            _say(str(tally))
            failures += not tally.is_clean
    return failures


def _bugs(folder: Path) -> int:
    failures = 0
    for number, (name, bug) in enumerate(planted.BUGS.items()):
        place = folder / str(number)
        place.mkdir()
        found = planted.strike(place, name)
        failures += not found
        _say(f"{'caught' if found else 'MISSED':<7} {name:<56} by {bug.catcher}: {' '.join(found.split())[:110]}")
    return failures


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
