"""More about users, of which a part is filled in at once."""

from yoyo import step

__depends__ = {"0001.customers"}


def fill_display_names(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT min(id), max(id) FROM users")
    first, last = cursor.fetchone()
    for start in range(first or 0, (last or -1) + 1, 250):
        cursor.execute(
            "UPDATE users SET display_name = coalesce(name, split_part(email, '@', 1)) WHERE id >= %s AND id < %s",
            (start, start + 250),
        )


steps = [
    step("ALTER TABLE users ADD COLUMN phone varchar(20)", "ALTER TABLE users DROP COLUMN phone"),
    step("ALTER TABLE users ADD COLUMN locale text DEFAULT 'en'", "ALTER TABLE users DROP COLUMN locale"),
    step(
        "ALTER TABLE users ADD COLUMN status text NOT NULL DEFAULT 'active'",
        "ALTER TABLE users DROP COLUMN status",
    ),
    step("ALTER TABLE users ADD COLUMN display_name text", "ALTER TABLE users DROP COLUMN display_name"),
    step("ALTER TABLE users ALTER COLUMN display_name SET DEFAULT ''"),
    step(fill_display_names),
    step("ALTER TABLE users ALTER COLUMN display_name SET NOT NULL"),
    step("ALTER TABLE users ALTER COLUMN name SET NOT NULL"),
]
