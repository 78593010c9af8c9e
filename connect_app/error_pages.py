"""The one place that turns failures into answers: one JSON shape for programs, a page with a way back for people."""

from collections.abc import Callable

import structlog
from flask import Flask, Response, g, jsonify, make_response, render_template, request
from redis.exceptions import RedisError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from connect_app import runtime
from connect_app.errors import Problem, Unavailable

log = structlog.get_logger()

_JSON_PATHS = ("/api/", "/webhooks/")
_WORDS = {
    400: ("bad_request", "This request cannot be understood."),
    401: ("not_signed_in", "Please sign in first."),
    403: ("forbidden", "You may not do this here."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not answer that method."),
    413: ("too_large", "What was sent is too large."),
    429: ("too_many_requests", "Too many requests: wait a moment and try again."),
    500: ("internal_error", "Something went wrong on our side. It has been written down; please try again."),
    503: ("unavailable", "We cannot reach our own database right now. Nothing was changed; please try again in a moment."),
}

# A blueprint may render failures in its own look: name -> function (problem status, code, message) -> body.
PageRenderer = Callable[[int, str, str], str]


def install(app: Flask, renderers: dict[str, PageRenderer] | None = None) -> None:
    """Register the handlers. `renderers` maps a blueprint's name to what draws its error pages."""
    app.extensions["error_page_renderers"] = renderers or {}
    app.register_error_handler(Problem, lambda problem: answer(problem))
    app.register_error_handler(HTTPException, _http)
    for away in (OperationalError, PoolTimeout, RedisError):
        app.register_error_handler(away, _away)
    app.register_error_handler(Exception, _crash)


def body(*, type: str, code: str, message: str, param: str | None = None, request_id: str | None) -> dict[str, dict[str, str | None]]:
    """The JSON error, Stripe's shape and ours."""
    return {
        "error": {
            "type": type,
            "code": code,
            "message": message,
            "param": param,
            "request_id": request_id,
            "doc_url": f"{runtime.current().settings.base_url}/docs/errors#{code}",
        }
    }


def answer(problem: Problem) -> Response:
    """A Problem as a response, in the form its reader understands."""
    response = _render(problem.status, problem.type, problem.code, problem.message, problem.param)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def _render(status: int, type: str, code: str, message: str, param: str | None = None) -> Response:
    if request.path.startswith(_JSON_PATHS):
        response = jsonify(body(type=type, code=code, message=message, param=param, request_id=g.get("request_id")))
    else:
        renderer = None
        for name in request.blueprints:
            renderer = renderer or _renderers().get(name)
        page = renderer(status, code, message) if renderer else render_template("error.html", status=status, code=code, message=message)
        response = make_response(page)
    response.status_code = status
    return response


def _renderers() -> dict[str, PageRenderer]:
    from flask import current_app

    renderers: dict[str, PageRenderer] = current_app.extensions["error_page_renderers"]
    return renderers


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if 300 <= status < 400:
        return error.get_response()  # type: ignore[return-value]
    code, message = _WORDS.get(status, ("error", error.name))
    type = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(status, "invalid_request_error")
    response = _render(status, type if status < 500 else "api_error", code, message)
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After"}:
            response.headers[name] = value
    if status == 429:
        response.headers.setdefault("Retry-After", "60")
    return response


def _away(error: Exception) -> Response:
    log.warning("dependency.away", problem=type(error).__name__)
    code, message = _WORDS[503]
    return answer(Unavailable(code=code, message=message, retry_after=5))


def _crash(_error: Exception) -> Response:
    log.exception("request.crashed")
    code, message = _WORDS[500]
    return _render(500, "api_error", code, message)
