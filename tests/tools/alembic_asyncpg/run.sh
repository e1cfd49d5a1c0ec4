#!/usr/bin/env bash
# Alembic with asyncpg: the project is in ../alembic.
DRIVER=asyncpg exec "$(dirname "${BASH_SOURCE[0]}")/../alembic/migrate.sh" "$@"
