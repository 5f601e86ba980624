"""Messages as HTML: who said what when, embeds, files, components, and what only one person sees."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bot.sandbox.discord import Attachment, Message, MessageKind, User
from bot.sandbox.discord.state import State
from bot.sandbox.html.components import bordered, component, modal
from bot.sandbox.html.elements import Child, Element, div, el, icon, link, page, span
from bot.sandbox.html.text import line, text
from bot.sandbox.markup import Markup

WIDTH = 640
_TOGETHER = timedelta(minutes=7)  # messages of one author stand under one name
_COLOURS = ("#3d6fa8", "#a8563d", "#4c8a5b", "#8a4c86", "#a07a2c", "#3d8f8f", "#9c4a5c", "#5b5ea6")
_BLURPLE = "#5865f2"
_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"})
_SPOKEN = (MessageKind.DEFAULT, MessageKind.REPLY)
_EYE = (
    "M12 5C5.65 5 1 12 1 12s4.65 7 11 7 11-7 11-7-4.65-7-11-7Zm0 11a4 4 0 1 1 0-8 4 4 0 0 1 0 8Zm0-2a2 2 0 1 0 0-4"
    " 2 2 0 0 0 0 4Z"
)
_FILE = "M6 2a2 2 0 0 0-2 2v16c0 1.1.9 2 2 2h12a2 2 0 0 0 2-2V9l-7-7H6Zm7 1.5L18.5 9H14a1 1 0 0 1-1-1V3.500Z"


class Client:
    """Draws messages as a client of Discord would at this moment."""

    def __init__(self, world: State) -> None:
        self._world = world
        self._now = world.clock()
        self._markup = Markup.of(world)

    def page(self, title: str, *messages: Message) -> str:
        """A document with a conversation."""
        return page(title, [div("chat", *self._conversation(messages))], WIDTH)

    def modal_page(self, title: str, data: Mapping[str, Any]) -> str:
        """A document with a form the bot opened."""
        bot = self._world.bot
        form = modal(data, self._markup, self._avatar(bot, "tiny"), bot.display_name)
        return page(title, [div("veil", form)], WIDTH)

    def _conversation(self, messages: Sequence[Message]) -> Iterator[Element]:
        before: Message | None = None
        for message in messages:
            follows = (
                before is not None
                and before.author is message.author
                and not (message.used or message.reply_to)
                and before.ephemeral is message.ephemeral
                and message.at - before.at < _TOGETHER
            )
            yield self._message(message, follows)
            before = message

    def _message(self, message: Message, follows: bool) -> Element:
        cls = "message" + (" ephemeral" if message.ephemeral else "") + (" follows" if follows else "")
        head = None if follows else self._head(message)
        return div(
            cls,
            self._answered(message),
            None if follows else self._avatar(message.author, "avatar"),
            div("body", head, *self._parts(message)),
        )

    def _head(self, message: Message) -> Element:
        name = span("name", message.author.display_name)
        return div("head", name, _badge() if message.author.bot else None, span("stamp", self._time(message.at)))

    def _answered(self, message: Message) -> Element | None:
        """The line above a message: which command was used, or what it replies to."""
        if message.interaction and message.used:
            user = self._world.users[int(message.interaction["user"]["id"])]
            used = span("", "used ", span("command", message.used))
            return div("answered", self._avatar(user, "tiny"), span("who", user.display_name), used)
        original = message.place.history.get(message.reply_to) if message.reply_to else None
        if original is None:
            return None
        words = line(self._markup, " ".join(original.content.split())) or [el("em", "Click to see attachment")]
        excerpt = div("excerpt", *words)
        who = span("who", original.author.display_name)
        badge = _badge() if original.author.bot else None
        return div("answered", self._avatar(original.author, "tiny"), badge, who, excerpt)

    def _parts(self, message: Message) -> Iterator[Element]:
        if message.content:
            yield div("content", *text(self._markup, message.content), _edited(message))
        embedded = {self._world.address(file, message.place.id): file for file in message.attachments}
        for embed in message.embeds:
            yield self._embed(embed, embedded)
        used = {url for embed in message.embeds for url in _addresses(embed)}
        for url, file in embedded.items():
            if url not in used:
                yield _attachment(file, url)
        if message.components:
            yield div("components", *(e for one in message.components for e in component(one, self._markup)))
        if message.ephemeral:
            dismiss = span("dismiss", "Dismiss message")
            yield div("only", icon("eye", _EYE, 16), " Only you can see this • ", dismiss)

    def _embed(self, embed: Mapping[str, Any], files: Mapping[str, Attachment]) -> Element:
        parts: list[Child] = []
        if author := embed.get("author"):
            parts.append(div("author", link(author.get("url") or "", author["name"])))
        if title := embed.get("title"):
            parts.append(div("title", link(embed.get("url") or "", *line(self._markup, title))))
        if description := embed.get("description"):
            parts.append(div("description", *text(self._markup, description)))
        if fields := embed.get("fields"):
            parts.append(div("fields", *map(self._field, fields)))
        if image := files.get((embed.get("image") or {}).get("url") or ""):
            parts.append(_picture(image))
        footer, stamp = (embed.get("footer") or {}).get("text"), embed.get("timestamp")
        if footer or stamp:
            told = [footer, self._time(datetime.fromisoformat(stamp)) if stamp else None]
            parts.append(div("footer", " • ".join(filter(None, told))))
        return bordered("embed pictured" if image else "embed", embed.get("color"), *parts)

    def _field(self, field: Mapping[str, Any]) -> Element:
        name = div("field-name", *line(self._markup, field["name"]))
        cls = "embed-field inline" if field.get("inline") else "embed-field"
        return div(cls, name, div("field-value", *text(self._markup, field["value"])))

    def _avatar(self, user: User, cls: str) -> Element:
        """A disc with an initial, in a colour of the user's own."""
        letter = div(cls, user.display_name[:1].upper())
        colour = _BLURPLE if user.bot else _COLOURS[user.id % len(_COLOURS)]
        letter.set("style", f"background:{colour}")
        return letter

    def _time(self, at: datetime) -> str:
        """`Today at 14:05`, or the day before, or a date."""
        days = (self._now.date() - at.date()).days
        if days in (0, 1):
            return f"{'Yesterday' if days else 'Today'} at {at:%H:%M}"
        return f"{at:%d/%m/%Y, %H:%M}"


def _badge() -> Element:
    return span("badge", "APP")


def _edited(message: Message) -> Element | None:
    return span("edited", "(edited)") if message.edited_at and message.kind in _SPOKEN else None


def _addresses(embed: Mapping[str, Any]) -> Iterator[str]:
    yield from ((embed.get(part) or {}).get("url") or "" for part in ("image", "thumbnail"))


def _attachment(file: Attachment, url: str) -> Element:
    if file.content_type in _PICTURES and file.data:
        return _picture(file)
    size = f"{file.size / 1024:.2f} KB" if file.size >= 1024 else f"{file.size} bytes"
    return div("file", icon("sheet", _FILE, 36), div("about", link(url, file.filename), div("size", size)))


def _picture(file: Attachment) -> Element:
    data = b64encode(file.data).decode("ascii")
    return el("img", cls="picture", src=f"data:{file.content_type};base64,{data}", alt=file.description or "")
