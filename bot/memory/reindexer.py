"""Changing the embedding model: every memory embedded again into another index, which then takes the place of this one.

The texts come from the index itself, in their windows as SQL holds them; payloads and word keys are copied as they
are. `Mirrored` keeps the other index free of whatever changes meanwhile, so that what it lacks is what is left to do:
after a kill the same command goes on where it was, and going back to the former index is the same work the other way.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from bot.errors import RecollectError
from bot.memory.current_embedder import CurrentEmbedder
from bot.memory.embeddings import Embedder
from bot.memory.filling import Filling, Texts
from bot.memory.fingerprint import Fingerprint, in_settings, spec_of
from bot.memory.indexer import Indexer
from bot.memory.reconcile import Reconciler
from bot.memory.shadow import Mirrored
from bot.memory.sites import Beside
from bot.model import EmbeddingModel, Report
from bot.storage.breaker import Breakers

log = structlog.get_logger(__name__)

_ROUNDS = 3
_FEW = 32  # so many changes are embedded while the indexer waits


@dataclass(frozen=True, slots=True)
class Reindexed:
    """`points` lie in the index that is in use now, `embedded` of them were embedded this time.

    Without `answering`, this process asks by keywords until it starts again.
    """

    former: EmbeddingModel
    model: EmbeddingModel
    points: int
    embedded: int
    seconds: float
    answering: bool


class Reindexer:
    """Fills the other index and switches to it, while everything else goes on. For one call at a time.

    `members_know` says whether a provider's embedder may be sent what members write: they were told of it, or it is
    none of somebody else. `on_switch` is called when another one is in use.
    """

    def __init__(
        self,
        index: Mirrored,
        indexer: Indexer,
        reconciler: Reconciler,
        texts: Texts,
        embedder: CurrentEmbedder | None,
        breakers: Breakers,
        make_embedder: Callable[[EmbeddingModel], Embedder],
        give_way: Callable[[], Awaitable[None]],
        members_know: Callable[[str], Awaitable[bool]],
        on_switch: Callable[[], None] = lambda: None,
    ) -> None:
        self._index = index
        self._indexer = indexer
        self._reconciler = reconciler
        self._texts = texts
        self._embedder = embedder
        self._breakers = breakers
        self._make_embedder = make_embedder
        self._give_way = give_way
        self._members_know = members_know
        self._on_switch = on_switch

    async def run(self, model: EmbeddingModel, report: Report) -> Reindexed:
        """Have everything embedded by this model, and use it from then on.

        Raises `RecollectError` if it is in use already, cannot be used or is not known to members, and
        `ServiceUnavailable` where a service fails: what is done stays done, and the same call goes on from there.
        """
        as_set = await self._index.take_as_stored()
        wanted = Fingerprint(model)
        if self._index.fingerprint == wanted:
            raise RecollectError(f"The index is made with {model} already.")
        embedder = self._make_embedder(model)
        try:
            if not await self._members_know(model.provider):
                raise RecollectError(self._tell_first(embedder.name, model.provider, as_set))
            report(f"Trying {embedder.name}", 0, None)
            await _try(embedder, model)
            other = await self._index.other()
            if other is None or other.fingerprint != wanted:
                other = await self._index.make_other(wanted)
            # What was taken back is neither embedded nor compared. What waits to be indexed would get vectors of the
            # settings' model, so that it has to wait if this index is of another.
            await (self._indexer.settle() if as_set else self._indexer.remove_pending())
            return await self._switch_to(other, embedder, report)
        finally:
            if self._embedder is None or not self._embedder.uses(embedder):
                await embedder.close()

    def _tell_first(self, service: str, provider: str, as_set: bool) -> str:
        """What to do before a service is sent what members write; `as_set` if the bot starts with its settings."""
        settings = f'embedding.next = "{provider}"'
        if not as_set:
            settings = f"{in_settings(self._index.fingerprint.embedding)} again, with {settings},"
        return (
            f"Members were not told of {service} yet: set {settings} and start the bot, so that it names {service} in "
            "the observed channels, then repeat this command."
        )

    async def undo(self, report: Report) -> Reindexed:
        """Go back to the former index, with what came since embedded by its model. Raises as `run`."""
        other = await self._index.other()
        if other is None or not other.former:
            raise RecollectError("There is no former index to go back to.")
        return await self.run(other.fingerprint.embedding, report)

    async def discard(self) -> bool:
        """Remove the other index, the former or a half-filled one; whether there was any."""
        return await self._index.discard_other()

    async def _switch_to(self, other: Beside, embedder: Embedder, report: Report) -> Reindexed:
        began, former, model = time.monotonic(), self._index.fingerprint.embedding, other.fingerprint.embedding
        filling = Filling(self._index, other.index, self._texts, embedder, self._indexer.lock, self._give_way, report)
        self._index.changed = set()
        try:
            await self._fill(filling)
            await filling.check_neighbours(model.dimensions)
            async with self._indexer.between_batches(), self._reconciler.working:
                await filling.catch_up(0)
                await self._take(embedder)
        finally:
            self._index.changed = None
        points, seconds = sum((await self._index.counts()).values()), time.monotonic() - began
        log.info("reindexed", model=spec_of(model), points=points, embedded=filling.embedded, seconds=seconds)
        return Reindexed(former, model, points, filling.embedded, seconds, self._embedder is not None)

    async def _take(self, embedder: Embedder) -> None:
        """Switch; a cancelled caller waits for the end, so that the index and the embedder go together."""

        async def switch() -> None:
            async with self._indexer.lock:
                await self._index.swap()
                if self._embedder is not None:
                    former = self._embedder.name
                    self._embedder.replace(embedder)
                    self._breakers.hand_over(former, embedder.name)
            self._on_switch()

        task = asyncio.ensure_future(switch())
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    async def _fill(self, filling: Filling) -> None:
        """Until both hold the same, but for a few changes."""
        await filling.sweep()
        for _ in range(_ROUNDS):
            await filling.fill()
            await filling.catch_up(_FEW)
            if not await filling.differing():
                return
        raise RecollectError("The new index does not come to hold what this one holds; repeat the command.")


async def _try(embedder: Embedder, model: EmbeddingModel) -> None:
    """Have one text embedded before anything is made for the model."""
    [vector] = await embedder.documents(["hello"])
    if vector is None or len(vector) != model.dimensions:
        raise RecollectError(f"{model} makes no vectors of this size: check --embedder.")
