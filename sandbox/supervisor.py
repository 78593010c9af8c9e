"""Child processes by name: started in groups of their own, heard line by line, and stopped whatever happens to their parent."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Hear = Callable[[str, str], None]


class ChildDied(Exception):
    """A child ended before it was ready; the text holds its last lines."""


@dataclass(slots=True, kw_only=True)
class Child:
    """One running process: how it was started, and the last lines it said."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    process: subprocess.Popen[str]
    tail: list[str] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None


class Supervisor:
    """Starts and stops named children. Use as a context manager: on the way out everything it started is stopped.

    A guard, a process of its own, waits at the other end of a pipe: where the supervisor itself is killed hard, the guard stops what is
    left and deletes the folders it was told of.
    """

    def __init__(self, hear: Hear, *, folder: Path, logs: Path | None = None) -> None:
        self.children: dict[str, Child] = {}
        self._hear = hear
        self._folder = folder
        self._logs = logs
        self._guard: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Supervisor":
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "sandbox.supervisor"],
            stdin=subprocess.PIPE,
            cwd=self._folder,
            start_new_session=True,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.close()
            self._guard.wait(30)

    def start(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> Child:
        """Start `command` as `name` with exactly `environ`; its output goes line by line to `hear(name, line)` and to its log file."""
        process = subprocess.Popen(  # noqa: S603
            command,
            env=dict(environ),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
            bufsize=1,
        )
        child = Child(name=name, command=command, environ=environ, process=process)
        self.children[name] = child
        self.tell_guard(f"group {process.pid}")
        threading.Thread(target=self._listen, args=(child,), name=f"hear-{name}", daemon=True).start()
        return child

    def stop(self, name: str, patience: float = 10.0) -> None:
        """Ask the whole group to end, insist after `patience` seconds."""
        child = self.children.pop(name)
        _end_groups([child.process.pid], patience)
        child.process.wait(10)
        self.tell_guard(f"ended {child.process.pid}")

    def restart(self, name: str) -> Child:
        """Stop `name` and start it again as it was."""
        child = self.children[name]
        self.stop(name)
        return self.start(name, child.command, child.environ)

    def stop_all(self) -> None:
        """Stop every child, all at once: each lets go of what it has in hand by itself."""
        children, self.children = list(self.children.values()), {}
        _end_groups([child.process.pid for child in children], patience=10.0)
        for child in children:
            child.process.wait(10)
            self.tell_guard(f"ended {child.process.pid}")

    def wait_until(self, name: str, is_ready: Callable[[], bool], seconds: float) -> None:
        """Wait for `is_ready`; raises ChildDied when `name` ends first or takes longer."""
        child = self.children[name]
        until = time.monotonic() + seconds
        while not is_ready():
            if not child.is_running or time.monotonic() > until:
                time.sleep(0.2)
                what = f"is not ready after {seconds:.0f} s" if child.is_running else f"ended with code {child.process.returncode}"
                raise ChildDied("\n".join([f"{name} {what}. Its last lines:", *child.tail[-20:]]))
            time.sleep(0.1)

    def tell_guard(self, line: str) -> None:
        """Note for the guard: `group <pid>`, `ended <pid>`, or `delete <folder or file>`."""
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ValueError):
                self._guard.stdin.write(line + "\n")

    def _listen(self, child: Child) -> None:
        stream = child.process.stdout
        if stream is None:
            return
        with contextlib.ExitStack() as stack:
            stack.enter_context(stream)
            log = stack.enter_context((self._logs / f"{child.name}.log").open("a")) if self._logs else None
            for line in stream:
                text = line.rstrip("\n")
                child.tail = [*child.tail[-199:], text]
                if log:
                    log.write(line)
                    log.flush()
                self._hear(child.name, text)


def _end_groups(groups: Sequence[int], patience: float) -> None:
    """SIGTERM to each process group, and SIGKILL to what is left of them once their leaders ended or `patience` seconds are over."""
    for group in groups:
        _signal(group, signal.SIGTERM)
    until = time.monotonic() + patience
    while any(is_alive(group) for group in groups) and time.monotonic() < until:
        time.sleep(0.02)
    for group in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def is_alive(process: int) -> bool:
    """Whether the process of this number still does something."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):
        return False
    # One that ended and that nobody has asked about yet still has a number, but does nothing any more.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def guard() -> None:
    """Wait until the supervisor is gone, then stop and delete what it has left behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: list[int] = []
    folders: list[Path] = []
    for line in sys.stdin:
        what, _, value = line.strip().partition(" ")
        if what == "group":
            groups.append(int(value))
        elif what == "ended":
            groups.remove(int(value))
        elif what == "delete":
            folders.append(Path(value))
    # Newest first; a database asked to end while its clients are connected still ends cleanly.
    _end_groups(groups[::-1], patience=5.0)
    for folder in folders:
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink(missing_ok=True)


if __name__ == "__main__":
    guard()
