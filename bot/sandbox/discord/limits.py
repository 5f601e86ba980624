"""Discord's bounds on messages, components, modals and commands; what breaks one is answered with 400.

Sources: https://discord.com/developers/docs/resources/message#create-message,
/components/reference and /interactions/application-commands.
"""

import re
from collections.abc import Iterator, Sized
from typing import Any

from bot.sandbox.discord.entities import Json, MessageFlag
from bot.sandbox.discord.errors import ApiError, invalid_form

CONTENT, EMBEDS_TOTAL, EMBEDS, ROWS, OPTIONS, COMPONENTS_V2 = 2000, 6000, 10, 5, 25, 40
FILES, FILE_BYTES, REQUEST_BYTES = 10, 10 << 20, 25 << 20
ROW, BUTTON, STRING_SELECT, TEXT_INPUT, SECTION, TEXT_DISPLAY, CONTAINER, LABEL = 1, 2, 3, 4, 9, 10, 17, 18
SELECTS = (3, 5, 6, 7, 8)
LINK_STYLE = 5
_CHAT_INPUT_NAME = re.compile(r"[-_'\w]{1,32}")
_SUBCOMMAND, _SUBCOMMAND_GROUP, _CHAT_INPUT = 1, 2, 1

Problems = Iterator[tuple[str, str]]


def check_message(body: Json, files: Sized = ()) -> None:
    """Refuse a message to be created that breaks a bound or is empty."""
    flags = MessageFlag(body.get("flags") or 0)
    given = ("content", "embeds", "components", "attachments", "sticker_ids", "poll")
    if not files and not any(body.get(name) for name in given):
        raise ApiError(400, 50006, "Cannot send an empty message")
    if MessageFlag.COMPONENTS_V2 in flags and (body.get("content") or body.get("embeds")):
        raise invalid_form({"content": "The 'content' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"})
    check_message_parts(body, flags)


def check_message_parts(body: Json, flags: MessageFlag) -> None:
    """Refuse what breaks a bound; an edit may leave parts out."""
    _refuse(_message_problems(body, flags))


def check_modal(data: Json) -> None:
    """Refuse a modal that breaks a bound."""
    _refuse(_modal_problems(data))


def check_choices(choices: list[Json]) -> None:
    """Refuse autocomplete choices beyond 25 or with names beyond 100 characters."""
    _refuse(_choice_problems("data.choices", choices))


def check_commands(commands: list[Json]) -> None:
    """Refuse application commands that break a bound or share a name."""
    _refuse(_commands_problems(commands))


def walk(components: list[Json]) -> Iterator[Json]:
    """All components with those inside them, in reading order."""
    for component in components:
        yield component
        yield from walk(component.get("components", []))
        yield from walk([component[key] for key in ("accessory", "component") if key in component])


def _refuse(problems: Problems) -> None:
    if found := dict(problems):
        raise invalid_form(found)


def _length(path: str, value: Any, most: int, least: int = 0) -> Problems:
    if not least <= len(value or "") <= most:
        yield path, f"Must be between {least} and {most} in length."


def _message_problems(body: Json, flags: MessageFlag) -> Problems:
    yield from _length("content", body.get("content"), CONTENT)
    embeds = body.get("embeds") or []
    yield from _length("embeds", embeds, EMBEDS)
    for index, embed in enumerate(embeds):
        yield from _embed_problems(f"embeds.{index}", embed)
    if sum(map(_embed_size, embeds)) > EMBEDS_TOTAL:
        yield "embeds", "Embed size exceeds maximum size of 6000"
    yield from _length("attachments", body.get("attachments"), FILES)
    for index, file in enumerate(body.get("attachments") or []):
        yield from _length(f"attachments.{index}.description", file.get("description"), 1024)
    components = body.get("components") or []
    if MessageFlag.COMPONENTS_V2 in flags:
        if sum(1 for _ in walk(components)) > COMPONENTS_V2:
            yield "components", f"The total number of components must be at most {COMPONENTS_V2}."
        shown = sum(len(c["content"]) for c in walk(components) if c["type"] == TEXT_DISPLAY)
        if shown > 4000:
            yield "components", "The text of all components must be at most 4000 in length."
    else:
        yield from _length("components", components, ROWS)
        for index, component in enumerate(components):
            if component["type"] != ROW:
                yield f"components.{index}.type", "Value of field 'type' must be one of (1,)."
    yield from _components_problems("components", components)


def _embed_problems(path: str, embed: Json) -> Problems:
    yield from _length(f"{path}.title", embed.get("title"), 256)
    yield from _length(f"{path}.description", embed.get("description"), 4096)
    yield from _length(f"{path}.footer.text", embed.get("footer", {}).get("text"), 2048)
    yield from _length(f"{path}.author.name", embed.get("author", {}).get("name"), 256)
    fields = embed.get("fields", [])
    yield from _length(f"{path}.fields", fields, 25)
    for index, field in enumerate(fields):
        yield from _length(f"{path}.fields.{index}.name", field.get("name"), 256, 1)
        yield from _length(f"{path}.fields.{index}.value", field.get("value"), 1024, 1)


def _embed_size(embed: Json) -> int:
    texts = [embed.get("title"), embed.get("description"), embed.get("footer", {}).get("text")]
    texts += [embed.get("author", {}).get("name")]
    texts += [part for field in embed.get("fields", []) for part in (field.get("name"), field.get("value"))]
    return sum(len(text) for text in texts if text)


def _components_problems(path: str, components: list[Json]) -> Problems:
    ids: set[str] = set()
    for component in walk(components):
        kind = component["type"]
        if kind == ROW:
            selects = any(child["type"] in SELECTS for child in component["components"])
            yield from _length(f"{path}.row", component["components"], 1 if selects else 5, 1)
        elif kind == BUTTON:
            yield from _button_problems(path, component)
        elif kind in SELECTS:
            yield from _select_problems(path, component)
        elif kind == TEXT_INPUT:
            yield from _length(f"{path}.label", component.get("label"), 45)
            yield from _length(f"{path}.placeholder", component.get("placeholder"), 100)
            yield from _length(f"{path}.value", component.get("value"), component.get("max_length", 4000))
        elif kind == LABEL:
            yield from _length(f"{path}.label", component.get("label"), 45, 1)
            yield from _length(f"{path}.description", component.get("description"), 100)
        if custom_id := component.get("custom_id"):
            yield from _length(f"{path}.custom_id", custom_id, 100, 1)
            if custom_id in ids:
                yield f"{path}.custom_id", "Component custom id cannot be duplicated"
            ids.add(custom_id)


def _button_problems(path: str, button: Json) -> Problems:
    yield from _length(f"{path}.label", button.get("label"), 80)
    if not button.get("label") and not button.get("emoji"):
        yield f"{path}.label", "A button must have a label or an emoji."
    if bool(button.get("url")) is not (button["style"] == LINK_STYLE):
        yield f"{path}.url", "Only link buttons have a url, and they must."
    if bool(button.get("custom_id")) is bool(button.get("url")):
        yield f"{path}.custom_id", "A button has either a custom_id or a url."
    yield from _length(f"{path}.url", button.get("url"), 512)


def _select_problems(path: str, select: Json) -> Problems:
    yield from _length(f"{path}.placeholder", select.get("placeholder"), 150)
    if select["type"] == STRING_SELECT:
        options = select.get("options", [])
        yield from _length(f"{path}.options", options, OPTIONS, 1)
        for index, option in enumerate(options):
            yield from _length(f"{path}.options.{index}.label", option["label"], 100, 1)
            yield from _length(f"{path}.options.{index}.value", option["value"], 100, 1)
            yield from _length(f"{path}.options.{index}.description", option.get("description"), 100)
        if len({option["value"] for option in options}) < len(options):
            yield f"{path}.options", "The specified option value is already used"
        if select.get("max_values", 1) > len(options):
            yield f"{path}.max_values", "max_values must be at most the number of options."
    if not 0 <= select.get("min_values", 1) <= select.get("max_values", 1) <= OPTIONS:
        yield f"{path}.max_values", "Must be between min_values and 25."


def _modal_problems(data: Json) -> Problems:
    yield from _length("data.title", data.get("title"), 45, 1)
    yield from _length("data.custom_id", data.get("custom_id"), 100, 1)
    yield from _length("data.components", data.get("components"), 5, 1)
    yield from _components_problems("data.components", data.get("components", []))


def _choice_problems(path: str, choices: list[Json]) -> Problems:
    yield from _length(path, choices, OPTIONS)
    for index, choice in enumerate(choices):
        yield from _length(f"{path}.{index}.name", choice["name"], 100, 1)
        yield from _translated(f"{path}.{index}.name", choice, 100)
        if isinstance(choice["value"], str):
            yield from _length(f"{path}.{index}.value", choice["value"], 100)


def _commands_problems(commands: list[Json]) -> Problems:
    of_kind = [command.get("type", _CHAT_INPUT) for command in commands]
    for kind, most in ((1, 100), (2, 15), (3, 15)):
        if of_kind.count(kind) > most:
            yield "_", f"Maximum number of application commands reached ({most})."
    if len({(c["name"], c.get("type", _CHAT_INPUT)) for c in commands}) < len(commands):
        yield "_", "Application command names must be unique"
    for index, command in enumerate(commands):
        if command.get("type", _CHAT_INPUT) == _CHAT_INPUT:
            yield from _chat_input_problems(str(index), command)
            if _command_size(command) > 8000:
                yield str(index), "Application commands must be at most 8000 characters in total."
        else:
            yield from _length(f"{index}.name", command["name"], 32, 1)
            yield from _translated(f"{index}.name", command, 32)
            if command.get("description"):
                yield f"{index}.description", "Context menu commands have no description."


def _translated(path: str, item: Json, most: int) -> Problems:
    """The localisations of a name or description, the last part of the path."""
    for locale, text in (item.get(f"{path.rpartition('.')[2]}_localizations") or {}).items():
        yield from _length(f"{path}_localizations.{locale}", text, most, 1)


def _chat_input_problems(path: str, item: Json, depth: int = 0) -> Problems:
    name = item["name"]
    if not _CHAT_INPUT_NAME.fullmatch(name) or name != name.lower():
        yield f"{path}.name", "Command name is invalid"
    yield from _length(f"{path}.description", item.get("description"), 100, 1)
    yield from _translated(f"{path}.description", item, 100)
    options = item.get("options", [])
    yield from _length(f"{path}.options", options, OPTIONS)
    if len({option["name"] for option in options}) < len(options):
        yield f"{path}.options", "Option names must be unique"
    required = [bool(option.get("required")) for option in options]
    if required != sorted(required, reverse=True):
        yield f"{path}.options", "Required options must be placed before non-required options"
    for index, option in enumerate(options):
        where = f"{path}.options.{index}"
        if option["type"] in (_SUBCOMMAND, _SUBCOMMAND_GROUP) and depth > 1:
            yield f"{where}.type", "Sub-commands cannot be nested deeper."
        if option.get("autocomplete") and option.get("choices"):
            yield f"{where}.autocomplete", "An option has either choices or autocomplete."
        yield from _choice_problems(f"{where}.choices", option.get("choices") or [])
        yield from _chat_input_problems(where, option, depth + 1)


def _command_size(item: Json) -> int:
    own = len(item["name"]) + len(item.get("description", ""))
    choices = sum(len(c["name"]) + len(str(c["value"])) for c in item.get("choices") or [])
    return own + choices + sum(map(_command_size, item.get("options", [])))
