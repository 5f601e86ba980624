"""Retention: what is past its time goes by itself, everywhere at once, and a wrong clock is given an hour."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from house import ANN, BEN, GENERAL, GUILD, OTHER_GUILD, START, House, everywhere, fact_of, holding, said, texts
from structlog.testing import capture_logs

from bot.errors import IndexUnavailable
from bot.memory.index import Key, Search
from bot.memory.indexer import Indexer
from bot.settings import GuildRetention, RetentionSettings, Settings
from bot.storage.consent import Consent
from bot.storage.departures import Departures
from bot.storage.guild_configs import GuildConfigs
from bot.storage.observations import Observations
from bot.storage.residue import Residue
from bot.storage.state import StateStore
from bot.upkeep import retention
from bot.upkeep.purge import Purge
from bot.upkeep.retention import Expired, Retention

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def indexer(house: House) -> Indexer:
    return house.indexer()


def expiring(
    house: House, indexer: Indexer, has_left: Callable[[int], bool] = lambda _: True, **settings: object
) -> Retention:
    retention = RetentionSettings.model_validate(settings)
    return Retention(
        house.retraction,
        Departures(house.database),
        Observations(house.database, house.clock),
        house.index,
        indexer,
        retention,
        GuildConfigs(house.database, Settings(retention=retention)),
        Consent(house.database, clock=house.clock),
        house.queue,
        StateStore(house.database),
        house.clock,
        has_left,
    )


async def test_expired_words_are_found_nowhere(house: House, indexer: Indexer, tmp_path: Path) -> None:
    """Text, keys and the windows of neighbours and facts go together; the fact and younger words stay."""
    old = said(1, "the walrus sings a shanty")
    await house.messages.capture_many([old])
    await house.learn(fact_of("Somebody likes music", [old]))
    house.clock.forward(20 * DAY)
    await house.messages.capture_many([said(2, "a very nice one", BEN)])
    await indexer.drain()
    recall = house.recall()

    async def windows() -> int:
        search = Search(Key.BM25_WINDOW, house.bm25.query("walrus"), 9)
        return sum(map(len, await house.index.search(everywhere(), [search])))

    assert await windows() == 3

    house.clock.forward(10 * DAY + HOUR)
    with capture_logs() as logs:
        assert await expiring(house, indexer).expire() == Expired(messages=1)
    assert [line for line in logs if line["event"] == "expired"] == [
        {"event": "expired", "log_level": "info", "messages": 1, "facts": 0, "guilds": 0}
    ]
    assert texts(await recall.recall("walrus shanty", everywhere(), 9)) == []
    assert await house.keyword.search("walrus", everywhere(), 9) == []
    await indexer.drain()
    assert set(await house.points()) == {"Somebody likes music", "a very nice one"}
    assert await windows() == 0
    assert texts(await recall.recall("walrus shanty", everywhere(), 9)) == []
    assert texts(await recall.recall("music", everywhere(), 9)) == ["Somebody likes music"]
    purge = Purge(house.database, Residue(house.database), indexer, house.index, DAY, house.clock)
    assert (await purge.now()).guilds == 1
    assert holding(tmp_path, "walrus", "shanty", "music") == {"music"}
    assert await house.messages.capture_many([old]) == 0


async def test_each_server_has_its_own_days(house: House, indexer: Indexer) -> None:
    """Its messages and facts go by its settings, those of the others by the common ones."""
    for guild in (GUILD, OTHER_GUILD):
        message = said(guild, "hello", guild=guild)
        await house.messages.capture_many([message])
        await house.learn(fact_of("Somebody says hello", [message]))
    house.clock.forward(8 * DAY)
    settings = {"raw_days": 9, "facts_days": 20, "guilds": {OTHER_GUILD: GuildRetention(raw_days=7, facts_days=5)}}
    assert await expiring(house, indexer, **settings).expire() == Expired(messages=1, facts=1)
    assert set(await house.messages.get([GUILD, OTHER_GUILD])) == {GUILD}
    house.clock.forward(20 * DAY)
    await StateStore(house.database).remove(retention.STATE)
    assert await expiring(house, indexer, **settings).expire() == Expired(messages=1, facts=1)


async def test_facts_are_kept_for_ever_by_default(house: House, indexer: Indexer) -> None:
    """Only words expire unless the settings say otherwise."""
    await house.messages.capture_many([said(1, "hello")])
    await house.learn(fact_of("Somebody says hello", [said(1, "hello")]))
    house.clock.forward(3000 * DAY)
    assert await expiring(house, indexer).expire() == Expired(messages=1)
    assert len(await house.facts.about(GUILD, None)) == 1


async def test_a_server_that_removed_the_bot_is_forgotten_in_time(house: House, indexer: Indexer) -> None:
    """After its days only opt-outs and the ids of what was taken back are left; before, everything is."""
    departures, observations = Departures(house.database), Observations(house.database, house.clock)
    await observations.switch_on(GUILD, GENERAL, 1)
    await house.messages.capture_many([said(1, "hello"), said(2, "elsewhere", guild=OTHER_GUILD)])
    await house.learn(fact_of("Somebody says hello", [said(1, "hello")]))
    await indexer.drain()
    await departures.left(GUILD, house.clock())
    one = expiring(house, indexer)
    await one._observations.load()
    await one._consent.set_mode(GUILD, "opt_in")
    await one._consent.opt_in(GUILD, ANN)
    await one._consent.opt_out(GUILD, BEN)
    house.clock.forward(7 * DAY - HOUR)
    await StateStore(house.database).put(retention.STATE, house.clock().isoformat())
    assert await one.expire() == Expired()
    house.clock.forward(HOUR)
    assert await one.expire() == Expired(messages=1, facts=1, guilds=1)
    assert house.index.shards.guilds() == [OTHER_GUILD]
    assert await departures.all() == {}
    assert one._observations.guilds() == set()
    assert (one._consent.mode(GUILD), one._consent.agreed(GUILD)) == ("opt_out", 0)
    assert one._consent.opted_out_since(GUILD, BEN) is not None
    assert [schedule.guild_id for schedule in await house.queue.guilds()] == [OTHER_GUILD]
    assert await one.expire() == Expired()


async def test_a_server_is_not_forgotten_before_it_is_certain_that_the_bot_is_not_there(
    house: House, indexer: Indexer
) -> None:
    """While the bot was down someone may have invited it again: until Discord has told, only old words go."""
    await house.messages.capture_many([said(1, "hello")])
    await Departures(house.database).left(GUILD, house.clock())
    left = set[int]()
    one = expiring(house, indexer, left.__contains__)
    house.clock.forward(8 * DAY)
    assert await one.expire() == Expired()
    left.add(GUILD)
    house.clock.forward(HOUR)
    assert await one.expire() == Expired(messages=1, guilds=1)


async def test_a_server_is_forgotten_once_the_index_is_back(house: House, indexer: Indexer) -> None:
    """Its rows go at once; what the index holds goes with a later run, before the departure is closed."""
    await house.messages.capture_many([said(1, "hello")])
    await indexer.drain()
    departures, one = Departures(house.database), expiring(house, indexer, removed_guild_days=0)
    await departures.left(GUILD, house.clock())
    house.index.break_down()
    with pytest.raises(IndexUnavailable):
        await one.expire()
    house.index.down = None
    assert (await house.messages.stats(GUILD)).held == 0
    assert await one.expire() == Expired(guilds=1)
    assert (await departures.all(), house.index.shards.guilds()) == ({}, [])


async def test_a_clock_that_jumps_is_given_an_hour(house: House, indexer: Indexer) -> None:
    """Where more than half would go at once it is an error and waits a run; where less would, it goes."""
    await house.messages.capture_many([said(1, "one"), said(2, "two", guild=OTHER_GUILD)])
    await Departures(house.database).left(9, house.clock())
    one = expiring(house, indexer)
    assert await one.expire() == Expired()
    house.clock.forward(29 * DAY)
    await house.messages.capture_many([said(4, "three", guild=OTHER_GUILD)])
    house.clock.forward(2 * DAY)
    with capture_logs() as logs:
        assert await one.expire() == Expired(messages=1)
    held_back = [line for line in logs if line["event"] == "expiry_held_back"]
    assert [(line["log_level"], line.get("guild_id")) for line in held_back] == [("error", GUILD), ("error", None)]
    house.clock.forward(HOUR)
    assert await one.expire() == Expired(messages=1, guilds=1)


async def test_a_jump_spares_facts_too(house: House, indexer: Indexer) -> None:
    """Facts outlive their messages: where only facts are left, more than half of them wait as well."""
    await house.messages.capture_many([said(1, "one")])
    await house.learn(fact_of("a fact", [said(1, "one")]))
    one = expiring(house, indexer, facts_days=400)
    house.clock.forward(31 * DAY)
    assert await one.expire() == Expired(messages=1)
    house.clock.forward(3000 * DAY)
    assert await one.expire() == Expired()
    assert await one.expire() == Expired(facts=1)


async def test_a_bot_at_work_is_never_held_back(house: House, indexer: Indexer) -> None:
    """All of a quiet server's messages may go in one run if the last was an hour ago."""
    await house.messages.capture_many([said(n, "hello") for n in range(1, 6)])
    one = expiring(house, indexer)
    house.clock.forward(30 * DAY - HOUR / 2)
    assert await one.expire() == Expired()
    house.clock.forward(HOUR)
    assert await one.expire() == Expired(messages=5)


async def test_it_runs_every_hour_over_restarts_and_outages(
    house: House, indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start soon after the last run waits for the rest of the hour; an outage is one line and is tried again."""
    await house.messages.capture_many([said(1, "hello")])
    await Departures(house.database).left(GUILD, START)
    await StateStore(house.database).put(retention.STATE, house.clock().isoformat())
    house.clock.forward(timedelta(minutes=20))
    house.index.break_down()
    rests: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        house.clock.forward(timedelta(seconds=seconds))
        if len(rests) == 5:
            house.index.down = None
        if len(rests) == 8:
            await asyncio.Event().wait()
        await real(0)

    monkeypatch.setattr(retention.asyncio, "sleep", sleep)
    with capture_logs() as logs:
        running = asyncio.create_task(expiring(house, indexer, removed_guild_days=0).run())
        while len(rests) < 8:
            await real(0.01)
        running.cancel()
    assert rests == [2400, 3600, 0, 3600, 0, 3600, 3600, 3600]
    assert [line["event"] for line in logs if line["log_level"] in ("warning", "error")] == ["expiry_postponed"]
    assert (await house.messages.stats(GUILD)).held == 0
