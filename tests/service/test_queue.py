"""The manual queue tells the team of each request as it becomes pressing, each time once, and not of what is settled."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from freezegun import freeze_time
from sqlalchemy import select, text, update

from connect_app import config
from connect_app.models import Action, Delivery
from jobs import actions, queues, reminders, work
from sandbox.stripe.local import LocalStripe
from tests import make
from tests.conftest import Servers
from tests.service import ledgers
from tests.service.ledgers import Stage

OWNER, ADMIN, EDITOR = "owner@fernhill.example", "admin@fernhill.example", "editor@fernhill.example"


@pytest.fixture(params=["live"])
def stage(servers: Servers, local: LocalStripe, request: pytest.FixtureRequest) -> Iterator[Stage]:
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    with ledgers.stage(settings, local, mode=request.param) as opened:
        for email, role in ((OWNER, "owner"), (ADMIN, "admin"), (EDITOR, "editor")):
            opened.owner(email, role)
        yield opened


def waits(stage: Stage, *, renews: datetime | None, number: int = 0, code: str = "unknown_subscription") -> Action:
    """A request that a person has to see to, due with this renewal."""
    action = stage.ask(customer=f"cus_{number}", subscription=f"sub_none{number}", state="requested", code=code)
    with stage.rt.transaction(stage.workspace_id) as session:
        session.execute(update(Action).where(Action.id == action.id).values(due_on=renews))
    return action


def days(stage: Stage, start: datetime, count: int) -> list[tuple[int, str, str]]:
    """What the team was sent, by the hour in which it was: (day, whom, subject). Looked at every six hours, as a worker would."""
    sent: list[tuple[int, str, str]] = []
    known = {letter.id for letter in letters(stage)}
    for step in range(count * 4):
        with freeze_time(start + timedelta(hours=step * 6, minutes=2), tick=True):
            work.drain(stage.rt, queues.UPKEEP)
        for letter in letters(stage):
            if letter.id not in known:
                known.add(letter.id)
                sent.append((step // 4, letter.payload["to"], letter.payload["subject"]))
    return sent


def letters(stage: Stage) -> list[Delivery]:
    with stage.rt.transaction(stage.workspace_id) as session:
        rows = select(Delivery).where(Delivery.topic.like("queue/%")).order_by(Delivery.id)
        return list(session.execute(rows).scalars())


def test_owners_hear_at_once_before_the_renewal_and_on_its_day_and_admins_once_it_has_passed(stage: Stage) -> None:
    start = stage.rt.now()
    waits(stage, renews=start + timedelta(days=10, hours=3))
    assert days(stage, start, 14) == [
        (0, OWNER, "A request waits for your team"),
        (7, OWNER, "A request waits for your team"),
        (9, OWNER, "A request waits for your team"),
        (10, OWNER, "A request waits for your team, 1 overdue"),
        (10, ADMIN, "A request waits for your team, 1 overdue"),
    ]
    first = letters(stage)[0].payload["text"]
    assert "sub_none0 of cus_0" in first
    assert "renews on" in first
    assert "/queue?mode=live" in first


@pytest.mark.parametrize("how", ["close", "retry"])
def test_what_is_settled_is_told_of_no_more_and_its_customer_has_a_last_letter(stage: Stage, how: str) -> None:
    start = stage.rt.now()
    action = waits(stage, renews=start + timedelta(days=10))
    with stage.rt.transaction(stage.workspace_id) as session:
        if how == "close":
            assert actions.close(session, stage.workspace_id, action.id, stage.rt.now(), "usr_1")
        else:
            assert actions.retry(session, stage.workspace_id, action.id, stage.rt.now(), "usr_1")
    assert days(stage, start, 12) == []
    if how == "close":
        with stage.rt.transaction(stage.workspace_id) as session:
            last = session.execute(select(Delivery).where(Delivery.topic == f"action/{action.id}/settled")).scalar_one()
        assert last.payload["subject"] == "Your request has been closed"


def test_many_at_once_are_one_letter_and_the_next_one_tells_only_what_is_new(stage: Stage) -> None:
    start = stage.rt.now()
    for number in range(30):
        waits(stage, renews=start + timedelta(days=20), number=number)
    assert days(stage, start, 1) == [(0, OWNER, "30 requests wait for your team")]
    assert "… and 5 more." in letters(stage)[0].payload["text"]
    with freeze_time(start + timedelta(days=1), tick=True):
        waits(stage, renews=start + timedelta(days=20), number=99)
    assert days(stage, start + timedelta(days=1), 1) == [(0, OWNER, "A request waits for your team")]
    assert "sub_none99" in letters(stage)[1].payload["text"]
    assert "sub_none1 " not in letters(stage)[1].payload["text"]


def test_what_begins_close_to_its_renewal_skips_what_is_past_and_one_without_a_renewal_has_a_week(stage: Stage) -> None:
    start = stage.rt.now()
    waits(stage, renews=start + timedelta(hours=16))
    assert [(day, whom) for day, whom, _ in days(stage, start, 2)] == [(0, OWNER), (0, OWNER), (0, ADMIN)]
    with freeze_time(start + timedelta(days=2), tick=True):
        waits(stage, renews=None, number=1)
    assert [(day, whom) for day, whom, _ in days(stage, start + timedelta(days=2), 9)] == [
        (0, OWNER), (4, OWNER), (6, OWNER), (7, OWNER), (7, ADMIN),
    ]  # fmt: skip


@pytest.mark.parametrize("code", ["yours", "under_way"])
def test_what_goes_on_by_itself_is_told_of_only_when_it_still_waits_near_its_renewal(stage: Stage, code: str) -> None:
    start = stage.rt.now()
    waits(stage, renews=start + timedelta(days=10, hours=3), code=code)
    assert [(day, whom) for day, whom, _ in days(stage, start, 12)] == [(7, OWNER), (9, OWNER), (10, OWNER), (10, ADMIN)]


@pytest.mark.parametrize("stage", ["test"], indirect=True)
def test_of_test_mode_the_first_owner_hears_alone(stage: Stage) -> None:
    start = stage.rt.now()
    stage.owner("second@fernhill.example")
    waits(stage, renews=start + timedelta(hours=5))
    assert {(whom, subject[:6]) for _, whom, subject in days(stage, start, 2)} == {(OWNER, "[Test]")}


def test_a_worker_that_dies_before_its_commit_has_told_nothing_and_the_next_tells_it_once(stage: Stage) -> None:
    start = stage.rt.now()
    waits(stage, renews=start + timedelta(days=10))
    with freeze_time(start + timedelta(minutes=2), tick=True):
        with stage.rt.transaction() as session:
            row = session.execute(text("select * from work where kind = 'remind'")).one()
        dying = work.Claim(
            id=row.id, kind=row.kind, row_id=row.row_id, workspace_id=row.workspace_id, attempts=1, asks=row.asks, token=row.lease_token
        )
        stage.sql("update work set lease_token = lease_token + 1, lease_until = null where kind = 'remind'")
        with pytest.raises(work.LeaseLost):
            reminders.remind(stage.rt, dying)
        assert letters(stage) == []
        assert isinstance(work.perform(stage.rt, row.id), work.Again)
    assert len(letters(stage)) == 1
