"""The egress guard: the one way to an address that a user typed, for which no inside of any network is reachable."""

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests_hardened import Config, Manager
from requests_hardened.ip_filter import InvalidIPAddress, filter_host
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from connect_app.runtime import Runtime

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]

LENGTH = 2048
DEADLINE = 15.0
_CONNECT = 5.0
# What is read of an answer before the connection is closed, and how much of that is kept.
_READ, _KEPT = 64 * 1024, 1024
PORTS = (443, 8443)
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(?:[/?][A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*)?", re.ASCII)
# What neither `is_global` nor the library refuses: addresses that carry another one inside, old local ones, a cloud's own.
_CLOSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24",
        "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2002::/16", "3fff::/20", "5f00::/16",
        "fec0::/10",
    )
)  # fmt: skip


class Forbidden(Exception):
    """This address is not one that a server may be sent to; the text says why, to the person who typed it."""


class Unanswered(Exception):
    """No answer came: the text says how far it went, and of a closed door no more than of one that keeps silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, whatever its status: how it begins, and how long it asks us to wait."""

    status: int
    text: str
    retry_after: timedelta | None


class Guard:
    """Resolves a name once, looks at every address it has, and connects to the one it has looked at.

    `allow` are networks that the operator lets through, on any port and without TLS; `ports` is what all others may be reached on,
    `authorities` a file of certificates to trust in the place of the usual ones.
    """

    def __init__(
        self,
        allow: Sequence[Network] = (),
        *,
        resolve: Resolve | None = None,
        ports: Collection[int] = PORTS,
        authorities: str | None = None,
    ) -> None:
        self._allow = tuple(allow)
        self._resolve = resolve or _resolve
        self._ports = frozenset(ports)
        self._authorities = authorities or True

    def check(self, url: str) -> None:
        """Raises Forbidden for an address that nothing would be sent to as things stand now."""
        try:
            scheme, host, port = self._parts(url)
            self._vetted(scheme, host, port)
        except Unanswered as failure:
            raise Forbidden(f"{failure} Check the address for typing mistakes.") from failure

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, now: datetime, deadline: float = DEADLINE) -> Answer:
        """One POST, over within `deadline` seconds whatever the other side does. Never follows a redirect, asks no proxy, keeps no cookie.

        Raises Forbidden before anything is sent, Unanswered where no answer came.
        """
        scheme, host, port = self._parts(url)
        address, is_allowed = self._vetted(scheme, host, port)
        watch = _Watch(deadline)
        timeout = (min(_CONNECT, deadline), deadline)
        hardened = Config(ip_filter_enable=True, ip_filter_allow_loopback_ips=False, never_redirect=True, default_timeout=timeout)
        with Manager(hardened).get_session() as session, watch:
            session.trust_env = False
            session.verify = self._authorities
            session.mount(f"{scheme}://", _Line(address, is_allowed=is_allowed, is_tls=scheme == "https", watch=watch))
            sent = {"User-Agent": "Holdfast", "Accept-Encoding": "identity", **headers}
            try:
                with session.post(url, data=body, headers=sent, stream=True, timeout=timeout) as answer:
                    return Answer(status=answer.status_code, text=_begin(answer, watch), retry_after=_pause(answer, now))
            except InvalidIPAddress as refusal:
                raise Forbidden("This address leads into a private network.") from refusal
            except requests.exceptions.SSLError as failure:
                raise Unanswered("Its TLS certificate could not be verified, or the TLS handshake failed.") from failure
            except (requests.exceptions.RequestException, OSError, ValueError) as failure:
                raise Unanswered(watch.problem()) from failure

    def _parts(self, url: str) -> tuple[str, str, int]:
        if len(url) > LENGTH:
            raise Forbidden(f"An address has at most {LENGTH} characters.")
        if not _URL.fullmatch(url):
            raise Forbidden("Write a complete address such as https://example.com/hooks: ASCII only, no user name, spaces or fragment.")
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname or ""
        except ValueError:
            raise Forbidden("This is not an address.") from None
        if not host or "%" in host or "@" in parts.netloc:
            raise Forbidden("Write a host name, without a user name or a zone.")
        if host.strip("0123456789abcdefx.") == "" and re.fullmatch(r"(0x[0-9a-f]*|[0-9]+)\.?", host.rpartition(".")[2] or host):
            try:  # 127.1, 0x7f000001 and 2130706433 are ways to write an address that no one writes by accident
                ipaddress.IPv4Address(host)
            except ValueError:
                raise Forbidden("Write a host name, or an address of four decimal numbers.") from None
        return parts.scheme, host, port if port is not None else (443 if parts.scheme == "https" else 80)

    def _vetted(self, scheme: str, host: str, port: int) -> tuple[Address, bool]:
        """The address to connect to, and whether it is one that the operator let through."""
        if port == 0:
            raise Forbidden("There is no port 0.")
        try:
            found = [ipaddress.ip_address(text.partition("%")[0]) for text in self._resolve(host, port)]
        except (OSError, UnicodeError, ValueError):
            raise Unanswered("There is no such host.") from None
        if not found:
            raise Unanswered("There is no such host.")
        if all(self._is_allowed(address) for address in found):
            return found[0], True
        if not all(is_open(address) for address in found):
            raise Forbidden("This address leads into a private network.")
        if scheme != "https":
            raise Forbidden("The address must begin with https://.")
        if port not in self._ports:
            raise Forbidden(f"The port must be {' or '.join(str(one) for one in sorted(self._ports))}.")
        return found[0], False

    def _is_allowed(self, address: Address) -> bool:
        return any(address in network for network in self._allow if network.version == address.version)


def of(rt: Runtime) -> Guard:
    """The guard by the server's settings."""
    return Guard(rt.settings.egress_allow)


def is_open(address: Address) -> bool:
    """Whether an address is somewhere in the open internet, as far as its number tells."""
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped is not None or address.sixtofour or address.teredo):
        return False  # nobody writes a public address that way, and what is inside may be anything
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(address in network for network in _CLOSED if network.version == address.version)


def _resolve(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class _Watch:
    """Ends the conversation at its deadline by closing the line: a timeout of a read begins anew with each byte."""

    def __init__(self, seconds: float) -> None:
        self._line: socket.socket | None = None
        self._is_up = False
        self._until = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "_Watch":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._line is not None:
            self._line.close()

    def hold(self, line: socket.socket) -> None:
        """A second handle on the connection: TLS takes the first one away."""
        self._line = line.dup()
        if self._is_up:
            self._cut()

    def left(self) -> float:
        return self._until - time.monotonic()

    def problem(self) -> str:
        """Before there was a connection, closed and silent doors look the same."""
        if self._line is None:
            return "It could not be reached."
        return "It did not answer in time." if self._is_up or self.left() <= 0 else "It broke off without an answer."

    def _cut(self) -> None:
        self._is_up = True
        if self._line is not None:
            try:
                self._line.shutdown(socket.SHUT_RDWR)
            except OSError:
                return


class _Line(HTTPAdapter):
    """Connects to the address that was vetted, under the name that was typed; the library has its own look at the same address."""

    def __init__(self, address: Address, *, is_allowed: bool, is_tls: bool, watch: _Watch) -> None:
        super().__init__()
        self._address, self._is_allowed, self._is_tls = address, is_allowed, is_tls

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                line = super()._new_conn()
                watch.hold(line)
                return line

        class Tls(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                line = super()._new_conn()
                watch.hold(line)
                return line

        plain = type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": Plain})
        tls = type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": Tls})
        self.poolmanager.pool_classes_by_scheme = {"http": plain, "https": tls}

    def build_connection_pool_key_attributes(self, request: requests.PreparedRequest, verify: Any, cert: Any = None) -> Any:
        where, known = super().build_connection_pool_key_attributes(request, verify, cert)
        name, text, how = where["host"], str(self._address), dict(known)
        if not self._is_allowed:
            filter_host(text, where["port"] or 443, allow_loopback=False)
        host = f"[{name}]" if ":" in name else name
        request.headers["Host"] = host if where["port"] is None else f"{host}:{where['port']}"
        if self._is_tls:
            how |= {"assert_hostname": name, "server_hostname": name}
        return {**where, "host": f"[{text}]" if ":" in text else text}, how


def _begin(answer: requests.Response, watch: _Watch) -> str:
    """How the answer begins; what it means is said by its status alone, so a body that breaks off is no failure."""
    got = b""
    try:
        while len(got) < _READ and watch.left() > 0 and (part := answer.raw.read1(_READ - len(got))):
            got += part
    except Exception:  # the line is dropped either way
        return _text(got)
    return _text(got)


def _text(got: bytes) -> str:
    return got[:_KEPT].decode("utf-8", "replace").replace("\0", "")


def _pause(answer: requests.Response, now: datetime) -> timedelta | None:
    """Retry-After in either of its two forms; None where it is absent or says nothing."""
    said = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", said, re.ASCII):
        return timedelta(seconds=int(said))
    try:
        at = parsedate_to_datetime(said)
        return max(timedelta(0), at - now) if at.tzinfo else None
    except (ValueError, IndexError, TypeError):
        return None
