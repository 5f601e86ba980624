"""The vectors of what is indexed, as far as the embedder allows."""

from datetime import timedelta

from bot.errors import EmbedderUnavailable, QuotaExhausted
from bot.memory.backlog import Batch
from bot.memory.embeddings import Embedder
from bot.memory.keys import DenseKeys, dense_keys
from bot.model import ServiceHealth
from bot.storage.breaker import QUOTA_PAUSE, Breaker

MOST = 128  # entries at once
_EMBEDDING_SECONDS = 20.0  # a message is to be found within a minute, if by its words alone


class Vectors:
    """Asks the embedder, if there is one, while its breaker lets it be asked."""

    def __init__(self, embedder: Embedder | None, breaker: Breaker) -> None:
        self._embedder = embedder
        self._breaker = breaker
        self.at_once = MOST  # fewer for an embedder too slow for so many

    @property
    def ready(self) -> bool:
        """Whether the embedder may be asked now, be it to find out whether it is back."""
        return self._embedder is not None and not self._breaker.waiting

    @property
    def flowing(self) -> bool:
        """Whether it may be asked, and answered when it was asked last."""
        return self.ready and not self._breaker.open

    async def of(self, batch: Batch) -> list[DenseKeys] | None:
        """The entries' dense keys; None where they are to have none, have to wait for them, or cannot have them."""
        if self._embedder is None or not batch.to_embed:
            return None
        if self._breaker.open and not batch.lacking_vectors:
            return None
        if not self._breaker.allows():
            return None
        try:
            keys = await dense_keys(self._embedder, batch.entries, _EMBEDDING_SECONDS)
        except EmbedderUnavailable as error:
            at_least = QUOTA_PAUSE if isinstance(error, QuotaExhausted) else timedelta(0)
            self._breaker.failed(str(error), at_least)
            self.at_once = max(1, self.at_once // 2)
            return None
        self._breaker.succeeded()
        self.at_once = min(MOST, self.at_once * 2)
        return keys

    async def health(self) -> ServiceHealth:
        """The embedder as it last answered, this process or the one before."""
        if self._embedder is None:
            return ServiceHealth(self._breaker.name, True, "No key is set: recall searches by keywords.")
        health = await self._embedder.health()
        trouble = self._breaker.trouble
        return ServiceHealth(health.name, False, trouble) if trouble else health
