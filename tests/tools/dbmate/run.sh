#!/usr/bin/env bash
# dbmate: a transaction per migration, each file sent as one string.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start dbmate "${1:-}"
DATABASE_URL=$(node url.js)
export DATABASE_URL
# It would call pg_dump after each run.
exec "$node_modules/.bin/dbmate" --no-dump-schema --migrations-dir migrations migrate
