#!/usr/bin/env bash
# Alembic with psycopg2: the project is in ../alembic.
DRIVER=psycopg2 exec "$(dirname "${BASH_SOURCE[0]}")/../alembic/migrate.sh" "$@"
