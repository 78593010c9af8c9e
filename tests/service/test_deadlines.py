"""What must be done before a renewal goes before what was asked for earlier, and is left to a person where the renewal was quicker."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time
from sqlalchemy import text

from connect_app import config
from connect_app.models import Action
from connect_app.stripe_gateway import objects
from jobs import queues, turns, work
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import Stage
from webhooks import projections

BACKLOG = 100


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local) as opened:
        yield opened


def backlog(stage: Stage, size: int = 4) -> list[str]:
    """So many actions that wait, whose renewals are weeks away; the ids of their work."""
    renews = stage.rt.now() + timedelta(days=20)
    for number in range(size):
        intent = {"when": "period_end", "renews_at": renews.isoformat()}
        stage.ask(intent=intent, session_id=None, customer="cus_none", subscription=f"sub_none{number}", choice_id=None)
    with stage.rt.transaction() as session:
        return list(session.execute(text("select id from work where kind = 'action' order by due_at")).scalars())


def hurried(stage: Stage, shape: str, **left: float) -> Action:
    renews = stage.rt.now() + timedelta(**left)
    return stage.ask(shape, intent={"when": "period_end", "renews_at": renews.isoformat()})


def states(stage: Stage) -> dict[str, int]:
    with stage.rt.transaction(stage.workspace_id) as session:
        rows = session.execute(text("select state, count(*) as many from actions group by state"))
        return {row.state: row.many for row in rows}


def test_of_a_hundred_that_wait_the_one_that_renews_in_a_minute_goes_first(stage: Stage) -> None:
    waiting = backlog(stage, BACKLOG)
    later, sooner = hurried(stage, "yearly", minutes=5), hurried(stage, "monthly", minutes=1)
    seen: list[str] = []
    stage.client.before.append(lambda _, url: seen.append(url.rpartition("/")[2].partition("?")[0]))
    # The bell that is heard is that of the action that was asked for first.
    work.heed(stage.rt, waiting[0])
    assert (stage.now(sooner).state, stage.now(later).state) == ("verified", "verified")
    asked = [last for last in dict.fromkeys(seen) if last != "create_preview"]
    assert asked == [sooner.subscription, later.subscription, "sub_none0"]
    assert states(stage) == {"verified": 2, "manual": 1, "queued": BACKLOG - 1}


def test_without_bells_the_nearest_renewal_is_first_in_line_too(stage: Stage) -> None:
    waiting = backlog(stage)
    first = hurried(stage, "monthly", minutes=1)
    now = stage.rt.now() + timedelta(seconds=2)
    with stage.rt.transaction() as session:
        due = [work_id for work_id, _ in turns.due(session, now, queues.ACTIONS, limit=4, waiting=1, is_shared=True)]
        alone = [work_id for work_id, _ in turns.due(session, now, queues.ACTIONS, limit=9, waiting=1)]
        row = session.execute(text("select id from work where row_id = :id and kind = 'action'"), {"id": first.id}).scalar_one()
    assert due == [row, *waiting[:3]]
    assert alone == [row, *waiting]


@pytest.mark.parametrize("left", [{"hours": 2}, {"minutes": -1}])
def test_what_is_not_pressing_or_too_late_takes_its_turn(stage: Stage, left: dict[str, float]) -> None:
    waiting = backlog(stage)
    patient = hurried(stage, "monthly", **left)
    work.heed(stage.rt, waiting[0])
    assert stage.now(patient).state == "queued"


def test_the_deadline_of_what_names_none_is_the_renewal_that_the_mirror_knows(stage: Stage) -> None:
    shown = objects.read_subscription(stage.stripe_says(stage.shapes["monthly"][1]))
    with stage.rt.transaction(stage.workspace_id) as session:
        projections.apply_read(session, stage.workspace_id, stage.connection_id, shown, stage.rt.now())
    action = stage.ask("monthly", "undo_cancel")
    with stage.rt.transaction() as session:
        kept = session.execute(text("select deadline from work where row_id = :id"), {"id": action.id}).scalar_one()
    assert kept == shown.current_period_end


def test_a_renewal_between_choice_and_write_is_left_to_a_person_with_its_invoice(stage: Stage, local: LocalStripe) -> None:
    told = stage.stripe_says(stage.shapes["monthly"][1])["items"]["data"][0]["current_period_end"]
    renews = datetime.fromtimestamp(told, UTC)
    for when in ("period_end", "now"):
        action = stage.ask("monthly", intent={"when": when, "renews_at": renews.isoformat()})
        if when == "period_end":
            local.clock.advance(int((renews - datetime.now(UTC)).total_seconds()) + 7200)
        done = stage.run(action)
        invoice = stage.stripe_says(action.subscription)["latest_invoice"]
        assert (done.state, done.code) == ("manual", "renewed_meanwhile")
        assert done.message is not None
        assert str(invoice) in done.message
        assert not {"cancel", "cancel_at_period_end"} & set(stage.effects(action.subscription))
        assert stage.stripe_says(action.subscription)["status"] == "active"


def test_time_that_stands_still_in_tests_moves_the_hurry_too(stage: Stage) -> None:
    waiting = backlog(stage)[:1]
    first = hurried(stage, "monthly", hours=3)
    with freeze_time(stage.rt.now() + timedelta(hours=2, minutes=30), tick=True):
        work.heed(stage.rt, waiting[0])
    assert stage.now(first).state == "verified"
