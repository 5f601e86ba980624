"""The loop that takes samples."""

import asyncio

import pytest
from house import House
from structlog.testing import capture_logs

from bot.errors import StorageUnavailable
from bot.model import utcnow
from bot.storage.samples import Samples
from bot.upkeep.samples import Sampling


async def test_an_outage_is_logged_once_and_ends_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that cannot be used for a while leaves a gap, and so does a bug; then samples are taken again."""
    samples = Samples(house.database)
    failures = [StorageUnavailable("locked"), StorageUnavailable("locked"), RuntimeError(), StorageUnavailable("full")]
    taken, take = asyncio.Event(), samples.take

    async def failing(at: object) -> int:
        if failures:
            raise failures.pop(0)
        taken.set()
        return await take(utcnow())

    monkeypatch.setattr(samples, "take", failing)
    with capture_logs() as logs:
        running = asyncio.create_task(Sampling(samples, every=0).run())
        async with asyncio.timeout(5):
            await taken.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    told = [(log["event"], log.get("reason")) for log in logs]
    assert told == [("not_sampled", "locked"), ("sampling_failed", None), ("not_sampled", "full")]
