"""When other services come to see the text than a channel was told of, it is told again."""

import json

import discord
import structlog

from bot.capture.convert import Observable
from bot.commands.notice import post, services_key, services_notice
from bot.commands.replies import UNREACHABLE
from bot.errors import StorageUnavailable
from bot.settings import Settings
from bot.storage.observations import Observations
from bot.storage.state import StateStore
from bot.telemetry import Outages

log = structlog.get_logger(__name__)

_STATE = "services"


class ServiceNews:
    """Compares the services of the settings with those last told of, as kept in the database."""

    def __init__(
        self, client: discord.Client, observations: Observations, state: StateStore, settings: Settings
    ) -> None:
        self._client = client
        self._observations = observations
        self._state = state
        self._settings = settings
        self._outages = Outages(log)

    async def tell(self) -> None:
        """Post what observed channels do not know yet, to each once; what cannot be told waits for the next call."""
        try:
            await self._tell()
        except StorageUnavailable as error:
            self._outages.began("services_not_told", str(error))

    async def _tell(self) -> None:
        left = await self._left()
        for channel_id, guild_id in self._observed().items():
            guild = self._client.get_guild(guild_id)
            if channel_id in left and guild and not guild.unavailable and await self._post(channel_id, guild_id):
                left.remove(channel_id)
                await self._keep(left)

    async def _left(self) -> set[int]:
        """The channels still to be told. Channels are told of the services of the day when they are switched on."""
        known = json.loads(await self._state.get(_STATE) or "{}")
        if known.get("services") == services_key(self._settings):
            return set(known["left"])
        left = set(self._observed()) if known else set[int]()
        await self._keep(left)
        return left

    async def _keep(self, left: set[int]) -> None:
        known = {"services": services_key(self._settings), "left": sorted(left)}
        await self._state.put(_STATE, json.dumps(known))

    def _observed(self) -> dict[int, int]:
        """The guilds of all channels observed now."""
        observations = self._observations
        return {one.channel_id: guild for guild in observations.guilds() for one in observations.active(guild)}

    async def _post(self, channel_id: int, guild_id: int) -> bool:
        try:
            place = self._client.get_channel(channel_id) or await self._client.fetch_channel(channel_id)
            if not isinstance(place, Observable):
                return False
            await post(place, services_notice(self._settings, guild_id))
        except UNREACHABLE as error:
            self._outages.began("services_not_told", type(error).__name__, channel_id=channel_id)
            return False
        log.info("services_told", guild_id=guild_id, channel_id=channel_id)
        return True
