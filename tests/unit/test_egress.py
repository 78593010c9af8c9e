"""Nothing that a user types leads a request of ours inside: canaries on loopback hear nothing, whatever is typed and whatever DNS says."""

import datetime
import ipaddress
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jobs import egress

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
LOOPBACK = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Listener:
    """A port that counts who comes, and says what it is told to."""

    port: int = 0
    came: list[bytes] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


def whole(line: socket.socket) -> bytes:
    """One request with its body: a line that is closed before everything was read is reset, and the answer lost with it."""
    got = b""
    while b"\r\n\r\n" not in got and (part := line.recv(65536)):
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]) and (part := line.recv(65536)):
        body += part
    return head + b"\r\n\r\n" + body if head else b""


@contextmanager
def listening(say: Callable[[socket.socket], None], host: str = "127.0.0.1", port: int = 0) -> Iterator[Listener]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    heard, stop = Listener(), threading.Event()
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((host, port))
        door.listen(64)
        door.settimeout(0.02)
        heard.port = door.getsockname()[1]

        def serve() -> None:
            while not stop.is_set():
                try:
                    line, _ = door.accept()
                except TimeoutError:
                    continue
                line.settimeout(5)
                with line:
                    try:
                        heard.came.append(b"")
                        heard.came[-1] = whole(line)
                        say(line)
                    except OSError as error:
                        heard.errors.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield heard
        finally:
            stop.set()
            thread.join()


def saying(text: bytes) -> Callable[[socket.socket], None]:
    return lambda line: line.sendall(text)


@pytest.fixture
def canary() -> Iterator[Listener]:
    with listening(saying(OK)) as four, listening(saying(OK), "::1", four.port) as six:
        six.came = four.came
        yield four


def corpus(port: int) -> list[str]:
    """Addresses that have led servers inside, by families."""
    inside = [
        "127.0.0.1", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001", "127.0.0.1.",
        "127.255.255.254",
        "0", "0.0.0.0", "0x0", "00", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.1.254",  # noqa: S104
        "169.254.169.254",
        "169.254.170.2", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1",
        "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]", "[::127.0.0.1]",
        "[::7f00:1]",
        "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]",
        "[2001:0:7f00:1::]", "[2001:db8::1]", "[fe80::1]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[ff0e::1]",
        "[3fff::1]",
        "[5f00::1]", "[100::1]", "[2001:20::1]", "localhost", "LOCALHOST", "localhost.",
    ]  # fmt: skip
    shapes = ["https://{}:{}/", "https://{}:{}/latest/meta-data/?x=1", "https://{}:{}/#y", "https://user:pass@{}:{}/"]
    urls = [shape.format(host, port) for host, shape in product(inside, shapes)]
    urls += [f"https://{host}/" for host in inside]
    tricks = [
        "https://hooks.example@127.0.0.1:{p}/", "https://127.0.0.1:{p}@hooks.example/", "https://hooks.example:{p}#@127.0.0.1:{p}/",
        "https://127.0.0.1:{p}\\@hooks.example/", "https:\\\\127.0.0.1:{p}/", "https:/127.0.0.1:{p}/", "https:127.0.0.1:{p}",
        "//127.0.0.1:{p}/",
        "https://127.0.0.1:{p}\t/", "https://127.0.0.1:{p}\n.hooks.example/", "https://127.0.0.1%2f:{p}/",
        "https://127.0.0.1%00.hooks.example:{p}/",
        "https://[::1%25lo]:{p}/", "https://[::1]:{p}@hooks.example/", "https://①②⑦.⓪.⓪.①:{p}/", "https://127。0。0。1:{p}/",
        "https://ⓛocalhost:{p}/",
        "file:///etc/passwd", "gopher://127.0.0.1:{p}/_x", "dict://127.0.0.1:{p}/", "ftp://127.0.0.1:{p}/", "unix:///var/run/docker.sock",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/", "javascript:alert(1)", "data:text/plain,x", "https://", "https://:{p}/", "",
        "127.0.0.1:{p}",
        "https://127.0.0.1:99999/", "https://127.0.0.1:-1/", "https://127.0.0.1:0/", "https://[127.0.0.1]:{p}/", "https://[::1:{p}/",
        "jar:https://127.0.0.1:{p}!/",
        " https://127.0.0.1:{p}/", "https://127.0.0.1:{p}/\r\nHost: x", "https://%31%32%37.0.0.1:{p}/", "https://0x7f.1:{p}/",
        "https://127.0.0.1 :{p}/",
    ]  # fmt: skip
    return urls + [trick.format(p=port) for trick in tricks]


# What is nobody's, everybody's, or somebody's own network: addresses at both ends of it are refused.
CLOSED_4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/24", "233.252.0.0/24",
    "239.0.0.0/8", "240.0.0.0/5", "255.255.255.254/31", "168.63.129.16/32", "169.254.169.254/32",
)  # fmt: skip
CLOSED_6 = (
    "::/127", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:2::/48", "2001:10::/28", "2001:20::/28",
    "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fd00:ec2::/32", "fe80::/10", "fec0::/10", "ff00::/16",
    "ff02::/16", "ff05::/16", "ff0e::/16",
)  # fmt: skip
OPEN = "93.184.216.34"
# Ways of an IPv6 address to carry one of IPv4 inside it; even an open one is not written that way.
CARRIED = ("::ffff:{}", "::{}", "64:ff9b::{}", "::ffff:0:{}")


def closed() -> list[str]:
    """Addresses that lead into a network, or nowhere."""
    networks = [ipaddress.ip_network(each) for each in (*CLOSED_4, *CLOSED_6)]
    ends = {str(network[place % network.num_addresses]) for network in networks for place in (0, 1, -1)}
    carried = {str(ipaddress.ip_address(way.format(each))) for each in (*ends, OPEN) if ":" not in each for way in CARRIED}
    six_to_four = {str(ipaddress.IPv6Address(0x2002 << 112 | int(ipaddress.IPv4Address(each)) << 80)) for each in ends if ":" not in each}
    return sorted(ends | carried | six_to_four)


def refusal(guard: egress.Guard, url: str) -> str:
    """Why nothing is sent there. It is checked first: a guard with a hole fails the test before anything leaves this machine."""
    with pytest.raises(egress.Forbidden) as said:
        guard.check(url)
    with pytest.raises((egress.Forbidden, egress.Unanswered)) as sent:
        guard.post(url, b"{}", {}, now=NOW, deadline=2)
    assert str(said.value).startswith(str(sent.value))
    return str(sent.value)


PRIVATE = "This address leads into a private network."


def test_no_address_of_the_corpus_reaches_a_canary(canary: Listener) -> None:
    # The canary's port is let through, so that it is the address that is refused.
    urls = set(corpus(canary.port))
    assert len(urls) >= 300
    fallen = Counter(refusal(egress.Guard(ports=(443, canary.port)), url) for url in urls)
    assert canary.came == []
    assert fallen[PRIVATE] >= 120
    assert fallen["Write a complete address such as https://example.com/hooks: ASCII only, no user name, spaces or fragment."] >= 120
    assert fallen["Write a host name, or an address of four decimal numbers."] >= 30


@pytest.mark.parametrize("way", ["typed", "a name's"])
def test_each_address_that_is_somebodys_own_is_refused_for_itself_and_for_nothing_else(canary: Listener, way: str) -> None:
    urls = [
        (
            f"https://{f'[{each}]' if ':' in each else each}:{canary.port}/hooks"
            if way == "typed"
            else f"https://a.example:{canary.port}/",
            each,
        )
        for each in closed()
    ]
    assert len(set(urls)) >= 300
    elsewhere = egress.Guard(resolve=lambda _host, _port: [OPEN], ports=(canary.port,))
    for url, address in urls:
        elsewhere.check(url)
        guard = egress.Guard(resolve=None if way == "typed" else lambda _host, _port, told=address: [told], ports=(canary.port,))
        assert (url, address, refusal(guard, url)) == (url, address, PRIVATE)
    assert canary.came == []


def test_the_canary_hears_what_the_operator_lets_through(canary: Listener) -> None:
    for url in (f"http://127.0.0.1:{canary.port}/a", f"http://[::1]:{canary.port}/b", f"http://localhost:{canary.port}/c"):
        assert egress.Guard(LOOPBACK).post(url, b"{}", {}, now=NOW).status == 200
    assert [came.split()[1] for came in canary.came] == [b"/a", b"/b", b"/c"]


OPEN_6 = "2606:4700:4700::1111"


@pytest.mark.parametrize("bad", ["127.0.0.1", "::1", "10.0.0.1", "::ffff:127.0.0.1", "fe80::1%lo", "169.254.169.254", "fd00:ec2::254"])
@pytest.mark.parametrize("good", [[OPEN], [OPEN_6], [OPEN, OPEN_6], [OPEN_6, "1.1.1.1", OPEN]])
def test_a_name_is_as_closed_as_the_worst_of_its_addresses(canary: Listener, good: list[str], bad: str) -> None:
    url = f"https://hooks.example:{canary.port}/"
    for place in range(len(good) + 1):
        guard = egress.Guard(resolve=lambda _host, _port, at=place: [*good[:at], bad, *good[at:]], ports=(canary.port,))
        assert refusal(guard, url) == PRIVATE
    egress.Guard(resolve=lambda _host, _port: good, ports=(canary.port,)).check(url)
    assert canary.came == []


def test_a_name_without_an_address_is_no_host() -> None:
    assert refusal(egress.Guard(resolve=lambda _host, _port: []), "https://hooks.example/") == "There is no such host."


@pytest.mark.parametrize("other", ["127.0.0.1", "::1", OPEN, OPEN_6, "10.0.0.1"])
def test_what_the_operator_lets_through_opens_nothing_beside_it(canary: Listener, other: str) -> None:
    with listening(saying(OK), "127.0.0.2", canary.port) as mine:
        for answers in (["127.0.0.2", other], [other, "127.0.0.2"], ["127.0.0.2", other, "127.0.0.2"]):
            guard = egress.Guard([ipaddress.ip_network("127.0.0.2/32")], resolve=lambda _host, _port, told=answers: told)
            for scheme in ("http", "https"):
                assert refusal(guard, f"{scheme}://hooks.example:{canary.port}/") == PRIVATE
    assert mine.came == canary.came == []


def test_a_name_that_changes_its_answer_is_looked_at_each_time(canary: Listener) -> None:
    inside = ["127.0.0.1"], [OPEN, "127.0.0.1"], ["::1"]
    answers = [[OPEN], *(each for each in inside[:2] for _ in range(2)), [OPEN_6], inside[2], inside[2]]
    guard = egress.Guard(resolve=lambda _host, _port: answers.pop(0), ports=(canary.port,))
    url = f"https://hooks.example:{canary.port}/"
    guard.check(url)
    for _ in range(2):
        assert refusal(guard, url) == PRIVATE
    guard.check(url)
    assert refusal(guard, url) == PRIVATE
    assert answers == []
    assert canary.came == []


@pytest.mark.parametrize(("scheme", "host"), [("http", "localhost"), ("https", "localhost"), ("http", "hooks.example")])
def test_what_was_looked_at_is_what_is_connected_to_whatever_the_name_says_by_then(canary: Listener, scheme: str, host: str) -> None:
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

    # Of itself, localhost is where the canary sits: a second look by whoever makes the connection would wake it.
    with listening(saying(OK), "127.0.0.2", canary.port) as mine:
        guard = egress.Guard([ipaddress.ip_network("127.0.0.2/32")], resolve=rebinding)
        try:
            assert guard.post(f"{scheme}://{host}:{canary.port}/x", b"", {}, now=NOW, deadline=2).text == "ok"
            assert f"Host: {host}:{canary.port}".encode() in mine.came[0]
        except egress.Unanswered:
            assert scheme == "https", "the listener speaks no TLS"
    assert asked == [host]
    assert len(mine.came) == 1
    assert canary.came == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["http://127.0.0.1:{}/", "//127.0.0.1:{}/", "http://[::1]:{}/", "http://localhost:{}/"])
def test_a_redirect_is_an_answer_and_nothing_more(canary: Listener, status: int, where: str) -> None:
    to = where.format(canary.port)
    away = f"HTTP/1.1 {status} Away\r\nLocation: {to}\r\nRefresh: 0; url={to}\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n".encode()
    with listening(saying(away), "127.0.0.2") as sink:
        guard = egress.Guard([ipaddress.ip_network("127.0.0.2/32")])
        for _ in range(2):
            assert guard.post(f"http://127.0.0.2:{sink.port}/", b"", {}, now=NOW).status == status
    assert len(sink.came) == 2
    assert b"Cookie" not in sink.came[1]
    assert canary.came == []


def test_proxies_and_passwords_of_the_environment_are_not_used(canary: Listener, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.2 login canary password canary\n")
    proxy = f"http://127.0.0.1:{canary.port}"
    code = (
        "import ipaddress, sys, datetime\nfrom jobs import egress\nguard = egress.Guard([ipaddress.ip_network('127.0.0.2/32')])\n"
        "guard.post(sys.argv[1], b'', {}, now=datetime.datetime.now(datetime.UTC))\n"
    )
    with listening(saying(OK), "127.0.0.2") as sink:
        environ = {**os.environ, "HTTP_PROXY": proxy, "http_proxy": proxy, "ALL_PROXY": proxy, "HOME": str(tmp_path), "NO_PROXY": ""}
        subprocess.run([sys.executable, "-c", code, f"http://127.0.0.2:{sink.port}/"], env=environ, check=True, timeout=60)
    assert len(sink.came) == 1
    assert b"Authorization" not in sink.came[0]
    assert canary.came == []


def drip(line: socket.socket) -> None:
    for _ in range(100):
        line.sendall(b"H")
        time.sleep(0.05)


def flood(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
    while True:
        line.sendall(b"x" * 65536)


def trickle(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    drip(line)


def test_an_answer_that_never_ends_its_head_is_cut_off_in_time() -> None:
    with listening(drip) as sink:
        started = time.monotonic()
        with pytest.raises(egress.Unanswered, match="in time"):
            egress.Guard(LOOPBACK).post(f"http://127.0.0.1:{sink.port}/", b"", {}, now=NOW, deadline=0.4)
        assert time.monotonic() - started < 3


@pytest.mark.parametrize(("say", "deadline"), [(flood, 8.0), (trickle, 0.6)])
def test_a_body_without_end_is_left_behind(say: Callable[[socket.socket], None], deadline: float) -> None:
    with listening(say) as sink:
        started = time.monotonic()
        answer = egress.Guard(LOOPBACK).post(f"http://127.0.0.1:{sink.port}/", b"", {}, now=NOW, deadline=deadline)
        assert time.monotonic() - started < 4
    assert answer.status == 200
    assert len(answer.text) <= 1024


def test_a_closed_door_and_a_silent_one_say_the_same() -> None:
    with socket.socket() as silent, socket.socket() as first, socket.socket() as second:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        with pytest.raises(egress.Unanswered) as hushed:
            egress.Guard(LOOPBACK).post(f"http://127.0.0.1:{port}/", b"", {}, now=NOW, deadline=0.4)
    with pytest.raises(egress.Unanswered) as closed:
        egress.Guard(LOOPBACK).post(f"http://127.0.0.1:{port}/", b"", {}, now=NOW, deadline=0.4)
    assert str(hushed.value) == str(closed.value) == "It could not be reached."


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for hooks.example, signed by itself, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    path = tmp_path_factory.mktemp("tls") / "hooks.pem"
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(text + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def listening_by_tls(certificate: Path) -> Iterator[tuple[int, list[str | None], list[bytes]]]:
    """(port, the names that were asked for, what came)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    names: list[str | None] = []
    came: list[bytes] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            line, _ = door.accept()
            try:
                with context.wrap_socket(line, server_side=True) as tls:
                    came.append(whole(tls))
                    tls.sendall(OK)
            except OSError:
                line.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield door.getsockname()[1], names, came
        thread.join()


def test_by_tls_the_name_is_asked_for_and_checked_at_the_address_that_was_looked_at(certificate: Path) -> None:
    guard = egress.Guard(LOOPBACK, resolve=lambda _host, _port: ["127.0.0.1"], authorities=str(certificate))
    with listening_by_tls(certificate) as (port, names, came):
        assert guard.post(f"https://hooks.example:{port}/", b"{}", {}, now=NOW).status == 200
    assert names == ["hooks.example"]
    assert f"Host: hooks.example:{port}".encode() in came[0]


@pytest.mark.parametrize(("host", "is_trusted"), [("hooks.example", False), ("other.example", True)])
def test_a_certificate_that_proves_nothing_ends_it(certificate: Path, host: str, is_trusted: bool) -> None:
    authorities = str(certificate) if is_trusted else None
    guard = egress.Guard(LOOPBACK, resolve=lambda _host, _port: ["127.0.0.1"], authorities=authorities)
    with listening_by_tls(certificate) as (port, _, came), pytest.raises(egress.Unanswered, match="TLS"):
        guard.post(f"https://{host}:{port}/", b"{}", {}, now=NOW)
    assert b"".join(came) == b""


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001:80e::200e"])
def test_the_open_internet_is_open(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    for port in ("", ":443", ":8443"):
        egress.Guard(resolve=lambda host, _port: [host.strip("[]")]).check(f"https://{host}{port}/hooks?a=b")
    for wrong in (f"http://{host}/", f"http://{host}:443/", f"https://{host}:22/", f"https://{host}:80/", f"https://{host}:6379/"):
        with pytest.raises(egress.Forbidden):
            egress.Guard(resolve=lambda host, _port: [host.strip("[]")]).check(wrong)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120), ("Sun, 01 Mar 2026 12:01:30 GMT", 90), ("Sun, 01 Mar 2026 11:00:00 GMT", 0), ("soon", None), ("-5", None), ("", None)],
)
def test_retry_after_is_read_in_both_its_forms(said: str, seconds: int | None) -> None:
    head = f"HTTP/1.1 503 Busy\r\nRetry-After: {said}\r\nContent-Length: 0\r\n\r\n".encode()
    with listening(saying(head)) as sink:
        answer = egress.Guard(LOOPBACK).post(f"http://127.0.0.1:{sink.port}/", b"", {}, now=NOW)
    assert answer.status == 503
    assert answer.retry_after == (None if seconds is None else datetime.timedelta(seconds=seconds))
