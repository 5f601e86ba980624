"""The page that lists every command, written from the commands themselves."""

from collections.abc import Iterable, Iterator
from typing import Any

import discord
from discord import app_commands

Command = app_commands.Command[Any, ..., Any]

HEADER = """\
# Commands

This page is written by `make docs` from the commands themselves. All of them work in servers only, and answers are \
for whoever asked unless it says otherwise. Arguments in brackets may be left out.
"""
MEMBERS = """\
## For every member
"""
ADMINS = """\
## For admins
Discord shows these to members with the permission *Manage Server*; an admin can change who sees a command under \
*Server Settings → Integrations*.
"""
MENUS = """\
## In menus
Right-click a message or a member, or press and hold it, and choose *Apps*.

| menu | entry | who |
|---|---|---|
"""
_KINDS = {
    discord.AppCommandOptionType.string: "text",
    discord.AppCommandOptionType.integer: "whole number",
    discord.AppCommandOptionType.number: "number",
    discord.AppCommandOptionType.boolean: "yes or no",
    discord.AppCommandOptionType.user: "member",
    discord.AppCommandOptionType.channel: "channel",
    discord.AppCommandOptionType.role: "role",
    discord.AppCommandOptionType.mentionable: "member or role",
    discord.AppCommandOptionType.attachment: "file",
}
_MENU_KINDS = {discord.AppCommandType.user: "member", discord.AppCommandType.message: "message"}


def reference(tree: app_commands.CommandTree[Any]) -> str:
    """The page as Markdown."""
    commands = sorted(_commands(tree.get_commands()), key=lambda command: command.qualified_name)
    members = [command for command in commands if not _restricted(command)]
    admins = [command for command in commands if _restricted(command)]
    parts = [HEADER, MEMBERS, *map(_section, members), ADMINS, *map(_section, admins)]
    if menus := sorted(_menus(tree), key=lambda menu: (menu.type.value, menu.name)):
        parts.append(MENUS + "".join(map(_menu_row, menus)))
    return "\n".join(parts)


def _commands(entries: Iterable[Command | app_commands.Group | app_commands.ContextMenu]) -> Iterator[Command]:
    for entry in entries:
        if isinstance(entry, app_commands.Group):
            yield from _commands(entry.commands)
        elif isinstance(entry, app_commands.Command):
            yield entry


def _menus(tree: app_commands.CommandTree[Any]) -> Iterator[app_commands.ContextMenu]:
    for kind in _MENU_KINDS:
        yield from (menu for menu in tree.get_commands(type=kind) if isinstance(menu, app_commands.ContextMenu))


def _restricted(command: Command) -> bool:
    """Whether Discord hides it from plain members: Discord looks at the outermost command only."""
    outermost = command.root_parent or command
    return outermost.default_permissions is not None


def _section(command: Command) -> str:
    named = " ".join(_argument(option) for option in command.parameters)
    lines = [f"### `/{f'{command.qualified_name} {named}'.strip()}`", f"{command.description}.", ""]
    lines += [f"- `{o.display_name}` ({_takes(o)}): {o.description}" for o in command.parameters]
    return "\n".join([*lines, ""] if command.parameters else lines)


def _argument(option: app_commands.Parameter) -> str:
    return option.display_name if option.required else f"[{option.display_name}]"


def _takes(option: app_commands.Parameter) -> str:
    """What may be given: a kind of thing, within its bounds, or one of the choices."""
    if option.choices:
        return " · ".join(choice.name for choice in option.choices)
    least, most = option.min_value, option.max_value
    kind = _KINDS[option.type]
    if option.type is discord.AppCommandOptionType.channel and option.channel_types:
        return "channel or thread" if any(_is_thread(kind) for kind in option.channel_types) else kind
    if option.type is discord.AppCommandOptionType.string:
        return f"{kind}, up to {most:,} characters" if most is not None else kind
    if least is not None and most is not None:
        return f"{kind}, {least:,} to {most:,}"
    return kind


def _is_thread(kind: discord.ChannelType) -> bool:
    return kind.name.endswith("_thread")


def _menu_row(menu: app_commands.ContextMenu) -> str:
    who = "admins" if menu.default_permissions is not None else "every member"
    return f"| {_MENU_KINDS[menu.type]} | *{menu.name}* | {who} |\n"
