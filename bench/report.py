"""Writing down what was measured: a table to read, a list for programs, and with what it was done."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench import figures, servers
from bench.peers import packages
from bench.plan import Plan

FOLDER = servers.ROOT / "bench"
_OURS = ("granian", "gunicorn", "Flask", "SQLAlchemy", "psycopg", "rq", "stripe", "msgspec", "orjson")

_FAIR = """\
- **dj-stripe**: its own view, its settings' defaults, signature verified, gunicorn with 2 processes, connections kept open. What it
  reads from Stripe while it processes is answered at once by a stub on the same machine. Events are of 100 subscriptions over and over,
  so that on a machine with time to spare all are known to it before the first counted run.
  *Stores* leaves processing out by the callback that dj-stripe offers for that.
- **stripe-sync-engine**: `processWebhook` behind Node's own HTTP server, one process, ten connections, no reads of Stripe, 500
  subscriptions over and over: its best case.
- **Flask and RQ**: `stripe.Webhook.construct_event`, one job for each event, gunicorn with 4 processes. Its backlog is worked off by
  `rq worker-pool` with SimpleWorkers on a warm connection; each job keeps the subscription by one upsert and commits.
- **The route that does nothing** runs on the very server of the Procfile's `web` line, with another application in it.
- **Ours**: the Procfile's lines as they are, 8 connected accounts, 20,000 subscriptions.
- Everybody is given the same event of 5.1 KB, signed afresh, with an id of its own, over 32 connections. After a run to get warm come the
  counted ones, everybody in turn, each after a checkpoint; whoever does not run is idle. Medians are shown.
"""


def write(rows: Sequence[figures.Row], plan: Plan, house: servers.House, ceiling: float, minutes: float, folder: Path = FOLDER) -> None:
    """bench/results.md and bench/results.json."""
    (folder / "results.json").write_text(json.dumps([row.document() for row in rows], indent=2, ensure_ascii=False) + "\n")
    (folder / "results.md").write_text(document(rows, plan, house, ceiling, minutes))


def document(rows: Sequence[figures.Row], plan: Plan, house: servers.House, ceiling: float, minutes: float) -> str:
    """The report as Markdown."""
    shown = house.shown("server_version", "synchronous_commit", "fsync", "shared_buffers", "default_toast_compression")
    postgres = ", ".join(f"`{name}` {value}" for name, value in shown.items())
    valkey = house.redis.info("server")
    version = valkey.get("valkey_version") or valkey.get("redis_version")
    return "\n".join(
        [
            "# What was measured",
            "",
            f"`make bench{' QUICK=1' if plan.name == 'quick' else ''}` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {minutes:.0f} minutes, "
            f"commit {_commit()}. "
            f"Absolute numbers are this machine's on that day; the ratios are what counts.",
            "",
            *table(rows),
            "",
            "## How the peers were set up",
            "",
            _FAIR,
            "## What was not measured",
            "",
            "An hour of load: memory is looked at after the bursts. Analytics is the page as it is today. Where the machine had other work",
            "to do (see its load below), times in milliseconds say more about that than about anybody here.",
            "",
            "## With what",
            "",
            f"- {_machine()}",
            f"- PostgreSQL: {postgres}; Valkey {version} that keeps nothing on disk; all on sockets or loopback",
            f"- The load generator alone, against a server that only counts bytes: {ceiling:,.0f} events/s",
            f"- Python {platform.python_version()}; ours: {_versions()}",
            *[f"- {peer.folder}: {_peer_versions(peer)}" for peer in packages.ALL],
            f"- Sizes of this run: {plan}",
            "",
        ]
    )


def table(rows: Sequence[figures.Row]) -> list[str]:
    """The rows as a Markdown table."""
    words = {True: "yes", False: "**no**", None: "–"}
    lines = ["| what | ours | peer | ratio | reach | met | remark |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{figures.rounded(row.ratio):g}×"
        cells = [row.name, _figure(row.ours, row.unit), _figure(row.peer, row.unit), ratio, row.wanted, words[row.met], row.remark]
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return lines


def spoken(row: figures.Row) -> str:
    """One row for the terminal."""
    word = {True: "met   ", False: "MISSED", None: "  –   "}[row.met]
    ratio = "" if row.ratio is None else f" = {figures.rounded(row.ratio):g}×"
    peer = "" if row.peer is None else f" against {_figure(row.peer, row.unit)}"
    return f"{word}  {row.name}: {_figure(row.ours, row.unit)}{peer}{ratio} ({row.wanted})" + (f"  [{row.remark}]" if row.remark else "")


def _figure(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{figures.rounded(value):,g} {unit}" if abs(value) < 1e6 else f"{value:,.0f} {unit}"


def _machine() -> str:
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    total = next((int(line.split()[1]) / 1e6 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0.0)
    return f"{os.cpu_count()} × {model}, {total:.0f} GB, {platform.system()} {platform.release()}; load at the end {os.getloadavg()[0]:.1f}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _versions() -> str:
    found = []
    for name in _OURS:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _peer_versions(peer: packages.Peer) -> str:
    try:
        return ", ".join(line.replace("==", " ") for line in peer.versions())
    except OSError:
        return "missing"


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=servers.ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
