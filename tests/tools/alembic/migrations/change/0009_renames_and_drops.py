"""What is called otherwise, and what goes"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"


def upgrade():
    op.alter_column("orders", "note", existing_type=sa.Text(), new_column_name="remark")
    op.rename_table("legacy_codes", "codes")
    op.drop_column("events", "payload")
    op.drop_index("events_kind_idx", table_name="events")
    op.drop_constraint("order_items_quantity_check", "order_items", type_="check")


def downgrade():
    op.create_check_constraint("order_items_quantity_check", "order_items", "quantity > 0")
    op.create_index("events_kind_idx", "events", ["kind"])
    op.add_column(
        "events", sa.Column("payload", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False)
    )
    op.rename_table("codes", "legacy_codes")
    op.alter_column("orders", "remark", existing_type=sa.Text(), new_column_name="note")
