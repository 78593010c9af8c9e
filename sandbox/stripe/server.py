"""The door for processes: HTTP/1.1 with kept connections, one thread each, and the same as a WSGI app."""

from __future__ import annotations

import contextlib
import http
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from sandbox.stripe.callers import SocketCaller
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.wire import Dropped, Reply, Request

_MOST_BYTES = 1 << 20

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., object]], Iterable[bytes]]


def wsgi(local: LocalStripe) -> App:
    """The local Stripe as a WSGI app. Without the socket a dropped connection is a 502."""

    def app(environ: Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
        length = int(environ.get("CONTENT_LENGTH") or 0)
        request = Request(
            method=environ["REQUEST_METHOD"],
            path=environ.get("PATH_INFO", "/"),
            query=environ.get("QUERY_STRING", ""),
            headers=headers,
            body=environ["wsgi.input"].read(length) if length else b"",
        )
        try:
            reply = local.answer(request)
        except Dropped:
            reply = Reply(status=502)
        phrase = http.HTTPStatus(reply.status).phrase
        start_response(f"{reply.status} {phrase}", [*reply.headers.items(), ("Content-Length", str(len(reply.body)))])
        return [reply.body]

    return app


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit() or int(length) > _MOST_BYTES:
            self.close_connection = True
            self._send(Reply(status=411 if "Transfer-Encoding" in self.headers else 413))
            return
        target = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(target.path),
            query=target.query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(length)),
            caller=SocketCaller(self.connection),
        )
        try:
            self._send(self.server.local.answer(request))
        except Dropped:
            self.close_connection = True
            # No linger: the close below is a reset, not a polite end.
            with contextlib.suppress(OSError):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.server.dropped.add(self.connection)
        except Exception:  # a bug here must not pass for a fault of the network
            traceback.print_exc()
            self._send(Reply(status=500, headers={"Content-Type": "text/plain"}, body=b"The local Stripe has a bug: see its log.\n"))

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = do_OPTIONS = _serve

    def _send(self, reply: Reply) -> None:
        lines = [f"HTTP/1.1 {reply.status} {http.HTTPStatus(reply.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        lines += [f"Content-Length: {len(reply.body)}", *(["Connection: close"] if self.close_connection else []), "", ""]
        body = b"" if self.command == "HEAD" else reply.body
        with contextlib.suppress(OSError):  # the caller may have gone
            self.wfile.write("\r\n".join(lines).encode("latin-1", "replace") + body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet: `/_sandbox/requests` tells more."""


class Server(ThreadingHTTPServer):
    """The listening socket; `serve_forever` answers until `shutdown`."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, local: LocalStripe, host: str, port: int) -> None:
        self.local = local
        self.dropped: set[socket.socket] = set()
        super().__init__((host, port), _Handler)

    def shutdown_request(self, request: Any) -> None:
        """Close; a dropped connection without the goodbye."""
        if request in self.dropped:
            self.dropped.discard(request)
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is no error; anything else is told."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
