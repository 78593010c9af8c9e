"""This process's Redis: who finds it silent waits a moment, and those that follow do not wait at all until it may be back."""

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import RedisError

from connect_app import doorbell
from sandbox import embedded
from tests.faults import middlemen


@pytest.fixture
def between() -> Iterator[middlemen.Middleman]:
    valkey = embedded.start_valkey()
    with middlemen.between(urlsplit(valkey.url).path) as between:
        yield between
    valkey.stop()


def asked(redis: Redis) -> tuple[bool, float]:
    """Whether it answers, and how long that takes to find out."""
    began = time.monotonic()
    try:
        redis.get("x")
    except RedisError:
        return False, time.monotonic() - began
    return True, time.monotonic() - began


def test_of_many_that_ask_a_silent_redis_one_waits_and_soon_after_it_is_back_it_is_asked_again(between: middlemen.Middleman) -> None:
    redis = doorbell.connect(f"redis://127.0.0.1:{between.port}/0")
    assert asked(redis)[0]
    between.is_mute = True
    took = [asked(redis) for _ in range(50)]
    assert not any(is_there for is_there, _ in took)
    assert sum(seconds for _, seconds in took) < 3
    between.is_mute = False
    until = time.monotonic() + 10
    while not asked(redis)[0]:
        assert time.monotonic() < until
        time.sleep(0.1)
    redis.close()
