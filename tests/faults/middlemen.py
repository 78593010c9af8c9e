"""Middlemen: they stand between workers and their servers, pass every byte on, and kill a worker at the exact message that is wanted."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from sandbox.stripe import callers

_BEGIN = b"Q\x00\x00\x00\nBEGIN\x00"
_COMMIT_ASKED, _COMMIT_DONE = b"Q\x00\x00\x00\x0bCOMMIT\x00", b"C\x00\x00\x00\x0bCOMMIT\x00"


@dataclass(slots=True, kw_only=True)
class Strike:
    """Kill whoever says or is told this, so often; `mark` is what the transaction must have held before (of PostgreSQL only).

    `is_answer`: the server has done it already, and the worker is not to hear of it.
    """

    what: bytes
    mark: bytes = b""
    is_answer: bool = False
    times: int = 1
    hits: int = 0


def commit_asked(mark: bytes, times: int = 1) -> Strike:
    """The transaction that held this mark is about to be committed, and never will be."""
    return Strike(what=_COMMIT_ASKED, mark=mark, times=times)


def commit_done(mark: bytes, times: int = 1) -> Strike:
    """It has been committed, and who asked for it dies without knowing."""
    return Strike(what=_COMMIT_DONE, mark=mark, is_answer=True, times=times)


@dataclass(slots=True)
class Middleman:
    """Listens on a port for a server that has a Unix socket. `is_down` refuses everybody, `is_mute` keeps what is said to itself."""

    upstream: str
    port: int = 0
    is_down: bool = False
    is_mute: bool = False
    strikes: list[Strike] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ends: set[socket.socket] = field(default_factory=set)
    listener: socket.socket | None = None

    def open(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._listen, args=(self.listener,), daemon=True).start()

    def close(self) -> None:
        if self.listener is not None:
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        self.cut()

    def cut(self) -> None:
        """Every connection that is open breaks now."""
        with self.lock:
            ends = list(self.ends)
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def arm(self, *strikes: Strike) -> None:
        """From now on these, and no others."""
        with self.lock:
            self.strikes = list(strikes)

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        try:
            if self.is_down:
                raise ConnectionRefusedError
            server.connect(self.upstream)
        except OSError:
            client.close()
            server.close()
            return
        with self.lock:
            self.ends |= {client, server}
        # What the present transaction held: asked by one thread and read by the other, as the protocol takes turns.
        held = bytearray()
        other = threading.Thread(target=self._carry, args=(server, client, client, held, True), daemon=True)
        other.start()
        self._carry(client, server, client, held, False)
        other.join()
        with self.lock:
            self.ends -= {client, server}
        client.close()
        server.close()

    def _carry(self, source: socket.socket, target: socket.socket, worker: socket.socket, held: bytearray, is_answer: bool) -> None:
        tail = b""
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                if not is_answer:
                    if _BEGIN in chunk:
                        held.clear()
                    held += chunk
                if self._strikes(tail + chunk, held, is_answer):
                    callers.SocketCaller(worker).kill()
                    break
                # Too little to hold a whole message: none strikes twice.
                tail = chunk[-11:]
                while self.is_mute:
                    time.sleep(0.02)
                target.sendall(chunk)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _strikes(self, said: bytes, held: bytearray, is_answer: bool) -> bool:
        with self.lock:
            for strike in self.strikes:
                fits = strike.is_answer == is_answer and strike.what in said and (not strike.mark or strike.mark in held)
                if fits and strike.hits < strike.times:
                    strike.hits += 1
                    return True
        return False


@contextlib.contextmanager
def between(upstream: str) -> Iterator[Middleman]:
    """A middleman before this Unix socket."""
    man = Middleman(upstream)
    man.open()
    try:
        yield man
    finally:
        man.close()
