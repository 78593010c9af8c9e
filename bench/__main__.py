"""`python -m bench [--quick]`: install the peers, measure everything in one run, print the ratios, write bench/results.md and .json."""

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Callable

import structlog

from bench import figures, ours, plan, report, servers
from bench.peers import packages, running
from bench.rows import acknowledging, choosing, draining, pages, reading_in

_say = sys.stderr.write


def main(arguments: list[str]) -> int:
    """Exits 0 when everything could be measured, whatever the figures are; 1 when something failed."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="shorter runs, under five minutes")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="only these parts, printed and not written down")
    asked = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # every request in this process has a line
    size = plan.QUICK if asked.quick else plan.WHOLE
    begun = time.monotonic()
    missing: dict[str, str] = {}
    for peer in packages.ALL:
        _say(f"installing {', '.join(peer.wanted)} …\n")
        try:
            packages.install(peer)
        except packages.NotInstalled as problem:
            missing[peer.folder] = str(problem)
            _say(f"  missing: {problem}\n")
    rows: list[figures.Row] = []
    failed = 0

    def part(name: str, measure: Callable[[], list[figures.Row]]) -> None:
        nonlocal failed
        if asked.only and name not in asked.only:
            return
        _say(f"{time.monotonic() - begun:5.0f} s  {name} …\n")
        try:
            found = measure()
        except Exception:  # one part that fails takes no other with it; it is said, and the exit says so
            failed += 1
            _say(traceback.format_exc())
            return
        rows.extend(found)
        for row in found:
            sys.stdout.write(report.spoken(row) + "\n")
        sys.stdout.flush()

    with servers.opened() as house:
        ceiling = acknowledging.ceiling(house, 2.0)
        stripe, _ = running.stub(house)
        us = ours.opened(house, "ours", acknowledging.ACCOUNTS, stripe)
        engine: list[float | None] = [None]
        weights: list[figures.Row] = []

        def acknowledge() -> list[figures.Row]:
            found, engine[0] = acknowledging.measure(house, us, stripe, size, missing)
            return found

        def drain() -> list[figures.Row]:
            found, more = draining.measure(house, us, size, missing, engine[0])
            weights.extend(more)
            return found

        part("acknowledging", acknowledge)
        part("draining", drain)
        part("memory", lambda: weights)
        part("choosing", lambda: choosing.measure(house, size))
        part("backfill", lambda: reading_in.measure(house, size))
        part("pages", lambda: pages.measure(house, us, size))
        part("dashboard", lambda: pages.dashboard(us, size))
        us.rt.close()
        minutes = (time.monotonic() - begun) / 60
        if not asked.only:
            report.write(rows, size, house, ceiling, minutes)
    missed = sum(row.met is False for row in rows)
    _say(f"{minutes:.1f} minutes; {len(rows)} rows, {missed} missed, {failed} parts failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
