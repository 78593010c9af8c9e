"""Callers: the process at the other end of a TCP connection, and how to leave it without an answer."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from pathlib import Path


class SocketCaller:
    """The peer of this socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def hold(self, seconds: float) -> None:
        """Wait until the caller hangs up, at most so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            readable, _, _ = select.select([self._connection], [], [], min(left, 0.2))
            try:
                if readable and not self._connection.recv(1, socket.MSG_PEEK):
                    return
            except OSError:
                return
            if readable:
                time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL every process, but this one, that holds the other end of the connection."""
        _host, port = self._connection.getpeername()[:2]
        for pid in _holders(_inode(port)):
            if pid != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _inode(port: int) -> str | None:
    """The inode of the local socket that is bound to this port and connected."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == "01":
                return fields[9]
    return None


def _holders(inode: str | None) -> list[int]:
    if inode in (None, "0"):
        return []
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if any(os.readlink(fd) == f"socket:[{inode}]" for fd in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found
