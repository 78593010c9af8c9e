"""The web server: granian's worker processes behind one listening socket that outlives them, so that none is missed while they change.

`python -m connect_app.server --host 0.0.0.0 --port 8000 --workers 2`; SIGHUP replaces the workers one after the other, with the
code as it is then; SIGTERM lets them finish what they have in hand.
"""

import argparse
import contextlib
import os
import signal
import socket
import sys
import time
from typing import Any

from granian._granian import ListenerSpec
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer, WorkerProcess

APPLICATION = "connect_app.wsgi:application"
# Seconds for a worker to finish what it has in hand.
_GRACE = 20
# Seconds in which a worker that lets nobody else in reads what those say whom it has let in.
_LET_IN = 1.0
# What a worker ends with that has said why it cannot run here.
_REFUSED = 2


class Worker(WorkerProcess):
    """A worker that lets nobody else in before it ends to be replaced: what it has accepted and not yet read, it would drop."""

    def terminate(self) -> None:
        self.interrupt_by_parent = True
        if not self.parent.interrupt_signal:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.inner.pid, signal.SIGUSR1)
                time.sleep(_LET_IN)
        super().terminate()  # type: ignore[no-untyped-call]


class Server(MPServer):
    """Granian, but for the socket: its own workers listen on one each, and what waits in that is lost when the worker goes."""

    def _init_shared_socket(self) -> None:
        listener = ListenerSpec(self.bind_addr, self.bind_port, self.backlog).build()
        self._shd, self._sfd = listener, listener.get_fd()  # type: ignore[assignment]
        self._sso = socket.socket(fileno=self._sfd)
        self._sso.set_inheritable(True)

    def _spawn_worker(self, *arguments: Any, **options: Any) -> WorkerProcess:
        worker = super()._spawn_worker(*arguments, **options)
        worker.__class__ = Worker
        return worker

    def _respawn_workers(self, workers: list[int], *arguments: Any, **options: Any) -> None:
        # One that refuses its environment would only refuse it again.
        if any(self.wrks[place].inner.exitcode == _REFUSED for place in workers):
            self.interrupt_signal = True
            self.main_loop_interrupt.set()
            return
        super()._respawn_workers(workers, *arguments, **options)

    def shutdown(self, exit_code: int = 0) -> None:
        super().shutdown(  # type: ignore[no-untyped-call]
            _REFUSED if any(worker.inner.exitcode == _REFUSED for worker in self.wrks) else exit_code
        )


def _application(target: str) -> Any:
    """The application, loaded in the worker itself: after SIGHUP, from the code as it is then."""
    # Forked with the parent's handlers, which only the parent can act on: a worker told to stop while it imports would never end.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    from granian._internal import load_target

    application = load_target(target)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, _stop_listening)
    return application


def _stop_listening(*_: Any) -> None:
    """Put a socket to which nobody comes in the place of the one that all workers share; theirs is not touched."""
    nobody = socket.socket(socket.AF_UNIX)
    nobody.bind("")
    nobody.listen(1)
    nobody.setblocking(False)
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as found:
            if found.family != socket.AF_UNIX and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                os.dup2(nobody.fileno(), int(name))
    nobody.detach()


def main(arguments: list[str]) -> int:
    """Serve until told to stop; exits 2 when the settings or the database role are refused."""
    parser = argparse.ArgumentParser(prog="python -m connect_app.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=128, help="how many requests a worker has in hand at most")
    given = parser.parse_args(arguments)
    server = Server(
        APPLICATION,
        address=given.host,
        port=given.port,
        interface=Interfaces.WSGI,
        workers=given.workers,
        blocking_threads=given.threads,
        http=HTTPModes.http1,
        websockets=False,
        backlog=1024,
        http1_settings=HTTP1Settings(header_read_timeout=10_000, max_buffer_size=64 * 1024),
        respawn_failed_workers=True,
        respawn_interval=2.0,
        workers_kill_timeout=_GRACE,
        log_level=LogLevels.error,
    )
    server.serve(target_loader=_application)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
