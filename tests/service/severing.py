"""A line to the local Stripe that can be cut: it answers over a real socket, and breaks off where it is told to."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import parse_headers
from io import BufferedReader
from urllib.parse import unquote, urlsplit

from sandbox.stripe.local import LocalStripe
from sandbox.stripe.wire import Reply, Request

PLACES = ("nothing", "a byte", "half the head", "the head", "half", "all but a byte")


@dataclass(slots=True)
class Line:
    """Where it listens, and how often it was cut."""

    local: LocalStripe
    port: int
    place: str | None = None
    cut: int = 0
    known: set[tuple[str, str]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cuts_each_once(self, place: str) -> None:
        """From now on the first answer to each method and path, which Stripe has carried out by then, breaks off at this place."""
        self.place = place
        self.known.clear()

    def answer(self, connection: socket.socket) -> None:
        """One request, whole; and as much of its answer as there shall be."""
        with connection.makefile("rb") as said:
            request = _read(said)
        if request is None:
            return
        reply = self.local.answer(request)
        head, body = _head(reply), reply.body
        one = (request.method, request.path)
        if self.place is None or one in self.known:
            connection.sendall(head + body)
            return
        self.known.add(one)
        self.cut += 1
        lengths = dict(zip(PLACES, (0, 1, len(head) // 2, len(head), len(head) + len(body) // 2, len(head) + len(body) - 1), strict=True))
        connection.sendall((head + body)[: lengths[self.place]])
        if self.cut % 2:  # now and then it is a reset rather than an end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _read(said: BufferedReader) -> Request | None:
    words = said.readline().decode().split()
    if not words:
        return None
    headers = {name.lower(): value for name, value in parse_headers(said).items()}
    target = urlsplit(words[1])
    body = said.read(int(headers.get("content-length", "0")))
    return Request(method=words[0], path=unquote(target.path), query=target.query, headers=headers, body=body)


def _head(reply: Reply) -> bytes:
    told = {**reply.headers, "Content-Length": str(len(reply.body)), "Connection": "close"}
    return "".join([f"HTTP/1.1 {reply.status} So\r\n", *(f"{name}: {value}\r\n" for name, value in told.items()), "\r\n"]).encode()


@contextlib.contextmanager
def line(local: LocalStripe) -> Iterator[Line]:
    """A line to this Stripe, on a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as door:
        made = Line(local, door.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    connection, _ = door.accept()
                except OSError:
                    return
                with contextlib.closing(connection), contextlib.suppress(OSError):
                    made.answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield made
        door.shutdown(socket.SHUT_RDWR)
        thread.join()
