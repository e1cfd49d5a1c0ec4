"""Tags of users"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade():
    op.create_table(
        "tags",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="tags_pkey"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="tags_user_id_fkey"),
    )
    op.execute("INSERT INTO tags (user_id, name) SELECT id, status FROM users WHERE status <> 'active' ORDER BY id")
    op.create_index("tags_user_id_idx", "tags", ["user_id"])


def downgrade():
    op.drop_table("tags")
