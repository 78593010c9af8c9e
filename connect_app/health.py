"""What the operator's machines ask: alive, ready and for what reason not, and the numbers."""

import hmac
from ipaddress import ip_address

from flask import Blueprint, Response, jsonify, request
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from connect_app import metrics, migrations, runtime
from connect_app.errors import NotFound
from connect_app.runtime import RoleTooStrong, Runtime

blueprint = Blueprint("health", __name__)

# Work that has waited longer than this has no worker that does it.
LAGGING_SECONDS = 60.0


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers; nothing else is looked at."""
    return jsonify({"status": "alive"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """200 when database, migrations and Redis are as they should be, else 503; `reasons` has a sentence for each that is not."""
    rt = runtime.current()
    reasons = _database(rt)
    queues: dict[str, dict[str, float]] = {}
    warnings: list[str] = []
    if not reasons:
        for queue, due, oldest in metrics.queue_lag(rt):
            queues[queue] = {"due": due, "oldest_due_seconds": round(oldest, 1)}
            if oldest > LAGGING_SECONDS:
                warnings.append(f"queue {queue}: {due} due, the oldest for {oldest:.0f} s; is its worker running?")
    try:
        rt.redis.ping()
    except RedisError as error:
        reasons.append(f"redis: cannot be reached ({type(error).__name__}); work is done by the sweep, some seconds later")
    response = jsonify({"status": "not ready" if reasons else "ready", "reasons": reasons, "warnings": warnings, "queues": queues})
    response.status_code = 503 if reasons else 200
    if reasons:
        response.headers["Retry-After"] = "5"
    return response


def _database(rt: Runtime) -> list[str]:
    try:
        rt.check_role()
        if not migrations.is_current(rt.engine):
            return ["migrations: the schema is not the one this code knows; run `holdfast upgrade`"]
    except RoleTooStrong as error:
        return [f"database: {error}"]
    except SQLAlchemyError as error:
        return [f"database: cannot be reached ({type(error).__name__})"]
    return []


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
