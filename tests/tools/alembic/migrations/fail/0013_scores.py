"""Scores of users"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade():
    op.add_column("users", sa.Column("score", sa.Integer(), nullable=True))
    op.create_index("users_score_idx", "users", ["score"])
    # There is no column `level`.
    op.create_index("users_status_level_idx", "users", ["status", "level"])


def downgrade():
    op.drop_column("users", "score")
