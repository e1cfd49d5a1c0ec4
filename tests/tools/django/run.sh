#!/usr/bin/env bash
# Django with psycopg 3: a transaction per migration.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start django "${1:-}"
mv migrations shop/migrations
touch shop/migrations/__init__.py
exec "$python" manage.py migrate
