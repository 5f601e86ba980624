"""What answers look like: embeds made of records, within Discord's limits."""

from collections.abc import Sequence

import discord

from bot.commands.text import ago, counted, escaped, jump_url, plain, units
from bot.model import Memory, MemoryKind, Recalled

PAGE_CARDS = 5
PAGE_UNITS = 5_800  # of Discord's 6,000 for all embeds of a message; the footer needs the rest
DESCRIPTION_UNITS = 4_000  # of Discord's 4,096
NAME_UNITS = 80
TEXT_UNITS = 900
LINKS = 10

COLOURS = {MemoryKind.MESSAGE: discord.Colour.blurple(), MemoryKind.FACT: discord.Colour.gold()}

Page = list[discord.Embed]


def memory_card(memory: Memory) -> discord.Embed:
    """One memory: who, what, when, where, and a link to each message it rests on."""
    what = memory.fact_kind.value if memory.fact_kind else memory.kind.value
    speaker = plain(memory.speaker_name, NAME_UNITS)
    embed = discord.Embed(
        description=f"{escaped(memory.text, TEXT_UNITS)}\n\n{_origin(memory)}", colour=COLOURS[memory.kind]
    )
    return embed.set_author(name=f"{speaker} · {what}" if speaker else what)


def _origin(memory: Memory) -> str:
    """`#channel · 3 hours ago · Jump to the message`, or numbered links when there are several."""
    links = [jump_url(memory.guild_id, memory.channel_id, source) for source in memory.sources]
    if len(links) == 1:
        shown = [f"[Jump to the message]({links[0]})"]
    else:
        shown = [" ".join(f"[{n}]({link})" for n, link in enumerate(links[:LINKS], start=1))]
        if len(links) > LINKS:
            shown.append(f"and {counted(len(links) - LINKS, 'more message')}")
    return " · ".join([f"<#{memory.channel_id}>", ago(memory.said_at), *filter(None, shown)])


def recall_pages(recalled: Recalled) -> list[Page]:
    """The cards of an answer, best first, up to five a page; each page says how complete the answer is."""
    pages = paged([memory_card(hit.memory) for hit in recalled.hits])
    for number, page in enumerate(pages, start=1):
        notes = [f"Page {number} of {len(pages)}"] if len(pages) > 1 else []
        if recalled.degraded:
            notes.append(f"⚠️ {recalled.degraded}")
        page[-1].set_footer(text=" · ".join(notes) or None)
    return pages


def paged(cards: Sequence[discord.Embed]) -> list[Page]:
    """Cards in order, as many a page as Discord takes."""
    pages: list[Page] = []
    room = 0
    for card in cards:
        size = embed_units(card)
        if not pages or len(pages[-1]) == PAGE_CARDS or size > room:
            pages.append([])
            room = PAGE_UNITS
        pages[-1].append(card)
        room -= size
    return pages


def lines_pages(title: str, lines: Sequence[str]) -> list[Page]:
    """Lines of our own making under one title, over as many pages as they need."""
    pages: list[Page] = []
    text = ""
    for line in lines:
        if text and units(text) + units(line) >= DESCRIPTION_UNITS:
            pages.append([discord.Embed(title=title, description=text)])
            text = ""
        text = f"{text}\n{line}" if text else line
    return [*pages, [discord.Embed(title=title, description=text)]]


def embed_units(embed: discord.Embed) -> int:
    """What an embed counts towards the limit of its message."""
    parts = [embed.title, embed.description, embed.author.name, embed.footer.text]
    parts += [part for field in embed.fields for part in (field.name, field.value)]
    return sum(units(part) for part in parts if part)
