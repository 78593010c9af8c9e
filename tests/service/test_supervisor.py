"""Children are heard, stopped and restarted by name, and none outlives its supervisor, however that ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import stage, supervisor

SLEEPER = [sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(600)"]
# A child that ignores SIGTERM, with a grandchild in its group.
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print(child.pid, flush=True); time.sleep(600)",
]


def until(is_so: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)
    return is_so()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_is_heard_and_logged_and_stopped_on_the_way_out(tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []
    with supervisor.Supervisor(lambda name, line: heard.append((name, line)), folder=stage.ROOT, logs=tmp_path) as running:
        child = running.start("sleeper", SLEEPER, os.environ)
        assert until(lambda: ("sleeper", "awake") in heard)
        assert child.is_running
    assert not child.is_running
    assert (tmp_path / "sleeper.log").read_text() == "awake\n"


def test_a_child_that_will_not_stop_is_made_to_with_all_its_group(tmp_path: Path) -> None:
    heard: list[str] = []
    with supervisor.Supervisor(lambda _name, line: heard.append(line), folder=tmp_path.parent) as running:
        running.start("stubborn", STUBBORN, os.environ)
        assert until(lambda: bool(heard))
        running.stop("stubborn", patience=0.3)
        assert until(lambda: not is_alive(int(heard[0])))


def test_a_restarted_child_is_another_process(tmp_path: Path) -> None:
    with supervisor.Supervisor(lambda _name, _line: None, folder=tmp_path) as running:
        first = running.start("sleeper", SLEEPER, os.environ).process.pid
        second = running.restart("sleeper").process.pid
        assert first != second
        assert not is_alive(first)
        assert is_alive(second)


def test_a_child_that_dies_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with supervisor.Supervisor(lambda _name, _line: None, folder=tmp_path) as running:
        running.start("weak", [sys.executable, "-c", "print('no bread'); raise SystemExit(7)"], os.environ)
        with pytest.raises(supervisor.ChildDied, match=r"weak ended with code 7[\s\S]*no bread"):
            running.wait_until("weak", lambda: False, seconds=10)


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """kill -9 gives no chance to clean up: the guard at the other end of the pipe does."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "file").write_text("x")
    program = (
        "import os, sys, time; from pathlib import Path; from sandbox import supervisor\n"
        f"s = supervisor.Supervisor(lambda n, l: print(l, flush=True), folder=Path({str(stage.ROOT)!r})).__enter__()\n"
        f"s.tell_guard('delete {folder}')\n"
        f"s.start('stubborn', {STUBBORN!r}, os.environ)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=stage.ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        grandchild = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
        assert until(lambda: not is_alive(grandchild), 15)
        assert until(lambda: not folder.exists())


def test_a_taken_port_is_named_before_anything_is_started() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(stage.PortTaken, match=f"Port {port}"):
            stage.Ports(web=port, stripe=port + 1, shop=port + 2).check()
