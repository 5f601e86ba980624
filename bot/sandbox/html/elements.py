"""HTML as a tree: text and attributes are escaped when it is written, so nothing a member wrote becomes markup."""

from collections.abc import Iterable
from importlib.resources import files
from xml.etree import ElementTree

Element = ElementTree.Element
Child = Element | str | None


def el(tag: str, *children: Child, cls: str = "", **attributes: str) -> Element:
    """An element. Children that are None are left out; `data_x` becomes the attribute `data-x`."""
    element = Element(tag, {name.replace("_", "-"): value for name, value in attributes.items()})
    if cls:
        element.set("class", cls)
    for child in children:
        if isinstance(child, str):
            _append_text(element, child)
        elif child is not None:
            element.append(child)
    return element


def div(cls: str, *children: Child) -> Element:
    """A `div` of a class."""
    return el("div", *children, cls=cls)


def span(cls: str, *children: Child) -> Element:
    """A `span` of a class."""
    return el("span", *children, cls=cls)


def link(url: str, *children: Child, cls: str = "") -> Element:
    """A link; what is not an address of the web is not linked to."""
    if url.startswith(("https://", "http://")):
        return el("a", *children, cls=cls, href=url)
    return span(cls, *children)


def icon(name: str, path: str, size: int) -> Element:
    """A drawing of one path in a box of 24 by 24, in the colour of the text."""
    drawing = el("svg", el("path", d=path, fill="currentColor"), cls=f"icon {name}", viewBox="0 0 24 24")
    drawing.set("width", str(size))
    drawing.set("height", str(size))
    return drawing


def page(title: str, body: Iterable[Element], width: int) -> str:
    """A document that fetches nothing, `width` CSS pixels wide."""
    style = files(__package__).joinpath("discord.css").read_text("utf-8")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width"),
        el("title", title),
        el("style", style),
    )
    document = el("html", head, el("body", el("main", *body, style=f"width:{width}px")), lang="en")
    return "<!doctype html>\n" + ElementTree.tostring(document, encoding="unicode", method="html") + "\n"


def _append_text(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text
