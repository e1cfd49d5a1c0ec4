"""What is called otherwise, and what goes."""

from yoyo import step

__depends__ = {"0007.widen"}

steps = [
    step(
        "ALTER TABLE legacy_codes RENAME COLUMN label TO caption",
        "ALTER TABLE legacy_codes RENAME COLUMN caption TO label",
    ),
    step("ALTER TABLE legacy_codes RENAME TO codes", "ALTER TABLE codes RENAME TO legacy_codes"),
    # On some servers somebody made it by hand. A failure goes back to the savepoint, and on it goes.
    step("ALTER TABLE orders DROP COLUMN remark", ignore_errors="apply"),
    step("ALTER TABLE orders DROP COLUMN note"),
    step("DROP INDEX users_lower_email_ix"),
    step("DROP INDEX users_name_ix"),
    step("ALTER TABLE users ALTER COLUMN status SET DEFAULT 'invited'"),
    step("ALTER TABLE users ALTER COLUMN locale DROP DEFAULT"),
    step("ALTER TABLE products DROP CONSTRAINT products_price_ck"),
]
