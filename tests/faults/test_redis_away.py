"""Redis refuses, says nothing, or is full while customers choose: nobody waits for it, and what was chosen is done."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
import structlog

from connect_app import log, runtime
from tests.faults.campaign import oracle
from tests.faults.campaign.ground import Ground, ground

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A ground on which the customers' side, too, reaches Redis through the middleman."""
    with ground(tmp_path_factory.mktemp("redis")) as ground_:
        settings = ground_.place.rt.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{ground_.redis.port}/0"})
        rt = runtime.open_runtime(settings, pool_size=10)
        runtime.use(rt)
        log.configure()  # as a server does: a traceback for a person to read takes seconds to paint
        yield replace(ground_, place=replace(ground_.place, rt=rt))
        structlog.reset_defaults()
        rt.close()


def _choices_while(place: Ground, verbs: list[str]) -> tuple[list[float], float, oracle.Findings]:
    """How long each page took, how long until all were done, and what Stripe has seen."""
    residents = place.place.settle_in(*verbs)
    took = []
    for resident, verb in zip(residents, verbs, strict=True):
        for page in (partial(place.place.answer, resident), partial(place.place.decide, resident, verb)):
            began = time.monotonic()
            page()
            took.append(time.monotonic() - began)
    settled_after = place.settle(60)
    return took, settled_after, oracle.judge(place.place, dict(zip(residents, verbs, strict=True)))


def _refused(place: Ground) -> None:
    place.redis.is_down = True
    place.redis.cut()


def _mute(place: Ground) -> None:
    place.redis.is_mute = True


def _full(place: Ground) -> None:
    place.place.redis.config_set("maxmemory-policy", "noeviction")
    place.place.redis.config_set("maxmemory", "1")


@pytest.mark.parametrize("fault", [_refused, _mute, _full])
def test_without_redis_customers_choose_without_waiting_and_the_sweep_does_what_they_chose(
    place: Ground, fault: Callable[[Ground], None]
) -> None:
    fault(place)
    try:
        took, settled_after, found = _choices_while(place, ["cancel", "discount", "pause", "plan_change"])
        assert found.is_clean, str(found)
        assert found.states == {"verified": 4}
        assert max(took) < 1, took
        assert settled_after < 30
    finally:
        place.redis.is_down = place.redis.is_mute = False
        place.place.redis.config_set("maxmemory", "0")
    # Back again, a bell is heard again.
    _, settled_after, found = _choices_while(place, ["cancel"])
    assert found.is_clean
    assert settled_after < 30
