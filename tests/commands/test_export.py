"""/memory export: what is in the files, what must not be, and how they arrive."""

import asyncio
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from town import Town

from bot.commands import export
from bot.commands.archive import JSON, PAGE, Archive, Consented, Head
from bot.model import Attachment, Fact, FactKind, Mention, Message
from bot.sandbox.discord import Answer
from bot.storage.audit import Action
from bot.storage.corrections import Corrections

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HEAD = Head(
    7, "tea & cake", 1, "Ada <b>", NOON, Consented("opt_in", [(NOON, NOON + timedelta(days=1))], [(NOON, None)])
)
NASTY = '</p><script src="https://evil.example/x.js">alert(1)</script><img src=x onerror=alert(1)>'


class Outline(HTMLParser):
    """The tags, attributes and words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data


def said(number: int, content: str = "hello") -> Message:
    return Message(10**18 + number, 7, 70, 70, "general", 1, "Ada", content, NOON)


def known(text: str) -> Fact:
    return Fact("f", 7, 70, 70, "general", 1, "Ada", text, FactKind.PLAN, (1,), "Ada", (10**18,), 0.9, 0.5, NOON)


def noisy(number: int) -> str:
    """A thousand characters of which hardly any can be foreseen."""
    return "".join(hashlib.sha256(f"{number}/{part}".encode()).hexdigest() for part in range(16))


def opened(part: bytes) -> tuple[dict[str, Any], str]:
    """The two files of a zip."""
    with zipfile.ZipFile(io.BytesIO(part)) as files:
        assert files.testzip() is None
        assert files.namelist() == [JSON, PAGE]
        return json.loads(files.read(JSON)), files.read(PAGE).decode()


def packed(records: Sequence[Fact | Message], part_bytes: int = 1 << 20) -> list[bytes]:
    archive = Archive(HEAD, part_bytes)
    return [*archive.add(records), archive.finish()]


def test_the_page_stands_alone_and_every_word_on_it_is_escaped() -> None:
    """No script, no picture, nothing to fetch; what somebody wrote is text, whatever it looks like."""
    [part] = packed([known(NASTY), replace(said(1, NASTY), attachments=(Attachment(NASTY),), channel_name=NASTY)])
    _, page = opened(part)
    outline = Outline(page)
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(outline.tags)
    assert outline.words.count("alert(1)") == 8
    fetching = [value for name, value in outline.attributes if name not in ("href", "content")]
    assert not any("//" in (value or "") for value in fetching)
    links = [value or "" for name, value in outline.attributes if name == "href"]
    assert links
    assert all(link.startswith("https://discord.com/channels/7/70/") for link in links)
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page
    assert "tea & cake" in outline.words
    assert "Ada <b>" in outline.words


def test_the_json_holds_what_is_held() -> None:
    """Ids as strings, since JavaScript rounds them; edits, mentions, files, sources and consent."""
    message = replace(
        said(1, "hi <@2>"),
        edited_at=NOON + timedelta(hours=1),
        reply_to=5,
        mentions=(Mention(2, "Bob"),),
        attachments=(Attachment("cup.png", "a cup"),),
    )
    data, _ = opened(packed([known("Ada plans tea"), message])[0])
    assert data["server"] == {"id": "7", "name": "tea & cake"}
    assert data["consent"] == {
        "mode": "opt_in",
        "opted_out": [{"from": "2026-05-01T12:00:00+00:00", "until": "2026-05-02T12:00:00+00:00"}],
        "agreed": [{"from": "2026-05-01T12:00:00+00:00", "until": None}],
    }
    assert data["messages"] == [
        {
            "id": "1000000000000000001",
            "content": "hi <@2>",
            "channel_id": "70",
            "channel": "general",
            "link": "https://discord.com/channels/7/70/1000000000000000001",
            "said_at": "2026-05-01T12:00:00+00:00",
            "edited_at": "2026-05-01T13:00:00+00:00",
            "reply_to": "5",
            "mentions": [{"id": "2", "name": "Bob"}],
            "attachments": [{"name": "cup.png", "description": "a cup"}],
        }
    ]
    [fact] = data["facts"]
    assert fact["about"] == {"id": "1", "name": "Ada"}
    assert [fact["text"], fact["kind"], fact["corrected"]] == ["Ada plans tea", "plan", False]
    assert [source["id"] for source in fact["sources"]] == ["1000000000000000000"]


def test_nothing_held_is_two_files_all_the_same() -> None:
    """Whoever asks gets an answer that a program can read."""
    data, page = opened(packed([])[0])
    assert [data["facts"], data["messages"]] == [[], []]
    assert page.count("Nothing in this part.") == 2


def test_parts_stay_within_their_size_and_hold_everything_once() -> None:
    """However badly it can be compressed; each part is whole by itself."""
    noise = [said(n, noisy(n)) for n in range(400)]
    records = [known(f"fact {n}") for n in range(50)] + noise
    parts = packed(records, part_bytes=50_000)
    assert len(parts) > 3
    assert all(len(part) < 50_000 + export.SLACK for part in parts)
    files = [opened(part) for part in parts]
    assert [data["part"] for data, _ in files] == list(range(1, len(parts) + 1))
    assert sum(len(data["facts"]) for data, _ in files) == 50
    assert [one["id"] for data, _ in files for one in data["messages"]] == [str(one.id) for one in noise]
    assert sum(page.count("<article>") for _, page in files) == len(records)


async def exported(answer: Answer) -> tuple[dict[str, Any], str]:
    [(name, part)] = answer.files.items()
    assert re.fullmatch(r"memories-\d{4}-\d\d-\d\d-1\.zip", name)
    return opened(part)


async def test_a_member_gets_everything_of_theirs_and_nothing_they_may_not_see(town: Town) -> None:
    """Own words from everywhere, others' facts on them only from where they can read now; noted without a count."""
    said = await town.says(town.ada, "I drink tea")
    await town.says(town.ada, "Said among the staff", place=town.staff)
    await town.says(town.bob, "What Bob says is Bob's")
    await town.knows("Ada drinks tea", said, about=town.ada)
    seen = await town.says(town.bob, "Ada is kind")
    await town.knows("Ada is kind to all", seen, about=town.ada)
    hidden = await town.says(town.bob, "Ada broke a cup", place=town.staff)
    await town.knows("Ada broke a cup of ours", hidden, about=town.ada)
    old = await town.says(town.ada, "Long ago", at=town.app.clock() - timedelta(days=40))
    await town.app.consent.opt_out(town.guild.id, town.ada.id)
    answer = await town.use(town.ada, "memory export")
    assert answer.ephemeral
    assert "This is all I hold of you in this server: 5 memories." in answer.content
    data, page = await exported(answer)
    assert [one["content"] for one in data["messages"]] == ["Said among the staff", "I drink tea", old.content]
    assert {one["text"] for one in data["facts"]} == {"Ada drinks tea", "Ada is kind to all"}
    assert len(data["consent"]["opted_out"]) == 1
    for words in ("Ada broke a cup", "What Bob says", "Ada is kind</p>"):
        assert words not in page + json.dumps(data)
    lately, _ = await exported(await town.use(town.ada, "memory export", since="7d"))
    assert old.content not in [one["content"] for one in lately["messages"]]
    for entry in await town.app.audit.entries(town.guild.id, 9):
        assert [entry.action, entry.actor_id, dict(entry.details)] == [Action.EXPORTED, town.ada.id, {}]


async def test_what_is_too_much_for_one_file_comes_in_several(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, with progress before the first; all are the asker's alone, and the words come with the last."""
    monkeypatch.setattr(export, "PAGE", 50)
    monkeypatch.setattr(export, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(export, "MOST_BYTES", export.SLACK + 50_000)
    first = await town.says(town.ada, "the first")
    more = [replace(first, id=first.id + n, content=noisy(n)) for n in range(1, 200)]
    await town.app.messages.capture_many(more)
    answer = await (await town.use(town.ada, "memory export")).until(lambda one: "This is all" in one.content)
    assert answer.ephemeral
    assert "200 memories, in " in answer.content
    parts = [opened(part)[0] for part in answer.files.values()]
    assert len(parts) > 1
    found = {one["content"] for data in parts for one in data["messages"]}
    assert found == {one.content for one in (first, *more)}


async def test_one_export_at_a_time(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one of the same member is refused, somebody else's waits and says so."""
    await town.says(town.ada, "I drink tea")
    await town.says(town.bob, "So do I")
    own = town.app.own
    page, begun, may_go_on = own.page, asyncio.Event(), asyncio.Event()

    async def slow(*given: Any) -> Any:
        begun.set()
        await may_go_on.wait()
        return await page(*given)

    monkeypatch.setattr(own, "page", slow)
    first = await town.server.slash(town.ada, town.general, "memory export")
    await begun.wait()
    again = await town.use(town.ada, "memory export")
    assert again.content.startswith("I am putting your memories together already")
    others = await town.use(town.bob, "memory export")
    assert others.content == "Another export is under way; yours comes next."
    may_go_on.set()
    for answer in (first, others):
        await answer.until(lambda one: "This is all" in one.content)
        assert len(answer.files) == 1


async def test_a_corrected_fact_says_so_in_both_files(town: Town) -> None:
    """And holds nothing of the old words."""
    said = await town.says(town.bob, "Ada likes tea")
    old = await town.knows("Ada likes weak tea", said, about=town.ada)
    corrections = Corrections(town.app.database)
    assert await corrections.correct(town.guild.id, town.ada.id, "ada", old.id, "Ada likes strong tea")
    data, page = await exported(await town.use(town.ada, "memory export"))
    assert [(one["text"], one["corrected"]) for one in data["facts"]] == [("Ada likes strong tea", True)]
    assert "corrected by ada" in Outline(page).words
    assert "weak" not in page + json.dumps(data)
