"""Wider types."""

from yoyo import group, step

__depends__ = {"0005.constraints"}

# A group is one savepoint, and each of its steps another one inside.
steps = [
    group(
        step("ALTER TABLE users ALTER COLUMN email TYPE varchar(100)"),
        step("ALTER TABLE products ALTER COLUMN title TYPE text"),
    ),
    # A rewrite.
    step("ALTER TABLE legacy_codes ALTER COLUMN code TYPE bigint"),
]
