"""More about users"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade():
    op.add_column("users", sa.Column("phone", sa.String(20), nullable=True))
    op.add_column("users", sa.Column("locale", sa.Text(), server_default="en", nullable=True))
    op.add_column("users", sa.Column("status", sa.String(20), server_default="active", nullable=False))
    op.add_column("orders", sa.Column("currency", sa.String(3), server_default="EUR", nullable=False))
    op.alter_column("users", "name", existing_type=sa.String(50), nullable=False)


def downgrade():
    op.alter_column("users", "name", existing_type=sa.String(50), nullable=True)
    op.drop_column("orders", "currency")
    op.drop_column("users", "status")
    op.drop_column("users", "locale")
    op.drop_column("users", "phone")
