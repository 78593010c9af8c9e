"""Servers that the environment names for the demo: made empty, or refused in one sentence."""

from typing import Any

import psycopg
from redis import Redis
from redis.exceptions import RedisError


class Refused(Exception):
    """What the environment asks for can't be used; one sentence, with the name of the variable to mend."""


class NotOurs(Refused):
    """The configured database holds what no demo has put there."""


def start_afresh(url: str) -> None:
    """Fresh state on a configured server: an earlier demo's schema is dropped, anybody else's is left alone and refused.

    Raises Refused where the server can't be reached or used.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgres", "postgresql", "postgresql+psycopg"}:
        raise Refused("DATABASE_URL must look like postgresql://user:password@host:5432/database; unset it for an embedded PostgreSQL.")
    try:
        with psycopg.connect("postgresql://" + rest, autocommit=True, connect_timeout=5) as connection:
            _empty(connection)
    except psycopg.Error as problem:
        raise Refused(
            f"DATABASE_URL names a database that cannot be used ({_one_line(problem)}). Mend it, or unset it for an embedded PostgreSQL."
        ) from None


def _empty(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    role = connection.execute("select rolname, rolsuper or rolbypassrls from pg_roles where rolname = current_user").fetchone()
    if role and role[1]:
        raise Refused(
            f"DATABASE_URL: the role {role[0]} is superuser or has BYPASSRLS, so nothing would keep workspaces apart; give a role without."
        )
    tables = connection.execute("select count(*) from information_schema.tables where table_schema = 'public'").fetchone()
    mark = connection.execute("select obj_description('public'::regnamespace)").fetchone()
    if tables and tables[0] and (mark is None or mark[0] != "holdfast demo"):
        raise NotOurs(
            "DATABASE_URL names a database with tables that no demo has made. Each demo starts afresh, so give it an empty one,"
            " or unset DATABASE_URL for an embedded one."
        )
    connection.execute("drop schema public cascade")
    connection.execute("create schema public")
    connection.execute("comment on schema public is 'holdfast demo'")


def check_redis(url: str) -> None:
    """Raises Refused where the configured Redis can't be reached."""
    try:
        with Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as problem:
        raise Refused(
            f"REDIS_URL names a Redis that cannot be used ({_one_line(problem)}). Mend it, or unset it for an embedded one."
        ) from None


def _one_line(problem: Exception) -> str:
    """The first sentence of a driver's many."""
    return " ".join((str(problem).strip().splitlines() or [type(problem).__name__])[0].split())
