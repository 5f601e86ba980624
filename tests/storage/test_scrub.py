"""Scrubbing: after it, no byte of what was removed is left in the database's files, and all else still is."""

import asyncio
import hashlib
import random
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from records import ANA, BEN, CHANNEL, GUILD, MINUTE, NOON, Vault, said, stated
from sqlalchemy import text

from bot.errors import StorageUnavailable
from bot.storage import database as database_module
from bot.storage import scrub
from bot.storage.database import Database

FILLER = "the river runs slowly past old gardens where nobody remembers what was said about seven apples".split()


def canary(number: int, version: str = "") -> str:
    """A long unusual word in capitals, of which every beginning is unusual, too: an index may keep but a stem."""
    digest = hashlib.sha256(f"{number} {version}".encode()).digest()
    return "".join(chr(ord("A") + byte % 26) for byte in digest[:18]) + "ALITIES"


def contents(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.iterdir()]


def found(folder: Path, canaries: Iterable[str]) -> set[str]:
    """Those of the canaries of which a file of the folder holds more than half, in whatever case."""
    beginnings = {word[:14].lower().encode(): word for word in canaries}
    windows = (content[at : at + 14] for content in map(bytes.lower, contents(folder)) for at in range(len(content)))
    return {beginnings[window] for window in windows if window in beginnings}


def sentence(chance: random.Random, word: str) -> str:
    """The word among others, and now and then behind so many that the row goes over several pages."""
    length = 1500 if chance.random() < 0.03 else chance.randint(1, 40)
    return " ".join([*chance.choices(FILLER, k=length), word, *chance.choices(FILLER, k=3)])


async def test_no_byte_of_removed_text_is_left(vault: Vault, database: Database, tmp_path: Path) -> None:
    """After deletions, edits, expiry and forgetting, a grep of the files finds none of it, open or closed."""
    chance = random.Random(7)
    ids = range(1, 801)
    shuffled = chance.sample(ids, len(ids))
    for start in range(0, len(ids), 40):  # out of order, so that rows are moved from page to page
        await vault.hold(
            *(
                said(id, sentence(chance, canary(id)), channel_id=CHANNEL + id % 3, author_id=ANA if id % 7 else BEN)
                for id in shuffled[start : start + 40]
            )
        )
    await vault.extract(*(stated(sentence(chance, canary(id, "fact")), [id]) for id in ids[::2]))
    await vault.index()

    edited = ids[::10]
    await vault.messages.capture_many(
        [said(id, sentence(chance, canary(id, "edit")), channel_id=CHANNEL + id % 3, edited_at=NOON) for id in edited]
    )
    for start in range(0, 200, 20):
        await vault.retraction.messages_deleted(GUILD, shuffled[start : start + 20])
    await vault.retraction.member_forgotten(GUILD, BEN)
    await vault.retraction.place_deleted(GUILD, CHANNEL + 2)
    held = await vault.messages.get(ids)
    facts = await vault.facts.about(GUILD, ANA)
    words = {canary(id, version) for id in ids for version in ("", "edit", "fact")}
    live = {canary(id, "edit" if held[id].edited_at else "") for id in held}
    live |= {canary(one.sources[0], "fact") for one in facts}
    assert 200 < len(held) < 600
    assert len(facts) > 80
    assert found(tmp_path, words - live)

    await database.scrub()
    assert found(tmp_path, words) == live

    vault.clock.move(timedelta(days=30))
    await vault.hold(said(9999, canary(9999)))
    await vault.retraction.expire(GUILD, vault.clock.now, facts_before=None)
    await database.scrub()
    of_facts = {canary(one.sources[0], "fact") for one in facts}
    assert found(tmp_path, {*words, canary(9999)}) == {*of_facts, canary(9999)}
    await database.close()
    assert found(tmp_path, {*words, canary(9999)}) == {*of_facts, canary(9999)}


async def test_the_last_message_leaves_nothing(vault: Vault, database: Database, tmp_path: Path) -> None:
    """The only message there is goes as completely as one of many, umlauts and all."""
    word = "Straßenbahnübersichtstafel"
    await vault.hold(said(1, word))
    await vault.retraction.messages_deleted(GUILD, [1])
    await database.scrub()
    content = b"".join(contents(tmp_path))
    for trace in (word, "bersichtstafel", "Straßenbahn", "straßenb", "ubersichtstaf"):
        assert trace.encode() not in content


async def test_a_scrubbed_database_is_sound(vault: Vault, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, whoever reads and writes meanwhile is served, and the file passes SQLite's own checks."""
    monkeypatch.setattr(scrub, "_WIPED_PAGES", 7)
    monkeypatch.setattr(scrub, "_MERGED_PAGES", 2)
    chance = random.Random(7)
    for start in range(1, 1000, 50):
        await vault.hold(*(said(id, sentence(chance, canary(id))) for id in range(start, start + 50)))
    await vault.retraction.messages_deleted(GUILD, range(1, 1000, 3))
    stop = asyncio.Event()

    async def write() -> int:
        id = 5000
        while not stop.is_set():
            id += 1
            await vault.messages.capture(said(id, sentence(chance, canary(id))))
            await vault.messages.stats(GUILD)
        return id - 5000

    writing = asyncio.create_task(write())
    await database.scrub()
    stop.set()
    written = await writing
    assert written > 5
    assert len(await vault.messages.get(range(1, 9000))) == 1000 - 333 + written
    async with database.write() as connection:
        assert (await connection.execute(text("PRAGMA integrity_check"))).scalar_one() == "ok"
        assert (await connection.execute(text("PRAGMA secure_delete"))).scalar_one() == 1
        for name in scrub.FULL_TEXT:
            await connection.execute(text(f"INSERT INTO {name}({name}) VALUES ('integrity-check')"))  # noqa: S608


async def test_scrubbing_gives_way_to_a_reader(
    vault: Vault, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While someone reads an older state the log cannot be emptied: that is an outage, and the next try succeeds."""
    monkeypatch.setattr(database_module, "_WIPING_ATTEMPTS", 2)
    monkeypatch.setattr(database_module, "_WIPING_PAUSE", 0.01)
    await vault.hold(said(1))
    async with database.read() as connection:
        await connection.execute(text("SELECT count(*) FROM message"))
        await vault.hold(said(2))
        with pytest.raises(StorageUnavailable, match=r"^The database could not be scrubbed: .+[.]$"):
            await database.scrub()
        await vault.hold(said(3))
    await database.scrub()
    await vault.hold(said(4))
    assert len(await vault.messages.get([1, 2, 3, 4])) == 4


async def test_scrubbing_that_is_cancelled_leaves_everything_usable(vault: Vault, database: Database) -> None:
    """A shutdown in the middle is no harm: the step under way ends, and the database goes on or closes."""
    await vault.hold(*(said(id) for id in range(1, 100)))
    for _ in range(5):
        scrubbing = asyncio.create_task(database.scrub())
        await asyncio.sleep(0)
        scrubbing.cancel()
        await asyncio.wait({scrubbing})
        assert await vault.messages.capture(said(1, edited_at=NOON + MINUTE)) is False
    await database.scrub()
