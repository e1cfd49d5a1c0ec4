"""Find orders by when they were shipped"""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade():
    # Commits what has been done so far, 0011 too.
    with op.get_context().autocommit_block():
        op.create_index("orders_shipped_at_idx", "orders", ["shipped_at"], postgresql_concurrently=True)


def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("orders_shipped_at_idx", "orders", postgresql_concurrently=True)
