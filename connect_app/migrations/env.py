"""Alembic's entry point: runs the migrations on the engine it was handed, one at a time under an advisory lock."""

from alembic import context
from sqlalchemy import text

from connect_app.models import Base

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    connection.execute(text("select pg_advisory_lock(7015001)"))
    try:
        context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("select pg_advisory_unlock(7015001)"))
        connection.commit()
