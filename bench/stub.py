"""A Stripe API that answers reads at once from invented objects: `python -m bench.stub PORT`.

For peers that read Stripe while they process an event, and for reading in an account that is too large for the local Stripe. With
`--limit` it refuses (429) more requests in a second than Stripe would; `--size` says how long the lists are, `--latency` how slow it is.
"""

import argparse
import asyncio
import bisect
import json
import sys
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

from bench import events

# The account is older than the first of its objects, which were made evenly over some two years.
_OPENED, _LAST_MADE = 1_700_000_000, 1_770_825_529

_MISSING = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such object"}}
_LIMITED = {"error": {"type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests"}}
_REFERRED: dict[str, Callable[[str], events.Json]] = {
    "customers": events.customer,
    "prices": lambda _: events.price(),
    "plans": lambda _: events.plan(),
    "products": lambda _: events.product(),
    "accounts": lambda id: account(id),
}


def account(id: str) -> events.Json:
    return {
        "id": id,
        "object": "account",
        "business_profile": {"name": "Bench", "mcc": None, "url": None, "support_email": None, "support_phone": None, "support_url": None},
        "business_type": "company",
        "charges_enabled": True,
        "country": "US",
        "created": _OPENED,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "owner@example.com",
        "metadata": {},
        "payouts_enabled": True,
        "settings": {"branding": {"icon": None, "logo": None}, "dashboard": {"display_name": "Bench", "timezone": "Etc/UTC"}},
        "type": "standard",
    }


class Books:
    """What the account holds: so many customers with a subscription each, made evenly over its age; one price, one product."""

    def __init__(self, size: int, limit: int) -> None:
        self._size = size
        self._limit = limit
        self._asked: deque[float] = deque()
        self.answered = 0
        self.refused = 0
        self.first = 0.0
        self.last = 0.0

    def answer(self, target: str) -> tuple[int, events.Json]:
        url = urlsplit(target)
        path = url.path.removeprefix("/v1/").strip("/").split("/")
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if path == ["_bench"]:
            return 200, {"answered": self.answered, "refused": self.refused, "seconds": self.last - self.first}
        now = time.monotonic()
        if self._limit:
            while self._asked and self._asked[0] <= now - 1:
                self._asked.popleft()
            if len(self._asked) >= self._limit:
                self.refused += 1
                return 429, _LIMITED
            self._asked.append(now)
        self.first = self.first or now
        self.last = now
        self.answered += 1
        if len(path) == 1:
            return 200, account("acct_1BenchPlatform") if path[0] == "account" else self._page(path[0], query)
        return (200, self._page(path[2], query)) if len(path) == 3 else self._one(path[0], path[1])

    def _one(self, kind: str, id: str) -> tuple[int, events.Json]:
        if kind == "subscriptions":
            return 200, events.subscription(id, f"cus_Bench{id[-9:]}", 1_805_385_529)
        read = _REFERRED.get(kind)
        return (200, read(id)) if read else (404, _MISSING)

    def _page(self, kind: str, query: dict[str, str]) -> events.Json:
        after = query.get("starting_after", "")
        data: list[events.Json] = []
        has_more = False
        if kind in ("customers", "subscriptions"):
            start = max(int(after[-9:]) + 1 if after else 0, self._first_before(query.get("created[lt]")))
            oldest = self._first_before(query.get("created[gte]")) if "created[gte]" in query else self._size
            end = min(oldest, start + int(query.get("limit", 10)))
            has_more = end < oldest
            data = [self._made(kind, number) for number in range(start, end)]
        match kind:
            case "products" if not after:
                data = [events.product()]
            case "prices" if not after:
                data = [events.price()]
            case _:
                pass
        return {"object": "list", "data": data, "has_more": has_more, "url": f"/v1/{kind}"}

    def _made(self, kind: str, number: int) -> events.Json:
        owner = events.customer_id(number)
        one = events.customer(owner) if kind == "customers" else events.subscription(events.subscription_id(number), owner, 1_805_385_529)
        return {**one, "created": self._created(number)}

    def _created(self, number: int) -> int:
        """The newest has the number 0."""
        return _LAST_MADE - number * (_LAST_MADE - _OPENED) // self._size

    def _first_before(self, bound: str | None) -> int:
        """The number of the newest that was created before this second; without a bound, of the newest."""
        if bound is None:
            return 0
        return bisect.bisect_left(range(self._size), True, key=lambda number: self._created(number) < int(bound))


class _Connection(asyncio.Protocol):
    def __init__(self, books: Books, latency: float) -> None:
        self._books = books
        self._latency = latency
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer and self._transport is not None:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            status, body = self._books.answer(head.split(b" ", 2)[1].decode())
            content = json.dumps(body).encode()
            said = {200: "OK", 404: "Not Found", 429: "Too Many Requests"}[status]
            lines = f"HTTP/1.1 {status} {said}\r\nContent-Type: application/json\r\nDate: {formatdate(usegmt=True)}\r\n"
            lines += f"Request-Id: req_bench\r\nContent-Length: {len(content)}\r\n\r\n"
            answer = lines.encode() + content
            if self._latency:
                # Nobody here asks again on a line before the answer has come.
                asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)
            else:
                self._transport.write(answer)


async def _serve(port: int, books: Books, latency: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(books, latency), "127.0.0.1", port)
    await server.serve_forever()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stub")
    parser.add_argument("port", type=int)
    parser.add_argument("--limit", type=int, default=0, help="requests a second; 0: any number")
    parser.add_argument("--size", type=int, default=0, help="how many customers, with a subscription each")
    parser.add_argument("--latency", type=int, default=0, help="milliseconds until an answer leaves")
    asked = parser.parse_args(arguments)
    asyncio.run(_serve(asked.port, Books(asked.size, asked.limit), asked.latency / 1000))


if __name__ == "__main__":
    main(sys.argv[1:])
