"""Settings move to a table that knows when they changed"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade():
    op.create_table(
        "settings_new",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), server_default="", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="settings_new_pkey"),
        sa.UniqueConstraint("key", name="settings_new_key_key"),
    )
    op.execute("INSERT INTO settings_new (id, key, value) SELECT id, key, coalesce(value, '') FROM settings")
    op.execute("SELECT setval('settings_new_id_seq', (SELECT coalesce(max(id), 1) FROM settings_new))")
    op.rename_table("settings", "settings_old")
    op.rename_table("settings_new", "settings")


def downgrade():
    op.drop_table("settings")
    op.rename_table("settings_old", "settings")
