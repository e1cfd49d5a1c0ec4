#!/usr/bin/env bash
# yoyo, with psycopg2. One transaction for each migration, on a connection of its own, and in it a savepoint for
# each statement; the ledger is written on another connection.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start yoyo "${1:-}"

# Whatever the address leaves out is what libpq's environment variables say.
exec "$python" -m yoyo apply -vv --batch --no-config-file --database "postgresql:///$PGDATABASE" migrations
