"""Customers choose while workers are killed, Redis is flushed, PostgreSQL shot and Stripe fails: every change exactly once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import stage
from tests.faults.campaign import planted, points, storming
from tests.faults.campaign.ground import Ground, ground

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

# The others are planted by `make campaign`.
PLANTED_HERE = ["a new key for every try", "no fence"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("campaign")) as place:
        yield place


def test_whoever_is_killed_at_any_of_five_moments_leaves_nothing_twice_lost_or_stuck(place: Ground) -> None:
    tally = points.strike_all(place)
    assert tally.is_clean, tally.row()
    assert tally.runs == 10, tally.row()
    assert tally.slowest < 60


def test_a_worker_frozen_past_its_lease_changes_nothing_when_it_wakes_after_another_has_finished(place: Ground) -> None:
    tally = points.strike_once(place, "F7")
    assert tally.is_clean, tally.row()
    assert tally.fenced


def test_a_hundred_and_twenty_choices_under_kills_flushes_a_crash_and_faults_take_effect_exactly_once(place: Ground) -> None:
    verdict = storming.rage(place, storming.SMALL)
    print(verdict)  # noqa: T201  a storm's numbers are worth keeping: pytest -rP shows them
    assert verdict.is_clean, str(verdict)
    assert verdict.struck > 0.15, str(verdict)
    assert verdict.deaths >= 5, str(verdict)
    assert (verdict.flushes, verdict.shots) >= (1, 1), str(verdict)
    # A few may honestly end with a person, where Stripe went on failing; they are no more than a handful.
    assert verdict.findings.states["verified"] >= 115, str(verdict)


def test_when_stripe_has_forgotten_the_key_it_is_looked_for_and_not_sent_again(place: Ground) -> None:
    tally = points.a_day_later(place)
    assert tally.is_clean, tally.row()


@pytest.mark.parametrize("name", PLANTED_HERE)
def test_a_campaign_catches_a_bug(tmp_path: Path, name: str) -> None:
    assert planted.strike(tmp_path, name)


@pytest.mark.parametrize("name", planted.BUGS)
def test_each_bug_that_a_campaign_is_to_catch_can_still_be_planted(tmp_path: Path, name: str) -> None:
    stage.copy_tree(tmp_path / "tree", planted.BUGS[name].edits)
