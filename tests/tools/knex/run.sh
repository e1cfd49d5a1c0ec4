#!/usr/bin/env bash
# Knex with node-postgres: all pending migrations in one transaction, unless one of them asks for none.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start knex "${1:-}"
exec "$node_modules/.bin/knex" migrate:latest --knexfile knexfile.js
