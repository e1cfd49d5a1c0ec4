#!/usr/bin/env bash
# Plain psql: the files that aren't in the ledger yet run in one transaction, and each that wants none by itself.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start psql "${1:-}"

psql -X -q -v ON_ERROR_STOP=1 -c 'CREATE TABLE IF NOT EXISTS schema_history (
    version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())'
applied=$(psql -X -A -t -c 'SELECT version FROM schema_history')

together=()
alone=()
for file in migrations/*.sql; do
    version=${file##*/}
    version=${version%%_*}
    if grep -qx "$version" <<<"$applied"; then
        continue
    elif grep -qx -e '-- no transaction' "$file"; then
        alone+=("$file")
    else
        together+=(-f "$file")
    fi
done

if ((${#together[@]} > 0)); then
    psql -X -1 -v ON_ERROR_STOP=1 "${together[@]}"
fi
for file in "${alone[@]}"; do
    psql -X -v ON_ERROR_STOP=1 -f "$file"
done
