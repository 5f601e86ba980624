"""/setup: a short guided start for those who manage the server. Nothing is changed before the last press."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, cast

import discord
from discord import ChannelType, SelectDefaultValue, SelectDefaultValueType, SelectOption, app_commands, ui

from bot.commands.access import manages, member
from bot.commands.configuring import CONSENT_FIELD, Option, State
from bot.commands.places import hidden
from bot.commands.replies import Interaction, Refused, show, think
from bot.commands.starting import NOT_ANY_MORE, Draft, Setups
from bot.commands.text import counted, cut
from bot.commands.views import OwnedView

MOST_CHANNELS = 25  # Discord's limit for a menu
MOST_ROLES = 20
TEXT_UNITS = 3_900  # of Discord's 4,096
DAYS = (7, 30, 90, 365)
FACT_DAYS = (0, 365)

_KINDS = [ChannelType.text, ChannelType.news, ChannelType.forum]
_CONSENT = {
    "opt_out": ("Everyone, until they opt out", "Members are told where I listen, and how to stay out"),
    "opt_in": ("Only those who agreed", "Nothing of a member is kept until they press the button on the notice"),
}
_PERSON_FACTS = {
    "self": ("Facts about people: from their own words", "What others say of somebody is left out"),
    "all": ("Facts about people: from anyone's words", "What others say of somebody is kept as their claim"),
    "none": ("No facts about people", "Only what concerns the server is noted"),
}


class Setup(OwnedView):
    """The steps, one after the other in one message; each shows what was chosen, first what holds now."""

    def __init__(self, asker: discord.Member, setups: Setups) -> None:
        super().__init__(asker)
        self._guild = asker.guild
        self._setups = setups
        self._opened = setups.configuring.now(asker.guild.id)
        self._draft = Draft((), self._opened)
        self._steps: Sequence[tuple[str, Callable[[], Awaitable[str]]]] = (
            ("Where I listen", self._channels),
            ("Whom I remember", self._consent),
            ("How long I keep it", self._retention),
            ("Who may ask, and facts about people", self._askers),
            ("Is this right?", self._summary),
        )
        self._at = 0

    async def turn(self, interaction: Interaction) -> None:
        """Show the step one is at. The interaction is deferred already."""
        if not manages(interaction):
            raise Refused(NOT_ANY_MORE)
        title, step = self._steps[self._at]
        self.clear_items()
        text = await step()  # adds its menus
        is_last = self._at == len(self._steps) - 1
        self.back.disabled = self._at == 0
        self.add_item(self.back).add_item(self.start if is_last else self.forth).add_item(self.cancel)
        title = f"Setup, step {self._at + 1} of {len(self._steps)}: {title}"
        await self.show(interaction, embeds=[discord.Embed(title=title, description=cut(text, TEXT_UNITS))])

    @ui.button(label="Back", row=4)
    async def back(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await self._go(interaction, -1)

    @ui.button(label="Next", style=discord.ButtonStyle.primary, row=4)
    async def forth(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await self._go(interaction, 1)

    @ui.button(label="Start", style=discord.ButtonStyle.success, row=4)
    async def start(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        self.stop()
        await interaction.response.defer()
        await self._setups.start(interaction, self._draft, self._opened)

    @ui.button(label="Cancel", row=4)
    async def cancel(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        self.stop()
        await show(interaction, "Nothing was changed.")

    async def _go(self, interaction: Interaction, by: int) -> None:
        await interaction.response.defer()
        self._at = max(0, min(self._at + by, len(self._steps) - 1))
        await self.turn(interaction)

    def choose(self, **values: Any) -> None:
        """Take values of `State` into the draft."""
        state = self._draft.state
        mode = values.pop(CONSENT_FIELD, state.mode)
        self._draft = replace(self._draft, state=State(replace(state.config, **values), mode))

    async def _channels(self) -> str:
        def take(ids: tuple[int, ...]) -> None:
            self._draft = replace(self._draft, channels=ids)

        self.add_item(_Channels(self._draft.channels, take))
        lines = [
            "Choose the channels and forums I should remember from now on. A notice is posted in each; `/backfill` "
            "reads what was said before."
        ]
        if observed := self._setups.observed(self._guild.id):
            lines.append(f"I remember already: {_mentions(observed)}. `/observe off` ends that.")
        return "\n".join([*lines, *self._remarks()])

    async def _consent(self) -> str:
        mode = self._draft.state.mode
        self.add_item(_Menu("Whom I remember", _options(_CONSENT, mode), lambda value: self.choose(consent=value)))
        return (
            f"Now: {self._opened.told(Option.CONSENT, self._guild)}.\n"
            "Whoever opts out is not remembered either way, and everyone can have me forget what I hold of them."
        )

    async def _retention(self) -> str:
        config = self._draft.state.config
        days = {value: f"Messages: {counted(value, 'day')}" for value in sorted({*DAYS, config.raw_days})}
        facts = {
            value: f"Facts: {counted(value, 'day')}" if value else "Facts: until they are forgotten"
            for value in sorted({*FACT_DAYS, config.facts_days})
        }
        self.add_item(
            _Menu("Messages", _numbers(days, config.raw_days), lambda value: self.choose(raw_days=int(value)))
        )
        self.add_item(
            _Menu("Facts", _numbers(facts, config.facts_days), lambda value: self.choose(facts_days=int(value)))
        )
        return (
            f"Now: {self._opened.told(Option.RETENTION, self._guild)}.\n"
            "Facts are what I note from messages, such as what was decided; they stay when the words themselves go."
        )

    async def _askers(self) -> str:
        config = self._draft.state.config
        standing = [id for id in config.asker_roles if self._guild.get_role(id)]  # Discord refuses a default it has not
        self.add_item(_Roles(standing, lambda ids: self.choose(asker_roles=ids)))
        options = _options(_PERSON_FACTS, config.person_facts)
        self.add_item(_Menu("Facts about people", options, lambda value: self.choose(person_facts=value)))
        return (
            f"Now: {self._opened.told(Option.ASKERS, self._guild)} may ask; facts about people are "
            f"{self._opened.told(Option.PERSON_FACTS, self._guild)}.\n"
            "Choose roles if only some members shall ask, none for everyone. Nobody is ever shown what they cannot "
            "read themselves, and everyone can see, correct and forget what is held of them."
        )

    async def _summary(self) -> str:
        state = self._draft.state
        channels, _ = self._setups.suitable(self._guild, self._draft.channels)
        observed = self._setups.observed(self._guild.id)
        places = f"{_mentions([channel.id for channel in channels])}, from now on" if channels else "no further channel"
        if observed:
            places += f"; as before {_mentions(observed)}"
        lines = [f"**I listen in**: {places}"]
        lines += [
            f"**{option.capitalize()}**: {state.told(option, self._guild)}"
            for option in (Option.CONSENT, Option.RETENTION, Option.ASKERS, Option.PERSON_FACTS)
        ]
        doubts = await self._setups.configuring.doubts(self._guild.id, self._opened, state)
        return "\n".join([*lines, *self._remarks(), *doubts, "`/config` changes any of it later. Nothing is done yet."])

    def _remarks(self) -> list[str]:
        """What there is to say of the chosen channels."""
        places, problems = self._setups.suitable(self._guild, self._draft.channels)
        return [
            *(f"⚠️ {problem} I leave it out." for problem in problems),
            *(
                f"{place.mention} is hidden from @everyone; I show what was said there only to who can read it."
                for place in places
                if hidden(place)
            ),
        ]


class _Menu(ui.Select[Setup]):
    def __init__(self, placeholder: str, options: list[SelectOption], take: Callable[[str], None]) -> None:
        super().__init__(placeholder=placeholder, options=options)
        self._take = take

    async def callback(self, interaction: Interaction) -> None:
        await _taken(self, interaction, lambda: self._take(self.values[0]))


class _Channels(ui.ChannelSelect[Setup]):
    def __init__(self, chosen: Sequence[int], take: Callable[[tuple[int, ...]], None]) -> None:
        super().__init__(
            placeholder="Channels",
            channel_types=_KINDS,
            min_values=0,
            max_values=MOST_CHANNELS,
            default_values=_defaults(chosen, SelectDefaultValueType.channel),
        )
        self._take = take

    async def callback(self, interaction: Interaction) -> None:
        await _taken(self, interaction, lambda: self._take(tuple(channel.id for channel in self.values)))


class _Roles(ui.RoleSelect[Setup]):
    def __init__(self, chosen: Sequence[int], take: Callable[[tuple[int, ...]], None]) -> None:
        super().__init__(
            placeholder="Everyone may ask",
            min_values=0,
            max_values=MOST_ROLES,
            default_values=_defaults(chosen, SelectDefaultValueType.role),
        )
        self._take = take

    async def callback(self, interaction: Interaction) -> None:
        everyone = member(interaction).guild.default_role.id
        ids = tuple(sorted(role.id for role in self.values))
        await _taken(self, interaction, lambda: self._take(() if everyone in ids else ids))


async def _taken(menu: ui.Item[Setup], interaction: Interaction, take: Callable[[], None]) -> None:
    await interaction.response.defer()
    take()
    await cast(Setup, menu.view).turn(interaction)


def setup_command(setups: Setups) -> app_commands.Command[Any, ..., None]:
    """`/setup`."""

    @app_commands.command(name="setup", description="Set me up step by step: where I listen, whom I remember, how long")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def command(interaction: Interaction) -> None:
        await think(interaction)
        await Setup(member(interaction), setups).turn(interaction)

    return command


def _options(choices: Mapping[str, tuple[str, str]], chosen: str) -> list[SelectOption]:
    return [
        SelectOption(label=name, description=description, value=value, default=value == chosen)
        for value, (name, description) in choices.items()
    ]


def _numbers(choices: Mapping[int, str], chosen: int) -> list[SelectOption]:
    return [SelectOption(label=name, value=str(value), default=value == chosen) for value, name in choices.items()]


def _defaults(ids: Sequence[int], kind: SelectDefaultValueType) -> list[SelectDefaultValue]:
    return [SelectDefaultValue(id=id, type=kind) for id in ids]


def _mentions(channel_ids: Sequence[int]) -> str:
    shown = " ".join(f"<#{id}>" for id in channel_ids[:MOST_CHANNELS])
    return f"{shown} and {len(channel_ids) - MOST_CHANNELS} more" if len(channel_ids) > MOST_CHANNELS else shown
