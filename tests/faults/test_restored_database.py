"""The database is an older copy: what was done since is unknown here, and shows at Stripe. Nothing is done a second time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from jobs import work
from tests.faults import stage, town
from tests.faults.campaign import oracle
from tests.faults.town import Resident, Town

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

VERBS = [*oracle.WANTED]


@pytest.fixture
def place() -> Iterator[Town]:
    with town.found() as place:
        yield place


def test_after_an_older_copy_is_restored_what_stripe_has_already_is_recognised_and_not_done_again(place: Town) -> None:
    # Of each verb one is planned, its calls frozen, when the copy is made, and one only asked for; one is done.
    verbs = [*VERBS, *VERBS, "discount"]
    chosen: dict[Resident, str] = dict(zip(place.settle_in(*verbs), verbs, strict=True))
    for resident, verb in chosen.items():
        place.choose(resident, verb)
    whose = {action.subscription: action.id for action in place.actions()}
    ids = [whose[resident.subscription] for resident in chosen]
    begun, known = ids[: len(VERBS)], ids[-1:]
    _run(place, known)
    _stop_before_the_write(place, begun)
    with _copied(place):
        _run(place, ids)
        assert {action.state for action in place.actions()} == {"verified"}
        before = _effects(place)
    states = Counter(action.state for action in place.actions())
    assert states == {"verified": 1, "prechecked": len(VERBS), "queued": len(VERBS)}
    _a_day_later(place)
    _run(place, ids)
    assert _effects(place) == before
    found = oracle.judge(place, chosen)
    assert found.is_clean, str(found)


def _run(place: Town, ids: list[str]) -> None:
    with place.rt.transaction() as session:
        rows = session.execute(text("select id from work where kind = 'action' and row_id = any(:ids)"), {"ids": ids}).scalars().all()
    for row in rows:
        for _ in range(10):
            # What has been tried before waits for its time, which chance decides.
            with place.rt.transaction() as session:
                session.execute(text("update work set due_at = :now where id = :id"), {"id": row, "now": place.rt.now()})
            if not isinstance(work.perform(place.rt, row), work.Again):
                break


def _stop_before_the_write(place: Town, ids: list[str]) -> None:
    """Stripe takes nothing from us: what was read and planned is kept, and waits."""
    place.stripe.control("POST", "faults", {"method": "POST", "path": "/v1/*", "kind": "lock_timeout"})
    with place.rt.transaction() as session:
        rows = session.execute(text("select id from work where kind = 'action' and row_id = any(:ids)"), {"ids": ids}).scalars().all()
    for row in rows:
        assert isinstance(work.perform(place.rt, row), work.Again)
    place.stripe.control("DELETE", "faults")


def _a_day_later(place: Town) -> None:
    """Stripe has forgotten our keys, and recognises nothing for us."""
    place.stripe.control("POST", "clock", {"advance": 25 * 3600})
    with place.rt.transaction(place.workspace_id) as session:
        old = "update actions set call = jsonb_set(call, '{planned_at}', to_jsonb(cast(:then as text))) where state = 'prechecked'"
        session.execute(text(old), {"then": (place.rt.now() - timedelta(hours=25)).isoformat()})


def _effects(place: Town) -> list[tuple[str, str]]:
    return sorted((str(row["subscription"]), str(row["kind"])) for row in place.stripe.control("GET", "effects") if row["source"] == "api")


@contextmanager
def _copied(place: Town) -> Iterator[None]:
    """A copy is made of the database as it is, and in the end takes its place."""
    postgres, name = stage.postgres(), urlsplit(place.environ["DATABASE_URL"]).path.removeprefix("/")
    _alone(place, name)
    postgres.create_database(f"{name}_copy", name)
    yield
    _alone(place, name)
    postgres.create_database(name, f"{name}_copy")


def _alone(place: Town, name: str) -> None:
    """PostgreSQL copies a database only while nobody is in it."""
    place.rt.engine.dispose()
    with stage.postgres().admin() as connection:
        connection.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", (name,))
