"""Buttons, menus and modals as HTML. Their kinds: https://discord.com/developers/docs/components/reference."""

from collections.abc import Iterator, Mapping
from typing import Any

from bot.sandbox.discord.limits import BUTTON, CONTAINER, LABEL, ROW, SECTION, SELECTS, TEXT_DISPLAY, TEXT_INPUT, walk
from bot.sandbox.html.elements import Child, Element, div, el, icon, link, span
from bot.sandbox.html.text import text
from bot.sandbox.markup import Markup

_SEPARATOR = 14
_STYLES = {1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "secondary"}
_CHOOSE = {3: "Make a selection", 5: "Select a user", 6: "Select a role", 7: "Select a user or role"}
_CHOOSE |= {8: "Select a channel"}
_PARAGRAPH = 2
_CHEVRON = "M5.3 9.3a1 1 0 0 1 1.4 0l5.3 5.3 5.3-5.3a1 1 0 1 1 1.4 1.4l-6 6a1 1 0 0 1-1.4 0l-6-6a1 1 0 0 1 0-1.4Z"
_LAUNCH = (
    "M15 2a1 1 0 0 1 1-1h6a1 1 0 0 1 1 1v6a1 1 0 1 1-2 0V4.4l-9.3 9.3a1 1 0 0 1-1.4-1.4L19.6 3H16a1 1 0 0 1-1-1Z"
    "M5 2a3 3 0 0 0-3 3v14a3 3 0 0 0 3 3h14a3 3 0 0 0 3-3v-6a1 1 0 1 0-2 0v6a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V5a1 1 0 0 1"
    " 1-1h6a1 1 0 1 0 0-2H5Z"
)

Component = Mapping[str, Any]


def component(one: Component, markup: Markup) -> Iterator[Element]:
    """A component of a message with those inside it."""
    match one["type"]:
        case kind if kind == ROW:
            yield div("row", *(part for child in one["components"] for part in component(child, markup)))
        case kind if kind == BUTTON:
            yield _button(one)
        case kind if kind in SELECTS:
            yield _select(one, markup)
        case kind if kind == TEXT_DISPLAY:
            yield from text(markup, one["content"])
        case kind if kind == SECTION:
            words = div("words", *(part for child in one["components"] for part in component(child, markup)))
            yield div("section", words, *component(one["accessory"], markup))
        case kind if kind == CONTAINER:
            inside = (part for child in one["components"] for part in component(child, markup))
            yield bordered("container", one.get("accent_color"), *inside)
        case kind if kind == _SEPARATOR:
            yield div("separator")
        case _:
            yield div("row", f"[component {one['type']}]")


def bordered(cls: str, colour: int | None, *children: Child) -> Element:
    """A box with a coloured edge."""
    box = div(cls, *children)
    if colour:
        box.set("style", f"border-left-color:#{colour:06x}")
    return box


def modal(data: Component, markup: Markup, app: Element, app_name: str) -> Element:
    """A form over the page: its title, what Discord warns of, the fields and the two buttons."""
    warning = f"This form will be submitted to {app_name}. Do not share passwords or other sensitive information."
    labels = {id(c["component"]): c for c in walk(data["components"]) if c["type"] == LABEL}
    fields = [_field(c, labels.get(id(c), c), markup) for c in walk(data["components"]) if _is_field(c)]
    return div(
        "modal",
        div("modal-head", app, el("h1", data["title"]), span("close", "✕")),
        div("modal-body", div("warning", warning), *fields),
        div("modal-foot", span("button link", "Cancel"), span("button primary", "Submit")),
    )


def _is_field(one: Component) -> bool:
    return one["type"] == TEXT_INPUT or one["type"] in SELECTS


def _field(one: Component, label: Component, markup: Markup) -> Element:
    name = el("label", label.get("label") or "", span("required", "*") if one.get("required", True) else None)
    hint = label.get("description")
    if one["type"] in SELECTS:
        return div("field", name, div("hint", hint) if hint else None, _select(one, markup))
    value, waiting = one.get("value"), one.get("placeholder") or ""
    size = " tall" if one.get("style") == _PARAGRAPH else ""
    shown = div(f"input{size}", *((value,) if value else (span("waiting", waiting),)))
    return div("field", name, div("hint", hint) if hint else None, shown)


def _button(button: Component) -> Element:
    emoji = (button.get("emoji") or {}).get("name")
    parts = [span("emoji", emoji) if emoji else None, span("label", button["label"]) if button.get("label") else None]
    cls = f"button {_STYLES[button['style']]}{' disabled' if button.get('disabled') else ''}"
    if url := button.get("url"):
        return link(url, *parts, icon("launch", _LAUNCH, 16), cls=cls)
    return span(cls, *parts)


def _select(select: Component, markup: Markup) -> Element:
    """A closed menu: what is chosen, or what to choose."""
    chosen = [option["label"] for option in select.get("options") or [] if option.get("default")]
    names = markup.users | markup.channels | markup.roles
    chosen += [names.get(int(value["id"]), "unknown") for value in select.get("default_values") or []]
    shown = span("", ", ".join(chosen)) if chosen else span("waiting", select.get("placeholder") or _waiting(select))
    cls = f"select{' disabled' if select.get('disabled') else ''}"
    return div(cls, shown, icon("chevron", _CHEVRON, 20))


def _waiting(select: Component) -> str:
    return _CHOOSE[select["type"]]
