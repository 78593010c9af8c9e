"""The door for Stripe's webhooks, in front of the web framework: read, verify, keep, then 200."""

import contextlib
import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog

from connect_app import ids
from connect_app.modes import Mode
from connect_app.runtime import Runtime
from webhooks import events, signatures
from webhooks.committer import Committer, NotKept

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()

PATH = "/webhooks/stripe"
LIMIT = 1 << 20
_MOST_READ_OFF = 32 << 20
_READ_OFF_SECONDS = 5.0
_REASONS = {200: "OK", 400: "Bad Request", 405: "Method Not Allowed", 413: "Content Too Large", 503: "Service Unavailable"}


class _Refused(Exception):
    """The answer is not 200."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Door:
    """A WSGI app that answers `POST /webhooks/stripe` itself and passes everything else to `app`."""

    def __init__(self, app: "WSGIApplication", rt: Runtime) -> None:
        self._app = app
        self._rt = rt
        self._committer = Committer(rt)
        settings = rt.settings
        self._live = frozenset(settings.webhook_secrets(Mode.LIVE))
        # Both modes' secrets: a live endpoint receives test events too.
        self._secrets = tuple(dict.fromkeys((*settings.webhook_secrets(Mode.TEST), *settings.webhook_secrets(Mode.LIVE))))

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ.get("PATH_INFO") != PATH:
            return self._app(environ, start_response)
        request_id = ids.new("req")
        try:
            self._receive(environ)
        except _Refused as refusal:
            log.warning("webhook.refused", request_id=request_id, status=refusal.status, code=refusal.code, problem=str(refusal))
            return self._answer(start_response, request_id, refusal)
        return self._answer(start_response, request_id, None)

    def close(self) -> None:
        """End the committer; what waits for it is settled first."""
        self._committer.close()

    def _receive(self, environ: "WSGIEnvironment") -> None:
        if environ["REQUEST_METHOD"] != "POST":
            raise _Refused(405, "method_not_allowed", "This address answers POST only.")
        raw = _body(environ)
        try:
            secret = signatures.verify(raw, environ.get("HTTP_STRIPE_SIGNATURE"), self._secrets, self._rt.now().timestamp())
        except signatures.Unsigned as problem:
            raise _Refused(400, "webhook_not_signed", str(problem)) from problem
        try:
            envelope = events.envelope(raw)
        except events.NotAnEvent as problem:
            raise _Refused(400, "not_an_event", f"This is not a Stripe event: {problem}.") from problem
        if envelope.livemode and secret not in self._live:
            raise _Refused(400, "webhook_of_other_mode", "A live event is accepted under a live endpoint's secret only.")
        try:
            self._committer.keep(envelope)
        except NotKept as problem:
            raise _Refused(503, "unavailable", "The event could not be kept right now. Please deliver it again.") from problem

    def _answer(self, start_response: "StartResponse", request_id: str, refusal: _Refused | None) -> list[bytes]:
        status = refusal.status if refusal else 200
        body: dict[str, object] = {"received": True}
        if refusal:
            body = {
                "error": {
                    "type": "api_error" if status >= 500 else "invalid_request_error",
                    "code": refusal.code,
                    "message": str(refusal),
                    "param": None,
                    "request_id": request_id,
                    "doc_url": f"{self._rt.settings.base_url}/docs/errors#{refusal.code}",
                }
            }
        content = json.dumps(body).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content))), ("Request-Id", request_id)]
        headers.append(("X-Content-Type-Options", "nosniff"))
        if status == 405:
            headers.append(("Allow", "POST"))
        if status == 503:
            headers.append(("Retry-After", "5"))
        start_response(f"{status} {_REASONS[status]}", headers)
        return [content]


def _read_off(environ: "WSGIEnvironment", declared: str) -> None:
    """Let a caller who sends too much come to the end, or they would never hear our answer; but for the endless and the slow."""
    left, until = min(int(declared), _MOST_READ_OFF) if len(declared) <= 10 else 0, time.monotonic() + _READ_OFF_SECONDS
    with contextlib.suppress(Exception):  # the answer is the same
        while left > 0 and time.monotonic() < until and (part := environ["wsgi.input"].read(min(left, 1 << 16))):
            left -= len(part)


def _body(environ: "WSGIEnvironment") -> bytes:
    """The raw body, or a refusal when it is over LIMIT, however it was sent: a framework's own limit cuts a chunked body off in silence."""
    declared = environ.get("CONTENT_LENGTH") or ""
    if declared and not (declared.isascii() and declared.isdigit()):
        raise _Refused(400, "bad_request", "Content-Length is not a number.")
    if declared and (len(declared) > 10 or int(declared) > LIMIT):
        _read_off(environ, declared)
        raise _Refused(413, "too_large", f"A webhook has at most {LIMIT} bytes.")
    if declared:
        left = int(declared)
    else:
        # Chunked: the server ends the stream. With neither a length nor an end there is no body, and reading would wait for ever.
        has_end = environ.get("wsgi.input_terminated") or environ.get("HTTP_TRANSFER_ENCODING")
        left = LIMIT + 1 if has_end else 0
    parts: list[bytes] = []
    try:
        while left > 0 and (part := environ["wsgi.input"].read(left)):
            parts.append(part)
            left -= len(part)
    except Exception as problem:  # each server has its own errors for a broken body
        raise _Refused(400, "bad_request", "The body broke off.") from problem
    raw = b"".join(parts)
    if len(raw) > LIMIT:
        raise _Refused(413, "too_large", f"A webhook has at most {LIMIT} bytes.")
    return raw
