"""Messages as a client of Discord draws them, as HTML documents."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from bot.sandbox.discord import Attachment, Channel, Message, MessageFlag, User, World
from bot.sandbox.html import Client

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
EVIL = '<script>alert(1)</script> & "quoted" [x](javascript:alert(1)) [y](https://a.example/"onclick=1)'
VOID = {"meta", "img", "br"}


class Seen(HTMLParser):
    """What a browser makes of a document: its tags, the words by class, and every address in it."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.by_class: dict[str, list[str]] = {}
        self._open: list[tuple[str, list[str]]] = []
        self.feed(document)
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.addresses += [given[name] for name in ("href", "src") if name in given]
        self.handlers += [name for name in given if name.startswith("on")]
        classes = given.get("class", "").split()
        for one in classes:
            self.by_class.setdefault(one, []).append("")
        if tag not in VOID:
            self._open.append((tag, classes))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, classes in self._open:
            for one in classes:
                self.by_class[one][-1] += data

    def words(self, cls: str) -> list[str]:
        """The text of each element of a class."""
        return [" ".join(text.split()) for text in self.by_class.get(cls, [])]


class Lab:
    """A channel with Mika in it, and the bot."""

    def __init__(self) -> None:
        self.world = World(clock=lambda: NOW)
        self.mika: User = self.world.add_user("mika", display_name="Mika")
        self.guild = self.world.add_guild(name="lab", owner=self.mika)
        self.channel: Channel = self.world.add_channel(self.guild, "general")

    def says(self, author: User, content: str = "", at: datetime = NOW, **fields: Any) -> Message:
        return self.world.add_message(self.channel, author, content, at=at, **fields)

    def answers(self, **fields: Any) -> Message:
        """A private answer of the bot to `/recall`."""
        asked = {"user": {"id": str(self.mika.id)}}
        return self.says(self.world.bot, flags=MessageFlag.EPHEMERAL, interaction=asked, used="/recall", **fields)

    def seen(self, *messages: Message) -> Seen:
        return Seen(Client(self.world).page("Recollect", *messages))


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_who_said_what_when(lab: Lab) -> None:
    """Names, times, replies and edits; what someone says at once stands under one name."""
    before = NOW - timedelta(days=9)
    first = lab.says(lab.mika, "hello", at=before)
    second = lab.says(lab.mika, "again", at=before + timedelta(minutes=1))
    later = lab.says(lab.mika, "later", at=NOW - timedelta(hours=2), edited_at=NOW)
    reply = lab.says(lab.world.bot, f"Hi <@{lab.mika.id}> in <#{lab.channel.id}>", reply_to=first)
    seen = lab.seen(first, second, later, reply)
    assert seen.words("name") == ["Mika", "Mika", "Recollect"]
    assert seen.words("stamp") == ["22/04/2026, 12:00", "Today at 10:00", "Today at 12:00"]
    assert seen.words("badge") == ["APP"]
    assert seen.words("mention") == ["@Mika", "#general"]
    assert seen.words("edited") == ["(edited)"]
    assert seen.words("answered") == ["MMikahello"]
    assert len(seen.words("follows")) == 1


def test_a_private_answer_with_cards_and_components(lab: Lab) -> None:
    """Which command was used, each part of an embed, buttons by their style, and who can see it."""
    button = {"type": 2, "style": 4, "label": "Forget", "custom_id": "f"}
    closed = {"type": 2, "style": 2, "label": "Back", "emoji": {"name": "◀️"}, "custom_id": "b", "disabled": True}
    menu = {"type": 3, "custom_id": "m", "placeholder": "Which?", "options": [{"label": "One", "value": "1"}]}
    chosen = {"type": 8, "custom_id": "c", "default_values": [{"id": str(lab.channel.id), "type": "channel"}]}
    answer = lab.answers(
        embeds=[
            {
                "color": 0xF1C40F,
                "author": {"name": "Nadia · decision"},
                "title": "The **fair**",
                "url": "https://a.example/",
                "description": "It is on *16 May*.\n\n[[1]](https://a.example/1) · <t:1777640400:R>",
                "fields": [{"name": "Found by", "value": "its `words`", "inline": True}],
                "footer": {"text": "Page 1 of 2"},
            }
        ],
        components=[
            {"type": 1, "components": [button, closed]},
            {"type": 1, "components": [menu]},
            {"type": 1, "components": [chosen]},
        ],
    )
    seen = lab.seen(answer)
    assert seen.words("answered") == ["MMikaused /recall"]
    assert [seen.words(part) for part in ("author", "title", "field-name", "field-value", "footer")] == [
        ["Nadia · decision"],
        ["The fair"],
        ["Found by"],
        ["its words"],
        ["Page 1 of 2"],
    ]
    assert seen.words("description") == ["It is on 16 May.[1] · in 1 hour"]
    assert [seen.words("danger"), seen.words("disabled")] == [["Forget"], ["◀️Back"]]
    assert seen.words("select") == ["Which?", "general"]
    assert seen.words("only") == ["Only you can see this • Dismiss message"]
    assert "border-left-color:#f1c40f" in Client(lab.world).page("x", answer)


def test_files_are_in_the_document(lab: Lab) -> None:
    """A picture is shown once, in its embed or by itself; another file by name and size; nothing is fetched."""
    png = b"\x89PNG picture"
    chart = Attachment("chart.png", "a chart", "image/png", len(png), 1, png)
    alone = Attachment("cup.png", None, "image/png", len(png), 2, png)
    archive = Attachment("export.zip", None, "application/zip", 2048, 3, b"PK")
    image = {"image": {"url": lab.world.address(chart, lab.channel.id)}}
    message = lab.answers(embeds=[image])
    message.attachments = [chart, alone, archive]
    seen = lab.seen(message)
    assert seen.tags.count("img") == 2
    assert seen.words("file") == ["export.zip2.00 KB"]
    assert [address.split(",")[0] for address in seen.addresses if address.startswith("data:")] == [
        "data:image/png;base64"
    ] * 2


def test_nothing_a_member_writes_becomes_markup(lab: Lab) -> None:
    """Wherever it stands, it stays text, and only addresses of the web are linked to."""
    lab.mika.display_name = EVIL
    everywhere = lab.answers(
        content=f"{EVIL}\n> {EVIL}\n-# {EVIL}\n- {EVIL}\n# {EVIL}\n```{EVIL}```||{EVIL}|| `{EVIL}` <@{lab.mika.id}>",
        embeds=[
            {
                "author": {"name": EVIL, "url": "javascript:alert(1)"},
                "title": EVIL,
                "url": "javascript:alert(1)",
                "description": EVIL,
                "fields": [{"name": EVIL, "value": EVIL}],
                "footer": {"text": EVIL},
            }
        ],
        components=[
            {"type": 1, "components": [{"type": 2, "style": 5, "label": EVIL, "url": "javascript:alert(1)"}]},
            {"type": 1, "components": [{"type": 3, "custom_id": "m", "placeholder": EVIL, "options": []}]},
        ],
    )
    everywhere.attachments = [Attachment(EVIL, EVIL, "image/png", 1, 1, b"x"), Attachment(EVIL)]
    document = Client(lab.world).page(EVIL, lab.says(lab.mika, EVIL), everywhere)
    seen = Seen(document)
    assert seen.tags.count("script") == 0 and seen.handlers == []
    assert {address.split(":")[0] for address in seen.addresses} <= {"https", "http", "data"}
    assert document.count("&lt;script&gt;") > 15
    assert not re.search(r"@import|url\(", document)


def test_a_modal(lab: Lab) -> None:
    """A form with its fields, what stands in them, and the two buttons."""
    form = {
        "title": "Correct a fact",
        "custom_id": "fix",
        "components": [
            {
                "type": 18,
                "label": "What is right",
                "description": "In one sentence",
                "component": {"type": 4, "custom_id": "a", "style": 2, "value": "The fair is on 16 May"},
            },
            {
                "type": 1,
                "components": [
                    {"type": 4, "custom_id": "b", "style": 1, "label": "Why", "placeholder": "…", "required": False}
                ],
            },
        ],
    }
    seen = Seen(Client(lab.world).modal_page("Recollect", form))
    assert "Correct a fact" in seen.words("modal-head")[0]
    assert seen.words("field") == ["What is right*In one sentenceThe fair is on 16 May", "Why…"]
    assert seen.words("button") == ["Cancel", "Submit"]
