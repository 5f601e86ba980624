"""Keep what catch-up, retention, purging and the journal need to know across restarts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the new tables, and rebuild those that get columns as they would be made anew."""
    op.create_table(
        "departure",
        sa.Column(
            "guild_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id"),
    )
    op.create_table(
        "doubt",
        sa.Column(
            "place_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("missing", sa.JSON(), nullable=False),
        sa.Column("kept", sa.JSON(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("place_id"),
    )
    op.create_table(
        "residue",
        sa.Column(
            "guild_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id"),
    )
    op.create_table(
        "state",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    with op.batch_alter_table("observation", recreate="always") as table:
        table.add_column(sa.Column("parent_id", sa.BigInteger(), nullable=True), insert_after="channel_id")
        table.add_column(sa.Column("source", sa.String(length=8), server_default="live", nullable=False))
        table.add_column(sa.Column("read_to", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("fetched", sa.Boolean(), server_default=sa.false(), nullable=False))
        table.add_column(sa.Column("announced", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.create_table(
        "cursor",
        sa.Column("observation_id", sa.Integer(), nullable=False),
        sa.Column("place_id", sa.BigInteger(), nullable=False),
        sa.Column("read_to", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["observation_id"], ["observation.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("observation_id", "place_id"),
    )
    with op.batch_alter_table("opt_out", recreate="always") as table:
        table.add_column(sa.Column("journalled", sa.Boolean(), server_default=sa.false(), nullable=False))
    with op.batch_alter_table("tombstone", recreate="always") as table:
        table.alter_column("id", existing_type=sa.String(length=41), type_=sa.String(length=64))
        table.add_column(sa.Column("journalled", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index("tombstone_to_journal", "tombstone", ["at"], sqlite_where=sa.text("journalled = 0"))
    op.drop_index("message_waiting", "message")
    op.create_index(
        "message_waiting",
        "message",
        ["guild_id", "channel_id", "id", "captured_at"],
        sqlite_where=sa.text("extraction = 'waiting'"),
    )
    op.create_index(
        "message_by_access", "message", ["access_id", "id"], sqlite_where=sa.text("access_id != channel_id")
    )
