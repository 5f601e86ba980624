"""The life of an interaction, as the API sees it: callback, edits and follow-ups.

Source: https://discord.com/developers/docs/interactions/receiving-and-responding.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

from bot.sandbox.discord import limits, payloads
from bot.sandbox.discord.compose import compose, parts
from bot.sandbox.discord.entities import (
    Intent,
    Json,
    Message,
    MessageFlag,
    MessageKind,
    Place,
    User,
)
from bot.sandbox.discord.errors import ApiError, invalid_form, unknown
from bot.sandbox.discord.events import Event
from bot.sandbox.discord.uploads import Files
from bot.sandbox.discord.world import World

TOKEN_LIVES = timedelta(minutes=15)


class InteractionKind(IntEnum):
    """Interaction types by Discord's numbers."""

    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL = 5


class Response(IntEnum):
    """Interaction callback types by Discord's numbers."""

    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    CHOICES = 8
    MODAL = 9


_MESSAGES = {Response.MESSAGE, Response.DEFERRED_MESSAGE}
_UPDATES = {Response.UPDATE, Response.DEFERRED_UPDATE}
_ALLOWED = {
    InteractionKind.COMMAND: _MESSAGES | {Response.MODAL},
    InteractionKind.COMPONENT: _MESSAGES | _UPDATES | {Response.MODAL},
    InteractionKind.AUTOCOMPLETE: {Response.CHOICES},
    InteractionKind.MODAL: _MESSAGES | _UPDATES,
}


@dataclass(slots=True, eq=False)
class Interaction:
    """One interaction. `source` is the message whose component was used; `original` answers it.

    `menu`: a command was chosen from a context menu.
    """

    id: int
    token: str
    kind: InteractionKind
    user: User
    place: Place
    created_at: datetime
    name: str = ""
    menu: bool = False
    source: Message | None = None
    response: Response | None = None
    original: Message | None = None
    followups: list[Message] = field(default_factory=list)
    modal: Json | None = None
    choices: list[Json] = field(default_factory=list)
    updated: bool = False
    expired: bool = False
    on_change: Callable[[], None] = lambda: None

    @property
    def settled(self) -> bool:
        """Whether there is something to see: a response that is not, or no longer, only a deferral."""
        if self.response is None or self.response is Response.DEFERRED_UPDATE:
            return self.updated or bool(self.followups)
        return self.original is None or MessageFlag.LOADING not in self.original.flags


class Interactions:
    """All interactions, by token."""

    def __init__(self, world: World, send: Callable[[Event], None]) -> None:
        self._world = world
        self._send = send
        self._by_token: dict[str, Interaction] = {}

    def start(self, interaction: Interaction, data: Json) -> None:
        """Send INTERACTION_CREATE; the answer comes by REST."""
        self._by_token[interaction.token] = interaction
        payload = self._payload(interaction, data)
        self._send(Event("INTERACTION_CREATE", payload, Intent(0)))

    def new(
        self,
        kind: InteractionKind,
        user: User,
        place: Place,
        *,
        name: str = "",
        menu: bool = False,
        source: Message | None = None,
    ) -> Interaction:
        """An interaction not yet sent; `menu` if a command was chosen from a context menu."""
        interaction_id = self._world.snowflake()
        token = f"token-{interaction_id}"
        return Interaction(interaction_id, token, kind, user, place, self._world.clock(), name, menu, source)

    # -- what the routes call

    def respond(self, interaction_id: int, token: str, body: Json, files: Files) -> Json:
        """The first response. Raises ApiError: unknown or late (10062), a second one (40060), or a wrong type."""
        interaction = self._by_token.get(token)
        if interaction is None or interaction.id != interaction_id or interaction.expired:
            raise unknown("Interaction")
        if interaction.response is not None:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        data = body.get("data") or {}
        if body.get("type") not in _ALLOWED[interaction.kind]:
            raise invalid_form({"type": "This response type cannot answer this interaction."})
        response = Response(body["type"])
        self._apply(interaction, response, data, files)
        interaction.response = response
        interaction.on_change()
        return self._callback_result(interaction)

    def get(self, token: str, message: str) -> Message:
        """The original response (`@original`) or a follow-up."""
        return self._message(self._live(token), message)

    def edit(self, token: str, message: str, body: Json, files: Files) -> Message:
        """Edit the original response, or a follow-up; an edited deferral is one no longer."""
        interaction = self._live(token)
        found = self._message(interaction, message)
        limits.check_message_parts(body, found.flags | MessageFlag(body.get("flags") or 0))
        self._change(found, body, files)
        interaction.updated = True
        interaction.on_change()
        return found

    def delete(self, token: str, message: str) -> None:
        """Delete the original response or a follow-up."""
        interaction = self._live(token)
        found = self._message(interaction, message)
        if not found.ephemeral:
            self._world.remove_message(found)
        if found is interaction.original:
            interaction.original = None
        else:
            interaction.followups.remove(found)
        interaction.updated = True
        interaction.on_change()

    def follow_up(self, token: str, body: Json, files: Files) -> Message:
        """A further message. The first one after a deferral takes the place, and the visibility, of the deferral."""
        interaction = self._live(token)
        if interaction.response is None:
            raise unknown("Webhook")
        limits.check_message(body, files)
        original = interaction.original
        if original is not None and MessageFlag.LOADING in original.flags:
            self._change(original, body, files)
            interaction.on_change()
            return original
        message = self._composed(interaction, body, files)
        interaction.followups.append(message)
        interaction.on_change()
        return message

    # -- steps

    def _apply(self, interaction: Interaction, response: Response, data: Json, files: Files) -> None:
        match response:
            case Response.MESSAGE:
                limits.check_message(data, files)
                interaction.original = self._composed(interaction, data, files)
            case Response.DEFERRED_MESSAGE:
                flags = MessageFlag(data.get("flags") or 0) | MessageFlag.LOADING
                interaction.original = self._composed(interaction, {"flags": int(flags)}, {})
            case Response.DEFERRED_UPDATE | Response.UPDATE:
                if interaction.source is None:
                    raise invalid_form({"type": "There is no message to update."})
                interaction.original = interaction.source
                if response is Response.UPDATE:
                    limits.check_message_parts(data, interaction.source.flags)
                    self._change(interaction.source, data, files)
            case Response.CHOICES:
                limits.check_choices(data.get("choices") or [])
                interaction.choices = data.get("choices") or []
            case Response.MODAL:
                limits.check_modal(data)
                interaction.modal = data

    def _composed(self, interaction: Interaction, data: Json, files: Files) -> Message:
        message = compose(self._world, interaction.place, data, files)
        message.webhook_id = message.application_id = self._world.application.id
        if interaction.kind is InteractionKind.COMMAND:
            message.kind = MessageKind.CONTEXT_MENU_COMMAND if interaction.menu else MessageKind.CHAT_INPUT_COMMAND
            message.used = interaction.name if interaction.menu else f"/{interaction.name}"
        message.interaction = {
            "id": str(interaction.id),
            "type": int(interaction.kind),
            "user": payloads.user(interaction.user),
            "authorizing_integration_owners": {"0": str(interaction.place.guild.id)},
        }
        if interaction.source is not None:
            message.interaction["interacted_message_id"] = str(interaction.source.id)
        if not message.ephemeral:
            self._world.keep(message)
        return message

    def _change(self, message: Message, body: Json, files: Files) -> None:
        changes = parts(self._world, message, body, files)
        given = MessageFlag(body.get("flags") or 0) & (MessageFlag.SUPPRESS_EMBEDS | MessageFlag.COMPONENTS_V2)
        changes["flags"] = (message.flags | given) & ~MessageFlag.LOADING
        self._world.edit_message(message, announce=not message.ephemeral, **changes)

    def _live(self, token: str) -> Interaction:
        interaction = self._by_token.get(token)
        if interaction is None:
            raise unknown("Webhook")
        if self._world.clock() - interaction.created_at > TOKEN_LIVES:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        return interaction

    def _message(self, interaction: Interaction, which: str) -> Message:
        original = interaction.original
        if original is not None and which in ("@original", str(original.id)):
            return original
        for message in interaction.followups:
            if which == str(message.id):
                return message
        raise unknown("Message")

    def _payload(self, interaction: Interaction, data: Json) -> Json:
        world, place, user = self._world, interaction.place, interaction.user
        guild = place.guild
        payload: Json = {
            "id": str(interaction.id),
            "application_id": str(world.application.id),
            "type": int(interaction.kind),
            "version": 1,
            "token": interaction.token,
            "guild_id": str(guild.id),
            "guild": {"id": str(guild.id), "locale": "en-US", "features": []},
            "channel_id": str(place.id),
            "channel": payloads.interaction_place(place, world.permissions_at(user, place)),
            "member": payloads.member(guild.members[user.id], world.permissions_at(user, place)),
            "app_permissions": str(int(world.permissions_at(world.bot, place))),
            "locale": "en-US",
            "guild_locale": "en-US",
            "context": 0,
            "authorizing_integration_owners": {"0": str(guild.id)},
            "attachment_size_limit": 10 << 20,
            "entitlements": [],
            "data": data,
        }
        if interaction.source is not None:
            payload["message"] = payloads.message(world, interaction.source)
        return payload

    def _callback_result(self, interaction: Interaction) -> Json:
        message = interaction.original
        described: Json = {"id": str(interaction.id), "type": int(interaction.kind)}
        result: Json = {"interaction": described}
        if message is not None:
            described |= {
                "response_message_id": str(message.id),
                "response_message_loading": MessageFlag.LOADING in message.flags,
                "response_message_ephemeral": message.ephemeral,
            }
            if interaction.response in (Response.MESSAGE, Response.UPDATE):
                body = payloads.message(self._world, message)
                result["resource"] = {"type": int(interaction.response), "message": body}
        return result
