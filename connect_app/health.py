"""What the operator's machines ask: alive, ready and for what reason not, and the numbers."""

import hmac
import time
from concurrent.futures import Future
from ipaddress import ip_address
from threading import Lock, Thread

from flask import Blueprint, Response, jsonify, request
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.exc import SQLAlchemyError

from connect_app import metrics, migrations, runtime
from connect_app.errors import NotFound
from connect_app.runtime import RoleTooStrong, Runtime

blueprint = Blueprint("health", __name__)

# Work that has waited longer than this has no worker that does it.
LAGGING_SECONDS = 60.0
# How long the database may take, in seconds.
PATIENCE = 3.0

# A queue, its rows due, and the seconds for which the oldest has waited.
Lag = tuple[str, int, float]
_looking = Lock()


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers; nothing else is looked at."""
    return jsonify({"status": "alive"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """200 when database, migrations and Redis are as they should be, else 503; `reasons` has a sentence for each that is not."""
    rt = runtime.current()
    reasons, lags = _look(rt)
    queues: dict[str, dict[str, float]] = {}
    warnings: list[str] = []
    for queue, due, oldest in lags:
        queues[queue] = {"due": due, "oldest_due_seconds": round(oldest, 1)}
        if oldest > LAGGING_SECONDS:
            warnings.append(f"queue {queue}: {due} due, the oldest for {oldest:.0f} s; is its worker running?")
    try:
        rt.redis.set("holdfast:ready", 1, ex=60)  # a Redis that is full answers, and takes no bell
    except RedisError as error:
        what = "reached" if isinstance(error, RedisConnectionError | RedisTimeoutError) else "written to"
        reasons.append(f"redis: cannot be {what} ({type(error).__name__}); work is done by the sweep, some seconds later")
    response = jsonify({"status": "not ready" if reasons else "ready", "reasons": reasons, "warnings": warnings, "queues": queues})
    response.status_code = 503 if reasons else 200
    if reasons:
        response.headers["Retry-After"] = "5"
    return response


def _look(rt: Runtime) -> tuple[list[str], list[Lag]]:
    """What is wrong with the database, and its queues' lags, within PATIENCE seconds: one that has frozen never says so itself.

    One look at a time, so that looks which never end do not use up the process's connections.
    """
    until = time.monotonic() + PATIENCE
    frozen: tuple[list[str], list[Lag]] = ([f"database: does not answer within {PATIENCE:.0f} seconds"], [])
    if not _looking.acquire(timeout=PATIENCE):
        return frozen
    seen: Future[tuple[list[str], list[Lag]]] = Future()

    def look() -> None:
        try:
            seen.set_result(_database(rt))
        except BaseException as error:
            seen.set_exception(error)
        finally:
            _looking.release()

    Thread(target=look, name="readyz", daemon=True).start()
    try:
        return seen.result(timeout=max(0.0, until - time.monotonic()))
    except TimeoutError:
        return frozen


def _database(rt: Runtime) -> tuple[list[str], list[Lag]]:
    try:
        rt.check_role()
        if not migrations.is_current(rt.engine):
            return ["migrations: the schema is not the one this code knows; run `holdfast upgrade`"], []
        return [], metrics.queue_lag(rt)
    except RoleTooStrong as error:
        return [f"database: {error}"], []
    except SQLAlchemyError as error:
        return [f"database: cannot be reached ({type(error).__name__})"], []


@blueprint.get("/metrics")
def numbers() -> Response:
    """Prometheus' text, for the bearer of HOLDFAST_METRICS_TOKEN, or, where none is set, for this machine only."""
    rt = runtime.current()
    token = rt.settings.holdfast_metrics_token.get_secret_value()
    bearer = request.headers.get("Authorization", "").encode()
    allowed = hmac.compare_digest(bearer, f"Bearer {token}".encode()) if token else _is_local(rt)
    if not allowed:
        raise NotFound(code="not_found", message="There is nothing at this address.")
    return Response(metrics.render(rt), content_type="text/plain; version=0.0.4; charset=utf-8")


def _is_local(rt: Runtime) -> bool:
    # Behind a proxy nobody told us of, every stranger seems to come from this machine.
    if not rt.settings.holdfast_proxies and ("X-Forwarded-For" in request.headers or "Forwarded" in request.headers):
        return False
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False
