#!/usr/bin/env bash
# Alembic with psycopg3: the project is in ../alembic.
DRIVER=psycopg exec "$(dirname "${BASH_SOURCE[0]}")/../alembic/migrate.sh" "$@"
