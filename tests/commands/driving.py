"""Using a command step by step as a person does, and what holds of every answer, whatever the situation."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from inspect import isawaitable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from structlog.testing import capture_logs
from town import Town, connected, eventually

from bot.app import App
from bot.errors import IndexUnavailable, StorageUnavailable
from bot.model import Fact, FactKind, Message, memory_id, utcnow
from bot.sandbox.discord import Answer, Channel, ChannelKind, DiscordServer, Guild, Permission, Role, Thread, User
from bot.sandbox.discord.components import buttons_of, selects_of
from bot.sandbox.discord.entities import Overwrite
from bot.sandbox.listener import Listener
from bot.sandbox.ollama import OllamaServer
from bot.sandbox.openai import OpenAIServer

PATIENCE = 5.0
DIRECT = "direct-"
SERVICES = ("ollama", "embedder", "index", "database")


@dataclass
class Scene(Town):
    """A server of its own for one cell. `lobby` is there to type in, `brewing` is a public thread of `general`."""

    lobby: Channel
    brewing: Thread
    helpers: Role
    said: list[Message] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    undone: ExitStack = field(default_factory=ExitStack)
    """What is patched, until the walk is over."""

    async def tell(self, *lines: tuple[User, str, Channel | Thread], ago: timedelta = timedelta()) -> None:
        """Things said one after the other until a moment, or this long, ago; captured and not yet indexed."""
        begin = utcnow() - ago - timedelta(minutes=len(lines) + 1)
        said = []
        for number, (author, text, place) in enumerate(lines):
            at = begin + timedelta(minutes=number)
            posted = await self.server.say(place, author, text, at=at, announce=False)
            message = Message(
                id=int(posted["id"]),
                guild_id=self.guild.id,
                channel_id=place.id,
                access_id=place.channel.id,
                channel_name=place.name,
                author_id=author.id,
                author_name=author.display_name,
                content=text,
                created_at=at,
            )
            said.append(message)
        assert all(await asyncio.gather(*map(self.app.messages.capture, said)))
        self.said += said

    async def note(self, about: User, *noted: tuple[Message, str]) -> None:
        """Facts about somebody, each from one message, as extraction stores them."""
        lease = (await self.app.queue.take([message.id for message, _ in noted], timedelta(minutes=5))).lease
        facts = [
            Fact(
                id=memory_id(self.guild.id, message.channel_id, about.id, (message.id,), text),
                guild_id=self.guild.id,
                channel_id=message.channel_id,
                access_id=message.access_id,
                channel_name=message.channel_name,
                subject_id=about.id,
                subject_name=about.display_name,
                text=text,
                kind=FactKind.PREFERENCE,
                speaker_ids=(message.author_id,),
                speaker_name=message.author_name,
                sources=(message.id,),
                confidence=0.9,
                importance=0.5,
                said_at=message.created_at,
            )
            for message, text in noted
        ]
        assert await self.app.queue.commit(lease, facts) == len(facts)
        self.facts += facts


@dataclass
class Stage:
    """The bot with every service it uses, and the Discord in which each cell has a server of its own."""

    server: DiscordServer
    ollama: OllamaServer
    openai: OpenAIServer
    folder: Path
    app: App = field(init=False)
    _at_work: AsyncExitStack = field(default_factory=AsyncExitStack)
    _shared: dict[str, Guild] = field(default_factory=dict)
    kept: dict[str, Scene] = field(default_factory=dict)
    """By command, scenes in which nothing is changed."""

    async def start(self) -> None:
        """Start the bot. An outage is over for it as soon as it is over."""
        sections = {
            "ollama": {"url": self.ollama.url},
            "openai": {"base_url": self.openai.url, "dimensions": 32},
            "ask": {"per_minute": 500},
            "outages": {"first_pause": "1ms", "longest_pause": "1ms"},
        }
        self.app = await self._at_work.enter_async_context(connected(self.server, self.folder, sections))

    async def stop(self) -> None:
        """Stop the bot; it can be started again."""
        self.kept.clear()
        await self._at_work.aclose()

    async def scene(self, shared: Guild | None = None) -> Scene:
        """People and channels that the bot knows, and that nobody else sees: in a server of their own, or in this one.

        To make a server, and above all its index, takes a while, so scenes that may share one do.
        """
        world = self.server.world
        admin = world.users[shared.owner_id] if shared else world.add_user("admin")
        ada, bob = world.add_user("ada"), world.add_user("bob")
        guild = shared or world.add_guild(name="tea club", owner=admin, with_bot=False)
        for member in (ada, bob):
            world.add_member(guild, member)
        apart = world.add_channel(guild, "apart", kind=ChannelKind.CATEGORY)
        if shared:
            world.update_channel(apart, overwrites=_for(guild, ada, bob, world.bot))
        general, lobby, staff = (
            world.add_channel(guild, name, category=apart) for name in ("general", "lobby", "staff")
        )
        world.update_channel(staff, overwrites=_for(guild, bob, world.bot))
        helpers = world.add_role(guild, "helpers")
        brewing = world.add_thread(general, "brewing", owner=ada)
        if shared is None:
            world.join_guild(guild)
        await eventually(lambda: (known := self.app.client.get_guild(guild.id)) and known.get_thread(brewing.id))
        return Scene(self.server, self.app, guild, general, staff, admin, ada, bob, lobby, brewing, helpers)

    async def shared(self, command: str) -> Guild:
        """The server that the scenes of a command share."""
        if command not in self._shared:
            self._shared[command] = (await self.scene()).guild
        return self._shared[command]

    async def skip(self) -> None:
        """Take what other scenes left out of the line for the index: only scenes that need it wait for it."""
        while messages := await self.app.messages.to_index(1000, embedding=False):
            await self.app.messages.mark_indexed(messages, complete=True)
        while facts := await self.app.facts.to_index(1000, embedding=False):
            await self.app.facts.mark_indexed(facts, complete=True)

    @asynccontextmanager
    async def without(self, service: str) -> AsyncIterator[None]:
        """One of its services is down."""
        match service:
            case "ollama":
                outage = _stopped(self.ollama)
            case "embedder":
                outage = _stopped(self.openai)
            case "index":
                outage = _failing(self.app.index, IndexUnavailable)
            case _:
                outage = _failing(self.app.database, StorageUnavailable)
        try:
            with patch("bot.extraction.asker._HEALTH_SECONDS", -1.0):  # nobody remembers that it was well
                async with outage:
                    yield
        finally:
            for name in ("Ollama", "OpenAI", "Qdrant"):
                self.app.breakers.of(name).succeeded()


def _for(guild: Guild, *people: User) -> dict[int, Overwrite]:
    """Nobody else sees it."""
    seeing = {one.id: Overwrite(True, allow=Permission.VIEW_CHANNEL) for one in people}
    return {guild.id: Overwrite(False, deny=Permission.VIEW_CHANNEL), **seeing}


@asynccontextmanager
async def _stopped(server: Listener) -> AsyncIterator[None]:
    await server.stop()
    try:
        yield
    finally:
        await server.start()


@asynccontextmanager
async def _failing(room: object, error: type[Exception]) -> AsyncIterator[None]:
    """Every door of this room is closed."""

    def refuse(*_: object, **__: object) -> Any:
        raise error()

    doors = (
        "write", "transact", "read", "look", "ping", "upsert", "delete", "search",
        "erase", "retrieve", "scroll", "count", "empty", "drop_guild", "purge",
    )  # fmt: skip
    with patch.multiple(room, **{door: refuse for door in doors if hasattr(room, door)}):
        yield


# -- what somebody does


@dataclass(frozen=True, slots=True)
class Choose:
    """Pick in the menu with this placeholder; a number is the option at that place."""

    menu: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Fill:
    """Write into the fields of the form, and send it."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Something happens, to the scene, while the asker looks at the answer."""

    happens: Callable[[Scene], Any]


Step = str | Choose | Fill | Meanwhile  # a string is the button to press


def unchanged(_: Scene) -> None:
    """Nothing happens."""


@dataclass(frozen=True, slots=True)
class Walk:
    """A command used, what is pressed after it, and words that the asker then sees.

    What is left out is as usual for the command. An option may be a function of the scene.
    """

    sees: str | None = None
    steps: Sequence[Step] = ()
    options: Mapping[str, Any] | None = None
    by: str | None = None
    at: str | None = None
    public: bool = False
    alone: bool = False
    """It changes something of the whole server."""
    first: Callable[[Scene], Any] | None = None
    meanwhile: Callable[[Scene], None] = unchanged
    """What happens before the bot hears of the command."""
    holds: Callable[[Scene, Answer], bool] = lambda *_: True
    """What else is true at the end."""

    @property
    def changes(self) -> bool:
        """Whether others would see another scene after it."""
        pressed = any(isinstance(step, Meanwhile) or step in ("Forget", "Forget everything") for step in self.steps)
        return pressed or self.alone or self.first is not None or self.meanwhile is not unchanged


def given(value: Any, scene: Scene) -> Any:
    """An option's or a menu's value; attributes of the scene are named by functions."""
    return value(scene) if callable(value) else value


def words(answer: Answer) -> str:
    """All that the asker reads, with the form that is open and the names of files."""
    form = [answer.modal["title"]] if answer.modal else []
    fields = [part for one in answer.inputs for part in (one.label, one.value)]
    return "\n".join([answer.text, *form, *fields, *answer.files])


async def take(step: Step, answer: Answer, scene: Scene) -> Answer:
    """The answer to one step."""
    if not isinstance(step, Meanwhile):
        await answer.settled(PATIENCE)
    match step:
        case str():
            await answer.until(lambda one: any(b.label == step and not b.disabled for b in one.buttons), PATIENCE)
            return await answer.click(step)
        case Choose(menu, values):
            await answer.until(lambda one: any(menu == select.placeholder for select in one.selects), PATIENCE)
            [select] = [one for one in answer.selects if one.placeholder == menu]
            chosen = [
                select.options[value].value if isinstance(value, int) else given(value, scene) for value in values
            ]
            return await answer.select(*chosen, menu=menu)
        case Fill(fields):
            return await answer.submit(fields)
        case Meanwhile(happens):
            if isawaitable(done := happens(scene)):
                await done
            return answer


# -- what holds of every answer


@dataclass(frozen=True, slots=True)
class Parts:
    """What can be pressed, chosen in and written into."""

    buttons: frozenset[str] = frozenset()
    selects: frozenset[str] = frozenset()
    modals: frozenset[str] = frozenset()


def parts(answer: Answer) -> Parts:
    """What of an answer can be used: labels, placeholders, titles."""
    messages = answer.messages
    return Parts(
        frozenset(b.label for m in messages for b in buttons_of(m) if not b.disabled and b.url is None),
        frozenset(str(s.placeholder) for m in messages for s in selects_of(m.components) if not s.disabled),
        frozenset([answer.modal["title"]] if answer.modal else []),
    )


def check(answer: Answer, public: bool) -> None:
    """In time, for the asker alone unless public, and with no ping."""
    assert not answer.timed_out, "no answer within three seconds"
    assert answer.type is not None
    for message in answer.messages:
        assert message.ephemeral or public, f"everyone sees: {message.content}"
        assert not message.mention_ids and not message.mentions_everyone, "somebody was pinged"
    assert "Something went wrong" not in answer.text


@contextmanager
def unharmed(server: DiscordServer, gone: bool = False, refused: bool = False) -> Iterator[None]:
    """Nothing that Discord would refuse or that could ping is sent, and no error is logged.

    `gone`: something may be asked of a channel that is no more. `refused`: the database may refuse an event.
    """
    before = len(server.calls)
    with capture_logs() as logs:
        yield
    expected = {"refused"} if refused else set()
    errors = [line for line in logs if line["log_level"] in ("error", "critical") and line["event"] not in expected]
    assert not errors, f"logged as errors: {errors}"
    for call in server.calls[before:]:
        if DIRECT in call.path:  # the stand-in has no direct messages, and knows of no such interaction
            continue
        assert call.status < 400 or (gone and call.status == 404), (
            f"Discord refused {call.method} {call.path}: {call.status} {call.body}"
        )
        sent = _message_in(call.body)
        if sent.get("content"):
            assert sent.get("allowed_mentions", {}).get("parse") == [], f"this could ping: {sent}"


def _message_in(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        return {}
    return body["data"] or {} if "data" in body and "type" in body else body


async def settled_with(answer: Answer, sees: str) -> Answer:
    """Wait until these words are seen."""
    try:  # another interaction may be what changes it, so there is no event to wait for
        async with asyncio.timeout(PATIENCE):
            await eventually(lambda: sees in words(answer))
        return answer
    except TimeoutError:
        raise AssertionError(f"instead of “{sees}” there is “{words(answer)}”") from None


def awaited(result: Any) -> Awaitable[Any] | None:
    """What is to be awaited of a step of preparation."""
    return result if isawaitable(result) else None
