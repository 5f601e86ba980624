"""The demo's story, act by act: each shows what happens and puts a promise to the test."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Protocol

from bot.errors import RecollectError
from bot.sandbox.community import Community
from bot.sandbox.conversation import Conversation, Post
from bot.sandbox.discord import Answer, Channel, DiscordServer, Message, NotAllowed, User
from bot.sandbox.markup import Markup
from bot.sandbox.screen import Check, Screen
from bot.storage.messages import QueueStats

_OUTAGE_FROM = 24 * 60  # minutes into the story: Tuesday at 08:00
_TALKING_SECONDS = 7.0
_PATIENCE = 30.0
_PATIENCE_WITH_A_MODEL = 15 * 60.0  # Discord has no more
_MOST_FLUSHES = 20
_A_LOOK = 0.1  # seconds between looks at the numbers
_FAIR, _MEMBER = "when is the spring fair?", "mika"
_SECRET, _OUTSIDER, _INSIDER = "what does Klaus get for his birthday?", "klaus", "nadia"
_OWN, _TELLER = "Mira", "yusuf"


class DemoFailed(RecollectError):
    """The demo could not go on."""


class LanguageModel(Protocol):
    """What can be taken away and brought back: the stand-in, or the way to a real Ollama."""

    @property
    def url(self) -> str: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def introduce(screen: Screen, conversation: Conversation, real_model: bool, kept_in: Path | None) -> None:
    """Say what is about to be seen, and what of it is a stand-in."""
    channels = [channel for channel in conversation.channels if channel.parent is None]
    if real_model:
        model = "The language model is your own Ollama's."
    else:
        model = (
            "[bold]Ollama[/] is played by a stand-in too: it extracts facts by simple patterns and understands "
            "nothing. A real model does better: --ollama URL."
        )
    screen.title(
        "recollect demo",
        [
            f"A week at [bold]{conversation.guild}[/], told in seconds: {len(conversation.posts)} messages by "
            f"{len(conversation.members)} people in {len(channels)} channels and their threads.",
            "",
            "The bot is the one you would deploy, with discord.py, its database and its index. [bold]Discord[/] "
            "and [bold]OpenAI[/]'s embeddings are played by stand-ins on 127.0.0.1.",
            model,
            f"The data stays in {kept_in}." if kept_in else "The data lives in a temporary folder.",
        ],
    )


class Story:
    """A community, a bot and a language model that comes and goes. `numbers` are the bot's own."""

    def __init__(
        self,
        screen: Screen,
        discord: DiscordServer,
        community: Community,
        llm: LanguageModel,
        numbers: Callable[[], Awaitable[QueueStats]],
    ) -> None:
        self._screen = screen
        self._discord = discord
        self._community = community
        self._llm = llm
        self._numbers = numbers
        self._lounge = community.channels[0]
        self._checks: list[Check] = []

    async def tell(self) -> bool:
        """The whole story; whether every promise held. Raises `DemoFailed` if it cannot go on."""
        began = monotonic()
        posts = self._community.conversation.posts
        first_day = [post for post in posts if post.at < _OUTAGE_FROM]
        await self._switch_on()
        await self._talk_with_the_model(first_day)
        await self._talk_without_the_model(posts[len(first_day) :])
        await self._recall_messages()
        await self._see_the_outage()
        await self._regain_the_model()
        await self._recall_a_fact()
        await self._keep_private()
        await self._forget()
        return self._conclude(monotonic() - began)

    # -- the acts

    async def _switch_on(self) -> None:
        owner = self._community.owner
        self._screen.chapter(f"Monday, 08:00 · {owner.display_name} switches three channels on")
        for channel in self._community.channels:
            answer = await self._type(owner, "observe on", channel=channel)
            if any(button.label == "Switch on" for button in answer.buttons):
                self._show(answer.messages[0], owner)
                answer = await self._press(answer, owner, "Switch on")
            self._screen.reply(answer.content, self._markup())
        self._screen.say(f"\n  The notice in #{self._lounge.name}, where everyone can read it:")
        self._show(self._discord.sent(self._lounge)[0])

    async def _talk_with_the_model(self, posts: Sequence[Post]) -> None:
        self._screen.chapter("Monday · the community talks, the language model listens in every hour")
        await self._talk(posts, "Monday")
        await self._until(lambda stats: stats.held >= len(posts))
        facts = (await self._numbers()).facts
        self._screen.say(f"  {len(posts)} messages kept, {facts} facts made of them so far.")

    async def _talk_without_the_model(self, posts: Sequence[Post]) -> None:
        self._screen.chapter("Tuesday to Friday · the language model is gone, the community talks on")
        await self._llm.stop()
        await self._talk(posts, "Tuesday to Friday")
        sent = len(self._community.messages)
        held = (await self._until(lambda stats: stats.held >= sent and not stats.not_indexed)).held
        self._check(
            "messages captured = messages sent",
            f"{held} = {sent}" if held == sent else f"{held} of {sent}",
            held == sent,
        )

    async def _recall_messages(self) -> None:
        self._screen.chapter("Friday evening · still no language model, and yet an answer")
        answer = await self._recall(_MEMBER, _FAIR)
        place = self._place(answer, "fair-date", of_a_fact=False)
        self._show(answer.messages[0], self._community.users[_MEMBER], cards=max(place, 1))
        result = "as a message: the decision, word for word" if place else "the decision is missing"
        self._check("recalled while the LLM was down", result, place > 0)

    async def _see_the_outage(self) -> None:
        owner = self._community.owner
        answer = await self._type(owner, "status")
        self._show(answer.messages[0], owner)
        stats = await self._numbers()
        told = "⚠️ **Ollama**" in answer.text
        self._check("/status told of the outage", f"{stats.waiting} messages wait" if told else "it did not", told)

    async def _regain_the_model(self) -> None:
        self._screen.chapter("The language model is back · what waited becomes facts")
        before = (await self._numbers()).facts
        await self._llm.start()
        await self._flush(self._community.owner)
        after = await self._until(lambda stats: not stats.waiting and not stats.not_indexed)
        made = after.facts - before
        held = made > 0 and not after.waiting
        result = f"{made}, and {after.waiting or 'no'} messages wait"
        self._check("facts made after it came back", result, held)

    async def _recall_a_fact(self) -> None:
        self._screen.chapter("The same question again · now there is a fact, with what it rests on", pictured=True)
        answer = await self._recall(_MEMBER, _FAIR, explain=True)
        place = self._place(answer, "fair-date", of_a_fact=True)
        self._show(answer.messages[0], self._community.users[_MEMBER], cards=max(place, 1))
        result = self._community.link("fair-date") if place else "none"
        self._check("the recalled card, with its link", result, place > 0)

    async def _keep_private(self) -> None:
        private = next(channel for channel in self._community.conversation.channels if channel.private)
        secrets = [post.key for post in self._community.conversation.posts if post.channel == private.key]
        outsider, insider = self._community.users[_OUTSIDER], self._community.users[_INSIDER]
        self._screen.chapter(f"#{private.name} is private · {outsider.display_name} must not learn of his present")

        text = await self._all_pages(await self._recall(_OUTSIDER, _SECRET))
        leaked = sum(self._community.link(key) in text for key in secrets)
        hidden = f"absent, since #{private.name} is hidden from {outsider.display_name}"
        result = f"{_plural(leaked, 'memory', 'memories')} of #{private.name}" if leaked else hidden
        self._check(f"private memory, asked by {outsider.display_name}", result, not leaked)

        answer = await self._recall(_INSIDER, _SECRET)
        place = self._place(answer, "gift-decided", of_a_fact=True)
        self._show(answer.messages[0], insider, cards=max(place, 1))
        result = f"there, since {insider.display_name} reads #{private.name}" if place else "absent"
        self._check(f"private memory, asked by {insider.display_name}", result, place > 0)

    async def _forget(self) -> None:
        teller = self._community.users[_TELLER]
        self._screen.chapter(f"{teller.display_name} wants his daughter forgotten")
        answer = await self._recall(_TELLER, _OWN, about=teller)
        self._show(answer.messages[0], teller, cards=1)
        answer = await self._type(teller, "forget", query=_OWN)
        self._show(answer.messages[0], teller)
        for menu in answer.selects:
            picked = [option.value for option in menu.options if _OWN in option.label]
            self._screen.typed(teller.display_name, f"picks {len(picked)} of {len(menu.options)}")
            answer = await self._settled(answer.select(*picked))
            self._screen.reply(answer.content, self._markup())
        answer = await self._press(answer, teller, "Forget")
        self._screen.reply(answer.content, self._markup())
        self._check("what /forget removed", answer.content, answer.content.startswith("Forgotten:"))
        answer = await self._recall(_TELLER, _OWN, about=teller)
        self._show(answer.messages[0], teller, cards=1)
        left = len(answer.embeds)
        self._check("the same recall now", _plural(left, "card", "cards") if left else "empty", not left)

    def _conclude(self, seconds: float) -> bool:
        held = all(check.held for check in self._checks)
        verdict = "[bold green]Everything held[/]" if held else "[bold red]Not everything held[/]"
        self._screen.summary(self._checks, f"  {verdict}, in {seconds:.0f} seconds.")
        return held

    # -- what the acts are made of

    async def _talk(self, posts: Sequence[Post], label: str) -> None:
        pace = _TALKING_SECONDS / len(self._community.conversation.posts)
        with self._screen.progress(label, len(posts)) as note:
            for number, post in enumerate(posts, start=1):
                message = self._community.say(post)
                note(number, f"#{message.place.name} {message.author.display_name}: {post.text}")
                await asyncio.sleep(pace)

    async def _flush(self, owner: User) -> None:
        """Have everything read; a real model may need more time than Discord grants one command."""
        left = (await self._numbers()).waiting
        for _ in range(_MOST_FLUSHES):
            self._screen.typed(owner.display_name, "/flush")
            answer = await self._discord.slash(owner, self._lounge, "flush")
            with self._screen.progress("reading", left) as note:
                for _ in range(int(_PATIENCE_WITH_A_MODEL / _A_LOOK)):
                    answered = bool(answer.content) or answer.timed_out
                    stats = await self._numbers()
                    note(left - stats.waiting - stats.leased, f"{stats.facts} facts so far")
                    if answered:
                        break
                    await asyncio.sleep(_A_LOOK)
            if not answer.content:
                raise DemoFailed("The bot did not answer /flush in time.")
            self._screen.reply(answer.content, self._markup())
            if not stats.waiting or stats.waiting == left:
                return
            left = stats.waiting

    async def _recall(self, asker: str, query: str, **options: object) -> Answer:
        return await self._type(self._community.users[asker], "recall", query=query, **options)

    async def _type(self, user: User, path: str, **options: object) -> Answer:
        """Type a command in the first channel."""
        typed = "".join(f" {name}:{_as_typed(value)}" for name, value in options.items())
        self._screen.typed(user.display_name, f"/{path}{typed}")
        return await self._settled(self._discord.slash(user, self._lounge, path, **options))

    async def _press(self, answer: Answer, user: User, button: str) -> Answer:
        self._screen.typed(user.display_name, f"presses [{button}]")
        return await self._settled(answer.click(button))

    async def _settled(self, acting: Awaitable[Answer]) -> Answer:
        """The whole answer to what somebody does. Raises `DemoFailed` if that cannot be done or is not answered."""
        try:
            return await (await acting).settled(_PATIENCE)
        except (TimeoutError, LookupError, ValueError, NotAllowed) as error:
            raise DemoFailed(f"The story cannot go on: {error or 'the bot did not answer in time'}.") from error

    async def _all_pages(self, answer: Answer) -> str:
        text = answer.text
        while any(button.label == "Next" and not button.disabled for button in answer.buttons):
            answer = await self._settled(answer.click("Next"))
            text += answer.text
        return text

    async def _until(self, condition: Callable[[QueueStats], bool]) -> QueueStats:
        """The guild's numbers once they are as hoped for, or as they are when patience ends."""
        for _ in range(int(_PATIENCE / _A_LOOK)):
            if condition(stats := await self._numbers()):
                break
            await asyncio.sleep(_A_LOOK)
        return stats

    def _place(self, answer: Answer, key: str, of_a_fact: bool) -> int:
        """Where on the page a fact's or a message's card links to a post, counted from 1; 0 if nowhere."""
        link = self._community.link(key)
        for number, embed in enumerate(answer.embeds, start=1):
            if link in embed["description"] and embed["author"]["name"].endswith("· message") is not of_a_fact:
                return number
        return 0

    def _show(self, message: Message, reader: User | None = None, cards: int | None = None) -> None:
        shown = {
            "content": message.content,
            "embeds": message.embeds,
            "components": message.components,
            "flags": message.flags,
        }
        self._screen.message(shown, self._markup(), reader.display_name if reader else None, cards)

    def _markup(self) -> Markup:
        return Markup.of(self._discord.world)

    def _check(self, name: str, result: str, held: bool) -> None:
        self._checks.append(Check(name, result, held))
        self._screen.check(self._checks[-1])


def _as_typed(value: object) -> str:
    match value:
        case User():
            return f"@{value.display_name}"
        case Channel():
            return f"#{value.name}"
        case _:
            return str(value)


def _plural(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
