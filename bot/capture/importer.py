"""Imports channel exports: what they hold goes the way of every captured message, in the intervals it opens."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import discord
import structlog

from bot.capture.client import Client
from bot.capture.discretion import Discretion
from bot.capture.transcripts import Origin, Skipped, Transcript
from bot.errors import StorageUnavailable, TranscriptInvalid
from bot.model import Message, Report, utcnow
from bot.settings import DiscordSettings
from bot.storage.consent import Consent
from bot.storage.messages import MessageStore
from bot.storage.observations import Observations, Source

_WITHOUT_CONSENT = "by members who are not to be remembered"
_SENSITIVE = "on something sensitive"
_KNOWN = "held or forgotten already"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Imported:
    """What came of a file: messages read, how many of them are new, and why the others were skipped.

    `problem` is a sentence that says why the file could not be used or not be read to its end.
    """

    path: str
    guild_id: int | None = None
    channel_id: int | None = None
    read: int = 0
    new: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    problem: str | None = None
    hidden: str | None = None

    @property
    def sentence(self) -> str:
        """All of it, for people."""
        return self.problem or f"{self.path}: {self.counts}."

    @property
    def counts(self) -> str:
        """The numbers, and whether anybody will be shown what is new."""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.skipped.most_common())
        skipped = f"{self.skipped.total():,} skipped" + (f" ({reasons})" if reasons else "")
        hidden = f"; nobody is shown them, because {self.hidden}" if self.hidden else ""
        messages = "message" if self.read == 1 else "messages"
        return f"{self.read:,} {messages} read, {self.new:,} new, {skipped}{hidden}"


class Importer:
    """Reads exports into `messages`.

    Where the `client` is connected it tells what Discord knows of their channels, and what is imported is
    announced there; otherwise the next session announces it.
    """

    def __init__(
        self,
        messages: MessageStore,
        observations: Observations,
        consent: Consent,
        client: Client,
        settings: DiscordSettings,
        discretion: Discretion,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        self._messages = messages
        self._observations = observations
        self._consent = consent
        self._client = client
        self._allow_age_restricted = settings.allow_age_restricted
        self._discretion = discretion
        self._clock = clock

    async def run(self, paths: Sequence[Path], report: Report) -> list[Imported]:
        """Import files one after the other; one that is wrong or damaged stops none of the others.

        Raises `StorageUnavailable` if the database refuses a message; those before it are kept.
        """
        try:
            return [await self._import(path, report) for path in paths]
        finally:
            if self._client.is_ready():
                await self._client.announce_intervals()

    async def _import(self, path: Path, report: Report) -> Imported:
        done = Imported(str(path))
        try:
            transcript = await asyncio.to_thread(Transcript, path, self._clock())
            await self._check(path, transcript.origin)
        except TranscriptInvalid as error:
            done.problem = str(error)
            return done
        await self._read(transcript, done, report)
        done.hidden = self._hidden(transcript.origin)
        if transcript.damage:
            kept = f"; what comes before is kept: {done.counts}." if done.read else " before its first message ends."
            done.problem = f"{path} {transcript.damage}{kept}"
        return done

    async def _read(self, transcript: Transcript, done: Imported, report: Report) -> None:
        origin = transcript.origin
        done.guild_id, done.channel_id = origin.guild_id, origin.channel_id
        interval = _Interval(origin, self._observations)
        batches = transcript.batches()
        # In a thread, since parsing half a megabyte takes longer than the gateway's events should wait.
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            kept = [message for message in batch if isinstance(message, Message)]
            consented = [message for message in kept if self._consents(message)]
            sensitive = {one.id: category for one in consented if (category := self._discretion.objection(one))}
            allowed = [message for message in consented if message.id not in sensitive]
            try:
                await interval.cover([message.created_at for message in allowed])
                new = await self._messages.capture_many(allowed)
            except StorageUnavailable as error:
                sentence = f"{done.path} is imported up to its {done.read:,}th message: {error}"
                raise StorageUnavailable(sentence) from error
            done.read += len(batch)
            done.new += new
            done.skipped += Counter(one.value for one in batch if isinstance(one, Skipped))
            done.skipped += Counter({_WITHOUT_CONSENT: len(kept) - len(consented), _SENSITIVE: len(sensitive)})
            done.skipped += Counter({_KNOWN: len(allowed) - new})
            if sensitive:
                counts = Counter(category.value for category in sensitive.values())
                log.info("sensitive_left_out", guild_id=origin.guild_id, channel_id=origin.channel_id, **counts)
            report(f"{Path(done.path).name}, MB", _megabytes(transcript.position), _megabytes(transcript.size))

    def _consents(self, message: Message) -> bool:
        """Whether its author consents to be remembered now, and did when it was written or last edited."""
        guild_id, author_id = message.guild_id, message.author_id
        if self._consent.keeps_out(guild_id, author_id):
            return False
        times = (message.created_at, message.edited_at or message.created_at)
        return all(self._consent.allows(guild_id, author_id, at) for at in times)

    async def _check(self, path: Path, origin: Origin) -> None:
        """Raises `TranscriptInvalid` if nothing that was said there may be kept."""
        if await self._messages.refuses({origin.channel_id, origin.access_id}):
            raise TranscriptInvalid(f"{path} is of a channel that was deleted: what was said there stays forgotten.")
        channel = self._channel(origin)
        # Only Discord knows which channels are age-restricted, so only a connected bot can tell.
        if channel is not None and channel.is_nsfw() and not self._allow_age_restricted:
            raise TranscriptInvalid(f"{path} is of an age-restricted channel, and the settings leave these out.")

    def _hidden(self, origin: Origin) -> str | None:
        """Why nobody will be shown what is imported, as far as a connected bot can tell."""
        if not self._client.is_ready():
            return None
        guild = self._client.get_guild(origin.guild_id)
        if guild is None:
            return "the bot is not in this server"
        if guild.unavailable or self._channel(origin) is not None:
            return None
        return "the bot sees no such channel on Discord"

    def _channel(self, origin: Origin) -> discord.TextChannel | discord.ForumChannel | None:
        """The channel, or that of the thread, if Discord shows it to the bot."""
        guild = self._client.get_guild(origin.guild_id)
        channel = guild and guild.get_channel(origin.parent_id or origin.channel_id)
        return channel if isinstance(channel, discord.TextChannel | discord.ForumChannel) else None


class _Interval:
    """The interval a file opens: it reaches over all that is kept of it and was not observed anyway."""

    def __init__(self, origin: Origin, observations: Observations) -> None:
        self._origin = origin
        self._observations = observations
        self._id: int | None = None

    async def cover(self, times: Iterable[datetime]) -> None:
        """Have the channel be observed at these times. An import that adds nothing leaves everything as it is."""
        unobserved = [at for at in times if not self._observed(at)]
        if not unobserved:
            return
        since, until = min(unobserved), max(unobserved) + timedelta(milliseconds=1)
        if self._id is not None:
            await self._observations.widen(self._id, since, until)
            return
        origin = self._origin
        parent_id = origin.parent_id if origin.is_private else None
        opened = await self._observations.open_interval(
            origin.guild_id, origin.channel_id, since, until, None, Source.IMPORT, parent_id, announced=False
        )
        self._id = opened.id

    def _observed(self, at: datetime) -> bool:
        """By an interval of its own, or that of the channel it is visible with."""
        guild_id, places = self._origin.guild_id, {self._origin.channel_id, self._origin.access_id}
        return any(self._observations.observed(guild_id, place, at) for place in places)


def _megabytes(count: int) -> int:
    """Rounded up, so that what is complete shows as complete."""
    return -(-count // 1_000_000)
