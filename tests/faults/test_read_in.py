"""Workers die while an account of thousands of objects is read in: nothing is missing, and nothing is read from its beginning again."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connect_app import config, connections, migrations, runtime
from connect_app.modes import Mode
from connect_app.workspaces import openings
from jobs.backfill import lanes, stages
from sandbox.stripe import accounts, seed
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.server import Server
from sandbox.stripe.worlds import World, clone, new_id
from tests import make
from tests.faults import stage
from webhooks import mirror

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

# Thirty pages, made over two years.
EACH = 1000
COPIED = ("customer", "subscription", "invoice")
DAYS = 700
KILLS = 5

RUNS_AHEAD_OF_ITS_PAGES = stage.Edit(
    file="jobs/backfill/reading.py",
    old="        if items and (read := steps[0].read):\n",
    new=(
        "        connections.save_read_in(session, connection.id, progress.to_json())\n"
        "    time.sleep(0.4)\n"
        "    with rt.transaction(claim.tenant) as session:\n"
        "        if items and (read := steps[0].read):\n"
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is left when the read-in is over: per list what we hold and what Stripe has, and what was asked for more than once."""

    state: str
    held: dict[str, int]
    real: dict[str, int]
    pages: int
    again: int
    kills: int


def _populate(world: World) -> None:
    """So many copies of one of each kind, oldest first, as the lists want them."""
    for kind in COPIED:
        first = next(iter(world.all(kind)))
        newest = int(time.time())
        for place in range(EACH):
            world.put({**clone(first), "id": new_id(kind), "created": newest - int(DAYS * 86400 * (1 - place / EACH))})
        world.put(world.table(kind).pop(first["id"]))


@contextmanager
def _connected() -> Iterator[tuple[runtime.Runtime, LocalStripe, dict[str, str], str, str]]:
    """(runtime, local Stripe, environment for workers, workspace, connection) of an account that nobody has begun to read in."""
    port = stage.free_port()
    local = LocalStripe(base_url=f"http://127.0.0.1:{port}")
    seed.plant(local)
    account = local.seeded["account"]
    accounts.connect(local, account, False, "read_write")
    _populate(local.world(account, False))
    server = Server(local, "127.0.0.1", port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with stage.servers() as (database_url, redis_url, _):
        environ = make.environ(local) | {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        # Stretches of half a second, and a killed worker's work free again after one and a half.
        environ |= {"HOLDFAST_LEASE_SECONDS": "1.5", "HOLDFAST_SWEEP_SECONDS": "0.3"}
        rt = runtime.open_runtime(config.load(environ))
        migrations.upgrade(rt.engine)
        theirs = rt.stripe("test").account(account).account().value
        with rt.transaction() as session:
            opened = openings.create(session, account=theirs, mode=Mode.TEST, scope="read_write", now=rt.now(), ring=rt.ring, by="operator")
        local.requests.clear()
        try:
            yield rt, local, environ | {"PATH": "/usr/bin:/bin"}, opened.place.id, opened.connection_id
        finally:
            rt.close()
            server.shutdown()
            server.server_close()


def campaign(tmp_path: Path, kills: int, edits: tuple[stage.Edit, ...] = (), seed: int = 3, seconds: float = 90) -> Verdict:
    """Read the account in; whichever worker does it dies whenever some pages more were asked for, until so many have died."""
    chance = random.Random(seed)
    with _connected() as (rt, local, environ, workspace, connection):
        # As slow as the real one, so that death finds several pages under way.
        local.faults.add({"kind": "slow", "seconds": 0.2, "path": "/v1/*"})
        crew = stage.Crew(tree=stage.copy_tree(tmp_path / "tree", edits), environ=environ, folder=tmp_path)
        crew.start("upkeep", "upkeep", "upkeep")
        began, before, wait = time.monotonic(), 0, 3
        try:
            while (told := _read_in(rt, workspace, connection)).get("state") != "done" and time.monotonic() - began < seconds:
                if crew.kills < kills and len(_lists(local)) - before >= wait and _kill_the_reader(crew):
                    before, wait = len(_lists(local)), chance.randint(1, 7)
                time.sleep(0.02)
        finally:
            crew.dismiss()
        with rt.transaction(workspace) as session:
            counts = mirror.counts(session, connection)
        world = local.world(local.seeded["account"], False)
        asked = _lists(local)
        names = [one.name for one in stages.PLAIN]
        return Verdict(
            state=told["state"],
            held={name: counts[name] for name in names},
            real={name: len(list(world.all(name.removesuffix("s")))) for name in names},
            pages=len(asked),
            again=sum(Counter(asked).values()) - len(set(asked)),
            kills=crew.kills,
        )


def _kill_the_reader(crew: stage.Crew) -> bool:
    """SIGKILL whoever has the read-in in hand; whether anybody had."""
    held = {claim["pid"] for claim in crew.claims() if claim["kind"] == "read_in" and claim["end"] == "killed"}
    for worker in crew.alive():
        if worker.process.pid in held:
            worker.process.kill()
            crew.kills += 1
            return True
    return False


def _read_in(rt: runtime.Runtime, workspace: str, connection: str) -> dict[str, Any]:
    with rt.transaction(workspace) as session:
        found = connections.by_id(session, connection)
        assert found is not None
        return found.read_in


def _lists(local: LocalStripe) -> list[str]:
    """Every page of a list that was asked for so far."""
    paths = {f"/v1/{one.name}" for one in stages.STAGES}
    with local.lock:
        return [f"{call['path']} {sorted(call['params'].items())}" for call in local.requests if call["path"] in paths]


def test_a_read_in_whose_workers_are_killed_misses_nothing_and_repeats_only_what_was_under_way(tmp_path: Path) -> None:
    verdict = campaign(tmp_path, KILLS)
    assert verdict.state == "done", verdict
    assert verdict.held == verdict.real, verdict
    assert verdict.kills >= KILLS, verdict
    assert verdict.again <= verdict.kills * lanes.WIDTH, verdict
    # Thirty full pages, and an empty or half one for each stretch.
    assert verdict.pages - verdict.again < 80, verdict


def test_a_cursor_that_is_kept_before_its_page_is_caught(tmp_path: Path) -> None:
    # Five deaths may all miss the moment; ten do not.
    for chance in (3, 4):
        folder = tmp_path / str(chance)
        folder.mkdir()
        verdict = campaign(folder, KILLS, edits=(RUNS_AHEAD_OF_ITS_PAGES,), seed=chance)
        assert verdict.state == "done", verdict
        if verdict.held != verdict.real:
            return
    raise AssertionError(str(verdict))
