"""The observer behind the real client: what is captured, changed and retracted, and what never is."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import structlog
from sqlalchemy import Connection
from watching import Town, contents

from bot.capture.client import Client
from bot.errors import StorageUnavailable
from bot.model import Attachment, Mention, Message, utcnow
from bot.sandbox.discord import Attachment as File
from bot.sandbox.discord import ChannelKind, MessageKind
from bot.sandbox.discord.entities import Json
from bot.storage.observations import Source

ZALGO = "Z̸̡̢̛̲̩̤̖̪̟̃̾͌́̚a̶̧̛͓͔̲̦̿̈́͝l̴̢̛̙̳̣̎̓̈́g̵̡̛̼̤̾̿̚o̶̡̳̙̎͌"
RIGHT_TO_LEFT = "\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED} \u202eabc\u202c \N{ARABIC LETTER SEEN} 123"


async def test_a_message_is_held_as_it_was_said(town: Town) -> None:
    """Content, names, channel, reply target, mentions, files and time arrive in the database."""
    await town.observe(town.general)
    town.world.update_member(town.guild, town.bob, nick="Bobby")
    async with town.watched() as client:
        first = await town.server.say(town.general, town.bob, f"tea, <@{town.alice.id}>?")
        await town.server.say(
            town.general, town.alice, "yes", reply_to=first, attachments=[File("cup.png", "a green cup"), "plain.txt"]
        )
        asked, answered = await town.held(client)

    assert asked == Message(
        id=int(first["id"]),
        guild_id=town.guild.id,
        channel_id=town.general.id,
        access_id=town.general.id,
        channel_name="general",
        author_id=town.bob.id,
        author_name="Bobby",
        content=f"tea, <@{town.alice.id}>?",
        created_at=asked.created_at,
        mentions=(Mention(town.alice.id, "Alice"),),
    )
    assert abs(asked.created_at - utcnow()) < timedelta(minutes=1)
    assert answered.reply_to == asked.id
    assert answered.attachments == (Attachment("cup.png", "a green cup"), Attachment("plain.txt"))


async def test_only_people_are_captured(town: Town) -> None:
    """Other bots, webhooks, system messages and the bot's own output leave no trace."""
    await town.observe(town.general)
    async with town.watched() as client:
        await town.server.say(town.general, town.robot, "beep")
        await town.server.say(town.general, town.alice, "by a webhook", webhook_id=town.world.snowflake())
        for kind in (MessageKind.PINNED, MessageKind.JOINED, MessageKind.THREAD_CREATED):
            await town.server.say(town.general, town.alice, "by the system", kind=kind)
        await town.server.say(town.general, town.alice, kind=MessageKind.CHAT_INPUT_COMMAND)
        own = client.get_channel(town.general.id)
        await own.send("from the bot itself")
        await town.server.say(town.general, town.alice, "by a person")

        assert contents(await town.held(client)) == ["by a person"]


async def test_direct_messages_are_not_captured(town: Town) -> None:
    """A message without a guild is nobody's business, even if its channel's id were observed."""
    await town.observe(town.general)
    async with town.watched() as client:
        payload = await town.server.say(town.general, town.alice, "psst", announce=False)
        private = {key: value for key, value in payload.items() if key not in ("guild_id", "member")}
        await town.server.dispatch("MESSAGE_CREATE", private)
        await town.server.dispatch("MESSAGE_UPDATE", private | {"edited_timestamp": utcnow().isoformat()})
        await town.server.dispatch("MESSAGE_DELETE", {"id": payload["id"], "channel_id": payload["channel_id"]})

        assert await town.held(client) == []
        assert await town.tombstones() == set()


async def test_messages_without_words_or_files_are_not_captured(town: Town) -> None:
    """A sticker or a poll alone says nothing to remember; a file alone does."""
    await town.observe(town.general)
    async with town.watched() as client:
        await town.server.say(town.general, town.alice, "")
        await town.server.say(town.general, town.alice, "", attachments=["plan.pdf"])

        assert [message.text for message in await town.held(client)] == ["[plan.pdf]"]


async def test_only_observed_channels_are_captured(town: Town) -> None:
    """A channel nobody switched on, and one that was switched off again, is not captured."""
    other = town.world.add_channel(town.guild, "other")
    former = town.world.add_channel(town.guild, "former")
    await town.observe(town.general, former)
    town.clock.now += timedelta(hours=1)
    await town.observations.switch_off(town.guild.id, former.id)
    async with town.watched() as client:
        for place in (other, former):
            await town.server.say(place, town.alice, "unheard")

        assert await town.held(client) == []


async def test_the_time_of_the_message_counts(town: Town) -> None:
    """What was said before a channel was switched on stays out, whenever its event comes."""
    await town.observe(town.general)
    async with town.watched() as client:
        before, after = town.clock.now - timedelta(minutes=1), town.clock.now + timedelta(minutes=1)
        await town.server.say(town.general, town.alice, "before", at=before)
        await town.server.say(town.general, town.alice, "after", at=after)

        assert contents(await town.held(client)) == ["after"]


async def test_opted_out_members_are_not_captured(town: Town) -> None:
    """From the opt-out to the opt-in nothing of a member's is held; others are not affected."""
    await town.observe(town.general)
    start = town.clock.now
    town.clock.now = start + timedelta(hours=1)
    await town.consent.opt_out(town.guild.id, town.bob.id)
    town.clock.now = start + timedelta(hours=2)
    await town.consent.opt_in(town.guild.id, town.bob.id)
    async with town.watched() as client:
        for hours in (0.5, 1.5, 2.5):
            for author in (town.alice, town.bob):
                at = start + timedelta(hours=hours)
                await town.server.say(town.general, author, f"{author.name} at {hours}", at=at)

        said = contents(await town.held(client))
    assert said == ["alice at 0.5", "bob at 0.5", "alice at 1.5", "alice at 2.5", "bob at 2.5"]


async def test_threads_and_posts_belong_to_their_channel(town: Town) -> None:
    """A public thread and a forum post are observed with their parent, and whoever may read that may read them."""
    forum = town.world.add_channel(town.guild, "ideas", kind=ChannelKind.FORUM)
    thread = town.world.add_thread(town.general, "the kettle", owner=town.alice)
    await town.observe(town.general, forum)
    async with town.watched() as client:
        post = town.world.add_thread(forum, "a bigger pot", owner=town.bob)
        await town.server.say(thread, town.alice, "in a thread")
        await town.server.say(post, town.bob, "in a post")
        in_thread, in_post = await town.held(client)

    assert (in_thread.channel_id, in_thread.access_id) == (thread.id, town.general.id)
    assert (in_post.channel_id, in_post.access_id) == (post.id, forum.id)
    assert (in_thread.channel_name, in_post.channel_name) == ("the kettle", "a bigger pot")


async def test_private_threads_are_observed_one_by_one(town: Town) -> None:
    """A private thread in an observed channel is captured only if it was itself switched on."""
    bot = town.world.bot
    closed = town.world.add_thread(town.general, "closed", owner=town.alice, private=True, members=[bot])
    chosen = town.world.add_thread(town.general, "chosen", owner=town.alice, private=True, members=[bot])
    await town.observe(town.general, chosen)
    async with town.watched() as client:
        await town.server.say(closed, town.alice, "a secret")
        await town.server.say(chosen, town.alice, "for the record")
        (held,) = await town.held(client)

    assert (held.content, held.channel_id, held.access_id) == ("for the record", chosen.id, chosen.id)


@pytest.mark.parametrize("allowed", [False, True])
async def test_age_restricted_channels_need_the_settings(town: Town, allowed: bool) -> None:
    """An observed channel that is age-restricted is captured, threads and all, only if the settings say so."""
    adult = town.world.add_channel(town.guild, "adult", nsfw=True)
    thread = town.world.add_thread(adult, "more", owner=town.alice)
    await town.observe(town.general, adult)
    async with town.watched(allow_age_restricted=allowed) as client:
        await town.server.say(adult, town.alice, "in the channel")
        await town.server.say(thread, town.alice, "in its thread")

        assert contents(await town.held(client)) == (["in the channel", "in its thread"] if allowed else [])


@pytest.mark.parametrize(
    "text", ["👩‍👩‍👧‍👦" * 571 + "🎉" * 3, RIGHT_TO_LEFT, ZALGO * 20, "a\x00b\ufeff\u200b", "\ud83c half"]
)
async def test_strange_text_arrives_whole(town: Town, text: str) -> None:
    """4,000 characters of emoji, right-to-left text, zalgo and stray code points are kept; half a pair becomes `?`."""
    await town.observe(town.general)
    async with town.watched():
        (held,) = await town.until_held([await town.server.say(town.general, town.alice, text)])

    assert held.content == text.encode("utf-8", "replace").decode()


async def test_secrets_are_redacted_before_storage(town: Town) -> None:
    """Neither the words of a message or an edit nor a file's description reach the database with a secret."""
    await town.observe(town.general)
    async with town.watched() as client:
        said = await town.server.say(
            town.general, town.alice, "password: hunter22", attachments=[File("a.png", "card 4111 1111 1111 1111")]
        )
        await town.until_held([said])
        await town.server.edit(town.general, said, "no, the password is hunter33!")
        (held,) = await town.held(client)

    assert held.text == "no, the password is [redacted]\n[a.png: card [redacted]]"


async def test_an_edit_replaces_the_words(town: Town) -> None:
    """The newest content wins, and counts as a new revision."""
    await town.observe(town.general)
    async with town.watched() as client:
        said = await town.server.say(town.general, town.alice, "at six")
        await town.until_held([said])
        await town.server.edit(town.general, said, "at seven")
        (held,) = await town.held(client)

    assert (held.content, held.revision) == ("at seven", 1)
    assert held.edited_at is not None


async def test_link_previews_and_pins_change_nothing(town: Town) -> None:
    """Updates that no person made are not edits: they neither touch a held message nor bring one in."""
    preview = [{"type": "link", "title": "Example", "url": "https://example.org"}]
    await town.observe(town.general)
    async with town.watched() as client:
        said = await town.server.say(town.general, town.alice, "see https://example.org")
        old = await town.server.say(town.general, town.alice, "no longer held", announce=False)
        await town.until_held([said])
        for payload in (said, old):
            town.world.edit_message(town.world.message(town.general, payload), embeds=preview)
        (held,) = await town.held(client)

    assert (held.content, held.revision, held.edited_at) == ("see https://example.org", 0, None)


async def test_an_edit_of_a_missed_message_captures_it(town: Town) -> None:
    """If the first words never arrived, the edited ones are captured, by the rules of the message's own time."""
    await town.observe(town.general)
    async with town.watched() as client:
        missed = await town.server.say(town.general, town.alice, "first", announce=False)
        early = await town.server.say(
            town.general, town.alice, "early", at=town.clock.now - timedelta(hours=1), announce=False
        )
        await town.server.edit(town.general, missed, "second")
        await town.server.edit(town.general, early, "still early")

        assert contents(await town.held(client)) == ["second"]


async def test_an_edit_that_empties_a_message_takes_it_away(town: Town) -> None:
    """What the author took out is gone from the database too, and no empty memory stays."""
    await town.observe(town.general)
    async with town.watched() as client:
        said = await town.server.say(town.general, town.alice, "too much", attachments=["a.png"])
        await town.until_held([said])
        town.world.edit_message(town.world.message(town.general, said), content="", attachments=[])

        assert await town.held(client) == []


@pytest.mark.parametrize("stopped_by", ["opt-out", "observe off"])
async def test_words_written_too_late_are_not_kept_by_an_edit(town: Town, stopped_by: str) -> None:
    """An edit after the opt-out, or after the channel was switched off, is not kept, nor are the words it replaced."""
    other = town.world.add_channel(town.guild, "other")
    await town.observe(town.general, other)
    start = town.clock.now
    town.clock.now = start + timedelta(hours=2)
    async with town.watched() as client:
        early = start + timedelta(hours=1)
        edited = await town.server.say(other, town.bob, "before", at=early)
        untouched = await town.server.say(other, town.bob, "left as it was", at=early)
        await town.until_held([edited, untouched])
        if stopped_by == "opt-out":
            await town.consent.opt_out(town.guild.id, town.bob.id)
        else:
            await town.observations.switch_off(town.guild.id, other.id)
        missed = await town.server.say(other, town.bob, "never arrived", at=early, announce=False)
        for payload in (edited, missed):
            await town.server.edit(other, payload, "not for the bot")

        assert contents(await town.held(client)) == ["left as it was"]


async def test_an_edit_after_the_opt_out_takes_away_words_of_a_past_opened_afterwards(town: Town) -> None:
    """There, too, the held words are not what their author says now."""
    start = town.clock.now
    place = (town.guild.id, town.general.id)
    await town.observations.open_interval(*place, start, start + timedelta(hours=2), town.alice.id, Source.BACKFILL)
    town.clock.now = start + timedelta(hours=2)
    await town.observe(town.general)
    async with town.watched() as client:
        said = await town.server.say(town.general, town.bob, "before", at=start + timedelta(hours=1))
        await town.until_held([said])
        await town.consent.opt_out(town.guild.id, town.bob.id)
        await town.server.edit(town.general, said, "not for the bot")

        assert await town.held(client) == []


async def test_an_edit_of_what_was_never_kept_is_not_noted(town: Town) -> None:
    """What was written during an opt-out leaves no trace when it is edited after the opt-in."""
    await town.observe(town.general)
    start = town.clock.now
    town.clock.now = start + timedelta(hours=1)
    await town.consent.opt_out(town.guild.id, town.bob.id)
    town.clock.now = start + timedelta(hours=3)
    await town.consent.opt_in(town.guild.id, town.bob.id)
    async with town.watched() as client:
        said = await town.server.say(town.general, town.bob, "between", at=start + timedelta(hours=2))
        await town.server.edit(town.general, said, "between, edited")

        assert await town.held(client) == []
        assert await town.tombstones() == set()


async def test_edits_of_bots_are_ignored(town: Town) -> None:
    """A bot that rewrites its message all day costs nothing and is never captured."""
    await town.observe(town.general)
    async with town.watched() as client:
        said = await town.server.say(town.general, town.robot, "1 %")
        await town.server.edit(town.general, said, "2 %")

        assert await town.held(client) == []


async def test_deletions_remove_what_is_held(town: Town) -> None:
    """A deletion and a bulk deletion take messages out for good, in threads as well."""
    thread = town.world.add_thread(town.general, "thread", owner=town.alice)
    await town.observe(town.general)
    async with town.watched() as client:
        said = [await town.server.say(town.general, town.alice, f"message {i}") for i in range(4)]
        in_thread = await town.server.say(thread, town.bob, "in a thread")
        await town.until_held([*said, in_thread])
        await town.server.delete(town.general, said[0])
        await town.server.delete(thread, in_thread)
        await town.server.bulk_delete(town.general, said[1:3])

        assert contents(await town.held(client)) == ["message 3"]
        gone = [*said[:3], in_thread]
        assert await town.tombstones() == {int(payload["id"]) for payload in gone}


async def test_a_deletion_may_overtake_its_message(town: Town) -> None:
    """A message whose deletion was handled first is never held."""
    await town.observe(town.general)
    async with town.watched() as client:
        payload = await town.server.say(town.general, town.alice, "regretted", announce=False)
        await town.server.delete(town.general, payload)
        await town.server.dispatch("MESSAGE_CREATE", payload)

        assert await town.held(client) == []


async def test_deletions_elsewhere_leave_no_tombstones(town: Town) -> None:
    """What happens in channels nobody observes, or happened before, is not written down."""
    other = town.world.add_channel(town.guild, "other")
    await town.observe(town.general)
    async with town.watched() as client:
        unheard = await town.server.say(other, town.alice, "unheard")
        early = await town.server.say(town.general, town.alice, "early", at=town.clock.now - timedelta(hours=1))
        await town.server.delete(other, unheard)
        await town.server.delete(town.general, early)

        assert await town.held(client) == []
        assert await town.tombstones() == set()


async def test_a_held_message_is_deleted_even_if_its_thread_is_unknown(town: Town) -> None:
    """discord.py forgets archived threads; a deletion there must reach what is held."""
    thread = town.world.add_thread(town.general, "thread", owner=town.alice)
    await town.observe(town.general)
    async with town.watched() as client:
        said = await town.server.say(thread, town.alice, "in a thread")
        await town.until_held([said])
        town.world.update_thread(thread, archived=True)
        await town.server.delete(thread, said)

        assert await town.held(client) == []


async def test_a_deleted_channel_or_thread_is_forgotten(town: Town) -> None:
    """What was said there goes with it, even what was said just before; a place never observed leaves no trace."""
    unknown = town.world.add_channel(town.guild, "unknown")
    other = town.world.add_channel(town.guild, "other")
    thread = town.world.add_thread(town.general, "thread", owner=town.alice)
    await town.observe(town.general, other)
    async with town.watched() as client:
        said = [await town.server.say(place, town.alice, "first words") for place in (other, thread)]
        await town.until_held(said)
        await town.server.say(other, town.alice, "last words")
        for place in (other, unknown):
            town.world.remove_channel(place)
        town.world.remove_thread(thread)

        assert await town.held(client) == []
        assert await town.buried() == {f"channel/{place.id}" for place in (other, thread)}
        assert [one.channel_id for one in town.observations.active(town.guild.id)] == [town.general.id]


async def test_an_archived_private_thread_goes_with_its_channel(town: Town) -> None:
    """Discord tells of the channel only, which itself was never observed."""
    channel = town.world.add_channel(town.guild, "channel")
    thread = town.world.add_thread(channel, "thread", owner=town.alice, private=True, members=[town.world.bot])
    await town.observe(town.general)
    await town.observations.switch_on(town.guild.id, thread.id, town.alice.id, parent_id=channel.id)
    async with town.watched() as client:
        await town.until_held([await town.server.say(thread, town.alice, "psst")])
        town.world.update_thread(thread, archived=True)
        town.world.remove_channel(channel)

        assert await town.held(client) == []


async def test_a_message_in_an_unknown_place_is_refused(town: Town) -> None:
    """Of a channel discord.py does not know nobody can say who may read it: nothing of it is kept."""
    await town.observe(town.general)
    hidden = str(town.world.snowflake())
    await town.observations.switch_on(town.guild.id, int(hidden), None)
    async with town.watched() as client:
        payload = await town.server.say(town.general, town.alice, "where?", announce=False)
        elsewhere: Json = payload | {"channel_id": hidden}
        await town.server.dispatch("MESSAGE_CREATE", elsewhere)
        await town.server.dispatch("MESSAGE_UPDATE", elsewhere | {"edited_timestamp": utcnow().isoformat()})

        assert await town.held(client) == []


async def test_a_burst_is_captured_completely(town: Town) -> None:
    """Every message of a burst of several people is held exactly once, in order."""
    await town.observe(town.general)
    async with town.watched() as client:
        said = [
            town.world.add_message(town.general, (town.alice, town.bob)[i % 2], f"message {i}", announce=False)
            for i in range(500)
        ]
        await town.server.burst(said)

        assert contents(await town.held(client)) == [f"message {i}" for i in range(500)]


async def test_a_replayed_event_is_the_same_message(town: Town) -> None:
    """An event that comes again, as after a resume, changes nothing."""
    await town.observe(town.general)
    async with town.watched() as client:
        payload = await town.server.say(town.general, town.alice, "once")
        await town.server.dispatch("MESSAGE_CREATE", payload)
        (held,) = await town.held(client)

    assert (held.content, held.revision) == ("once", 0)


async def test_messages_said_during_a_disconnect_arrive(town: Town) -> None:
    """After a lost socket the session resumes, and what was said meanwhile is captured."""
    await town.observe(town.general)
    async with town.watched() as client:
        await town.server.drop_connections()
        await town.server.say(town.general, town.alice, "while you were away")

        assert contents(await town.held(client)) == ["while you were away"]
        async with asyncio.timeout(5):
            await client.ready.wait()


class Disk:
    """The disk under the town's database: while it is full, every write is refused."""

    def __init__(self, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self._writes = asyncio.Semaphore(0)
        self._transact = town.database.transact
        monkeypatch.setattr(town.database, "transact", self.transact)

    async def transact(self, work: Callable[[Connection], object]) -> object:
        if self.full:
            raise StorageUnavailable("The disk is full.")
        result = await self._transact(work)
        self._writes.release()
        return result

    async def written(self, times: int) -> None:
        """Wait for as many writes, counted from the last wait."""
        async with asyncio.timeout(5):
            for _ in range(times):
                await self._writes.acquire()


async def handled(client: Client, event: str, happening: Awaitable[object]) -> None:
    """Let it happen, and wait until the client has dealt with its event."""
    seen = asyncio.create_task(client.wait_for(event))
    await happening
    await asyncio.wait_for(seen, 5)
    await client.settle()


async def test_what_the_database_refuses_is_counted_and_made_good(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused message is lost, loudly and without its words; edits and deletions are retried until they hold."""
    await town.observe(town.general)
    async with town.watched() as client:
        edited = await town.server.say(town.general, town.alice, "before")
        deleted = await town.server.say(town.general, town.alice, "regretted")
        await town.until_held([edited, deleted])
        disk = Disk(town, monkeypatch)
        disk.full = True
        monkeypatch.setattr("bot.capture.retries._RETRY_AFTER", 0.1)
        with structlog.testing.capture_logs() as logs:
            await handled(client, "message", town.server.say(town.general, town.alice, "lost words"))
            await handled(client, "raw_message_edit", town.server.edit(town.general, edited, "changed words"))
            await handled(client, "raw_message_delete", town.server.delete(town.general, deleted))
        disk.full = False
        await disk.written(2)

        assert contents(await town.held(client)) == ["changed words"]
        assert town.observer.refused == 3
    assert [entry["change"] for entry in logs if entry["event"] == "refused"] == ["message", "edit", "deletion"]
    assert "words" not in str(logs)


async def test_refused_changes_are_made_good_at_the_end(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing tries once more; with too many changes waiting an edit takes the old words away and keeps no new ones."""
    monkeypatch.setattr("bot.capture.observer._CROWD", 2)
    await town.observe(town.general)
    async with town.watched() as client:
        said = [await town.server.say(town.general, town.alice, f"message {i}") for i in range(4)]
        await town.until_held(said)
        disk = Disk(town, monkeypatch)
        disk.full = True
        for payload in said[:3]:
            await handled(client, "raw_message_edit", town.server.edit(town.general, payload, "changed"))
        disk.full = False

    left = await town.messages.get(int(payload["id"]) for payload in said)
    assert contents(left.values()) == ["changed", "changed", "message 3"]


async def test_changes_refused_to_the_last_are_logged(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the database is still out of order at the end, the log says how many changes go with the process."""
    await town.observe(town.general)

    with structlog.testing.capture_logs() as logs:
        async with town.watched() as client:
            said = await town.server.say(town.general, town.alice, "regretted")
            await town.until_held([said])
            Disk(town, monkeypatch).full = True
            await handled(client, "raw_message_delete", town.server.delete(town.general, said))

    assert [entry["changes"] for entry in logs if entry["event"] == "refused_for_good"] == [1]


async def test_a_handler_that_fails_is_logged_without_words(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is neither swallowed nor quoted, and the next event is handled."""
    await town.observe(town.general)

    asked = asyncio.Event()

    async def fail(message: Message) -> bool:
        asked.set()
        raise ValueError(message.content)

    async with town.watched() as client:
        with monkeypatch.context() as broken, structlog.testing.capture_logs() as logs:
            broken.setattr(town.messages, "capture", fail)
            await town.server.say(town.general, town.alice, "my words")
            async with asyncio.timeout(5):
                await asked.wait()
            await client.settle()

        assert contents(await town.held(client)) == []

    (entry,) = logs
    assert (entry["event"], entry["handler"], entry["error"]) == ("handler_failed", "on_message", "ValueError")
    assert "observer.py" in entry["stack"] and "my words" not in str(entry)
