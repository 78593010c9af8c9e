"""The ground every test stands on: one migrated template database a process, cloned and emptied between tests; nothing is patched."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis
from sqlalchemy import text

from connect_app import config, db, migrations, runtime
from connect_app.models import Base
from sandbox import embedded
from sandbox.stripe.local import LocalStripe
from sandbox.stripe.sdk import LocalClient
from tests import make


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where this test process finds its PostgreSQL database and its Redis."""

    database_url: str
    redis_url: str


@pytest.fixture(scope="session")
def postgres() -> embedded.Postgres:
    """An embedded PostgreSQL for this test process: for tests that take whole databases apart, and for all where none is configured."""
    return embedded.start_postgres()


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    """TEST_DATABASE_URL and TEST_REDIS_URL where they are given, else embedded servers; the schema is migrated once."""
    database_url = os.environ.get("TEST_DATABASE_URL") or request.getfixturevalue("postgres").create_database("holdfast_test")
    if os.environ.get("TEST_DATABASE_URL") and (worker := os.environ.get("PYTEST_XDIST_WORKER")):
        database_url = _database_of(worker, database_url)
    redis_url = os.environ.get("TEST_REDIS_URL") or embedded.start_valkey().url
    redis = Redis.from_url(redis_url)
    engine = db.engine(config.load({**make.environ(), "DATABASE_URL": database_url}).database_url)
    migrations.upgrade(engine)
    engine.dispose()
    redis.close()
    return Servers(database_url=database_url, redis_url=redis_url)


def _database_of(worker: str, url: str) -> str:
    """A database of its own for each test process on a configured server."""
    name = f"holdfast_test_{worker}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'drop database if exists "{name}" with (force)')
        connection.execute(f'create database "{name}"')
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@pytest.fixture
def local() -> LocalStripe:
    """A local Stripe in this process, with its two test accounts and nothing that happened yet."""
    return LocalStripe()


@pytest.fixture
def rt(servers: Servers, local: LocalStripe) -> Iterator[runtime.Runtime]:
    """A runtime on empty tables, an empty Redis and the local Stripe, through the real SDK."""
    settings = config.load({**make.environ(local), "DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url})
    opened = runtime.open_runtime(settings, http_client=LocalClient(local))
    with opened.engine.begin() as connection:
        names = ", ".join(table.name for table in Base.metadata.sorted_tables)
        connection.execute(text(f"truncate {names} restart identity cascade"))
    # Not the runtime's own client, whose doorbell gives up after a fifth of a second: a busy machine is no failure here.
    with Redis.from_url(servers.redis_url) as redis:
        redis.flushdb()
    runtime.use(opened)
    yield opened
    opened.close()
