"""The schema's history, and the verbs that bring a database up to it. Every migration works with the code before it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine


def config(engine: Engine) -> Config:
    """Alembic's configuration for `engine`; there is no ini file."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    settings.attributes["engine"] = engine
    return settings


def upgrade(engine: Engine, revision: str = "head") -> None:
    command.upgrade(config(engine), revision)


def is_current(engine: Engine) -> bool:
    """Whether the database stands at the newest migration this code knows."""
    head = ScriptDirectory.from_config(config(engine)).get_current_head()
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == head
