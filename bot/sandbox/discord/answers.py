"""What the user of an interaction sees, as it changes, and what they can do with it next."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Self

from bot.sandbox.discord.components import (
    Button,
    Select,
    TextInput,
    buttons_of,
    selects_of,
    text_inputs_of,
    text_of,
)
from bot.sandbox.discord.entities import Json, Message, MessageFlag, Ref
from bot.sandbox.discord.interactions import Interaction, Response

if TYPE_CHECKING:
    from bot.sandbox.discord.acting import Acting

WAIT_SECONDS = 10.0


class NotAllowed(Exception):
    """Discord's client would not let this user do that: the command is hidden, the button is disabled, …"""


class Answer:
    """One interaction's answer. Its properties always show the present state; follow-ups included in `text`."""

    def __init__(self, acting: "Acting", interaction: Interaction) -> None:
        self._acting = acting
        self._interaction = interaction
        self._changed = asyncio.Event()
        self.timed_out = False
        interaction.on_change = self._changed.set

    def __repr__(self) -> str:
        return f"<Answer to {self._interaction.name!r}: {self.type!r}, {self.text!r}>"

    @property
    def type(self) -> Response | None:
        """The type of the first response; None until there is one."""
        return self._interaction.response

    @property
    def deferred(self) -> bool:
        """Whether the first response only promised one."""
        return self.type in (Response.DEFERRED_MESSAGE, Response.DEFERRED_UPDATE)

    @property
    def message(self) -> Message | None:
        """The original response: for an update, the message that was updated. None when there is none or no longer."""
        return self._interaction.original

    @property
    def followups(self) -> list[Message]:
        """The further messages."""
        return self._interaction.followups

    @property
    def messages(self) -> list[Message]:
        """Everything said in answer."""
        return [message for message in (self.message, *self.followups) if message is not None]

    @property
    def ephemeral(self) -> bool:
        """Whether everything said is for the asker only."""
        return bool(self.messages) and all(message.ephemeral for message in self.messages)

    @property
    def content(self) -> str:
        """The content of the original response."""
        return self.message.content if self.message else ""

    @property
    def embeds(self) -> list[Json]:
        """The embeds of the original response."""
        return self.message.embeds if self.message else []

    @property
    def components(self) -> list[Json]:
        """The components of the original response."""
        return self.message.components if self.message else []

    @property
    def text(self) -> str:
        """Every visible word: contents, embeds, labels and options, of follow-ups too."""
        return "\n".join(filter(None, map(text_of, self.messages)))

    @property
    def buttons(self) -> list[Button]:
        """All buttons."""
        return [button for message in self.messages for button in buttons_of(message)]

    @property
    def selects(self) -> list[Select]:
        """All select menus."""
        return [select for message in self.messages for select in selects_of(message.components)]

    @property
    def files(self) -> dict[str, bytes]:
        """The bytes of everything attached, by file name."""
        return {name: data for message in self.messages for name, data in message.files.items()}

    @property
    def modal(self) -> Json | None:
        """The modal that opened, as the bot sent it."""
        return self._interaction.modal

    @property
    def inputs(self) -> list[TextInput]:
        """The text fields of the modal."""
        return text_inputs_of(self.modal) if self.modal else []

    @property
    def choices(self) -> list[Json]:
        """The choices of an autocomplete."""
        return self._interaction.choices

    async def until(self, condition: Callable[[Self], bool], seconds: float = WAIT_SECONDS) -> Self:
        """Wait until the answer is as asked. Raises TimeoutError after so many seconds."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()
        return self

    async def responded(self, deadline: float) -> Self:
        """Wait for the first response; one that is late is none, and `timed_out` says so."""
        try:
            return await self.until(lambda answer: answer.type is not None, deadline)
        except TimeoutError:
            self.timed_out = self._interaction.expired = True
            return self

    async def settled(self, seconds: float = WAIT_SECONDS) -> Self:
        """Wait until there is more than a deferral. Raises TimeoutError, at once if the response came too late."""
        if self.timed_out:
            raise TimeoutError("the application did not respond")
        return await self.until(lambda answer: answer._interaction.settled, seconds)

    async def click(self, button: str, user: Ref | None = None) -> "Answer":
        """Press a button, by label or custom id. Raises LookupError, or NotAllowed if it cannot be pressed."""
        message = self._carrying(lambda m: any(button in (b.label, b.custom_id) for b in buttons_of(m)), button)
        return await self._acting.click(self._user(user), message, button)

    async def select(self, *values: Ref, menu: str | None = None, user: Ref | None = None) -> "Answer":
        """Choose in a select menu, by label or value; users, roles and channels by themselves or their ids.

        `menu` is the custom id or placeholder of the menu, needed if there are several.
        """
        message = self._carrying(
            lambda m: any(menu in (None, s.custom_id, s.placeholder) for s in selects_of(m.components)), menu or "menu"
        )
        return await self._acting.select(self._user(user), message, values, menu=menu)

    async def submit(self, values: Mapping[str, str]) -> "Answer":
        """Fill in the modal, its fields by custom id or label, and send it."""
        return await self._acting.submit(self._interaction, values)

    def _carrying(self, has: Callable[[Message], bool], what: str) -> Message:
        for message in self.messages:
            if has(message):
                if MessageFlag.LOADING in message.flags:
                    raise NotAllowed("the answer is still loading")
                return message
        raise LookupError(f"there is no {what!r} in {self!r}")

    def _user(self, user: Ref | None) -> Ref:
        return self._interaction.user if user is None else user
