"""The files of an export: what is held of a member, as JSON for programs and as one page of HTML for people.

The page stands alone: no scripts, nothing from elsewhere, every word escaped. Memory stays bounded however much is
held: both files are compressed as they grow, and a part that is full is handed over before the next one begins.
"""

import gzip
import html
import io
import json
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from bot.commands.text import jump_url, tidy
from bot.model import Fact, Message

JSON, PAGE = "memories.json", "memories.html"
FACTS, MESSAGES = "facts", "messages"

_STYLE = """
:root { color-scheme: light dark; --soft: #5c5e66; --line: #d9dade; --card: #f6f6f8 }
@media (prefers-color-scheme: dark) { :root { --soft: #a3a6ad; --line: #3a3c42; --card: #232428 } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: .6rem 0;
  padding: .6rem .9rem; overflow-wrap: anywhere }
article p { margin: 0; white-space: pre-wrap }
article footer, header p, dd { color: var(--soft); font-size: .875rem }
h2 { border-bottom: 1px solid var(--line); padding-bottom: .3rem; margin-top: 2.2rem }
""".strip()
# Nothing is fetched and no script runs, whatever the page holds.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Consented:
    """A member's say: what the server does with those who said nothing, and when they objected or agreed."""

    mode: str
    opted_out: Sequence[tuple[datetime, datetime | None]]
    agreed: Sequence[tuple[datetime, datetime | None]]


@dataclass(frozen=True, slots=True)
class Head:
    """What stands at the head of every part."""

    guild_id: int
    guild: str
    member_id: int
    member: str
    exported_at: datetime
    consent: Consented


class Archive:
    """Zips of at most about `part_bytes` each. It computes for long: use it in a worker thread."""

    def __init__(self, head: Head, part_bytes: int) -> None:
        self._head = head
        self._part_bytes = part_bytes
        self._part = _Part(head, 1)

    def add(self, records: Sequence[Fact | Message]) -> list[bytes]:
        """Put these in, all facts before the first message; the parts that are full by now."""
        full = []
        for record in records:
            if self._part.size >= self._part_bytes:
                full.append(self._part.finish())
                self._part = _Part(self._head, self._part.number + 1)
            self._part.add(record)
        return full

    def finish(self) -> bytes:
        """The last part."""
        return self._part.finish()


class _Part:
    """One zip. The JSON goes straight into it; the page is kept compressed until that is complete."""

    def __init__(self, head: Head, number: int) -> None:
        self.number = number
        self._head = head
        self._counts = {FACTS: 0, MESSAGES: 0}
        self._section = ""
        self._buffer, self._spool = io.BytesIO(), io.BytesIO()
        self._zip = zipfile.ZipFile(self._buffer, "w", zipfile.ZIP_DEFLATED)
        self._json = self._zip.open(self._entry(JSON), "w")
        self._page = gzip.GzipFile(fileobj=self._spool, mode="wb", mtime=0)
        self._write_json(json.dumps(_head_json(head, number), ensure_ascii=False, indent=1)[:-2])
        self._write_page(_head_page(head, number))
        self._begin(FACTS)

    @property
    def size(self) -> int:
        """About how many bytes it takes so far."""
        return self._buffer.tell() + self._spool.tell()

    def add(self, record: Fact | Message) -> None:
        """Put a record in."""
        section = FACTS if isinstance(record, Fact) else MESSAGES
        if section != self._section:
            self._begin(section)
        what = _fact_json(record) if isinstance(record, Fact) else _message_json(record)
        self._write_json(f"{',' if self._counts[section] else ''}\n  {json.dumps(what, ensure_ascii=False)}")
        self._write_page(_fact_page(record, self._head) if isinstance(record, Fact) else _message_page(record))
        self._counts[section] += 1

    def finish(self) -> bytes:
        """The zip; the part is used up."""
        if self._section == FACTS:
            self._begin(MESSAGES)
        self._write_json("\n ]\n}\n")
        self._end_page_section()
        self._write_page("</main></body></html>\n")
        self._json.close()
        self._page.close()
        self._spool.seek(0)
        with gzip.GzipFile(fileobj=self._spool) as page, self._zip.open(self._entry(PAGE), "w") as entry:
            shutil.copyfileobj(page, entry)
        self._zip.close()
        return self._buffer.getvalue()

    def _begin(self, section: str) -> None:
        if self._section:
            self._write_json("\n ]")
            self._end_page_section()
        self._section = section
        self._write_json(f',\n "{section}": [')
        title = "What I know" if section == FACTS else "What you wrote"
        self._write_page(f"<section><h2>{title}</h2>\n")

    def _end_page_section(self) -> None:
        none = "" if self._counts[self._section] else "<p>Nothing in this part.</p>"
        self._write_page(f"{none}</section>\n")

    def _write_json(self, text: str) -> None:
        _write(self._json, text)

    def _write_page(self, text: str) -> None:
        _write(self._page, text)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(name, self._head.exported_at.timetuple()[:6])
        entry.compress_type = zipfile.ZIP_DEFLATED
        return entry


def _write(file: IO[bytes] | gzip.GzipFile, text: str) -> None:
    file.write(text.encode())


def _head_json(head: Head, part: int) -> dict[str, Any]:
    return {
        "server": {"id": str(head.guild_id), "name": head.guild},
        "member": {"id": str(head.member_id), "name": head.member},
        "exported_at": head.exported_at.isoformat(),
        "part": part,
        "consent": {
            "mode": head.consent.mode,
            "opted_out": _intervals(head.consent.opted_out),
            "agreed": _intervals(head.consent.agreed),
        },
    }


def _intervals(intervals: Sequence[tuple[datetime, datetime | None]]) -> list[dict[str, str | None]]:
    return [{"from": begin.isoformat(), "until": end.isoformat() if end else None} for begin, end in intervals]


def _place(record: Fact | Message) -> dict[str, str]:
    return {"channel_id": str(record.channel_id), "channel": record.channel_name}


def _fact_json(fact: Fact) -> dict[str, Any]:
    return {
        "id": fact.id,
        "kind": fact.kind.value,
        "text": fact.text,
        "about": {"id": str(fact.subject_id), "name": fact.subject_name} if fact.subject_id is not None else None,
        **_place(fact),
        "said_at": fact.said_at.isoformat(),
        "said_by": fact.speaker_name,
        "corrected": fact.corrected,
        "sources": [{"id": str(id), "link": _link(fact, id)} for id in fact.sources],
        "confidence": fact.confidence,
        "importance": fact.importance,
        "entities": list(fact.entities),
        "valid_from": fact.valid_from and fact.valid_from.isoformat(),
        "valid_until": fact.valid_until and fact.valid_until.isoformat(),
    }


def _message_json(message: Message) -> dict[str, Any]:
    return {
        "id": str(message.id),
        "content": message.content,
        **_place(message),
        "link": _link(message, message.id),
        "said_at": message.created_at.isoformat(),
        "edited_at": message.edited_at and message.edited_at.isoformat(),
        "reply_to": None if message.reply_to is None else str(message.reply_to),
        "mentions": [{"id": str(one.id), "name": one.name} for one in message.mentions],
        "attachments": [{"name": one.name, "description": one.description} for one in message.attachments],
    }


def _link(record: Fact | Message, message_id: int) -> str:
    return jump_url(record.guild_id, record.channel_id, message_id)


def _head_page(head: Head, part: int) -> str:
    title = f"What is remembered of {_safe(head.member)} in {_safe(head.guild)}"
    consent = head.consent
    said = [f"<dt>Objected</dt><dd>{_span(*one)}</dd>" for one in consent.opted_out]
    said += [f"<dt>Agreed</dt><dd>{_span(*one)}</dd>" for one in consent.agreed]
    mode = "only after they agreed" if consent.mode == "opt_in" else "unless they object"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body><header><h1>{title}</h1>"
        f"<p>Part {part}, exported on {_time(head.exported_at)}. Newest first; all times are in UTC.</p>"
        f"<p>This server remembers its members {mode}.</p><dl>{''.join(said)}</dl></header>\n<main>"
    )


def _fact_page(fact: Fact, head: Head) -> str:
    how = "corrected" if fact.corrected else "said"
    links = " ".join(f'<a href="{_link(fact, id)}">message {n}</a>' for n, id in enumerate(fact.sources, start=1))
    whose = "" if fact.subject_id == head.member_id else " · about the server"
    if whose and fact.subject_id is not None:
        whose = f" · about {_safe(fact.subject_name)}"
    origin = f"{fact.kind.value}{whose} · {how} by {_safe(fact.speaker_name)} in #{_safe(fact.channel_name)}"
    return _article(fact.text, f"{origin} on {_time(fact.said_at)} {links}")


def _message_page(message: Message) -> str:
    edited = f", edited {_time(message.edited_at)}" if message.edited_at else ""
    link = f'<a href="{_link(message, message.id)}">open in Discord</a>'
    return _article(message.text, f"#{_safe(message.channel_name)} on {_time(message.created_at)}{edited} {link}")


def _article(text: str, origin: str) -> str:
    return f'<article><p dir="auto">{_safe(text)}</p><footer>{origin}</footer></article>\n'


def _safe(text: str) -> str:
    return html.escape(tidy(text))


def _span(begin: datetime, end: datetime | None) -> str:
    return f"from {_time(begin)} {f'until {_time(end)}' if end else 'on'}"


def _time(moment: datetime) -> str:
    return f'<time datetime="{moment.isoformat()}">{moment:%Y-%m-%d %H:%M}</time>'
