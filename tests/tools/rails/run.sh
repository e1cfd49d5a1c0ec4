#!/usr/bin/env bash
# Rails, or what of it migrates: ActiveRecord. One transaction for each migration.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start rails "${1:-}"

exec ruby migrate.rb
