"""How often one caller may ask: counted in Redis, in this process while Redis is away, so that a limit never becomes an outage."""

from collections.abc import Callable

from flask import Flask, current_app
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from connect_app.runtime import Runtime

# The most a caller may ask, by what they ask for. An app may set others in `app.config["HOLDFAST_LIMITS"]`.
LIMITS = {
    "embed_address": "6000 per minute",
    "embed_workspace": "6000 per minute",
    "embed_refusals": "300 per minute",
    "api_address": "6000 per minute",
    "api_refusals": "300 per minute",
    "api_key": "1200 per minute",
    "link": "240 per minute",
    "connect": "60 per minute; 600 per hour",
    "sign_in": "10 per minute; 60 per hour",
}

limiter = Limiter(get_remote_address, in_memory_fallback_enabled=True, key_prefix="holdfast", strategy="fixed-window")


def install(app: Flask, rt: Runtime) -> None:
    """Count for `app` in the runtime's Redis. Nothing is contacted here."""
    url = rt.settings.redis_url
    app.config.setdefault("RATELIMIT_STORAGE_URI", url.replace("unix://", "redis+unix://", 1) if url.startswith("unix://") else url)
    # A limiter that hangs is worse than one that counts alone.
    app.config.setdefault("RATELIMIT_STORAGE_OPTIONS", {"socket_connect_timeout": 0.2, "socket_timeout": 0.2})
    app.config["HOLDFAST_LIMITS"] = {**LIMITS, **app.config.get("HOLDFAST_LIMITS", {})}
    limiter.init_app(app)


def count(name: str, key: Callable[[], str]) -> None:
    """Count one more of what is limited as `name`, for whom `key` gives; answers 429 where that is one too many."""
    with limiter.limit(of(name), key_func=key, scope=name):
        pass


def of(name: str) -> Callable[[], str]:
    """The limit called `name`, for `@limits.limiter.limit(limits.of("sign_in"))`."""

    def limit() -> str:
        value: str = current_app.config["HOLDFAST_LIMITS"][name]
        return value

    return limit
