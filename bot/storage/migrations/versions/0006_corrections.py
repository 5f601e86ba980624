"""Keep which messages corrected facts link to, and find a member's own facts newest first."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the new table and the indexes of facts."""
    op.create_table(
        "citation",
        sa.Column("fact_id", sa.String(length=36), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["fact_id"], ["fact.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("fact_id", "message_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("citation_by_message", "citation", ["message_id"])
    op.drop_index("fact_by_subject", "fact")
    op.create_index("fact_by_subject", "fact", ["guild_id", "subject_id", "said_at"])
    op.create_index("fact_by_speakers", "fact", ["guild_id", "speaker_ids", "said_at"])
