"""What /config changes, and what it asks first: a change that deletes, or breaks a promise, takes a second look."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import discord

from bot.capture.client import Client
from bot.commands.access import manages, member
from bot.commands.audit import note
from bot.commands.languages import language_name
from bot.commands.news import TermsNews
from bot.commands.replies import Interaction, Refused, show
from bot.commands.text import counted
from bot.commands.views import Confirm
from bot.storage.audit import Action, Audit
from bot.storage.consent import Consent
from bot.storage.guild_configs import ConsentMode, GuildConfig, GuildConfigs
from bot.storage.observations import Observations
from bot.storage.retraction import Retraction

CONSENT_FIELD = "consent"


class Option(StrEnum):
    """What can be set, as people call it."""

    CONSENT = "consent"
    PERSON_FACTS = "facts about people"
    SENSITIVE = "sensitive things"
    RETENTION = "retention"
    LANGUAGE = "language"
    ABOUT_OTHERS = "questions about others"
    MENTIONS = "mentions"
    ASKERS = "who may ask"


FIELDS: Mapping[Option, tuple[str, ...]] = {
    Option.CONSENT: (CONSENT_FIELD,),
    Option.PERSON_FACTS: ("person_facts",),
    Option.SENSITIVE: ("drop_sensitive",),
    Option.RETENTION: ("raw_days", "facts_days"),
    Option.LANGUAGE: ("language",),
    Option.ABOUT_OTHERS: ("about_others",),
    Option.MENTIONS: ("mentions",),
    Option.ASKERS: ("asker_roles",),
}

_PERSON_FACTS = {
    "self": "noted from that person's own words only",
    "all": "noted from anyone's words",
    "none": "not noted",
}


@dataclass(frozen=True, slots=True)
class State:
    """What holds for a guild."""

    config: GuildConfig
    mode: ConsentMode

    def told(self, option: Option, guild: discord.Guild) -> str:
        """The value of an option of this guild, in words."""
        config = self.config
        match option:
            case Option.CONSENT:
                asks = "only members who agreed are remembered"
                return asks if self.mode == "opt_in" else "everyone is remembered until they opt out"
            case Option.PERSON_FACTS:
                return _PERSON_FACTS[config.person_facts]
            case Option.SENSITIVE:
                return "left out" if config.drop_sensitive else "remembered like anything else"
            case Option.RETENTION:
                facts = f"for {counted(config.facts_days, 'day')}" if config.facts_days else "until they are forgotten"
                return f"messages are kept for {counted(config.raw_days, 'day')}, facts {facts}"
            case Option.LANGUAGE:
                return language_name(config.language)
            case Option.ABOUT_OTHERS:
                return "answered from what the asker can read" if config.about_others else "not answered"
            case Option.MENTIONS:
                return "answered for everyone in the channel" if config.mentions else "not answered"
            case Option.ASKERS:
                roles = [f"<@&{role}>" for role in config.asker_roles if guild.get_role(role)]
                if len(roles) < len(config.asker_roles):
                    roles.append("a role that no longer exists")
                return ", ".join(roles) or "everyone"


class Configuring:
    """The settings of each guild, for those who manage it. `language_changed` hears that a guild speaks another."""

    def __init__(
        self,
        configs: GuildConfigs,
        consent: Consent,
        observations: Observations,
        retraction: Retraction,
        news: TermsNews,
        audit: Audit,
        language_changed: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._configs = configs
        self._consent = consent
        self._observations = observations
        self._retraction = retraction
        self._news = news
        self._audit = audit
        self._language_changed = language_changed
        self._clock = clock

    def now(self, guild_id: int) -> State:
        """What holds now."""
        return State(self._configs.of(guild_id), self._consent.mode(guild_id))

    def is_own(self, guild_id: int, option: Option) -> bool:
        """Whether an option was set for this guild."""
        if option is Option.CONSENT:
            return self._consent.is_own_mode(guild_id)
        return not self._configs.own(guild_id).isdisjoint(FIELDS[option])

    async def set(self, interaction: Interaction, option: Option, values: Mapping[str, Any]) -> None:
        """Change the fields of an option, after a second look if need be. The interaction is deferred already."""
        guild_id = member(interaction).guild.id
        before = self.now(guild_id)
        config = replace(before.config, **{name: value for name, value in values.items() if name != CONSENT_FIELD})
        after = State(config, values.get(CONSENT_FIELD, before.mode))
        if before == after and self.is_own(guild_id, option):
            await show(interaction, f"Nothing changes. {_sentence(option, before, member(interaction).guild)}")
            return

        async def change(press: Interaction) -> None:
            await self._write(press, option, values)

        await self._ask(interaction, option, before, after, change)

    async def reset(self, interaction: Interaction, option: Option) -> None:
        """Have an option be as the settings say again, after a second look if need be; as `set`."""
        guild_id = member(interaction).guild.id
        before = self.now(guild_id)
        if not self.is_own(guild_id, option):
            holds = _sentence(option, before, member(interaction).guild)
            await show(interaction, f"This server has no setting of its own there. {holds}")
            return
        default = self._configs.default(guild_id)
        config = replace(before.config, **{name: getattr(default, name) for name in self._fields(option)})
        after = State(config, self._consent.default_mode if option is Option.CONSENT else before.mode)

        async def change(press: Interaction) -> None:
            if option is Option.CONSENT:
                await self._consent.set_mode(guild_id, None, press.created_at)
            else:
                await self._configs.reset(guild_id, FIELDS[option])

        await self._ask(interaction, option, before, after, change)

    async def change(self, press: Interaction, changes: Mapping[Option, Mapping[str, Any]]) -> None:
        """Change the fields of several options at once, without a second look. Raises `StorageUnavailable`."""
        guild_id = member(press).guild.id
        before = self.now(guild_id)
        await self._news.know(guild_id)
        for option, values in changes.items():
            await self._write(press, option, values)
        await self._changed(press, changes, before)

    async def _write(self, press: Interaction, option: Option, values: Mapping[str, Any]) -> None:
        guild_id = member(press).guild.id
        if option is Option.CONSENT:
            await self._consent.set_mode(guild_id, values[CONSENT_FIELD], press.created_at)
        else:
            await self._configs.change(guild_id, values)

    async def _changed(self, press: Interaction, options: Iterable[Option], before: State) -> None:
        """Note what is changed now, and tell those whom it concerns."""
        guild_id = member(press).guild.id
        after = self.now(guild_id)
        for option in options:
            told = after.told(option, member(press).guild)
            await note(self._audit, guild_id, press.user.id, Action.CONFIGURED, name=option, value=told)
        if before.config.language != after.config.language:
            self._language_changed()
        await self._news.know(guild_id)  # that channels switched on from now on are told these terms
        self._announce(press)

    async def _ask(
        self,
        interaction: Interaction,
        option: Option,
        before: State,
        after: State,
        change: Callable[[Interaction], Any],
    ) -> None:
        guild_id = member(interaction).guild.id

        async def act(press: Interaction) -> str:
            if not manages(press):  # again: a confirmation may come minutes later
                raise Refused("You may not change this any more.")
            await self._news.know(guild_id)
            await change(press)
            await self._changed(press, [option], before)
            return f"Done. {_sentence(option, self.now(guild_id), member(press).guild)}"

        doubts = await self.doubts(guild_id, before, after)
        if doubts:
            becomes = f"This would become: **{option.capitalize()}** - {after.told(option, member(interaction).guild)}."
            question = " ".join([becomes, *doubts, "Shall I change it?"])
            await Confirm(interaction.user, "Change it", act).show(interaction, question)
        else:
            await show(interaction, await act(interaction))

    async def doubts(self, guild_id: int, before: State, after: State) -> list[str]:
        """What someone should know before they decide, none if nothing is lost and nobody was told otherwise."""
        doubts = []
        old, new = before.config, after.config
        if (old.raw_days, old.facts_days) != (new.raw_days, new.facts_days):
            now = self._clock()
            facts_before = now - timedelta(days=new.facts_days) if new.facts_days else None
            (messages, _), (facts, _) = await self._retraction.past(
                guild_id, now - timedelta(days=new.raw_days), facts_before
            )
            if messages or facts:
                doubts.append(
                    f"{counted(messages, 'message')} and {counted(facts, 'fact')} are older than that already and go "
                    "within the hour, for good."
                )
            doubts.append(self._told_where(guild_id))
        if before.mode != after.mode:
            doubts.append(self._on_consent(guild_id, after.mode))
        if old.language != new.language:
            (_, messages), (_, facts) = await self._retraction.past(guild_id, self._clock(), None)
            doubts.append(
                f"I prepare {counted(messages + facts, 'memory', 'memories')} again in the background (about a minute "
                "for 10,000); until then I search in both languages."
            )
        return [doubt for doubt in doubts if doubt]

    def _on_consent(self, guild_id: int, mode: ConsentMode) -> str:
        told = self._told_where(guild_id)
        if mode == "opt_out":
            return f"I will remember everyone who has not opted out, whether they agreed or not. {told}"
        agreed = counted(self._consent.agreed(guild_id), "member has", "members have")
        return (
            f"{agreed} agreed so far; of all others I keep nothing more until they press the button on the notice. "
            f"What I hold of them stays; `/purge` removes it. {told}"
        )

    def _told_where(self, guild_id: int) -> str:
        channels = len({one.channel_id for one in self._observations.active(guild_id)})
        return f"The members of {counted(channels, 'observed channel')} are told there." if channels else ""

    def _fields(self, option: Option) -> tuple[str, ...]:
        return () if option is Option.CONSENT else FIELDS[option]

    def _announce(self, press: Interaction) -> None:
        """Tell the members in the background: there may be many channels, and Discord takes its time."""
        task = asyncio.create_task(self._news.tell_change(member(press).guild.id), name="telling news")
        if isinstance(press.client, Client):
            press.client.keep(task)


def _sentence(option: Option, state: State, guild: discord.Guild) -> str:
    return f"**{option.capitalize()}**: {state.told(option, guild)}."
