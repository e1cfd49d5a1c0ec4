#!/usr/bin/env bash
# node-pg-migrate: all pending migrations in one transaction, behind an advisory lock.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start nodepgmigrate "${1:-}"
# Takes host, port, user, password and database from libpq's environment variables.
exec "$node_modules/.bin/node-pg-migrate" up --migrations-dir migrations
