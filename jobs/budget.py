"""How fast one account is asked in the background: a token bucket in Redis, so that no read-in starves a customer's own action."""

import random
import time
from contextlib import suppress
from dataclasses import dataclass
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

# After Stripe has refused two questions of actions for their rate with no answer in between, no action of the account asks for so long, and
# twice as long each time it was no use. One refusal alone is a matter of who was refused.
_HOLD_MS, _LONGEST_HOLD_MS = 100, 30_000
# Then one of them finds out for all; the others wait for its answer, of which they hear so soon, or for so long where there is none.
_HEAR_MS, _TRY_MS = 50, 2_000

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

# How long actions are still held, in milliseconds; 0: they are not, -1: this one is to say what comes of its question.
_ENTER = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local times = tonumber(redis.call('HGET', KEYS[1], 'times') or '0')
local ends = tonumber(redis.call('HGET', KEYS[1], 'ends') or '0')
if times == 0 then return 0 end
if times == 1 then return -1 end
if now < ends then
  if redis.call('HGET', KEYS[1], 'trying') == '1' then return tonumber(ARGV[2]) end
  return ends - now
end
redis.call('HSET', KEYS[1], 'ends', now + tonumber(ARGV[1]), 'trying', 1)
return -1
"""

# Whoever had asked before the hold began has nothing new to tell.
_HOLD = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = tonumber(redis.call('HGET', KEYS[1], 'ends') or '0')
if now < ends and ARGV[1] == '0' then return ends - now end
local times = tonumber(redis.call('HGET', KEYS[1], 'times') or '0')
local pause = times == 0 and 0 or math.min(tonumber(ARGV[3]), tonumber(ARGV[2]) * 2 ^ (times - 1))
redis.call('HSET', KEYS[1], 'ends', now + pause, 'times', times + 1, 'trying', 0)
redis.call('PEXPIRE', KEYS[1], pause + 60000)
return pause
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Whether an action may ask its account: `later` says when to come back where it may not; `is_first` that it says how that went."""

    later: timedelta | None = None
    is_first: bool = False


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


def enter(rt: Runtime, account: str, mode: str) -> Entry:
    """An action is about to ask this account. Whoever is the first after a refusal says `hold` or `release` when it knows how that went."""
    try:
        left = int(rt.redis.eval(_ENTER, 1, _held(account, mode), str(_TRY_MS), str(_HEAR_MS)))
    except RedisError:
        return Entry()
    return Entry(later=_about(left)) if left > 0 else Entry(is_first=left < 0)


def hold(rt: Runtime, account: str, mode: str, *, is_first: bool) -> timedelta | None:
    """Stripe has refused an action of this account for its rate: all its actions wait, and what is read in the background, too.

    Gives when to come back; None after a first refusal, and with Redis away: then this action slows down by itself.
    """
    try:
        pause = int(rt.redis.eval(_HOLD, 1, _held(account, mode), str(int(is_first)), str(_HOLD_MS), str(_LONGEST_HOLD_MS)))
        rt.redis.eval(_PAUSE, 1, _bucket(account, mode), str(pause))
    except RedisError:
        return None
    return _about(pause) if pause else None


def release(rt: Runtime, account: str, mode: str) -> None:
    """The account answers again."""
    with suppress(RedisError):
        rt.redis.delete(_held(account, mode))


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


def _about(milliseconds: int) -> timedelta:
    return timedelta(milliseconds=milliseconds * random.uniform(1, 1.2))  # noqa: S311  jitter is no secret


def _held(account: str, mode: str) -> str:
    return f"holdfast:budget:held:{account}:{mode}"


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
