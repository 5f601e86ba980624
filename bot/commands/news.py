"""When something is no longer as a channel's members were told, they are told again."""

import asyncio
import json
from asyncio import sleep
from collections.abc import Iterable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import discord
import structlog

from bot.capture.convert import Observable
from bot.commands.notice import News, Notices, news_notice
from bot.commands.replies import UNREACHABLE
from bot.errors import StorageUnavailable
from bot.outside import Use, services_key, untold_uses
from bot.storage.observations import Observations
from bot.storage.state import StateStore
from bot.telemetry import Outages

log = structlog.get_logger(__name__)

CALM_SECONDS = 5 * 60.0  # between two notices on nothing but how long is kept: somebody may be trying it out

_STATE = "terms"
_FORMERLY = "services"  # where the services alone were kept, for all servers together


@dataclass(frozen=True, slots=True)
class _Told:
    """What a guild's members know: the terms, and the channels that are still to be told which of them are new."""

    keys: dict[str, str]
    news: frozenset[str] = frozenset()
    left: frozenset[int] = frozenset()


class TermsNews:
    """Compares each guild's terms with those its members were last told of, as kept in the database."""

    def __init__(self, client: discord.Client, observations: Observations, state: StateStore, notices: Notices) -> None:
        self._client = client
        self._observations = observations
        self._state = state
        self._notices = notices
        self._told: dict[int, _Told] | None = None
        self._told_at: dict[int, float] = {}  # by guild, of this run
        self._told_all = False  # in this run
        self._telling = asyncio.Lock()
        self._outages = Outages(log)

    async def told_services(self) -> list[str]:
        """Of each guild with an observed channel, the services its members were told of last, as a `services_key`.

        It is an empty one where nothing was told yet, or not everywhere; once everyone was told who can be, that is
        no matter. Raises `StorageUnavailable`.
        """
        async with self._telling:
            self._told = await self._read()
            return [
                self._told_in(guild_id)
                for guild_id in self._observations.guilds()
                if self._observed(guild_id) and not self._has_left(guild_id)
            ]

    async def untold(self) -> frozenset[Use]:
        """What services outside do by the settings that the members of some guild do not know of.

        Raises `StorageUnavailable`.
        """
        now = services_key(self._notices.in_force())
        return frozenset(use for told in await self.told_services() for use in untold_uses(told, now))

    async def know(self, guild_id: int) -> None:
        """Note what the members of a guild know by now; to be called before it changes. Raises `StorageUnavailable`."""
        async with self._telling:
            await self._look([guild_id])

    async def tell(self, guild_id: int | None = None) -> bool:
        """Post what observed channels, of one guild or of all, do not know yet, to each once.

        What cannot be told waits for the next call; False if the database would not say what that is.
        """
        try:
            async with self._telling:
                await self._tell(guild_id)
        except StorageUnavailable as error:
            self._outages.began("terms_not_told", str(error))
            return False
        self._told_all = self._told_all or guild_id is None
        return True

    async def tell_change(self, guild_id: int) -> None:
        """As `tell`, after a change in a guild; of several in a row that only concern how long, the last is told.

        The first is told at once, and so is everything else.
        """
        try:
            async with self._telling:
                changed = (await self._look([guild_id]))[guild_id]
        except StorageUnavailable as error:
            self._outages.began("terms_not_told", str(error))
            return
        told_at = self._told_at.get(guild_id)
        if told_at is not None and changed.news == {News.RETENTION}:
            await sleep(max(0.0, told_at + CALM_SECONDS - monotonic()))
        await self.tell(guild_id)

    async def _tell(self, only: int | None) -> None:
        guilds = {guild.id for guild in self._client.guilds if not guild.unavailable and only in (None, guild.id)}
        told = await self._look(guilds)
        for guild_id in guilds:
            for channel_id in sorted(told[guild_id].left & self._observed(guild_id)):
                if await self._post(channel_id, guild_id, {News(one) for one in told[guild_id].news}):
                    told[guild_id] = replace(told[guild_id], left=told[guild_id].left - {channel_id})
                    await self._keep(told)
                    self._told_at[guild_id] = monotonic()

    async def _look(self, guild_ids: Iterable[int]) -> dict[int, _Told]:
        """What guilds know, with what is new in these. A channel is told of the terms when it is switched on."""
        self._told = await self._read()
        told, formerly = dict(self._told), None
        for guild_id in guild_ids:
            keys = {str(news): key for news, key in self._notices.terms(guild_id).keys.items()}
            known = told.get(guild_id)
            if known is None:
                formerly = formerly or json.loads(await self._state.get(_FORMERLY) or "{}")
                known = _of_old(formerly, keys) if formerly and self._observed(guild_id) else _Told(keys)
            if new := {news for news, key in keys.items() if known.keys.get(news) != key}:
                left = known.left | self._observed(guild_id)
                known = _Told(keys, (known.news if known.left else frozenset()) | new, frozenset(left))
            told[guild_id] = known
        if told != self._told:
            await self._keep(told)
        return told

    async def _read(self) -> dict[int, _Told]:
        return _parsed(await self._state.get(_STATE)) if self._told is None else self._told

    async def _keep(self, told: dict[int, _Told]) -> None:
        rows = {
            guild_id: {"keys": one.keys, "news": sorted(one.news), "left": sorted(one.left)}
            for guild_id, one in told.items()
        }
        await self._state.put(_STATE, json.dumps(rows))
        self._told = dict(told)

    def _observed(self, guild_id: int) -> set[int]:
        """The channels of a guild that are observed now."""
        return {one.channel_id for one in self._observations.active(guild_id)}

    def _told_in(self, guild_id: int) -> str:
        told = (self._told or {}).get(guild_id)
        if told is None or (News.SERVICES in told.news and told.left & self._observed(guild_id) and not self._told_all):
            return "{}"
        return told.keys[News.SERVICES]

    def _has_left(self, guild_id: int) -> bool:
        return self._client.is_ready() and self._client.get_guild(guild_id) is None

    async def _post(self, channel_id: int, guild_id: int, news: set[News]) -> bool:
        try:
            place = self._client.get_channel(channel_id) or await self._client.fetch_channel(channel_id)
            if not isinstance(place, Observable):
                return False
            await self._notices.post(place, news_notice(self._notices.terms(guild_id), news))
        except UNREACHABLE as error:
            self._outages.began("terms_not_told", type(error).__name__, channel_id=channel_id)
            return False
        log.info("terms_told", guild_id=guild_id, channel_id=channel_id, news=sorted(news))
        return True


def _parsed(value: str | None) -> dict[int, _Told]:
    rows: dict[str, Any] = json.loads(value or "{}")
    return {
        int(guild_id): _Told(row["keys"], frozenset(row["news"]), frozenset(row["left"]))
        for guild_id, row in rows.items()
    }


def _of_old(formerly: dict[str, Any], keys: dict[str, str]) -> _Told:
    """What a guild knows that was told before more than the services was kept."""
    told = keys | {News.SERVICES: formerly["services"], News.CONSENT: "opt_out"}
    return _Told(told, frozenset({News.SERVICES}), frozenset(formerly["left"]))
