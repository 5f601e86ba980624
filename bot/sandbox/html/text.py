"""Formatted text as HTML."""

from collections.abc import Iterator
from itertools import groupby

from bot.sandbox.html.elements import Child, Element, div, el, link, span
from bot.sandbox.markup import Block, Kind, Line, Markup, Span

_TAGS = {
    Kind.BOLD: "strong",
    Kind.ITALIC: "em",
    Kind.UNDERLINE: "u",
    Kind.STRIKE: "s",
    Kind.CODE: "code",
}
_HEADINGS = {Line.HEADING_1: "h1", Line.HEADING_2: "h2", Line.HEADING_3: "h3"}


def text(markup: Markup, content: str) -> Iterator[Element]:
    """The blocks of a message's text; lines of one kind that follow each other stand in one."""
    for kind, blocks in groupby(markup.blocks(content), lambda block: block.kind):
        match kind:
            case Line.PLAIN:
                yield div("lines", *(_line("div", block) for block in blocks))
            case Line.QUOTE:
                yield div("quote", *(_line("div", block) for block in blocks))
            case Line.ITEM:
                yield el("ul", *(_line("li", block) for block in blocks))
            case Line.SMALL:
                yield from (_line("small", block) for block in blocks)
            case Line.CODE:
                yield from (el("pre", el("code", *map(_span, block.spans))) for block in blocks)
            case _:
                yield from (_line(_HEADINGS[kind], block) for block in blocks)


def line(markup: Markup, content: str) -> list[Element]:
    """Text of one line, as titles and names of fields have it."""
    return [_span(one) for one in markup.spans(content)]


def _line(tag: str, block: Block) -> Element:
    return el(tag, *map(_span, block.spans))


def _span(one: Span) -> Element:
    inside: list[Child] = [one.text, *map(_span, one.spans)]
    if one.kind is Kind.LINK:
        return link(one.url, *inside)
    return el(_TAGS[one.kind], *inside) if one.kind in _TAGS else span(one.kind, *inside)
