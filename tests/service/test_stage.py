"""Each demo starts afresh, on a configured server too, and takes nobody's tables for its own."""

import psycopg
import pytest

from connect_app import config, db, migrations
from sandbox import embedded, stage
from tests import make


def test_a_demo_drops_an_earlier_demos_schema_and_nobody_elses(postgres: embedded.Postgres) -> None:
    url = postgres.create_database("configured")
    stage.start_afresh(url)
    engine = db.engine(config.load({**make.environ(), "DATABASE_URL": url}).database_url)
    migrations.upgrade(engine)
    assert migrations.is_current(engine)
    engine.dispose()

    stage.start_afresh(url)
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from information_schema.tables where table_schema = 'public'").fetchone() == (0,)

    precious = postgres.create_database("precious")
    with psycopg.connect(precious, autocommit=True) as connection:
        connection.execute("create table diary (day date)")
        with pytest.raises(stage.NotOurs, match="no demo has made"):
            stage.start_afresh(precious)
        assert connection.execute("select count(*) from diary").fetchone() == (0,)


def test_a_letter_is_waited_for_and_its_newest_link_taken() -> None:
    letters = stage.Letters()
    letters.add("see http://x/sign-in/old")
    letters.add("see http://x/sign-in/new")
    assert letters.wait_for(r"http://x/sign-in/\S+") == "http://x/sign-in/new"
    with pytest.raises(TimeoutError, match="no letter"):
        letters.wait_for("never sent", seconds=0.05)
