"""Messages, buttons, selects and modals as a person sees them."""

from dataclasses import dataclass

from bot.sandbox.discord.entities import Json, Message
from bot.sandbox.discord.limits import BUTTON, SELECTS, TEXT_INPUT, walk


@dataclass(frozen=True, slots=True)
class Button:
    """A button: link buttons have a `url`, all others a `custom_id`."""

    label: str
    custom_id: str | None
    url: str | None
    disabled: bool
    style: int


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a select of strings."""

    label: str
    value: str
    description: str | None
    default: bool


@dataclass(frozen=True, slots=True)
class Select:
    """A select menu of one kind of thing: 3 strings, 5 users, 6 roles, 7 mentionables, 8 channels."""

    custom_id: str
    kind: int
    placeholder: str | None
    options: tuple[Option, ...]
    least: int
    most: int
    disabled: bool


@dataclass(frozen=True, slots=True)
class TextInput:
    """A text field of a modal."""

    label: str
    custom_id: str
    value: str
    required: bool
    least: int
    most: int


def buttons_of(message: Message) -> list[Button]:
    """The buttons, in reading order."""
    return [
        Button(_label(c), c.get("custom_id"), c.get("url"), c.get("disabled", False), c["style"])
        for c in walk(message.components)
        if c["type"] == BUTTON
    ]


def selects_of(components: list[Json]) -> list[Select]:
    """The select menus, in reading order."""
    return [
        Select(
            c["custom_id"],
            c["type"],
            c.get("placeholder"),
            tuple(
                Option(o["label"], o["value"], o.get("description"), o.get("default", False))
                for o in c.get("options", [])
            ),
            c.get("min_values", 1),
            c.get("max_values", 1),
            c.get("disabled", False),
        )
        for c in walk(components)
        if c["type"] in SELECTS
    ]


def text_inputs_of(modal: Json) -> list[TextInput]:
    """The text fields of a modal, whether labelled themselves or by a Label around them."""
    labels = {id(c["component"]): c["label"] for c in walk(modal["components"]) if "component" in c}
    return [
        TextInput(
            labels.get(id(c)) or c.get("label") or "",
            c["custom_id"],
            c.get("value") or "",
            c.get("required", True),
            c.get("min_length") or 0,
            c.get("max_length") or 4000,
        )
        for c in walk(modal["components"])
        if c["type"] == TEXT_INPUT
    ]


def text_of(message: Message) -> str:
    """Every word of a message that is on the screen: content, embeds, labels, options."""
    parts: list[str | None] = [message.content]
    for embed in message.embeds:
        parts += [embed.get("author", {}).get("name"), embed.get("title"), embed.get("description")]
        parts += [part for field in embed.get("fields", []) for part in (field["name"], field["value"])]
        parts += [embed.get("footer", {}).get("text")]
    for component in walk(message.components):
        parts += [component.get("content"), component.get("label"), component.get("placeholder")]
        parts += [part for o in component.get("options", []) for part in (o["label"], o.get("description"))]
    return "\n".join(part for part in parts if part)


def _label(button: Json) -> str:
    return str(button.get("label") or (button.get("emoji") or {}).get("name") or "")
