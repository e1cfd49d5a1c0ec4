"""What `alembic init` writes, for online mode, with its `-t async` variant for asyncpg."""

import asyncio
import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import create_engine, pool
from sqlalchemy.ext.asyncio import create_async_engine

fileConfig(context.config.config_file_name)

# The drivers take host, port, user, password and database from libpq's environment variables.
DRIVER = os.environ["DRIVER"]
URL = f"postgresql+{DRIVER}://"


def do_run_migrations(connection):
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()


def run_migrations():
    engine = create_engine(URL, poolclass=pool.NullPool)
    with engine.connect() as connection:
        do_run_migrations(connection)


async def run_async_migrations():
    engine = create_async_engine(URL, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(do_run_migrations)
    await engine.dispose()


if DRIVER == "asyncpg":
    asyncio.run(run_async_migrations())
else:
    run_migrations()
