#!/usr/bin/env bash
# TypeORM with node-postgres: all pending migrations in one transaction.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start typeorm "${1:-}"
transaction=all
# TypeORM refuses a migration that wants no transaction unless each has its own.
[[ $1 != concurrent ]] || transaction=each
exec "$node_modules/.bin/typeorm" migration:run --dataSource data-source.js --transaction "$transaction"
