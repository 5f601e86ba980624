"""Cards: what they say, and Discord's limits."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import discord
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.commands.cards import PAGE_UNITS, embed_units, hit_card, lines_pages, memory_card, paged, recall_pages
from bot.commands.text import units
from bot.model import Degraded, FactKind, Hit, Memory, MemoryKind, Recalled

GUILD, CHANNEL, MEMBER = 900000000000000001, 900000000000000002, 900000000000000003
SAID_AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def memory(
    text: str,
    kind: MemoryKind = MemoryKind.MESSAGE,
    sources: int = 1,
    speaker: str = "Ada",
    fact: FactKind | None = None,
) -> Memory:
    return Memory(
        id="id",
        kind=kind,
        guild_id=GUILD,
        channel_id=CHANNEL,
        access_id=CHANNEL,
        channel_name="general",
        subject_id=MEMBER,
        text=text,
        speaker_ids=(MEMBER,),
        speaker_name=speaker,
        sources=tuple(range(CHANNEL, CHANNEL + sources)),
        said_at=SAID_AT,
        created_at=SAID_AT,
        fact_kind=fact,
    )


def recalled(*memories: Memory, degraded: Degraded | None = None) -> Recalled:
    return Recalled(tuple(Hit(one, 1.0) for one in memories), degraded)


def test_a_card_says_who_what_when_and_where() -> None:
    """The words, the speaker, a relative time, the channel and the jump link."""
    card = memory_card(memory("I like tea")).to_dict()
    assert card["author"] == {"name": "Ada · message"}
    assert card["description"] == (
        f"I like tea\n\n<#{CHANNEL}> · <t:1777636800:R> · "
        f"[Jump to the message](https://discord.com/channels/{GUILD}/{CHANNEL}/{CHANNEL})"
    )


def test_a_fact_links_every_source() -> None:
    """Each message a fact rests on is one click away."""
    card = memory_card(memory("Ada likes tea", MemoryKind.FACT, sources=3, fact=FactKind.PREFERENCE))
    assert card.author.name == "Ada · preference"
    assert "· messages [1](https://discord.com/" in (card.description or "")
    assert [f"[{n}](" in str(card.description) for n in (1, 2, 3, 4)] == [True, True, True, False]


def test_a_fact_says_by_whom_and_until_when() -> None:
    """When it was said and by whom, and the last day on which it holds, if one was named."""
    fact = memory("Ada is in Rome", MemoryKind.FACT, speaker="*Ada*")
    assert "said by \\*Ada\\* <t:1777636800:R>" in str(memory_card(fact).description)
    assert "held until" not in str(memory_card(fact).description)
    card = memory_card(replace(fact, valid_until=date(2026, 5, 9)))
    assert "held until 2026-05-09 · [Jump" in str(card.description)
    assert "said by" not in str(memory_card(memory("hello")).description)


def test_a_contradicted_fact_points_to_the_later_one() -> None:
    """The later words are cut and escaped, with their time and the newest message they rest on."""
    later = replace(memory("No, **Friday**\n" + "x" * 900, MemoryKind.FACT, sources=2), said_at=SAID_AT + timedelta(1))
    card = hit_card(Hit(memory("Thursday", MemoryKind.FACT), 1.0, contradicted_by=later))
    [note] = card.fields
    assert note.name == "⚠️ A later memory says otherwise"
    assert str(note.value).startswith("No, \\*\\*Friday\\*\\* xxx")
    link = f"https://discord.com/channels/{GUILD}/{CHANNEL}/{CHANNEL + 1}"
    assert str(note.value).endswith(f"… · <t:1777723200:R> · [Jump to the message]({link})")
    unlinked = hit_card(Hit(memory("Thursday"), 1.0, contradicted_by=replace(later, sources=())))
    assert "https://" not in str(unlinked.fields[0].value)


def test_what_was_also_said_is_linked() -> None:
    """Repetitions are links of their own; the messages a fact rests on are linked already."""
    fact = memory("Ada likes tea", MemoryKind.FACT, sources=2)
    own, repeated = (
        memory("I like tea"),
        replace(memory("I like tea!"), channel_id=CHANNEL + 9, sources=(CHANNEL + 70,)),
    )
    assert not hit_card(Hit(fact, 1.0, evidence=(own,))).fields
    [note] = hit_card(Hit(fact, 1.0, evidence=(own, repeated, repeated))).fields
    assert note.name == "Also said"
    assert note.value == f"[1](https://discord.com/channels/{GUILD}/{CHANNEL + 9}/{CHANNEL + 70})"
    often = tuple(replace(own, sources=(CHANNEL + 100 + n,)) for n in range(12))
    [note] = hit_card(Hit(fact, 1.0, evidence=often)).fields
    assert str(note.value).count("https://") == 10
    assert str(note.value).endswith(" and 2 more")


def test_a_card_is_explained_when_asked() -> None:
    """What a memory was found by stands under it; a memory of which nobody knows is not explained."""
    hit = Hit(memory("I like tea"), 1.0, {"dense": 0.7})
    assert not hit_card(hit).fields
    [note] = hit_card(hit, explain=True).fields
    assert (note.name, note.value) == ("Found by", "meaning 0.70")
    assert not hit_card(Hit(hit.memory, 1.0), explain=True).fields


def links(card: discord.Embed) -> int:
    return "".join([str(card.description), *(str(field.value) for field in card.fields)]).count("https://")


def test_fifty_messages_are_linked() -> None:
    """As many messages as a fact may rest on have their links, unless a long text leaves no room; then it says so."""
    many = memory_card(memory("Ada likes tea. " * 40, MemoryKind.FACT, sources=50))
    assert links(many) == 50
    assert embed_units(many) <= PAGE_UNITS
    most = memory_card(memory("Ada likes tea. " * 40, MemoryKind.FACT, sources=70))
    assert links(most) == 50
    assert most.fields[-1].value == "and 20 more messages"


def test_a_memory_of_another_mem0_client_has_no_links() -> None:
    """Without sources there is nothing to jump to."""
    card = memory_card(memory("from elsewhere", MemoryKind.FACT, sources=0, speaker=""))
    assert card.author.name == "fact"
    assert "discord.com" not in str(card.description)


def test_a_name_cannot_break_the_card() -> None:
    """A display name is shown as one short line of plain text."""
    card = memory_card(memory("hello", speaker="\u202eevil\n" + "x" * 400))
    assert units(str(card.author.name)) <= 256
    assert "\n" not in str(card.author.name)
    assert "\u202e" not in str(card.author.name)


@settings(deadline=None)
@given(st.lists(st.text(max_size=4000), min_size=1, max_size=25), st.integers(0, 90), st.integers(0, 40))
def test_pages_keep_discords_limits(texts: list[str], sources: int, repeats: int) -> None:
    """Whatever was said and is noted, a page has at most five cards and 6,000 units, and no memory is lost."""
    evidence = tuple(replace(memory("tea"), sources=(CHANNEL + 1000 + n,)) for n in range(repeats))
    hits = [
        Hit(memory(text, sources=sources, speaker=text), 1.0, {text: 0.5, "speaker": 0.4}, evidence, memory(text))
        for text in texts
    ]
    pages = recall_pages(Recalled(tuple(hits), Degraded.INDEX_DOWN), explain=True)
    assert sum(len(page) for page in pages) == len(texts)
    for page in pages:
        assert len(page) <= 5
        assert sum(embed_units(card) for card in page) <= 6000
        assert all(units(str(card.description)) <= 4096 for card in page)
        assert all(units(str(field.value)) <= 1024 for card in page for field in card.fields)


def test_a_lesser_answer_says_so_on_every_page() -> None:
    """A page names its number and why the answer is less than it could be."""
    pages = recall_pages(recalled(*[memory("tea")] * 6, degraded=Degraded.EMBEDDER_DOWN))
    assert [page[-1].footer.text for page in pages] == [
        f"Page {number} of 2 · ⚠️ {Degraded.EMBEDDER_DOWN}" for number in (1, 2)
    ]
    assert recall_pages(recalled(memory("tea")))[0][-1].footer.text is None


def test_five_cards_a_page() -> None:
    """Small cards come five at a time."""
    assert [len(page) for page in paged([memory_card(memory("tea"))] * 12)] == [5, 5, 2]


def test_long_lists_are_paged() -> None:
    """Five hundred lines fit no single card."""
    pages = lines_pages("Channels", [f"<#{CHANNEL + n}> since <t:1777636800:R>" for n in range(500)])
    assert all(units(str(page[0].description)) <= 4096 for page in pages)
    assert sum(str(page[0].description).count("<#") for page in pages) == 500
