"""An embedded index read in a process of its own: Edge holds the GIL in every call, and here nobody waits for it.

The process is asked on its stdin and answers on its stdout, each a length (uint32) and a marshalled value. It ends with
whoever asks it, however that one ends.
"""

import asyncio
import marshal
import os
import struct
import sys
from array import array
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from bot.errors import IndexUnavailable, RecollectError
from bot.memory.index import IndexPoint, Key, SparseVector

_LENGTH = struct.Struct("<I")
_LONGEST = 2**24  # bytes on their way at once
_STEP = 32  # points


class ReadingProcess:
    """What a migration asks of the index it reads; see `VectorIndex`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._asking = asyncio.Lock()

    async def counts(self) -> dict[int | None, int]:
        counts: dict[int | None, int] = await self._ask("counts")
        return counts

    async def scroll(
        self, guild_id: int | None, after: str | None = None, limit: int = 256, keys: bool = False
    ) -> tuple[list[IndexPoint], str | None]:
        found, following = await self._ask("scroll", guild_id, after, limit, keys)
        return [_point(one) for one in found], following

    async def retrieve(self, guild_id: int | None, ids: Sequence[str], keys: bool = False) -> list[IndexPoint]:
        return [_point(one) for one in await self._ask("retrieve", guild_id, list(ids), keys)]

    async def _ask(self, name: str, *arguments: Any) -> Any:
        """Raises `IndexUnavailable` with the sentence of the process, or if it has ended."""
        reader, writer = self._process.stdout, self._process.stdin
        async with self._asking:
            if reader is None or writer is None:
                raise IndexUnavailable()
            exchange = asyncio.ensure_future(_exchange(reader, writer, marshal.dumps((name, arguments))))
            try:
                answer = await asyncio.shield(exchange)
            except asyncio.CancelledError:
                await asyncio.gather(exchange, return_exceptions=True)  # or the next one would get this answer
                raise
            except (OSError, EOFError) as error:
                raise IndexUnavailable("The process that reads the index has ended.") from error
        sentence, value = marshal.loads(answer)  # noqa: S302  (of our own process)
        if sentence is not None:
            raise IndexUnavailable(sentence)
        return value


@asynccontextmanager
async def reading(folder: Path, dimensions: int) -> AsyncIterator[ReadingProcess]:
    """Have a process read the index in a folder, which nobody else has open."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot.memory.reading", str(folder), str(dimensions)),
        stdin=PIPE,
        stdout=PIPE,
        limit=_LONGEST,
        start_new_session=True,  # Ctrl-C is for who asks
    )
    try:
        yield ReadingProcess(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: bytes) -> bytes:
    writer.write(_LENGTH.pack(len(question)) + question)
    await writer.drain()
    [length] = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return await reader.readexactly(length)


def _plain(point: IndexPoint) -> tuple[Any, ...]:
    """As marshal takes it, with vectors in the 32-bit numbers in which the index holds them."""
    dense = {key.value: array("f", vector).tobytes() for key, vector in point.dense.items()}
    sparse = {key.value: (words.indices, words.values) for key, words in point.sparse.items()}
    return point.id, point.payload, dense, sparse


def _point(plain: tuple[Any, ...]) -> IndexPoint:
    id, payload, dense, sparse = plain
    return IndexPoint(
        id,
        payload,
        {Key(name): array("f", vector) for name, vector in dense.items()},
        {Key(name): SparseVector(*words) for name, words in sparse.items()},
    )


def _answered(shards: Any, name: str, arguments: tuple[Any, ...]) -> Any:
    if name == "counts":
        return {guild_id: count for guild_id in shards.guilds() if (count := shards.count(guild_id))}
    if name == "retrieve":
        return [_plain(point) for point in shards.retrieve(*arguments)]
    return _scrolled(shards, *arguments)


def _scrolled(shards: Any, guild_id: int | None, after: str | None, limit: int, keys: bool) -> Any:
    """A page, read in steps: a lean shard gives back after each what it has mapped for it."""
    page: list[tuple[Any, ...]] = []
    while True:
        found, after = shards.scroll(guild_id, after, min(_STEP, limit - len(page)), keys)
        page += map(_plain, found)
        if after is None or len(page) >= limit:
            return page, after


def main(folder: Path, dimensions: int) -> None:
    """Answer until stdin ends. Then leave at once: what closing would write is not wanted any more."""
    from bot.memory.shards import Shards

    shards = Shards(folder, dimensions, open_shards=2, lean=True)
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever is printed, is no answer
    with suppress(BrokenPipeError):  # who asked was killed
        while head := questions.read(_LENGTH.size):
            name, arguments = marshal.loads(questions.read(_LENGTH.unpack(head)[0]))  # noqa: S302  (of our own process)
            try:
                answer = marshal.dumps((None, _answered(shards, name, arguments)))
            except RecollectError as error:
                answer = marshal.dumps((str(error), None))
            answers.write(_LENGTH.pack(len(answer)) + answer)
            answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
