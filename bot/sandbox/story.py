"""The demo's story: a week in which the language model comes and goes, and what a member does with what is remembered.

Each act shows what happens and puts a promise to the test.
"""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Protocol

from bot.sandbox import member_day
from bot.sandbox.conversation import Conversation, Post
from bot.sandbox.screen import Screen
from bot.sandbox.telling import Telling

_OUTAGE_FROM = 24 * 60  # minutes into the story: Tuesday at 08:00


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
            "[bold]Ollama[/] is played by a stand-in too: it notes and answers by simple patterns and understands "
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
    """A community, a bot and a language model that comes and goes."""

    def __init__(self, telling: Telling, llm: LanguageModel) -> None:
        self._telling = telling
        self._screen = telling.screen
        self._community = telling.community
        self._llm = llm

    async def tell(self) -> bool:
        """The whole story; whether every promise held. Raises `DemoFailed` if it cannot go on."""
        began = monotonic()
        posts = self._community.conversation.posts
        first_day = [post for post in posts if post.at < _OUTAGE_FROM]
        await self._set_up()
        await self._talk_with_the_model(first_day)
        await self._talk_without_the_model(posts[len(first_day) :])
        await self._live_without_the_model()
        await self._regain_the_model()
        await member_day.recall_a_fact(self._telling)
        await member_day.ask(self._telling)
        await member_day.catch_up(self._telling)
        await member_day.keep_private(self._telling)
        await member_day.look_at_ones_own(self._telling)
        await member_day.forget(self._telling)
        return self._telling.conclude(monotonic() - began)

    async def _set_up(self) -> None:
        owner, channels = self._community.owner, self._community.channels
        self._screen.chapter(f"Monday, 08:00 · {owner.display_name} sets the bot up")
        answer = await self._telling.type(owner, "setup")
        self._telling.show(answer.messages[0], owner)
        self._screen.typed(owner.display_name, f"picks {' '.join(f'#{channel.name}' for channel in channels)}")
        answer = await self._telling.settled(answer.select(*channels))
        while any(button.label == "Next" for button in answer.buttons):
            answer = await self._telling.press(answer, owner, "Next")
        self._telling.show(answer.messages[0], owner)
        answer = await self._telling.whole(await self._telling.press(answer, owner, "Start"))
        self._telling.reply(answer)
        self._screen.say(f"\n  The notice in #{self._telling.lounge.name}, where everyone can read it:")
        notices = [self._telling.discord.sent(channel)[:1] for channel in channels]
        for notice in notices[0]:
            self._telling.show(notice)
        told = sum(map(len, notices))
        self._telling.check("notices posted = channels watched", f"{told} = {len(channels)}", told == len(channels))

    async def _talk_with_the_model(self, posts: Sequence[Post]) -> None:
        self._screen.chapter("Monday · the community talks, the language model listens in every hour")
        await self._telling.talk(posts, "Monday")
        await self._telling.until(lambda stats: stats.held >= len(posts))
        facts = (await self._telling.numbers()).facts
        self._screen.say(f"  {len(posts)} messages kept, {facts} facts made of them so far.")

    async def _talk_without_the_model(self, posts: Sequence[Post]) -> None:
        self._screen.chapter("Tuesday to Friday · the language model is gone, the community talks on")
        await self._llm.stop()
        await self._telling.talk(posts, "Tuesday to Friday")
        sent = len(self._community.messages)
        held = (await self._telling.until(lambda stats: stats.held >= sent and not stats.not_indexed)).held
        self._telling.check(
            "messages captured = messages sent",
            f"{held} = {sent}" if held == sent else f"{held} of {sent}",
            held == sent,
        )

    async def _live_without_the_model(self) -> None:
        self._screen.chapter("Friday evening · still no language model, and yet an answer")
        await member_day.recall_messages(self._telling)
        await member_day.ask_in_vain(self._telling)
        owner = self._community.owner
        answer = await self._telling.type(owner, "status")
        self._telling.show(answer.messages[0], owner)
        stats = await self._telling.numbers()
        told = "⚠️ **Ollama**" in answer.text
        result = f"{stats.waiting} messages wait" if told else "it did not"
        self._telling.check("/status told of the outage", result, told)

    async def _regain_the_model(self) -> None:
        self._screen.chapter("The language model is back · what waited becomes facts")
        before = (await self._telling.numbers()).facts
        await self._llm.start()
        await self._telling.flush(self._community.owner)
        after = await self._telling.until(lambda stats: not stats.waiting and not stats.not_indexed)
        made = after.facts - before
        held = made > 0 and not after.waiting
        result = f"{made}, and {after.waiting or 'no'} messages wait"
        self._telling.check("facts made after it came back", result, held)
