"""What goes in one transaction."""

from bot.storage.steps import OF_A_GUILD
from bot.storage.tables import metadata

REMOVED_IN_STEPS = {"message", "fact"}
# Residue until the files are rewritten; the departure goes last of all.
MEANT_TO_STAY = {"tombstone", "opt_out", "residue", "departure"}


def test_a_forgotten_guild_leaves_only_what_is_meant_to_stay() -> None:
    """Whoever adds a table of guilds has to say what becomes of it when a guild is forgotten."""
    of_guilds = {table.name for table in metadata.tables.values() if "guild_id" in table.columns}
    assert of_guilds == {table.name for table in OF_A_GUILD} | REMOVED_IN_STEPS | MEANT_TO_STAY
