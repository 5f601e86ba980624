"""What a story is told with: people who type and press, their answers on the screen, promises put to the test."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bot.errors import RecollectError
from bot.sandbox.community import Community
from bot.sandbox.conversation import Post
from bot.sandbox.discord import Answer, Channel, DiscordServer, Message, NotAllowed, User
from bot.sandbox.discord.entities import Json
from bot.sandbox.markup import Markup
from bot.sandbox.screen import Check, Screen
from bot.storage.messages import QueueStats

_TALKING_SECONDS = 6.0
_PATIENCE = 30.0
_PATIENCE_WITH_A_MODEL = 15 * 60.0  # Discord has no more
_MOST_FLUSHES = 20
_A_LOOK = 0.1  # seconds between looks at the numbers


class DemoFailed(RecollectError):
    """The demo could not go on."""


class Telling:
    """A community in its Discord, told on a screen. `numbers` are the bot's own."""

    def __init__(
        self,
        screen: Screen,
        discord: DiscordServer,
        community: Community,
        numbers: Callable[[], Awaitable[QueueStats]],
    ) -> None:
        self.screen = screen
        self.discord = discord
        self.community = community
        self.numbers = numbers
        self.lounge = community.channels[0]
        self._checks: list[Check] = []

    # -- what people do; each raises `DemoFailed` if it cannot be done or is not answered

    async def type(self, user: User, path: str, **options: object) -> Answer:
        """Type a command in the first channel; its whole answer, unless a language model is still writing it."""
        typed = "".join(f" {name}:{_as_typed(value)}" for name, value in options.items())
        self.screen.typed(user.display_name, f"/{path}{typed}")
        return await self.settled(self.discord.slash(user, self.lounge, path, **options))

    async def type_and_wait(self, user: User, path: str, **options: object) -> Answer:
        """The same, and wait for what takes longer."""
        return await self.whole(await self.type(user, path, **options))

    async def whole(self, answer: Answer) -> Answer:
        """An answer that grows, as a language model's does: until it is whole it ends in "…" and has no buttons."""
        done = answer.until(lambda shown: bool(shown.buttons) or not shown.text.endswith("…"), _PATIENCE_WITH_A_MODEL)
        return await _done(done)

    async def press(self, answer: Answer, user: User, button: str) -> Answer:
        """Press a button of an answer."""
        self.screen.typed(user.display_name, f"presses [{button}]")
        return await self.settled(answer.click(button))

    async def settled(self, acting: Awaitable[Answer]) -> Answer:
        """The whole answer to what somebody does."""
        return await _done((await _done(acting)).settled(_PATIENCE))

    async def cards_of_all_pages(self, answer: Answer) -> list[Json]:
        """The cards of an answer's page and of those after it."""
        cards = list(answer.embeds)
        while any(button.label == "Next" and not button.disabled for button in answer.buttons):
            answer = await self.settled(answer.click("Next"))
            cards += answer.embeds
        return cards

    async def talk(self, posts: Sequence[Post], label: str) -> None:
        """Say these, one after the other."""
        pace = _TALKING_SECONDS / len(self.community.conversation.posts)
        with self.screen.progress(label, len(posts)) as note:
            for number, post in enumerate(posts, start=1):
                message = self.community.say(post)
                note(number, f"#{message.place.name} {message.author.display_name}: {post.text}")
                await asyncio.sleep(pace)

    async def flush(self, owner: User) -> None:
        """Have everything read; a real model may need more time than Discord grants one command."""
        left = (await self.numbers()).waiting
        for _ in range(_MOST_FLUSHES):
            self.screen.typed(owner.display_name, "/flush")
            answer = await self.discord.slash(owner, self.lounge, "flush")
            with self.screen.progress("reading", left) as note:
                for _ in range(int(_PATIENCE_WITH_A_MODEL / _A_LOOK)):
                    answered = bool(answer.content) or answer.timed_out
                    stats = await self.numbers()
                    note(left - stats.waiting - stats.leased, f"{stats.facts} facts so far")
                    if answered:
                        break
                    await asyncio.sleep(_A_LOOK)
            if not answer.content:
                raise DemoFailed("The bot did not answer /flush in time.")
            self.reply(answer)
            if not stats.waiting or stats.waiting == left:
                return
            left = stats.waiting

    async def until(self, condition: Callable[[QueueStats], bool]) -> QueueStats:
        """The guild's numbers once they are as hoped for, or as they are when patience ends."""
        for _ in range(int(_PATIENCE / _A_LOOK)):
            if condition(stats := await self.numbers()):
                break
            await asyncio.sleep(_A_LOOK)
        return stats

    # -- what is seen of it

    def reply(self, answer: Answer) -> None:
        """The sentence of an answer alone."""
        self.screen.reply(answer.content, self._markup())

    def show(self, message: Message, reader: User | None = None, cards: int | None = None) -> None:
        """A message as a client shows it, or its first `cards` cards."""
        shown = {
            "content": message.content,
            "embeds": message.embeds,
            "attachments": [{"filename": name, "size": len(data)} for name, data in message.files.items()],
            "components": message.components,
            "flags": message.flags,
        }
        self.screen.message(shown, self._markup(), reader.display_name if reader else None, cards)

    def check(self, name: str, result: str, held: bool) -> None:
        """Note a promise as it is put to the test."""
        self._checks.append(Check(name, result, held))
        self.screen.check(self._checks[-1])

    def conclude(self, seconds: float) -> bool:
        """Show all promises; whether every one held."""
        held = all(check.held for check in self._checks)
        verdict = "[bold green]Everything held[/]" if held else "[bold red]Not everything held[/]"
        self.screen.summary(self._checks, f"  {verdict}, in {seconds:.0f} seconds.")
        return held

    def _markup(self) -> Markup:
        return Markup.of(self.discord.world)


def plural(number: int, one: str, more: str) -> str:
    """`1 card`, `2 cards`."""
    return f"{number} {one if number == 1 else more}"


async def _done(acting: Awaitable[Answer]) -> Answer:
    try:
        return await acting
    except (TimeoutError, LookupError, ValueError, NotAllowed) as error:
        raise DemoFailed(f"The story cannot go on: {error or 'the bot did not answer in time'}.") from error


def _as_typed(value: object) -> str:
    match value:
        case User():
            return f"@{value.display_name}"
        case Channel():
            return f"#{value.name}"
        case _:
            return str(value)
