"""What a person's client makes of a command they type: it finds it, and encodes the options and what they name."""

from collections.abc import Mapping
from typing import Any

from bot.sandbox.discord import payloads
from bot.sandbox.discord.answers import NotAllowed
from bot.sandbox.discord.entities import Guild, Json, Place, User, id_of
from bot.sandbox.discord.permissions import P, Permission, guild_permissions
from bot.sandbox.discord.world import World

CHAT_INPUT, USER, MESSAGE = 1, 2, 3
STRING, INTEGER, BOOLEAN, USER_OPTION, CHANNEL, ROLE, MENTIONABLE, NUMBER = 3, 4, 5, 6, 7, 8, 9, 10
GUILD_CONTEXT = 0


def find_command(world: World, user: User, place: Place, name: str, kind: int = CHAT_INPUT) -> Json:
    """The command as this user sees it there. Raises LookupError if there is none, NotAllowed if it is hidden."""
    may = world.permissions_at(user, place)
    if P.VIEW_CHANNEL not in may:
        raise NotAllowed(f"{user.name} cannot see #{place.name}")
    if P.USE_APPLICATION_COMMANDS not in may:
        raise NotAllowed(f"{user.name} may not use commands in #{place.name}")
    registered = world.application.commands
    known = [*registered.get(place.guild.id, []), *registered.get(None, [])]
    command = next((c for c in known if c["name"] == name and c["type"] == kind), None)
    if command is None:
        raise LookupError(f"there is no command {name!r} among {sorted(c['name'] for c in known)}")
    _check_visible(command, user, place)
    return command


def _check_visible(command: Json, user: User, place: Place) -> None:
    contexts = command["contexts"]
    if contexts is not None and GUILD_CONTEXT not in contexts:
        raise NotAllowed(f"/{command['name']} does not exist in guilds")
    if command["nsfw"] and not place.channel.nsfw:
        raise NotAllowed(f"/{command['name']} exists in age-restricted channels only")
    needed = command["default_member_permissions"]
    if needed is None:
        return
    has = guild_permissions(place.guild, place.guild.members[user.id])
    # "0" hides a command from all but administrators.
    if P.ADMINISTRATOR not in has and (needed == "0" or Permission(int(needed)) not in has):
        raise NotAllowed(f"/{command['name']} is hidden from {user.name}")


def invocation(
    world: World, user: User, place: Place, path: str, values: Mapping[str, Any], focused: str | None = None
) -> Json:
    """The data of a chat input command: `path` is its name and those of its sub-commands, parted by spaces.

    With `focused`, the option being typed, it is the data of an autocomplete, whose values are not checked yet.
    Raises LookupError for unknown and ValueError for missing or refused options.
    """
    name, *below = path.split()
    command = find_command(world, user, place, name)
    leaf, parents = command, []
    for part in below:
        leaf = _named(leaf.get("options", []), part)
        parents.append(leaf)
    specs = leaf.get("options", [])
    if any(spec["type"] in (1, 2) for spec in specs):
        raise LookupError(f"/{path} needs a sub-command")
    given = {key: value for key, value in values.items() if value is not None}
    missing = [s["name"] for s in specs if s.get("required") and s["name"] not in given]
    if missing and focused is None:
        raise ValueError(f"/{path} needs {', '.join(missing)}")
    resolved: Json = {}
    options = []
    for key, value in given.items():
        spec = _named(specs, key)
        option = {"name": key, "type": spec["type"], "value": _encoded(world, place.guild, spec, value, resolved)}
        if focused is None:
            _check_value(spec, option["value"], resolved)
        elif key == focused:
            option["focused"] = True
        options.append(option)
    for parent in reversed(parents):
        options = [{"name": parent["name"], "type": parent["type"], "options": options}]
    return _data(command) | {"options": options, "resolved": resolved}


def target_invocation(command: Json, target_id: int, resolved: Json) -> Json:
    """The data of a context menu command."""
    return _data(command) | {"target_id": str(target_id), "resolved": resolved}


def resolve(world: World, guild: Guild, kind: int, value: Any, resolved: Json) -> str:
    """Put a user, role or channel into resolved data; returns its id. Raises LookupError if there is none."""
    thing_id = id_of(value)
    key = str(thing_id)
    if kind in (USER_OPTION, MENTIONABLE) and thing_id in world.users:
        resolved.setdefault("users", {})[key] = payloads.user(world.users[thing_id])
        if member := guild.members.get(thing_id):
            permissions = guild_permissions(guild, member)
            resolved.setdefault("members", {})[key] = payloads.member(member, permissions, with_user=False)
    elif kind in (ROLE, MENTIONABLE) and thing_id in guild.roles:
        resolved.setdefault("roles", {})[key] = payloads.role(guild.roles[thing_id])
    elif kind == CHANNEL and (place := guild.channels.get(thing_id) or guild.threads.get(thing_id)):
        permissions = world.permissions_at(world.bot, place)
        resolved.setdefault("channels", {})[key] = payloads.interaction_place(place, permissions)
    else:
        raise LookupError(f"{value!r} is nothing that can be chosen here")
    return key


def _data(command: Json) -> Json:
    data = {"id": command["id"], "name": command["name"], "type": command["type"]}
    return data | ({"guild_id": command["guild_id"]} if "guild_id" in command else {})


def _named(specs: list[Json], name: str) -> Json:
    for spec in specs:
        if spec["name"] == name:
            return spec
    raise LookupError(f"there is no option {name!r} among {[spec['name'] for spec in specs]}")


def _encoded(world: World, guild: Guild, spec: Json, value: Any, resolved: Json) -> Any:
    match spec["type"]:
        case kind if kind in (USER_OPTION, CHANNEL, ROLE, MENTIONABLE):
            return resolve(world, guild, kind, value, resolved)
        case kind if kind == BOOLEAN:
            return bool(value)
        case kind if kind == STRING:
            chosen = [c["value"] for c in spec.get("choices") or [] if c["name"] == value]
            return chosen[0] if chosen else str(value)
        case _:
            return value


def _check_value(spec: Json, value: Any, resolved: Json) -> None:
    name, choices = spec["name"], [choice["value"] for choice in spec.get("choices") or []]
    if choices and value not in choices:
        raise ValueError(f"{name} must be one of {choices}")
    size = len(value) if spec["type"] == STRING else value
    bounds = ("min_length", "max_length") if spec["type"] == STRING else ("min_value", "max_value")
    least, most = (spec.get(bound) for bound in bounds)
    if (least is not None and size < least) or (most is not None and size > most):
        raise ValueError(f"{name} must be between {least} and {most}")
    kinds = spec.get("channel_types")
    if kinds and resolved["channels"][value]["type"] not in kinds:
        raise ValueError(f"{name} must be a channel of the types {kinds}")
