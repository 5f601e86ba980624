"""Whether anything is lost, doubled or kept that was taken back when everything breaks, again and again.

`recollect run` is a process of its own with the embedded index, and the stand-ins for Discord, Ollama and
OpenAI live in this one, behind wires that can be cut. In several channels, threads, forum posts and private
threads of two guilds people say, edit and delete all the time. In each round the bot is either killed
with SIGKILL, mostly just after the sign of a stage of its work (see `_chaos_stages`), and started again after more
was said, edited and deleted that it could not hear, sometimes while a service is away; or Ollama, OpenAI, the
gateway, the index or the database is away for a while. At the end, once nothing moves any more, everything in
the data folder is compared with what people said and did not take back, and /recall is asked for some of it.

lost        messages not held, extracted and indexed in their last words, with the keys of their present window
duplicates  second facts drawn from one message, second points of one message
leaked      rows, facts, points, keys, search words and answers with words that were edited away or deleted
exceptions  stacks and unexplained errors in the bot's log, other output on stderr, ends of its own accord

The model words the same fact differently each time it is asked. The seed decides everything that people do and
that breaks, and in which order; when exactly a signal strikes, and so which stages it interrupts, the machine does.
"""

import asyncio
import logging
import tempfile
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from _chaos_faults import Surroundings
from _chaos_host import Host
from _chaos_script import FAULTS, TOKEN, Do, Kill, Outage, Script, Stage
from _chaos_stages import struck
from _chaos_stores import INDEX, read_database, read_index
from _chaos_town import Town
from _chaos_verdict import Verdict, judge, lines, settled, tells_of
from _report import main, progress

from bot.sandbox.discord import Answer, Channel, Thread

_SIGN = 3.0  # seconds to wait for the sign of a stage before killing anyway
_JUST_NOW = 0.25  # seconds: what was said since then may not be committed
# How long after its sign a stage lasts, in seconds.
_LASTS = {Stage.CAPTURE: 0.02, Stage.CLAIM: 0.08, Stage.LLM: 0.01, Stage.FACTS: 0.03, Stage.INDEX: 0.06, None: 1.0}
_PATIENCE = 60.0  # seconds after the last progress
_LOOK = 0.5
_QUESTIONS = 5  # of each kind


def run(rounds: int, seed: int, log: str = "") -> dict[str, Any]:
    """Play so many rounds of the script of this seed; `log` is a file for what the bot logs and what is found wrong."""
    return asyncio.run(_run(rounds, seed, log))


async def _run(rounds: int, seed: int, log: str) -> dict[str, Any]:
    # Connections of the killed break off in the middle of an answer, which the stand-ins would log.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        async with Surroundings(Path(folder)) as surroundings:
            chaos = Chaos(surroundings, Host(Path(folder), surroundings.variables, log), seed)
            try:
                await chaos.begin()
                for number in range(1, rounds + 1):
                    what = await chaos.round()
                    progress(f"round {number}/{rounds}, {time.monotonic() - started:.0f} s: {what}")
                verdict = await chaos.end()
            finally:
                await chaos.host.kill()
    for why, count in {**verdict.reasons(), **chaos.host.exceptions}.items():
        progress(f"{count} times: {why}")
    return {
        "lost": len(verdict.lost),
        "duplicates": len(verdict.duplicates),
        "leaked": len(verdict.leaked),
        "exceptions": chaos.host.exceptions.total(),
        "rounds": rounds,
        "seed": seed,
        **chaos.figures(),
        "seconds": round(time.monotonic() - started, 1),
    }


class Chaos:
    """A run: `begin`, any number of `round`s, `end`."""

    def __init__(self, surroundings: Surroundings, host: Host, seed: int) -> None:
        self.host = host
        self._around = surroundings
        self._town = Town(surroundings.discord)
        self._script = Script(seed, self._town.parents, len(self._town.people))
        self._kills = 0
        self._stages: Counter[Stage] = Counter()
        self._outages: Counter[str] = Counter()

    def figures(self) -> dict[str, Any]:
        """What happened."""
        counts = self._town.counts
        return {
            "kills": self._kills,
            "kills_by_stage": {stage.value: self._stages[stage] for stage in Stage},
            "outages_by_kind": {
                f"{service} {fault}": self._outages[f"{service} {fault}"]
                for service, all in FAULTS.items()
                for fault in all
            },
            "sent": counts[Do.SAY] + counts[Do.OPEN],
            "deleted": counts[Do.DELETE],
            "edited": counts[Do.EDIT],
        }

    async def begin(self) -> None:
        """Start the bot and have it observe every place."""
        await self.host.start()
        await self.host.ready()
        for place in self._town.observed():
            answer = await self._around.discord.slash(self._town.owner, place, "observe on", channel=place)
            await answer.settled()
            if answer.buttons:  # a private thread: asked to confirm
                await (await answer.click("Switch on")).settled()
        await self._town.act(self._script.everywhere())

    async def round(self) -> str:
        """Play the next round; what it was, in words."""
        await self.host.ready()
        now = self._script.round()
        talking = asyncio.create_task(self._town.act(now.talk))
        if isinstance(now.event, Outage):
            await self._outage(now.event)
            await talking
            return f"{now.event.service} {now.event.fault}"
        stages = await self._kill(now.event, talking)
        return f"killed at {now.event.stage or 'any time'}, struck {', '.join(sorted(stages)) or 'nothing'}"

    async def _outage(self, outage: Outage) -> None:
        async with self._away(outage):
            await asyncio.sleep(outage.seconds)
        await self.host.back(self._around.discord)

    def _away(self, outage: Outage) -> AbstractAsyncContextManager[None]:
        self._outages[f"{outage.service} {outage.fault}"] += 1
        return self._around.away(outage)

    async def _kill(self, kill: Kill, talking: asyncio.Task[None]) -> set[Stage]:
        try:
            async with asyncio.timeout(_SIGN):
                await self._sign(kill.stage)
        except TimeoutError:
            progress(f"no sign of {kill.stage}")
        await asyncio.sleep(kill.delay * _LASTS[kill.stage])
        sent, answered = self._town.said_since(time.monotonic() - _JUST_NOW), self._around.model.answered
        await self.host.kill()
        self._kills += 1
        self._around.discord.gateway.forget_sessions()
        await talking
        guilds = [guild.id for guild in self._town.guilds.values()]
        stages = await asyncio.to_thread(struck, self._around.data, guilds, sent, answered)
        self._stages.update(stages)
        await self._town.act(kill.unheard)
        if kill.away is None:
            await self.host.start()
        else:
            async with self._away(kill.away):
                await self.host.start()
                await asyncio.sleep(kill.away.seconds)
        await self.host.ready()
        return stages

    async def _sign(self, stage: Stage | None) -> None:
        """Wait until the bot is about to be in this stage."""
        match stage:
            case Stage.CAPTURE:
                await self._town.spoke.next()
            case Stage.CLAIM:
                await self._around.model.claimed.next()
            case Stage.LLM:
                await self._around.model.spoke.next()
            case Stage.FACTS:
                await self._around.embeddings.facts_came.next()
            case Stage.INDEX:
                await self._around.embeddings.embedded.next()

    async def end(self) -> Verdict:
        """Wait until nothing is left to do, ask, stop the bot and judge."""
        await self._town.act(self._script.everywhere())
        await self._settle()
        answers = await self._ask()
        await self.host.stop()
        guilds = [guild.id for guild in self._town.guilds.values()]
        stores = read_database(self._around.data)
        stores.points = await asyncio.to_thread(read_index, self._around.data / INDEX, guilds)
        verdict = judge(lines(self._town.live()), self._town.taken_back, stores)
        verdict.lost = answers.lost | verdict.lost
        verdict.leaked |= answers.leaked
        for kind, found in (("lost", verdict.lost), ("twice", verdict.duplicates), ("leaked", verdict.leaked)):
            for id, why in found.items():
                self.host.note(kind=kind, id=id, why=why, about=self._town.about(id))
        return verdict

    async def _settle(self) -> None:
        """Wait until everything is held, extracted and indexed by the rows, or no progress is made any more."""
        live = lines(self._town.live())
        marks: tuple[int, ...] = ()
        since = time.monotonic()
        while time.monotonic() - since < _PATIENCE:
            stores = await asyncio.to_thread(read_database, self._around.data)
            if settled(live, stores):
                return
            if stores.marks != marks:
                marks, since = stores.marks, time.monotonic()
            await asyncio.sleep(_LOOK)
        progress(f"nothing moved for {_PATIENCE:.0f} s: {stores.marks}, {stores.doubts} places in doubt")

    async def _ask(self) -> Verdict:
        """Ask for some of what was said, and for some of what was taken back."""
        found = Verdict()
        said = [message for place in self._town.live() for message in place if not message.place.private]
        edited = [message for message in said if message.edited_at]
        for message in self._script.choose(said, _QUESTIONS) + self._script.choose(edited, _QUESTIONS):
            answer = await self._recall(message.place, message.content)
            if not any(tells_of(embed, message) for embed in answer.embeds):
                found.lost[str(message.id)] = "not recalled"
        for word in self._script.choose(sorted(self._town.taken_back), _QUESTIONS):
            for place in self._town.squares:
                words = set(TOKEN.findall((await self._recall(place, word)).text))
                found.leaked |= dict.fromkeys(words & self._town.taken_back, "an answer")
        return found

    async def _recall(self, place: Channel | Thread, query: str) -> Answer:
        answer = await self._around.discord.slash(self._town.owner, place, "recall", query=query)
        return await answer.settled()


if __name__ == "__main__":
    main(run, __doc__, rounds=200, seed=1, log="")
