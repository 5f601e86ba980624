"""Checks of what Discord must grant: the token, the intent, the permissions in each channel, and the time it is there.

All of it is asked over REST with a client of its own, so that a bot at work is not disturbed.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp
import discord

from bot.capture.convert import Observable
from bot.capture.gateway import NOT_ACCEPTED, NOT_CONFIGURED, use_addresses
from bot.capture.visibility import lacking
from bot.checks import Check, Verdict, bounded, failed, passed, told, unchecked, warned
from bot.model import utcnow
from bot.settings import Settings, shown_url

DISCORD, INTENT, CLOCK, CHANNELS = "Discord", "Message content", "Clock", "Channels"

_SKEW, _MOST_SKEW = timedelta(seconds=5), timedelta(seconds=60)
_SECONDS = 3.0  # for all channels
_AT_ONCE = 5  # guilds asked about, within Discord's rate limits
_NOT_DISCORD = (discord.DiscordException, LookupError, TypeError, ValueError, AttributeError)
_ESSENTIAL = {"View Channel", "Read Message History"}  # without them there is nothing to remember
_REACH_IT = "Let this machine reach discord.com on port 443 (DNS, firewall, proxy), or correct discord.api_url."
_SWITCH_IT_ON = (
    "Switch on Message Content Intent for the bot (discord.com/developers/applications → Bot → Privileged Gateway"
    " Intents)."
)
_SET_THE_CLOCK = "Keep this machine's clock right by NTP (`timedatectl set-ntp true`)."
_ALLOW_IT = "In Discord, allow it to the bot's role under the channel's Permissions."


async def check_discord(
    settings: Settings, observed: Sequence[tuple[int, int]], clock: Callable[[], datetime] = utcnow
) -> list[Check]:
    """All of it; `observed` are the guilds and channels that are observed now, beside those of the settings."""
    token = settings.discord.token.get_secret_value()
    if not token or not token.isascii() or any(map(str.isspace, token)):
        refusal = told(DISCORD, Verdict.FAIL, NOT_ACCEPTED if token else NOT_CONFIGURED, "")
        return [refusal, *(unchecked(name, DISCORD) for name in (INTENT, CHANNELS, CLOCK))]
    use_addresses(settings.discord)
    time = _Time(clock)
    async with discord.Client(intents=discord.Intents(guilds=True), http_trace=time.trace()) as client:
        [entry] = await bounded(DISCORD, _sign_in(client, token, settings), _REACH_IT)
        if entry.verdict is not Verdict.PASS or client.user is None:
            return [entry, *(unchecked(name, DISCORD) for name in (INTENT, CHANNELS)), time.check()]
        looking = _check_channels(client, client.user.id, settings, observed)
        channels = await bounded(CHANNELS, looking, "Discord is slow or limits the rate: try later.", _SECONDS)
        return [entry, _check_intent(client), *channels, time.check()]


async def _sign_in(client: discord.Client, token: str, settings: Settings) -> list[Check]:
    where = shown_url(settings.discord.api_url)
    try:
        await client.login(token)
    except discord.LoginFailure:
        return [told(DISCORD, Verdict.FAIL, NOT_ACCEPTED, "")]
    except discord.HTTPException as error:
        if error.status == HTTPStatus.TOO_MANY_REQUESTS or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return [failed(DISCORD, f"{where} answered with error {error.status}", "Try later (discordstatus.com).")]
        return [failed(DISCORD, f"{where} answered with error {error.status}", "Correct discord.api_url.")]
    except (aiohttp.ClientError, OSError) as error:
        return [failed(DISCORD, f"{where} cannot be reached ({type(error).__name__})", _REACH_IT)]
    except _NOT_DISCORD:
        return [failed(DISCORD, f"{where} does not answer as Discord does", "Correct discord.api_url.")]
    return [passed(DISCORD, f"the token is that of {client.user}")]


def _check_intent(client: discord.Client) -> Check:
    """The limited flag is that of applications in fewer than 100 guilds, which need no review."""
    flags = client.application_flags
    if flags.gateway_message_content or flags.gateway_message_content_limited:
        return passed(INTENT, "the intent is switched on")
    return failed(INTENT, "the intent is switched off, so Discord would refuse the bot", _SWITCH_IT_ON)


@dataclass
class _Time:
    """How far our clock is from Discord's, by the `Date` header of its answers (whole seconds, in GMT)."""

    clock: Callable[[], datetime]
    skews: list[timedelta] = field(default_factory=list)

    def trace(self) -> aiohttp.TraceConfig:
        """To be handed to a client, whose every answer is then looked at."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        return trace

    async def _answered(self, _: Any, __: Any, answer: aiohttp.TraceRequestEndParams) -> None:
        with suppress(LookupError, TypeError, ValueError):  # none, or not a date
            self.skews.append(self.clock() - parsedate_to_datetime(answer.response.headers["Date"]))

    def check(self) -> Check:
        """By the answer that was under way for the shortest time."""
        if not self.skews:
            return unchecked(CLOCK, DISCORD)
        skew = min(self.skews, key=abs)
        seconds = round(abs(skew).total_seconds())
        if abs(skew) <= _SKEW:
            return passed(CLOCK, "agrees with Discord's")
        verdict = failed if abs(skew) > _MOST_SKEW else warned
        side = "ahead of" if skew > timedelta(0) else "behind"
        return verdict(CLOCK, f"this machine is {seconds:,} seconds {side} Discord", _SET_THE_CLOCK)


async def _check_channels(
    client: discord.Client, me_id: int, settings: Settings, observed: Sequence[tuple[int, int]]
) -> list[Check]:
    """A row for each guild in which a channel is observed or shall be, and for each id that leads nowhere."""
    known = {channel_id for _, channel_id in observed}
    wanted = [id for id in dict.fromkeys(settings.discord.observe) if id not in known]
    found = await asyncio.gather(*(_guild_of(client, id) for id in wanted))
    guilds: dict[int, list[int]] = {}
    for guild_id, channel_id in [*observed, *(one for one in found if not isinstance(one, Check))]:
        guilds.setdefault(guild_id, []).append(channel_id)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def check(guild_id: int) -> Check:
        async with gate:
            return await _Permissions(client, me_id, settings, known).check(guild_id, guilds[guild_id])

    checks = [one for one in found if isinstance(one, Check)]
    checks += await asyncio.gather(*map(check, guilds))
    return checks or [passed(CHANNELS, "none is observed yet; /setup and /observe on switch channels on")]


async def _guild_of(client: discord.Client, channel_id: int) -> tuple[int, int] | Check:
    """The guild of a channel that the settings name, and the channel."""
    try:
        channel = await client.fetch_channel(channel_id)
    except discord.Forbidden:
        return failed(CHANNELS, f"the bot may not view channel {channel_id}", _ALLOW_IT)
    except (discord.NotFound, discord.InvalidData):
        channel = None
    if not isinstance(channel, Observable):
        problem = f"discord.observe names {channel_id}, which is no text channel, forum or thread the bot can find"
        return failed(CHANNELS, problem, "Correct discord.observe, or invite the bot to that server.")
    return channel.guild.id, channel.id


class _Permissions:
    """What the bot may do in the channels of a guild. `known` are those that are observed already."""

    def __init__(self, client: discord.Client, me_id: int, settings: Settings, known: set[int]) -> None:
        self._client = client
        self._me_id = me_id
        self._settings = settings
        self._known = known

    async def check(self, guild_id: int, channel_ids: Sequence[int]) -> Check:
        """One row: whatever is missing somewhere, or that nothing is."""
        try:
            guild = await self._client.fetch_guild(guild_id, with_counts=False)
            me, channels = await asyncio.gather(guild.fetch_member(self._me_id), guild.fetch_channels())
        except (discord.NotFound, discord.Forbidden):
            fix = "Invite it again; else what is held of the server goes after retention.removed_guild_days."
            return warned(CHANNELS, f"the bot is not in server {guild_id}, whose channels are observed", fix)
        except discord.HTTPException as error:
            return failed(CHANNELS, f"Discord answered with error {error.status}", "Try again later.")
        name = f"{CHANNELS} of {guild.name}"
        here = {channel.id: channel for channel in channels}
        problems = [problem for id in channel_ids if (problem := await self._problem(guild, me, here, id))]
        if not problems:
            count = f"{len(channel_ids)} channel{'' if len(channel_ids) == 1 else 's'}"
            return passed(name, f"{count}: the bot may view, read the history and post")
        verdict = failed if any(one.grave for one in problems) else warned
        fixes = dict.fromkeys(one.fix for one in problems)
        return verdict(name, "; ".join(one.sentence for one in problems), " ".join(fixes))

    async def _problem(
        self, guild: discord.Guild, me: discord.Member, here: Mapping[int, discord.abc.GuildChannel], channel_id: int
    ) -> "_Problem | None":
        """What is in the way in one channel or thread."""
        place: Any = here.get(channel_id)
        if place is None:
            try:
                place = await guild.fetch_channel(channel_id)
            except discord.Forbidden:
                return _Problem(f"thread {channel_id} lacks View Channel", "Add the bot to the thread.", grave=True)
            except (discord.NotFound, discord.InvalidData):
                return _Problem(f"channel {channel_id} is not there any more", "`/observe off` ends that.", grave=False)
        in_thread = isinstance(place, discord.Thread)
        rules: Any = here.get(place.parent_id) if in_thread else place
        allowed: discord.Permissions = rules.permissions_for(me) if rules else discord.Permissions.none()
        missing = lacking(allowed, in_thread)
        if self._settings.ask.mentions and not missing and not allowed.embed_links:
            missing.append("Embed Links")
        is_new = channel_id not in self._known  # and is told first
        if is_new and rules and rules.is_nsfw() and not self._settings.discord.allow_age_restricted:
            return _Problem(f"#{place.name} is age-restricted", "Set discord.allow_age_restricted = true.", grave=True)
        if not missing:
            return None
        grave = _ESSENTIAL.union({"Send Messages"} if is_new else ()).intersection(missing)
        return _Problem(f"#{place.name} lacks {', '.join(missing)}", _ALLOW_IT, bool(grave))


class _Problem(NamedTuple):
    """Something in one place, what to do about it, and whether it keeps the bot from its work there."""

    sentence: str
    fix: str
    grave: bool
