"""The composition root: builds the rooms in the order of the data's way."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self

from bot.capture.catchup import Catchup
from bot.capture.client import Client
from bot.capture.discretion import Discretion
from bot.capture.gateway import use_addresses
from bot.capture.history import History
from bot.capture.importer import Importer
from bot.capture.observer import Observer
from bot.capture.presence import Presence
from bot.capture.reader import Reader
from bot.capture.recheck import Comparison
from bot.capture.visibility import DiscordVisibility
from bot.commands.asking import Asking
from bot.commands.configuring import Configuring
from bot.commands.limits import Limit
from bot.commands.mention import Mentions
from bot.commands.news import TermsNews
from bot.commands.notice import Notices
from bot.commands.services import Services
from bot.commands.status import read_health, read_status
from bot.commands.tree import build_tree
from bot.errors import RecallPaused, ServiceUnavailable
from bot.extraction.ollama import OllamaLLM
from bot.extraction.questions import Questions
from bot.extraction.turns import Turns
from bot.extraction.worker import BatchWorker
from bot.memory.bm25 import Bm25
from bot.memory.embeddings import open_embedder
from bot.memory.forget import Forget
from bot.memory.held import Held
from bot.memory.index import VectorIndex
from bot.memory.indexer import Indexer
from bot.memory.lexicon import Lexicon
from bot.memory.naming import Speakers
from bot.memory.recall import Recall
from bot.memory.reconcile import Reconciler
from bot.model import utcnow
from bot.settings import Settings
from bot.storage.archive import Archive
from bot.storage.audit import Audit
from bot.storage.breaker import Breakers
from bot.storage.consent import Consent
from bot.storage.corrections import Corrections
from bot.storage.cursors import Cursors
from bot.storage.database import Database
from bot.storage.departures import Departures
from bot.storage.doubts import Doubts
from bot.storage.facts import FactStore
from bot.storage.guild_configs import GuildConfigs
from bot.storage.keepsakes import Keepsakes
from bot.storage.keyword import KeywordSearch
from bot.storage.ledger import Ledger
from bot.storage.messages import MessageStore
from bot.storage.mine import OwnMemories
from bot.storage.names import Names
from bot.storage.observations import Observations
from bot.storage.places import Places
from bot.storage.purging import Purging
from bot.storage.queue import ExtractionQueue
from bot.storage.reindex import Reindex
from bot.storage.residue import Residue
from bot.storage.retraction import Retraction
from bot.storage.samples import Samples
from bot.storage.spoken import Spoken
from bot.storage.state import StateStore
from bot.upkeep.alerts import Alerts
from bot.upkeep.backup import Backup
from bot.upkeep.journal import Journal
from bot.upkeep.purge import Purge
from bot.upkeep.recheck import Recheck
from bot.upkeep.restore import INDEX, settle_unfinished
from bot.upkeep.retention import Retention
from bot.upkeep.samples import Sampling
from bot.web import operations
from bot.web.control import SOCKET, ControlServer, Operation
from bot.web.health import HealthServer, Readiness
from bot.web.metrics import Metrics

PROBE_SECONDS = 0.5  # Kubernetes gives a probe one second


class Rooms:
    """Everything one bot is made of, open inside `async with`.

    Entering raises `DataFolderError`. `clock` is the time in every room; the demo tells a week in
    seconds by it.
    """

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = utcnow) -> None:
        self.settings = settings
        self.clock = clock
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            await self._open_storage(opened)
            self._open_memory(opened)
            self._open_extraction(opened)
            self._open_doors()
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
        self.index = open_index(settings, settings.storage.path / INDEX)
        opened.push_async_callback(self.index.close)
        self.embedder = open_embedder(settings.openai)
        if self.embedder:
            opened.push_async_callback(self.embedder.close)
        self.indexer = Indexer(
            self.messages,
            self.facts,
            self.retraction,
            Reindex(self.database),
            self.index,
            self.embedder,
            lexicon,
            embed_messages,
            settings.memory.index_interval,
            self.breakers.of("OpenAI"),
            self.breakers.of("Qdrant"),
            self.clock,
            give_way=lambda: self.recall.quiet(),
        )
        self.own = OwnMemories(self.database)
        self.corrections = Corrections(self.database, self.clock, on_corrected=self.indexer.wake)
        self.recall = Recall(
            self.index,
            self.embedder,
            lexicon,
            Speakers(Names(self.database)),
            self.keyword,
            self.retraction,
            self.breakers.of("OpenAI"),
            self.breakers.of("Qdrant"),
            self.indexer.doubt_index,
            self.clock,
            paused=lambda: self.recheck.required,
        )
        self.forget = Forget(
            self.retraction, Purging(self.database, self.retraction, self.clock), self.indexer, self.index
        )
        self.backup = Backup(self.database, settings.storage.path, self.index, settings.openai, self.clock)
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
            has_left=lambda guild_id: self.client.ready.is_set() and self.client.get_guild(guild_id) is None,
        )
        self.held = Held(self.messages, self.facts, self.retraction, self.index)
        self.reconciler = Reconciler(
            self.index,
            self.embedder,
            lexicon,
            self.messages,
            self.retraction,
            embed_messages,
            self.indexer.lock,
            language,
            give_way=self.recall.quiet,
        )

    def _open_extraction(self, opened: AsyncExitStack) -> None:
        self.llm = OllamaLLM(self.settings.ollama)
        opened.push_async_callback(self.llm.close)
        breaker, turns = self.breakers.of(self.llm.name), Turns(self.settings.ask.at_once)
        self.worker = BatchWorker(
            self.queue,
            self.messages,
            self.llm,
            breaker,
            self.settings.batch,
            self.configs,
            clock=self.clock,
            on_facts=self.indexer.wake,
            give_way=self.recall.quiet,
            turns=turns,
        )
        opened.push_async_callback(self.worker.close)
        self.questions = Questions(self.llm, breaker, turns, self.settings.ask.patience, on_recovery=self.worker.wake)
        opened.push_async_callback(self.questions.close)

    def _open_doors(self) -> None:
        settings = self.settings
        use_addresses(settings.discord)
        discretion = Discretion(self.configs)
        self.observer = Observer(
            self.messages, self.retraction, self.observations, self.consent, settings.discord, discretion
        )
        self.client = Client(settings.discord, self.observer)
        self.importer = Importer(
            self.messages, self.observations, self.consent, self.client, settings.discord, discretion, self.clock
        )
        self._catch_up()
        self.visibility = DiscordVisibility(self.client, self.observations)
        self._health = {
            "Ollama": self.worker.health,
            "OpenAI": self.indexer.embedder_health,
            "Qdrant": self.indexer.index_health,
        }
        status = partial(
            read_status,
            messages=self.messages,
            queue=self.queue,
            worker=self.worker,
            observations=self.observations,
            doubts=self.doubts,
            samples=self.samples,
            health=self._health,
            refused=lambda: self.observer.refused,
            behind=self.catchup.behind,
            refusals=self.catchup.refusals,
            problems=self._problems,
            clock=self.clock,
        )
        notices = Notices(settings, self.configs, self.consent)
        news = TermsNews(self.client, self.observations, self.state, notices)
        self.client.announce, self.client.announce_interval = notices.observed, notices.opened
        self.client.announce_terms = news.tell
        limit = Limit(settings.ask.per_minute)
        asking = Asking(self.recall, self.held, self.questions, settings.ask, settings.recall.limit, self.clock)
        mentions = Mentions(self.client, asking, self.recall, self.visibility, self.configs, limit)
        self.client.heard, self.client.unsaid = mentions.heard, mentions.unsaid
        self.client.tree = build_tree(
            self.client,
            Services(
                settings=settings,
                observations=self.observations,
                observer=self.observer,
                catchup=self.catchup,
                configs=self.configs,
                audit=self.audit,
                notices=notices,
                configuring=Configuring(
                    self.configs,
                    self.consent,
                    self.observations,
                    self.retraction,
                    news,
                    self.audit,
                    self.reconciler.wake,
                    self.clock,
                ),
                doubts=self.doubts,
                consent=self.consent,
                messages=self.messages,
                spoken=Spoken(self.database),
                facts=self.facts,
                corrections=self.corrections,
                keepsakes=Keepsakes(self.database, self.clock, on_kept=self.indexer.wake),
                own=self.own,
                keyword=self.keyword,
                recall=self.recall,
                forget=self.forget,
                held=self.held,
                worker=self.worker,
                questions=self.questions,
                asking=asking,
                limit=limit,
                visibility=self.visibility,
                status=status,
                clock=self.clock,
            ),
        )
        self.alerts = Alerts(self.messages.oldest_waiting, settings.alerts.oldest_waiting, self.clock)
        metrics = Metrics(
            self.queue,
            self.messages,
            self.alerts,
            self.breakers,
            refused_events=lambda: self.observer.refused,
            places_behind=self.catchup.behind,
            clock=self.clock,
        )
        self.web = HealthServer(settings.web.host, settings.web.port, self._readiness, metrics.page)
        self.control = ControlServer(settings.storage.path / SOCKET, self.operations())

    def operations(self) -> dict[str, Operation]:
        """What the command line can ask for, by name: of the running bot, or of an App opened for it alone."""
        return {
            "adopt": operations.adopting(self.reconciler),
            "backup": operations.backing_up(self.backup),
            "deadletters": operations.listing_dead_letters(self.queue),
            "purge": operations.purging(self.purge),
            "replay": operations.replaying_dead_letters(self.queue, self.worker.wake),
            "import": operations.importing(self.importer),
        }

    def _catch_up(self) -> None:
        reader = Reader(
            History(self.client),
            self.observer,
            self.messages,
            self.observations,
            Cursors(self.database),
            Names(self.database),
            self.configs,
            self.clock,
        )
        comparison = Comparison(
            reader, self.retraction, Places(self.database), self.doubts, self.settings.capture.recheck_messages
        )
        self.catchup = Catchup(self.client, self.observer, self.observations, reader, comparison, self.clock)
        self.client.presence = Presence(self.departures, self.observations, self.observer, self.clock)
        self.client.began, self.client.available = self.catchup.began, self.catchup.guild_available
        self.client.access_changed = self.catchup.access_changed
        self.observer.missed = self.catchup.missed

    async def _compare(self, guild_id: int) -> None:
        await self.catchup.recheck(guild_id)

    def _problems(self) -> list[str]:
        """What admins should know of the whole bot, in sentences."""
        paused = str(RecallPaused()) if self.recall.paused() else None
        return [problem for problem in (paused, self.journal.problem) if problem]

    def _wake(self) -> None:
        self.indexer.wake()
        self.worker.wake()

    async def _readiness(self) -> Readiness:
        try:
            await self.database.ping()
        except ServiceUnavailable:
            return Readiness(gateway=self.client.ready.is_set(), database=False)
        services = await read_health(self._health, PROBE_SECONDS)
        return Readiness(gateway=self.client.ready.is_set(), database=True, services=services)


def open_index(settings: Settings, folder: Path) -> VectorIndex:
    """The index of the settings: on their server, or embedded in this folder."""
    if settings.qdrant.url:
        from bot.memory.server import ServerIndex

        return ServerIndex(settings.qdrant, settings.openai.dimensions)
    from bot.memory.edge import EdgeIndex

    return EdgeIndex(folder, settings.openai.dimensions)
