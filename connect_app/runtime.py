"""Runtime: everything a process holds open, passed in rather than reached for."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from redis import Redis
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from connect_app import db, doorbell
from connect_app.config import Settings
from connect_app.crypto import KeyRing
from connect_app.modes import Mode
from connect_app.stripe_gateway.gateway import Gateway
from connect_app.stripe_gateway.wire import HTTPClient


class RoleTooStrong(Exception):
    """The database role could read past row level security; web and workers refuse to run as it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What views, jobs and commands stand on.

    `gateways` waits as long as the settings say and is for jobs; `quick_gateways` gives up within 2.5 seconds and is for the few
    reads at request time.
    """

    settings: Settings
    engine: Engine
    sessions: sessionmaker[Session]
    redis: Redis
    ring: KeyRing
    gateways: Mapping[Mode, Gateway]
    quick_gateways: Mapping[Mode, Gateway]
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        """The present, aware, in UTC. Every decision about time asks here; only leases use the database's clock."""
        return self.clock()

    def transaction(self, workspace_id: str | None = None) -> AbstractContextManager[Session]:
        """`with rt.transaction(workspace) as session:`; no network call belongs inside."""
        return db.transaction(self.sessions, workspace_id)

    def stripe(self, mode: str) -> Gateway:
        """The gateway for jobs; KeyError where the server has no keys for this mode."""
        return self.gateways[Mode(mode)]

    def quick_stripe(self, mode: str) -> Gateway:
        """The gateway for the few reads at request time."""
        return self.quick_gateways[Mode(mode)]

    def check_role(self) -> None:
        """Refuse a database role that row level security does not bind."""
        with self.engine.connect() as connection:
            name, strong = connection.execute(
                text("select rolname, rolsuper or rolbypassrls from pg_roles where rolname = current_user")
            ).one()
        if strong:
            raise RoleTooStrong(
                f"the database role {name} is superuser or has BYPASSRLS: give DATABASE_URL a role without, such as holdfast_app"
            )

    def close(self) -> None:
        self.engine.dispose()
        self.redis.close()


def open_runtime(settings: Settings, *, pool_size: int = 5, http_client: HTTPClient | None = None) -> Runtime:
    """A runtime on what the settings name. Connections are made when first needed; nothing is contacted here.

    `http_client` takes the place of the network on the way to Stripe; in-process tests pass the local Stripe's own.
    """

    def gateways(connect_timeout: float, read_timeout: float) -> dict[Mode, Gateway]:
        return {
            mode: Gateway(
                mode=mode,
                secret_key=settings.secret_key(mode),
                client_id=settings.client_id(mode),
                api_base=settings.stripe_api_base or None,
                connect_base=settings.stripe_connect_base or None,
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
                http_client=http_client,
            )
            for mode in settings.modes
        }

    engine = db.engine(settings.database_url, pool_size)
    redis = doorbell.connect(settings.redis_url)
    return Runtime(
        settings=settings,
        engine=engine,
        sessions=db.sessions(engine, redis),
        redis=redis,
        ring=settings.ring,
        gateways=gateways(settings.holdfast_stripe_connect_timeout, settings.holdfast_stripe_read_timeout),
        quick_gateways=gateways(1.0, 1.5),
    )


_current: Runtime | None = None


def use(runtime: Runtime) -> None:
    """Make `runtime` the process's own; the entry points and `create_app` call it."""
    global _current
    _current = runtime


def current() -> Runtime:
    """The process's runtime, for code that a framework calls: views and RQ jobs."""
    if _current is None:
        raise RuntimeError("no runtime: the process's entry point has not called runtime.use")
    return _current
