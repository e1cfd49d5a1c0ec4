#!/usr/bin/env bash
# All pending migrations in one transaction, as Alembic does unless told otherwise. DRIVER names SQLAlchemy's driver.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
start alembic "${1:-}"
exec "$python" -m alembic upgrade head
