"""How fast one account is asked in the background: a token bucket in Redis, so that no read-in starves a customer's own action."""

import random
import time
from contextlib import suppress
from datetime import timedelta

from redis.exceptions import RedisError

from connect_app.runtime import Runtime

# Stripe allows 25 requests a second to one endpoint, and to a whole account in test mode. The rest is for customers, whose actions do not
# ask here; in live mode they have the account's other 75 as well.
PER_SECOND = 23.5
# How far ahead of its place a request may go. With more, a second that follows a rest would hold more than Stripe's 25.
_BURST_MS = 20
# After a refusal nobody asks for so long; twice as long for each that follows it.
_PAUSE_MS = 100
# With Redis away nobody counts across processes: slow enough for any number of them.
_BLIND_PACE = 0.25
_LONGEST_SLEEP = 5.0
_LONGEST_REST = 60.0

# Takes the next free place in the account's queue of requests and says in how many milliseconds it comes.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local next = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
redis.call('SET', KEYS[1], next + tonumber(ARGV[1]), 'PX', math.floor(next - now) + 60000)
return math.max(0, math.floor(next - now) - tonumber(ARGV[2]))
"""

# Nobody's place is before the end of the pause.
_PAUSE = """
local time = redis.call('TIME')
local free = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
local next = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), free)
redis.call('SET', KEYS[1], next, 'PX', tonumber(ARGV[1]) + 60000)
"""


def wait(rt: Runtime, account: str, mode: str) -> None:
    """Return when one request to this account may be made."""
    try:
        delay = _take(rt, account, mode)
    except RedisError:
        delay = _BLIND_PACE
    time.sleep(min(delay, _LONGEST_SLEEP))


def reserve(rt: Runtime, account: str, mode: str, purpose: str, *, is_early: bool = False) -> timedelta | None:
    """None when a request may be made now; else when to come back, with a place kept under `purpose` until then.

    Say `is_early` where one may come back before that: the place is good from its time on only.
    """
    slot = f"holdfast:budget:place:{purpose}"
    try:
        kept = rt.redis.get(slot)
        if kept is not None:
            left = int(kept) - _now(rt) if is_early else 0
            if left > 0:
                return timedelta(milliseconds=left)
            rt.redis.delete(slot)
            return None
        delay = _take(rt, account, mode)
        if not delay:
            return None
        rt.redis.set(slot, str(_now(rt) + round(delay * 1000)), px=int(delay * 1000) + 60_000)
    except RedisError:
        time.sleep(_BLIND_PACE)
        return None
    return timedelta(seconds=delay)


def refused(rt: Runtime, account: str, mode: str, times: int) -> None:
    """Stripe said that this account is asked too fast, after having said so `times` in a row: nobody asks it for a moment."""
    with suppress(RedisError):
        rt.redis.eval(_PAUSE, 1, _bucket(account, mode), str(_PAUSE_MS * 2**times))


def rest(rt: Runtime, account: str, mode: str) -> None:
    """An answer did not come in time: ask this account nothing for a while, twice as long each time that happens within ten minutes."""
    place = f"holdfast:budget:slow:{account}:{mode}"
    with suppress(RedisError):
        times = int(rt.redis.incr(place))
        rt.redis.expire(place, 600)
        rt.redis.set(_rest(account, mode), "1", px=int(min(_LONGEST_REST, 2.0**times) * 1000))


def resting(rt: Runtime, account: str, mode: str) -> timedelta | None:
    """How long this account is still to be left alone; None when it may be asked."""
    try:
        left = int(rt.redis.pttl(_rest(account, mode)))
    except RedisError:
        return None
    # Not all at once, as soon as it is over: the first to ask finds out for the others.
    return timedelta(milliseconds=left * random.uniform(1, 1.5)) if left > 0 else None  # noqa: S311  jitter is no secret


def _rest(account: str, mode: str) -> str:
    return f"holdfast:budget:rest:{account}:{mode}"


def _bucket(account: str, mode: str) -> str:
    return f"holdfast:budget:{account}:{mode}"


def _now(rt: Runtime) -> int:
    """Redis's own time, in milliseconds."""
    seconds, micros = rt.redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


def _take(rt: Runtime, account: str, mode: str) -> float:
    delay = rt.redis.eval(_TAKE, 1, _bucket(account, mode), str(1000 / PER_SECOND), str(_BURST_MS))
    return float(delay) / 1000
