"""What every response carries: a request id, and headers that keep pages from being framed, sniffed, leaked or scripted."""

import time

import structlog
from flask import Flask, Response, g, request

from connect_app import ids, metrics

log = structlog.get_logger()


def install(app: Flask) -> None:
    """Hang request ids, access logs, counters and headers on `app`."""
    app.before_request(_begin)
    app.after_request(_finish)
    app.teardown_request(lambda _error: structlog.contextvars.clear_contextvars())


def allow_framing(origins: tuple[str, ...]) -> None:
    """Let this response be framed by these origins (parsed `scheme://host[:port]`), and by no other."""
    g.frame_ancestors = origins


def allow_images(origins: tuple[str, ...]) -> None:
    """Let this response show images of these origins (parsed, as above) beside our own, and of no other."""
    g.image_origins = origins


def show_own_frames() -> None:
    """Let this response hold frames of ours; what stands in one must allow it for itself."""
    g.has_frames = True


def policy(frame_ancestors: tuple[str, ...], image_origins: tuple[str, ...] = ("https:",), *, has_frames: bool = False) -> str:
    """The Content-Security-Policy of a page: our own files only, nothing inline, and framed by nobody but `frame_ancestors`.

    Images may also come from `image_origins`, which are all of HTTPS where a page does not say.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            " ".join(("img-src 'self' data:", *image_origins)),
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            *(("frame-src 'self'",) if has_frames else ()),
            "frame-ancestors " + (" ".join(frame_ancestors) or "'none'"),
        )
    )


def _begin() -> None:
    g.began = time.perf_counter()
    g.request_id = ids.new("req")
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _finish(response: Response) -> Response:
    headers = response.headers
    headers["Request-Id"] = g.request_id
    headers.setdefault("X-Content-Type-Options", "nosniff")
    # Admin forms check the Referer over HTTPS, so it may travel to ourselves; token pages set no-referrer.
    headers.setdefault("Referrer-Policy", "same-origin")
    if response.mimetype == "text/html":
        headers.setdefault(
            "Content-Security-Policy",
            policy(g.get("frame_ancestors", ()), g.get("image_origins", ("https:",)), has_frames=g.get("has_frames", False)),
        )
        headers.setdefault("Cache-Control", "no-store")
        headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=()")
    endpoint = request.endpoint or "none"
    seconds = time.perf_counter() - g.began
    metrics.REQUESTS.labels(endpoint, request.method, response.status_code).inc()
    metrics.SECONDS.labels(endpoint).observe(seconds)
    if endpoint not in {"static", "flow.static", "health.healthz"}:
        log.info("request", endpoint=endpoint, method=request.method, status=response.status_code, ms=round(seconds * 1000, 1))
    return response
