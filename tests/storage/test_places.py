"""What is held where, and by which names."""

from records import ANA, BEN, CHANNEL, GUILD, NOON, Vault, said, stated

from bot.storage.names import Names
from bot.storage.places import Places


async def test_places_are_listed_channels_first(vault: Vault) -> None:
    """Channels come before their threads, the latest first; a fact alone makes a place, another guild's none."""
    await vault.hold(
        said(1, channel_id=40),
        said(2, channel_id=41, access_id=CHANNEL),
        said(3),
        said(4, channel_id=42, access_id=CHANNEL),
        said(5, channel_id=43, guild_id=2),
    )
    await vault.extract(stated("Ana likes tea", [1], channel_id=44, access_id=45))

    assert await Places(vault.database).held(GUILD) == [CHANNEL, 40, 45, 42, 41, 44]
    assert await Places(vault.database).held(3) == []


async def test_messages_of_a_place_come_latest_first(vault: Vault) -> None:
    """With the time of their words, from a given one down."""
    await vault.hold(*(said(id) for id in range(1, 6)), said(9, channel_id=40))
    await vault.hold(said(2, "edited", edited_at=NOON.replace(hour=13)))

    found = await Places(vault.database).messages(CHANNEL, before=4, limit=2)
    assert list(found.items()) == [(3, said(3).created_at), (2, NOON.replace(hour=13))]


async def test_the_newest_name_in_the_guild_counts(vault: Vault) -> None:
    """Names are those of the latest message held of each member there; of others none is known."""
    await vault.hold(
        said(1, author_name="Ana"), said(2, author_name="Annie"), said(3, author_name="Elsewhere", guild_id=2)
    )
    names = Names(vault.database)
    assert await names.known(GUILD, [ANA, BEN]) == {ANA: "Annie"}
    assert await names.known(GUILD, []) == {}
