"""From gateway event to committed row: messages a second and latency of capture.

The stand-in for Discord runs in a process of its own. The real client with the shipped observer and store
takes a burst of messages, and so does the same client with a handler that does nothing; pairs of the two
alternate. The rows of a burst then go into an empty database of the same kind once more, as bare inserts in
the same group sizes. At last the store captures a steady 500 messages a second: each message carries the
time of its sending, and its age when its commit returns is the latency.
"""

import asyncio
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
from _report import main, progress
from sqlalchemy import Connection, text

from bot.app import fit_the_interpreter
from bot.capture.client import Client
from bot.capture.discretion import Discretion
from bot.capture.gateway import use_addresses
from bot.capture.observer import Observer
from bot.settings import DiscordSettings, LogSettings, Settings
from bot.storage.consent import Consent
from bot.storage.database import Database
from bot.storage.guild_configs import GuildConfigs
from bot.storage.messages import MessageStore
from bot.storage.observations import Observations
from bot.storage.retraction import Retraction
from bot.telemetry import configure_logging

STEADY_RATE = 500

Rows = list[tuple[Any, ...]]


def run(messages: int, pairs: int = 5, seconds: int = 20) -> dict[str, float]:
    """Measure `pairs` bursts of so many `messages`, then the steady stream for so many `seconds`."""
    configure_logging(LogSettings(level="error"))
    fit_the_interpreter()
    return asyncio.run(_run(messages, pairs, seconds))


async def _run(messages: int, pairs: int, seconds: int) -> dict[str, float]:
    rates, idle_rates, insert_rates = [], [], []
    for number in range(1, pairs + 1):
        async with stand_in() as server:
            order = (Capturing, Idle) if number % 2 else (Idle, Capturing)
            pair = {kind: await kind.burst(server, messages) for kind in order}
        rates.append(pair[Capturing].rate)
        idle_rates.append(pair[Idle].rate)
        insert_rates.append(await insert_rate(pair[Capturing].groups))
        sizes = [len(rows) for rows in pair[Capturing].groups]
        progress(
            f"pair {number}/{pairs}: {rates[-1]:,.0f} messages/s, idle {idle_rates[-1]:,.0f}/s, bare inserts"
            f" {insert_rates[-1]:,.0f}/s in {len(sizes)} groups of {statistics.median(sizes):.0f}"
        )
    async with stand_in() as server:
        ages = await steady(server, seconds)
    progress(f"{STEADY_RATE} messages/s: p50 {statistics.median(ages):.1f} ms, max {max(ages):.1f} ms")
    return {
        "messages": messages,
        "rate": round(statistics.median(rates)),
        "idle_rate": round(statistics.median(idle_rates)),
        "ratio_to_idle": round(statistics.median(a / b for a, b in zip(rates, idle_rates, strict=True)), 3),
        "insert_rate": round(statistics.median(insert_rates)),
        "steady_p50_ms": round(statistics.median(ages), 2),
        "steady_p99_ms": round(statistics.quantiles(ages, n=100)[98], 2),
    }


@dataclass(frozen=True)
class StandIn:
    """The running stand-in, and what its first line told."""

    process: subprocess.Popen[str]
    about: dict[str, Any]

    async def tell(self, **command: Any) -> dict[str, Any]:
        """Send a command and return the answer."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(await asyncio.to_thread(self.process.stdout.readline))


@asynccontextmanager
async def stand_in() -> AsyncIterator[StandIn]:
    """A stand-in in its own process."""
    command = [sys.executable, "-m", "bot.sandbox.discord"]
    process = await asyncio.to_thread(
        subprocess.Popen, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin and process.stdout
        yield StandIn(process, json.loads(await asyncio.to_thread(process.stdout.readline)))
        process.stdin.close()


@dataclass(frozen=True)
class Burst:
    """The result of one: messages a second, and the rows of each group commit."""

    rate: float
    groups: list[Rows]


class Timed(Observer):
    """An observer that notes when its first message came and its last was done."""

    expected = 0
    done = 0
    first = last = 0.0

    def expect(self, messages: int) -> asyncio.Event:
        """The event that is set when so many are done."""
        self.expected, self.finished = messages, asyncio.Event()
        return self.finished

    async def message(self, message: discord.Message) -> None:
        self.first = self.first or time.perf_counter()
        await self.handle(message)
        self.done += 1
        if self.done == self.expected:
            self.last = time.perf_counter()
            self.finished.set()

    async def handle(self, message: discord.Message) -> None:
        raise NotImplementedError

    @classmethod
    async def burst(cls, server: StandIn, messages: int) -> Burst:
        """Take a burst with a new client and an empty database."""
        gc.collect()
        async with watching(cls, server) as (observer, database):
            finished = observer.expect(messages)
            await server.tell(do="burst", messages=messages)
            await finished.wait()
            return Burst((messages - 1) / (observer.last - observer.first), await groups(database))


class Idle(Timed):
    """The handler that does nothing."""

    async def handle(self, message: discord.Message) -> None:
        return


class Capturing(Timed):
    """The shipped one."""

    handle = Observer.message


class Aging(Capturing):
    """The shipped one, noting how old each message is when its commit returns."""

    ages: list[float]

    async def handle(self, message: discord.Message) -> None:
        await Observer.message(self, message)
        self.ages.append((time.monotonic_ns() - int(message.nonce or 0)) / 1e6)


@asynccontextmanager
async def watching(kind: type[Timed], server: StandIn) -> AsyncIterator[tuple[Timed, Database]]:
    """The shipped client, connected, over storage in a temporary folder."""
    about = server.about
    settings = DiscordSettings(api_url=about["api_url"], gateway_url=about["gateway_url"])
    use_addresses(settings)
    with tempfile.TemporaryDirectory() as folder:
        database = await Database.open(Path(folder))
        observations, messages = Observations(database), MessageStore(database)
        for channel_id in about["channel_ids"]:
            await observations.switch_on(about["guild_id"], channel_id, None)
        discretion = Discretion(GuildConfigs(database, Settings()))
        observer = kind(messages, Retraction(database), observations, Consent(database), settings, discretion)
        client = Client(settings, observer)
        serving = asyncio.create_task(client.serve(about["token"]))
        await client.ready.wait()
        try:
            yield observer, database
        finally:
            await client.close()
            await serving
            await messages.close()
            await database.close()


async def groups(database: Database) -> list[Rows]:
    """The held messages' rows by the commit they came with: its time is in each of them."""
    found: dict[int, Rows] = {}
    async with database.read() as connection:
        for row in await connection.execute(text("SELECT * FROM message ORDER BY captured_at, id")):
            found.setdefault(row.captured_at, []).append(tuple(row))
    return list(found.values())


async def insert_rate(groups: list[Rows]) -> float:
    """Rows a second when these groups are only inserted and committed."""
    sql = f"INSERT INTO message VALUES ({', '.join('?' * len(groups[0][0]))})"  # noqa: S608  (only question marks)

    def insert(rows: Rows) -> Any:
        def work(connection: Connection) -> None:
            connection.exec_driver_sql(sql, rows)

        return work

    with tempfile.TemporaryDirectory() as folder:
        database = await Database.open(Path(folder))
        started = time.perf_counter()
        for rows in groups:
            await database.transact(insert(rows))
        seconds = time.perf_counter() - started
        await database.close()
    return sum(map(len, groups)) / seconds


async def steady(server: StandIn, seconds: int) -> list[float]:
    """Milliseconds from the sending of each message to its commit."""
    gc.collect()
    async with watching(Aging, server) as (observer, _):
        assert isinstance(observer, Aging)
        observer.ages = []
        finished = observer.expect(STEADY_RATE * seconds)
        await server.tell(do="steady", rate=STEADY_RATE, seconds=seconds)
        await finished.wait()
        return observer.ages


if __name__ == "__main__":
    main(run, __doc__, messages=20_000, pairs=5, seconds=20)
