#!/usr/bin/env bash
# Drizzle ORM's migrator for node-postgres: all pending migrations in one transaction. It has no way out of that
# transaction, and so no phase `concurrent`.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start drizzle "${1:-}"
node journal.js
exec node migrate.js
