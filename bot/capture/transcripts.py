"""Channel exports as DiscordChatExporter writes them in its format Json, read as a stream.

The format is that of `JsonMessageWriter.cs` in https://github.com/Tyrrrz/DiscordChatExporter: where the messages are
from, then `messages`, then their number. Each message becomes what capture would have kept of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import ijson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from bot.capture.redaction import redact
from bot.errors import TranscriptInvalid
from bot.model import Attachment, Mention, Message, snowflake_time

_PIECE = 2**19  # bytes read at a time: some hundred messages with all that is told about their authors
_CLOCKS_DIFFER = timedelta(minutes=10)

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_HOW = "export the channel with DiscordChatExporter in its format Json"

_CHANNELS = ("GuildTextChat", "GuildNews")
_PUBLIC_THREADS = ("GuildPublicThread", "GuildNewsThread")
_PRIVATE_THREAD = "GuildPrivateThread"
_DIRECT = ("DirectTextChat", "DirectGroupTextChat")
_SAID = ("Default", "Reply")


class Skipped(StrEnum):
    """Why a message of a file is not kept; the value goes on after a number."""

    SYSTEM = "system messages"
    BOT = "by bots"
    EMPTY = "without words or files"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the messages of a file were said; `access_id` as in `Message`, `parent_id` is the channel of a thread."""

    guild_id: int
    channel_id: int
    channel_name: str
    access_id: int
    parent_id: int | None

    @property
    def is_private(self) -> bool:
        """Whether this is a private thread."""
        return self.parent_id is not None and self.access_id == self.channel_id


class Transcript:
    """An export: `origin` is where it is from; `position` of its `size` bytes are read.

    Making one reads the file up to its messages, and raises `TranscriptInvalid` if it is no export,
    or one of which nothing may be kept. `damage` says why it could not be read to its end, as the
    predicate of a sentence. A message that claims to be said or edited after `now` is damaged.
    """

    def __init__(self, path: Path, now: datetime) -> None:
        self._path = path
        self._start = _start(path)
        self._latest = now + _CLOCKS_DIFFER
        self.size = path.stat().st_size
        self.position = 0
        self.damage: str | None = None
        self.origin = self._origin()

    def batches(self) -> Iterator[list[Message | Skipped]]:
        """What to keep of each message, in the file's order, some hundred at a time.

        Whatever stands whole before the damage, if there is any, is among it.
        """
        for found in self._pieces(lambda found: ijson.items_coro(found, "messages.item")):
            yield [self._kept(message) for message in found]

    def _origin(self) -> Origin:
        header = self._header()
        if self.damage and not header:
            raise TranscriptInvalid(f"{self._path} {self.damage} before its first message.")
        try:
            return _Header.model_validate(header).origin(self._path)
        except ValidationError:
            raise TranscriptInvalid(f"{self._path} is JSON, but no export of DiscordChatExporter: {_HOW}.") from None

    def _header(self) -> dict[str, object]:
        """What stands before the messages, by path; nothing if there are no messages."""
        header: dict[str, object] = {}
        for events in self._pieces(ijson.parse_coro):
            for path, event, value in events:
                if (path, event) == ("messages", "start_array"):
                    return header
                if event in ("string", "number"):
                    header[path] = value
        return {}

    def _pieces(self, parser: Callable[[list[Any]], Any]) -> Iterator[list[Any]]:
        """What a parser of ijson finds in each piece of the file."""
        found: list[Any] = ijson.sendable_list()
        parsing = parser(found)
        self.damage = None
        piece = b""
        try:
            with self._path.open("rb") as file:
                self.position = file.seek(self._start)
                while piece := file.read(_PIECE):
                    self.position += len(piece)
                    parsing.send(piece)
                    yield found
                    found.clear()
            parsing.close()
        except (ijson.JSONError, UnicodeError):
            self.damage = "is damaged" if piece else "is cut off"
        except OSError as error:
            self.damage = f"cannot be read to its end ({error.strerror})"
        yield found

    def _kept(self, item: object) -> Message | Skipped:
        try:
            said = _Said.model_validate(item)
        except ValidationError:
            return Skipped.DAMAGED
        edited_at = said.timestamp_edited and said.timestamp_edited.astimezone(UTC)
        if max(snowflake_time(said.id), edited_at or snowflake_time(said.id)) > self._latest:
            return Skipped.DAMAGED
        if said.type not in _SAID:
            return Skipped.SYSTEM
        if said.author.is_bot:  # webhooks are bots here
            return Skipped.BOT
        if not said.content and not said.attachments:
            return Skipped.EMPTY
        origin = self.origin
        return Message(
            id=said.id,
            guild_id=origin.guild_id,
            channel_id=origin.channel_id,
            access_id=origin.access_id,
            channel_name=origin.channel_name,
            author_id=said.author.id,
            author_name=said.author.display_name,
            content=redact(said.content),
            created_at=snowflake_time(said.id),
            edited_at=edited_at,
            reply_to=said.replied_to(origin.guild_id),
            mentions=tuple(Mention(user.id, user.display_name) for user in said.mentions),
            attachments=tuple(Attachment(redact(file.file_name)) for file in said.attachments),
        )


def _start(path: Path) -> int:
    """Where the JSON of a file begins: after the mark that some editors put before it."""
    try:
        if path.is_dir():
            raise TranscriptInvalid(f"{path} is a folder: name the files in it.")
        if not path.is_file():
            raise TranscriptInvalid(f"{path} is not a file." if path.exists() else f"{path} does not exist.")
        with path.open("rb") as file:
            first = file.read(1024)
    except OSError as error:
        raise TranscriptInvalid(f"{path} cannot be read ({error.strerror}).") from None
    if not first:
        raise TranscriptInvalid(f"{path} is empty: {_HOW}.")
    if first.startswith(_UTF16_MARKS):
        raise TranscriptInvalid(f"{path} is not in UTF-8: {_HOW}, and leave the file as it is.")
    text = first.removeprefix(_UTF8_MARK)
    if not text.lstrip().startswith((b"{", b"[")):
        raise TranscriptInvalid(f"{path} is not JSON: {_HOW}.")
    return len(first) - len(text)


# --- What the file says, as far as it matters. Snowflakes are strings there.

_Snowflake = Annotated[int, Field(gt=0, lt=2**63)]


class _Header(BaseModel):
    guild_id: int = Field(alias="guild.id")
    channel_id: _Snowflake = Field(alias="channel.id")
    name: str = Field(alias="channel.name")
    kind: str = Field(alias="channel.type")
    above: int | None = Field(None, alias="channel.categoryId")  # of a thread the channel

    def origin(self, path: Path) -> Origin:
        """Raises `TranscriptInvalid` if nothing that is said there may be kept."""
        if self.kind in _DIRECT or self.guild_id <= 0:
            raise TranscriptInvalid(f"{path} holds direct messages, and these are never kept.")
        if self.kind in _CHANNELS:
            return Origin(self.guild_id, self.channel_id, self.name, self.channel_id, None)
        if self.kind not in (*_PUBLIC_THREADS, _PRIVATE_THREAD):
            raise TranscriptInvalid(f"{path} is of a {self.kind}: only text channels, threads and posts are kept.")
        if self.above is None:
            raise TranscriptInvalid(f"{path} does not say which channel its thread belongs to: export it again.")
        access_id = self.channel_id if self.kind == _PRIVATE_THREAD else self.above
        return Origin(self.guild_id, self.channel_id, self.name, access_id, self.above)


class _Named(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _User(_Named):
    id: _Snowflake
    name: str
    nickname: str | None = None  # the name shown in the guild; the very first versions had none
    is_bot: bool = False

    @property
    def display_name(self) -> str:
        return self.nickname or self.name


class _File(_Named):
    file_name: str


class _Reference(_Named):
    message_id: _Snowflake | None = None
    guild_id: _Snowflake | None = None


class _Said(_Named):
    id: _Snowflake
    type: str
    timestamp_edited: AwareDatetime | None = None
    content: str
    author: _User
    attachments: list[_File] = []
    mentions: list[_User] = []
    reference: _Reference | None = None

    def replied_to(self, guild_id: int) -> int | None:
        """The message this is a reply to, if it is one and both are of the same guild."""
        if self.type != "Reply" or self.reference is None or self.reference.guild_id not in (None, guild_id):
            return None
        return self.reference.message_id
