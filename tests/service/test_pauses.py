"""The life of a pause: told of at both ends, announced before it is over, watched until the first charge after it; each of it once."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time
from sqlalchemy import select, text

from connect_app import ids
from connect_app.models import Action, Delivery, Membership, Pause, User
from connect_app.runtime import Runtime
from jobs import actions, pauses, work
from jobs.outbound import endpoints, messages
from sandbox.stripe.local import LocalStripe
from tests import customers, make
from tests.stories.diary import BEGIN, Diary


class Story(Diary):
    """A diary in which pauses are looked after too."""

    @property
    def kinds(self) -> list[str]:
        return [*super().kinds, "pause"]

    def asks(self, verb: str, **intent: Any) -> Action:
        self.passes(timedelta(seconds=2))
        with self.rt.transaction(self.stage.workspace_id) as session:
            asked = actions.ask(
                session,
                workspace_id=self.stage.workspace_id,
                mode="test",
                connection_id=self.stage.connection_id,
                customer=self.customer,
                subscription=self.subscription,
                verb=verb,
                intent=intent,
                now=self.rt.now(),
            )
        self.work()
        with self.rt.transaction(self.stage.workspace_id) as session:
            action = session.get_one(Action, asked.id)
        assert action.state == "verified", action.message
        return action

    def pauses(self, days: float, verb: str = "pause") -> Action:
        """The customer takes so many days off from now on, and Stripe shows it."""
        return self.asks(verb, resumes_at=(self.rt.now() + timedelta(days=days)).replace(microsecond=0).isoformat())

    def row(self, action: Action) -> Pause:  # type: ignore[override]
        with self.rt.transaction(self.stage.workspace_id) as session:
            return session.get_one(Pause, action.id)

    def messages(self, action: Action) -> list[tuple[str, dict[str, Any]]]:
        """What the business was told of this pause, each message proven against its own schema."""
        bodies = [json.loads(one.payload["body"]) for one in self._deliveries("webhook") if one.payload["type"].startswith("pause.")]
        for body in bodies:
            messages.TYPES[body["type"]].model_validate(body["data"])
        return [(body["type"].removeprefix("pause."), body["data"]) for body in bodies if body["data"]["action"] == action.id]

    def kinds_told(self, action: Action) -> list[str]:
        return [kind for kind, _ in self.messages(action)]

    def letters(self, about: str) -> list[str]:
        """The texts of the letters with these words in their subject."""
        return [one.payload["text"] for one in self._deliveries("email") if about in one.payload["subject"]]

    def _deliveries(self, kind: str) -> list[Delivery]:
        with self.rt.transaction(self.stage.workspace_id) as session:
            return list(session.execute(select(Delivery).where(Delivery.kind == kind).order_by(Delivery.id)).scalars())

    def today(self) -> float:
        return (self.rt.now() - BEGIN) / timedelta(days=1)


@pytest.fixture
def diary(rt: Runtime, local: LocalStripe) -> Iterator[Story]:
    with freeze_time(BEGIN, tick=True) as clock:
        stage = make.workspace(rt, local)
        make.read_in(rt)
        with rt.transaction(stage.workspace_id) as session:
            endpoints.add(
                session, stage.workspace_id, "test", kind="webhook", url="https://shop.example/hooks", topics=[], ring=rt.ring,
                now=rt.now(), by="operator",
            )  # fmt: skip
            user = ids.new("usr")
            session.add(User(id=user, email="owner@fernhill.example", created_at=rt.now()))
            session.flush()
            session.add(Membership(workspace_id=stage.workspace_id, user_id=user, role="owner", created_at=rt.now()))
        told = len(list(local.world(stage.account, False).all("event")))
        yield Story(rt=rt, local=local, clock=clock, stage=stage, app=customers.app(rt), begun=told, told=told)


RESUMES, FREE = "resumes on", "Your free time ends on"
FAILED = "has failed"


@pytest.mark.parametrize(("verb", "behavior", "subject"), [("pause", "void", RESUMES), ("extension", "mark_uncollectible", FREE)])
def test_march_a_pause_april_a_reminder_and_its_end_and_the_first_charge_after_it_is_paid(
    diary: Story, verb: str, behavior: str, subject: str
) -> None:
    action = diary.pauses(45, verb)
    [(kind, data)] = diary.messages(action)
    assert (kind, data["behavior"], data["subscription"]) == ("started", behavior, diary.subscription)
    ends = datetime.fromtimestamp(data["resumes_at"], UTC)
    assert ends == datetime.fromisoformat(action.intent["resumes_at"])
    diary.day(41.9)
    assert (diary.kinds_told(action), diary.letters(subject)) == (["started"], [])
    diary.day(42.1)
    assert diary.kinds_told(action) == ["started", "ending"]
    [letter] = diary.letters(subject)
    assert (f"{ends:%B} {ends.day}, {ends.year}" in letter) is (verb == "pause"), "free time lasts until the next bill"
    assert "$29.00 before discounts and tax" in letter
    diary.changes(metadata={"seat": "4"})
    assert diary.kinds_told(action) == ["started", "ending"], "news of something else"
    diary.day(45.1)
    assert diary.kinds_told(action) == ["started", "ending", "ended"]
    ended = diary.messages(action)[-1][1]
    assert (ended["how"], ended["ended_at"]) == ("ran_out", data["resumes_at"])
    assert diary.row(action).settled_at is None
    renewal = diary.renewal()
    assert f"The next charge is on {BEGIN + timedelta(days=renewal):%B} {(BEGIN + timedelta(days=renewal)).day}," in letter
    diary.day(renewal + 0.1)
    assert diary.row(action).charge == "paid"
    diary.day(renewal + 40)
    assert diary.kinds_told(action) == ["started", "ending", "ended"]
    assert len(diary.letters(subject)) == 1
    assert diary.letters(FAILED) == []


def test_a_pause_of_less_than_a_week_is_announced_the_day_before_and_one_of_hours_not_at_all(diary: Story) -> None:
    diary.day(diary.renewal() - 2)
    began = diary.today()
    action = diary.pauses(5)
    diary.day(began + 3.9)
    assert diary.kinds_told(action) == ["started"]
    diary.day(began + 4.1)
    assert diary.kinds_told(action) == ["started", "ending"]
    diary.day(diary.renewal() - 0.5)
    short = diary.pauses(1)
    diary.day(diary.today() + 1.1)
    assert diary.kinds_told(short) == ["started", "ended"]
    assert len(diary.letters(RESUMES)) == 1


def test_who_resumes_early_in_stripe_s_dashboard_is_not_reminded_of_an_end_that_is_over(diary: Story) -> None:
    action = diary.pauses(60)
    diary.day(20)
    diary.changes(pause_collection=None)
    assert diary.kinds_told(action) == ["started", "ended"]
    data = diary.messages(action)[-1][1]
    assert data["how"] == "resumed"
    assert data["ended_at"] <= diary.rt.now().timestamp()
    diary.day(diary.renewal() + 0.1)
    assert diary.row(action).charge == "paid"
    diary.day(70)
    assert diary.kinds_told(action) == ["started", "ended"]
    assert diary.letters(RESUMES) == []


def test_who_resumes_through_us_ends_it_too(diary: Story) -> None:
    action = diary.pauses(60)
    diary.day(10)
    diary.asks("resume")
    assert diary.kinds_told(action) == ["started", "ended"]
    assert diary.row(action).how == "resumed"


def test_a_subscription_that_is_canceled_during_its_pause_owes_no_first_charge(diary: Story) -> None:
    action = diary.pauses(60)
    diary.day(20)
    diary.changes(status="canceled")
    assert diary.kinds_told(action) == ["started", "ended"]
    assert (diary.row(action).how, diary.row(action).charge) == ("canceled", "none")
    diary.day(70)
    assert diary.letters(RESUMES) == []


def test_one_that_ends_for_good_before_its_pause_does_is_told_of_no_resuming(diary: Story) -> None:
    action = diary.pauses(60)
    diary.changes(cancel_at_period_end=True)
    diary.day(70)
    assert diary.kinds_told(action) == ["started", "ended"]
    assert diary.row(action).how == "canceled"
    assert diary.letters(RESUMES) == []


def test_an_end_that_was_moved_in_the_dashboard_is_the_one_that_counts(diary: Story) -> None:
    action = diary.pauses(45)
    diary.day(20)
    later = int((BEGIN + timedelta(days=80)).timestamp())
    diary.changes(pause_collection={"behavior": "void", "resumes_at": later})
    diary.day(46)
    assert diary.kinds_told(action) == ["started"]
    diary.day(77.1)
    assert diary.messages(action)[-1][1]["resumes_at"] == later
    diary.day(80.1)
    assert diary.kinds_told(action) == ["started", "ending", "ended"]
    assert len(diary.letters(RESUMES)) == 1


def test_who_was_reminded_hears_of_another_end_again(diary: Story) -> None:
    action = diary.pauses(45)
    diary.day(43)
    diary.changes(pause_collection={"behavior": "void", "resumes_at": int((BEGIN + timedelta(days=80)).timestamp())})
    diary.day(77.1)
    assert diary.kinds_told(action) == ["started", "ending", "ending"]
    assert len(diary.letters(RESUMES)) == 2


def test_another_pause_takes_the_place_of_the_one_before(diary: Story) -> None:
    first = diary.pauses(45)
    diary.day(5)
    diary.is_deaf = True
    diary.changes(pause_collection=None)
    second = diary.pauses(60)
    diary.is_deaf = False
    diary.day(70)
    assert (diary.kinds_told(first), diary.row(first).how) == (["started", "ended"], "replaced")
    assert diary.kinds_told(second) == ["started", "ended"]


def test_what_no_news_tells_the_clock_does(diary: Story) -> None:
    diary.is_deaf = True
    action = diary.pauses(45)
    diary.day(42.1)
    diary.day(45.1)
    assert diary.kinds_told(action) == ["started", "ending", "ended"]
    diary.day(diary.renewal() + 1.1)
    assert diary.row(action).charge == "paid"


def test_a_first_charge_that_fails_is_told_to_the_owners_once(diary: Story) -> None:
    action = diary.pauses(45)
    diary.day(46)
    diary.befalls("card_declines")
    diary.day(diary.renewal() + 0.1)
    assert diary.row(action).charge == "failed"
    [letter] = diary.letters(FAILED)
    assert diary.subscription in letter
    assert f"/customers/{diary.customer}?mode=test" in letter
    diary.day(diary.today() + 4)
    assert len(diary.letters(FAILED)) == 1


@pytest.mark.parametrize("moment", [42.1, 45.1])
def test_stripe_may_be_down_at_the_moment_itself(diary: Story, moment: float) -> None:
    action = diary.pauses(45)
    diary.day(moment - 0.2)
    before = diary.kinds_told(action)
    diary.local.faults.add({"kind": "500", "rate": 1.0})
    diary.day(moment)
    assert diary.kinds_told(action) == before
    diary.local.faults.rules.clear()
    diary.minutes(2)
    assert diary.kinds_told(action) == [*before, "ending" if moment < 45 else "ended"]


def test_a_worker_that_has_lost_its_lease_tells_nothing_and_the_next_one_once(diary: Story) -> None:
    action = diary.pauses(45)
    diary.clock.move_to(BEGIN + timedelta(days=42.1))
    with diary.rt.transaction() as session:
        waiting = session.execute(text("select id from work where kind = 'pause'")).scalar_one()

    claim = work._claim(diary.rt, waiting)
    assert claim is not None
    # Another worker comes in between, because the lease is over.
    with diary.rt.transaction() as session:
        session.execute(text("update work set lease_until = clock_timestamp() - interval '1 second' where id = :id"), {"id": claim.id})
    assert isinstance(work.perform(diary.rt, waiting), work.Again)
    with pytest.raises(work.LeaseLost):
        work._finish(diary.rt, claim, pauses.watch(diary.rt, claim))
    diary.work()
    assert diary.kinds_told(action) == ["started", "ending"]
    assert len(diary.letters(RESUMES)) == 1


def test_while_the_account_is_lost_nothing_is_told_and_afterwards_what_is_true_then(diary: Story) -> None:
    action = diary.pauses(45)
    diary.leaves()
    diary.day(47)
    assert diary.kinds_told(action) == ["started"]
    diary.comes_back()
    assert diary.kinds_told(action) == ["started", "ended"]
    assert diary.row(action).how == "ran_out"


def test_a_reminder_of_test_mode_goes_to_the_owner_and_says_whom_it_is_for(diary: Story) -> None:
    diary.pauses(45)
    diary.day(42.1)
    [letter] = [one for one in diary._deliveries("email") if RESUMES in one.payload["subject"]]
    assert letter.payload["to"] == "owner@fernhill.example"
    assert diary.customer in letter.payload["text"]
