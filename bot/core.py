"""The rooms that work without Discord: storage, memory and extraction, built in the order of the data's way."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self

from bot.extraction.announced import AnnouncedLLM
from bot.extraction.llm import LLM
from bot.extraction.loaded import LoadedModels
from bot.extraction.metered import MeteredLLM
from bot.extraction.providers import llm_name, open_llm
from bot.extraction.questions import Questions
from bot.extraction.turns import Turns
from bot.extraction.worker import BatchWorker
from bot.memory.bm25 import Bm25
from bot.memory.current_embedder import CurrentEmbedder
from bot.memory.embeddings import embedder_name, embedder_of, open_embedder
from bot.memory.filling import Texts
from bot.memory.fingerprint import Fingerprint
from bot.memory.forget import Forget
from bot.memory.held import Held
from bot.memory.index import VectorIndex
from bot.memory.indexer import Indexer
from bot.memory.lexicon import Lexicon
from bot.memory.metered import MeteredEmbedder, metered_index
from bot.memory.naming import Speakers
from bot.memory.recall import Recall
from bot.memory.reconcile import Reconciler
from bot.memory.reindexer import Reindexer
from bot.memory.repair import Repair
from bot.memory.shadow import Mirrored
from bot.memory.sites import open_sites
from bot.meters import Meters
from bot.model import utcnow
from bot.outside import Use
from bot.settings import Settings
from bot.storage.archive import Archive
from bot.storage.audit import Audit
from bot.storage.breaker import Breakers
from bot.storage.consent import Consent
from bot.storage.corrections import Corrections
from bot.storage.database import Database
from bot.storage.departures import Departures
from bot.storage.doubts import Doubts
from bot.storage.drift import Drift
from bot.storage.facts import FactStore
from bot.storage.guild_configs import GuildConfigs
from bot.storage.keyword import KeywordSearch
from bot.storage.ledger import Ledger
from bot.storage.messages import MessageStore
from bot.storage.mine import OwnMemories
from bot.storage.names import Names
from bot.storage.observations import Observations
from bot.storage.purging import Purging
from bot.storage.queue import ExtractionQueue
from bot.storage.reindex import Reindex
from bot.storage.residue import Residue
from bot.storage.retraction import Retraction
from bot.storage.samples import Samples
from bot.storage.state import StateStore
from bot.upkeep.backup import Backup
from bot.upkeep.journal import Journal
from bot.upkeep.purge import Purge
from bot.upkeep.recheck import Recheck
from bot.upkeep.restore import INDEX, settle_unfinished
from bot.upkeep.retention import Retention
from bot.upkeep.samples import Sampling

NOT_TOLD = "The observed channels are told first that this service sees what is written there."


class Core(ABC):
    """What a bot keeps, finds and learns, open inside `async with`.

    Entering raises `DataFolderError`. `clock` is the time in every room; the demo tells a week in
    seconds by it.
    """

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = utcnow) -> None:
        self.settings = settings
        self.clock = clock
        self.meters = Meters()
        self.untold: frozenset[Use] = frozenset()
        """What services outside are to do and do not yet, as members have to be told of it first."""
        self.to_tell = asyncio.Event()  # that another embedder is in use
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            await self._open_storage(opened)
            self._open_memory(opened)
            self._open_extraction(opened)
            self._open_doors()
            self.untold = await self._find_untold()
            self.indexer.lock.closed = self._not_told(Use.STORES)
            self._exit = opened.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    async def _open_storage(self, opened: AsyncExitStack) -> None:
        settle_unfinished(self.settings.storage.path)
        self.database = await Database.open(self.settings.storage.path)
        opened.push_async_callback(self.database.close)
        self.retraction = Retraction(self.database, self.clock)
        self.state = StateStore(self.database)
        self.journal = Journal(self.settings.journal_path, Ledger(self.database, self.retraction), self.state)
        await self.journal.flush()  # first: a data folder put back from a copy learns from it what was taken back
        opened.push_async_callback(self.journal.flush)
        interval = self.settings.batch.interval
        self.messages = MessageStore(self.database, on_captured=self._wake, batch_interval=interval, clock=self.clock)
        opened.push_async_callback(self.messages.close)
        self.queue = ExtractionQueue(self.database, self.clock)
        self.facts = FactStore(self.database, self.clock)
        self.keyword = KeywordSearch(self.database)
        self.breakers = await Breakers.load(self.database, self.settings.outages, self.clock)
        opened.push_async_callback(self.breakers.close)
        self.observations = Observations(self.database, self.clock)
        self.configs = GuildConfigs(self.database, self.settings)
        self.audit = Audit(self.database, self.clock)
        self.consent = Consent(self.database, self.settings.capture.consent, self.clock)
        self.doubts = Doubts(self.database, self.clock)
        self.departures = Departures(self.database)
        self.samples = Samples(self.database)
        self.sampling = Sampling(self.samples, self.clock)
        self.guilds = Archive(self.database).guilds
        self.recheck = Recheck(self.state, self.guilds, self._compare)
        await self.observations.load()
        await self.configs.load()
        await self.consent.load()
        self.journal.on_replayed = self.consent.load  # a file that could not be read at first
        await self.recheck.load()

    def _open_memory(self, opened: AsyncExitStack) -> None:
        settings = self.settings
        language = Bm25(settings.recall.language).language  # an unknown one is told at the start
        lexicon = Lexicon(lambda guild_id: self.configs.of(guild_id).language)
        embed_messages = settings.memory.embed_messages
        sites = open_sites(settings, settings.storage.path / INDEX)
        self.index = Mirrored(sites, Fingerprint(settings.embedding_model))
        self.index_name = "Qdrant" if settings.qdrant.url else "Search index"  # as people know it
        opened.push_async_callback(self.index.close)
        metered = partial(MeteredEmbedder, meters=self.meters, price=settings.embedding.price_per_million)
        configured = open_embedder(settings)
        self.embedder = (
            CurrentEmbedder(metered(configured), partial(self._not_told, Use.EMBEDS)) if configured else None
        )
        if self.embedder:
            opened.push_async_callback(self.embedder.close)
        index = metered_index(self.index, self.meters, self.breakers.of("Qdrant").name)
        self.indexer = Indexer(
            self.messages,
            self.facts,
            self.retraction,
            Reindex(self.database),
            index,
            self.embedder,
            lexicon,
            embed_messages,
            settings.memory.index_interval,
            self.breakers.of(self.embedder_name),
            self.breakers.of("Qdrant"),
            self.clock,
            give_way=lambda: self.recall.quiet(),
            index_name=self.index_name,
            on_back=lambda: self.repair.wake(),
        )
        self.own = OwnMemories(self.database)
        self.corrections = Corrections(self.database, self.clock, on_corrected=self.indexer.wake)
        self.recall = Recall(
            index,
            self.embedder,
            lexicon,
            Speakers(Names(self.database)),
            self.keyword,
            self.retraction,
            self.breakers.of(self.embedder_name),
            self.breakers.of("Qdrant"),
            self.indexer.doubt_index,
            self.clock,
            paused=lambda: self.recheck.required,
            meters=self.meters,
        )
        self.forget = Forget(
            self.retraction, Purging(self.database, self.retraction, self.clock), self.indexer, self.index
        )
        self.backup = Backup(
            self.database, settings.storage.path, self.index, lambda: self.index.fingerprint.embedding, self.clock
        )
        self.purge = Purge(
            self.database,
            Residue(self.database),
            self.indexer,
            self.index,
            settings.retention.purge_within,
            self.clock,
        )
        self.retention = Retention(
            self.retraction,
            self.departures,
            self.observations,
            self.index,
            self.indexer,
            settings.retention,
            self.configs,
            self.consent,
            self.queue,
            self.state,
            self.clock,
            self._has_left,
        )
        self.held = Held(self.messages, self.facts, self.retraction, self.index)
        self.reconciler = Reconciler(
            index,
            self.embedder,
            lexicon,
            self.messages,
            self.retraction,
            embed_messages,
            self.indexer.lock,
            language,
            give_way=self.recall.quiet,
        )
        self.repair = Repair(
            index,
            Drift(self.database, self.clock),
            self.messages,
            self.retraction,
            on_drift=self.indexer.wake,
            give_way=self.recall.quiet,
        )
        self.reindexer = Reindexer(
            self.index,
            self.indexer,
            self.reconciler,
            Texts(self.messages, self.retraction, embed_messages),
            self.embedder,
            self.breakers,
            lambda model: metered(embedder_of(settings, model)),
            give_way=self.recall.quiet,
            members_know=self._members_know,
            on_switch=self.to_tell.set,
        )

    def _open_extraction(self, opened: AsyncExitStack) -> None:
        def watch(llm: LLM) -> LLM:
            use = Use.READS if llm.name == llm_name(self.settings) else Use.READS_INSTEAD
            return AnnouncedLLM(MeteredLLM(llm, self.meters), partial(self._not_told, use))

        self.llm = open_llm(self.settings, self.breakers, self.state, self.clock, watch)
        opened.push_async_callback(self.llm.close)
        self.models = LoadedModels(self.settings, lambda: self.index.fingerprint.embedding)
        opened.push_async_callback(self.models.close)
        breaker, turns = self.breakers.of(self.llm.name), Turns(self.settings.ask.at_once)
        self.worker = BatchWorker(
            self.queue,
            self.llm,
            breaker,
            self.settings.batch,
            self.configs,
            clock=self.clock,
            on_facts=self.indexer.wake,
            give_way=self.recall.quiet,
            turns=turns,
            meters=self.meters,
        )
        opened.push_async_callback(self.worker.close)
        asked = self.breakers.of(llm_name(self.settings))
        self.questions = Questions(self.llm, asked, turns, self.settings.ask.patience, on_recovery=self.worker.resume)
        opened.push_async_callback(self.questions.close)

    @property
    def embedder_name(self) -> str:
        """The name of the service that embeds, for people, whether or not it can be used."""
        return self.embedder.name if self.embedder else embedder_name(self.settings)

    @property
    def in_force(self) -> Settings:
        """The settings with the embedder that is in use: a reindex changes that before they are changed."""
        if self.embedder is None:
            return self.settings
        provider = {"provider": self.index.fingerprint.embedding.provider}
        return self.settings.model_copy(update={"embedding": self.settings.embedding.model_copy(update=provider)})

    def _not_told(self, use: Use) -> str | None:
        """Why nothing is sent to the service that does this; None if all may be."""
        return NOT_TOLD if use in self.untold else None

    def _all_told(self) -> None:
        """Members know everything now: let those go on that waited for it."""
        if self.indexer.lock.closed == NOT_TOLD:
            self.indexer.lock.closed = None
        self.untold = frozenset()
        for name in (self.embedder_name, llm_name(self.settings)):
            self.breakers.of(name).end_pause()
        self.indexer.wake()
        self.worker.resume()

    @abstractmethod
    def _open_doors(self) -> None:
        """Build what faces outwards, once all of this is open."""

    @abstractmethod
    def _has_left(self, guild_id: int) -> bool:
        """Whether it is certain that the bot is in this guild no longer."""

    @abstractmethod
    async def _find_untold(self) -> frozenset[Use]:
        """What services outside are to do that members were not told of. Raises `StorageUnavailable`."""

    @abstractmethod
    async def _members_know(self, provider: str) -> bool:
        """Whether members were told whom this provider's embeddings are made by, where that is somebody else."""

    @abstractmethod
    async def _compare(self, guild_id: int) -> None:
        """Compare what is held of a guild with Discord."""

    def _wake(self) -> None:
        self.indexer.wake()
        self.worker.wake()


def open_index(settings: Settings, folder: Path) -> VectorIndex:
    """The index of the settings: on their server, or embedded in this folder."""
    fingerprint, dimensions = Fingerprint(settings.embedding_model), settings.embedding_model.dimensions
    if settings.qdrant.url:
        from bot.memory.server import ServerIndex

        return ServerIndex(settings.qdrant, dimensions, fingerprint=fingerprint)
    from bot.memory.edge import EdgeIndex

    return EdgeIndex(folder, dimensions, fingerprint=fingerprint)
