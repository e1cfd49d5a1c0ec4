"""Wider types, another default"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade():
    # No rewrite: the old values fit as they are.
    op.alter_column("users", "name", existing_type=sa.String(50), type_=sa.String(100), existing_nullable=False)
    op.alter_column("products", "title", existing_type=sa.String(100), type_=sa.Text(), existing_nullable=False)
    # A rewrite of the table and its indexes.
    op.alter_column(
        "legacy_codes", "code", existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False
    )
    op.alter_column("orders", "state", existing_type=sa.Text(), server_default="open")


def downgrade():
    op.alter_column("orders", "state", existing_type=sa.Text(), server_default="new")
    op.alter_column("legacy_codes", "code", existing_type=sa.BigInteger(), type_=sa.Integer())
    op.alter_column("products", "title", existing_type=sa.Text(), type_=sa.String(100))
    op.alter_column("users", "name", existing_type=sa.String(100), type_=sa.String(50))
