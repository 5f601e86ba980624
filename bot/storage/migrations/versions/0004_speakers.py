"""Have the index of authors tell where each of them spoke."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the place to the index."""
    op.drop_index("message_by_author", "message")
    op.create_index("message_by_author", "message", ["guild_id", "author_id", "access_id"])
