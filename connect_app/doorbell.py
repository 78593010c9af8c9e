"""This process's Redis: asked briefly, and left alone for a moment once it has said nothing."""

import time
from typing import Any

from redis import ConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

# A doorbell that hangs is worse than none: the sweep is never more than seconds away.
_CONNECT, _ANSWER = 0.2, 0.5
_LEFT_ALONE = 2.0


def connect(url: str) -> Redis:
    """A client for `url`; nothing is contacted here.

    Its commands raise redis.exceptions.RedisError within about a second where Redis is away, and at once for two seconds after it has
    let somebody wait in vain: else each of many would wait for it.
    """
    return Redis(connection_pool=_Pool.from_url(url, socket_connect_timeout=_CONNECT, socket_timeout=_ANSWER))


class _Pool(ConnectionPool):
    """Connections that know whether the last attempt to make one was in vain."""

    _away_until = 0.0

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        if time.monotonic() < self._away_until:
            raise RedisConnectionError("Redis did not answer a moment ago")
        try:
            return super().get_connection(*arguments, **options)
        except RedisTimeoutError:
            self._away_until = time.monotonic() + _LEFT_ALONE
            raise
