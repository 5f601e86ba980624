"""What answers look like: embeds made of records, within Discord's limits."""

from collections.abc import Sequence

import discord

from bot.commands.explain import why
from bot.commands.text import ago, counted, escaped, jump_url, plain, units
from bot.model import Hit, Memory, MemoryKind, Recalled, is_kept

PAGE_CARDS = 5
PAGE_UNITS = 5_800  # of Discord's 6,000 for all embeds of a message; the footer needs the rest
CARD_UNITS = PAGE_UNITS - 30  # a page of its own, less what counts the links left out
DESCRIPTION_UNITS = 4_000  # of Discord's 4,096
NAME_UNITS = 80
TEXT_UNITS = 900
OTHERWISE_UNITS = 200
LINKS = 10  # in the description, and in each field: ten fill nearly all of a field's 1,024

MORE = "\u200b"  # a field must have a name, but these go on from what is above them

COLOURS = {MemoryKind.MESSAGE: discord.Colour.blurple(), MemoryKind.FACT: discord.Colour.gold()}

Page = list[discord.Embed]


def hit_card(hit: Hit, explain: bool = False) -> discord.Embed:
    """A hit's memory, what contradicts it, who else says so, and with `explain` what it was found by."""
    notes = []
    if later := hit.contradicted_by:
        origin = [ago(later.said_at)]
        if later.sources:
            link = jump_url(later.guild_id, later.channel_id, max(later.sources))
            origin.append(f"[Jump to the message]({link})")
        said = escaped(" ".join(later.text.split()), OTHERWISE_UNITS)
        notes.append(("⚠️ A later memory says otherwise", f"{said} · {' · '.join(origin)}"))
    repeats = _repeats(hit)
    if links := [jump_url(*repeat) for repeat in repeats]:
        more = f" and {len(links) - LINKS:,} more" if len(links) > LINKS else ""
        notes.append(("Also said", _numbered(links, 0) + more))
    if explain and (reasons := why(hit)):
        notes.append(("Found by", reasons))
    return memory_card(hit.memory, notes)


def _repeats(hit: Hit) -> list[tuple[int, int, int]]:
    """The messages that say the same without being what the memory rests on, oldest first."""
    own = set(hit.memory.sources)
    said = [(one.guild_id, one.channel_id, source) for one in hit.evidence for source in one.sources]
    return [message for message in dict.fromkeys(said) if message[2] not in own]


def memory_card(memory: Memory, notes: Sequence[tuple[str, str]] = ()) -> discord.Embed:
    """One memory: who, what, when, where, a link to each message it rests on, and titled notes."""
    if is_kept(memory):
        what = "kept words"
    else:
        what = memory.fact_kind.value if memory.fact_kind else memory.kind.value
    speaker = plain(memory.speaker_name, NAME_UNITS)
    embed = discord.Embed(colour=COLOURS[memory.kind]).set_author(name=f"{speaker} · {what}" if speaker else what)
    links = [jump_url(memory.guild_id, memory.channel_id, source) for source in memory.sources]
    origin = [f"<#{memory.channel_id}>", ago(memory.said_at)]
    if memory.kind is MemoryKind.FACT and speaker:
        origin[1] = f"{'corrected' if memory.corrected else 'said'} by {escaped(speaker, NAME_UNITS)} {origin[1]}"
    if memory.valid_until:
        origin.append(f"held until {memory.valid_until}")
    if len(links) == 1:
        origin.append(f"[Jump to the message]({links[0]})")
    elif links:
        origin.append(f"messages {_numbered(links, 0)}")
    embed.description = f"{escaped(memory.text, TEXT_UNITS)}\n\n{' · '.join(origin)}"
    _add_links(embed, links, room=CARD_UNITS - sum(units(name) + units(value) for name, value in notes))
    for name, value in notes:
        embed.add_field(name=name, value=value, inline=False)
    return embed


def _numbered(links: Sequence[str], start: int) -> str:
    """Some links after the first `start` ones, each under its number: `[11](…) [12](…)`."""
    return " ".join(f"[{n}]({link})" for n, link in enumerate(links[start : start + LINKS], start=start + 1))


def _add_links(embed: discord.Embed, links: Sequence[str], room: int) -> None:
    """The links that have no room in the description, as many as `room` units take; the others are counted."""
    for start in range(LINKS, len(links), LINKS):
        some = _numbered(links, start)
        if embed_units(embed) + units(some) > room:
            embed.add_field(name=MORE, value=f"and {counted(len(links) - start, 'more message')}", inline=False)
            return
        embed.add_field(name=MORE, value=some, inline=False)


def recall_pages(recalled: Recalled, explain: bool = False) -> list[Page]:
    """The cards of an answer, best first, up to five a page; each page says how complete the answer is."""
    pages = paged([hit_card(hit, explain) for hit in recalled.hits])
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
