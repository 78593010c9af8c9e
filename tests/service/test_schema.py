"""The schema is what the models say, can go down and up again, and shows no tenant another's rows."""

from collections.abc import Iterator

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from connect_app import config, db, migrations, models
from sandbox import embedded
from tests import make

TENANT_TABLES = sorted(mapper.class_.__tablename__ for mapper in models.Base.registry.mappers if issubclass(mapper.class_, models.Tenant))
# They answer before the tenant is known, or cross tenants on purpose (docs/contract.md, Tables).
OPEN_TABLES = {
    "workspaces", "users", "logins", "oauth_states", "webhook_events", "webhook_pending", "webhook_lanes", "work",
    "account_lookups", "api_key_lookups", "link_lookups", "user_lookups",
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(postgres: embedded.Postgres) -> Iterator[Engine]:
    """A database of this module's own, which it may take apart."""
    url = postgres.create_database("holdfast_schema")
    made = db.engine(config.load({**make.environ(), "DATABASE_URL": url}).database_url)
    migrations.upgrade(made)
    yield made
    made.dispose()


def test_the_migrations_make_what_the_models_say(engine: Engine) -> None:
    command.check(migrations.config(engine))


def test_the_newest_revision_is_the_one_that_alembic_would_upgrade_to(engine: Engine) -> None:
    assert ScriptDirectory.from_config(migrations.config(engine)).get_heads() == [migrations.HEAD]


def test_the_schema_goes_down_and_up_again(engine: Engine) -> None:
    command.downgrade(migrations.config(engine), "base")
    with engine.connect() as connection:
        left = connection.execute(text("select table_name from information_schema.tables where table_schema = 'public'")).scalars().all()
        functions = connection.execute(text("select proname from pg_proc where pronamespace = 'public'::regnamespace")).scalars().all()
    assert set(left) <= {"alembic_version"}
    assert functions == []
    assert not migrations.is_current(engine)
    migrations.upgrade(engine)
    assert migrations.is_current(engine)


def test_every_table_belongs_to_a_tenant_or_is_named_as_open() -> None:
    everything = {table.name for table in models.Base.metadata.sorted_tables}
    assert everything == set(TENANT_TABLES) | OPEN_TABLES
    assert not set(TENANT_TABLES) & OPEN_TABLES


@pytest.mark.parametrize("table", TENANT_TABLES)
def test_a_tenants_table_is_under_forced_row_level_security(engine: Engine, table: str) -> None:
    with engine.connect() as connection:
        is_enabled, is_forced = connection.execute(
            text("select relrowsecurity, relforcerowsecurity from pg_class where oid = cast(:table as regclass)"), {"table": table}
        ).one()
        policies = connection.execute(
            text("select cmd, permissive, qual, with_check from pg_policies where tablename = :table"), {"table": table}
        ).all()
    assert is_enabled
    assert is_forced
    assert len(policies) == 1
    assert policies[0].cmd == "ALL"
    assert "app.workspace_id" in policies[0].qual
    assert policies[0].with_check is None  # the same expression then holds for what is written


def test_no_tenants_row_is_there_without_its_tenant(engine: Engine) -> None:
    """One row in every tenant's table, planted past the constraints; the application's role sees it as its tenant, and never else."""
    url = engine.url.set(drivername="postgresql", username="postgres").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as superuser:
        # Planting one whole row a table without its neighbours: foreign keys are triggers, and a replica fires none.
        superuser.execute("set session_replication_role = replica")
        for table in TENANT_TABLES:
            _plant(superuser, table)
    for tenant, expected in (("ws_mine", 1), ("ws_other", 0), (None, 0), ("", 0)):
        for table in TENANT_TABLES:
            with engine.begin() as connection:
                if tenant is not None:
                    connection.execute(text("select set_config('app.workspace_id', :tenant, true)"), {"tenant": tenant})
                count = connection.execute(text(f"select count(*) from {table}")).scalar_one()  # noqa: S608  our own names
            assert count == expected, f"{table} shows {count} rows to {tenant!r}"


def _plant(connection: psycopg.Connection[tuple[object, ...]], table: str) -> None:
    """A row of `ws_mine`, with the plainest value that every required column takes."""
    columns = connection.execute(
        "select column_name, data_type, is_nullable, column_default from information_schema.columns"
        " where table_schema = 'public' and table_name = %s",
        [table],
    ).fetchall()
    for (name,) in connection.execute(
        "select conname from pg_constraint where conrelid = %s::regclass and contype = 'c'", [table]
    ).fetchall():
        connection.execute(f'alter table {table} drop constraint "{name}"')
    plain = {
        "text": "x",
        "bigint": 1,
        "integer": 1,
        "boolean": True,
        "bytea": b"x",
        "jsonb": "{}",
        "json": "{}",
        "numeric": 1,
        "timestamp with time zone": "2026-01-01T00:00:00Z",
        "date": "2026-01-01",
    }
    values = {
        str(name): "ws_mine" if name == "workspace_id" else plain[str(kind)]
        for name, kind, nullable, default in columns
        if name == "workspace_id" or (nullable == "NO" and default is None)
    }
    names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
    connection.execute(f"insert into {table} ({names}) values ({marks})", list(values.values()))  # noqa: S608


def test_the_applications_role_cannot_write_for_another_tenant(engine: Engine) -> None:
    row = text("insert into settings (workspace_id, name, value, updated_at) values ('ws_b', 'x', '{}', now())")
    with engine.begin() as connection:
        connection.execute(text("insert into workspaces (id, slug, name, created_at) values ('ws_b', 'b', 'B', now())"))
        connection.execute(text("select set_config('app.workspace_id', 'ws_a', true)"))
        with pytest.raises(ProgrammingError, match="row-level security"):
            connection.execute(row)
        connection.rollback()
