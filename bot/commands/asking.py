"""A question on its way: what is recalled goes to the language model, whose answer comes back as a card with links."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import discord
import structlog

from bot.capture.redaction import redact
from bot.commands.cards import DESCRIPTION_UNITS
from bot.commands.cited import cited_text, linked
from bot.commands.streaming import streamed
from bot.commands.text import ago, counted, escaped, jump_url, units
from bot.errors import AnswerRejected, IndexUnavailable, LLMUnavailable
from bot.extraction.questions import Questions
from bot.memory.answering import Answer, Question, question, read
from bot.memory.held import Held
from bot.memory.recall import Recall
from bot.model import Degraded, Memory, MemoryKind, Scope
from bot.settings import AskSettings

MOST_SOURCES = 12
NAME_UNITS = 40

COLOUR = discord.Colour.green()

WAITING = "Others asked before you; your question is next as soon as one of theirs is answered."
NOT_HELD = "The memories do not hold the answer; these come closest."
_CLOSEST = "These are the memories that come closest."
_UNUSABLE = f"The language model gave no answer that I can show. {_CLOSEST}"
_UNFOUNDED = f"The language model did not say where its answer comes from, so I do not show it. {_CLOSEST}"
_TAKEN_BACK = f"Some of what the answer rested on was changed, hidden or taken back meanwhile. {_CLOSEST}"
_SEARCHED_LESS = f"I cannot search well enough for an answer right now. {_CLOSEST}"
_OUTAGES = {Degraded.EMBEDDER_DOWN, Degraded.INDEX_DOWN}

log = structlog.get_logger(__name__)

Show = Callable[[str | None, discord.Embed | None], Awaitable[None]]
"""Shows a sentence, or as much of the answer as there is."""
Look = Callable[[], Awaitable[Scope]]
"""What may be looked at now."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer as a card, or else a sentence on why there is none, unless nothing was found to answer from."""

    card: discord.Embed | None = None
    note: str | None = None


class Asking:
    """Answers questions from at most `limit` memories."""

    def __init__(
        self,
        recall: Recall,
        held: Held,
        questions: Questions,
        settings: AskSettings,
        limit: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._recall = recall
        self._held = held
        self._questions = questions
        self._settings = settings
        self._limit = limit
        self._clock = clock

    async def ask(self, words: str, look: Look, show: Show) -> Outcome:
        """The answer to a question from what may be looked at; `show` is told how far it is, about once a second.

        An answer may take minutes: before the whole of it is shown, `look` is asked again, and what it rests on is read
        again. Raises what `Recall.recall` and `look` raise, and what `show` raises when there is nothing left to show
        it in.
        """
        scope = await look()
        recalled = await self._recall.recall(words, scope, self._limit)
        if not recalled.hits:
            return Outcome()
        if recalled.degraded in _OUTAGES:
            return Outcome(note=_SEARCHED_LESS)
        asked = question(redact(words), recalled.hits, self._clock(), self._settings.context_tokens)
        memories = [hit.memory for hit in asked.hits]
        try:
            shown = await self._held.again(scope.guild_id, memories)
            text = await self._answer(asked, show)
            now = await self._held.again(scope.guild_id, memories)
        except IndexUnavailable:
            return Outcome(note=_SEARCHED_LESS)
        except LLMUnavailable as outage:
            return Outcome(note=f"{outage} {_CLOSEST}")
        except AnswerRejected as error:
            log.warning("answer_refused", reason=str(error))
            return Outcome(note=_UNUSABLE)
        answer = read(text, len(asked.hits))
        if not answer.held:
            return Outcome(note=NOT_HELD)
        if not answer.cited:
            return Outcome(note=_UNFOUNDED)
        readable = (await look()).access_ids
        if now != shown or len(now) < len(memories) or any(one.access_id not in readable for one in now):
            return Outcome(note=_TAKEN_BACK)
        card = answer_card(answer, asked)
        return Outcome(card.set_footer(text=f"⚠️ {recalled.degraded}") if recalled.degraded else card)

    async def _answer(self, asked: Question, show: Show) -> str:
        """The model's words, shown as they come."""

        async def progress(text: str) -> bool:
            so_far = read(text, len(asked.hits))
            if so_far.held:
                await show(None, answer_card(so_far, asked, unfinished=True))
            return so_far.held

        if self._questions.waiting:
            await show(WAITING, None)
        return await streamed(self._questions, asked.system, asked.prompt, self._settings.answer_tokens, progress)


def answer_card(answer: Answer, asked: Question, *, unfinished: bool = False) -> discord.Embed:
    """An answer with its numbers as links, and below it who said what it rests on, unless it is unfinished.

    What it cites is numbered anew, in the order in which it does.
    """
    places = {number: place for place, number in enumerate(answer.cited, start=1)}
    parts = [places[part] if isinstance(part, int) else part for part in answer.parts]
    memories = [asked.hits[number - 1].memory for number in answer.cited]
    links = [_link(memory) for memory in memories]
    sources = "" if unfinished else "\n\n" + "\n".join(_sources(memories, links))
    words = cited_text(parts, links, asked.urls, DESCRIPTION_UNITS - units(sources))
    return discord.Embed(colour=COLOUR, description=f"{words} …" if unfinished else words + sources)


def _sources(memories: Sequence[Memory], links: Sequence[str | None]) -> Iterator[str]:
    for number, memory in enumerate(memories[:MOST_SOURCES], start=1):
        name = escaped(memory.speaker_name, NAME_UNITS)
        who = f"noted from {name}" if memory.kind is MemoryKind.FACT else name
        yield f"{linked(number, links)} {who} · {ago(memory.said_at)} · <#{memory.channel_id}>"
    if len(memories) > MOST_SOURCES:
        yield f"and {counted(len(memories) - MOST_SOURCES, 'more memory', 'more memories')}"


def _link(memory: Memory) -> str | None:
    """To the newest message that a memory rests on; those of other mem0 clients may name none."""
    return jump_url(memory.guild_id, memory.channel_id, max(memory.sources)) if memory.sources else None
