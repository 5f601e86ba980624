"""Record of which messages each message's window key is made."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and have every message indexed once more.

    The keys that the index holds are of windows made by place in the channel, of which nothing was recorded: an edit
    or a deletion could not tell in which of them the words stand.
    """
    op.create_table(
        "surrounding",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("near_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["near_id"], ["message.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message_id", "near_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("surrounding_by_near", "surrounding", ["near_id"])
    op.drop_index("message_not_indexed", "message")
    op.create_index(
        "message_not_indexed",
        "message",
        ["indexing", "channel_id", "id", "guild_id"],
        sqlite_where=sa.text("indexing != 'complete'"),
    )
    op.execute("UPDATE message SET indexing = 'pending' WHERE indexing <> 'pending'")
