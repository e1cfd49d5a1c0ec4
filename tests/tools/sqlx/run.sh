#!/usr/bin/env bash
# sqlx, by the small program of src/main.rs: LOCKKEEPER_TEST_SQLX is its path.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start sqlx "${1:-}"

exec "${LOCKKEEPER_TEST_SQLX:-$root/target/sqlx/debug/sqlx-migrations}" migrations
