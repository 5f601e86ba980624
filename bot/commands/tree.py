"""All commands in one tree, with one place where failures end."""

import asyncio
from time import perf_counter

import discord
from discord import app_commands

from bot.commands.ask import ask_command
from bot.commands.audit import audit_command
from bot.commands.backfill import Backfills, backfill_command
from bot.commands.catchup import CatchUps, catchup_command
from bot.commands.config import ConfigCommands
from bot.commands.consent_button import ConsentButtons, Deciding
from bot.commands.doubts import Review
from bot.commands.export import Exports
from bot.commands.fixing import Fixing
from bot.commands.flush import flush_command
from bot.commands.forget import Forgetting, forget_command
from bot.commands.memory import MemoryCommands
from bot.commands.menus import MessageMenu, menus
from bot.commands.observe import ObserveCommands
from bot.commands.privacy import PrivacyCommands
from bot.commands.purge import Purges, purge_command
from bot.commands.recall import recall_command
from bot.commands.replies import Interaction, fail, own, reason, tell
from bot.commands.services import Services
from bot.commands.setup import setup_command
from bot.commands.starting import Setups
from bot.commands.status import status_card, status_command
from bot.commands.switching import Switching
from bot.commands.translations import Translations
from bot.commands.views import EXPIRED, is_live
from bot.meters import Meters


class Tree(app_commands.CommandTree[discord.Client]):
    """Commands of a server: whatever goes wrong is one private sentence to whoever asked."""

    def __init__(self, client: discord.Client, meters: Meters) -> None:
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=False, private_channel=False),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        )
        self._translations = Translations()
        self._meters = meters

    async def sync(self, *, guild: discord.abc.Snowflake | None = None) -> list[app_commands.AppCommand]:
        """Tell Discord of the commands, in every language there is."""
        if self.translator is None:
            await self.set_translator(self._translations)
        return await super().sync(guild=guild)

    async def interaction_check(self, interaction: Interaction) -> bool:
        own(interaction)
        self._time(interaction)
        if interaction.guild_id is None:
            raise app_commands.NoPrivateMessage
        return True

    async def on_error(self, interaction: Interaction, error: app_commands.AppCommandError) -> None:
        if interaction.type is discord.InteractionType.application_command:
            self._meters.command_failures.add(1, _name(interaction), reason(error))
            await fail(interaction, error)

    def expect_bugs(self) -> None:
        """Count from 0 for every command, so that its first failure is an increase that can be noticed."""
        for kind in discord.AppCommandType:
            for command in self.walk_commands(type=kind):
                if not isinstance(command, app_commands.Group):
                    self._meters.command_failures.add(0, command.qualified_name, "unexpected")

    def _time(self, interaction: Interaction) -> None:
        """Count how long a command takes: until the task that answers it is done."""
        if interaction.type is discord.InteractionType.application_command and (task := asyncio.current_task()):
            began, name = perf_counter(), _name(interaction)
            task.add_done_callback(lambda _: self._meters.command_seconds.observe(perf_counter() - began, name))


def _name(interaction: Interaction) -> str:
    """The command's name; Discord may know one that is gone."""
    return interaction.command.qualified_name if interaction.command else "unknown"


def build_tree(client: discord.Client, services: Services) -> Tree:
    """The tree with every command; also lets `client` answer presses on buttons of long ago."""
    tree = Tree(client, services.meters)
    forgetting = Forgetting(
        services.forget,
        services.recall,
        services.held,
        services.facts,
        services.visibility,
        services.consent,
        services.audit,
    )
    tree.add_command(
        recall_command(
            services.recall,
            services.visibility,
            forgetting,
            services.configs,
            services.observations,
            services.settings.recall.limit,
            services.clock,
        )
    )
    tree.add_command(
        ask_command(
            services.asking,
            services.recall,
            services.visibility,
            forgetting,
            services.configs,
            services.observations,
            services.limit,
            services.settings.recall.limit,
        )
    )
    tree.add_command(
        forget_command(
            forgetting, services.recall, services.visibility, services.messages, services.facts, services.keyword
        )
    )
    catch_ups = CatchUps(
        services.spoken,
        services.recall,
        services.visibility,
        services.observations,
        services.questions,
        services.limit,
        services.settings.ask,
    )
    tree.add_command(catchup_command(catch_ups, services.configs, services.clock))
    fixing = Fixing(
        services.corrections,
        services.recall,
        services.held,
        services.facts,
        services.visibility,
        services.configs,
        services.audit,
    )
    memory = MemoryCommands(
        services.own,
        services.recall,
        services.keyword,
        services.visibility,
        services.configs,
        forgetting,
        fixing,
        Exports(services.own, services.consent, services.audit, services.clock),
        services.clock,
    )
    tree.add_command(memory)
    message_menu = MessageMenu(
        services.keepsakes,
        services.messages,
        services.facts,
        services.observer,
        services.recall,
        services.visibility,
        services.consent,
        forgetting,
        services.configs,
        services.audit,
    )
    for menu in menus(message_menu, memory):
        tree.add_command(menu)
    deciding = Deciding(services.consent, services.audit, forgetting)
    tree.add_command(
        PrivacyCommands(
            services.consent,
            services.observations,
            services.facts,
            services.own,
            services.visibility,
            services.notices,
            deciding,
        )
    )
    client.add_view(ConsentButtons(deciding))
    backfills = Backfills(
        services.observations,
        services.catchup,
        services.notices,
        services.audit,
        services.settings,
        services.clock,
    )
    switching = Switching(
        services.observations, services.notices, services.audit, services.settings, services.catchup.switched_on
    )
    tree.add_command(ObserveCommands(services.observations, switching, backfills, services.audit, services.settings))
    tree.add_command(backfill_command(backfills))

    async def review(interaction: Interaction) -> None:
        await Review(interaction.user, services.doubts, services.forget, services.audit).turn(interaction)

    tree.add_command(status_command(services.status, review, services.settings.alerts.oldest_waiting, services.clock))
    tree.add_command(flush_command(services.worker, services.messages, lambda: services.observer.refused))
    tree.add_command(audit_command(services.audit))
    tree.add_command(ConfigCommands(services.configuring))
    purges = Purges(services.forget, services.visibility, services.observations, services.audit)
    tree.add_command(purge_command(purges, services.clock))

    async def status(guild_id: int) -> discord.Embed:
        patience = services.settings.alerts.oldest_waiting
        return status_card(await services.status(guild_id), services.clock(), patience)

    setups = Setups(services.observations, switching, services.configuring, status, services.settings.discord)
    tree.add_command(setup_command(setups))
    tree.expect_bugs()
    client.event(on_interaction)
    return tree


async def on_interaction(interaction: Interaction) -> None:
    """A view or form that lives has taken its press before this event arrives; any other is from before a restart."""
    pressed = interaction.type in (discord.InteractionType.component, discord.InteractionType.modal_submit)
    if pressed and not is_live(interaction):
        await tell(interaction, EXPIRED)
