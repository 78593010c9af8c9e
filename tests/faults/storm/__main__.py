"""Storms of the issue's own size, and every bug they must catch: `python -m tests.faults.storm --seeds 20 --events 10000`."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults.storm import campaign, ground, planted


def main(arguments: list[str]) -> int:
    """Storm seed after seed, each on a ground of its own, then plant the bugs; 1 where a storm was not clean or a bug not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.storm", description="Storms over the mirror, and bugs they must catch.")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds; 0: only the bugs")
    parser.add_argument("--events", type=int, default=10_000, help="events of one storm")
    parser.add_argument("--bugs", type=int, default=1, help="how many seeds to try each bug with; 0: none")
    wanted = parser.parse_args(arguments)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="holdfast-storm-") as folder:
        for seed in range(wanted.first, wanted.first + wanted.seeds):
            place = Path(folder) / f"seed-{seed}"
            place.mkdir()
            with ground.ground(place) as here:
                [verdict] = campaign.storms(here, [seed], ground.large(wanted.events))
            _say(verdict.is_clean, str(verdict))
            failures += not verdict.is_clean
        for seed in range(wanted.first, wanted.first + wanted.bugs):
            for number, name in enumerate(planted.BUGS):
                place = Path(folder) / f"bug-{seed}-{number}"
                place.mkdir()
                is_caught, verdict = planted.strike(place, name, seed)
                _say(is_caught, f"caught: {name}" if is_caught else f"not caught: {name}\n{verdict}")
                failures += not is_caught
    return min(failures, 1)


def _say(is_good: bool, text: str) -> None:
    sys.stdout.write(f"{'ok  ' if is_good else 'FAIL'} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
