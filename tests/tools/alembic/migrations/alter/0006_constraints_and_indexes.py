"""Constraints and indexes on filled tables"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade():
    op.create_index("users_name_idx", "users", ["name"])
    op.create_unique_constraint("users_email_key", "users", ["email"])
    op.create_index("users_lower_email_idx", "users", [sa.text("lower(email)")])
    op.create_index("orders_new_idx", "orders", ["created_at"], postgresql_where=sa.text("state = 'new'"))
    op.create_index("legacy_codes_code_key", "legacy_codes", ["code"], unique=True)
    op.create_check_constraint("orders_total_check", "orders", "total >= 0")
    op.create_foreign_key("events_user_id_fkey", "events", "users", ["user_id"], ["id"])


def downgrade():
    op.drop_constraint("events_user_id_fkey", "events", type_="foreignkey")
    op.drop_constraint("orders_total_check", "orders", type_="check")
    op.drop_index("legacy_codes_code_key", "legacy_codes")
    op.drop_index("orders_new_idx", "orders")
    op.drop_index("users_lower_email_idx", "users")
    op.drop_constraint("users_email_key", "users", type_="unique")
    op.drop_index("users_name_idx", "users")
