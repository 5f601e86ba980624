"""Imports of exports: what is held of a file afterwards, in which intervals, and what is said of a wrong one."""

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import discord
import pytest
import structlog
from exports import (
    ANA,
    BEN,
    BOT,
    CHANNEL,
    GUILD,
    MINUTE,
    NOON,
    PARENT,
    export,
    file,
    minute,
    reply,
    said,
    snowflake,
    user,
    write,
    written,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from watching import Town, notice

from bot.capture.client import Client
from bot.capture.convert import Observable
from bot.capture.discretion import Discretion
from bot.capture.importer import Imported, Importer
from bot.capture.observer import Observer
from bot.errors import StorageUnavailable
from bot.model import Attachment, Mention, Message
from bot.sandbox.discord import Channel
from bot.settings import DiscordSettings, Settings
from bot.storage.consent import Consent
from bot.storage.database import Database
from bot.storage.guild_configs import GuildConfigs
from bot.storage.messages import MessageStore
from bot.storage.observations import Observation, Observations, Source
from bot.storage.retraction import Retraction

NOW = NOON + timedelta(days=1)


def unread(what: str, done: int, total: int | None) -> None:
    """A report nobody reads."""


@dataclass
class Archive:
    """Storage, an importer into it, and a folder for files."""

    folder: Path
    database: Database
    messages: MessageStore
    retraction: Retraction
    observations: Observations
    consent: Consent
    importer: Importer

    async def take(self, content: Any, name: str = "general.json") -> Imported:
        """Import a file with this content."""
        (one,) = await self.importer.run([write(self.folder / name, content)], unread)
        return one

    async def held(self) -> list[Message]:
        """Every message that waits to be indexed: all there are, for nobody indexes here."""
        found = await self.messages.to_index(10_000, embedding=True)
        async with self.database.write() as connection:
            await connection.exec_driver_sql("UPDATE message SET indexing = 'pending'")
        return found

    async def contents(self) -> list[str]:
        """What they say, in the order of their ids."""
        return [message.content for message in await self.held()]

    def intervals(self, channel_id: int = CHANNEL) -> list[tuple[datetime, datetime | None]]:
        """When the channel was observed."""
        every = self.observations.unannounced()
        return [(one.started_at, one.ended_at) for one in every if one.channel_id == channel_id]


@pytest.fixture
async def archive(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Archive]:
    """An empty one, not connected to Discord; made once and copied, which takes a tenth of the time."""
    empty = tmp_path_factory.getbasetemp() / "empty archive"
    if not empty.exists():
        await (await Database.open(empty)).close()
    shutil.copytree(empty, tmp_path / "data")
    database = await Database.open(tmp_path / "data")
    messages, retraction = MessageStore(database, a_day_later), Retraction(database, a_day_later)
    observations, consent = Observations(database, a_day_later), Consent(database, clock=a_day_later)
    discord_part = DiscordSettings()
    discretion = Discretion(GuildConfigs(database, Settings()))
    client = Client(discord_part, Observer(messages, retraction, observations, consent, discord_part, discretion))
    importer = Importer(messages, observations, consent, client, discord_part, discretion, a_day_later)
    try:
        yield Archive(tmp_path, database, messages, retraction, observations, consent, importer)
    finally:
        await database.close()


def archive_of(town: Town, client: Client, folder: Path) -> Archive:
    """The town's storage, with a client that knows the town."""
    importer = Importer(
        town.messages, town.observations, town.consent, client, town.settings, town.discretion, a_day_later
    )
    return Archive(folder, town.database, town.messages, town.retraction, town.observations, town.consent, importer)


def a_day_later() -> datetime:
    """The time of the imports: a day after the messages were said."""
    return NOW


async def test_a_message_is_held_as_capture_would_hold_it(archive: Archive) -> None:
    """Ids, display names, the time of the id, the edit, the reply, mentions and files; secrets are blanked out."""
    first, second = minute(0), minute(1)
    await archive.take(
        export(
            [
                said(first, "tea?", user(BEN, "Benny")),
                said(
                    second,
                    "yes @Benny, the password: hunter2secret",
                    type="Reply",
                    reference=reply(first),
                    mentions=[user(BEN, "Benny")],
                    attachments=[file("cup.png")],
                    timestampEdited="2026-03-02T14:03:00.5000000+01:00",
                ),
            ]
        )
    )
    asked, answered = await archive.held()
    assert asked == Message(
        id=first,
        guild_id=GUILD,
        channel_id=CHANNEL,
        access_id=CHANNEL,
        channel_name="general",
        author_id=BEN,
        author_name="Benny",
        content="tea?",
        created_at=NOON,
    )
    assert answered == replace(
        asked,
        id=second,
        author_id=ANA,
        author_name="Ana",
        content="yes @Benny, the password: [redacted]",
        created_at=NOON + MINUTE,
        edited_at=NOON + 63 * MINUTE + timedelta(milliseconds=500),
        reply_to=first,
        mentions=(Mention(BEN, "Benny"),),
        attachments=(Attachment("cup.png"),),
    )


async def test_only_what_people_said_is_kept(archive: Archive) -> None:
    """System messages, bots, webhooks and messages without words or files are counted and left out."""
    forwarded = {"timestamp": "2026-03-02T12:00:00+00:00", "content": "somebody else's words"}
    done = await archive.take(
        export(
            [
                said(minute(0), "words"),
                said(minute(1), "Pinned a message.", type="ChannelPinnedMessage"),
                said(minute(2), "beep", user(BOT, is_bot=True)),
                said(minute(3), "", embeds=[{"title": "a link"}]),
                said(minute(4), "", reference=reply(minute(0), kind="Forward"), forwardedMessage=forwarded),
                said(minute(5), "", attachments=[file("cat.png")]),
                said(minute(6), "/roll", type="20"),
            ]
        )
    )
    assert await archive.contents() == ["words", ""]
    assert done.skipped == {"system messages": 2, "by bots": 1, "without words or files": 2}
    assert done.sentence == (
        f"{archive.folder / 'general.json'}: 7 messages read, 2 new, 5 skipped"
        " (2 system messages, 2 without words or files, 1 by bots)."
    )


async def test_only_a_reply_in_the_same_server_has_a_target(archive: Archive) -> None:
    """What is forwarded, crossposted or replied to elsewhere points at nothing that is held."""
    await archive.take(
        export(
            [
                said(minute(0), "a crosspost", reference=reply(minute(9))),
                said(minute(1), "elsewhere", type="Reply", reference=reply(minute(9), guild_id=5)),
                said(minute(2), "deleted", type="Reply", reference=reply(minute(9)) | {"messageId": None}),
                said(minute(3), "here", type="Reply", reference=reply(minute(9)) | {"guildId": None}),
            ]
        )
    )
    assert [message.reply_to for message in await archive.held()] == [None, None, None, minute(9)]


@pytest.mark.parametrize(
    ("kind", "access_id", "parent_id"),
    [
        ("GuildTextChat", CHANNEL, None),
        ("GuildNews", CHANNEL, None),
        ("GuildPublicThread", PARENT, None),
        ("GuildNewsThread", PARENT, None),
        ("GuildPrivateThread", CHANNEL, PARENT),
    ],
)
async def test_who_may_read_it_follows_from_the_kind_of_channel(
    archive: Archive, kind: str, access_id: int, parent_id: int | None
) -> None:
    """Public threads and forum posts go with the channel above, which for a channel is only its category."""
    await archive.take(export([said(minute(0))], kind=kind))
    (message,) = await archive.held()
    (interval,) = archive.observations.unannounced()
    assert (message.channel_id, message.access_id) == (CHANNEL, access_id)
    assert (interval.channel_id, interval.parent_id) == (CHANNEL, parent_id)


async def test_the_file_opens_the_interval_it_spans(archive: Archive) -> None:
    """From the first to the last message that is kept; not yet announced, and nothing is left to fetch."""
    await archive.take(export([said(minute(3)), said(minute(7)), said(minute(5))]))
    (interval,) = archive.observations.unannounced()
    assert (interval.started_at, interval.source, interval.by_user_id) == (NOON + 3 * MINUTE, Source.IMPORT, None)
    assert interval.ended_at == NOON + 7 * MINUTE + timedelta(milliseconds=1)
    assert interval.fetched
    assert not archive.observations.observed(GUILD, CHANNEL, NOW)


async def test_a_long_file_is_one_interval_in_any_order(archive: Archive) -> None:
    """A file of many pieces, newest message first, opens an interval once and widens it; nothing is left out."""
    messages = [said(minute(number), "x" * 900) for number in range(1200)]
    done = await archive.take(export(messages[::-1]))
    assert (done.read, done.new, len(await archive.held())) == (1200, 1200, 1200)
    assert archive.intervals() == [(NOON, NOON + 1199 * MINUTE + timedelta(milliseconds=1))]


async def test_what_was_observed_anyway_opens_nothing(archive: Archive) -> None:
    """While the channel was switched on its members know; only what lies before is announced."""
    await archive.observations.switch_on(GUILD, CHANNEL, ANA, NOON + 2 * MINUTE)
    await archive.take(export([said(minute(2)), said(minute(3))]))
    assert archive.intervals() == []
    await archive.take(export([said(minute(1)), said(minute(2))]))
    assert archive.intervals() == [(NOON + MINUTE, NOON + MINUTE + timedelta(milliseconds=1))]


async def test_a_thread_of_an_observed_channel_opens_nothing(archive: Archive) -> None:
    """A public thread is observed with its channel, a private one only by itself."""
    await archive.observations.switch_on(GUILD, PARENT, ANA, NOON)
    await archive.take(export([said(minute(1))], kind="GuildPublicThread"))
    assert archive.intervals() == []
    await archive.take(export([said(minute(2))], kind="GuildPrivateThread"))
    assert len(archive.intervals()) == 1


async def test_importing_twice_changes_nothing(archive: Archive) -> None:
    """The second time nothing is new, and no interval is opened or announced again."""
    content = export([said(minute(0)), said(minute(1))])
    assert (await archive.take(content)).new == 2
    await archive.observations.mark_announced(archive.observations.unannounced())
    again = await archive.take(content)
    assert (again.read, again.new, archive.observations.unannounced()) == (2, 0, [])
    assert "2 messages read, 0 new, 2 skipped (2 held or forgotten already)." in again.sentence


async def test_parts_of_one_export_make_a_whole(archive: Archive) -> None:
    """An export split into files is imported file by file, whatever the order."""
    parts = [export([said(minute(number))]) for number in (2, 0, 1)]
    paths = [write(archive.folder / f"part {number}.json", part) for number, part in enumerate(parts)]
    done = await archive.importer.run(paths, unread)
    assert [one.new for one in done] == [1, 1, 1]
    assert [message.id for message in await archive.held()] == [minute(0), minute(1), minute(2)]


async def test_the_held_words_win_unless_the_file_knows_newer_ones(archive: Archive) -> None:
    """An export writes mentions differently: that is no edit. A later edit replaces what is held."""
    await archive.take(export([said(minute(0), "hi <@5>"), said(minute(1), "old")]))
    later = "2026-03-02T13:00:00+00:00"
    done = await archive.take(export([said(minute(0), "hi @Five"), said(minute(1), "new", timestampEdited=later)]))
    assert done.new == 1
    assert await archive.contents() == ["hi <@5>", "new"]
    assert (await archive.take(export([said(minute(1), "old")]))).new == 0


async def test_what_is_sensitive_is_left_out(archive: Archive) -> None:
    """It is counted among what was skipped, and the log tells the category."""
    told = [said(minute(0), "I was diagnosed with epilepsy"), said(minute(1), "ich bin schwanger"), said(minute(2))]
    with structlog.testing.capture_logs() as logs:
        done = await archive.take(export(told))
    assert (done.new, done.skipped) == (1, {"on something sensitive": 2})
    [line] = [line for line in logs if line["event"] == "sensitive_left_out"]
    assert (line["health"], line["channel_id"]) == (2, CHANNEL)


async def test_members_who_opted_out_are_kept_out(archive: Archive) -> None:
    """Altogether while they are; for the time they were, by when it was written and when it was edited."""
    await archive.consent.opt_out(GUILD, ANA, NOON + 100 * MINUTE)
    await archive.consent.opt_out(GUILD, BEN, NOON + 2 * MINUTE)
    await archive.consent.opt_in(GUILD, BEN, NOON + 4 * MINUTE)
    done = await archive.take(
        export(
            [
                said(minute(0), "Ana's", user(ANA)),
                said(minute(1), "before", user(BEN)),
                said(minute(3), "meanwhile", user(BEN)),
                said(minute(0) + 1, "edited meanwhile", user(BEN), timestampEdited="2026-03-02T12:03:00+00:00"),
                said(minute(5), "afterwards", user(BEN)),
            ]
        )
    )
    assert await archive.contents() == ["before", "afterwards"]
    assert done.skipped == {"by members who are not to be remembered": 3}
    assert archive.intervals() == [(NOON + MINUTE, NOON + 5 * MINUTE + timedelta(milliseconds=1))]


async def test_what_was_deleted_or_forgotten_stays_away(archive: Archive) -> None:
    """Tombstones of a message and of a member hold for imports."""
    content = export([said(minute(0), author=user(ANA)), said(minute(1), author=user(BEN)), said(minute(2))])
    await archive.retraction.messages_deleted(GUILD, [minute(2)])
    await archive.retraction.member_forgotten(GUILD, BEN)
    done = await archive.take(content)
    assert (done.new, done.skipped) == (1, {"held or forgotten already": 2})
    assert [message.id for message in await archive.held()] == [minute(0)]


@pytest.mark.parametrize("gone", [CHANNEL, PARENT])
async def test_a_deleted_channel_stays_away(archive: Archive, gone: int) -> None:
    """Nor does a thread come back below one; the sentence says why, and nothing is observed or announced."""
    await archive.retraction.place_deleted(GUILD, gone)
    done = await archive.take(export([said(minute(0))], kind="GuildPublicThread"))
    path = archive.folder / "general.json"
    assert done.problem == f"{path} is of a channel that was deleted: what was said there stays forgotten."
    assert (await archive.held(), archive.observations.unannounced()) == ([], [])


async def test_a_mark_before_the_json_is_fine(archive: Archive) -> None:
    """Some editors begin a file in UTF-8 with the mark of its byte order."""
    assert (await archive.take(b"\xef\xbb\xbf" + written(export([said(minute(0), "čaj 🍵")])))).problem is None
    assert await archive.contents() == ["čaj 🍵"]


@pytest.mark.parametrize(
    "damage",
    [
        {"id": ""},
        {"id": "twelve"},
        {"id": str(2**63)},
        {"id": "-5"},
        {"author": None},
        {"author": {"id": "5"}},
        {"content": None},
        {"timestampEdited": "yesterday"},
        {"attachments": [{"url": "x"}]},
        {"id": str(snowflake(NOW + timedelta(days=1)))},
        {"timestampEdited": "2027-01-01T00:00:00+00:00"},
    ],
    ids=str,
)
async def test_a_damaged_message_is_skipped_alone(archive: Archive, damage: dict[str, Any]) -> None:
    """Those around it are kept; what claims to come from the future is damaged, too."""
    done = await archive.take(export([said(minute(0), "a"), said(minute(1)) | damage, said(minute(2), "c")]))
    assert (done.problem, done.read, done.skipped) == (None, 3, {"damaged": 1})
    assert await archive.contents() == ["a", "c"]


async def test_a_message_that_is_no_object_is_damaged(archive: Archive) -> None:
    """A number, a text or nothing where a message should be."""
    done = await archive.take(export([said(minute(0)), 5, "x", None, [], {}]))  # type: ignore[list-item]
    assert (done.problem, done.new, done.skipped) == (None, 1, {"damaged": 5})


def in_half(content: bytes) -> bytes:
    """The first half of a file."""
    return content[: len(content) // 2]


WHOLE = written(export([said(minute(number), f"message {number}") for number in range(4)]))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty: export the channel with DiscordChatExporter in its format Json."),
        (b"<!DOCTYPE html>\n<html>", "is not JSON: export the channel with DiscordChatExporter in its format Json."),
        (b"AuthorID,Author,Date,Content\n", "is not JSON: export the channel"),
        (b"PK\x03\x04", "is not JSON: export the channel"),
        (WHOLE.decode().encode("utf-16"), "is not in UTF-8: export the channel"),
        (b"{not json}", "is damaged before its first message."),
        (b'{"guild": {"id": "5"', "is cut off before its first message."),
        (b"{}", "is JSON, but no export of DiscordChatExporter: export the channel"),
        (written([{"ID": 1, "Timestamp": "2026-01-01", "Contents": "x"}]), "is JSON, but no export of"),
        (written({"messages": []}), "is JSON, but no export of"),
        (written(export([], guild=0, kind="DirectTextChat")), "holds direct messages, and these are never kept."),
        (written(export([], guild=0, kind="DirectGroupTextChat")), "holds direct messages, and these are never kept."),
        (written(export([], kind="GuildVoiceChat")), "is of a GuildVoiceChat: only text channels, threads and posts"),
        (written(export([], kind="GuildPublicThread", above=None)), "does not say which channel its thread belongs to"),
    ],
    ids=range(14),
)
async def test_a_wrong_file_is_one_sentence(archive: Archive, content: bytes, sentence: str) -> None:
    """It names the file, says what is wrong, and nothing is kept or observed."""
    done = await archive.take(content)
    assert done.problem == done.sentence
    assert done.problem.startswith(f"{archive.folder / 'general.json'} {sentence}")
    assert "\n" not in done.problem
    assert (done.read, await archive.held(), archive.observations.unannounced()) == (0, [], [])


async def test_a_missing_file_and_a_folder_stop_none_of_the_others(archive: Archive) -> None:
    """Each is one sentence; the good file between them is imported."""
    good = write(archive.folder / "good.json", WHOLE)
    missing, folder = archive.folder / "missing.json", archive.folder / "data"
    done = await archive.importer.run([missing, good, folder], unread)
    assert [one.problem for one in done] == [
        f"{missing} does not exist.",
        None,
        f"{folder} is a folder: name the files in it.",
    ]
    assert len(await archive.held()) == 4


async def test_what_was_whole_before_the_damage_is_kept(archive: Archive) -> None:
    """The sentence says how much that is, and the interval ends with it."""
    cut = WHOLE.index(b"message 3")
    done = await archive.take(WHOLE[:cut])
    assert done.problem == (
        f"{archive.folder / 'general.json'} is cut off; what comes before is kept: 3 messages read, 3 new, 0 skipped."
    )
    assert archive.intervals() == [(NOON, NOON + 2 * MINUTE + timedelta(milliseconds=1))]
    done = await archive.take(WHOLE[:cut] + b"\xff" + WHOLE[cut:])
    assert "is damaged; what comes before is kept: 3 messages read, 0 new, 3 skipped" in done.sentence


SERIAL = count(1)


def pieces(guild_id: int) -> tuple[bytes, list[int]]:
    """A file and where in it each of its messages ends."""
    messages = [
        said(snowflake(NOON, 10 * guild_id), 'tea 🍵 or \\ "coffee"?'),
        said(snowflake(NOON, 10 * guild_id + 1), "", attachments=[file("cup}].png")]),
        said(snowflake(NOON, 10 * guild_id + 2), "tea", type="Reply", mentions=[user(BEN)]),
    ]
    content = json.dumps(export(messages, guild=guild_id), ensure_ascii=False).encode()
    texts = [json.dumps(message, ensure_ascii=False).encode() for message in messages]
    return content, [content.index(text) + len(text) for text in texts]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), junk=st.none() | st.binary(min_size=1, max_size=3))
async def test_a_file_cut_or_overwritten_anywhere_keeps_what_came_before(
    archive: Archive, where: float, junk: bytes | None
) -> None:
    """No byte of it can be the one at which an exception comes out, or at which whole messages are lost."""
    guild_id = next(SERIAL)
    content, ends = pieces(guild_id)
    at = round(where * len(content))
    done = await archive.take(content[:at] if junk is None else content[:at] + junk + content[at + len(junk) :])
    whole = [end for end in ends if end <= at]
    assert done.read >= len(whole)
    if whole:
        assert len(await archive.messages.get(snowflake(NOON, 10 * guild_id + n) for n in range(len(whole)))) == len(
            whole
        )
    if junk is None:
        assert (done.problem is None, done.read) == (at == len(content), len(whole))
    assert done.problem is None or (str(archive.folder / "general.json") in done.problem and "\n" not in done.problem)


async def test_a_database_that_refuses_says_how_far_it_got(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends the import with one sentence; what was committed before is kept, and a repeat adds the rest."""
    captured, capture_many = [0], archive.messages.capture_many

    async def fails_later(messages: list[Message]) -> int:
        if captured[0]:
            raise StorageUnavailable("The database could not be used: disk full.")
        captured[0] = await capture_many(messages)
        return captured[0]

    path = write(archive.folder / "long.json", export([said(minute(number), "x" * 900) for number in range(900)]))
    monkeypatch.setattr(archive.messages, "capture_many", fails_later)
    with pytest.raises(
        StorageUnavailable, match=r"long\.json is imported up to its \d+th message.*: The database could not"
    ):
        await archive.importer.run([path], unread)
    monkeypatch.undo()
    (done,) = await archive.importer.run([path], unread)
    assert 0 < captured[0] < 900
    assert done.new == 900 - captured[0]


async def test_progress_is_told_by_what_was_read(archive: Archive) -> None:
    """In megabytes, up to all of them."""
    told: list[tuple[str, int, int | None]] = []
    path = write(archive.folder / "long.json", export([said(minute(number), "x" * 900) for number in range(900)]))
    await archive.importer.run([path], lambda *progress: told.append(progress))
    assert told[-1] == ("long.json, MB", 2, 2)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


async def test_a_connected_bot_says_if_nobody_will_be_shown_it(town: Town, tmp_path: Path) -> None:
    """Memories of a channel that is gone, or of a server the bot is not in, are visible to nobody."""
    async with town.watched() as client:
        archive = archive_of(town, client, tmp_path)

        async def end(guild_id: int, channel_id: int, kind: str = "GuildTextChat", above: int | None = None) -> str:
            content = export([said(minute(0))], guild=guild_id, channel=channel_id, kind=kind, above=above)
            return (await archive.take(content)).sentence.partition("skipped")[2]

        assert await end(town.guild.id, town.general.id) == "."
        assert await end(town.guild.id, 5, "GuildPublicThread", town.general.id) == " (1 held or forgotten already)."
        gone = "; nobody is shown them, because the bot sees no such channel on Discord."
        assert (await end(town.guild.id, 5)).endswith(gone)
        assert (await end(6, 5)).endswith("; nobody is shown them, because the bot is not in this server.")


@pytest.mark.parametrize("allowed", [False, True])
async def test_age_restricted_channels_need_the_settings(town: Town, tmp_path: Path, allowed: bool) -> None:
    """As in capture; only a connected bot can tell."""
    adult = town.world.add_channel(town.guild, "adult", nsfw=True)
    async with town.watched(allow_age_restricted=allowed) as client:
        archive = archive_of(town, client, tmp_path)
        done = await archive.take(export([said(minute(0))], guild=town.guild.id, channel=adult.id))
    refused = f"{tmp_path / 'general.json'} is of an age-restricted channel, and the settings leave these out."
    assert done.problem == (None if allowed else refused)
    assert len(await archive.held()) == allowed


async def test_members_are_told_at_once_or_by_the_next_session(town: Town, tmp_path: Path) -> None:
    """A connected bot posts a notice when it is done; otherwise the next one does, one notice for many files."""
    told: list[tuple[str, datetime, datetime | None]] = []

    async def announce(place: Observable, interval: Observation) -> discord.Message:
        told.append((place.name, interval.started_at, interval.ended_at))
        return await notice(place)

    async def take(channel: Channel, number: int) -> None:
        await archive.take(export([said(minute(number))], guild=town.guild.id, channel=channel.id))

    other = town.world.add_channel(town.guild, "other")
    client = town.client()
    client.announce_interval = announce
    archive = archive_of(town, client, tmp_path)
    await take(town.general, 5)
    await take(town.general, 0)
    assert told == []
    instant = timedelta(milliseconds=1)
    in_general = ("general", NOON, NOON + 5 * MINUTE + instant)
    async with town.at_work(client):
        await client.settle()
        assert told == [in_general]
        await take(other, 1)
    assert told == [in_general, ("other", NOON + MINUTE, NOON + MINUTE + instant)]
    assert town.observations.unannounced() == []


async def test_what_is_widened_while_members_are_told_is_told_again(archive: Archive) -> None:
    """A session may begin, and post what is known so far, in the middle of an import."""
    await archive.take(export([said(minute(0))]))
    told = archive.observations.unannounced()
    await archive.observations.widen(told[0].id, NOON, NOON + MINUTE)
    await archive.observations.mark_announced(told)
    (interval,) = archive.observations.unannounced()
    assert interval.ended_at == NOON + MINUTE


async def test_what_capture_holds_is_not_new(town: Town, tmp_path: Path) -> None:
    """A message that was captured when it was said and stands in a file is one message, in the words as captured."""
    await town.observe(town.general)
    async with town.watched() as client:
        posted = await town.server.say(town.general, town.alice, f"tea, <@{town.bob.id}>?")
        (captured,) = await town.until_held([posted])
        archive = archive_of(town, client, tmp_path)
        archive.importer = Importer(
            town.messages, town.observations, town.consent, client, town.settings, town.discretion
        )
        messages = [said(captured.id, "tea, @bob?", user(town.alice.id), mentions=[user(town.bob.id)])]
        done = await archive.take(export(messages, guild=town.guild.id, channel=town.general.id))
    assert (done.read, done.new, town.observations.unannounced()) == (1, 0, [])
    assert await town.messages.get([captured.id]) == {captured.id: captured}
