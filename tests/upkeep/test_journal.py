"""The journal, by the databases that write it and learn from it."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from house import ANN, BEN, GENERAL, GUILD, OTHER_GUILD, START, Clock, fact_of, said
from structlog.testing import capture_logs

from bot.storage.consent import Consent
from bot.storage.database import Database
from bot.storage.facts import FactStore
from bot.storage.ledger import Entry, Ledger
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.storage.retraction import Retraction
from bot.storage.state import StateStore
from bot.upkeep.journal import Journal


@dataclass
class Room:
    """A data folder with its journal beside it."""

    path: Path
    database: Database
    messages: MessageStore
    facts: FactStore
    queue: ExtractionQueue
    retraction: Retraction
    consent: Consent
    journal: Journal
    told: asyncio.Event
    clock: Clock

    def lines(self) -> list[dict[str, object]]:
        """What the journal says, its first line left out."""
        return [json.loads(line) for line in self.path.read_text().splitlines()[1:]]

    def gone(self) -> list[object]:
        """The tombstones in the journal."""
        return [line["gone"] for line in self.lines() if "gone" in line]


class TellingLedger(Ledger):
    """Sets `told` once the journal has written something."""

    def __init__(self, database: Database, retraction: Retraction) -> None:
        super().__init__(database, retraction)
        self.told = asyncio.Event()

    async def written(self, entries: Sequence[Entry], journal_size: int) -> None:
        await super().written(entries, journal_size)
        self.told.set()


@asynccontextmanager
async def opened(folder: Path, name: str = "journal", clock: Clock | None = None) -> AsyncIterator[Room]:
    """The rooms of a data folder, with the journal opened as at a start."""
    clock = clock or Clock()
    database = await Database.open(folder / "data")
    try:
        retraction = Retraction(database, clock)
        consent = Consent(database, clock=clock)
        path = folder / name
        ledger = TellingLedger(database, retraction)
        journal = Journal(path, ledger, StateStore(database))
        await journal.flush()
        ledger.told.clear()
        await consent.load()
        journal.on_replayed = consent.load
        messages, queue = MessageStore(database, clock), ExtractionQueue(database, clock)
        yield Room(
            path, database, messages, FactStore(database), queue, retraction, consent, journal, ledger.told, clock
        )
    finally:
        await database.close()


async def learn(room: Room, text: str, *ids: int, subject: int | None = None) -> str:
    """A fact resting on held messages; its id."""
    sources = list((await room.messages.get(ids)).values())
    fact = fact_of(text, sources, subject)
    lease = (await room.queue.take(list(ids), timedelta(minutes=5))).lease
    await room.queue.commit(lease, [fact])
    return fact.id


async def test_what_is_taken_back_is_journalled_by_id_alone(tmp_path: Path) -> None:
    """A deletion, a forgotten fact, a forgotten member and an opt-out leave their ids, and no word and no name."""
    async with opened(tmp_path) as room:
        await room.messages.capture_many([said(n, f"canary number {n}") for n in range(1, 6)])
        fact = await learn(room, "canaries sing", 1, 2, subject=ANN)
        await room.retraction.messages_deleted(GUILD, [3])
        await room.retraction.facts_forgotten(GUILD, [fact])
        await room.retraction.member_forgotten(GUILD, BEN)
        await room.retraction.place_deleted(GUILD, 99)
        await room.consent.opt_out(GUILD, BEN, START)
        await room.consent.opt_in(GUILD, BEN, START + timedelta(hours=1))
        await room.journal.flush()
        assert set(room.gone()) == {"3", fact, f"1/{ANN}", f"2/{ANN}", f"author/{GUILD}/{BEN}", "channel/99"}
        start = int(START.timestamp() * 1000)
        assert {"out": [GUILD, BEN], "from": start, "to": start + 3_600_000} in room.lines()
        text = room.path.read_text()
        assert not any(word in text for word in ("canar", "sing", "Ann", "Ben", "general"))
        assert room.path.stat().st_mode & 0o777 == 0o600


async def test_expired_messages_are_not_journalled(tmp_path: Path) -> None:
    """What is past its time expires after a restore as well: the journal does not grow with every message."""
    async with opened(tmp_path) as room:
        await room.messages.capture(said(1, "old news"))
        await room.retraction.expire(GUILD, START + timedelta(days=1), None)
        await room.journal.flush()
        assert room.lines() == []
        await room.retraction.messages_deleted(GUILD, [1])
        await room.journal.flush()
        assert room.gone() == ["1"]


async def test_a_running_journal_follows_by_itself(tmp_path: Path) -> None:
    """Nobody has to ask: a deletion is in the file soon after its commit."""
    async with opened(tmp_path) as room:
        running = asyncio.create_task(room.journal.run())
        await room.retraction.messages_deleted(GUILD, [1])
        async with asyncio.timeout(10):
            await room.told.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert room.gone() == ["1"]


async def test_nothing_is_written_twice(tmp_path: Path) -> None:
    """A second flush, and a restart, find nothing to write; the end of an opt-out is news."""
    async with opened(tmp_path) as room:
        await room.retraction.messages_deleted(GUILD, [1])
        await room.consent.opt_out(GUILD, ANN, START)
        await room.journal.flush()
        before = room.path.read_bytes()
        await room.journal.flush()
        assert room.path.read_bytes() == before
    async with opened(tmp_path) as room:
        assert room.path.read_bytes() == before
        await room.consent.opt_in(GUILD, ANN, START + timedelta(hours=1))
        await room.journal.flush()
        assert len(room.lines()) == 3


async def test_a_lost_journal_is_written_anew_with_its_id(tmp_path: Path) -> None:
    """Whoever removes the file, at rest or at work, gets all of it again, by the same id."""
    async with opened(tmp_path) as room:
        await room.retraction.messages_deleted(GUILD, [1, 2])
        await room.consent.opt_out(GUILD, ANN, START)
        await room.journal.flush()
        before = room.path.read_text()
        room.path.unlink()
    async with opened(tmp_path) as room:
        assert sorted(room.path.read_text().splitlines()) == sorted(before.splitlines())
        room.path.unlink()
        await room.retraction.messages_deleted(GUILD, [3])
        await room.journal.flush()
        await room.journal.flush()
        assert set(room.gone()) == {"1", "2", "3"}
        assert room.path.read_text().splitlines()[0] == before.splitlines()[0]


async def test_another_bots_journal_is_moved_aside(tmp_path: Path) -> None:
    """A journal of another id is not ours to write into, and may be needed for its own backup."""
    async with opened(tmp_path / "other", "../journal") as other:
        await other.retraction.messages_deleted(GUILD, [1])
        await other.journal.flush()
        theirs = other.path.read_text()
    async with opened(tmp_path / "ours", "../journal") as room:
        assert room.lines() == []
        [aside] = [name for name in os.listdir(tmp_path) if name.startswith("journal.")]
        assert (tmp_path / aside).read_text() == theirs


async def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    """Pointed at somebody's file, the bot says so instead of writing over it."""
    (tmp_path / "journal").write_text("Dear diary\n")
    async with opened(tmp_path) as room:
        assert room.journal.problem is not None
        assert "move it away" in room.journal.problem
        assert room.path.read_text() == "Dear diary\n"


async def test_an_unwritable_journal_is_said_once_and_made_up_for(tmp_path: Path) -> None:
    """The bot goes on; once the file can be written, everything that waited is in it."""
    (tmp_path / "journal").mkdir()
    with capture_logs() as logs:
        async with opened(tmp_path) as room:
            await room.retraction.messages_deleted(GUILD, [1])
            await room.journal.flush()
            assert room.journal.problem is not None
            assert "make it writable, or point journal.path elsewhere" in room.journal.problem
            (tmp_path / "journal").rmdir()
            await room.journal.flush()
            assert room.journal.problem is None
            assert room.gone() == ["1"]
    assert [event["event"] for event in logs] == ["journal_not_written", "journal_written_again"]


async def test_a_last_line_cut_short_is_written_again(tmp_path: Path) -> None:
    """A crash in the middle of a write leaves half a line; the journal is whole again after the next start."""
    async with opened(tmp_path) as room:
        await room.retraction.messages_deleted(GUILD, [1])
        await room.journal.flush()
        with room.path.open("a") as file:
            file.write('{"gone": "2", "gui')
        await room.retraction.messages_deleted(GUILD, [2])
    async with opened(tmp_path) as room:
        assert room.gone() == ["1", "2"]


async def test_a_data_folder_put_back_by_hand_learns_what_it_missed(tmp_path: Path) -> None:
    """An old copy of the data folder knows less than its journal: at its start it takes back the rest."""
    async with opened(tmp_path) as room:
        await room.messages.capture_many([said(n, f"number {n}", author=BEN if n > 4 else ANN) for n in range(1, 8)])
        kept = await learn(room, "one and two", 1, 2)
        lost = await learn(room, "three is odd", 3, subject=ANN)
        await room.consent.opt_out(GUILD, ANN, START)
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    async with opened(tmp_path) as room:
        await room.retraction.messages_deleted(GUILD, [4])
        await room.retraction.facts_forgotten(GUILD, [lost])
        await room.retraction.member_forgotten(GUILD, BEN)
        await room.consent.opt_in(GUILD, ANN, START + timedelta(hours=1))
        await room.consent.opt_out(GUILD, BEN, START)
        await room.journal.flush()
        told = set(room.gone())
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "copy").rename(tmp_path / "data")
    async with opened(tmp_path) as room:
        assert list(await room.messages.get(range(1, 8))) == [1, 2, 3]
        assert [fact.id for fact in await room.facts.about(GUILD, None)] == [kept]
        assert await room.facts.about(GUILD, ANN) == []
        assert not await room.messages.capture(said(4, "again"))
        assert not await room.messages.capture(said(7, "again", author=BEN))
        assert room.consent.opted_out_since(GUILD, ANN) is None
        assert room.consent.opted_out_since(GUILD, BEN) == START
        assert set(room.gone()) == told
        before = room.path.read_bytes()
    async with opened(tmp_path) as room:
        assert room.path.read_bytes() == before


async def test_an_opt_out_learnt_late_holds_at_once(tmp_path: Path) -> None:
    """A copy put back by hand whose journal cannot be read at first keeps to what it says as soon as it can."""
    async with opened(tmp_path) as room:
        await room.messages.capture(said(1, "hello"))
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    async with opened(tmp_path) as room:
        await room.consent.opt_out(GUILD, ANN, START)
        await room.journal.flush()
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "copy").rename(tmp_path / "data")
    away = (tmp_path / "journal").rename(tmp_path / "away")
    (tmp_path / "journal").mkdir()
    async with opened(tmp_path) as room:
        assert room.consent.opted_out_since(GUILD, ANN) is None
        (tmp_path / "journal").rmdir()
        away.rename(tmp_path / "journal")
        await room.journal.flush()
        assert room.consent.opted_out_since(GUILD, ANN) == START


async def test_a_server_that_asks_first_does_so_in_an_older_copy_too(tmp_path: Path) -> None:
    """The copy knows nothing of the mode; its journal does, and an older one that names no mode is read as well."""
    async with opened(tmp_path) as room:
        await room.messages.capture(said(1, "hello"))
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    async with opened(tmp_path) as room:
        await room.consent.set_mode(GUILD, "opt_in", START)
        await room.consent.set_mode(OTHER_GUILD, "opt_in", START)
        await room.consent.set_mode(OTHER_GUILD, None, START + timedelta(hours=1))
        await room.journal.flush()
        start = int(START.timestamp() * 1000)
        assert {"mode": "opt_in", "guild": GUILD, "from": start} in room.lines()
        assert len(room.lines()) == 3
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "copy").rename(tmp_path / "data")
    for _ in range(2):
        async with opened(tmp_path) as room:
            assert not room.consent.allows(GUILD, ANN, START)
            assert [room.consent.allows(OTHER_GUILD, ANN, START + timedelta(hours=n)) for n in (0, 1)] == [False, True]
            assert len(room.lines()) == 3
    (tmp_path / "journal").unlink()
    async with opened(tmp_path) as room:
        assert len(room.lines()) == 3


async def test_a_fact_forgotten_in_other_words_goes_too(tmp_path: Path) -> None:
    """The copy holds an older wording of a fact that was forgotten since: it says the same of the same member."""
    async with opened(tmp_path) as room:
        await room.messages.capture(said(1, "I like bees"))
        await learn(room, "Ann likes bees", 1, subject=ANN)
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    async with opened(tmp_path) as room:
        reworded = await _reworded(room)
        await room.retraction.facts_forgotten(GUILD, [reworded])
        await room.journal.flush()
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "copy").rename(tmp_path / "data")
    async with opened(tmp_path) as room:
        assert await room.facts.about(GUILD, ANN) == []


async def test_what_else_a_message_says_is_not_forgotten(tmp_path: Path) -> None:
    """The copy holds the very fact that was forgotten since, and another one from the same message, which stays."""
    async with opened(tmp_path) as room:
        await room.messages.capture(said(1, "I like bees and fear wasps"))
        lease = (await room.queue.take([1], timedelta(minutes=5))).lease
        bees, wasps = (fact_of(text, [said(1, "")], ANN) for text in ("Ann likes bees", "Ann fears wasps"))
        await room.queue.commit(lease, [bees, wasps])
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    async with opened(tmp_path) as room:
        await room.retraction.facts_forgotten(GUILD, [bees.id])
        await room.journal.flush()
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "copy").rename(tmp_path / "data")
    async with opened(tmp_path) as room:
        assert [fact.id for fact in await room.facts.about(GUILD, ANN)] == [wasps.id]


async def _reworded(room: Room) -> str:
    """Have the message edited and read again: the fact it makes now; its id."""
    await room.messages.capture(replace(said(1, "I do like bees"), edited_at=START + timedelta(hours=1)))
    return await learn(room, "Ann is fond of bees", 1, subject=ANN)


async def test_a_source_that_was_deleted_does_not_bury_what_the_others_say(tmp_path: Path) -> None:
    """A fact on two messages falls with one of them; the other may be read again in the copy as well."""
    async with opened(tmp_path) as room:
        await room.messages.capture_many([said(1, "bees"), said(2, "and wasps")])
        await learn(room, "Ann keeps insects", 1, 2, subject=ANN)
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    async with opened(tmp_path) as room:
        await room.retraction.messages_deleted(GUILD, [1])
        await room.journal.flush()
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "copy").rename(tmp_path / "data")
    async with opened(tmp_path) as room:
        assert await room.facts.about(GUILD, ANN) == []
        await learn(room, "Ann keeps wasps", 2, subject=ANN)
        assert [fact.text for fact in await room.facts.about(GUILD, ANN)] == ["Ann keeps wasps"]


async def test_a_member_who_writes_again_after_being_forgotten_is_held(tmp_path: Path) -> None:
    """Learning from the journal keeps its time: what they wrote afterwards may be held."""
    clock = Clock(START + timedelta(minutes=30))
    async with opened(tmp_path, clock=clock):
        pass
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    async with opened(tmp_path, clock=clock) as room:
        await room.retraction.member_forgotten(GUILD, ANN)
        await room.journal.flush()
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "copy").rename(tmp_path / "data")
    clock.forward(timedelta(hours=1))
    async with opened(tmp_path, clock=clock) as room:
        assert not await room.messages.capture(said(10, "before"))
        assert await room.messages.capture(said(50, "after"))


@pytest.mark.parametrize("line", ["not json", '{"gone": 1}', '{"nothing": 1}', "[]"])
async def test_a_damaged_journal_is_said(tmp_path: Path, line: str) -> None:
    """A line that is not the journal's stops the learning with a sentence, not the bot."""
    async with opened(tmp_path) as room:
        await room.retraction.messages_deleted(GUILD, [1])
        await room.journal.flush()
        with room.path.open("a") as file:
            file.write(line + "\n")
    async with opened(tmp_path) as room:
        assert room.journal.problem is not None
        assert "damaged" in room.journal.problem


async def test_a_channel_deleted_since_is_deleted_in_the_copy(tmp_path: Path) -> None:
    """Everything said there goes, and nothing of it comes back."""
    async with opened(tmp_path) as room:
        await room.messages.capture(said(1, "hello"))
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    async with opened(tmp_path) as room:
        await room.retraction.place_deleted(GUILD, GENERAL)
        await room.journal.flush()
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "copy").rename(tmp_path / "data")
    async with opened(tmp_path) as room:
        assert await room.messages.get([1]) == {}
        assert not await room.messages.capture(said(2, "hello again"))
