"""Keyword search: ranking, scope, and text that tries to be an operator."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import BEN, CHANNEL, GUILD, NOON, Vault, said, stated

from bot.model import MemoryKind, Mention, Scope, fact_memory, message_memory
from bot.storage.database import Database
from bot.storage.keyword import KeywordSearch

EVERYTHING = Scope(GUILD, frozenset({CHANNEL, 21}))


@pytest.fixture
def keyword(database: Database) -> KeywordSearch:
    return KeywordSearch(database)


async def texts(keyword: KeywordSearch, query: str, scope: Scope = EVERYTHING, limit: int = 10) -> list[str]:
    return [hit.memory.text for hit in await keyword.search(query, scope, limit)]


async def test_messages_and_facts_are_found_best_first(vault: Vault, keyword: KeywordSearch) -> None:
    """More of the query's words rank higher; a hit is a whole memory with its score."""
    await vault.hold(said(1, "the picnic is on sunday"), said(2, "sunday works"), said(3, "unrelated"))
    fact = stated("The picnic was moved to the lake", [1], subject_id=None)
    await vault.extract(fact)
    hits = await keyword.search("picnic sunday", EVERYTHING, 10)
    assert hits[0].memory == message_memory(said(1, "the picnic is on sunday"))
    assert {hit.memory.text for hit in hits} == {"the picnic is on sunday", "sunday works", fact.text}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(hit.signals == {"keyword": hit.score} for hit in hits)
    assert {hit.memory.kind for hit in hits} == {MemoryKind.MESSAGE, MemoryKind.FACT}
    assert fact_memory(fact) in [hit.memory for hit in hits]
    assert await keyword.search("picnic sunday", EVERYTHING, 1) == hits[:1]


@pytest.mark.parametrize(
    ("query", "found"),
    [("cafes", "the Café opened"), ("CAFÉ", "the Café opened"), ("opening", "the Café opened"), ("@Zoë", "ask @Zoë")],
)
async def test_case_accents_and_endings_do_not_matter(
    vault: Vault, keyword: KeywordSearch, query: str, found: str
) -> None:
    """Porter stems and folded accents match, and mentions are found by name."""
    await vault.hold(said(1, "the Café opened"), said(2, "ask <@7>", mentions=(Mention(7, "Zoë"),)))
    assert await texts(keyword, query) == [found]


@pytest.mark.parametrize("query", ["春季市集什么时候", "市集 picnic", "季"])
async def test_chinese_is_found_inside_a_sentence(vault: Vault, keyword: KeywordSearch, query: str) -> None:
    """Without spaces the words are unknown: what shares the most pairs of characters comes first, facts among it."""
    await vault.hold(
        said(1, "市长收集邮票"), said(2, "我们决定春季市集在星期六"), said(3, "春季市集", channel_id=90, access_id=90)
    )
    await vault.extract(stated("春季市集是星期六", [2]))
    assert sorted((await texts(keyword, query))[:2]) == ["我们决定春季市集在星期六", "春季市集是星期六"]
    assert "春季市集" not in await texts(keyword, query)


@pytest.mark.parametrize(
    ("query", "found"), [("東京", "東京都に住んでいます"), ("커피", "커피를 좋아해요"), ("茶", "お茶")]
)
async def test_japanese_and_korean_are_found(vault: Vault, keyword: KeywordSearch, query: str, found: str) -> None:
    """A word before a particle, inside a longer run, and of one character."""
    await vault.hold(
        said(1, "東京都に住んでいます"), said(2, "커피를 좋아해요"), said(3, "お茶"), said(4, "tea"), said(5, "ตลาดนัด")
    )
    assert await texts(keyword, query) == [found]


async def test_only_readable_channels_are_searched(vault: Vault, keyword: KeywordSearch) -> None:
    """What the asker may not read is filtered before ranking, so it cannot crowd out what they may."""
    await vault.hold(*(said(id, "secret picnic picnic picnic", channel_id=21) for id in range(1, 30)))
    await vault.hold(
        said(50, "picnic"), said(60, "picnic", guild_id=2), said(70, "picnic", channel_id=90, access_id=20)
    )
    fact = stated("secret picnic", [1], channel_id=21, access_id=21)
    await vault.extract(fact)
    readable = Scope(GUILD, frozenset({CHANNEL}))
    assert await texts(keyword, "picnic", readable, limit=2) == ["picnic", "picnic"]
    assert await texts(keyword, "picnic", Scope(GUILD, frozenset())) == []


async def test_the_scope_narrows_further(vault: Vault, keyword: KeywordSearch) -> None:
    """By channel, by author or subject, and by time: since is included, until is not."""
    await vault.hold(said(1, "tea one"), said(2, "tea two", BEN), said(3, "tea three", channel_id=21))
    await vault.extract(stated("Ben likes tea", [2], subject_id=BEN, said_at=NOON + timedelta(seconds=2)))
    access = frozenset({CHANNEL, 21})
    in_channel = await texts(keyword, "tea", Scope(GUILD, access, channel_id=21))
    assert in_channel == ["tea three"]
    assert sorted(await texts(keyword, "tea", Scope(GUILD, access, about_id=BEN))) == ["Ben likes tea", "tea two"]
    since = Scope(GUILD, access, since=NOON + timedelta(seconds=2))
    assert sorted(await texts(keyword, "tea", since)) == ["Ben likes tea", "tea three", "tea two"]
    until = Scope(GUILD, access, until=NOON + timedelta(seconds=2))
    assert await texts(keyword, "tea", until) == ["tea one"]


async def test_search_follows_edits_and_deletions(vault: Vault, keyword: KeywordSearch) -> None:
    """Old words are not found any more, new ones are, deleted and forgotten ones never."""
    await vault.hold(said(1, "apples"), said(2, "pears"), said(3, "plums"))
    fact = stated("quinces", [3])
    await vault.extract(fact)
    await vault.messages.capture(said(1, "cherries", edited_at=NOON + timedelta(hours=1)))
    await vault.retraction.messages_deleted(GUILD, [2])
    await vault.retraction.facts_forgotten(GUILD, [fact.id])
    found = {query: await texts(keyword, query) for query in ("apples", "cherries", "pears", "plums", "quinces")}
    assert found == {"apples": [], "cherries": ["cherries"], "pears": [], "plums": ["plums"], "quinces": []}


async def test_what_waits_for_its_removal_is_not_shown(vault: Vault, keyword: KeywordSearch) -> None:
    """A point on its way out of the index is hidden here as well."""
    await vault.hold(said(1, "apples"))
    fact = stated("apples are fine", [1])
    await vault.extract(fact)
    async with vault.database.write() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO removal (point_id, guild_id, at) VALUES (?, ?, 0)", (fact.id, GUILD)
        )
    assert await texts(keyword, "apples") == ["apples"]


async def test_nothing_in_a_query_is_an_operator(vault: Vault, keyword: KeywordSearch) -> None:
    """Quotes, operators, columns and stars are words like any other."""
    await vault.hold(said(1, "cats and dogs"), said(2, "text near not"))
    for query in ('"cats', "cats AND nothing", "text:cats", "cats*", "(cats", "NEAR(cats nothing)", "-cats", "^cats"):
        assert "cats and dogs" in await texts(keyword, query)
    assert await texts(keyword, "NOT") == ["text near not"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        '"',
        "'",
        "\0",
        "a\0b",
        "😀🎉",
        "( ) * : ^ - +",
        "z̷̢̛͔̾a̸lgo",
        "שלום \u202e עולם",
        "\ud83d",
        "x" * 4000,
        "ab " * 3000,
    ],
)
async def test_any_text_is_a_query(vault: Vault, keyword: KeywordSearch, query: str) -> None:
    """Emoji, right-to-left text, zalgo, half surrogates and 4,000 characters are fine."""
    await vault.hold(said(1, "zalgo שלום"))
    assert isinstance(await keyword.search(query, EVERYTHING, 5), list)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(st.characters()))
async def test_no_text_fails(keyword: KeywordSearch, query: str) -> None:
    """Whatever a member types, the search answers."""
    assert await keyword.search(query, EVERYTHING, 5) == []


async def test_ten_thousand_channels_fit_a_scope(vault: Vault, keyword: KeywordSearch) -> None:
    """The channels an asker may read are one parameter, however many they are."""
    await vault.hold(said(1, "picnic"))
    assert await texts(keyword, "picnic", Scope(GUILD, frozenset(range(50_000)))) == ["picnic"]
