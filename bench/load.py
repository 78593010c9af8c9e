"""The load generator: so many connections that each send a freshly signed event as soon as the one before is answered.

A process of its own, `python -m bench.load`, that prints one JSON line: nothing of what it measures runs inside it.
"""

import argparse
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench import events, figures

CONNECTIONS = 32


@dataclass(slots=True, kw_only=True)
class _Line:
    """One connection: when its request left, and what has come of the answer."""

    socket: socket.socket
    sent_at: float = 0.0
    received: bytearray = field(default_factory=bytearray)


def fire(port: int, make: Callable[[], bytes], *, connections: int, seconds: float, rate: float = 0.0) -> figures.Run:
    """Keep all connections busy for so long (or send `rate` a second, timed from when each was due); count answers, time each.

    `make` gives a whole request. Raises ConnectionError when nobody listens.
    """
    poll = select.epoll()
    lines: dict[int, _Line] = {}
    took: list[float] = []
    errors = 0
    begun = time.perf_counter()
    until = begun + seconds
    idle: list[_Line] = []

    def connect() -> _Line:
        line = _Line(socket=socket.create_connection(("127.0.0.1", port)))
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines[line.socket.fileno()] = line
        poll.register(line.socket.fileno(), select.EPOLLIN)
        return line

    def drop(line: _Line) -> None:
        lines.pop(line.socket.fileno())
        poll.unregister(line.socket.fileno())
        line.socket.close()

    def send(line: _Line, due: float | None = None) -> None:
        line.received.clear()
        request = make()
        line.sent_at = due or time.perf_counter()
        line.socket.sendall(request)

    busy = 0
    sent = 0
    for _ in range(connections):
        line = connect()
        if rate:
            idle.append(line)
        else:
            send(line)
            busy += 1
    while True:
        now = time.perf_counter()
        if now >= until and (not busy or now > until + 10):
            break
        while rate and idle and now < until and begun + sent / rate <= now:
            send(idle.pop(), begun + sent / rate)
            sent += 1
            busy += 1
        wait = max(0.0, min(until, begun + sent / rate) - now) if rate and idle and now < until else 0.5
        for number, _ in poll.poll(wait):
            line = lines[number]
            try:
                part = line.socket.recv(65536)
            except OSError:
                part = b""
            line.received += part
            if part and not _is_whole(line.received):
                continue
            now = time.perf_counter()
            busy -= 1
            if line.received[9:10] == b"2" and _is_whole(line.received):
                if now <= until or rate:
                    took.append((now - line.sent_at) * 1000)
            else:
                errors += 1
            if not part or _is_last(line.received):
                drop(line)
                line = connect()
            if rate:
                idle.append(line)
            elif now < until:
                send(line)
                busy += 1
    for line in list(lines.values()):
        drop(line)
    poll.close()
    late = time.perf_counter() - until
    return figures.Run.of(took, errors, seconds + min(0.0, late), time.time() - max(0.0, late))


def _is_whole(answer: bytearray) -> bool:
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    text = bytes(answer[:head]).lower()
    at = text.find(b"content-length:")
    if at >= 0:
        return len(answer) >= head + 4 + int(text[at + 15 :].split(b"\r\n", 1)[0])
    if b"transfer-encoding: chunked" in text:
        return answer.endswith(b"0\r\n\r\n")
    return text[9:12] == b"204"


def _is_last(answer: bytearray) -> bool:
    return b"connection: close" in bytes(answer[:400]).lower()


def post(maker: events.Maker, path: str) -> Callable[[], bytes]:
    """Requests that each bring a new event to `path`."""

    def make() -> bytes:
        body = maker.body()
        return (
            b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json; charset=utf-8\r\nUser-Agent: Stripe/1.0\r\n"
            b"Stripe-Signature: %s\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), maker.sign(body), len(body), body)
        )

    return make


def get(paths: list[str]) -> Callable[[], bytes]:
    """Requests for these pages, one after the other, from the start again after the last."""
    count = 0

    def make() -> bytes:
        nonlocal count
        count += 1
        return (
            b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\n\r\n" % paths[count % len(paths)].encode()
        )

    return make


def start(
    port: int,
    path: str,
    *,
    seconds: float,
    subscriptions: int = 20_000,
    accounts: int = 0,
    connections: int = CONNECTIONS,
    rate: float = 0.0,
    secret: str = events.SECRET,
) -> "subprocess.Popen[str]":
    """Start the generator in a process of its own; `finish` waits for it."""
    command = [sys.executable, "-m", "bench.load", "--port", str(port), "--path", path, "--seconds", str(seconds), "--secret", secret]
    command += ["--subscriptions", str(subscriptions), "--accounts", str(accounts), "--connections", str(connections), "--rate", str(rate)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> figures.Run:
    """What the generator measured. Raises RuntimeError where nothing was answered with a 2xx."""
    out, _ = process.communicate(timeout=180)
    if process.returncode:
        raise RuntimeError("nothing was answered well in time")
    return figures.Run.decode(out)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/webhooks/stripe")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--secret", default=events.SECRET)
    parser.add_argument("--subscriptions", type=int, default=20_000)
    parser.add_argument("--accounts", type=int, default=0)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--rate", type=float, default=0.0)
    asked = parser.parse_args()
    maker = events.Maker(
        subscriptions=asked.subscriptions, accounts=[events.account(number) for number in range(asked.accounts)], secret=asked.secret
    )
    run = fire(asked.port, post(maker, asked.path), connections=asked.connections, seconds=asked.seconds, rate=asked.rate)
    sys.stdout.write(run.encode() + "\n")


if __name__ == "__main__":
    main()
