#!/usr/bin/env bash
# Laravel. One transaction for each migration; the ledger is written after it.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start laravel "${1:-}"

# Where Laravel keeps what it found out about the packages there are.
mkdir -p bootstrap/cache
# Messages are folded at the width of the terminal, or at this.
export COLUMNS=200
exec php artisan migrate --force --no-ansi --no-interaction --path=migrations
