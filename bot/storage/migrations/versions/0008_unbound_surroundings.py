"""Let surroundings be removed by whoever removes their messages."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew without foreign keys, which SQLite cannot drop."""
    op.drop_index("surrounding_by_near", "surrounding")
    op.rename_table("surrounding", "bound")
    op.create_table(
        "surrounding",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("near_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "near_id"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO surrounding SELECT message_id, near_id FROM bound")
    op.create_index("surrounding_by_near", "surrounding", ["near_id"])
    op.drop_table("bound")
