"""Acting as a user: commands, autocomplete, context menus, buttons, selects and modals."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from bot.sandbox.discord import payloads
from bot.sandbox.discord.answers import Answer, NotAllowed
from bot.sandbox.discord.components import Select, buttons_of, selects_of, text_inputs_of
from bot.sandbox.discord.entities import Json, Message, Place, Ref, User, id_of
from bot.sandbox.discord.interactions import Interaction, InteractionKind, Interactions
from bot.sandbox.discord.invocation import (
    CHANNEL,
    MENTIONABLE,
    MESSAGE,
    ROLE,
    USER,
    USER_OPTION,
    find_command,
    invocation,
    resolve,
    target_invocation,
)
from bot.sandbox.discord.limits import BUTTON, LABEL, STRING_SELECT, TEXT_INPUT
from bot.sandbox.discord.permissions import P
from bot.sandbox.discord.world import World

# Which kind of thing each select menu lets one choose, by component type.
_SELECTED = {5: USER_OPTION, 6: ROLE, 7: MENTIONABLE, 8: CHANNEL}

Meanwhile = Callable[[], None]
"""What happens between someone's use of a command and the bot's hearing of it."""


def _nothing() -> None:
    """The usual."""


class Acting:
    """The hands of all users. `deadline` is how long the bot has for its first response."""

    def __init__(self, world: World, interactions: Interactions) -> None:
        self.deadline = timedelta(seconds=3)
        self._world = world
        self._interactions = interactions

    async def slash(
        self, user: Ref, place: Ref, path: str, options: dict[str, Any], meanwhile: Meanwhile = _nothing
    ) -> Answer:
        """Type a command; returns when the bot has responded, or did not in time."""
        who, where = self._user(user), self._world.place(place)
        data = invocation(self._world, who, where, path, options)
        meanwhile()
        return await self._act(self._interactions.new(InteractionKind.COMMAND, who, where, name=path), data)

    async def autocomplete(
        self, user: Ref, place: Ref, path: str, option: str, typed: str, options: dict[str, Any]
    ) -> Answer:
        """Type into one option of a command."""
        who, where = self._user(user), self._world.place(place)
        data = invocation(self._world, who, where, path, {**options, option: typed}, focused=option)
        return await self._act(self._interactions.new(InteractionKind.AUTOCOMPLETE, who, where, name=path), data)

    async def user_command(
        self, user: Ref, place: Ref, name: str, target: Ref, meanwhile: Meanwhile = _nothing
    ) -> Answer:
        """Choose a command from the context menu of a user."""
        who, where = self._user(user), self._world.place(place)
        command = find_command(self._world, who, where, name, USER)
        resolved: Json = {}
        resolve(self._world, where.guild, USER_OPTION, target, resolved)
        data = target_invocation(command, id_of(target), resolved)
        meanwhile()
        return await self._act(self._interactions.new(InteractionKind.COMMAND, who, where, name=name, menu=True), data)

    async def message_command(
        self, user: Ref, place: Ref, name: str, target: Ref, meanwhile: Meanwhile = _nothing
    ) -> Answer:
        """Choose a command from the context menu of a message."""
        who, where = self._user(user), self._world.place(place)
        command = find_command(self._world, who, where, name, MESSAGE)
        message = self._world.message(where, target)
        resolved = {"messages": {str(message.id): payloads.message(self._world, message)}}
        data = target_invocation(command, message.id, resolved)
        meanwhile()
        return await self._act(self._interactions.new(InteractionKind.COMMAND, who, where, name=name, menu=True), data)

    async def click(self, user: Ref, message: Message, button: str) -> Answer:
        """Press a button, by label or custom id."""
        who = self._seeing(user, message)
        found = [b for b in buttons_of(message) if button in (b.label, b.custom_id)]
        if not found:
            raise LookupError(f"there is no button {button!r} among {[b.label for b in buttons_of(message)]}")
        usable = [b for b in found if not b.disabled and b.custom_id]
        if not usable:
            raise NotAllowed(f"{button!r} cannot be pressed: it is disabled or a link")
        data = {"custom_id": usable[0].custom_id, "component_type": BUTTON}
        return await self._use(who, message, data, button)

    async def select(self, user: Ref, message: Message, values: Sequence[Ref], menu: str | None = None) -> Answer:
        """Choose in a select menu, found by custom id or placeholder."""
        who = self._seeing(user, message)
        found = [s for s in selects_of(message.components) if menu in (None, s.custom_id, s.placeholder)]
        if len(found) != 1:
            raise LookupError(f"{len(found)} menus are called {menu!r}")
        select = found[0]
        if select.disabled:
            raise NotAllowed(f"the menu {select.custom_id!r} is disabled")
        if not select.least <= len(values) <= select.most:
            raise ValueError(f"the menu {select.custom_id!r} takes {select.least} to {select.most} values")
        data: Json = {"custom_id": select.custom_id, "component_type": select.kind}
        data |= self._chosen(message.place, select, values)
        return await self._use(who, message, data, select.custom_id)

    async def submit(self, opened_by: Interaction, values: Mapping[str, str]) -> Answer:
        """Fill in a modal's fields, by custom id or label, and send it."""
        modal = opened_by.modal
        if modal is None:
            raise LookupError("no modal is open")
        data = {"custom_id": modal["custom_id"], "components": _filled(modal, values), "resolved": {}}
        interaction = self._interactions.new(
            InteractionKind.MODAL, opened_by.user, opened_by.place, name=opened_by.name, source=opened_by.source
        )
        return await self._act(interaction, data)

    async def _use(self, who: User, message: Message, data: Json, name: str) -> Answer:
        kind = InteractionKind.COMPONENT
        return await self._act(self._interactions.new(kind, who, message.place, name=name, source=message), data)

    async def _act(self, interaction: Interaction, data: Json) -> Answer:
        answer = Answer(self, interaction)
        self._interactions.start(interaction, data)
        return await answer.responded(self.deadline.total_seconds())

    def _user(self, user: Ref) -> User:
        return self._world.users[id_of(user)]

    def _seeing(self, user: Ref, message: Message) -> User:
        who = self._user(user)
        if message.ephemeral:
            asker = message.interaction and int(message.interaction["user"]["id"])
            if asker != who.id:
                raise NotAllowed(f"{who.name} does not see that message")
        elif P.VIEW_CHANNEL not in self._world.permissions_at(who, message.place):
            raise NotAllowed(f"{who.name} cannot see #{message.place.name}")
        return who

    def _chosen(self, place: Place, select: Select, values: Sequence[Ref]) -> Json:
        if select.kind == STRING_SELECT:
            by_name = {o.label: o.value for o in select.options} | {o.value: o.value for o in select.options}
            return {"values": [by_name[str(value)] for value in values]}
        resolved: Json = {}
        kind = _SELECTED[select.kind]
        ids = [resolve(self._world, place.guild, kind, value, resolved) for value in values]
        return {"values": ids, "resolved": resolved}


def _filled(modal: Json, values: Mapping[str, str]) -> list[Json]:
    """The modal's components as a submission sends them. Raises LookupError and ValueError as a form would."""
    fields = text_inputs_of(modal)
    if unknown := set(values) - {name for field in fields for name in (field.custom_id, field.label)}:
        raise LookupError(f"the modal has no field {', '.join(sorted(unknown))}")
    texts: dict[str, str] = {}
    for field in fields:
        text = texts[field.custom_id] = values.get(field.custom_id, values.get(field.label, field.value))
        least = max(field.least, 1) if field.required else field.least
        if (field.required or text) and not least <= len(text) <= field.most:
            raise ValueError(f"{field.label!r} must have {least} to {field.most} characters")
    return [_submitted(component, texts) for component in modal["components"]]


def _submitted(component: Json, texts: dict[str, str]) -> Json:
    kind = component["type"]
    if kind == TEXT_INPUT:
        return {"type": kind, "custom_id": component["custom_id"], "value": texts[component["custom_id"]]}
    if kind == LABEL:
        return {"type": kind, "component": _submitted(component["component"], texts)}
    return {"type": kind, "components": [_submitted(child, texts) for child in component.get("components", [])]}
