"""A stand-in for an outside service, in a process of its own."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path


@contextlib.asynccontextmanager
async def stand_in(*arguments: str | Path) -> AsyncIterator[str]:
    """What Python runs with these arguments; the URL in its first line."""
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    try:
        [url] = re.findall(r"http://[\w.:/]+", (await process.stdout.readline()).decode())
        yield url
    finally:
        process.kill()
        await process.wait()
