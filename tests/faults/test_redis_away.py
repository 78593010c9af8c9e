"""Redis refuses, says nothing, or is full while customers choose: nobody waits for it, and what was chosen is done."""

from collections.abc import Iterator

import pytest

from tests.faults.campaign import oracle, silence
from tests.faults.campaign.ground import Ground

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with silence.place(tmp_path_factory.mktemp("redis")) as place:
        yield place


@pytest.mark.parametrize("what", silence.FAULTS)
def test_without_redis_customers_choose_without_waiting_and_the_sweep_does_what_they_chose(place: Ground, what: str) -> None:
    tally = silence.choose(place, what, people=8)
    assert tally.is_clean, str(tally)
    assert tally.findings.states == {"verified": 8}
    assert tally.settled_after < 30
    # Back again, a bell is heard again.
    [resident] = place.place.settle_in("cancel")
    place.place.choose(resident, "cancel")
    assert place.settle(30) < 30
    assert oracle.judge(place.place, {resident: "cancel"}).is_clean
