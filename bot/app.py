"""The bot at work: its rooms started together and drained in order."""

import asyncio
import ctypes
import gc
import signal
import sys
from collections.abc import Callable
from datetime import datetime

import structlog

from bot.errors import RecollectError
from bot.model import utcnow
from bot.rooms import Rooms
from bot.settings import Settings

log = structlog.get_logger(__name__)

_ARENA_MAX = -8  # M_ARENA_MAX of mallopt(3)


class App(Rooms):
    """One bot: its rooms are open inside `async with` and at work inside `serve`.

    Entering raises `DataFolderError`. A service that is down, Discord included, stops neither.
    """

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = utcnow) -> None:
        super().__init__(settings, clock)
        self._stopping = asyncio.Event()

    async def serve(self) -> None:
        """Work until `stop` is called, then drain: no new events, leases given back, everything captured committed.

        Raises `DiscordLoginError` when Discord refuses the bot, and `RecollectError` when the
        probes' port is taken.
        """
        try:
            async with self.web.serving(), asyncio.TaskGroup() as tasks:
                token = self.settings.discord.token.get_secret_value()
                working = [
                    tasks.create_task(self.worker.run(), name="extraction"),
                    tasks.create_task(self.indexer.run(), name="indexing"),
                    tasks.create_task(self.reconciler.run(self.guilds), name="reconciling"),
                    tasks.create_task(self.repair.run(self.guilds), name="repairing"),
                    tasks.create_task(self.catchup.run(), name="catching up"),
                    tasks.create_task(self.journal.run(), name="journal"),
                    tasks.create_task(self.recheck.run(self.client.ready.wait), name="rechecking"),
                    tasks.create_task(self.control.run(), name="control"),
                    tasks.create_task(self.alerts.run(), name="alerts"),
                    tasks.create_task(self.retention.run(), name="expiring"),
                    tasks.create_task(self.purge.run(), name="purging"),
                    tasks.create_task(self.sampling.run(), name="sampling"),
                    tasks.create_task(self.client.serve(token), name="gateway"),
                    tasks.create_task(self.telling(), name="telling"),
                    tasks.create_task(self._prepare(), name="preparing"),
                ]
                log.info("started", probes=f"{self.web.host}:{self.web.port}", data=str(self.settings.storage.path))
                await self._stopping.wait()
                log.info("draining")
                await self.client.close()
                for task in working:
                    task.cancel()
        except* RecollectError as group:
            raise _first(group) from None
        log.info("stopped")

    async def _prepare(self) -> None:
        """Spare whoever asks first the second that the embedder's client takes to load, and the start as well."""
        await self.client.ready.wait()
        if self.embedder:
            await self.embedder.prepare()
            keep_what_is_loaded()

    def stop(self) -> None:
        """Ask `serve` to drain and return; calling it again changes nothing."""
        self._stopping.set()


async def run(settings: Settings) -> None:
    """Run the bot until SIGTERM or SIGINT; a second signal does not cut the draining short."""
    share_arenas()
    async with App(settings) as app:
        fit_the_interpreter()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, app.stop)
        await app.serve()


def share_arenas() -> None:
    """Have the threads to come share two arenas of glibc's: with one each, what a thread frees no other can use.

    That takes 3 % off what an idle bot holds. Other C libraries have no arenas.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_ARENA_MAX, 2)


def fit_the_interpreter() -> None:
    """Fit Python to a process with a large heap, many short-lived objects, and threads that people wait for.

    What the start has built is never looked through again by the garbage collector, and young objects are less
    often: with the default thresholds a burst of messages spends nearly half of its time there. With five times
    this one, every thread would stand still for 15 ms at a time, not 3. And a thread that computes gives way after
    one millisecond, not five: a search needs the GIL a dozen times, and under load it took a third off its time.
    """
    keep_what_is_loaded()
    gc.set_threshold(10_000, 30, 100)
    sys.setswitchinterval(0.001)


def keep_what_is_loaded() -> None:
    """Spare the garbage collector what lives as long as the process."""
    gc.collect()
    gc.freeze()


def _first(group: BaseExceptionGroup[RecollectError]) -> RecollectError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
