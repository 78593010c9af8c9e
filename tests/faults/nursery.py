"""A nursery: a process that has imported the product once and bears its workers by fork, so that a killed one is replaced at once."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What the nursery runs, in the tree that its workers are to come from. They die with it, and it with the test.
_BEARING = """
import ctypes, importlib, json, os, signal, sys
from jobs import queues, worker
for kind in queues.KINDS.values():
    importlib.import_module(kind.handler.partition(":")[0])
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
while line := sys.stdin.readline():
    told = json.loads(line)
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    log, nothing = os.open(told["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT), os.open(os.devnull, os.O_RDONLY)
    for kept, given in ((0, nothing), (1, log), (2, log)):
        os.dup2(given, kept)
    os.environ.update(told["environ"])
    code = 1
    try:
        code = worker.main([told["queue"]])
    finally:
        sys.stdout.flush()
        os._exit(code)
"""


@dataclass(slots=True)
class Child:
    """A worker born here, as far as a test asks for it what `subprocess.Popen` would tell.

    Nobody's parent here, so its number may be another process's as soon as it is dead: `born`, the moment that the kernel noted, tells.
    """

    pid: int
    born: str = ""
    is_dead: bool = False

    def __post_init__(self) -> None:
        self.born = self.born or (_state(self.pid) or ("", ""))[1]
        self.is_dead = not self.born

    def poll(self) -> int | None:
        """None while it lives. How it ended nobody has kept."""
        if not self.is_dead:
            found = _state(self.pid)
            self.is_dead = found is None or found[0] in "ZX" or found[1] != self.born
        return 0 if self.is_dead else None

    def send_signal(self, number: int) -> None:
        if self.is_dead:
            return
        try:
            # A handle first, and then the look: from here on the number cannot become another's.
            handle = os.pidfd_open(self.pid)
        except OSError:  # no such process, or by now a mere thread of another
            self.is_dead = True
            return
        try:
            if self.poll() is None:
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            self.is_dead = True
        finally:
            os.close(handle)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 30) -> int:
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return 0


def _state(pid: int) -> tuple[str, str] | None:
    """Its state, and when it was born, in ticks since the machine's start; None where there is none."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return told[0], told[19]


class Nursery:
    """Open it for one tree and one environment; `bear` is for one caller at a time."""

    def __init__(self, tree: Path, environ: dict[str, str], log: Path) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BEARING],
            cwd=tree,
            env={**environ, "PYTHONPATH": str(tree), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._answer() == "ready", log.read_text()

    def bear(self, queue: str, log: Path, environ: dict[str, str]) -> Child:
        """A worker on this queue, with these settings."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"queue": queue, "log": str(log), "environ": environ}) + "\n")
        self._process.stdin.flush()
        return Child(pid=int(self._answer()))

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.kill()
        self._process.wait(10)
        self._log.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
