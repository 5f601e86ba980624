"""The composition root: the rooms that work without Discord, and the doors through which others reach them."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from functools import partial

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
from bot.commands.access import askers_lost
from bot.commands.asking import Asking
from bot.commands.configuring import Configuring
from bot.commands.limits import Limit
from bot.commands.mention import Mentions
from bot.commands.news import TermsNews
from bot.commands.notice import Notices
from bot.commands.services import Services
from bot.commands.status import HealthCheck, read_health, read_status, unsaved
from bot.commands.tree import build_tree
from bot.core import Core
from bot.errors import RecallPaused, ServiceUnavailable
from bot.outside import Use, told_of_embedder
from bot.storage.census import take_census
from bot.storage.cursors import Cursors
from bot.storage.keepsakes import Keepsakes
from bot.storage.names import Names
from bot.storage.places import Places
from bot.storage.spoken import Spoken
from bot.upkeep.alerts import Alerts
from bot.upkeep.moving import Moving
from bot.web import operations
from bot.web.control import SOCKET, ControlServer, Operation
from bot.web.health import HealthServer, Readiness
from bot.web.metrics import Lately, Metrics

PROBE_SECONDS = 0.5  # Kubernetes gives a probe one second
_COUNTED = timedelta(minutes=1)  # to count what is held takes a tenth of a second for a million
_ASKED = timedelta(seconds=15)
_TELL_AGAIN_SECONDS = 60.0


class Rooms(Core):
    """Everything one bot is made of, open inside `async with`; see `Core`."""

    def _open_doors(self) -> None:
        settings = self.settings
        use_addresses(settings.discord)
        discretion = Discretion(self.configs)
        self.observer = Observer(
            self.messages, self.retraction, self.observations, self.consent, settings.discord, discretion, self.clock
        )
        self.client = Client(settings.discord, self.observer)
        self.moving = Moving(settings, self.index, self.indexer.lock)
        self.importer = Importer(
            self.messages, self.observations, self.consent, self.client, settings.discord, discretion, self.clock
        )
        self._catch_up()
        self.visibility = DiscordVisibility(self.client, self.observations)
        status = partial(
            read_status,
            messages=self.messages,
            queue=self.queue,
            worker=self.worker,
            observations=self.observations,
            doubts=self.doubts,
            samples=self.samples,
            health=self._health_in,
            refused=lambda: self.observer.refused,
            behind=self.catchup.lagging,
            refusals=self.catchup.refusals,
            problems=self._problems,
            clock=self.clock,
        )
        notices = Notices(lambda: self.in_force, self.configs, self.consent)
        self.news = news = TermsNews(self.client, self.observations, self.state, notices)
        self.client.announce, self.client.announce_interval = notices.observed, notices.opened
        self.client.announce_terms = self._tell
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
                meters=self.meters,
                clock=self.clock,
            ),
        )
        self.alerts = Alerts(self.messages.oldest_waiting, settings.alerts.oldest_waiting, self.clock)
        self.web = HealthServer(settings.web.host, settings.web.port, self._readiness, self._metrics().page)
        self.control = ControlServer(settings.storage.path / SOCKET, self.operations())

    def operations(self) -> dict[str, Operation]:
        """What the command line can ask for, by name: of the running bot, or of an App opened for it alone."""
        return {
            "adopt": operations.adopting(self.reconciler),
            "backup": operations.backing_up(self.backup),
            "count": operations.counting(self.index),
            "deadletters": operations.listing_dead_letters(self.queue),
            "migrate": operations.migrating(self.moving),
            "purge": operations.purging(self.purge),
            "reindex": operations.reindexing(self.reindexer, self.settings, lambda: self.moving.problem),
            "replay": operations.replaying_dead_letters(self.queue, self.worker.wake),
            "import": operations.importing(self.importer),
        }

    def _metrics(self) -> Metrics:
        return Metrics(
            self.meters,
            self.queue,
            self.messages,
            Lately(partial(take_census, self.database), _COUNTED, self.clock),
            self.alerts,
            self.breakers,
            self.client,
            models=Lately(self.models.look, _ASKED, self.clock),
            folder=self.settings.storage.path,
            refused_events=lambda: self.observer.refused,
            places_behind=self.catchup.behind,
            about=self._about,
            clock=self.clock,
        )

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

    def _about(self) -> dict[str, str]:
        """What is in use, for /metrics."""
        model = self.index.fingerprint.embedding
        return {"extraction": self.llm.name, "embedding": f"{model.provider}:{model.name}"}

    def _health_in(self, guild_id: int | None = None) -> dict[str, HealthCheck]:
        """What the services are asked, on behalf of a guild if need be, whose part of the index may be broken alone."""
        return {
            self.llm.name: self.worker.health,
            self.embedder_name: self.indexer.embedder_health,
            self.index_name: partial(self.indexer.index_health, guild_id),
        }

    def _has_left(self, guild_id: int) -> bool:
        return self.client.ready.is_set() and self.client.get_guild(guild_id) is None

    async def telling(self) -> None:
        """Have members told of another embedder, and again what the database would not say at first."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TELL_AGAIN_SECONDS if self.untold else None):
                    await self.to_tell.wait()
            self.to_tell.clear()
            await self.client.ready.wait()
            await self._tell()

    async def _tell(self, guild_id: int | None = None) -> None:
        if await self.news.tell(guild_id) and guild_id is None and self.untold:
            self._all_told()

    async def _find_untold(self) -> frozenset[Use]:
        return await self.news.untold()

    async def _members_know(self, provider: str) -> bool:
        told = await self.news.told_services()
        return all(told_of_embedder(services, self.settings, provider) for services in told)

    async def _compare(self, guild_id: int) -> None:
        await self.catchup.recheck(guild_id)

    def _problems(self, guild_id: int) -> list[str]:
        """What the admins of a guild should know, of it and of the whole bot, in sentences."""
        paused = str(RecallPaused()) if self.recall.paused() else None
        guild = self.client.get_guild(guild_id)
        lost = guild and askers_lost(guild, self.configs.of(guild_id).asker_roles)
        refusal = self.observer.refusal()
        full = unsaved(refusal) if refusal else None
        return [problem for problem in (paused, self.moving.problem, self.journal.problem, full, lost) if problem]

    async def _readiness(self) -> Readiness:
        try:
            await self.database.ping()
        except ServiceUnavailable:
            return Readiness(gateway=self.client.ready.is_set(), database=False)
        services = await read_health(self._health_in(), PROBE_SECONDS)
        return Readiness(gateway=self.client.ready.is_set(), database=True, services=services)
