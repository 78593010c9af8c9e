"""The schema's history, and the verbs that bring a database up to it. Every migration works with the code before it."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic is loaded by the one process that migrates; it would be a tenth of the memory of the others, which only look.
_VERSIONS = Path(__file__).parent / "versions"
# The newest revision that this code knows: the files are called by their revisions, in order.
HEAD = max(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py"))


def config(engine: Engine) -> "Config":
    """Alembic's configuration for `engine`; there is no ini file."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(_VERSIONS.parent))
    settings.attributes["engine"] = engine
    return settings


def upgrade(engine: Engine, revision: str = "head") -> None:
    from alembic import command

    command.upgrade(config(engine), revision)


def is_current(engine: Engine) -> bool:
    """Whether the database stands at the newest migration this code knows."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        return connection.execute(text("select version_num from alembic_version")).scalars().all() == [HEAD]
