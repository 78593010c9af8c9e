"""The one place that opens, tenants, commits and rolls back a transaction, and rings what waits for the commit."""

import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import structlog
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import (
    ARRAY,
    CollectionAggregate,
    ColumnElement,
    Engine,
    SQLColumnExpression,
    Text,
    any_,
    create_engine,
    func,
    literal,
    text,
)
from sqlalchemy.orm import Session, sessionmaker

log = structlog.get_logger()

_OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "TimeZone": "UTC",
        "statement_timeout": "10s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "15s",
        "application_name": "holdfast",
    }.items()
)


def engine(url: str, pool_size: int = 5) -> Engine:
    """A pool on `url`: UTC, with limits on statements, locks and idle transactions, so that nothing waits without end.

    A process forked later has connections of its own, whatever its parent had open.
    """
    made = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={"options": _OPTIONS, "connect_timeout": 5},
    )
    _engines.add(made)
    return made


_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()


def _leave_to_parent() -> None:
    """Two processes on one connection would read each other's answers, in each other's tenant; only the parent may close its own."""
    for each in list(_engines):
        each.dispose(close=False)


os.register_at_fork(after_in_child=_leave_to_parent)


def sessions(engine: Engine, redis: Redis) -> sessionmaker[Session]:
    """Sessions on `engine`; each carries the Redis that its after-commit doorbells ring."""
    return sessionmaker(engine, expire_on_commit=False, autoflush=True, info={"redis": redis})


def outside_transactions(engine: Engine) -> "psycopg.Connection[Any]":
    """A connection of the caller's own with the engine's settings, on which each statement is committed by itself; close it."""
    lent = engine.raw_connection()
    connection: psycopg.Connection[Any] = lent.driver_connection  # type: ignore[assignment]
    lent.detach()
    connection.autocommit = True
    return connection


@contextmanager
def transaction(make: sessionmaker[Session], workspace_id: str | None) -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises.

    `workspace_id` is the tenant that row level security lets through; with None no tenant's row is visible. What `after_commit` was
    given runs once the commit has succeeded, outside it; a failure there is logged and changes nothing, because rows are the truth.
    """
    session = make()
    try:
        with session.begin():
            if workspace_id is not None:
                tenant(session, workspace_id)
            yield session
            for _, last in sorted(session.info.get("before_commit", {}).items()):
                last()
    finally:
        session.close()
    for callback in session.info.get("after_commit", ()):
        try:
            callback()
        except RedisError as error:
            # The others would not be heard either, and nobody is to wait for each; the sweep finds what was not rung for.
            log.warning("bell.not_heard", error=f"{type(error).__name__}: {error}"[:200])
            break
        except Exception:
            log.warning("after_commit.failed", exc_info=True)


def any_of(values: Iterable[str]) -> "CollectionAggregate[Any]":
    """For `column == any_of(values)`: one parameter whatever their number, where `in_` makes another statement for each number."""
    return any_(literal(list(values), ARRAY(Text)))


def tenant(session: Session, workspace_id: str) -> None:
    """Let this transaction see the rows of one workspace, until it ends."""
    session.execute(text("select set_config('app.workspace_id', :workspace, true)"), {"workspace": workspace_id})


def tenant_of(workspace_id: SQLColumnExpression[str]) -> ColumnElement[str]:
    """What a look-up selects in place of the workspace it finds, to make that one the transaction's tenant in the same statement.

    For a look-up of one row by its key alone: whatever row PostgreSQL draws the value for would be the tenant.
    """
    return func.set_config("app.workspace_id", workspace_id, True)


def before_commit(session: Session, name: str, callback: Callable[[], object]) -> None:
    """Run `callback` as the last thing of `session`'s transaction, once for each `name`, in the order of their names.

    For rows that many transactions write: locked last, and shortly, they cannot stand in a circle with any others.
    """
    session.info.setdefault("before_commit", {}).setdefault(name, callback)


def after_commit(session: Session, callback: Callable[[], object]) -> None:
    """Run `callback` once the outermost transaction of `session` has been committed.

    SQLAlchemy's own after_commit event also fires when a savepoint is released, which is too early.
    """
    session.info.setdefault("after_commit", []).append(callback)
