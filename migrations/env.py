"""How a migration reaches the database: one connection, one transaction, the URL of the settings or of the caller."""

from alembic import context
from sqlalchemy import create_engine, pool

from hsu_jobs.database import is_ours, with_driver
from hsu_jobs.settings import settings
from hsu_jobs.tables import Row

url = context.config.attributes.get("url") or settings().database_url.get_secret_value()
with create_engine(with_driver(url), poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, target_metadata=Row.metadata, include_name=is_ours)
    with context.begin_transaction():
        context.run_migrations()
