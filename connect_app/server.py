"""The web server: granian's worker processes behind one listening socket that outlives them, so that none is missed while they change.

`python -m connect_app.server --host 0.0.0.0 --port 8000 --workers 2`; SIGHUP replaces the workers one after the other, with the
code as it is then; SIGTERM lets them finish what they have in hand.
"""

import argparse
import contextlib
import functools
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from granian._granian import ListenerSpec
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels, logger
from granian.server.mp import MPServer, WorkerProcess

APPLICATION = "connect_app.wsgi:application"
# Seconds for a worker to finish what it has in hand.
_GRACE = 20
# Seconds in which a worker that lets nobody else in reads what those say whom it has let in.
_LET_IN = 1.0
# Seconds for a worker to load the application, in which it may wait half a minute for the database; and before a dead one is tried again.
_LOADING = 60
_AGAIN = 5
# What a worker ends with that has said why it cannot run here.
_REFUSED = 2


class Worker(WorkerProcess):
    """A worker that says when it has loaded the application, and that lets nobody else in before it ends to be replaced: what it has
    accepted and not yet read, it would drop."""

    loaded: Connection

    def begin(self, alive: Callable[[], bool]) -> bool:
        """Start, and wait until it has loaded the application while we are `alive`; False, and ended, where it does not come to that."""
        # Until it is one of the workers, its end is nobody's business.
        self.interrupt_by_parent = True
        self.start()  # type: ignore[no-untyped-call]
        until = time.monotonic() + _LOADING
        with contextlib.suppress(EOFError):  # it died
            while alive() and time.monotonic() < until:
                if self.loaded.poll(0.1):
                    self.loaded.recv_bytes()
                    self.interrupt_by_parent = False
                    return bool(self.is_alive())  # type: ignore[no-untyped-call]
        self.kill()  # type: ignore[no-untyped-call]
        self.join(_GRACE)  # type: ignore[no-untyped-call]
        return False

    def end(self) -> None:
        """Stop, with what it has in hand done, unless that takes too long."""
        if self.is_alive():  # type: ignore[no-untyped-call]
            self.terminate()
            self.join(_GRACE)  # type: ignore[no-untyped-call]
        if self.is_alive():  # type: ignore[no-untyped-call]
            self.kill()  # type: ignore[no-untyped-call]
            self.join()  # type: ignore[no-untyped-call]

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

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Callable[[], Any]) -> Worker:  # type: ignore[override]
        loaded, tells = multiprocessing.Pipe(duplex=False)
        made: Any = super()._spawn_worker(idx, target, functools.partial(_loaded, callback_loader, tells))
        made.__class__ = Worker
        worker: Worker = made
        worker.loaded = loaded
        return worker

    def _respawn_workers(self, workers: list[int], spawn_target: Any, target_loader: Callable[[], Any], **_: Any) -> None:  # type: ignore[override]
        """Each goes only when its successor has loaded the application; where that fails, those there are go on as they are."""
        # One that refuses its environment would only refuse it again.
        if any(self.wrks[place].inner.exitcode == _REFUSED for place in workers):
            self._give_up()
            return
        for place in workers:
            old: Any = self.wrks[place]
            successor = self._spawn_worker(place, spawn_target, target_loader)
            if not successor.begin(lambda: not self.interrupt_signal):
                if not self.interrupt_signal:
                    logger.error(f"worker-{place + 1} was not replaced: its successor did not come to load the application")
                    self._do_without(place)
                return
            self.respawned_wrks[place] = time.monotonic()
            self.wrks[place] = successor
            old.end()

    def _do_without(self, place: int) -> None:
        """The successor of this worker failed. Where it is dead itself, another is tried in a while, if somebody serves till then."""
        workers: list[Any] = self.wrks
        if workers[place].is_alive():
            return
        if not any(worker.is_alive() for worker in workers):
            self.interrupt_children.append(place)
            self._give_up()
            return

        def again() -> None:
            self.interrupt_children.append(place)
            self.main_loop_interrupt.set()

        timer = threading.Timer(_AGAIN, again)
        timer.daemon = True
        timer.start()

    def _give_up(self) -> None:
        self.interrupt_signal = True
        self.main_loop_interrupt.set()

    def shutdown(self, exit_code: int = 0) -> None:
        super().shutdown(  # type: ignore[no-untyped-call]
            _REFUSED if any(worker.inner.exitcode == _REFUSED for worker in self.wrks) else exit_code
        )


def _loaded(load: Callable[[], Any], tells: Connection) -> Any:
    """The application; said to whoever waits for it."""
    application = load()
    tells.send_bytes(b"loaded")
    tells.close()
    return application


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
        workers_kill_timeout=_GRACE,
        log_level=LogLevels.error,
    )
    server.serve(target_loader=_application)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
