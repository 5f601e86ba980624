"""Samples of how much waits and is held."""

from datetime import timedelta

from records import GUILD, NOON, Vault, said, stated

from bot.storage.samples import KEPT, Sample, Samples

MINUTE = timedelta(minutes=1)


async def test_a_sample_counts_what_waits_and_what_is_held(vault: Vault) -> None:
    """What is being read still waits, what is extracted is held, and each guild is counted by itself."""
    samples = Samples(vault.database)
    assert await samples.take(NOON) == 0
    assert await samples.since(GUILD, NOON) == []
    await vault.hold(said(1), said(2), said(3), said(4, guild_id=2))
    await vault.extract(stated("Ana likes tea", [1]), stated("Ana hates tea", [1]))
    await vault.claim(2)
    assert await samples.take(NOON + MINUTE) == 2
    assert await samples.since(GUILD, NOON) == [Sample(NOON + MINUTE, waiting=2, messages=3, facts=2)]
    assert await samples.since(2, NOON) == [Sample(NOON + MINUTE, waiting=1, messages=1, facts=0)]


async def test_samples_come_in_order_from_a_moment_on(vault: Vault) -> None:
    """The oldest first, none from before; one more of the same time changes nothing."""
    samples = Samples(vault.database)
    await vault.hold(said(1))
    for minutes in (20, 0, 10, 10):
        await samples.take(NOON + minutes * MINUTE)
    found = await samples.since(GUILD, NOON + 10 * MINUTE)
    assert [sample.at for sample in found] == [NOON + 10 * MINUTE, NOON + 20 * MINUTE]


async def test_what_is_too_old_to_be_shown_goes(vault: Vault) -> None:
    """The table holds eight days, however long the bot runs."""
    samples = Samples(vault.database)
    await vault.hold(said(1))
    await samples.take(NOON)
    await samples.take(NOON + KEPT)
    assert len(await samples.since(GUILD, NOON)) == 2
    await samples.take(NOON + KEPT + MINUTE)
    assert [sample.at for sample in await samples.since(GUILD, NOON)] == [NOON + KEPT, NOON + KEPT + MINUTE]


async def test_a_forgotten_guild_leaves_no_sample(vault: Vault) -> None:
    """How busy a server was that removed the bot is nobody's business any more."""
    samples = Samples(vault.database)
    await vault.hold(said(1))
    await samples.take(NOON)
    await vault.retraction.guild_forgotten(GUILD)
    assert await samples.since(GUILD, NOON) == []
    assert await samples.take(NOON + MINUTE) == 0
