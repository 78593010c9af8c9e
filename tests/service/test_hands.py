"""The actions worker's hands: who waits for one slow account keeps no other customer waiting."""

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import text

from connect_app import config
from jobs import hands, queues, work, worker
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import Stage


@pytest.fixture
def stage(servers: Servers, local: LocalStripe) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local) as opened:
        yield opened


def test_an_action_that_waits_for_stripe_keeps_no_other_waiting(stage: Stage) -> None:
    slow, quick = stage.ask("monthly"), stage.ask("yearly")
    answers = threading.Event()
    stage.client.before.append(lambda _, url: _wait(answers) if slow.subscription in url else None)
    crew = hands.Hands(partial(work.perform, stage.rt), worker.HANDS[queues.ACTIONS])
    try:
        with stage.rt.transaction() as session:
            asked = text("select id from work where kind = 'action' order by row_id = :quick")
            for work_id in session.execute(asked, {"quick": quick.id}).scalars().all():
                crew.take(work_id)
        until = time.monotonic() + 15
        while stage.now(quick).state != "verified" and time.monotonic() < until:
            time.sleep(0.02)
        assert (stage.now(quick).state, stage.now(slow).state) == ("verified", "queued")
    finally:
        answers.set()
        crew.rest()
    assert stage.now(slow).state == "verified"


def _wait(answers: threading.Event) -> None:
    assert answers.wait(20)
