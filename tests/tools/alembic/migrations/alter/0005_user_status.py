"""Minors are restricted"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade():
    op.execute("UPDATE users SET status = 'restricted' WHERE age < 18")
    # Bound parameters go another way through the drivers than plain text.
    op.get_bind().execute(
        sa.text("UPDATE users SET phone = :phone WHERE status = :status"),
        {"phone": "unlisted", "status": "restricted"},
    )


def downgrade():
    pass
