"""How well messages are grouped into conversations, and those into windows.

DIR holds annotated chat logs (see `_irc`). Of the grouping: the measures of the corpus, see `_disentangle`, on the
annotated lines. Of the windows: each log is a channel of one guild, told at its own pace through the shipped store and
batch worker, with a language model that notes what it is shown. In percent of the annotated links between messages:
`cut`, the message that is answered is neither in the window of the answer nor in its context; `split`, the two are in
different sections. `mixed` is the mean number of annotated conversations in a section that has any.
"""

import asyncio
import json
import re
import statistics
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from _disentangle import Grouped, conversations, scores
from _irc import GUILD, annotated, answered, log
from _replay import Clock, steps
from _report import main, progress

from bot.conversations import links
from bot.errors import RecollectError
from bot.extraction.ollama import OllamaLLM
from bot.extraction.worker import BatchWorker
from bot.model import Fact, Message
from bot.sandbox.ollama import OllamaServer
from bot.settings import BatchSettings, LogSettings, Settings
from bot.settings_services import OllamaSettings
from bot.storage.breaker import Breaker
from bot.storage.database import Database
from bot.storage.guild_configs import GuildConfigs
from bot.storage.lease import Lease
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.telemetry import configure_logging

STEP = timedelta(minutes=1)

_LINE = re.compile(r"(\d+) \d\d:\d\d .*")


@dataclass(frozen=True)
class Log:
    """An annotated log: its messages by line number, and which lines the annotated ones answer."""

    name: str
    messages: Mapping[int, Message]
    gold: Mapping[int, set[int]]

    def ours(self) -> dict[int, set[int]]:
        """What the annotated lines answer by the shipped grouping; a line that is no message answers nothing."""
        lines = list(self.messages)
        links_ = links(list(self.messages.values()))
        found = {
            line: line if link.parent is None else lines[link.parent] for line, link in zip(lines, links_, strict=True)
        }
        return {line: {found.get(line, line)} for line in self.gold}


@dataclass(frozen=True)
class Shown:
    """What the model was shown in one call: the section of each message by its id, and the context's ids."""

    sections: Mapping[int, int]
    context: frozenset[int]


class NotingQueue(ExtractionQueue):
    """Keeps what each window held, and none of the facts."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self.shown: list[Shown] = []

    async def commit(self, lease: Lease, facts: Sequence[Fact], shown: Collection[Message] = ()) -> int:
        sections = {id: int(fact.text) for fact in facts for id in fact.sources}
        if sections.keys() != {message.id for message in lease.messages}:
            raise RuntimeError("the model did not see the messages of its window, each once")
        self.shown.append(Shown(sections, frozenset(message.id for message in shown)))
        return await super().commit(lease, (), shown)


def note(question: Mapping[str, Any]) -> str:
    """A fact for each numbered line, which says in which section it stands: empty lines are between sections."""
    stated, section = [], 0
    for line in question["messages"][1]["content"].splitlines():
        section += not line
        if numbered := _LINE.match(line):
            stated.append(fact(int(numbered[1]), section))
    return json.dumps({"facts": stated})


def fact(line: int, section: int) -> dict[str, Any]:
    return {
        "sources": [line],
        "subject": "SERVER",
        "text": str(section),
        "kind": "knowledge",
        "confidence": 4,
        "importance": 3,
        "entities": [],
        "sensitive": False,
        "valid_from": None,
        "valid_until": None,
    }


def run(directory: str) -> dict[str, Any]:
    """Measure with the logs of a folder."""
    configure_logging(LogSettings(level="error"))
    if not (found := annotated(Path(directory))):
        raise RecollectError(f"There is no annotated chat log in {directory}.")
    logs = [Log(file.name, dict(log(file, channel)), answered(file)) for channel, file in enumerate(found, 1)]
    progress(f"{sum(len(one.messages) for one in logs)} messages, {sum(len(one.gold) for one in logs)} lines annotated")
    grouping = scores([Grouped(one.name, one.gold, one.ours()) for one in logs])
    progress(f"grouping: {grouping}")
    batching = measure(logs, asyncio.run(tell(logs)))
    return {name: round(value, 2) for name, value in (grouping | batching).items()}


async def tell(logs: Sequence[Log]) -> list[Shown]:
    """Tell the logs at their own pace, and wait until everything is extracted."""
    talk = sorted((m for one in logs for m in one.messages.values()), key=lambda message: message.created_at)
    clock = Clock(talk[0].created_at)
    async with OllamaServer(note) as ollama:
        with tempfile.TemporaryDirectory() as folder:
            database = await Database.open(Path(folder))
            messages, queue = MessageStore(database, clock), NotingQueue(database, clock)
            llm = OllamaLLM(OllamaSettings(url=ollama.url))
            breaker, configs = Breaker(llm.name, clock=clock), GuildConfigs(database, Settings())
            worker = BatchWorker(queue, llm, breaker, BatchSettings(), configs, clock)
            for clock.now, said in steps(talk, STEP):
                await messages.capture_many(said)
                await worker.run_due()
                if not said and (await messages.stats(GUILD)).waiting == 0:
                    break
            if sum(len(window.sections) for window in queue.shown) != len(talk):
                raise RuntimeError("not everything went through, or not once")
            await llm.close()
            await messages.close()
            await database.close()
        return queue.shown


def measure(logs: Sequence[Log], windows: Sequence[Shown]) -> dict[str, float]:
    """The figures of a batching."""
    place = {id: (number, shown.sections[id]) for number, shown in enumerate(windows) for id in shown.sections}
    links: list[tuple[int, int]] = []
    talks: dict[tuple[int, int], set[tuple[str, int]]] = {}
    for one in logs:
        ids = {line: message.id for line, message in one.messages.items()}
        links += [
            (ids[child], ids[parent])
            for child, answered in one.gold.items()
            for parent in answered
            if child in ids and parent in ids and child != parent
        ]
        for number, group in enumerate(conversations(one.gold, min(one.gold))):
            for line in group & ids.keys():
                talks.setdefault(place[ids[line]], set()).add((one.name, number))

    def seen(child: int, parent: int) -> bool:
        window = windows[place[child][0]]
        return parent in window.sections or parent in window.context

    return {
        "cut": 100 * statistics.mean(not seen(*link) for link in links),
        "split": 100 * statistics.mean(place[child] != place[parent] for child, parent in links),
        "mixed": statistics.mean(map(len, talks.values())),
        "calls_per_1000": 1000 * len(windows) / len(place),
    }


if __name__ == "__main__":
    main(run, __doc__, "directory")
