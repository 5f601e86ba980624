"""The embedder that goes with the index in use, for everyone who embeds: a switch of the index changes it at once."""

from collections.abc import Callable, Sequence

from bot.errors import EmbedderUnavailable
from bot.memory.embedders.base import Usage
from bot.memory.embeddings import Embedder
from bot.model import ServiceHealth


class CurrentEmbedder:
    """An `Embedder` that can be replaced while others use it: what was asked of the former one is still answered.

    It counts as out of order while `untold` says why nothing may be sent to it yet.
    """

    def __init__(self, embedder: Embedder, untold: Callable[[], str | None] = lambda: None) -> None:
        self._embedder = embedder
        self._untold = untold
        self._former: list[Embedder] = []

    @property
    def name(self) -> str:
        """See `Embedder`."""
        return self._embedder.name

    @property
    def model(self) -> str:
        """See `Embedder`."""
        return self._embedder.model

    @property
    def dimensions(self) -> int:
        """See `Embedder`."""
        return self._embedder.dimensions

    @property
    def usage(self) -> Usage:
        """See `Embedder`."""
        return self._embedder.usage

    def replace(self, embedder: Embedder) -> None:
        """Embed with this one from now on."""
        self._former.append(self._embedder)
        self._embedder = embedder

    def uses(self, embedder: Embedder) -> bool:
        """Whether it is this one."""
        return self._embedder is embedder

    async def prepare(self) -> None:
        """See `Embedder`."""
        await self._embedder.prepare()

    async def documents(self, texts: Sequence[str], within: float | None = None) -> list[Sequence[float] | None]:
        """See `Embedder`."""
        self._check()
        return await self._embedder.documents(texts, within)

    async def queries(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """See `Embedder`."""
        self._check()
        return await self._embedder.queries(texts)

    def known(self, text: str) -> Sequence[float] | None:
        """See `Embedder`."""
        return self._embedder.known(text)

    async def health(self) -> ServiceHealth:
        """See `Embedder`."""
        return await self._embedder.health()

    async def close(self) -> None:
        """See `Embedder`."""
        for embedder in (*self._former, self._embedder):
            await embedder.close()

    def _check(self) -> None:
        if reason := self._untold():
            raise EmbedderUnavailable(reason)
