"""/config: how this server is remembered, where it differs from the settings."""

import discord
from discord import app_commands

from bot.commands.access import member
from bot.commands.configuring import CONSENT_FIELD, Configuring, Option
from bot.commands.languages import language_meant, suggestions
from bot.commands.replies import Interaction, Refused, show, think

LONGEST_DAYS = 3650
MOST_ROLES = 20
MOST_CHOICES = 25

Choice = app_commands.Choice[str]
Days = app_commands.Range[int, 1, LONGEST_DAYS]
DaysOrEver = app_commands.Range[int, 0, LONGEST_DAYS]


class ConfigCommands(app_commands.Group):
    """`/config show`, `set` and `reset`, for those who manage the server."""

    def __init__(self, configuring: Configuring) -> None:
        super().__init__(
            name="config",
            description="How I remember this server",
            default_permissions=discord.Permissions(manage_guild=True),
        )
        self._configuring = configuring
        self.add_command(SetCommands(configuring))

    @app_commands.command(name="show", description="What is set for this server, and what follows the defaults")
    @app_commands.checks.has_permissions(manage_guild=True)
    async def show(self, interaction: Interaction) -> None:
        await think(interaction)
        guild = member(interaction).guild
        state = self._configuring.now(guild.id)
        lines = []
        for option in Option:
            whose = "this server's own" if self._configuring.is_own(guild.id, option) else "default"
            lines.append(f"**{option.capitalize()}**: {state.told(option, guild)} ({whose})")
        lines.append("`/config set` changes a setting, `/config reset` takes it back to the default.")
        embed = discord.Embed(title="How I remember this server", description="\n".join(lines))
        await show(interaction, embeds=[embed])

    @app_commands.command(name="reset", description="Set one setting of this server back to its default")
    @app_commands.describe(setting="Which setting")
    @app_commands.choices(setting=[Choice(name=option, value=option) for option in Option])
    @app_commands.checks.has_permissions(manage_guild=True)
    async def reset(self, interaction: Interaction, setting: str) -> None:
        await think(interaction)
        await self._configuring.reset(interaction, Option(setting))


class SetCommands(app_commands.Group):
    """`/config set …`, a command for each setting."""

    def __init__(self, configuring: Configuring) -> None:
        super().__init__(name="set", description="Change how I remember this server")
        self._configuring = configuring

    @app_commands.command(description="Whether members are remembered until they object, or once they agree")
    @app_commands.describe(mode="Whom I remember; members are told where I listen")
    @app_commands.choices(
        mode=[
            Choice(name="Everyone, until they opt out", value="opt_out"),
            Choice(name="Only those who agreed", value="opt_in"),
        ]
    )
    @app_commands.checks.has_permissions(manage_guild=True)
    async def consent(self, interaction: Interaction, mode: Choice) -> None:
        await think(interaction)
        await self._configuring.set(interaction, Option.CONSENT, {CONSENT_FIELD: mode.value})

    @app_commands.command(name="person-facts", description="From whose words I note facts about a person")
    @app_commands.describe(whose="Whose words count")
    @app_commands.choices(
        whose=[
            Choice(name="Their own words only", value="self"),
            Choice(name="Anyone's words", value="all"),
            Choice(name="Note no facts about people", value="none"),
        ]
    )
    @app_commands.checks.has_permissions(manage_guild=True)
    async def person_facts(self, interaction: Interaction, whose: Choice) -> None:
        await think(interaction)
        await self._configuring.set(interaction, Option.PERSON_FACTS, {"person_facts": whose.value})

    @app_commands.command(description="Whether I leave out what is said about health, faith, politics and the like")
    @app_commands.describe(things="What becomes of messages and facts on such things, from now on")
    @app_commands.choices(
        things=[
            Choice(name="Leave them out", value="drop"),
            Choice(name="Remember them like anything else", value="keep"),
        ]
    )
    @app_commands.checks.has_permissions(manage_guild=True)
    async def sensitive(self, interaction: Interaction, things: Choice) -> None:
        await think(interaction)
        await self._configuring.set(interaction, Option.SENSITIVE, {"drop_sensitive": things.value == "drop"})

    @app_commands.command(description="For how many days I keep messages and facts")
    @app_commands.describe(
        messages="After how many days a message is removed; the facts noted from it stay",
        facts="After how many days a fact is removed; 0 keeps facts until somebody has me forget them",
    )
    @app_commands.checks.has_permissions(manage_guild=True)
    async def retention(
        self, interaction: Interaction, messages: Days | None = None, facts: DaysOrEver | None = None
    ) -> None:
        await think(interaction)
        days = {"raw_days": messages, "facts_days": facts}
        values = {name: value for name, value in days.items() if value is not None}
        if not values:
            raise Refused("Say for how many days: give `messages`, `facts` or both.")
        await self._configuring.set(interaction, Option.RETENTION, values)

    @app_commands.command(description="The language mostly spoken here, so that I find other forms of a word, too")
    @app_commands.describe(language="Type the first letters and pick one of the suggestions")
    @app_commands.checks.has_permissions(manage_guild=True)
    async def language(self, interaction: Interaction, language: str) -> None:
        await think(interaction)
        value = language_meant(language)
        if value is None:
            raise Refused("I do not know that language; pick one of those that are offered while you type.")
        await self._configuring.set(interaction, Option.LANGUAGE, {"language": value})

    @language.autocomplete("language")
    async def suggest(self, interaction: Interaction, current: str) -> list[Choice]:
        return [Choice(name=name, value=name) for name in suggestions(current)[:MOST_CHOICES]]

    @app_commands.command(name="about-others", description="Whether members may ask what is known about another member")
    @app_commands.describe(allowed="True to allow it; answers come only from what the asker can read")
    @app_commands.checks.has_permissions(manage_guild=True)
    async def about_others(self, interaction: Interaction, allowed: bool) -> None:
        await think(interaction)
        await self._configuring.set(interaction, Option.ABOUT_OTHERS, {"about_others": allowed})

    @app_commands.command(description="Whether I answer when somebody mentions me, for everyone in the channel")
    @app_commands.describe(allowed="True to answer; answers hold only what everyone in the channel can read")
    @app_commands.checks.has_permissions(manage_guild=True)
    async def mentions(self, interaction: Interaction, allowed: bool) -> None:
        await think(interaction)
        await self._configuring.set(interaction, Option.MENTIONS, {"mentions": allowed})

    @app_commands.command(description="Which roles may ask for memories; without any role everyone may")
    @app_commands.describe(add="A role whose members may ask", remove="A role whose members may ask no longer")
    @app_commands.checks.has_permissions(manage_guild=True)
    async def askers(
        self, interaction: Interaction, add: discord.Role | None = None, remove: discord.Role | None = None
    ) -> None:
        await think(interaction)
        asker = member(interaction)
        if add is None and remove is None:
            raise Refused("Say which role: give `add`, `remove` or both.")
        standing = [id for id in self._configuring.now(asker.guild.id).config.asker_roles if asker.guild.get_role(id)]
        roles = {*standing, *([add.id] if add else [])} - ({remove.id} if remove else set())
        if add and add.is_default():
            roles = set()
        if len(roles) > MOST_ROLES:
            raise Refused(f"At most {MOST_ROLES} roles can be named.")
        await self._configuring.set(interaction, Option.ASKERS, {"asker_roles": tuple(sorted(roles))})
